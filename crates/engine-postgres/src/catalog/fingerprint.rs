//! A table's shape as one number, which regions compare.

use super::TableFacts;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fmt::Write as _;
use xxhash_rust::xxh3::xxh3_64;

/// What two regions' tables have in common if rows of one fit into the other: names, types, order
/// and nullability of the columns, which are counters, the key, unique indexes and foreign keys.
/// Names of indexes and constraints, defaults and owners may differ.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Fingerprint {
    /// That of several tables together, whatever their order.
    #[must_use]
    pub fn of<'t>(tables: impl IntoIterator<Item = &'t TableFacts>) -> Self {
        let mut each: Vec<u64> = tables.into_iter().map(|it| it.fingerprint().0).collect();
        each.sort_unstable();
        let bytes: Vec<u8> = each.into_iter().flat_map(u64::to_le_bytes).collect();
        Self(xxh3_64(&bytes))
    }
}

impl TableFacts {
    /// The fingerprint of its shape.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(xxh3_64(self.shape().join("\n").as_bytes()))
    }

    /// Its shape in lines that a person can compare, in a fixed order.
    #[must_use]
    pub fn shape(&self) -> Vec<String> {
        let mut lines = vec![format!("table {}", self.table.name)];
        lines.extend(self.column_lines());
        lines.push(format!("primary key ({})", self.names(&self.table.key)));
        let mut constraints: Vec<String> = self
            .unique_lines()
            .chain(self.foreign_key_lines())
            .collect();
        constraints.sort_unstable();
        lines.extend(constraints);
        lines
    }

    fn column_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.table
            .columns
            .iter()
            .zip(&self.columns)
            .map(|(column, facts)| {
                let mut line = format!("column {} {}", column.name, column.type_name);
                if let Some(collation) = &facts.collation {
                    write!(line, " collate {collation}").expect("a string takes all");
                }
                if !column.is_nullable {
                    line.push_str(" not null");
                }
                if column.is_counter {
                    line.push_str(" counter");
                }
                line
            })
    }

    fn unique_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.table
            .unique
            .iter()
            .zip(&self.unique_definitions)
            .map(|(unique, definition)| {
                let nulls = if unique.nulls_not_distinct {
                    " nulls not distinct"
                } else {
                    ""
                };
                if unique.is_opaque {
                    // All but the index's own name.
                    let rest = definition
                        .split_once(" ON ")
                        .map_or(definition.as_str(), |(_, rest)| rest);
                    format!("unique on {rest}{nulls}")
                } else {
                    format!("unique ({}){nulls}", self.names(&unique.columns))
                }
            })
    }

    fn foreign_key_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.table
            .references
            .iter()
            .zip(&self.actions)
            .map(|(reference, action)| {
                format!(
                    "foreign key ({}) to {} ({}) on delete {} on update {}{}",
                    self.names(&reference.columns),
                    reference.parent,
                    reference.parent_columns.join(", "),
                    action.on_delete,
                    action.on_update,
                    if reference.is_deferrable {
                        " deferrable"
                    } else {
                        ""
                    }
                )
            })
    }

    fn names(&self, columns: &[usize]) -> String {
        let names: Vec<&str> = columns
            .iter()
            .map(|column| self.table.columns[*column].name.as_str())
            .collect();
        names.join(", ")
    }
}
