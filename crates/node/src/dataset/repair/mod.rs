//! Repair of a dataset: comparing its rows with the peers' in the background and on request, and
//! mending at once what somebody has run into.
//!
//! ```text
//! every `compare-every` ─┐
//! POST …/comparisons ────┼─▶ run ── sections, looks ──▶ thread (views, mendings)
//!                        │      └── questions ────────▶ peers
//! a damaged row was read ┤
//! a damaged row stops ───┴─▶ urgent: one row, past the queue
//! ```

mod answer;
mod run;
mod state;
mod urgent;

pub(crate) use answer::answer;
pub use run::RunError;
pub(crate) use run::{Request, run};
pub use state::{Completed, Integrity, PeerIntegrity, Progress, Totals};

use super::DatasetHandle;
use meridian_model::{RowName, Span};
use meridian_replicate::compare::Scope;
use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};

/// How a dataset is compared in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepairConfig {
    /// How often; not at all where it is zero.
    pub compare_every: Duration,
    /// How many rows a second at most.
    pub rows_per_second_max: u64,
}

impl Default for RepairConfig {
    fn default() -> Self {
        Self {
            compare_every: Duration::from_hours(1),
            rows_per_second_max: 50_000,
        }
    }
}

/// Rows that wait to be mended because somebody ran into them. While no region with a good copy
/// answers, each read of a damaged row asks again.
const URGENT_MAX: usize = 1024;

/// What repair knows and what it is to do; clones share it.
#[derive(Clone)]
pub(crate) struct Repairs(Arc<Shared>);

struct Shared {
    config: RepairConfig,
    state: Mutex<State>,
    /// The row that stops the tables, as their thread says.
    blocked: watch::Sender<Option<RowName>>,
    urgent: mpsc::Sender<RowName>,
    urgent_rows: Mutex<Option<mpsc::Receiver<RowName>>>,
    /// Peers' questions and this region's own that read many rows go one after the other.
    reading: Semaphore,
    /// Whole comparisons do, too.
    comparing: Semaphore,
}

impl Repairs {
    pub(super) fn new(config: RepairConfig) -> Self {
        let (urgent, urgent_rows) = mpsc::channel(URGENT_MAX);
        Self(Arc::new(Shared {
            config,
            state: Mutex::default(),
            blocked: watch::Sender::new(None),
            urgent,
            urgent_rows: Mutex::new(Some(urgent_rows)),
            reading: Semaphore::new(1),
            comparing: Semaphore::new(1),
        }))
    }

    /// Somebody ran into a damaged row.
    pub(crate) fn mend_soon(&self, row: &RowName) {
        // Nobody mends in a region that is shutting down; and where enough rows wait already, whoever
        // reads this one again asks for it again.
        let _ = self.0.urgent.try_send(row.clone());
    }

    /// The thread says for which row the tables wait.
    pub(super) fn waits_for(&self, row: Option<&RowName>) {
        self.0.blocked.send_if_modified(|blocked| {
            let is_other = blocked.as_ref() != row;
            if is_other {
                *blocked = row.cloned();
            }
            is_other
        });
    }

    /// The row for which the tables wait, as their thread has said.
    pub(crate) fn waiting_for(&self) -> Option<RowName> {
        self.0.blocked.borrow().clone()
    }

    /// How things stand.
    pub(crate) fn integrity(&self) -> Integrity {
        self.state().integrity()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after a dataset's rows for as long as it is polled.
pub(crate) async fn look_after(dataset: DatasetHandle) {
    tokio::join!(
        compare_in_the_background(&dataset),
        urgent::mend_what_is_read(&dataset),
        urgent::mend_what_stops_the_tables(&dataset),
    );
}

async fn compare_in_the_background(dataset: &DatasetHandle) {
    let config = dataset.repairs().0.config;
    if config.compare_every.is_zero() {
        return;
    }
    loop {
        // Not all regions at the same moment, nor right after a start.
        let pause = config.compare_every.mul_f64(0.75 + fastrand::f64() / 2.0);
        tokio::time::sleep(pause).await;
        let request = Request {
            scope: Scope::Spans(vec![Span::default()]),
            repair: true,
            prefer: None,
            rows_per_second_max: Some(config.rows_per_second_max),
        };
        if let Err(error) = run(dataset, request, &mut |_| {}).await {
            tracing::warn!(dataset = dataset.name(), %error, "the rows were not compared");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_a_damaged_row_do_not_fill_memory() {
        let repairs = Repairs::new(RepairConfig::default());
        let row = RowName {
            table: "t".to_owned(),
            key: "k".to_owned(),
        };
        for _ in 0..4 * URGENT_MAX {
            repairs.mend_soon(&row);
        }
        let mut waiting = repairs.0.urgent_rows.lock().unwrap().take().unwrap();
        let count = std::iter::from_fn(|| waiting.try_recv().ok()).count();
        assert_eq!(count, URGENT_MAX);
    }
}
