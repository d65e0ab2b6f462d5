//! What the rows must be, from the set of all committed transactions: the law of `merge`, stated a
//! second time without states, orders of arrival or shortcuts.

use crate::Violation;
use crate::law_of_row::live_row;
use meridian_model::{Change, Operation, Vector, Version};
use serde_json::Value;
use std::collections::BTreeMap;

/// Table and key.
pub type RowKey = (String, String);

/// A transaction that is durable somewhere.
#[derive(Clone, Debug)]
pub struct Committed {
    /// When and where.
    pub version: Version,
    /// What its origin had applied of the others.
    pub dependencies: Vector,
    /// The increments that its puts and deletes absorb beside those: what its origin's server couldn't
    /// have seen, and its log had.
    pub absorbed: Vector,
    /// What it did.
    pub changes: Vec<Change>,
}

impl Committed {
    pub(crate) fn had_seen(&self, other: &Self) -> bool {
        if other.version.origin == self.version.origin {
            other.version.hlc < self.version.hlc
        } else {
            self.dependencies.has_seen(other.version)
        }
    }
}

/// A live row.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedRow {
    /// The greatest version of any write to it.
    pub version: Version,
    /// Its document; where it has siblings the newest.
    pub document: Value,
    /// The other documents that stand, newest first.
    pub siblings: Vec<Value>,
}

/// All live rows, as the transactions make them.
#[derive(Debug, Default)]
pub struct Law {
    rows: BTreeMap<RowKey, ExpectedRow>,
}

impl Law {
    /// Works out every row.
    #[must_use]
    pub fn of(transactions: &[Committed]) -> Self {
        let mut writes: BTreeMap<RowKey, Vec<(&Committed, &Operation)>> = BTreeMap::new();
        for transaction in transactions {
            for change in &transaction.changes {
                let key = (change.table.clone(), change.key.clone());
                writes
                    .entry(key)
                    .or_default()
                    .push((transaction, &change.operation));
            }
        }
        let rows = writes
            .into_iter()
            .filter_map(|(key, writes)| Some((key, live_row(&writes)?)))
            .collect();
        Self { rows }
    }

    /// The live rows.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<RowKey, ExpectedRow> {
        &self.rows
    }

    /// Holds a region's rows against the law.
    ///
    /// # Errors
    /// The first row that differs.
    pub fn check(
        &self,
        region: &str,
        found: &BTreeMap<RowKey, ExpectedRow>,
    ) -> Result<(), Violation> {
        for key in self.rows.keys().chain(found.keys()) {
            let (expected, found) = (self.rows.get(key), found.get(key));
            if expected != found {
                return Err(Violation::WrongRow {
                    region: region.to_owned(),
                    table: key.0.clone(),
                    key: key.1.clone(),
                    found: describe(found),
                    expected: describe(expected),
                });
            }
        }
        Ok(())
    }
}

fn describe(row: Option<&ExpectedRow>) -> String {
    row.map_or_else(
        || "absent".to_owned(),
        |row| {
            let siblings = row.siblings.iter();
            let siblings: String = siblings
                .map(|sibling| format!(" beside {sibling}"))
                .collect();
            format!("{}{siblings} at {}", row.document, row.version)
        },
    )
}
