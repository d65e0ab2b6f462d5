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
use super::aside::RowsAside;
use super::beside::{Marking, Noting, UnderWay, coming, in_place, logged};
use super::captured::{Before, Emptied, Reading};
use super::compare::unreadable;
use super::follow::Follower;
use super::lag::Lag;
use super::large::{Large, whole_tables};
use super::many::Landed;
use super::parking::{Parking, conflict};
use super::refill::Refill;
use super::rhythm::{Flushes, Gathering};
use super::schema::Schema;
use super::session::{Session, Standing, WalStanding};
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle, Input, TablesSnapshot};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::apply::{Applier, ApplyError};
use meridian_engine_postgres::capture::{Capture, Event};
use meridian_engine_postgres::meeting::mark::Marks;
use meridian_engine_postgres::projection::{Batch, Outcome, Parked, Projection, Shown};
use meridian_engine_postgres::server::connect;
use meridian_model::{Position, Vector};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(100);
/// How often writers that were captured long ago are forgotten: the horizon moves on.
const HORIZON_EVERY: Duration = Duration::from_secs(1);
/// What was seen is noted in the log at most so often where no transaction carries it.
const NOTE_EVERY: Duration = Duration::from_millis(500);
/// How often rows that a constraint keeps out are tried again without any other reason.
const RETRY_PARKED_EVERY: Duration = Duration::from_secs(60);
/// At most so many transactions go into the log at once.
const TRANSACTIONS_MAX: usize = 512;
/// Reading so many rows takes no longer than other tasks may wait.
const ROWS_AT_ONCE: usize = 500;
/// Locks that wait for capture are given up after this: it may be long in telling of a transaction,
/// and applications wait for these rows.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// After a stop, it works if nothing has stopped it again for so long.
const PROOF: Duration = Duration::from_secs(1);
/// A server that has gone silent is not waited for any longer.
const MARK_PATIENCE: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A batch on its way into the server; the applier comes back with what became of it.
pub(super) type Writing =
    Pin<Box<dyn Future<Output = (Applier, Result<Landed, ApplyError>)> + Send>>;

/// A look at how the server stands, under way, with the log's position up to which it showed
/// everything before.
type Looking = UnderWay<Result<(Standing, Position), Trouble>>;

/// One server's connections and what is known while they stand.
pub(super) struct Conductor<'a> {
    pub(super) config: &'a PostgresConfig,
    pub(super) dataset: &'a DatasetHandle,
    pub(super) status: &'a SharedStatus,
    pub(super) schema: Schema,
    pub(super) session: Session,
    pub(super) capture: Capture,
    /// `None` while it writes.
    pub(super) applier: Option<Applier>,
    pub(super) follower: Follower,
    /// Where the follower began in the log.
    pub(super) began_at: Position,
    pub(super) projection: Projection,
    pub(super) reading: Reading,
    pub(super) marks: Marks,
    pub(super) marking: Option<Marking>,
    pub(super) noting: Option<Noting>,
    pub(super) gathering: Gathering,
    pub(super) flushes: Flushes,
    pub(super) refill: Refill,
    pub(super) times: Times,
    /// A transaction that is told part by part, if one is.
    pub(super) large: Option<Large>,
    /// How many rows the batch on its way has.
    pub(super) rows_writing: u64,
    /// Dirty rows that are too many for memory.
    pub(super) aside: RowsAside,
    /// What the tables showed of the rows of a batch that had very many, until it is captured.
    pub(super) many_shown: Option<TablesSnapshot>,
    /// Very many rows are to be planned together, in memory.
    pub(super) is_planning_many: bool,
    pub(super) parking: Parking,
    pub(super) capture_lag: Lag,
    pub(super) write_lag: Lag,
}

/// When things were done last.
pub(super) struct Times {
    begun: Instant,
    /// Whether it is known to work.
    works: bool,
    noted: Instant,
    horizon: Option<Instant>,
    retried_parked: Instant,
    /// Nothing is projected before this: something was in the way.
    paused_until: Option<Instant>,
    pause: Duration,
    /// When the first of the locks was had that are held.
    held: Option<Instant>,
}

impl Times {
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            works: false,
            noted: now,
            horizon: None,
            retried_parked: now,
            paused_until: None,
            pause: PAUSE_MIN,
            held: None,
        }
    }
}

