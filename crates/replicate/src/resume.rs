//! Tables that stand at a position before the log's end, and how they come to it again.
//!
//! The last part of a large transaction makes them take all its parts in, step by step (`held.rs`). And
//! two things stop tables that are to go on later: a row whose record can't be read, which other
//! regions have, and a dead letter that the dataset is to stop at (`letters.rs`). Either way the log
//! goes on, in memory of nothing but its own order. Once the row is mended or the letter decided
//! about, the tables follow the log again from where they stopped, in steps, each committed with the
//! road's state at its position, so that a crash on the way loses nothing either.
//!
//! ```text
//! following ──damaged row, letter──▶ stopped ──mended, decided──▶ catching up ──log's end──▶ following
//!                                       ▲                              │
//!                                       └─────damaged row, letter──────┘
//! ```
//!
//! Invariant: what the tables show is what the log holds, less what each origin committed from the
//! first reading on that the tables have missed ([`Replica::applied`]). A round in which a damaged
//! row stops the tables is missed whole, for what it had staged is gone; one in which a letter does
//! is committed up to the letter.

use crate::held::{Held, Holding};
use crate::road::Road;
use crate::{Applying, CommitError, Engine, EngineError, Now, Replica};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Body, Entry, Hlc, OriginId, Position, RowName, Vector, Version};
use std::collections::BTreeMap;

/// What the tables catch up with in one step, in bytes of log.
pub(crate) const STEP_BYTES: usize = 1 << 20;

/// Tables that stand at a position before the log's end.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) cause: Cause,
    /// Per origin a reading that the tables have come to short of; all before it they show.
    missed: BTreeMap<OriginId, Hlc>,
    /// It began in a round that the log has not taken yet.
    pub(crate) is_fresh: bool,
}

/// Why tables are behind.
#[derive(Debug)]
pub(crate) enum Cause {
    /// A dead letter has to be decided about first.
    Letter {
        /// The letter.
        letter: Version,
        /// What to tell people.
        reason: String,
        /// Its position and the road's state there, until the tables are committed up to it.
        until: Option<(Position, Vec<u8>)>,
    },
    /// A damaged row has to be mended first.
    Row {
        /// The row.
        row: RowName,
        /// What to tell people.
        reason: String,
    },
    /// Nothing any more: the tables are on their way to the log's end.
    CatchingUp,
    /// The last part of a large transaction has come, and the tables take all its parts in.
    Unfolding,
}

impl Behind {
    /// What to tell people; nothing where it is the ordinary course.
    pub(crate) fn reason(&self) -> Option<&str> {
        match &self.cause {
            Cause::Letter { reason, .. } | Cause::Row { reason, .. } => Some(reason),
            Cause::CatchingUp => {
                Some("what stopped the tables is over, and they catch up with the log")
            }
            Cause::Unfolding => None,
        }
    }

    fn miss(&mut self, version: Version) {
        let first = self.missed.entry(version.origin).or_insert(version.hlc);
        *first = version.hlc.min(*first);
    }

    fn followed(&mut self, entries: &[Entry], held: &BTreeMap<OriginId, Held>) {
        for entry in entries {
            if !held.contains_key(&entry.origin)
                && let Some(first) = self.missed.get_mut(&entry.origin)
            {
                *first = Hlc::from_raw(entry.hlc.raw() + 1);
            }
        }
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// The damaged row for which the tables wait, if they do.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&RowName> {
        match &self.behind.as_ref()?.cause {
            Cause::Row { row, .. } => Some(row),
            Cause::Letter { .. } | Cause::CatchingUp | Cause::Unfolding => None,
        }
    }

    /// Whether the tables are behind by the round in which that began, and all since.
    pub(crate) fn is_behind_by_rounds(&self) -> bool {
        let cause = self.behind.as_ref().map(|behind| &behind.cause);
        matches!(cause, Some(Cause::Row { .. } | Cause::Unfolding))
    }

    /// What the tables show, which is less than the log holds while they don't follow it.
    #[must_use]
    pub fn applied(&self) -> Vector {
        self.applied_of(self.log.marks().vector())
    }

