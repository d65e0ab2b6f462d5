//! A batch of few rows, sent at once.
//!
//! ```text
//!  BEGIN · deletes · writes · position and tag · deferred constraints, COMMIT, where the WAL goes on
//! ```
//!
//! Every turn with the server waits for a processor at both ends, however little there is to do. So all
//! statements go together, and nothing can be looked at in between: each fails where it hasn't written
//! all of its rows, and with it the transaction. Such a batch is written in turns, which tell why.

use super::error::{ApplyError, Refusal, xid};
use super::plan::Plan;
use super::rows::{self, Columns, Rows};
use super::session::begin;
use super::{Applier, position, sql};
use crate::projection::{Outcome, Projected};
use futures_util::future::join_all;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

/// Up to so many rows: with more, a turn costs little beside them.
const ROWS_MAX: usize = 100;
/// After one that failed, so many batches go in turns, and twice as many with each that fails too: rows
/// are busy there, and the server's log has a line for each failure.
const IN_TURNS_MIN: u32 = 50;
const IN_TURNS_MAX: u32 = 3_200;

/// What came of sending a batch at once.
pub(super) enum AtOnce {
    Committed(Outcome),
    /// Nothing was written: a row is locked for too long.
    Locked,
    /// Nothing was written: it has to be planned.
    Violation,
    /// Nothing was written: rows have to be looked at.
    InTurns,
}

/// For how long batches go in turns.
#[derive(Debug)]
pub(super) struct Pause {
    batches_left: u32,
    after_next_failure: u32,
}

impl Default for Pause {
    fn default() -> Self {
        Self {
            batches_left: 0,
            after_next_failure: IN_TURNS_MIN,
        }
    }
}

impl Pause {
    /// Whether the next batch goes in turns.
    fn is_on(&mut self) -> bool {
        let is_on = self.batches_left > 0;
        self.batches_left = self.batches_left.saturating_sub(1);
        is_on
    }

    fn failed(&mut self) {
        self.batches_left = self.after_next_failure;
        self.after_next_failure = (self.after_next_failure * 2).min(IN_TURNS_MAX);
    }

    fn went_well(&mut self) {
        self.after_next_failure = (self.after_next_failure - 1).max(IN_TURNS_MIN);
    }
}

/// A statement about rows of one table.
struct Part<'r> {
    statement: Statement,
    columns: Columns<'r>,
    /// Whether it asks for the horizon.
    has_horizon: bool,
}

impl Applier {
    /// Sends the batch at once, if it is of that kind.
    ///
    /// # Errors
    /// Where the connection is lost; nobody knows then.
    pub(super) async fn at_once(
        &mut self,
        projected: &Projected,
        rows: &Rows,
    ) -> Result<AtOnce, ApplyError> {
        if !self.suits(rows) || self.pause.is_on() {
            return Ok(AtOnce::InTurns);
        }
        let refusal = match self.commit_at_once(projected, rows).await {
            Ok(outcome) => {
                self.pause.went_well();
                return Ok(AtOnce::Committed(outcome));
            }
            Err(refusal) => refusal,
        };
        self.pause.failed();
        self.roll_back().await?;
        Ok(match refusal {
            Refusal::Locked => AtOnce::Locked,
            Refusal::Violation { .. } => AtOnce::Violation,
            Refusal::Failed(_) => AtOnce::InTurns,
        })
    }

    /// Whether nothing has to be asked or noted first.
    fn suits(&self, rows: &Rows) -> bool {
        let suits = |number: usize| {
            let row = rows.get(number);
            let stays = row.values.is_some() || self.constraints.children(row.table).is_empty();
            stays && row.lacks.is_none()
        };
        rows.len() <= ROWS_MAX && (0..rows.len()).all(suits)
    }

