//! What a server says of its tables: columns, keys, constraints, identities.
//!
//! [`Catalog::load`] reads it, one query for each kind of thing, as any role can. A partitioned table
//! stands there once, as its root: its partitions replicate as part of it. Tables of extensions,
//! temporary ones and those of Meridian itself are never there.

mod facts;
mod fingerprint;
mod history;
mod load;
mod movement;
mod order;
mod queries;
mod selection;
#[cfg(test)]
mod tests;

pub use facts::{
    Action, ColumnFacts, Identity, Kind, Partition, Privileges, Sequence, TableFacts, Trigger,
};
pub use fingerprint::Fingerprint;
pub use history::{Became, COLUMNS_TABLE_SQL, History, Noted};
pub use load::Catalog;
pub use movement::Movement;
pub use selection::Selection;

use meridian_model::mutation::{Mutation, active};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A table's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for TableName {
    /// `schema.name`, unquoted: the name of the table in the dataset.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A table that replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Its columns in the order of the table, without generated and dropped ones.
    pub columns: Vec<Column>,
    /// The columns of the primary key, as indices into `columns`, in the order of the key.
    pub key: Vec<usize>,
    /// Unique constraints and indexes beside the primary key.
    pub unique: Vec<Unique>,
    /// The foreign keys that point from this table to others.
    pub references: Vec<ForeignKey>,
    /// What became of columns that are not there any more, by their names: rows from before have them.
    pub former: BTreeMap<String, Became>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as `format_type` writes it with the modifier, schema-qualified where needed: what
    /// a text is cast to.
    pub type_name: String,
    /// Whether it takes NULL.
    pub is_nullable: bool,
    /// Declared a counter: merges by difference.
    pub is_counter: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: inserts must say OVERRIDING SYSTEM VALUE.
    pub is_identity_always: bool,
    /// What rows have in it that are older than the column; NULL where `None`.
    pub missing: Option<String>,
}

/// A unique constraint or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The index's name.
    pub name: String,
    /// Its columns, as indices into the table's; empty where it is over expressions.
    pub columns: Vec<usize>,
    /// Whether NULLs count as equal.
    pub nulls_not_distinct: bool,
    /// Whether it is over expressions or partial: who collides isn't known from the columns alone.
    pub is_opaque: bool,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: String,
    /// The referencing columns, as indices into the table's.
    pub columns: Vec<usize>,
    /// The table referred to.
    pub parent: TableName,
    /// The names of its columns, in the same order.
    pub parent_columns: Vec<String>,
    /// Whether it can be deferred to the transaction's end.
    pub is_deferrable: bool,
}

impl Table {
    /// Whether a column belongs to the key.
    #[must_use]
    pub fn is_key(&self, column: usize) -> bool {
        self.key.contains(&column)
    }

    /// Whether a column merges by difference.
    #[must_use]
    pub fn has_counters(&self) -> bool {
        self.columns.iter().any(|column| column.is_counter)
    }

    /// Whether a row that shows what it should is as good as written. A counter may show it by chance:
    /// what somebody added there just now and what a batch is to add are two, and with the rest of the
    /// batch a reader would see one of them without its other half.
    #[must_use]
    pub fn is_told_by_values(&self) -> bool {
        !self.has_counters() || active(Mutation::SumsTakenForRows)
    }
}

/// An SQL identifier, quoted.
#[must_use]
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

impl TableName {
    /// The name as SQL, quoted and qualified.
    #[must_use]
    pub fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}
