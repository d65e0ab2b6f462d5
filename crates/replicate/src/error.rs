//! What can go wrong in a dataset's machine, and whose fault it is.

use crate::EngineError;
use meridian_log::LogError;
use meridian_model::{ClockError, DecodeError, Position, RegionName};

/// What to do where tables are gone that the log no longer tells.
pub const LOST_TABLES: &str = "keep the dataset's directory; the other regions hold what this one had \
     told them: evict it there (`meridian regions evict`), move the directory away, start it with \
     --join and add it again (`meridian regions add`)";

/// The dataset can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log can't be read.
    #[error("the log can't be read")]
    Log(#[source] LogError),
    /// The tables can't be written.
    #[error("the tables can't be written")]
    Tables(#[source] EngineError),
    /// The road's state that was kept with the tables is damaged.
    #[error("the state kept with the tables is damaged")]
    Road(#[source] postcard::Error),
    /// An entry of the log is not an entry.
    #[error("an entry of the log can't be read")]
    Entry(#[source] DecodeError),
    /// An entry of the log could not be applied.
    #[error("the log's entries before position {position} can't be applied: {reason}")]
    Replay {
        /// Where the log was being read.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The tables are older than the log's first entry: they were removed or rolled back.
    #[error(
        "the tables end at position {tables}, but the log begins at {log}\n\nhint: {LOST_TABLES}"
    )]
    TablesBehindLog {
        /// The tables' position.
        tables: Position,
        /// The log's first position.
        log: Position,
    },
    /// The tables are gone, and only they said which incarnation this region is.
    #[error(
        "the tables were removed, and with them which incarnation this region is\n\nhint: {LOST_TABLES}"
    )]
    Identity,
    /// The founding entry could not be committed.
    #[error("the dataset's first entry can't be committed")]
    Commit(#[source] CommitError),
    /// The clock is used up.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// A client's transaction is not taken. `X` is the engine's own rejection.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<X> {
    /// The request can't be executed: the client's matter.
    #[error("rejected")]
    Rejected(X),
    /// The dataset takes no writes until somebody has looked.
    #[error("the dataset is stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The region takes no writes while it joins or leaves.
    #[error("{reason}")]
    NotServing {
        /// What it is doing.
        reason: String,
    },
    /// A member doesn't understand what would be written.
    #[error("region {region} is not known to speak wire version {version}, which this needs")]
    NotSpoken {
        /// The member.
        region: RegionName,
        /// The version that is needed.
        version: u16,
    },
    /// The log takes as much disk as it may: peers have been away too long.
    #[error("the log takes {bytes} bytes of disk, more than the {bytes_max} it may")]
    LogBudget {
        /// The log's size.
        bytes: u64,
        /// The budget.
        bytes_max: u64,
    },
    /// The clock is used up.
    #[error(transparent)]
    Clock(ClockError),
}

/// What became of a round that could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The log took nothing of it: it never happened.
    #[error("the log can't be written")]
    Log(#[source] LogError),
    /// It is durable and will be visible after a restart, but the tables could not follow.
    #[error("the write is durable, but the tables can't follow: {reason}")]
    Tables {
        /// Why.
        reason: String,
    },
}
