//! What a batch asked the server for, to tell it from what else happened in its transaction.

use super::{Parked, Projected};
use crate::{Lsn, Xid};
use meridian_model::RowName;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A batch between its issue and its capture.
#[derive(Debug)]
pub(super) struct Asked {
    /// Per row what it is to be; `None` where it is to be absent.
    rows: HashMap<RowName, Option<Wanted>>,
    /// The columns of the documents.
    shapes: Shapes,
    /// What the transaction left otherwise, as far as it is told.
    deviations: BTreeMap<RowName, Option<String>>,
}

/// What a row is to be. Columns that its document doesn't have were not asked for: those of the key,
/// in what concurrent writes left of a deleted row, and those that came later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    digest: u64,
    /// Which of the shapes.
    shape: usize,
}

/// Sets of columns, each once. There are few.
#[derive(Debug, Default)]
struct Shapes(Vec<Vec<String>>);

impl Shapes {
    fn of<'a>(&mut self, columns: impl Iterator<Item = &'a str> + Clone) -> usize {
        let is_this = |shape: &Vec<String>| shape.iter().map(String::as_str).eq(columns.clone());
        if let Some(known) = self.0.iter().position(is_this) {
            return known;
        }
        self.0.push(columns.map(str::to_owned).collect());
        self.0.len() - 1
    }
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
        let mut shapes = Shapes::default();
        let rows = projected.rows.iter().map(|(dirty, document)| {
            let wanted = document.as_deref().map(|document| {
                let object = parsed(document);
                let names = object.keys().map(|name| &**name);
                Wanted {
                    digest: digest(&object, |_| true),
                    shape: shapes.of(names),
                }
            });
            (dirty.row.clone(), wanted)
        });
        Self {
            rows: rows.collect(),
            shapes,
            deviations: BTreeMap::new(),
        }
    }

    /// Whether the row was to become this.
    fn is_as_asked(&self, row: &RowName, document: Option<&str>) -> bool {
        match (self.rows.get(row), document) {
            (Some(Some(wanted)), Some(document)) => {
                let columns = &self.shapes.0[wanted.shape];
                let is_asked = |column: &str| columns.iter().any(|asked| asked == column);
                digest(&parsed(document), is_asked) == wanted.digest
            }
            (Some(None), None) => true,
            _ => false,
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
        if self.is_as_asked(row, document) {
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
        let is_shown = |document: &str, shown: &str| {
            let (document, shown) = (parsed(document), parsed(shown));
            let is_asked = |column: &str| shown.contains_key(column);
            digest(&document, is_asked) == digest(&shown, |_| true)
        };
        let is_as_shown = match (document, shown) {
            (Some(document), Some(shown)) => is_shown(document, shown),
            (document, shown) => document.is_none() && shown.is_none(),
        };
        if self.has(row) {
            self.left(row, document);
        } else if is_as_shown {
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

type Object<'a> = BTreeMap<Cow<'a, str>, Value>;

/// A document's columns by name; what is no document has one column.
fn parsed(document: &str) -> Object<'_> {
    serde_json::from_str(document)
        .unwrap_or_else(|_| BTreeMap::from([(Cow::Borrowed(""), Value::from(document))]))
}

/// The same for documents with the same values in these columns, in whatever order.
fn digest(object: &Object<'_>, is_asked: impl Fn(&str) -> bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (column, value) in object.iter().filter(|(column, _)| is_asked(column)) {
        column.hash(&mut hasher);
        // A number and its text are the same value of a column.
        match value {
            Value::String(text) => (1, text).hash(&mut hasher),
            Value::Number(number) => (1, number.to_string()).hash(&mut hasher),
            other => (0, other.to_string()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::DirtyRow;
    use super::*;
    use crate::Xid;
    use meridian_model::{Position, Vector};

    fn asked(document: Option<&str>) -> (Asked, RowName) {
        let row = RowName {
            table: "public.t".to_owned(),
            key: "1".to_owned(),
        };
        let dirty = DirtyRow {
            row: row.clone(),
            known: None,
            is_parked: false,
        };
        let projected = Projected {
            id: 1,
            position: Position(0),
            seen: Vector::default(),
            horizon: Xid(3),
            rows: vec![(dirty, document.map(str::to_owned))],
            versions: vec![None],
        };
        (Asked::of(&projected), row)
    }

    fn is_same(document: &str, left: &str) -> bool {
        let (asked, row) = asked(Some(document));
        asked.is_as_asked(&row, Some(left))
    }

    #[test]
    fn values_are_compared_and_not_their_order_or_writing() {
        assert!(is_same(r#"{"a":"1","n":2}"#, r#"{"n":2, "a":"1"}"#));
        assert!(is_same(r#"{"n":"2"}"#, r#"{"n":2}"#));
        assert!(!is_same(r#"{"n":"null"}"#, r#"{"n":null}"#));
        assert!(!is_same(r#"{"a":"1"}"#, r#"{"b":"1"}"#));
        assert!(is_same(
            r#"{"a\"b":"1","c":"2"}"#,
            r#"{"c":"2","a\"b":"1"}"#
        ));
        assert!(!is_same("x", "y"));
    }

    #[test]
    fn what_was_not_asked_for_is_no_deviation() {
        assert!(is_same(r#"{"n":5}"#, r#"{"id":"1","n":5,"later":"x"}"#));
        assert!(!is_same(r#"{"n":5}"#, r#"{"id":"1","n":6}"#));
        let (absent, row) = asked(None);
        assert!(absent.is_as_asked(&row, None));
        assert!(!absent.is_as_asked(&row, Some("{}")));
        let (present, row) = asked(Some(r#"{"n":5}"#));
        assert!(!present.is_as_asked(&row, None));
    }
}
