//! The tables that the applications write to, and their rows as the WAL and the dataset have them.

use meridian_engine_postgres::capture::{Datum, Relation, RelationColumn, Tuple};
use meridian_engine_postgres::catalog::{Column, Table, TableName};
use meridian_engine_postgres::changes::Tables;
use meridian_engine_postgres::document::{self, Values};
use meridian_model::{RowName, Strategy};
use std::sync::Arc;

/// The tables: one of plain rows, two with a counter, two whose rows exclude and need each other.
pub(super) struct Schema {
    tables: [Arc<Table>; 5],
}

pub(super) const NOTES: &str = "notes";
pub(super) const ACCOUNTS: &str = "accounts";
/// Between these rows something is moved and never made: their balances are nothing together.
pub(super) const PURSES: &str = "purses";
/// So many of them, made once.
pub(super) const PURSES_COUNT: u32 = 5;
/// Each has a holder who holds no other.
pub(super) const SEATS: &str = "seats";
/// Each is of a seat, and no other is of the same.
pub(super) const VISITS: &str = "visits";

impl Default for Schema {
    fn default() -> Self {
        let table = |name: &str, columns: &[(&str, bool)]| {
            let column = |name: &str, is_counter| Column {
                name: name.to_owned(),
                type_name: if is_counter { "bigint" } else { "text" }.to_owned(),
                is_nullable: false,
                is_counter,
                is_identity_always: false,
                missing: None,
            };
            Arc::new(Table {
                name: TableName {
                    schema: "public".to_owned(),
                    name: name.to_owned(),
                },
                columns: [("id", false)]
                    .iter()
                    .chain(columns)
                    .map(|(name, is_counter)| column(name, *is_counter))
                    .collect(),
                key: vec![0],
                unique: Vec::new(),
                references: Vec::new(),
                former: std::collections::BTreeMap::new(),
            })
        };
        Self {
            tables: [
                table(NOTES, &[("note", false)]),
                table(ACCOUNTS, &[("balance", true)]),
                table(PURSES, &[("balance", true)]),
                table(SEATS, &[("holder", false), ("note", false)]),
                table(VISITS, &[("seat", false), ("note", false)]),
            ],
        }
    }
}

impl Tables for Schema {
    fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        self.tables.iter().find(|it| it.name == *name).cloned()
    }

    fn strategy(&self, _: &TableName) -> Strategy {
        Strategy::LastWriterWins
    }
}

impl Schema {
    /// All of them.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.iter()
    }

    /// The table that a row of the dataset's tables is in.
    pub(super) fn of(&self, row: &RowName) -> &Arc<Table> {
        self.named(&row.table)
    }

    /// The table of this name.
    pub(super) fn named(&self, name: &str) -> &Arc<Table> {
        let mut tables = self.tables.iter();
        let table = tables.find(|table| table.name.to_string() == name);
        table.expect("applications write to these tables alone")
    }

    pub(super) fn relation(&self, table: &str) -> Arc<Relation> {
        let table = self.named(table);
        let column = |(place, column): (usize, &Column)| RelationColumn {
            name: column.name.clone(),
            is_identity: table.is_key(place),
            type_oid: 25,
            type_modifier: -1,
        };
        Arc::new(Relation {
            oid: 1,
            name: table.name.clone(),
            replica_identity: 'f',
            columns: table.columns.iter().enumerate().map(column).collect(),
        })
    }

    /// The values that a document gives a row. What is left of an account that one region deleted and
    /// another added to lacks its id.
    pub(super) fn values(&self, row: &RowName, document: &str) -> Values {
        document::values(self.of(row), &row.key, document)
            .expect("the tables hold rows of these tables")
    }
}

/// The row with this id in one of the tables.
pub(super) fn name(table: &str, id: u32) -> RowName {
    RowName {
        table: format!("public.{table}"),
        key: id.to_string(),
    }
}

pub(super) fn tuple(values: &Values) -> Tuple {
    let datum = |value: &Option<String>| match value {
        Some(text) => Datum::Text(text.clone()),
        None => Datum::Null,
    };
    values.iter().map(datum).collect()
}