impl Conductor<'_> {
    /// Captures and projects until something fails.
    pub(super) async fn run(mut self) -> Trouble {
        let trouble = match self.conduct().await {
            Err(trouble) => trouble,
            Ok(never) => match never {},
        };
        // One that came into the server after the next start has looked for it would be a riddle.
        if let Some(marking) = self.marking.take() {
            let _ = tokio::time::timeout(MARK_PATIENCE, marking).await;
        }
        trouble
    }

    /// It works. Where it stood still before, that takes some proof: what stopped it may come again
    /// at once.
    async fn works(&mut self) -> Result<(), Trouble> {
        if self.times.works {
            return Ok(());
        }
        self.times.works = true;
        self.session.announce(self.schema.fingerprint()).await?;
        self.status.change(|status| {
            status.state = PostgresState::Running;
            (status.reason, status.hint) = (None, None);
        });
        Ok(())
    }

    async fn conduct(&mut self) -> Result<Infallible, Trouble> {
        let watcher = connect(&self.config.server, "watch").await?;
        let watching = self.schema.clone().changed(watcher, self.config.clone());
        tokio::pin!(watching);
        // Whether the log takes something again is known when it has.
        let state = self.status.now().state;
        if !matches!(state, PostgresState::Stopped | PostgresState::Waiting) {
            self.works().await?;
        }
        let mut applied = self.dataset.committed();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut writing: Option<(u64, Writing)> = None;
        let mut looking = None;
        let mut flushing: Option<UnderWay<Result<(), Trouble>>> = None;
        loop {
            if writing.is_none() {
                writing = self.begin().await?;
            }
            if flushing.is_none() && self.flushes.begins() {
                let session = self.session.clone();
                flushing = Some(Box::pin(async move { session.heartbeat().await }));
            }
            let takes = self.large.is_none() && !self.gathering.is_on();
            tokio::select! {
                () = self.gathering.over() => self.gathering.end(),
                event = self.capture.next(), if takes => {
                    self.take(event?, &mut writing).await?;
                }
                () = std::future::ready(()), if self.large.is_some() => self.tell_part().await?,
                (applier, outcome) = landed(&mut writing) => {
                    self.ended(&mut writing, applier, outcome).await?;
                }
                changed = applied.changed() => {
                    changed.map_err(|_| Trouble::passing("the dataset has ended"))?;
                }
                looked = coming(&mut looking) => {
                    looking = None;
                    let (standing, settled) = looked?;
                    self.stands(standing, settled)?;
                }
                written = coming(&mut self.marking) => {
                    self.marking = None;
                    self.marks.written(&written?);
                }
                flushed = coming(&mut flushing) => {
                    flushing = None;
                    flushed?;
                }
                noted = logged(&mut self.noting) => self.noted(noted?).await?,
                _ = ticks.tick() => {
                    self.tick().await?;
                    if looking.is_none() {
                        looking = self.look();
                    }
                }
                trouble = &mut watching => return Err(trouble),
            }
        }
    }

    /// Takes an event and those that wait behind it, and makes them durable.
    async fn take(
        &mut self,
        first: Event,
        writing: &mut Option<(u64, Writing)>,
    ) -> Result<(), Trouble> {
        let begun = Instant::now();
        let mut transactions = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            let Event::Transaction(transaction) = event else {
                if let Event::Passed(lsn) = event {
                    self.reading.passed(lsn);
                    self.projection.passed(lsn);
                }
                next = self.capture.try_next()?;
                continue;
            };
            if transaction.tag.is_some() && self.projection.is_writing() {
                // It is committed: what became of it is known at once, and has to be known first.
                let (applier, outcome) = landed(writing).await;
                self.ended(writing, applier, outcome).await?;
            }
            let mut before = Before::Nothing;
            let statements = transaction.changes.emptying();
            if statements > 0 && transaction.tag.is_none() {
                // What it empties is all that came before it.
                self.log(std::mem::take(&mut transactions)).await?;
                before = Before::Emptied(Emptied {
                    tables: whole_tables(self.dataset).await?,
                    statements,
                });
            }
            if self.projection.wrote_large(transaction.xid)
                && let Some(shown) = &self.many_shown
            {
                before = Before::Shown(shown.clone());
            }
            self.status.change(|status| {
                status.transactions_captured += u64::from(transaction.tag.is_none())
            });
            if let Some(chunks) = transaction.changes.spooled() {
                let log_bytes_max = self.dataset.status().log_bytes_max;
                if transaction.tag.is_none() {
                    self.projection.large_begins(transaction.xid);
                }
                self.large = Some(Large::new(&transaction, chunks, before, log_bytes_max));
                break;
            }
            let (schema, projection) = (&self.schema, &mut self.projection);
            let reading = &mut self.reading;
            // Emptied tables have all of their rows named.
            let read = in_place(statements > 0, || {
                reading.read(&transaction, schema, projection, before)
            })?;
            transactions.extend(read);
            if transactions.len() >= TRANSACTIONS_MAX {
                break;
            }
            next = self.capture.try_next()?;
        }
        self.gathering
            .taken(transactions.len(), TRANSACTIONS_MAX, begun);
        self.log(transactions).await?;
        self.confirm();
        Ok(())
    }

    /// Makes transactions durable in the log and visible in the tables.
    pub(super) async fn log(
        &mut self,
        transactions: Vec<CapturedTransaction>,
    ) -> Result<(), Trouble> {
        if transactions.is_empty() {
            return Ok(());
        }
        self.reading.keep()?;
        self.dataset.capture(transactions).await?;
        self.takes_again().await
    }

    /// The log has taken something.
    pub(super) async fn takes_again(&mut self) -> Result<(), Trouble> {
        self.times.noted = Instant::now();
        if self.status.now().state == PostgresState::Waiting {
            self.works().await?;
        }
        Ok(())
    }

    /// The server may forget what is durable here, and the log what the server has on disk.
    pub(super) fn confirm(&mut self) {
        if self.reading.is_noted() && self.noting.is_none() {
            self.confirm_up_to(self.reading.reached());
        }
    }

    pub(super) fn confirm_up_to(&mut self, reached: Lsn) {
        self.capture.confirm(reached);
        if !self.projection.awaits_large() {
            self.many_shown = None;
        }
        let shown = self.projection.shown().map(|tag| tag.position);
        let shown = shown.unwrap_or(self.began_at);
        let position = shown.min(self.marks.needs().unwrap_or(shown));
        self.dataset.send(Input::KeepFrom { position });
    }

    /// Begins to write what the tables show and the server doesn't, if it is time for that.
    async fn begin(&mut self) -> Result<Option<(u64, Writing)>, Trouble> {
        let asked = self.parking.asked();
        self.projection.touched(asked);
        let is_paused = self
            .times
            .paused_until
            .is_some_and(|until| Instant::now() < until);
        // What the log has and the tables don't show yet is told when they do.
        let shown = self.dataset.shown_to();
        let shown = shown.unwrap_or_else(|| self.dataset.log().end());
        let is_behind = self.follower.position() < shown;
        // A transaction that is told in part is not in the tables yet.
        if self.large.is_some() || is_paused || !(is_behind || self.has_dirty()) {
            return Ok(None);
        }
        // Before the view, which then has all that comes of them.
        let gone = self.dataset.membership();
        let view = match self.dataset.view_at_once() {
            Some(view) => Some(view),
            None => self.dataset.view().await,
        };
        let Some((snapshot, seen)) = view else {
            return Ok(None);
        };
        let followed = snapshot.position().map_err(unreadable)?;
        self.follow(followed)?;
        self.follower
            .forget(|origin| gone.cuts.contains_key(&origin));
        // What a large transaction holds back is looked at again with its last part.
        let position = self.follower.whole_to();
        if self.aside.has_more() {
            return self.begin_many(snapshot);
        }
        let Some(batch) = self.projection.next_batch() else {
            if position == followed {
                self.shows_all(seen);
            }
            return Ok(None);
        };
        let is_long = batch.rows.len() > ROWS_AT_ONCE;
        let shown = in_place(is_long, || rows_shown(&batch, &snapshot))?;
        if self.projection.is_writing_large() {
            self.many_shown = Some(snapshot);
        }
        let (id, hold) = (batch.id, batch.hold.clone());
        let projected = self.projection.projected(batch, position, seen, shown);
        self.parking.begins(&projected);
        let Some(mut applier) = self.applier.take() else {
            return Err(Trouble::passing("the connection that writes is gone"));
        };
        self.rows_writing += projected.rows.len() as u64;
        let writing: Writing = Box::pin(async move {
            let outcome = if hold.is_empty() {
                applier.apply(&projected).await
            } else {
                applier.hold(&hold).await
            };
            (applier, outcome.map(Landed::Batch))
        });
        Ok(Some((id, writing)))
    }

    /// The server shows all that the tables do. A region that joins counts once it has said so of what
    /// the others had by then, and where nobody writes no batch says it.
    fn shows_all(&mut self, seen: Vector) {
        let membership = self.dataset.membership();
        let own = Some(self.dataset.origin());
        let mut members = membership.epoch.members.values();
        let joining = meridian_model::Standing::Joining;
        let is_joining = members.any(|it| it.origin == own && it.standing == joining);
        if is_joining && !self.has_dirty() && self.projection.uncaptured_batches() == 0 {
            self.reading.shows(seen);
        }
    }

    async fn ended(
        &mut self,
        writing: &mut Option<(u64, Writing)>,
        applier: Applier,
        landed: Result<Landed, ApplyError>,
    ) -> Result<(), Trouble> {
        let id = writing.take().map(|(id, _)| id).unwrap_or_default();
        if !applier.holds_locks() {
            self.times.held = None;
        }
        self.applier = Some(applier);
        self.times.paused_until = None;
        let outcome = match landed? {
            Landed::Batch(outcome) => outcome,
            Landed::Many(many, rest) => return self.many_ended(many, &rest).await,
        };
        match &outcome {
            Outcome::Committed { parked, .. } => {
                let news = self.parking.ended(parked);
                self.list(&news)?;
                self.flushes.committed();
                self.works().await?;
                self.times.pause = PAUSE_MIN;
                self.is_planning_many = false;
                self.status.change(|status| {
                    status.projections += 1;
                    status.rows_projected += std::mem::take(&mut self.rows_writing);
                    (status.reason, status.hint) = (None, None);
                });
            }
            // Capture has to come by what was found.
            Outcome::Unsure { .. } => self.flushes.wanted(),
            Outcome::Involved { .. } => {}
            Outcome::Violation { reason } => {
                self.pause();
                let reason = format!("the server refuses what other regions hold: {reason}");
                self.status.change(|status| status.reason = Some(reason));
            }
            Outcome::Locked => {
                self.pause();
                let reason = "rows that others hold locks on wait to be written".to_owned();
                self.status.change(|status| status.reason = Some(reason));
            }
            Outcome::Unknown => {
                return Err(Trouble::passing("the connection was lost during a commit"));
            }
        }
        self.after_many(&outcome)?;
        self.projection.outcome(id, outcome);
        Ok(())
    }

    /// Has conflicts listed between rows that exclude each other.
    fn list(&self, news: &[&Parked]) -> Result<(), Trouble> {
        if news.is_empty() {
            return Ok(());
        }
        let tables = self.dataset.tables().snapshot();
        let shared = self.dataset.postgres().parked();
        let mut conflicts = Vec::new();
        for parked in news {
            conflicts.extend(conflict(&tables, shared, parked).map_err(unreadable)?);
        }
        self.dataset.send(Input::Note { conflicts });
        Ok(())
    }

    pub(super) fn pause(&mut self) {
        self.times.paused_until = Some(Instant::now() + self.times.pause);
        self.times.pause = (self.times.pause * 2).min(PAUSE_MAX);
    }

    async fn tick(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        let is_proven = now.duration_since(self.times.begun) >= PROOF;
        if is_proven && self.status.now().state != PostgresState::Waiting {
            self.works().await?;
        }
        // A note within a large transaction would end it.
        let is_noted = self.reading.is_noted() || self.noting.is_some();
        let may_note = self.large.is_none() && !is_noted;
        if may_note && now.duration_since(self.times.noted) >= NOTE_EVERY {
            self.note()?;
        }
        self.choose().await?;
        self.confirm();
        self.answer();
        self.release(now).await?;
        if now.duration_since(self.times.retried_parked) >= RETRY_PARKED_EVERY {
            self.times.retried_parked = now;
            self.projection.retry_parked();
        }
        Ok(())
    }

    /// Gives up locks that have been held for too long.
    async fn release(&mut self, now: Instant) -> Result<(), Trouble> {
        let Some(applier) = &mut self.applier else {
            return Ok(());
        };
        if !applier.holds_locks() {
            self.times.held = None;
            return Ok(());
        }
        let since = *self.times.held.get_or_insert(now);
        if now.duration_since(since) >= HOLD_MAX {
            applier.release().await?;
            self.projection.let_go();
            self.times.held = None;
        }
        Ok(())
    }

    /// Has it noted in the log, and so listed as conflicts, which side of rows somebody chose.
    async fn choose(&mut self) -> Result<(), Trouble> {
        // It would end a transaction that is told in part.
        if self.large.is_some() {
            return Ok(());
        }
        let unread_by = || self.dataset.status().choices_unread_by;
        for (chosen, noted) in self.status.inquiries().choices(unread_by) {
            if let Some(note) = self.reading.choice(chosen) {
                self.log(vec![note]).await?;
                // Whoever asked may have given up.
                let _ = noted.send(Ok(()));
            }
        }
        Ok(())
    }

    /// Tells whoever compares server and tables what is on its way.
    fn answer(&mut self) {
        let inquiries = self.status.inquiries();
        self.projection.touched(inquiries.wanted());
        // Of a large transaction nobody knows which rows it has.
        if self.large.is_some() || self.aside.rows() > 0 {
            return;
        }
        let (captured, followed) = (self.reading.reached(), self.follower.position());
        let projection = &self.projection;
        inquiries.answer(captured, followed, |row| projection.standing(row));
    }

    /// Begins to look how the server stands, if it is time for that. Nothing waits for it.
    fn look(&mut self) -> Option<Looking> {
        let now = Instant::now();
        let last = self.times.horizon;
        if last.is_some_and(|at| now.duration_since(at) < HORIZON_EVERY) {
            return None;
        }
        self.times.horizon = Some(now);
        let (slot, session) = (self.config.slot.clone(), self.session.clone());
        // From before the look: what is captured during it is in the log from here on.
        let shown = self.projection.shown().map(|tag| tag.position);
        let settled = if !self.has_dirty() {
            self.follower.whole_to()
        } else {
            shown.unwrap_or(self.began_at)
        };
        Some(Box::pin(async move {
            Ok((session.standing(&slot).await?, settled))
        }))
    }

    fn stands(&mut self, standing: Standing, settled: Position) -> Result<(), Trouble> {
        let Standing { found, wal } = standing;
        self.projection.horizon_candidate(found.oldest, found.lsn);
        self.mark(found, settled)?;
        self.describe(wal);
        Ok(())
    }

    /// Notes that the server has all that was to be given, once it has been captured.
    pub(super) fn refilled(&mut self) -> Result<(), Trouble> {
        let is_over = !self.has_dirty()
            && !self.projection.is_writing()
            && self.projection.uncaptured_batches() == 0;
        if !is_over {
            return Ok(());
        }
        // In this order: while rows are due it is known which.
        self.refill.end()?;
        self.reading.refilled()
    }

    fn describe(&mut self, wal: WalStanding) {
        let captured = self.reading.reached();
        let shown = self.projection.shown().map(|tag| tag.position.0);
        let now = Instant::now();
        let uncaptured = self.capture_lag.look(wal.written.0, captured.0, now);
        let is_shown = !self.has_dirty();
        let followed = self.follower.position().0;
        let reached = if is_shown {
            followed
        } else {
            shown.unwrap_or_default()
        };
        let unwritten = self
            .write_lag
            .look(self.dataset.log().end().0, reached, now);
        self.status.waits_since(uncaptured, unwritten);
        self.status.change(|status| {
            status.captured = captured.to_string();
            status.written = wal.written.to_string();
            status.lag_bytes = wal.written.0.saturating_sub(captured.0);
            status.held_bytes = wal.held_bytes;
            status.rows_dirty = self.projection.dirty_rows() as u64 + self.aside.rows();
            status.position = shown.unwrap_or(status.position);
            status.forged_tags = self.capture.forged();
        });
    }
}

/// What the tables show of a batch's rows.
fn rows_shown(batch: &Batch, tables: &TablesSnapshot) -> Result<Vec<Option<Shown>>, Trouble> {
    let rows = batch.rows.iter().map(|dirty| {
        let shown = tables.get(&dirty.row.table, &dirty.row.key);
        let shown = shown.map_err(unreadable)?;
        Ok(shown.map(|row| Shown {
            document: row.document,
            version: row.version.latest,
        }))
    });
    rows.collect()
}

/// What becomes of a batch that is on its way; never comes where none is.
async fn landed(writing: &mut Option<(u64, Writing)>) -> (Applier, Result<Landed, ApplyError>) {
    match writing {
        Some((_, writing)) => writing.await,
        None => std::future::pending().await,
    }
}
