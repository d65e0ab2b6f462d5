//! What happens to the regions of an `up`.

use crate::reading::Reading;
use crate::regions::reading::Regions;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Something that happened to one region, by its place in the topology.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which region, from 0.
    pub region: usize,
    /// What happened.
    pub happened: Happened,
}

/// What happened to a region.
#[derive(Clone, Debug)]
pub enum Happened {
    /// Its process runs.
    Started {
        /// The process.
        process_id: u32,
    },
    /// It serves reads and writes.
    Ready {
        /// Since its process started.
        after: Duration,
    },
    /// Its process ended, unasked.
    Died(Death),
    /// It was asked to end, and did.
    Stopped {
        /// Whether it had to be killed.
        was_killed: bool,
    },
    /// It said how it stands, or did not answer.
    Read(Option<Box<Reading>>),
    /// It said who the members are, other than before.
    Members(Box<Regions>),
    /// It has joined the system that runs, and is about to be started.
    Admitted {
        /// Where what it held when it left is set aside, if it was here before.
        set_aside: Option<PathBuf>,
    },
    /// It has left the system, and is about to be stopped.
    Left,
    /// Its PostgreSQL server ended, unasked, or could not be started again.
    ServerDied {
        /// Why it could not be started, if that was tried.
        why: Option<String>,
        /// Where the server writes what it has to say.
        log: PathBuf,
        /// After how long it is started again; none if it is not.
        restart_after: Option<Duration>,
    },
    /// Its PostgreSQL server runs again.
    ServerStarted,
    /// Something of its PostgreSQL server stays out of replication.
    LeftOut {
        /// What and why.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// The end of a process that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Death {
    /// How it ended: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub status: String,
    /// Whether it had served before.
    pub was_ready: bool,
    /// The last lines that it said.
    pub last_lines: Vec<String>,
    /// After how long it is started again; none if it is not.
    pub restart_after: Option<Duration>,
}
