//! Observers: threads that wait for a key to be visible in a region.
//!
//! Each has its thread, its connection and a runtime of its own, because tokio's timers count in
//! milliseconds and the pause between two looks is a tenth of one: the thread itself sleeps.

use anyhow::{Context, Result, bail};
use meridian_bench::cluster::Region;
use meridian_bench::meridian::MeridianClient;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SIGHT_DEADLINE: Duration = Duration::from_secs(20);

/// A key to wait for.
struct Watch {
    number: u64,
    key: String,
}

/// When a key was first seen.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// The write's number.
    pub number: u64,
    /// When the reply arrived that first showed it.
    pub visible: Instant,
    /// How much earlier it may have been visible: the look before began so long before.
    pub resolution: Duration,
}

/// All observers.
pub struct Observers {
    watches: Vec<Sender<Watch>>,
    idle: Mutex<Receiver<usize>>,
    threads: Vec<JoinHandle<Result<Vec<Sighting>>>>,
}

impl Observers {
    /// Starts `count` observers, spread over `regions`.
    pub fn start(regions: &[Region], table: &str, count: usize, pause: Duration) -> Self {
        let (idle_sender, idle) = channel();
        let mut watches = Vec::new();
        let mut threads = Vec::new();
        for (index, region) in regions.iter().cycle().take(count).enumerate() {
            let (sender, receiver) = channel();
            let observer = Observer {
                index,
                api: region.api,
                table: table.to_owned(),
                pause,
                idle: idle_sender.clone(),
            };
            watches.push(sender);
            threads.push(std::thread::spawn(move || observer.run(&receiver)));
        }
        Self {
            watches,
            idle: Mutex::new(idle),
            threads,
        }
    }

    /// An observer with nothing to watch, if there is one; it is then taken.
    pub fn take_idle(&self) -> Option<usize> {
        let idle = self.idle.lock().expect("no holder of the lock panics");
        idle.try_recv().ok()
    }

    /// Has a taken observer wait for a key.
    pub fn watch(&self, observer: usize, number: u64, key: &str) {
        // An observer that has failed says why in `finish`.
        let _ = self.watches[observer].send(Watch {
            number,
            key: key.to_owned(),
        });
    }

    /// Waits for the observers' last watches; gives all sightings.
    pub fn finish(self) -> Result<Vec<Sighting>> {
        drop(self.watches);
        let mut sightings = Vec::new();
        for thread in self.threads {
            match thread.join() {
                Ok(seen) => sightings.extend(seen.context("watch for rows in another region")?),
                Err(_) => bail!("an observer panicked"),
            }
        }
        Ok(sightings)
    }
}

struct Observer {
    index: usize,
    api: SocketAddr,
    table: String,
    pause: Duration,
    idle: Sender<usize>,
}

impl Observer {
    fn run(&self, watches: &Receiver<Watch>) -> Result<Vec<Sighting>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start an observer's runtime")?;
        let connect = MeridianClient::connect(self.api, &self.table);
        let mut client = runtime.block_on(connect)?;
        let mut sightings = Vec::new();
        self.be_idle();
        while let Ok(watch) = watches.recv() {
            sightings.push(runtime.block_on(self.look(&mut client, &watch))?);
            self.be_idle();
        }
        Ok(sightings)
    }

    fn be_idle(&self) {
        // Nobody to tell any more when the run is over.
        let _ = self.idle.send(self.index);
    }

    async fn look(&self, client: &mut MeridianClient, watch: &Watch) -> Result<Sighting> {
        let begun = Instant::now();
        let mut previous_look = begun;
        loop {
            let look = Instant::now();
            if client.row(&watch.key).await?.is_some() {
                let visible = Instant::now();
                return Ok(Sighting {
                    number: watch.number,
                    visible,
                    resolution: visible - previous_look,
                });
            }
            if begun.elapsed() > SIGHT_DEADLINE {
                bail!(
                    "{} was not visible at {} within {} s",
                    watch.key,
                    self.api,
                    SIGHT_DEADLINE.as_secs()
                );
            }
            previous_look = look;
            // The runtime is this thread's own and has nothing else to do.
            std::thread::sleep(self.pause);
        }
    }
}
