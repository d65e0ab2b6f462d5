//! What an engine contributes to the road: its two ends, capture and apply.

use meridian_model::{Change, IdempotencyKey, Micros, Position, Transaction, Vector, Version};

/// A dataset's tables. Effects are staged by [`Engine::apply`] and become visible, durable in the
/// log already, all at once with the position reached, by [`Engine::commit`].
pub trait Engine {
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

/// A transaction on its way into the tables.
#[derive(Clone, Copy, Debug)]
pub struct Applying<'a> {
    /// Where it stands in this region's log.
    pub position: Position,
    /// When and where it was committed.
    pub version: Version,
    /// What it does.
    pub transaction: &'a Transaction,
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
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
