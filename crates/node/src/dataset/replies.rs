//! Replies on their way out: after the round that they belong to, and after other regions where the
//! dataset promises that.

use super::ExecuteError;
use super::handle::Written;
use meridian_engine_kv::Outcome;
use meridian_model::Sequence;
use meridian_replicate::{ProposeError, Shortfall};
use tokio::sync::oneshot;

/// Where a client's reply goes.
pub(super) type Reply = oneshot::Sender<Result<Written, ExecuteError>>;

/// A reply that is due once the round is committed.
pub(super) struct Staged {
    pub(super) outcome: Result<Outcome, ExecuteError>,
    /// Of the entry that it wrote, where it wrote one.
    pub(super) sequence: Option<Sequence>,
    pub(super) reply: Reply,
}

/// Whether a change of who counts has begun, to be told once the round is committed.
pub(super) struct Proposed {
    pub(super) outcome: Result<(), ProposeError>,
    pub(super) reply: oneshot::Sender<Result<(), ProposeError>>,
}

/// Who waits until other regions hold what is here.
pub(super) enum Pending {
    /// A client whose write is durable here.
    Write(Outcome, Reply),
    /// A reader of what is durable here.
    Barrier(oneshot::Sender<Result<(), Shortfall>>),
}

impl Pending {
    /// Whoever asked may have gone; then nobody waits for the answer.
    pub(super) fn settle(self, outcome: Result<(), Shortfall>) {
        match self {
            Self::Write(written, reply) => {
                let shortfall = outcome.err();
                let _ = reply.send(Ok(Written {
                    outcome: written,
                    shortfall,
                }));
            }
            Self::Barrier(reply) => {
                let _ = reply.send(outcome);
            }
        }
    }
}
