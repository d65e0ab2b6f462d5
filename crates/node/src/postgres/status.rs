//! How a dataset stands with its server.

use serde::Serialize;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::ToSchema;

/// How a dataset stands with its PostgreSQL server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct PostgresStatus {
    /// What it is doing.
    pub state: PostgresState,
    /// Why it doesn't run, or the last trouble it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The replication slot.
    pub slot: String,
    /// Up to where the server's WAL is captured and durable in the log.
    pub captured: String,
    /// Where the server's WAL ends.
    pub written: String,
    /// How many bytes of WAL lie between these two.
    pub lag_bytes: u64,
    /// How many bytes of WAL the server keeps for the slot.
    pub held_bytes: u64,
    /// Transactions captured since the process started.
    pub transactions_captured: u64,
    /// Transactions in which rows were projected since the process started.
    pub projections: u64,
    /// Rows that these wrote.
    pub rows_projected: u64,
    /// Rows that the server doesn't show yet as the tables do.
    pub rows_dirty: u64,
    /// Rows that a constraint of the server keeps out.
    pub rows_parked: u64,
    /// The log's position up to which the server shows everything.
    pub position: u64,
    /// Messages with a tag that nobody here wrote, since the process started.
    pub forged_tags: u64,
}

/// What a dataset does with its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresState {
    /// It connects, or tries to again.
    #[default]
    Connecting,
    /// It takes over the rows that are there.
    Attaching,
    /// It captures and projects.
    Running,
    /// The log takes nothing for now, so that the server keeps its WAL; it goes on by itself.
    Waiting,
    /// It does not, until somebody has looked.
    Stopped,
}

/// A status that is written in one place and read in others.
#[derive(Clone, Debug, Default)]
pub struct SharedStatus(Arc<Mutex<PostgresStatus>>);

impl SharedStatus {
    /// The status as of now.
    #[must_use]
    pub fn now(&self) -> PostgresStatus {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut PostgresStatus)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
