//! Which tables of a server belong to a dataset, and which of their columns count.

use super::TableName;
use std::collections::{BTreeMap, BTreeSet};

/// Which tables, by names (`schema.table`) or beginnings of names followed by a `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A table belongs to it if one of these names it …
    pub include: Vec<String>,
    /// … and none of these.
    pub exclude: Vec<String>,
    /// The counters by table: columns that merge by difference.
    pub counters: BTreeMap<String, BTreeSet<String>>,
}

impl Selection {
    /// Whether the table belongs to it.
    #[must_use]
    pub fn takes(&self, table: &TableName) -> bool {
        self.takes_called(&table.to_string())
    }

    /// Whether the table of this name, with its schema's, belongs to it.
    #[must_use]
    pub fn takes_called(&self, name: &str) -> bool {
        let one_of = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        one_of(&self.include) && !one_of(&self.exclude)
    }

    /// Whether the column is declared a counter.
    #[must_use]
    pub fn is_counter(&self, table: &TableName, column: &str) -> bool {
        self.counters
            .get(&table.to_string())
            .is_some_and(|columns| columns.contains(column))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_taken_if_included_and_not_excluded() {
        let selection = Selection {
            include: vec!["public.*".to_owned(), "shop.orders".to_owned()],
            exclude: vec!["public.audit_*".to_owned()],
            counters: BTreeMap::new(),
        };
        let takes = |schema: &str, name: &str| {
            selection.takes(&TableName {
                schema: schema.to_owned(),
                name: name.to_owned(),
            })
        };
        assert!(takes("public", "t"));
        assert!(takes("shop", "orders"));
        assert!(!takes("shop", "orders_old"));
        assert!(!takes("public", "audit_2026"));
        assert!(!takes("publicity", "t"));
    }
}
