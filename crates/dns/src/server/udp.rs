//! Datagrams, many in one call.

use super::{Clock, Counters, SharedView};
use crate::respond::{Responder, Transport, View};
use arc_swap::Cache;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReceiveTimeout, ReusePort};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, SockaddrIn6,
    SockaddrLike, SockaddrStorage, recvmmsg, sendmmsg, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Questions taken in one call at most. Clients wait for a batch as a whole, and its buffers want to
/// stay in the nearest cache, so more isn't better.
const BATCH: usize = 16;
/// The octets of a question that are read; a longer datagram is no question that anybody asks.
const QUESTION_OCTETS_MAX: usize = 2048;
/// How often a thread without questions looks whether it should end.
const WAKE_EVERY_MS: i64 = 200;

/// A socket at an address that others may be at too.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, ReusePort, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &true)?;
    }
    setsockopt(&fd, ReceiveTimeout, &TimeVal::new(0, WAKE_EVERY_MS * 1000))?;
    nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(fd))
}

/// One thread's work.
pub(super) struct Worker {
    pub(super) socket: UdpSocket,
    pub(super) view: SharedView,
    pub(super) responder: Responder,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Arc<AtomicBool>,
}

/// The address of a client, in the form that a socket's family has.
trait Peer: SockaddrLike + Copy {
    fn address(&self) -> IpAddr;
}

impl Peer for SockaddrIn {
    fn address(&self) -> IpAddr {
        self.ip().into()
    }
}

impl Peer for SockaddrIn6 {
    fn address(&self) -> IpAddr {
        self.ip().into()
    }
}

/// Questions and answers of one batch, in buffers that are used again.
struct Batch<S> {
    questions: Box<[[u8; QUESTION_OCTETS_MAX]; BATCH]>,
    received: MultiHeaders<S>,
    answers: [Vec<u8>; BATCH],
    /// To whom the answers go, as many as there are.
    to: Vec<Option<S>>,
    sent: MultiHeaders<S>,
}

impl<S: Peer> Batch<S> {
    fn new() -> Self {
        Self {
            questions: Box::new([[0; QUESTION_OCTETS_MAX]; BATCH]),
            received: MultiHeaders::preallocate(BATCH, None),
            answers: Default::default(),
            to: Vec::with_capacity(BATCH),
            sent: MultiHeaders::preallocate(BATCH, None),
        }
    }
}

impl Worker {
    pub(super) fn run(self) {
        match self.socket.local_addr() {
            Ok(SocketAddr::V4(_)) => self.serve::<SockaddrIn>(),
            Ok(SocketAddr::V6(_)) => self.serve::<SockaddrIn6>(),
            Err(error) => tracing::error!(%error, "DNS has a socket without an address"),
        }
    }

    fn serve<S: Peer>(mut self) {
        let clock = Clock::start();
        let mut view = Cache::new(self.view.clone());
        let mut batch = Batch::<S>::new();
        while !self.stop.load(Ordering::Relaxed) {
            match self.answer(&mut batch, view.load(), &clock) {
                Ok(()) => self.send(&mut batch),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // An earlier answer met a closed port; it says nothing about the questions.
                Err(Errno::ECONNREFUSED) => {}
                Err(error) => {
                    tracing::error!(%error, "DNS receives no datagrams");
                    std::thread::sleep(std::time::Duration::from_millis(WAKE_EVERY_MS as u64));
                }
            }
        }
    }

    /// Takes what waits, at least one question, and answers it.
    fn answer<S: Peer>(
        &mut self,
        batch: &mut Batch<S>,
        view: &View,
        clock: &Clock,
    ) -> nix::Result<()> {
        batch.to.clear();
        let questions = batch.questions.each_mut();
        let mut slices = questions.map(|octets| [IoSliceMut::new(octets)]);
        let messages = recvmmsg(
            self.socket.as_raw_fd(),
            &mut batch.received,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        let now = clock.now();
        for message in messages {
            let (Some(from), Some(octets)) = (message.address, message.iovs().next()) else {
                continue;
            };
            let address = from.address();
            let out = &mut batch.answers[batch.to.len()];
            let outcome = self
                .responder
                .respond(view, octets, address, Transport::Udp, now, out);
            self.counters.count(Transport::Udp, outcome);
            if outcome.is_sent() {
                batch.to.push(Some(from));
            }
        }
        Ok(())
    }

    /// Sends all answers; one that the system refuses is left out, its client asks again.
    fn send<S: Peer>(&self, batch: &mut Batch<S>) {
        let slices = batch.answers.each_ref();
        let slices = slices.map(|octets| [IoSlice::new(octets)]);
        let mut done = 0;
        while done < batch.to.len() {
            let (slices, to) = (&slices[done..], &batch.to[done..]);
            let fd = self.socket.as_raw_fd();
            let headers = &mut batch.sent;
            let sent = sendmmsg(fd, headers, slices, to, [], MsgFlags::empty());
            match sent.map(Iterator::count) {
                Ok(count) if count > 0 => done += count,
                Err(Errno::EINTR) => {}
                _ => {
                    self.counters.unsent(1);
                    done += 1;
                }
            }
        }
    }
}
