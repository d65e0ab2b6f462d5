//! What a batch asked the server for, to tell it from what else happened in its transaction.

use super::{Parked, Projected};
use crate::{Lsn, Xid};
use meridian_model::RowName;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A batch between its issue and its capture.
#[derive(Debug)]
pub(super) struct Asked {
    /// Per row the digest of its document; `None` where it is to be absent.
    rows: HashMap<RowName, Option<u64>>,
    /// What the transaction left otherwise, as far as it is told.
    deviations: BTreeMap<RowName, Option<String>>,
}

/// A batch that is in the server, and where.
#[derive(Debug)]
pub(super) struct Written {
    /// The transaction.
    pub(super) xid: Xid,
    /// A WAL position after its commit.
    pub(super) end: Lsn,
    /// What it was asked for.
    pub(super) asked: Asked,
    /// Whether it wrote very many rows beside those.
    pub(super) is_large: bool,
}

impl Asked {
    pub(super) fn of(projected: &Projected) -> Self {
        Self {
            rows: projected
                .rows
                .iter()
                .map(|(dirty, document)| (dirty.row.clone(), document.as_deref().map(digest)))
                .collect(),
            deviations: BTreeMap::new(),
        }
    }

    pub(super) fn has(&self, row: &RowName) -> bool {
        self.rows.contains_key(row)
    }

    /// Whether the row was to be there after the batch.
    pub(super) fn is_present(&self, row: &RowName) -> bool {
        self.rows.get(row).is_some_and(Option::is_some)
    }

    /// These rows are absent instead.
    pub(super) fn without(&mut self, parked: &[Parked]) {
        for parked in parked {
            self.rows.insert(parked.row.clone(), None);
        }
    }

    /// The transaction made the row this; what it does last counts.
    pub(super) fn left(&mut self, row: &RowName, document: Option<&str>) {
        if self.rows.get(row) == Some(&document.map(digest)) {
            self.deviations.remove(row);
        } else {
            self.deviations
                .insert(row.clone(), document.map(str::to_owned));
        }
    }

    /// The same for a batch that wrote very many rows beside: the tables, as the batch showed them,
    /// have `shown` for the row.
    pub(super) fn left_by_large(
        &mut self,
        row: &RowName,
        document: Option<&str>,
        shown: Option<&str>,
    ) {
        if self.has(row) {
            self.left(row, document);
        } else if document.map(digest) == shown.map(digest) {
            self.deviations.remove(row);
        } else {
            let document = document.map(str::to_owned);
            self.deviations.insert(row.clone(), document);
        }
    }

    /// What nobody asked for.
    pub(super) fn deviations(self) -> Vec<(RowName, Option<String>)> {
        self.deviations.into_iter().collect()
    }
}

/// The same for documents with the same values, in whatever order.
fn digest(document: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    match serde_json::from_str::<BTreeMap<&str, serde_json::Value>>(document) {
        Ok(object) => {
            for (column, value) in object {
                column.hash(&mut hasher);
                // A number and its text are the same value of a column.
                match value {
                    serde_json::Value::String(text) => (1, text).hash(&mut hasher),
                    serde_json::Value::Number(number) => (1, number.to_string()).hash(&mut hasher),
                    other => (0, other.to_string()).hash(&mut hasher),
                }
            }
        }
        Err(_) => document.hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn a_digest_is_that_of_the_values() {
        assert_eq!(digest(r#"{"a":"1","n":2}"#), digest(r#"{"n":2, "a":"1"}"#));
        assert_eq!(digest(r#"{"n":"2"}"#), digest(r#"{"n":2}"#));
        assert_ne!(digest(r#"{"n":"null"}"#), digest(r#"{"n":null}"#));
        assert_ne!(digest(r#"{"a":"1"}"#), digest(r#"{"b":"1"}"#));
        assert_ne!(digest("x"), digest("y"));
    }
}