    /// What of this the tables show.
    pub(crate) fn applied_of(&self, mut reached: Vector) -> Vector {
        let missed = self.behind.iter().flat_map(|behind| &behind.missed);
        let missed = missed.map(|(origin, first)| (*origin, *first));
        let held = self.road.held.iter();
        let held = held.map(|(origin, held)| (*origin, held.first));
        for (origin, first) in missed.chain(held) {
            let before = Hlc::from_raw(first.raw().saturating_sub(1));
            let shown = before.min(reached.get(origin));
            reached.remove(origin);
            reached.raise(origin, shown);
        }
        reached
    }

    /// Whether the tables are at the log's end after every round.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.tables_stopped.is_none() && self.behind.is_none()
    }

    /// Changes the tables beside the log, as part of this round.
    ///
    /// # Errors
    /// [`EngineError`] when the tables don't follow the log, or can't be read.
    pub fn mend<R>(
        &mut self,
        mend: impl FnOnce(&mut E) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        if self.follows() {
            self.tables_dirty = true;
            return mend(&mut self.engine);
        }
        Err(EngineError::saying("the tables don't follow the log"))
    }

    /// Changes the tables that wait for a damaged row, and lets them go on where it is mended.
    ///
    /// # Errors
    /// [`EngineError`] when they don't wait for one, or can't be written.
    pub fn unblock(
        &mut self,
        mend: impl FnOnce(&mut E) -> Result<bool, EngineError>,
    ) -> Result<(), EngineError> {
        if self.blocked_by().is_none() {
            return Err(EngineError::saying("the tables wait for no row"));
        }
        self.engine.discard();
        if mend(&mut self.engine)? {
            self.engine.commit(self.engine.position(), None)?;
            self.stand_at(Cause::CatchingUp);
        }
        Ok(())
    }

    /// The tables fall behind, or are so for another reason now.
    pub(crate) fn stand_at(&mut self, cause: Cause) {
        match &mut self.behind {
            Some(behind) => behind.cause = cause,
            None => {
                self.behind = Some(Behind {
                    cause,
                    missed: BTreeMap::new(),
                    is_fresh: true,
                });
            }
        }
    }

    /// The tables did not follow a write of this version.
    pub(crate) fn miss(&mut self, version: Version) {
        if let Some(behind) = &mut self.behind {
            behind.miss(version);
        }
    }

    /// The tables did not follow these entries, whatever they had staged of them.
    pub(crate) fn miss_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.miss(entry.version());
            if let Ok(Body::Decision(decision)) = Body::decode(&entry.body) {
                self.letters.missed(decision.letter);
            }
        }
    }

    /// The tables stop at a damaged row, which a write of this version needs. Whatever was staged is
    /// staged again from the log.
    pub(crate) fn block(&mut self, row: RowName, version: Version) {
        self.stand_before(row);
        self.miss(version);
        let staged = std::mem::take(&mut self.staged);
        self.miss_all(&staged);
        self.staged = staged;
    }

    fn stand_before(&mut self, row: RowName) {
        self.engine.discard();
        self.visible.clear();
        let reason = format!(
            "{row} is damaged in this region, and a write to it can't be applied until another \
             region has answered with a good copy"
        );
        self.stand_at(Cause::Row { row, reason });
    }

    /// Whether there is a step of catching up to make.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        let cause = self.behind.as_ref().map(|behind| &behind.cause);
        self.tables_stopped.is_none() && matches!(cause, Some(Cause::CatchingUp | Cause::Unfolding))
    }

    /// Makes a step of catching up, between two rounds.
    pub fn catch_up(&mut self, now: Now) {
        if !self.is_catching_up() || !self.staged().is_empty() {
            return;
        }
        if let Err(error) = self.catch_up_step(now) {
            match error.damaged_row.clone() {
                Some(row) => self.stand_before(row),
                None => self.stop_tables(&error),
            }
        }
    }

    fn catch_up_step(&mut self, now: Now) -> Result<(), EngineError> {
        let position = self.engine.position();
        if position == self.log.end() {
            self.behind = None;
            return Ok(());
        }
        let batch = self
            .log
            .reader()
            .read(position, STEP_BYTES)
            .map_err(|error| EngineError::because("read the log", error))?;
        let followed = self.follow_late(position, &batch.entries, now);
        if followed.is_err() && !mutation::active(Mutation::DecisionForgottenAtDamage) {
            // They are staged again: so are the decisions among them.
            self.miss_all(&batch.entries);
            self.letters.logged();
        }
        let (count, held) = followed?;
        if let Some(behind) = &mut self.behind {
            behind.followed(&batch.entries[..count], &held);
        }
        if self.is_catching_up() && self.engine.position() == self.log.end() {
            self.behind = None;
        }
        Ok(())
    }

    /// Makes the tables follow these entries, those before a letter, or those before the last part of
    /// a large transaction with some more of that, and commits it. Returns how many, and which
    /// transactions are held there.
    fn follow_late(
        &mut self,
        start: Position,
        entries: &[Entry],
        now: Now,
    ) -> Result<(usize, BTreeMap<OriginId, Held>), EngineError> {
        let mut road = self.road_of_tables()?;
        let mut position = start;
        for (count, entry) in entries.iter().enumerate() {
            let body = Body::decode(&entry.body)
                .map_err(|error| EngineError::because("read an entry of the log", error))?;
            if let Body::Decision(decision) = &body {
                self.settle_letter(decision.letter)?;
            }
            let holding = match &body {
                Body::Captured(captured) => road.hold(position, entry, captured.at),
                _ => Holding::Nothing,
            };
            if let Holding::Completes(held) = &holding
                && held.next < position
            {
                road.held.insert(entry.origin, *held);
                self.unfold_step(position, entry.origin, &mut road, now)?;
                return Ok((count, road.held));
            }
            if let Some(transaction) = body.transaction()
                && !matches!(holding, Holding::Part)
            {
                let applying = Applying {
                    position,
                    version: entry.version(),
                    transaction,
                    captured: body.captured(),
                    now: now.wall,
                };
                self.apply_or_set_aside(&applying, position, Some(&road))?;
            }
            if !self.is_catching_up() {
                // The letter's decision, if it is one itself, is followed again with it.
                self.miss_all(std::slice::from_ref(entry));
                self.letters.logged();
                self.commit_up_to_letter()?;
                return Ok((count, road.held));
            }
            road.follow(entry, &body);
            position = position.next();
        }
        if position == self.log.end() {
            // Nothing is staged: this is as of the log's end, with what was noted beside entries.
            road.clone_from(&self.road);
            let mut reached = self.log.marks().vector();
            for (origin, held) in &self.road.held {
                reached.remove(*origin);
                reached.raise(*origin, Hlc::from_raw(held.first.raw().saturating_sub(1)));
            }
            self.engine.reaches(&reached);
        }
        self.engine.commit(position, Some(road.encode()))?;
        Ok((entries.len(), road.held))
    }

    /// The road's state where the tables stand.
    pub(crate) fn road_of_tables(&self) -> Result<Road, EngineError> {
        match self.engine.road() {
            Some(bytes) => Road::decode(bytes)
                .map_err(|error| EngineError::because("read the road's state", error)),
            None => Ok(self.road.clone()),
        }
    }

    /// The tables' part of a commit while they are behind. A round is all there where a letter
    /// stopped them, and where none of its writes were this region's: the peers' are durable, and
    /// the tables come to them.
    pub(crate) fn commit_behind(&mut self, now: Now, has_own: bool) -> Result<(), CommitError> {
        let Some(behind) = &mut self.behind else {
            return Ok(());
        };
        let is_fresh = std::mem::take(&mut behind.is_fresh);
        if let Err(error) = self.commit_up_to_letter() {
            self.stop_tables(&error);
        }
        self.leave_decided(now);
        let lost_own = is_fresh && has_own && self.blocked_by().is_some();
        match self.tables_stopped() {
            Some(reason) if lost_own || self.tables_stopped.is_some() => Err(CommitError::Tables {
                reason: reason.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The log did not take this round: what stopped the tables in it never was.
    pub(crate) fn behind_rolled_back(&mut self) {
        self.letters.rolled_back();
        if self.behind.as_ref().is_some_and(|behind| behind.is_fresh) {
            self.behind = None;
        }
    }
}

impl EngineError {
    pub(crate) fn saying(what: &str) -> Self {
        Self::because(what, std::io::Error::other("it is not the time for it"))
    }

    pub(crate) fn because(
        what: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            context: what.to_owned(),
            disk_full: false,
            damaged_row: None,
            source: Box::new(source),
        }
    }
}
