//! The mark by which capture knows what the projection wrote.

use meridian_model::{Position, Vector};
use serde::{Deserialize, Serialize};

/// What a projecting transaction says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The log's position up to which the server shows everything with this transaction.
    pub position: Position,
    /// Per origin its last transaction that shows.
    pub seen: Vector,
}
