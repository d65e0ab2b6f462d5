//! What regions say in their streams to decide who counts: the steps of Paxos, and the adoption of
//! what was decided.
//!
//! The rules that make these words safe are those of the machine that speaks them
//! (`crates/replicate/src/membership.rs`).

use crate::{Epoch, OriginId, RegionName, Vector};
use serde::{Deserialize, Serialize};

/// The lowest wire version in which streams carry these words.
pub const VOTES_SINCE: u16 = 2;

/// A ballot: one region's attempt to have an epoch decided. No two regions share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Above that of every ballot its proposer had seen.
    pub counter: u64,
    /// The proposer.
    pub origin: OriginId,
}

/// A step in deciding the epoch of some number. New kinds are appended: the position is the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vote {
    /// "Who follows this ballot?" The proposer asks.
    Prepare {
        /// The epoch to be decided.
        number: u64,
        /// The ballot.
        ballot: Ballot,
        /// The members that the proposer means to leave out.
        without: Vec<RegionName>,
    },
    /// "I do, and no lower one any more." A voter answers.
    Promise {
        /// The epoch to be decided.
        number: u64,
        /// The ballot.
        ballot: Ballot,
        /// What the voter had accepted before, and in which ballot.
        accepted: Option<(Ballot, Epoch)>,
    },
    /// "Let it be this one." The proposer states the epoch.
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// The epoch.
        epoch: Epoch,
    },
    /// "So be it." A voter accepts what the ballot's proposer stated.
    Accepted {
        /// The epoch to be decided.
        number: u64,
        /// The ballot.
        ballot: Ballot,
    },
}

/// How an epoch was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecidedBy {
    /// By a majority of the voters of the epoch before.
    Majority,
    /// By a person, where no majority could be had.
    Operator,
}

/// A region's adoption of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// The epoch, as it was decided.
    pub epoch: Epoch,
    /// How.
    pub decided_by: DecidedBy,
    /// Per other origin the clock reading up to which the adopter's log held it.
    pub dependencies: Vector,
}

impl Vote {
    /// The number of the epoch that it is about.
    #[must_use]
    pub fn number(&self) -> u64 {
        match self {
            Self::Prepare { number, .. }
            | Self::Promise { number, .. }
            | Self::Accepted { number, .. } => *number,
            Self::Accept { epoch, .. } => epoch.number,
        }
    }

    /// The ballot.
    #[must_use]
    pub fn ballot(&self) -> Ballot {
        match self {
            Self::Prepare { ballot, .. }
            | Self::Promise { ballot, .. }
            | Self::Accept { ballot, .. }
            | Self::Accepted { ballot, .. } => *ballot,
        }
    }

    /// Whether only the ballot's own proposer may say this.
    #[must_use]
    pub fn is_the_proposers(&self) -> bool {
        matches!(self, Self::Prepare { .. } | Self::Accept { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_ballots_the_counter_decides_then_the_origin() {
        let ballot = |counter, origin| Ballot {
            counter,
            origin: OriginId(origin),
        };
        assert!(ballot(2, 1) > ballot(1, 9));
        assert!(ballot(1, 9) > ballot(1, 1));
    }
}
