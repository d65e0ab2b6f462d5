//! One dataset in one region: its log, its tables and the peers' streams, as one machine.
//!
//! Everything goes through a *round*: any number of client transactions and peers' entries are
//! staged, then [`Replica::flush`] commits them all with one write to the log, makes the tables
//! follow in one step, and only then lets replies and acknowledgements out. A round that the log
//! refuses leaves no trace.
//!
//! Invariants, each checked by the simulator:
//! - an entry is staged only after what it depends on, and directly after its stream's last entry;
//! - the position in the tables and the effects up to it move together, so every transaction
//!   applies exactly once;
//! - nothing leaves the region before it is durable there;
//! - an origin's sequence and clock are never used twice.

use crate::identity::identified;
use crate::letters::Letters;
use crate::membership::Deliberation;
use crate::receiver::Receiver;
use crate::resume::Behind;
use crate::road::Road;
use crate::snapshot::Sponsor;
use crate::{
    Applying, Arrival, CommitError, Engine, EngineError, Executed, Now, OpenError, WriteError,
};
use meridian_log::{Disk, Log, LogError, Reader};
use meridian_model::{
    Body, Clock, ClockError, Entry, Hlc, Marks, Message, Operation, OriginId, Position, Refusal,
    RegionName, Sequence, Standing, Transaction, Vector, Version, WIRE_VERSION_MIN,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a replica needs to know of its surroundings.
#[derive(Clone, Debug)]
pub struct Config {
    /// This region.
    pub region: RegionName,
    /// The regions that founded the dataset.
    pub regions: Vec<RegionName>,
    /// How this region's stream begins where there is none yet.
    pub arrival: Arrival,
    /// A member that was away for so long is evicted, if a majority agrees; never where `None`.
    pub evict_after: Option<Duration>,
    /// Client writes are refused while the log takes more than this, in bytes.
    pub log_bytes_max: u64,
    /// Peers' entries are refused while the log takes more than this, in bytes.
    pub log_bytes_limit: u64,
    /// A peer's clock may be ahead by this much before it is reported.
    pub drift_max: Duration,
    /// At most one position report in this time.
    pub report_interval: Duration,
    /// How long client writes wait for the peers' word, after a restart, that no tail was lost.
    pub settle: Duration,
    /// For how long the log keeps entries that everybody has, unless its budget runs short.
    pub log_retention: Duration,
    /// The regions that hold no tables.
    pub witnesses: BTreeSet<RegionName>,
    /// The highest wire version that this region speaks.
    pub wire_version: u16,
}

/// A message for a peer.
pub type Outgoing = (RegionName, Message);

/// How long ago a peer's transaction was committed there when it became visible here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visible {
    /// Its origin.
    pub origin: OriginId,
    /// The difference of the two machines' clocks included; zero where it would be negative.
    pub after: Duration,
}

