//! Streams (RFC 7766): a length before each message, questions one after the other, as many as the
//! client likes while it keeps asking.
//!
//! Connections cost memory that datagrams don't, so they are bounded: in all, for each address, and
//! in time. A client that sends or reads slowly loses its connection, nobody else notices.

use super::{Clock, Counters, SharedView};
use crate::cookie::CookieSecret;
use crate::limit::Limiter;
use crate::respond::{Responder, Transport};
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, listen, setsockopt, socket,
};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of one address at once.
const CONNECTIONS_OF_ADDRESS_MAX: usize = 64;
/// How long a connection may be without a question (RFC 7766 §6.2.3: a few seconds).
const IDLE_MAX: Duration = Duration::from_secs(10);
/// How long a message may take to arrive once its length has, and an answer to be taken.
const MESSAGE_MAX: Duration = Duration::from_secs(5);

/// A listener; an address can be taken again at once after a restart.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &true)?;
    }
    nix::sys::socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(256)?)?;
    Ok(std::net::TcpListener::from(fd))
}

/// All connections of one listener.
#[derive(Clone)]
pub(super) struct Streams {
    view: SharedView,
    secret: CookieSecret,
    counters: Arc<Counters>,
    room: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Streams {
    pub(super) fn new(view: SharedView, secret: CookieSecret, counters: Arc<Counters>) -> Self {
        Self {
            view,
            secret,
            counters,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            by_address: Arc::default(),
        }
    }

    pub(super) async fn accept(self, listener: std::net::TcpListener) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "DNS takes no connections");
                return;
            }
        };
        loop {
            let room = self.room.clone().acquire_owned().await;
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "DNS accepts no connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = Place::take(&self.by_address, from.ip()) else {
                continue;
            };
            let streams = self.clone();
            tokio::spawn(async move {
                // A connection that fails is its client's affair: there is nobody to tell.
                let _ = streams.serve(stream, from.ip()).await;
                drop((room, place));
            });
        }
    }

    async fn serve(&self, mut stream: TcpStream, from: IpAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let clock = Clock::start();
        let mut responder = Responder::new(Limiter::new(0, false), self.secret.clone());
        let mut question = Vec::new();
        let mut answer = Vec::new();
        loop {
            let length = timeout(IDLE_MAX, stream.read_u16()).await??;
            question.resize(usize::from(length), 0);
            timeout(MESSAGE_MAX, stream.read_exact(&mut question)).await??;
            let view = self.view.load_full();
            let outcome = responder.respond(
                &view,
                &question,
                from,
                Transport::Tcp,
                clock.now(),
                &mut answer,
            );
            self.counters.count(Transport::Tcp, outcome);
            if !outcome.is_sent() {
                // Nobody who means well sends what can't be answered.
                return Ok(());
            }
            // Length and message in one segment (RFC 7766 §8).
            let length = (answer.len() as u16).to_be_bytes();
            answer.splice(0..0, length);
            timeout(MESSAGE_MAX, stream.write_all(&answer)).await??;
            // Whoever sends questions without end takes turns with the others.
            tokio::task::yield_now().await;
        }
    }
}

/// One connection of an address, until it is dropped.
struct Place {
    of: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Place {
    fn take(by_address: &Arc<Mutex<HashMap<IpAddr, usize>>>, of: IpAddr) -> Option<Self> {
        let mut counts = by_address.lock().expect("nothing panics while counting");
        let count = counts.entry(of).or_default();
        if *count >= CONNECTIONS_OF_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        Some(Self {
            of,
            by_address: by_address.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .by_address
            .lock()
            .expect("nothing panics while counting");
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}
