//! What keeps a region's PostgreSQL server running under `up --postgres`.

use super::event::Happened;
use crate::retry::Backoff;
use meridian_engine_postgres::local::Cluster;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;

/// How often a server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A server that ran for this long is restarted as if for the first time.
const STEADY: Duration = Duration::from_secs(10);

/// How servers are kept running.
#[derive(Clone)]
pub struct Keeping {
    restart: bool,
    events: UnboundedSender<(String, Happened)>,
    is_ending: Arc<AtomicBool>,
}

impl Keeping {
    /// With or without a restart.
    pub fn new(restart: bool, events: UnboundedSender<(String, Happened)>) -> Self {
        Self {
            restart,
            events,
            is_ending: Arc::default(),
        }
    }

    /// No server is started from now on.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }
}

/// Watches a region's server in a thread of its own, and starts it again when it dies.
pub fn keep(region: &str, cluster: &Arc<Mutex<Cluster>>, keeping: &Keeping) {
    let (region, cluster) = (region.to_owned(), Arc::downgrade(cluster));
    let keeping = keeping.clone();
    thread::spawn(move || {
        let mut backoff = Backoff::new();
        let mut since = Instant::now();
        let mut why = None;
        while let (Some(cluster), false) = (cluster.upgrade(), keeping.is_ending()) {
            thread::sleep(LOOK_EVERY);
            let mut server = cluster.blocking_lock();
            if keeping.is_ending() {
                return;
            }
            if server.is_running() {
                if since.elapsed() >= STEADY {
                    backoff.reset();
                }
                continue;
            }
            let restart_after = keeping.restart.then(|| backoff.wait());
            let died = Happened::ServerDied {
                why: why.take(),
                log: server.log(),
                restart_after,
            };
            // Nobody listens once `up` has ended.
            let _ = keeping.events.send((region.clone(), died));
            drop(server);
            let Some(wait) = restart_after else { return };
            thread::sleep(wait);
            let mut server = cluster.blocking_lock();
            if keeping.is_ending() {
                return;
            }
            match server.start() {
                Ok(()) => {
                    since = Instant::now();
                    let _ = keeping
                        .events
                        .send((region.clone(), Happened::ServerStarted));
                }
                Err(error) => why = Some(error.to_string()),
            }
        }
    });
}
