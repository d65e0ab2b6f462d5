//! Where a projection stands in the log.

use super::touched::{Whose, touched};
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, LogDisk, describe};
use meridian_log::{LogError, Reader};
use meridian_model::{OriginId, Position, RowName};

/// Follows the log like a peer does, for the rows that it touches.
pub(super) struct Follower {
    log: Reader<LogDisk>,
    own: OriginId,
    /// Up to here the rows touched have been told.
    position: Position,
    /// Before here, this region's own captured transactions count too: the process that knew which of
    /// them met a projection is gone.
    own_until: Position,
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
        })
    }

    /// Follows from a place at which every row has been looked at.
    pub(super) fn from_here(dataset: &DatasetHandle, position: Position) -> Self {
        Self {
            own: dataset.origin(),
            own_until: dataset.log().end(),
            log: dataset.log(),
            position,
        }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The rows that entries up to `to` touched, which were not told yet.
    ///
    /// # Errors
    /// [`Trouble`] when the log can't be read.
    pub(super) fn follow(&mut self, to: Position) -> Result<Vec<RowName>, Trouble> {
        let mut rows = Vec::new();
        if self.position < self.own_until.min(to) {
            let to = self.own_until.min(to);
            let all = touched(&self.log, self.position, to, Whose::Everybodys);
            rows = all.map_err(|error| unreadable(&error))?;
            self.position = to;
        }
        let others = Whose::NotCapturedBy(self.own);
        let fresh = touched(&self.log, self.position, to, others);
        rows.extend(fresh.map_err(|error| unreadable(&error))?);
        self.position = self.position.max(to);
        Ok(rows)
    }
}

fn unreadable(error: &LogError) -> Trouble {
    Trouble::lasting(
        describe(error),
        "the dataset's log can't be read; is the disk sound?",
    )
}
