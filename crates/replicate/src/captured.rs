//! Transactions of this region that an engine committed first.
//!
//! The engine (a PostgreSQL server, say) takes writes by itself; they come here in the order of its
//! own history, each once. What they had *seen* is what the engine had been given before them, which
//! may be less than what the tables show by now: that is what their dependencies say, and what this
//! region reports to have applied, so that nothing is collected that a captured write to come had not
//! seen.

use crate::{Engine, Now, Replica, WriteError};
use meridian_log::Disk;
use meridian_model::mutation::{Mutation, active};
use meridian_model::{
    ABSORBED_SINCE, Body, CAPTURES_SINCE, COLLISIONS_SINCE, Captured, CapturedAt, Change,
    Collisions, Hlc, Position, RegionName, Standing, Transaction, Vector,
};
use std::convert::Infallible;

impl<D: Disk, E: Engine> Replica<D, E> {
    /// From now on this region's transactions come through [`Replica::capture`]. To be said right
    /// after [`Replica::open`], before anything is reported or collected.
    #[must_use]
    pub fn capturing(mut self) -> Self {
        self.is_capturing = true;
        self
    }

    /// Takes a transaction that the engine committed at `at`, having seen `seen` of the other
    /// origins. Without changes it notes only the place and what was seen. It is durable once
    /// [`Replica::flush`] has succeeded; the engine may forget its history up to there then.
    ///
    /// # Errors
    /// [`WriteError`]; it must come again later.
    pub fn capture(
        &mut self,
        now: Now,
        at: CapturedAt,
        seen: Vector,
        changes: Vec<Change>,
    ) -> Result<(), WriteError<Infallible>> {
        self.capture_colliding(now, at, seen, (changes, Collisions::default()))
    }

    /// The same for one that collided with writes which its dependencies don't tell of.
    ///
    /// # Errors
    /// [`WriteError`]; it must come again later. Rows of which somebody chose a side are refused until
    /// every region is known to read that; what an engine did blindly is taken without that.
    pub fn capture_colliding(
        &mut self,
        now: Now,
        at: CapturedAt,
        mut seen: Vector,
        (changes, mut collisions): (Vec<Change>, Collisions),
    ) -> Result<(), WriteError<Infallible>> {
        self.must_speak(CAPTURES_SINCE)?;
        if !collisions.chosen.is_empty() {
            self.must_speak(COLLISIONS_SINCE)?;
        } else if !collisions.is_empty() && self.must_speak(COLLISIONS_SINCE).is_err() {
            collisions = Collisions::default();
        }
        let hlc = self.admit_own(now, self.uncounted())?;
        seen.remove(self.origin);
        let absorbed = self.absorbed(&seen)?;
        // A report of what was seen is worth a new one, whether or not anything else is.
        self.report_due |= self.captured().is_none_or(|(_, before)| *before != seen);
        let transaction = Transaction {
            dependencies: seen,
            changes,
            idempotency: None,
        };
        let captured = Captured {
            at,
            transaction,
            collisions,
            absorbed,
        };
        self.stage_own(now, hlc, &Body::Captured(captured));
        Ok(())
    }

    /// What a transaction absorbs that had seen no more than `seen`. While this region joins, its engine
    /// may still lack what the others had collected when they began to count it; the log has all of that
    /// by the time that a captured transaction is taken. What was added later is kept apart until the
    /// engine has been given it, as always; so is a large transaction of which the log has a part only,
    /// which shows with its last.
    ///
    /// Who doesn't say it though it should makes regions differ. So it is taken only when all are
    /// [known to understand it](Self::unread_absorption).
    fn absorbed(&mut self, seen: &Vector) -> Result<Vector, WriteError<Infallible>> {
        let Some(joined_with) = self.joins_with() else {
            return Ok(Vector::default());
        };
        let mut absorbed = Vector::default();
        if !seen.covers(&joined_with) {
            self.absorbed_is_read()?;
            absorbed = joined_with.clone();
        }
        self.joined_with = Some(joined_with);
        Ok(absorbed)
    }

    /// What a transaction that is captured now absorbs, but for what it had seen; `None` where this region
    /// doesn't join.
    fn joins_with(&self) -> Option<Vector> {
        let own = self.road.epoch.members.get(&self.config.region);
        let is_joining = own.is_some_and(|own| own.standing == Standing::Joining);
        if !is_joining || active(Mutation::NothingAbsorbed) {
            return None;
        }
        let joined_with = self.joined_with.clone();
        Some(joined_with.unwrap_or_else(|| self.whole()))
    }

    /// Whether all read what a transaction absorbs, but for those that have yet to begin, which hold nothing
    /// that could differ.
    fn absorbed_is_read(&self) -> Result<(), WriteError<Infallible>> {
        let members = &self.road.epoch.members;
        let has_begun =
            |region: &RegionName| members.get(region).is_some_and(|it| it.origin.is_some());
        let spoken = self.those_speak(ABSORBED_SINCE, has_begun);
        spoken.map_err(|region| WriteError::NotSpoken {
            region,
            version: ABSORBED_SINCE,
        })
    }

    /// Why nothing is captured for now: this region joins, and a region isn't known to understand what its
    /// transactions absorb.
    #[must_use]
    pub fn unread_absorption(&self) -> Option<WriteError<Infallible>> {
        let absorbed = self.joins_with()?;
        let has_seen = match self.captured() {
            Some((_, seen)) => seen.covers(&absorbed),
            None => absorbed.is_empty(),
        };
        self.absorbed_is_read().err().filter(|_| !has_seen)
    }

    /// What the log has of the others' transactions, with what is staged, and has as a whole.
    fn whole(&self) -> Vector {
        let (own, held) = (self.origin, &self.road.held);
        let marks = self
            .staged_marks
            .iter()
            .filter(|(origin, _)| *origin != own);
        let whole = marks.map(|(origin, mark)| {
            let before = held
                .get(&origin)
                .map(|held| held.first.raw().saturating_sub(1));
            (origin, before.map_or(mark.hlc, Hlc::from_raw))
        });
        whole.collect()
    }

    fn must_speak(&self, version: u16) -> Result<(), WriteError<Infallible>> {
        let spoken = self.all_speak(version);
        spoken.map_err(|region| WriteError::NotSpoken { region, version })
    }

    /// The last transaction that was captured, with what is staged, and what it had seen.
    #[must_use]
    pub fn captured(&self) -> Option<&(CapturedAt, Vector)> {
        self.road.captured.as_ref()
    }

    /// What every transaction of this region from here on will have seen at least.
    pub(crate) fn seen_by_own_writes(&self) -> Vector {
        let mut seen = self.staged_marks.vector();
        if !self.is_capturing {
            return seen;
        }
        let reached = seen.get(self.origin);
        seen = self
            .captured()
            .map(|(_, seen)| seen.clone())
            .unwrap_or_default();
        seen.raise(self.origin, reached);
        seen
    }

    /// Keeps the log from `position` on, for what follows it outside.
    pub fn keep_from(&mut self, position: Position) {
        self.kept_from = Some(position);
    }

    /// Up to where everything that is kept here has followed the log.
    pub(crate) fn followed_to(&self) -> Position {
        let tables = self.engine.position().min(self.held_from());
        self.kept_from.map_or(tables, |kept| kept.min(tables))
    }
}
