//! A batch's rows as the statements take them.

use super::error::ApplyError;
use crate::Xid;
use crate::catalog::Table;
use crate::document::{self, DocumentError, Values};
use crate::projection::Projected;
use meridian_model::{RowName, Version};
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;
use tokio_postgres::types::ToSql;

/// A row and what it is to be.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: RowName,
    /// Its table's place.
    pub(super) table: usize,
    pub(super) key: Vec<String>,
    known: Option<String>,
    /// `None`: absent.
    pub(super) values: Option<Values>,
    /// The column for lack of which it can't be there.
    pub(super) lacks: Option<String>,
    pub(super) version: Option<Version>,
}

/// A batch's rows, by number.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// Made when it is asked for: most batches need no plan.
    by_name: OnceLock<HashMap<RowName, usize>>,
    by_table: BTreeMap<usize, Vec<usize>>,
}

/// An array for each column.
pub(super) type Columns<'a> = Vec<Vec<Option<&'a str>>>;

impl Rows {
    pub(super) fn of(projected: &Projected, tables: &[Table]) -> Result<Self, ApplyError> {
        let places = places(tables);
        let mut rows = Vec::with_capacity(projected.rows.len());
        let mut by_table: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, (dirty, wanted)) in projected.rows.iter().enumerate() {
            let place = place(&places, &dirty.row)?;
            let table = &tables[place];
            let key = document::key_values(table, &dirty.row.key)?;
            let values = wanted
                .as_ref()
                .map(|wanted| document::values(table, &dirty.row.key, wanted));
            let (values, lacks) = match values.transpose() {
                Ok(values) => (values, None),
                Err(DocumentError::Incomplete { column, .. }) => (None, Some(column)),
                Err(error) => return Err(error.into()),
            };
            by_table.entry(place).or_default().push(number);
            rows.push(Row {
                name: dirty.row.clone(),
                table: place,
                key,
                known: dirty.known.map(|Xid(xid)| xid.to_string()),
                values,
                lacks,
                version: projected.versions.get(number).copied().flatten(),
            });
        }
        Ok(Self {
            rows,
            by_name: OnceLock::new(),
            by_table,
        })
    }

    pub(super) fn get(&self, number: usize) -> &Row {
        &self.rows[number]
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn number(&self, name: &RowName) -> Option<usize> {
        let by_name = self.by_name.get_or_init(|| {
            let rows = self.rows.iter().enumerate();
            rows.map(|(number, row)| (row.name.clone(), number))
                .collect()
        });
        by_name.get(name).copied()
    }

    /// The numbers of a table's rows.
    pub(super) fn of_table(&self, table: usize) -> &[usize] {
        self.by_table.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The keys of these rows.
    pub(super) fn keys(&self, numbers: &[usize]) -> Columns<'_> {
        let width = numbers.first().map_or(0, |n| self.rows[*n].key.len());
        (0..width)
            .map(|column| {
                numbers
                    .iter()
                    .map(|n| Some(self.rows[*n].key[column].as_str()))
                    .collect()
            })
            .collect()
    }

    /// Some columns of these rows, all of which are to be there.
    pub(super) fn values(
        &self,
        numbers: &[usize],
        columns: impl IntoIterator<Item = usize>,
    ) -> Columns<'_> {
        columns
            .into_iter()
            .map(|column| {
                numbers
                    .iter()
                    .map(|n| self.rows[*n].values.as_ref()?[column].as_deref())
                    .collect()
            })
            .collect()
    }

    /// The known writers of these rows.
    pub(super) fn known(&self, numbers: &[usize]) -> Vec<Option<&str>> {
        numbers
            .iter()
            .map(|n| self.rows[*n].known.as_deref())
            .collect()
    }
}

/// Rows by table, and their keys' texts by row.
type KeysByTable<'a> = Vec<(usize, Vec<&'a RowName>, Vec<Vec<String>>)>;

pub(super) fn keys_by_table<'a>(
    rows: &'a [RowName],
    tables: &[Table],
) -> Result<KeysByTable<'a>, ApplyError> {
    let places = places(tables);
    let mut groups: BTreeMap<usize, (Vec<&RowName>, Vec<Vec<String>>)> = BTreeMap::new();
    for row in rows {
        let place = place(&places, row)?;
        let group = groups.entry(place).or_default();
        group.0.push(row);
        group
            .1
            .push(document::key_values(&tables[place], &row.key)?);
    }
    Ok(groups
        .into_iter()
        .map(|(table, (rows, keys))| (table, rows, keys))
        .collect())
}

fn places(tables: &[Table]) -> HashMap<String, usize> {
    tables
        .iter()
        .enumerate()
        .map(|(place, table)| (table.name.to_string(), place))
        .collect()
}

fn place(places: &HashMap<String, usize>, row: &RowName) -> Result<usize, ApplyError> {
    places
        .get(&row.table)
        .copied()
        .ok_or_else(|| ApplyError::Table(row.table.clone()))
}

/// The name of a table's row with these texts in its key columns.
pub(super) fn name_of(table: &Table, key: &[String]) -> RowName {
    let mut values: Values = vec![None; table.columns.len()];
    for (column, text) in table.key.iter().zip(key) {
        values[*column] = Some(text.clone());
    }
    RowName {
        table: table.name.to_string(),
        key: document::key(table, &values),
    }
}

/// Rows of texts as columns.
pub(super) fn columns(rows: &[Vec<String>]) -> Columns<'_> {
    let width = rows.first().map_or(0, Vec::len);
    (0..width)
        .map(|column| rows.iter().map(|row| Some(row[column].as_str())).collect())
        .collect()
}

pub(super) fn params<'a>(columns: &'a Columns<'_>) -> Vec<&'a (dyn ToSql + Sync)> {
    columns
        .iter()
        .map(|column| column as &(dyn ToSql + Sync))
        .collect()
}

/// The place in the arrays that a row of an answer is about, its first field.
pub(super) fn ordinal(row: &tokio_postgres::Row) -> usize {
    let ordinal: i64 = row.get(0);
    usize::try_from(ordinal - 1).expect("ordinals begin at 1")
}