    async fn commit_at_once(
        &mut self,
        projected: &Projected,
        rows: &Rows,
    ) -> Result<Outcome, Refusal> {
        let parts = self.parts(rows).await?;
        let write = self.prepared(position::WRITE).await?;
        let horizon = projected.horizon.0.to_string();
        let begin = begin(self.lock_wait);
        let (position, seen, seal) = self.sealed(projected);
        let secret = seal.secret.as_slice();
        let tagged: [&(dyn ToSql + Sync); 5] =
            [&self.dataset, &position, &seen, &seal.content, &secret];
        let client = &self.client;
        let begun = Sent::send(client.batch_execute(&begin)).await?;
        let mut written = Vec::with_capacity(parts.len());
        for part in &parts {
            let mut params = rows::params(&part.columns);
            if part.has_horizon {
                params.push(&horizon);
            }
            let request = async move { client.execute(&part.statement, &params).await };
            written.push(Sent::send(request).await?);
        }
        let told = Sent::send(client.query_one(&write, &tagged)).await?;
        // All are waited for together: an answer in several pieces that nobody takes keeps those behind it.
        let (begun, written, told, end) = tokio::join!(
            biased;
            begun.answered(),
            join_all(written.into_iter().map(Sent::answered)),
            told.answered(),
            self.commit_and_look(),
        );
        begun?;
        for written in written {
            written?;
        }
        Ok(Outcome::Committed {
            xid: xid(told?.get(1))?,
            end: end?,
            parked: Vec::new(),
        })
    }

    /// The statements: children leave first, parents come first.
    async fn parts<'r>(&mut self, rows: &'r Rows) -> Result<Vec<Part<'r>>, Refusal> {
        let plan = Plan::plain(rows);
        let parents_first = self.constraints.parents_first.clone();
        let mut parts = Vec::new();
        for table in parents_first.iter().rev() {
            for leaving in self.leaving(rows, &plan, *table) {
                let text = sql::delete_all(&self.tables[*table]);
                let mut columns = rows.keys(&leaving);
                columns.push(rows.known(&leaving));
                parts.push(Part {
                    statement: self.prepared(&text).await?,
                    columns,
                    has_horizon: true,
                });
            }
        }
        for table in &parents_first {
            let width = self.tables[*table].columns.len();
            for coming in self.chunks(rows, &plan, *table) {
                let text = sql::write_all(&self.tables[*table]);
                let mut columns = rows.values(&coming, 0..width);
                columns.push(rows.known(&coming));
                parts.push(Part {
                    statement: self.prepared(&text).await?,
                    columns,
                    has_horizon: sql::update(&self.tables[*table]).is_some(),
                });
            }
        }
        Ok(parts)
    }
}

/// A request that the server has been sent, or will be before what is sent after it. While its answer isn't
/// waited for, no later request's may be.
pub(super) enum Sent<F: Future> {
    Underway(Pin<Box<F>>),
    Answered(F::Output),
}

impl<T, F: Future<Output = Result<T, tokio_postgres::Error>>> Sent<F> {
    /// Sends it. What can't be sent must not be missing from a transaction that is committed.
    pub(super) async fn send(request: F) -> Result<Self, tokio_postgres::Error> {
        let mut request = Box::pin(request);
        // A request is sent when it is polled for the first time.
        let first = poll_fn(|context| Poll::Ready(request.as_mut().poll(context))).await;
        match first {
            Poll::Pending => Ok(Self::Underway(request)),
            Poll::Ready(Ok(answer)) => Ok(Self::Answered(Ok(answer))),
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    pub(super) async fn answered(self) -> F::Output {
        match self {
            Self::Underway(request) => request.await,
            Self::Answered(answer) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_fails_again_and_again_it_is_tried_ever_more_seldom() {
        let mut pause = Pause::default();
        let mut tried_after = |fails: bool| {
            let waited = (0..).find(|_| !pause.is_on()).unwrap();
            match fails {
                true => pause.failed(),
                false => pause.went_well(),
            }
            waited
        };
        assert_eq!(tried_after(true), 0);
        assert_eq!([true; 3].map(&mut tried_after), [50, 100, 200]);
        assert_eq!(
            [true; 5].map(&mut tried_after),
            [400, 800, 1_600, 3_200, 3_200]
        );
        assert_eq!([false; 3].map(&mut tried_after), [3_200, 0, 0]);
        (0..5_000).for_each(|_| assert_eq!(tried_after(false), 0));
        assert_eq!([true, true].map(&mut tried_after), [0, 50]);
    }
}
