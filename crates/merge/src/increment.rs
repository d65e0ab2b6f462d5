//! Merging increments.

use crate::{KeptIncrement, Row, Seen};

/// Merges a transaction's increments of a row.
#[must_use]
pub fn merge_increment(row: Option<Row>, increment: &KeptIncrement) -> Row {
    let mut row = row.unwrap_or_else(|| Row::empty(increment.version));
    row.version = row.version.max(increment.version);
    row.count();
    add(&mut row.sums, &increment.by);
    row
}

pub(crate) fn sums_unseen(kept: &[KeptIncrement], seen: Seen<'_>) -> Vec<(String, i128)> {
    let mut sums = Vec::new();
    for increment in kept
        .iter()
        .filter(|increment| !seen.absorbs(increment.version))
    {
        add(&mut sums, &increment.by);
    }
    sums
}

pub(crate) fn add(sums: &mut Vec<(String, i128)>, by: &[(String, i64)]) {
    for (field, amount) in by {
        let amount = i128::from(*amount);
        match sums.binary_search_by(|(name, _)| name.cmp(field)) {
            Ok(at) => sums[at].1 = sums[at].1.saturating_add(amount),
            Err(at) => sums.insert(at, (field.clone(), amount)),
        }
    }
}
