//! Parents before children.

use super::{Table, TableName};
use std::collections::{BTreeMap, BTreeSet};

/// The tables' names, each after those that its foreign keys point to. In a circle the first by
/// name begins.
pub(super) fn parents_first<'t>(tables: impl Iterator<Item = &'t Table>) -> Vec<&'t TableName> {
    let tables: BTreeMap<&TableName, &Table> = tables.map(|table| (&table.name, table)).collect();
    let mut order = Vec::with_capacity(tables.len());
    let mut waiting: BTreeMap<&TableName, BTreeSet<&TableName>> = tables
        .iter()
        .map(|(name, table)| {
            let parents = table
                .references
                .iter()
                .map(|reference| &reference.parent)
                .filter(|parent| parent != name && tables.contains_key(parent))
                .collect();
            (*name, parents)
        })
        .collect();
    while let Some(next) = waiting
        .iter()
        .find(|(_, parents)| parents.is_empty())
        .or_else(|| waiting.first_key_value())
        .map(|(name, _)| *name)
    {
        waiting.remove(next);
        for parents in waiting.values_mut() {
            parents.remove(next);
        }
        order.push(next);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::ForeignKey;
    use super::*;

    fn name(name: &str) -> TableName {
        TableName {
            schema: "public".to_owned(),
            name: name.to_owned(),
        }
    }

    fn table(own: &str, parents: &[&str]) -> Table {
        Table {
            name: name(own),
            columns: Vec::new(),
            key: Vec::new(),
            unique: Vec::new(),
            references: parents
                .iter()
                .map(|parent| ForeignKey {
                    name: format!("{own}_{parent}"),
                    columns: Vec::new(),
                    parent: name(parent),
                    parent_columns: Vec::new(),
                    is_deferrable: false,
                })
                .collect(),
            former: std::collections::BTreeMap::new(),
        }
    }

    fn order(tables: &[Table]) -> Vec<String> {
        parents_first(tables.iter())
            .into_iter()
            .map(|name| name.name.clone())
            .collect()
    }

    #[test]
    fn parents_come_first_and_a_circle_ends() {
        let chain = [
            table("a", &["b", "a", "elsewhere"]),
            table("b", &["c"]),
            table("c", &[]),
        ];
        assert_eq!(order(&chain), ["c", "b", "a"]);
        let circle = [table("a", &["b"]), table("b", &["a"]), table("c", &["b"])];
        assert_eq!(order(&circle), ["a", "b", "c"]);
    }
}
