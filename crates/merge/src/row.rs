//! A row's state, and how a write changes it.

use meridian_model::mutation::{self, Mutation};
use meridian_model::{Vector, Version};
use serde::{Deserialize, Serialize};

/// All that is kept of a row, a deleted one (a tombstone) included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The greatest version of any write to the row.
    pub version: Version,
    /// The put or delete that stands; `None` where the row was only ever incremented.
    pub base: Option<Base>,
    /// By field, by name: the sum of the increments that the base had not seen.
    pub sums: Vec<(String, i128)>,
    /// Whether increments of this row may be kept apart.
    pub counted: bool,
}

/// The put or delete that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its version.
    pub version: Version,
    /// Its document as JSON text; `None` for a delete.
    pub document: Option<String>,
}

/// One transaction's increments of a row, kept apart until every later write has seen them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptIncrement {
    /// The transaction's version.
    pub version: Version,
    /// Amounts by field.
    pub by: Vec<(String, i64)>,
}

/// What a write's origin had seen when it committed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The write's own version: its origin has seen all that it committed earlier.
    pub version: Version,
    /// What it had applied of the others.
    pub dependencies: &'a Vector,
}

impl Seen<'_> {
    /// Whether a write was among what this one had seen.
    #[must_use]
    pub fn includes(&self, version: Version) -> bool {
        if version.origin == self.version.origin {
            version.hlc < self.version.hlc
        } else {
            self.dependencies.has_seen(version)
        }
    }
}

/// The write that gave way to another in a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken {
    /// What stands.
    pub winner: Base,
    /// What gave way.
    pub loser: Base,
}

/// A put or delete merged into a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The row now.
    pub row: Row,
    /// Whether the write stands.
    pub won: bool,
    /// Set where neither write had seen the other.
    pub conflict: Option<Overtaken>,
}

/// Merges a put or delete. `kept` is asked for the row's increments that are kept apart, in case
/// the write wins over a row that has been incremented.
pub fn merge_write<E>(
    row: Option<Row>,
    write: Base,
    seen: Seen<'_>,
    kept: impl FnOnce() -> Result<Vec<KeptIncrement>, E>,
) -> Result<Merged, E> {
    let Some(mut row) = row else {
        let row = Row {
            version: write.version,
            base: Some(write),
            sums: Vec::new(),
            counted: false,
        };
        return Ok(Merged {
            row,
            won: true,
            conflict: None,
        });
    };
    row.version = row.version.max(write.version);
    let Some(standing) = row.base.take() else {
        row.sums = if row.counted {
            sums_unseen(&kept()?, seen)
        } else {
            Vec::new()
        };
        row.base = Some(write);
        return Ok(Merged {
            row,
            won: true,
            conflict: None,
        });
    };
    let concurrent = !seen.includes(standing.version);
    let won =
        (write.version > standing.version) ^ mutation::active(Mutation::VersionsComparedWrongly);
    let conflict = |winner: &Base, loser: &Base| {
        concurrent.then(|| Overtaken {
            winner: winner.clone(),
            loser: loser.clone(),
        })
    };
    let conflict = if won {
        conflict(&write, &standing)
    } else {
        conflict(&standing, &write)
    };
    if won {
        if row.counted {
            row.sums = sums_unseen(&kept()?, seen);
        }
        row.base = Some(write);
    } else {
        row.base = Some(standing);
    }
    Ok(Merged { row, won, conflict })
}

/// Merges a transaction's increments of a row.
#[must_use]
pub fn merge_increment(row: Option<Row>, increment: &KeptIncrement) -> Row {
    let mut row = row.unwrap_or(Row {
        version: increment.version,
        base: None,
        sums: Vec::new(),
        counted: true,
    });
    row.version = row.version.max(increment.version);
    row.counted = true;
    add(&mut row.sums, &increment.by);
    row
}

fn sums_unseen(kept: &[KeptIncrement], seen: Seen<'_>) -> Vec<(String, i128)> {
    let mut sums = Vec::new();
    for increment in kept
        .iter()
        .filter(|increment| !seen.includes(increment.version))
    {
        add(&mut sums, &increment.by);
    }
    sums
}

fn add(sums: &mut Vec<(String, i128)>, by: &[(String, i64)]) {
    for (field, amount) in by {
        let amount = i128::from(*amount);
        match sums.binary_search_by(|(name, _)| name.cmp(field)) {
            Ok(at) => sums[at].1 = sums[at].1.saturating_add(amount),
            Err(at) => sums.insert(at, (field.clone(), amount)),
        }
    }
}

impl Row {
    /// Whether nothing is left but the memory of a delete.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.sums.is_empty()
            && self
                .base
                .as_ref()
                .is_some_and(|base| base.document.is_none())
    }
}
