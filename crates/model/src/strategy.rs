//! How writes to one row that had not seen each other come together.
//!
//! The strategy is the *origin's*: it decides what kind of change a client's put or delete becomes.
//! The kind travels with the write, and merging looks at kinds alone. So regions may have different
//! strategies for a table, as they do while it changes, and still come to the same rows.

use serde::{Deserialize, Serialize};

/// A table's conflict strategy. New ones are appended: the position is the format of conflict
/// records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// The higher version wins the row.
    #[default]
    LastWriterWins,
    /// The higher version wins each field by itself.
    RegisterPerField,
    /// Arrays are sets in which an addition wins over a removal; other fields are registers.
    AddWinsSet,
    /// All writes are kept until one that has seen them replaces them.
    Siblings,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::LastWriterWins,
        Self::RegisterPerField,
        Self::AddWinsSet,
        Self::Siblings,
    ];

    /// Its name in the topology.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LastWriterWins => "last-writer-wins",
            Self::RegisterPerField => "register-per-field",
            Self::AddWinsSet => "add-wins-set",
            Self::Siblings => "siblings",
        }
    }

    /// The strategy of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.name() == name)
    }
}
