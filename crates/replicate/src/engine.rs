//! What an engine contributes to the road: its two ends, capture and apply.

use meridian_model::{
    Captured, Change, IdempotencyKey, Micros, Position, Record, RowName, Transaction, Vector,
    Version,
};

/// A dataset's tables. Effects are staged by [`Engine::apply`] and become visible, durable in the
/// log already, all at once with the position reached, by [`Engine::commit`].
pub trait Engine {
    /// A committed state, for a region that begins with a copy of it.
    type View: SnapshotView;

    /// The state of the last commit, without anything that is staged. Takes no time that grows
    /// with the data.
    fn view(&self) -> Self::View;

    /// Stages the effects of one transaction on top of what is staged already. Called once for
    /// each transaction, in log order.
    ///
    /// # Errors
    /// [`EngineError`] stops the dataset's applying; its log goes on.
    fn apply(&mut self, applying: &Applying<'_>) -> Result<(), EngineError>;

    /// Why no region's tables can ever take this transaction; `None` where they can. It must
    /// depend on the transaction alone, and say the same in every build that shares a wire
    /// version: every region sets the same ones aside, or the regions part.
    fn objection(&self, transaction: &Transaction) -> Option<String> {
        let _ = transaction;
        None
    }

    /// Stages that the transaction is set aside as a dead letter, whole and with the reason. May
    /// come again for a letter that is there already.
    ///
    /// # Errors
    /// [`EngineError`] as for [`Engine::apply`].
    fn set_aside(&mut self, applying: &Applying<'_>, reason: &str) -> Result<(), EngineError> {
        let _ = (applying, reason);
        Ok(())
    }

    /// Stages that a dead letter goes; it may have gone already.
    ///
    /// # Errors
    /// [`EngineError`] as for [`Engine::apply`].
    fn settle(&mut self, letter: Version) -> Result<(), EngineError> {
        let _ = letter;
        Ok(())
    }

    /// Whether the dataset is to stop applying at a dead letter until it is decided about.
    fn stops_at_dead_letters(&self) -> bool {
        false
    }

    /// Makes all that is staged visible, in one atomic step with the position reached and the
    /// road's own state. After a crash the engine is at the position of some commit, and no
    /// earlier than the last [`Engine::persist`].
    ///
    /// # Errors
    /// [`EngineError`] when the tables could not be written.
    fn commit(&mut self, position: Position, road: Option<Vec<u8>>) -> Result<(), EngineError>;

    /// Forgets what is staged: the log did not take it.
    fn discard(&mut self);

    /// Stages the removal of what only concurrent writes could still need, now that no write is on
    /// its way that has not seen everything in `stable`.
    ///
    /// # Errors
    /// [`EngineError`] when the tables could not be read.
    fn collect(&mut self, stable: &Vector, now: Micros) -> Result<(), EngineError>;

    /// The log, all of which is applied, reaches as far as this: known at the latest with the next
    /// commit, however the tables came to be.
    fn reaches(&mut self, seen: &Vector);

    /// Makes all commits so far survive a power loss.
    ///
    /// # Errors
    /// [`EngineError`] when the tables could not be written.
    fn persist(&mut self) -> Result<(), EngineError>;

    /// The position of the last commit.
    fn position(&self) -> Position;

    /// The road's state as of the last commit that carried one.
    fn road(&self) -> Option<&[u8]>;
}

/// A committed state of an engine that doesn't change any more, read in parts by any thread.
pub trait SnapshotView {
    /// The records after the key `after` (from the first where it is `None`) that another region
    /// needs, in the order of their keys: at least one if there is any, then as many as fit in
    /// `bytes_max`.
    ///
    /// # Errors
    /// [`EngineError`] when they can't be read or are damaged.
    fn part(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Records, EngineError>;
}

/// Records of a committed state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// The records.
    pub records: Vec<Record>,
    /// Whether none follow.
    pub is_last: bool,
}

/// A transaction on its way into the tables.
#[derive(Clone, Copy, Debug)]
pub struct Applying<'a> {
    /// Where it stands in this region's log: a part of a large transaction where the part does,
    /// though the tables are past that when they take it in.
    pub position: Position,
    /// When and where it was committed.
    pub version: Version,
    /// What it does.
    pub transaction: &'a Transaction,
    /// What it is part of, if an engine committed it first.
    pub captured: Option<&'a Captured>,
    /// This machine's clock.
    pub now: Micros,
}

/// What executing a client's request came to: changes to commit, and the reply that is due once
/// they are durable.
#[derive(Debug)]
pub struct Executed<R> {
    /// The changes; none where nothing needs to be written.
    pub changes: Vec<Change>,
    /// The client's key.
    pub idempotency: Option<IdempotencyKey>,
    /// The reply.
    pub reply: R,
}

/// The tables could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct EngineError {
    /// What was being done.
    pub context: String,
    /// Whether the cause is a full disk.
    pub disk_full: bool,
    /// The row whose damaged record is the cause, if that is it: other regions have a good one.
    pub damaged_row: Option<RowName>,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
