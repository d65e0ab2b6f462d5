//! Damage that somebody has run into: it doesn't wait for the next comparison.

use super::super::DatasetHandle;
use super::run::{Request, ask_one, peers, run_now};
use meridian_model::{Answer, Question, RowName};
use meridian_replicate::compare::{Mending, Scope};
use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

/// After this another region is asked, or the same ones again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Rows that are mended together.
const TOGETHER_MAX: usize = 256;

/// Mends rows whose damage a reader or a writer has met.
pub(super) async fn mend_what_is_read(dataset: &DatasetHandle) {
    let rows = &dataset.repairs().0.urgent_rows;
    let taken = rows.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut rows) = taken else { return };
    while let Some(first) = rows.recv().await {
        let more = std::iter::from_fn(|| rows.try_recv().ok());
        let names: BTreeSet<RowName> = std::iter::once(first)
            .chain(more.take(TOGETHER_MAX))
            .collect();
        let request = Request {
            scope: Scope::Rows(names.into_iter().collect()),
            repair: true,
            prefer: None,
            rows_per_second_max: None,
        };
        // Whoever reads the row again asks for it again.
        let _ = run_now(dataset, request, &mut |_| {}).await;
    }
}

/// Gets the row for which the tables wait from any region that has a good copy.
///
/// The tables can't come to where the others are, so there is no waiting until a difference counts:
/// the copy that comes is ahead, and is remembered to be.
pub(super) async fn mend_what_stops_the_tables(dataset: &DatasetHandle) {
    let mut blocked = dataset.repairs().0.blocked.subscribe();
    loop {
        let row = blocked.borrow_and_update().clone();
        let Some(row) = row else {
            if blocked.changed().await.is_err() {
                return;
            }
            continue;
        };
        tracing::error!(dataset = dataset.name(), %row, "a damaged row stops the tables");
        if fetch_and_mend(dataset, &row).await {
            tracing::warn!(dataset = dataset.name(), %row, "the row is mended, the tables go on");
        }
        // The thread says when the tables wait no more, or for another row.
        let _ = tokio::time::timeout(ASK_AGAIN_AFTER, blocked.changed()).await;
    }
}

async fn fetch_and_mend(dataset: &DatasetHandle, row: &RowName) -> bool {
    let Some((expected, covering)) = dataset.blocked_copy(row).await else {
        return false;
    };
    for peer in peers(dataset) {
        let question = Question::Fetch {
            names: vec![row.clone()],
            covering: covering.clone(),
        };
        let Ok(Answer::Fetched(mut fetched)) = ask_one(dataset, &peer, question).await else {
            continue;
        };
        let Some(good) = fetched.rows.pop() else {
            continue;
        };
        let mending = Mending {
            name: row.clone(),
            expected,
            as_of: fetched.as_of,
            ahead: true,
            row: good,
        };
        if dataset.unblock(mending).await {
            return true;
        }
    }
    false
}
