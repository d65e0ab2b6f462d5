//! Which tables a dataset takes: a table's name, or a prefix followed by `*`.
//!
//! Only a trailing `*` is allowed, so that whether two patterns can ever name the same table is a
//! comparison of prefixes, and "every table belongs to at most one dataset" can be checked when
//! the file is read.

use crate::name::{NameError, TableName, is_table_name_byte};
use std::fmt;

/// A table's name or a prefix of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TablePattern {
    /// Exactly this table.
    Exact(TableName),
    /// Every table whose name begins so; never empty.
    Prefix(String),
}

impl TablePattern {
    /// Reads `orders` or `inv_*`.
    ///
    /// # Errors
    /// If the text is neither a table name nor one or more of a name's characters before a `*`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let Some(prefix) = text.strip_suffix('*') else {
            return TableName::new(text)
                .map(Self::Exact)
                .map_err(|error| NameError {
                    reason: format!(
                        "{text:?} is neither a table name nor a prefix followed by '*'"
                    ),
                    hint: error.hint,
                });
        };
        if prefix.is_empty() {
            return Err(NameError {
                reason: "the pattern \"*\" would take every table".to_owned(),
                hint: "leave `tables` out: the dataset then takes every table that no other dataset names",
            });
        }
        if prefix.len() > 128 || !prefix.bytes().all(is_table_name_byte) {
            return Err(NameError {
                reason: format!("{text:?} is not a table pattern"),
                hint: "use a table name, or the beginning of one followed by a single '*' at the end",
            });
        }
        Ok(Self::Prefix(prefix.to_owned()))
    }

    /// Whether the pattern names `table`.
    #[must_use]
    pub fn matches(&self, table: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == table,
            Self::Prefix(prefix) => table.starts_with(prefix.as_str()),
        }
    }

    /// Whether some table would match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(name), pattern) | (pattern, Self::Exact(name)) => {
                pattern.matches(name.as_str())
            }
            (Self::Prefix(a), Self::Prefix(b)) => {
                a.starts_with(b.as_str()) || b.starts_with(a.as_str())
            }
        }
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> TablePattern {
        TablePattern::new(text).unwrap()
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for bad in ["", "*", "a*b", "a**", "*a", "a b*"] {
            assert!(TablePattern::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn overlap_is_symmetric_and_follows_from_a_shared_table(
            a in "[ab]{1,3}\\*?", b in "[ab]{1,3}\\*?", table in "[ab]{1,4}",
        ) {
            let (a, b) = (pattern(&a), pattern(&b));
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
            if a.matches(&table) && b.matches(&table) {
                prop_assert!(a.overlaps(&b));
            }
        }

        #[test]
        fn overlap_has_a_witness(a in "[ab]{1,3}\\*?", b in "[ab]{1,3}\\*?") {
            let (a, b) = (pattern(&a), pattern(&b));
            let candidates = [a.to_string(), b.to_string()].map(|text| text.replace('*', ""));
            let witnessed = candidates.iter().any(|table| a.matches(table) && b.matches(table));
            prop_assert_eq!(a.overlaps(&b), witnessed);
        }
    }
}
