//! Sockets: datagrams on threads of their own, streams on another.
//!
//! Datagrams are nearly all of the traffic. Each thread has a socket of its own at the same address
//! (SO_REUSEPORT: the kernel spreads clients over them), takes as many questions as wait in one call,
//! answers them and sends all answers in another. Threads share nothing but the [`View`], which they
//! look at once for each batch.
//!
//! Streams have one thread, so that whoever floods them keeps nothing else of the process from its
//! work.

mod counters;
mod tcp;
mod udp;

pub use counters::{Counters, Counts};

use crate::cookie::CookieSecret;
use crate::limit::Limiter;
use crate::respond::{Moment, Responder, View};
use arc_swap::ArcSwap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses, each for datagrams and streams; port 0 for any free one, the same for both.
    pub addresses: Vec<SocketAddr>,
    /// Threads for each address's datagrams.
    pub threads: usize,
    /// Answers of a kind that a network is sent in a second; 0: all.
    pub answers_per_second_max: u32,
    /// Whether loopback counts too.
    pub limits_loopback: bool,
    /// What cookies are made with.
    pub cookie_secret: CookieSecret,
}

/// Why a server didn't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address can't be listened on.
    #[error("DNS can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread.
    #[error("no thread for DNS")]
    Thread(#[source] io::Error),
}

/// The view that is served now; storing another one is all that a change takes.
pub type SharedView = Arc<ArcSwap<View>>;

/// A server at work. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    counters: Vec<Arc<Counters>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// Dropped, they end the threads of streams.
    ends: Vec<oneshot::Sender<Infallible>>,
}

impl Server {
    /// Begins to serve.
    ///
    /// # Errors
    ///
    /// [`ServeError`] naming the address.
    pub fn start(settings: &Settings, view: SharedView) -> Result<Self, ServeError> {
        let mut server = Self {
            addresses: Vec::new(),
            counters: Vec::new(),
            stop: Arc::default(),
            threads: Vec::new(),
            ends: Vec::new(),
        };
        for address in &settings.addresses {
            server.listen(*address, settings, &view)?;
        }
        Ok(server)
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        settings: &Settings,
        view: &SharedView,
    ) -> Result<(), ServeError> {
        let failed = |source| ServeError::Listen { address, source };
        let listener = tcp::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        for _ in 0..settings.threads.max(1) {
            let socket = udp::bind(address).map_err(failed)?;
            let worker = udp::Worker {
                socket,
                view: view.clone(),
                responder: Responder::new(
                    Limiter::new(settings.answers_per_second_max, settings.limits_loopback),
                    settings.cookie_secret.clone(),
                ),
                counters: self.counters(),
                stop: self.stop.clone(),
            };
            self.spawn("dns", move || worker.run())?;
        }
        let streams = tcp::Streams::new(
            view.clone(),
            settings.cookie_secret.clone(),
            self.counters(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(ServeError::Thread)?;
        let (end, ended) = oneshot::channel::<Infallible>();
        self.ends.push(end);
        self.spawn("dns-streams", move || {
            runtime.block_on(async {
                tokio::select! {
                    () = streams.accept(listener) => {}
                    _ = ended => {}
                }
            });
        })?;
        self.addresses.push(address);
        Ok(())
    }

    fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), ServeError> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(work).map_err(ServeError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn counters(&mut self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.counters.push(counters.clone());
        counters
    }

    /// Where it listens, in the order of the settings.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.iter().map(|counters| counters.read()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.ends.clear();
        for thread in self.threads.drain(..) {
            // A thread that has panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Reads both clocks for answers.
#[derive(Debug)]
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn now(&self) -> Moment {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Moment {
            seconds: since.as_secs() as u32,
            elapsed_ms: self.0.elapsed().as_millis() as u32,
        }
    }
}