/// One dataset's machine.
pub struct Replica<D: Disk, E: Engine> {
    pub(crate) config: Config,
    pub(crate) origin: OriginId,
    pub(crate) clock: Clock,
    pub(crate) log: Log<D>,
    pub(crate) engine: E,
    pub(crate) road: Road,
    pub(crate) receivers: BTreeMap<RegionName, Receiver>,
    /// The wire version last agreed on with each peer.
    pub(crate) wire_versions: BTreeMap<RegionName, u16>,
    pub(crate) outgoing: Vec<Outgoing>,
    pub(crate) staged_marks: Marks,
    pub(crate) tables_dirty: bool,
    pub(crate) report_due: bool,
    pub(crate) reported_at: Duration,
    pub(crate) collected_at: Duration,
    /// The snapshots given out, for which the log is kept.
    pub(crate) sponsor: Sponsor<E::View>,
    pub(crate) deliberation: Deliberation,
    pub(crate) staged: Vec<Entry>,
    staged_bytes: u64,
    /// The road before this round, where the round changed it.
    pub(crate) road_before: Option<Road>,
    pub(crate) visible: Vec<Visible>,
    /// Why client writes are refused for good.
    pub(crate) stopped: Option<String>,
    /// Why the tables no longer follow the log.
    pub(crate) tables_stopped: Option<String>,
    /// Set while the tables stand at a position before the log's end.
    pub(crate) behind: Option<Behind>,
    /// The log is kept from here on for what follows it outside, if anything does.
    pub(crate) kept_from: Option<Position>,
    /// Whether this region's transactions are captured from an engine, which may have seen less of
    /// the other regions than the tables show.
    pub(crate) is_capturing: bool,
    /// What it had when the first captured transaction was taken while it joined.
    pub(crate) joined_with: Option<Vector>,
    /// Decisions about dead letters still to be applied.
    pub(crate) letters: Letters,
    settled: bool,
    opened_at: Duration,
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Recovers the dataset, or founds it: then `fresh` becomes this region's incarnation, and its
    /// first entry is durable when this returns.
    ///
    /// # Errors
    /// [`OpenError`] when log and tables can't be brought together; nothing was changed.
    pub fn open(
        config: Config,
        log: Log<D>,
        mut engine: E,
        fresh: OriginId,
        now: Now,
    ) -> Result<Self, OpenError> {
        if engine.position() < log.start() {
            return Err(OpenError::TablesBehindLog {
                tables: engine.position(),
                log: log.start(),
            });
        }
        let road = identified(&config, &log, &mut engine, fresh)?;
        let mut replica = Self {
            origin: road.own.unwrap_or(fresh),
            clock: Clock::default(),
            staged_marks: log.marks().clone(),
            receivers: BTreeMap::new(),
            wire_versions: BTreeMap::new(),
            outgoing: Vec::new(),
            tables_dirty: false,
            report_due: true,
            reported_at: now.elapsed,
            collected_at: now.elapsed,
            sponsor: Sponsor::new(),
            deliberation: Deliberation::default(),
            staged: Vec::new(),
            staged_bytes: 0,
            road_before: None,
            visible: Vec::new(),
            stopped: None,
            tables_stopped: None,
            behind: None,
            kept_from: None,
            is_capturing: false,
            joined_with: None,
            letters: Letters::default(),
            settled: false,
            opened_at: now.elapsed,
            config,
            log,
            engine,
            road,
        };
        replica.replay(now)?;
        let reached = replica.applied();
        replica.engine.reaches(&reached);
        replica.tables_dirty = true;
        replica.begin(now)?;
        replica.follow_epoch(now);
        Ok(replica)
    }

    fn replay(&mut self, now: Now) -> Result<(), OpenError> {
        for (_, mark) in self.log.marks().iter() {
            self.clock.observe(mark.hlc);
        }
        self.replay_from_tables(now)?;
        // What was decided about a letter stands behind it in the log.
        self.leave_decided(now);
        if let Some(behind) = &mut self.behind {
            behind.is_fresh = false;
        }
        self.road_before = None;
        self.visible.clear();
        match self.tables_stopped.take() {
            None => Ok(()),
            Some(reason) => Err(OpenError::Replay {
                position: self.engine.position(),
                reason,
            }),
        }
    }

    /// Follows the log to its end, the tables as far as they can.
    fn replay_from_tables(&mut self, now: Now) -> Result<(), OpenError> {
        let reader = self.log.reader();
        let mut position = self.engine.position();
        while position < self.log.end() {
            let batch = reader.read(position, 1 << 20).map_err(OpenError::Log)?;
            for (index, entry) in batch.entries.iter().enumerate() {
                let body = Body::decode(&entry.body).map_err(OpenError::Entry)?;
                let was_whole = self.is_behind_by_rounds();
                self.follow(position, entry, &body, now);
                if !was_whole && self.is_behind_by_rounds() {
                    self.miss_all(&batch.entries[..index]);
                }
                position = position.next();
            }
            self.letters.logged();
            if let Some(reason) = self.tables_stopped.take() {
                return Err(OpenError::Replay { position, reason });
            }
            if self.behind.is_some() {
                self.commit_up_to_letter().map_err(OpenError::Tables)?;
                continue;
            }
            let road = Some(self.road.encode());
            self.engine
                .commit(position, road)
                .map_err(OpenError::Tables)?;
        }
        Ok(())
    }

    fn begin(&mut self, now: Now) -> Result<(), OpenError> {
        let founds = self.config.arrival == Arrival::Founding || self.is_awaited_founder();
        if self.road.begun || !founds {
            return Ok(());
        }
        let region = self.config.region.clone();
        let hlc = self.clock.tick(now.wall)?;
        self.stage_own(now, hlc, &Body::Open { region });
        self.flush(now).map_err(OpenError::Commit)
    }

