//! Rows as the log makes them, told by a region whose tables a damaged row has stopped before its end.
//!
//! Such a region has applied less than others, so by its tables alone it could give them no copy of
//! another row: two regions that each stand at a row which the other has in good order would wait for
//! each other. But what a write makes of one row depends on that row and the write alone. So the
//! changes to the rows asked for are followed through the rest of the log, beside the tables, and the
//! copy is as of the log's end.

use crate::{Engine, EngineError, Replica};
use meridian_log::{Disk, Reader};
use meridian_model::{Body, Position, Transaction, Vector, Version};

/// What is read of the log at once, in bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Where tables stand still, and what the log holds behind that.
#[derive(Debug)]
pub struct Standstill<D: Disk> {
    /// The position of the tables' last commit.
    pub position: Position,
    /// All that rows have seen that were followed to the log's end.
    pub as_of: Vector,
    end: Position,
    log: Reader<D>,
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Where a damaged row has stopped the tables, if one has. `None` also where rows can't be followed
    /// one by one: the log ends in a large transaction of which parts are still to come, or the dataset
    /// is to stop at dead letters.
    #[must_use]
    pub fn standstill(&self) -> Option<Standstill<D>> {
        let is_plain = self.road.held.is_empty() && !self.engine.stops_at_dead_letters();
        (self.blocked_by().is_some() && is_plain).then(|| Standstill {
            position: self.engine.position(),
            as_of: self.log.marks().vector(),
            end: self.log.end(),
            log: self.log.reader(),
        })
    }
}

impl<D: Disk> Standstill<D> {
    /// Shows every transaction from where the tables stand to the log's end.
    ///
    /// # Errors
    /// [`EngineError`] when the log can't be read, or holds a large transaction in parts or one that
    /// absorbs others, and what `follow` says.
    pub fn follow(
        &self,
        mut follow: impl FnMut(Position, Version, &Transaction) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut position = self.position;
        while position < self.end {
            let batch = self.log.read(position, BATCH_BYTES);
            let batch = batch.map_err(|error| EngineError::because("read the log", error))?;
            for entry in &batch.entries {
                let body = Body::decode(&entry.body)
                    .map_err(|error| EngineError::because("read an entry of the log", error))?;
                if let Some(captured) = body.captured()
                    && (captured.at.is_held() || !captured.absorbed.is_empty())
                {
                    let what = "follow a large transaction, or one that absorbs others, row by row";
                    return Err(EngineError::saying(what));
                }
                if let Some(transaction) = body.transaction()
                    && position < self.end
                {
                    follow(position, entry.version(), transaction)?;
                }
                position = position.next();
            }
        }
        Ok(())
    }
}
