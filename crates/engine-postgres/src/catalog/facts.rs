//! What decides whether a table can replicate, beside its shape.

use super::{Table, TableName};

/// A table with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its shape.
    pub table: Table,
    /// Its id in the server.
    pub oid: u32,
    /// What kind of table it is.
    pub kind: Kind,
    /// Whether it is unlogged: the WAL doesn't have it.
    pub is_unlogged: bool,
    /// What the WAL says of old rows.
    pub identity: Identity,
    /// Whether policies hide rows from roles that don't own it.
    pub has_row_security: bool,
    /// Whether the policies hold for its owner too.
    pub forces_row_security: bool,
    /// Whether it inherits from a table or has children, other than as a partition.
    pub inherits: bool,
    /// Whether rules rewrite what is done to it.
    pub has_rules: bool,
    /// The role that owns it.
    pub owner: String,
    /// What the role that asks may do.
    pub privileges: Privileges,
    /// Its columns' facts, as many and in the same order as the table's.
    pub columns: Vec<ColumnFacts>,
    /// The name of its primary key's constraint.
    pub key_name: Option<String>,
    /// Whether the primary key can be deferred: then it is no replica identity.
    pub key_is_deferrable: bool,
    /// Its unique indexes' definitions as SQL, in the order of the table's `unique`.
    pub unique_definitions: Vec<String>,
    /// What its foreign keys do, in the order of the table's `references`.
    pub actions: Vec<Action>,
    /// Its enabled triggers and those of its partitions, foreign keys' own excepted.
    pub triggers: Vec<Trigger>,
    /// Its CHECK constraints: names, and the names of the columns they look at.
    pub checks: Vec<(String, Vec<String>)>,
    /// Its partitions down to the leaves, if it is partitioned.
    pub partitions: Vec<Partition>,
    /// The sequences that its columns take their values from.
    pub sequences: Vec<Sequence>,
    /// Constraints over generated columns, which don't replicate.
    pub over_generated: Vec<String>,
}

/// What kind of table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One with rows of its own.
    Ordinary,
    /// The root of partitions.
    Partitioned,
    /// One whose rows are in another server.
    Foreign,
}

/// What the WAL says of an old row (`REPLICA IDENTITY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key's columns.
    Default,
    /// All columns.
    Full,
    /// Nothing.
    Nothing,
    /// Another index's columns.
    Index,
}

/// What the role that asks may do with a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// It owns the table, or is a member of the role that does.
    pub owns: bool,
    /// SELECT.
    pub select: bool,
    /// INSERT.
    pub insert: bool,
    /// UPDATE.
    pub update: bool,
    /// DELETE.
    pub delete: bool,
    /// TRUNCATE.
    pub truncate: bool,
    /// USAGE of its schema.
    pub schema: bool,
}

impl Privileges {
    /// Whether they are enough to read and write rows.
    #[must_use]
    pub fn suffice(self) -> bool {
        self.schema && self.select && self.insert && self.update && self.delete
    }
}

/// What is known of a column beside its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Its number in the table.
    pub number: i16,
    /// The type that a domain stands for in the end, else its own; without modifier.
    pub base_type: String,
    /// Whether equal values have one text only.
    pub is_text_exact: bool,
    /// Whether its values can be stored out of line, and then be missing in the WAL.
    pub is_toastable: bool,
    /// Whether its type is a domain.
    pub is_domain: bool,
    /// Its collation, if it isn't its type's.
    pub collation: Option<String>,
    /// Its default, as an expression.
    pub default: Option<String>,
    /// Whether the default is a constant: the same for every row in every region.
    pub is_default_literal: bool,
}

/// What a foreign key does when its parent goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// On delete: `a` nothing, `r` restrict, `c` cascade, `n` set null, `d` set default.
    pub on_delete: char,
    /// On update, likewise.
    pub on_update: char,
    /// Whether it is checked at the transaction's end unless the transaction says otherwise.
    pub is_deferred: bool,
    /// Whether an index over all rows finds those that refer to a parent.
    pub is_indexed: bool,
    /// Whether rows from before it refer to a parent too.
    pub is_valid: bool,
}

/// An enabled trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The table or partition it is on.
    pub table: TableName,
    /// Its name.
    pub name: String,
    /// When it fires: `O` in ordinary sessions, `R` in those that replicate, `A` in all.
    pub enabled: char,
    /// Its definition as SQL.
    pub definition: String,
    /// Whether it is a constraint trigger.
    pub is_constraint: bool,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: TableName,
    /// What the WAL says of its old rows.
    pub identity: Identity,
    /// Whether it is foreign or unlogged, so that its changes aren't in the WAL.
    pub is_apart: bool,
    /// Whether it is divided again and has no rows of its own.
    pub is_divided: bool,
}

/// A sequence that a column takes its values from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its name.
    pub name: TableName,
    /// The column that takes from it.
    pub column: String,
    /// The distance between its values.
    pub increment: i64,
    /// Its last value, or what it begins with next; `None` if the role may not see it.
    pub value: Option<i64>,
    /// Whether `value` has been given out.
    pub is_called: bool,
    /// The greatest value that it gives.
    pub maximum: i64,
    /// Whether it begins anew after that.
    pub cycles: bool,
    /// What it begins with when it is restarted (`TRUNCATE … RESTART IDENTITY`).
    pub start: i64,
    /// The smallest value that it gives.
    pub minimum: i64,
}

impl TableFacts {
    /// The facts of a column that has this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnFacts> {
        let position = self
            .table
            .columns
            .iter()
            .position(|column| column.name == name)?;
        self.columns.get(position)
    }

    /// The columns whose values the WAL may leave out of an update, by name.
    #[must_use]
    pub fn toastable(&self) -> Vec<&str> {
        self.named(|column| column.is_toastable)
    }

    /// The counters, by name.
    #[must_use]
    pub fn counters(&self) -> Vec<&str> {
        self.table
            .columns
            .iter()
            .filter(|column| column.is_counter)
            .map(|column| column.name.as_str())
            .collect()
    }

    fn named(&self, wanted: impl Fn(&ColumnFacts) -> bool) -> Vec<&str> {
        self.table
            .columns
            .iter()
            .zip(&self.columns)
            .filter(|(_, facts)| wanted(facts))
            .map(|(column, _)| column.name.as_str())
            .collect()
    }
}
