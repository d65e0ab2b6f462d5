//! Datagrams, many in one call.

use super::{Clock, Counters, SharedView};
use crate::respond::{Responder, Transport, View};
use arc_swap::Cache;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReceiveTimeout, ReusePort};
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrLike, SockaddrStorage,
    recvmmsg, sendmmsg, setsockopt, socket,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Questions taken in one call at most.
const BATCH: usize = 64;
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

/// Answers to be sent, in buffers that are used again.
struct Answers {
    octets: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
}

impl Worker {
    pub(super) fn run(mut self) {
        let clock = Clock::start();
        let mut view = Cache::new(self.view.clone());
        let mut questions = vec![0; BATCH * QUESTION_OCTETS_MAX];
        let mut received = MultiHeaders::preallocate(BATCH, None);
        let mut sent = MultiHeaders::preallocate(BATCH, None);
        let mut answers = Answers {
            octets: vec![Vec::new(); BATCH],
            to: Vec::with_capacity(BATCH),
        };
        while !self.stop.load(Ordering::Relaxed) {
            answers.to.clear();
            match self.answer(
                &mut questions,
                &mut received,
                view.load(),
                &clock,
                &mut answers,
            ) {
                Ok(()) => self.send(&mut sent, &answers),
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
    fn answer(
        &mut self,
        questions: &mut [u8],
        headers: &mut MultiHeaders<SockaddrStorage>,
        view: &View,
        clock: &Clock,
        answers: &mut Answers,
    ) -> nix::Result<()> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = questions
            .chunks_mut(QUESTION_OCTETS_MAX)
            .map(|chunk| [IoSliceMut::new(chunk)])
            .collect();
        let fd = self.socket.as_raw_fd();
        let messages = recvmmsg(
            fd,
            headers,
            slices.iter_mut(),
            MsgFlags::MSG_WAITFORONE,
            None,
        )?;
        let now = clock.now();
        for message in messages {
            let (Some(from), Some(octets)) = (message.address, message.iovs().next()) else {
                continue;
            };
            let Some(address) = ip_of(&from) else {
                continue;
            };
            let out = &mut answers.octets[answers.to.len()];
            let outcome = self
                .responder
                .respond(view, octets, address, Transport::Udp, now, out);
            self.counters.count(Transport::Udp, outcome);
            if outcome.is_sent() {
                answers.to.push(Some(from));
            }
        }
        Ok(())
    }

    /// Sends all answers; one that the system refuses is left out, its client asks again.
    fn send(&self, headers: &mut MultiHeaders<SockaddrStorage>, answers: &Answers) {
        let mut done = 0;
        while done < answers.to.len() {
            let octets = &answers.octets[done..answers.to.len()];
            let slices: Vec<[IoSlice<'_>; 1]> =
                octets.iter().map(|octets| [IoSlice::new(octets)]).collect();
            let to = &answers.to[done..];
            let fd = self.socket.as_raw_fd();
            let sent = sendmmsg(fd, headers, slices.iter(), to, [], MsgFlags::empty());
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

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    match address.family()? {
        AddressFamily::Inet => Some(address.as_sockaddr_in()?.ip().into()),
        AddressFamily::Inet6 => Some(address.as_sockaddr_in6()?.ip().into()),
        _ => None,
    }
}
