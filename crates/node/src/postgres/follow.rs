//! Where a projection stands in the log.

use super::touched::{Passed, Whose, touched};
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, LogDisk};
use meridian_log::Reader;
use meridian_model::{OriginId, Position, RowName};

/// Reading so many entries takes no longer than other tasks may wait.
const ENTRIES_AT_ONCE: u64 = 64;

/// Follows the log like a peer does, for the rows that it touches.
pub(super) struct Follower {
    log: Reader<LogDisk>,
    own: OriginId,
    /// Up to here the rows touched have been told.
    position: Position,
    /// Before here, this region's own captured transactions count too: the process that knew which of
    /// them met a projection is gone.
    own_until: Position,
    /// The large transactions that are under way there.
    passed: Passed,
}

/// The log doesn't go back that far any more.
pub(super) struct Trimmed;

impl Follower {
    /// Follows from `position` on, where the server stands.
    ///
    /// # Errors
    /// [`Trimmed`]: every row has to be looked at.
    pub(super) fn start(dataset: &DatasetHandle, position: Position) -> Result<Self, Trimmed> {
        let log = dataset.log();
        if position < log.start() || position > log.end() {
            return Err(Trimmed);
        }
        Ok(Self {
            own: dataset.origin(),
            own_until: log.end(),
            log,
            position,
            passed: Passed::default(),
        })
    }

    /// Follows from a place at which every row has been looked at.
    ///
    /// # Errors
    /// [`Trouble`] when the log can't be read.
    pub(super) fn from_here(dataset: &DatasetHandle, position: Position) -> Result<Self, Trouble> {
        let log = dataset.log();
        let mut passed = Passed::default();
        let before = (log.start(), position);
        let whose = Whose::Everybodys;
        touched(&log, before, whose, &mut passed, &mut |_| Ok(()))?;
        Ok(Self {
            own: dataset.origin(),
            own_until: log.end(),
            log,
            position,
            passed,
        })
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Up to here the tables show all that the log holds, where they stand at the position reached.
    pub(super) fn whole_to(&self) -> Position {
        let first = self.passed.first();
        first.map_or(self.position, |first| first.min(self.position))
    }

    /// Whether following up to there may take long: there is much, or a large transaction may end.
    pub(super) fn is_far_from(&self, to: Position) -> bool {
        let entries = to.0.saturating_sub(self.position.0);
        entries > ENTRIES_AT_ONCE || self.passed.first().is_some()
    }

    /// Forgets what these origins began: they have gone, and all that comes of them has been followed.
    pub(super) fn forget(&mut self, gone: impl Fn(OriginId) -> bool) {
        self.passed.forget(gone);
    }

    /// Tells `take` the rows that entries up to `to` touched, which were not told yet.
    ///
    /// # Errors
    /// [`Trouble`] when the log can't be read; whatever `take` says.
    pub(super) fn follow(
        &mut self,
        to: Position,
        mut take: impl FnMut(RowName) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let (log, passed) = (&self.log, &mut self.passed);
        if self.position < self.own_until.min(to) {
            let to = self.own_until.min(to);
            let range = (self.position, to);
            touched(log, range, Whose::Everybodys, passed, &mut take)?;
            self.position = to;
        }
        let others = Whose::NotCapturedBy(self.own);
        touched(log, (self.position, to), others, passed, &mut take)?;
        self.position = self.position.max(to);
        Ok(())
    }
}
