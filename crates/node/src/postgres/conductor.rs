//! Capture and projection of one dataset, together: from one connection of the server to its loss.
//!
//! ```text
//!  slot ──events──▶ conductor ──transactions──▶ the dataset's thread (log, tables)
//!                     │   ▲                            │ log grows
//!                     │   └── rows touched, snapshot ◀─┘
//!                     └──batch──▶ applier ──▶ server
//! ```
//!
//! All decisions are [`Projection`]'s; here is only what waits. What was captured is durable in the
//! log before the slot is told that it may forget it. What the server had been given before a
//! transaction (`seen`) comes out of the tags in the WAL, in order with the transactions, and is
//! noted in the log too before the slot may forget the tag.

use super::PostgresConfig;
use super::follow::Follower;
use super::schema::Schema;
use super::session::Session;
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle, Input};
use meridian_engine_postgres::apply::Applier;
use meridian_engine_postgres::capture::{Capture, Event};
use meridian_engine_postgres::changes::Fold;
use meridian_engine_postgres::projection::{Outcome, Projected, Projection};
use meridian_engine_postgres::{Lsn, ServerIdentity};
use meridian_model::{CapturedAt, Position, RowName, Vector};
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
/// How often writers that were captured long ago are forgotten: the horizon moves on.
const HORIZON_EVERY: Duration = Duration::from_secs(1);
/// What was seen is noted in the log at most so often where no transaction carries it.
const NOTE_EVERY: Duration = Duration::from_millis(500);
/// At most so many transactions go into the log at once.
const TRANSACTIONS_MAX: usize = 512;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

type Writing = Pin<Box<dyn Future<Output = (Applier, Result<Outcome, Trouble>)> + Send>>;

/// One server's connections and what is known while they stand.
pub(super) struct Conductor<'a> {
    pub(super) config: &'a PostgresConfig,
    pub(super) dataset: &'a DatasetHandle,
    pub(super) status: &'a SharedStatus,
    pub(super) schema: Schema,
    pub(super) identity: ServerIdentity,
    pub(super) session: Session,
    pub(super) capture: Capture,
    pub(super) applier: Option<Applier>,
    pub(super) follower: Follower,
    pub(super) projection: Projection,
    /// What the server had been given where capture stands.
    pub(super) seen: Vector,
    /// Whether the log has that.
    pub(super) seen_noted: bool,
    pub(super) noted_at: Instant,
    /// Where capture stands.
    pub(super) captured: Lsn,
    pub(super) horizon_at: Instant,
    /// Nothing is projected before this: something was in the way.
    pub(super) paused_until: Option<Instant>,
    pub(super) pause: Duration,
}

impl Conductor<'_> {
    /// Captures and projects until something fails.
    pub(super) async fn run(mut self) -> Trouble {
        match self.conduct().await {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    async fn conduct(&mut self) -> Result<std::convert::Infallible, Trouble> {
        self.status.change(|status| {
            status.state = PostgresState::Running;
            (status.reason, status.hint) = (None, None);
        });
        let mut applied = self.dataset.committed();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut writing: Option<(u64, Writing)> = None;
        loop {
            if writing.is_none() {
                writing = self.begin().await?;
            }
            tokio::select! {
                event = self.capture.next() => self.take(event?).await?,
                (applier, outcome) = outcome(&mut writing) => {
                    let id = writing.take().map(|(id, _)| id).unwrap_or_default();
                    self.applier = Some(applier);
                    self.ended(id, outcome?).await?;
                }
                changed = applied.changed() => {
                    changed.map_err(|_| Trouble::passing("the dataset has ended"))?;
                }
                _ = ticks.tick() => self.tick().await?,
            }
        }
    }

    /// Takes an event and those that wait behind it, and makes them durable.
    async fn take(&mut self, first: Event) -> Result<(), Trouble> {
        let mut transactions = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            self.read(event, &mut transactions).await?;
            if transactions.len() >= TRANSACTIONS_MAX {
                break;
            }
            next = self.capture.try_next()?;
        }
        self.log(transactions).await
    }

    async fn read(
        &mut self,
        event: Event,
        transactions: &mut Vec<CapturedTransaction>,
    ) -> Result<(), Trouble> {
        let transaction = match event {
            Event::Passed(lsn) => {
                self.captured = self.captured.max(lsn);
                self.projection.passed(lsn);
                return Ok(());
            }
            Event::Transaction(transaction) => transaction,
        };
        let end = transaction.end;
        let is_tagged = transaction.tag.is_some();
        let chunks = transaction.changes.chunks();
        let mut part = 0;
        for chunk in chunks {
            let mut fold = Fold::default();
            for change in chunk? {
                let truncated = |table: &_| self.shown(table);
                fold.take(change, &self.schema, truncated)?;
            }
            let _ = (is_tagged, &mut part, fold);
        }
        let _ = (end, transactions);
        Ok(())
    }
}
