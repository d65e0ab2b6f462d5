//! Observers: threads that wait for a row to be visible in a server.
//!
//! Each has its thread, its session and a runtime of its own, because tokio's timers count in
//! milliseconds and the pause between two looks is a tenth of one: the thread itself sleeps.
//!
//! A look costs a server's process and this one some 100 microseconds together. A row that is late is
//! looked for less often, or on a machine that has fallen behind the looking alone would take what it
//! needs to come by again: a system that is late once would stay late.

use anyhow::{Context, Result, bail};
use meridian_bench::postgres::{DATABASE, ROLE, Servers};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls, Statement};

const SIGHT_DEADLINE: Duration = Duration::from_secs(30);
/// The pause grows to this part of how long the row has been waited for: its moment is too late by no
/// more than that.
const PAUSE_PART: u32 = 16;

/// When a row was first seen.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Its id.
    pub id: u64,
    /// When the answer arrived that first showed it.
    pub visible: Instant,
    /// How much earlier it may have been visible: the look before began so long before.
    pub resolution: Duration,
}

/// All observers.
pub struct Observers {
    watches: Vec<Sender<u64>>,
    idle: Mutex<Receiver<usize>>,
    threads: Vec<JoinHandle<Result<Vec<Sighting>>>>,
}

impl Observers {
    /// Starts `count` observers of a server.
    pub fn start(servers: &Servers, server: usize, count: usize, pause: Duration) -> Self {
        let (idle_sender, idle) = channel();
        let mut watches = Vec::new();
        let mut threads = Vec::new();
        for index in 0..count {
            let (sender, receiver) = channel();
            let observer = Observer {
                index,
                port: servers.port(server),
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

    /// Has an observer without anything to watch wait for a row, if there is one; whether.
    pub fn watch(&self, id: u64) -> bool {
        let idle = self.idle.lock().expect("no holder of the lock panics");
        match idle.try_recv() {
            // An observer that has failed says why in `finish`.
            Ok(observer) => self.watches[observer].send(id).is_ok(),
            Err(_) => false,
        }
    }

    /// Waits for the observers' last watches; gives all sightings.
    pub fn finish(self) -> Result<Vec<Sighting>> {
        drop(self.watches);
        let mut sightings = Vec::new();
        for thread in self.threads {
            match thread.join() {
                Ok(seen) => sightings.extend(seen.context("watch for rows in the other server")?),
                Err(_) => bail!("an observer panicked"),
            }
        }
        Ok(sightings)
    }
}

struct Observer {
    index: usize,
    port: u16,
    pause: Duration,
    idle: Sender<usize>,
}

impl Observer {
    fn run(&self, watches: &Receiver<u64>) -> Result<Vec<Sighting>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start an observer's runtime")?;
        let client = runtime.block_on(connect(self.port))?;
        let query = "SELECT 1 FROM pings WHERE id = $1";
        let look = runtime.block_on(client.prepare(query))?;
        let mut sightings = Vec::new();
        self.be_idle();
        while let Ok(id) = watches.recv() {
            sightings.push(runtime.block_on(self.look(&client, &look, id))?);
            self.be_idle();
        }
        Ok(sightings)
    }

    fn be_idle(&self) {
        // Nobody to tell any more when the run is over.
        let _ = self.idle.send(self.index);
    }

    async fn look(&self, client: &Client, query: &Statement, id: u64) -> Result<Sighting> {
        let begun = Instant::now();
        let mut previous_look = begun;
        loop {
            let look = Instant::now();
            if client
                .query_opt(query, &[&id.cast_signed()])
                .await?
                .is_some()
            {
                let visible = Instant::now();
                return Ok(Sighting {
                    id,
                    visible,
                    resolution: visible - previous_look,
                });
            }
            if begun.elapsed() > SIGHT_DEADLINE {
                bail!(
                    "row {id} was not visible within {} s",
                    SIGHT_DEADLINE.as_secs()
                );
            }
            previous_look = look;
            // The runtime is this thread's own and has nothing else to do.
            std::thread::sleep(self.pause.max(begun.elapsed() / PAUSE_PART));
        }
    }
}

/// A session on this thread's runtime.
pub async fn connect(port: u16) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(ROLE)
        .dbname(DATABASE)
        .connect(NoTls)
        .await
        .context("connect to a server")?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told the same.
        let _ = connection.await;
    });
    Ok(client)
}