    /// Whether this region has a copy in which it votes though its stream never began: the others
    /// founded the dataset with it. No epoch will ever expect it, as it counts already.
    fn is_awaited_founder(&self) -> bool {
        // A log from the beginning is no copy: who founded it has yet to be read.
        let is_copy = self.log.start() > Position(0);
        let own = self.road.epoch.members.get(&self.config.region);
        is_copy && own.is_some_and(|it| it.origin.is_none() && it.standing == Standing::Voting)
    }

    /// This region's incarnation of the dataset.
    #[must_use]
    pub fn origin(&self) -> OriginId {
        self.origin
    }

    /// The tables.
    #[must_use]
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// Members and their reports.
    #[must_use]
    pub fn road(&self) -> &Road {
        &self.road
    }

    /// Members and their reports as of the last commit, without what this round has changed.
    pub(crate) fn committed_road(&self) -> &Road {
        self.road_before.as_ref().unwrap_or(&self.road)
    }

    /// Why the tables don't follow the log, if so.
    pub(crate) fn tables_stopped(&self) -> Option<&str> {
        let behind = self.behind.as_ref().and_then(Behind::reason);
        self.tables_stopped.as_deref().or(behind)
    }

    /// The log, for links.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        self.log.reader()
    }

    /// The log's size on disk, in bytes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Client writes are refused while the log takes more than this, in bytes.
    #[must_use]
    pub fn log_bytes_max(&self) -> u64 {
        self.config.log_bytes_max
    }

    /// Where every stream stands in the log.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        self.log.marks()
    }

    /// What this round has staged so far, in bytes.
    #[must_use]
    pub fn staged_bytes(&self) -> u64 {
        self.staged_bytes
    }

    /// What this round has staged so far.
    #[must_use]
    pub fn staged(&self) -> &[Entry] {
        &self.staged
    }

    /// Why the dataset doesn't take client writes any more, if so. Unless it is the log itself
    /// that failed, it goes on logging and relaying.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        let expelled = self.road.expelled.as_ref();
        self.stopped
            .as_deref()
            .or(self.tables_stopped())
            .or(expelled.map(|expelled| expelled.reason.as_str()))
    }

    /// Whether client writes are taken. After a start this waits for the peers' word (or their
    /// absence, or [`Config::settle`]) that this region's log lost nothing that had left it, and
    /// that its incarnation is the one they know.
    #[must_use]
    pub fn is_settled(&mut self, now: Now) -> bool {
        self.settled = self.settled
            || self.receivers.values().all(Receiver::has_answered)
            || now.elapsed.saturating_sub(self.opened_at) >= self.config.settle;
        self.settled
    }

    /// Executes a client's transaction on top of all that is staged. The reply may leave once
    /// [`Replica::flush`] has succeeded.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the transaction is staged then.
    pub fn write<R, X>(
        &mut self,
        now: Now,
        execute: impl FnOnce(&mut E, Version) -> Result<Executed<R>, X>,
    ) -> Result<R, WriteError<X>> {
        let hlc = self.admit_own(now, self.unready())?;
        let version = Version {
            hlc,
            origin: self.origin,
        };
        let executed = execute(&mut self.engine, version).map_err(WriteError::Rejected)?;
        let Executed {
            changes,
            idempotency,
            reply,
        } = executed;
        let kinds = changes.iter().map(|change| &change.operation);
        let version = kinds.map(Operation::wire_version_min).max().unwrap_or(0);
        if version > WIRE_VERSION_MIN {
            self.all_speak(version)
                .map_err(|region| WriteError::NotSpoken { region, version })?;
        }
        // A key is remembered even where nothing changed, so that its retry changes nothing either.
        if !changes.is_empty() || idempotency.is_some() {
            let mut dependencies = self.staged_marks.vector();
            dependencies.remove(self.origin);
            let transaction = Transaction {
                dependencies,
                changes,
                idempotency,
            };
            self.stage_own(now, hlc, &Body::Transaction(transaction));
        }
        Ok(reply)
    }

    /// The clock reading of a transaction of this region, if one may be taken now: not where it is
    /// `unready`.
    pub(crate) fn admit_own<X>(
        &mut self,
        now: Now,
        unready: Option<String>,
    ) -> Result<Hlc, WriteError<X>> {
        if let Some(reason) = self.stopped() {
            return Err(WriteError::Stopped {
                reason: reason.to_owned(),
            });
        }
        if let Some(reason) = unready {
            return Err(WriteError::NotServing { reason });
        }
        self.find_room(now)?;
        self.clock.tick(now.wall).map_err(WriteError::Clock)
    }

    /// Whether the log may take more. Before a client is refused, what may go of it goes.
    pub(crate) fn find_room<X>(&mut self, now: Now) -> Result<(), WriteError<X>> {
        let bytes_max = self.config.log_bytes_max;
        let bytes = |replica: &Self| replica.log.bytes() + replica.staged_bytes;
        if bytes(self) > bytes_max {
            // Should it fail, the next tick says why.
            let _ = self.trim(now);
            // What is staged may have gone with the tables.
            if let Some(reason) = self.tables_stopped.clone() {
                return Err(WriteError::Stopped { reason });
            }
        }
        match bytes(self) {
            bytes if bytes > bytes_max => Err(WriteError::LogBudget { bytes, bytes_max }),
            _ => Ok(()),
        }
    }

    pub(crate) fn stage_own(&mut self, now: Now, hlc: Hlc, body: &Body) {
        let mark = self.staged_marks.get(self.origin);
        let entry = Entry::following(mark, self.origin, hlc, body);
        self.stage(now, entry, body);
    }

    pub(crate) fn stage(&mut self, now: Now, entry: Entry, body: &Body) {
        let position = Position(self.log.end().0 + self.staged.len() as u64);
        self.follow(position, &entry, body, now);
        self.staged_marks.set(entry.origin, entry.mark());
        self.staged_bytes += entry.size() as u64;
        self.staged.push(entry);
    }

    /// Does what an entry says: the step that every entry takes once, when it is logged or, after
    /// a crash, replayed.
    fn follow(&mut self, position: Position, entry: &Entry, body: &Body, now: Now) {
        let is_news = match body {
            Body::Report(_) | Body::Vote(_) => false,
            Body::Captured(captured) => !captured.transaction.changes.is_empty(),
            _ => true,
        };
        self.report_due |= is_news && entry.origin != self.origin;
        match body {
            Body::Transaction(_) | Body::Decision(_) if self.is_witness() => {}
            Body::Transaction(transaction) => {
                self.apply(&Applying {
                    position,
                    version: entry.version(),
                    transaction,
                    captured: None,
                    now: now.wall,
                });
            }
            Body::Decision(decision) => {
                self.follow_decision(position, entry.version(), decision, now);
            }
            Body::Captured(captured) => {
                self.follow_captured(position, entry, captured, now);
                if entry.origin == self.origin {
                    self.change_road(|road| road.follow(entry, body));
                }
            }
            _ => self.change_road(|road| road.follow(entry, body)),
        }
    }

    pub(crate) fn apply(&mut self, applying: &Applying<'_>) {
        let version = applying.version;
        if !self.follows() {
            self.miss(version);
            return;
        }
        if version.origin != self.origin {
            let after = applying.now.since(version.hlc.time());
            self.visible.push(Visible {
                origin: version.origin,
                after,
            });
        }
        if let Err(error) = self.apply_or_set_aside(applying, applying.position, None) {
            match error.damaged_row.clone() {
                Some(row) => self.block(row, version),
                None => self.stop_tables(&error),
            }
        }
    }

    pub(crate) fn change_road(&mut self, change: impl FnOnce(&mut Road)) {
        self.road_before.get_or_insert_with(|| self.road.clone());
        change(&mut self.road);
    }

    /// Keeps what is no entry's consequence: a round that is undone doesn't undo it.
    pub(crate) fn note_in_road(&mut self, note: impl Fn(&mut Road)) {
        note(&mut self.road);
        match &mut self.road_before {
            Some(before) => note(before),
            before => *before = Some(self.road.clone()),
        }
        self.tables_dirty = true;
    }

    /// A peer holds entries of this region that this region's own log has lost, or knows it as
    /// another incarnation. What clients write here from now on would reach nobody, or use sequences
    /// again, so client writes stop here for good.
    pub fn disown(&mut self, reason: &Refusal) {
        self.stopped.get_or_insert_with(|| reason.to_string());
    }

    pub(crate) fn clock_failed(&mut self, error: ClockError) {
        self.stopped.get_or_insert_with(|| error.to_string());
    }

    /// The tables can't follow; the log goes on without them.
    pub(crate) fn stop_tables(&mut self, error: &EngineError) {
        use std::error::Error as _;
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        self.tables_stopped
            .get_or_insert_with(|| format!("{error}: {cause}"));
        self.engine.discard();
    }

    /// Commits the round. When this returns `Ok`, everything staged is durable and visible, and
    /// replies and [`Replica::take_outgoing`] may leave.
    ///
    /// # Errors
    /// [`CommitError`]: whether the round is undone, or durable but not visible.
    pub fn flush(&mut self, now: Now) -> Result<(), CommitError> {
        let fresh = !self.staged.is_empty();
        let has_own = self.staged.iter().any(|entry| entry.origin == self.origin);
        if fresh {
            if let Err(error) = self.log.commit(&self.staged) {
                self.roll_back(now, &error);
                return Err(CommitError::Log(error));
            }
            self.staged.clear();
            self.staged_bytes = 0;
            self.letters.logged();
        }
        self.deliberation.is_fresh = false;
        let outcome = if fresh || self.tables_dirty {
            self.commit_tables(now, has_own)
        } else {
            Ok(())
        };
        self.acknowledge();
        outcome
    }

    fn commit_tables(&mut self, now: Now, has_own: bool) -> Result<(), CommitError> {
        self.tables_dirty = false;
        if self.tables_stopped.is_none() && self.behind.is_some() {
            self.road_before = None;
            return self.commit_behind(now, has_own);
        }
        if self.tables_stopped.is_none() {
            let road = self.road_before.take().map(|_| self.road.encode());
            match self.engine.commit(self.log.end(), road) {
                Ok(()) => return Ok(()),
                Err(error) => self.stop_tables(&error),
            }
        }
        self.visible.clear();
        // The log has it, so nothing may undo it any more.
        self.road_before = None;
        let reason = self.tables_stopped().unwrap_or_default().to_owned();
        Err(CommitError::Tables { reason })
    }

    fn roll_back(&mut self, now: Now, error: &LogError) {
        self.staged.clear();
        self.staged_bytes = 0;
        self.staged_marks = self.log.marks().clone();
        let durable = self.staged_marks.vector();
        self.joined_with.take_if(|it| !durable.covers(it));
        if let Some(road) = self.road_before.take() {
            self.road = road;
        }
        if std::mem::take(&mut self.deliberation.is_fresh) {
            self.deliberation.pending = None;
        }
        self.deliberation.attempts = 0;
        self.engine.discard();
        self.behind_rolled_back();
        self.tables_dirty = false;
        self.visible.clear();
        self.report_due = true;
        self.reported_at = now.elapsed;
        let reason = error.to_string();
        for receiver in self.receivers.values_mut() {
            receiver.rolled_back(now, &reason);
        }
        // Only a log whose state is unknown ends it; of anything else, just this round never was.
        if error.must_reopen() {
            self.stopped.get_or_insert(reason);
        }
    }

    fn acknowledge(&mut self) {
        let held: Vec<_> = self
            .log
            .marks()
            .iter()
            .map(|(origin, mark)| (origin, mark.sequence))
            .collect();
        for (peer, receiver) in &mut self.receivers {
            if let Some((session, next)) = receiver.acknowledgement() {
                let message = Message::Ack {
                    session,
                    next,
                    held: held.clone(),
                };
                self.outgoing.push((peer.clone(), message));
            }
        }
    }

    /// A subscriber, known here as incarnation `member`, says what it holds durably.
    pub fn holds(&mut self, member: OriginId, held: &[(OriginId, Sequence)]) {
        self.road.told(member, held);
        if let Some(before) = &mut self.road_before {
            before.told(member, held);
        }
    }

    /// The messages that are due, after a flush.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.outgoing)
    }

    /// The peers' transactions that became visible since the last call.
    pub fn take_visible(&mut self) -> Vec<Visible> {
        std::mem::take(&mut self.visible)
    }
}
