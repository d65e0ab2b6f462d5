//! How a dataset stands with its server.

use super::PostgresConfig;
use super::checks::{CheckOrder, Comparisons, ServerComparison, ServerIntegrity};
use super::control::{Control, Side};
use super::parking::SharedParked;
use super::settled::Inquiries;
use crate::dataset::DatasetHandle;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use utoipa::ToSchema;

/// How a dataset stands with its PostgreSQL server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
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
    /// For how long something of the server's has been waiting to be captured, or may have been.
    pub lag_seconds: f64,
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
    /// For how long the oldest of these has been waiting, or may have been.
    pub write_lag_seconds: f64,
    /// Rows that a constraint of the server keeps out.
    pub rows_parked: u64,
    /// Of these, those that the server refuses by themselves. They wait; all other rows go on.
    pub rows_refused: u64,
    /// The first of these, with the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What has changed in the server since it was prepared, though all goes on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// The log's position up to which the server shows everything.
    pub position: u64,
    /// Messages with a tag that nobody here wrote, since the process started.
    pub forged_tags: u64,
    /// How often it has tried to join the server since the process started.
    pub tries: u64,
    /// Rows compared so far while it attaches.
    pub rows_compared: u64,
    /// Tables with rows that differ, of which nothing tells which side is right: somebody has to say.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<Differing>,
    /// What the last comparison of all rows while it attached came to, since the process started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<Met>,
    /// What the last comparison of all rows with those of the regions came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<ServerIntegrity>,
    /// Such comparisons since the process started.
    pub comparisons: u64,
}

/// Rows of a table that differ between the server and the other regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Differing {
    /// The table.
    pub table: String,
    /// How many.
    pub rows: u64,
    /// The first few keys.
    pub keys: Vec<String>,
    /// The same rows as both sides have them, where not very many tables differ.
    pub first: Vec<DifferingRow>,
}

/// A row that differs. Values are cut at 100 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DifferingRow {
    /// The row's key.
    pub key: String,
    /// The row that the server has, as JSON.
    #[schema(value_type = Option<Object>)]
    pub server: Option<serde_json::Value>,
    /// The row that the regions' tables have.
    #[schema(value_type = Option<Object>)]
    pub tables: Option<serde_json::Value>,
}

impl Differing {
    pub(super) fn first(&self) -> String {
        let key = self.keys.first().map(String::as_str);
        format!("{} of {}", key.unwrap_or_default(), self.table)
    }
}

/// What came of comparing a server with the tables when it was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Met {
    /// Why capture could not go on where it stood; absent at the first meeting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Rows of the server that were compared.
    pub rows_compared: u64,
    /// Rows of the server that became writes of this region.
    pub rows_taken: u64,
    /// Rows that the server lacked or had in an older state: they are written again.
    pub rows_to_write: u64,
    /// The side that somebody chose for rows of which nothing told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub take: Option<Side>,
    /// The same for single tables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub take_in: BTreeMap<String, Side>,
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
    /// The log takes nothing for now: it is at its budget, so that the server keeps its WAL; or the region
    /// joins, and another one would not understand. It goes on by itself.
    Waiting,
    /// It does not, until somebody has looked.
    Stopped,
    /// It was detached, and stays so until it is attached again.
    Detached,
}

/// A status that is written in one place and read in others.
#[derive(Clone, Debug, Default)]
pub struct SharedStatus {
    status: Arc<Mutex<Told>>,
    parked: SharedParked,
    control: Control,
    comparing: Arc<Comparing>,
}

/// What comparing the server needs.
#[derive(Debug, Default)]
struct Comparing {
    inquiries: Inquiries,
    comparisons: Comparisons,
    config: OnceLock<PostgresConfig>,
}

#[derive(Debug, Default)]
struct Told {
    status: PostgresStatus,
    /// Since when something waits to be captured.
    uncaptured_since: Option<Instant>,
    /// Since when something waits to be written.
    unwritten_since: Option<Instant>,
    /// When the last comparison ended.
    compared_at: Option<Instant>,
}

impl SharedStatus {
    /// The status as of now.
    #[must_use]
    pub fn now(&self) -> PostgresStatus {
        let told = self.lock();
        let seconds = |since: Option<Instant>| since.map_or(0.0, |it| it.elapsed().as_secs_f64());
        let counts = self.parked.counts();
        let compared = told
            .status
            .compared
            .clone()
            .map(|compared| ServerIntegrity {
                seconds_ago: seconds(told.compared_at),
                ..compared
            });
        PostgresStatus {
            compared,
            lag_seconds: seconds(told.uncaptured_since),
            write_lag_seconds: seconds(told.unwritten_since),
            rows_parked: counts.total,
            rows_refused: counts.refused,
            refused: self.parked.first_refused(),
            ..told.status.clone()
        }
    }

    /// The rows that the server doesn't show.
    #[must_use]
    pub fn parked(&self) -> &SharedParked {
        &self.parked
    }

    /// What is asked of it.
    #[must_use]
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What whoever compares asks the conductor.
    pub(super) fn inquiries(&self) -> &Inquiries {
        &self.comparing.inquiries
    }

    /// The comparisons that were asked for.
    pub(crate) fn comparisons(&self) -> &Comparisons {
        &self.comparing.comparisons
    }

    /// How the server is reached.
    pub(super) fn configure(&self, config: &PostgresConfig) {
        let _ = self.comparing.config.set(config.clone());
    }

    /// Begins to compare the server with the tables of `dataset`, whose status this is; `None` while that
    /// goes on already, or nobody looks after the dataset yet.
    pub(crate) fn begin_comparison(
        &self,
        dataset: &DatasetHandle,
        order: CheckOrder,
    ) -> Option<ServerComparison> {
        let config = self.comparing.config.get()?.clone();
        self.comparing.comparisons.begin(config, dataset, order)
    }

    /// All rows were compared.
    pub(super) fn compared(&self, integrity: ServerIntegrity) {
        let mut told = self.lock();
        told.status.compared = Some(integrity);
        told.status.comparisons += 1;
        told.compared_at = Some(Instant::now());
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut PostgresStatus)) {
        change(&mut self.lock().status);
    }

    /// Since when something waits to be captured, and to be written.
    pub(super) fn waits_since(&self, uncaptured: Option<Instant>, unwritten: Option<Instant>) {
        let mut told = self.lock();
        (told.uncaptured_since, told.unwritten_since) = (uncaptured, unwritten);
    }

    /// Nobody knows any more what the server commits, or whether it shows what others do.
    pub(super) fn loses_contact(&self) {
        let mut told = self.lock();
        let now = Instant::now();
        told.uncaptured_since.get_or_insert(now);
        told.unwritten_since.get_or_insert(now);
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_grows_while_nobody_can_look() {
        let shared = SharedStatus::default();
        assert_eq!(shared.now().lag_seconds, 0.0);
        shared.loses_contact();
        let first = shared.now().lag_seconds;
        shared.loses_contact();
        assert!(shared.now().lag_seconds >= first && shared.now().lag_seconds > 0.0);
        shared.waits_since(None, None);
        assert_eq!(shared.now().write_lag_seconds, 0.0);
    }
}
