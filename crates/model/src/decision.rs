//! What is decided about a dead letter.

use crate::{Transaction, Version};
use serde::{Deserialize, Serialize};

/// The lowest wire version in which there are decisions.
pub const DECISIONS_SINCE: u16 = 2;

/// A decision about a dead letter: the letter goes, in every region, and a transaction is made in
/// its place, atomically with that.
///
/// It is a transaction of its own, of the region that was asked, with a version and dependencies
/// of its own; those cover the letter, so it arrives nowhere before the letter does. Two decisions
/// about one letter are two transactions: each removes the letter if it is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The letter: the version of the transaction that was set aside.
    pub letter: Version,
    /// What is made in its place; without changes where the letter is dropped.
    pub transaction: Transaction,
}
