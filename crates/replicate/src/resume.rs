//! Going on after damage.
//!
//! A row whose record can't be read stops the tables at the transaction that needs it; the log goes
//! on, in memory of nothing but its own order. Other regions have the row. Once it is mended, the
//! tables follow the log again from where they stopped, in steps, each committed with the road's
//! state at its position, so that a crash on the way loses nothing either.
//!
//! ```text
//! following ──damaged row──▶ blocked ──mended──▶ catching up ──at the log's end──▶ following
//!                               ▲                     │
//!                               └────damaged row──────┘
//! ```

use crate::road::Road;
use crate::{Applying, Engine, EngineError, Now, Replica};
use meridian_log::Disk;
use meridian_model::{Body, Entry, Position, RowName, Vector};

/// What the tables catch up with in one step, in bytes of log.
const STEP_BYTES: usize = 1 << 20;

/// Tables that a damaged row has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The row has to be mended first.
    Blocked {
        /// The row.
        row: RowName,
        /// What to tell people.
        reason: String,
    },
    /// The tables are on their way to the log's end.
    CatchingUp,
}

impl Halt {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Blocked { reason, .. } => reason,
            Self::CatchingUp => "a damaged row was mended, and the tables catch up with the log",
        }
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// The damaged row for which the tables wait, if they do.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&RowName> {
        match &self.halt {
            Some(Halt::Blocked { row, .. }) => Some(row),
            _ => None,
        }
    }

    /// All that the tables have applied, and no more. `None` while they don't follow the log.
    #[must_use]
    pub fn applied(&self) -> Option<Vector> {
        self.follows().then(|| self.log.marks().vector())
    }

    /// Whether the tables are at the log's end after every round.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.tables_stopped.is_none() && self.halt.is_none()
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
            self.halt = Some(Halt::CatchingUp);
        }
        Ok(())
    }

    /// The tables stop at a damaged row; whatever was staged is staged again from the log.
    pub(crate) fn block(&mut self, row: RowName) {
        self.engine.discard();
        self.visible.clear();
        let reason = format!(
            "{row} is damaged in this region, and a write to it can't be applied until another \
             region has answered with a good copy"
        );
        self.halt = Some(Halt::Blocked { row, reason });
    }

    /// Whether there is a step of catching up to make.
    #[must_use]
    pub fn is_catching_up(&self) -> bool {
        self.halt == Some(Halt::CatchingUp)
    }

    /// Makes a step of catching up, between two rounds.
    pub fn catch_up(&mut self, now: Now) {
        if !self.is_catching_up() || !self.staged().is_empty() {
            return;
        }
        if let Err(error) = self.catch_up_step(now) {
            match error.damaged_row.clone() {
                Some(row) => self.block(row),
                None => self.stop_tables(&error),
            }
        }
    }

    fn catch_up_step(&mut self, now: Now) -> Result<(), EngineError> {
        let mut position = self.engine.position();
        if position < self.log.end() {
            let bytes = self.engine.road();
            let mut road = bytes
                .map_or_else(|| Ok(Road::default()), Road::decode)
                .map_err(|error| EngineError::because("read the road's state", error))?;
            let batch = self
                .log
                .reader()
                .read(position, STEP_BYTES)
                .map_err(|error| EngineError::because("read the log", error))?;
            for entry in &batch.entries {
                self.follow_late(position, entry, &mut road, now)?;
                position = position.next();
            }
            self.engine.commit(position, Some(road.encode()))?;
        }
        if position == self.log.end() {
            self.halt = None;
        }
        Ok(())
    }

    fn follow_late(
        &mut self,
        position: Position,
        entry: &Entry,
        road: &mut Road,
        now: Now,
    ) -> Result<(), EngineError> {
        let body = Body::decode(&entry.body)
            .map_err(|error| EngineError::because("read an entry of the log", error))?;
        match &body {
            Body::Open { region } => road.open(region.clone(), entry.origin),
            Body::Report(report) => road.report(entry.origin, report.clone()),
            Body::Transaction(transaction) => self.engine.apply(&Applying {
                position,
                version: entry.version(),
                transaction,
                now: now.wall,
            })?,
        }
        Ok(())
    }
}

impl EngineError {
    fn saying(what: &str) -> Self {
        Self::because(what, std::io::Error::other("it is not the time for it"))
    }

    fn because(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            context: what.to_owned(),
            disk_full: false,
            damaged_row: None,
            source: Box::new(source),
        }
    }
}
