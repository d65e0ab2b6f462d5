//! What a server's transaction means to the dataset's tables: each row's changes folded into one.
//!
//! - a row that came, or that was written anew after a delete, is a put of all its columns;
//! - a row that changed is a put too; under `register-per-field` it is an edit of the columns that
//!   changed, and in a table with counters an edit of all columns with the *differences* of its
//!   counters, so that what others added meanwhile stays; where a counter makes a leap that no
//!   difference of 64 bits tells, or was or becomes `NaN`, it is a put all the same, and what others
//!   added meanwhile comes on top of that;
//! - a row whose key changed went under the old key and came under the new one;
//! - tables that were emptied are a delete of each row that the dataset's tables show.
//!
//! The old values that differences need come with full replica identity; without it a change of a
//! counter, or of a row whose large value was left alone, is refused with what to do.

use crate::capture::{Datum, Relation, RelationColumn, RowChange, Tuple};
use crate::catalog::{Became, Table, TableName};
use crate::document::{self, Values};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{Change, Edit, Operation, Strategy};
use std::collections::HashMap;
use std::sync::Arc;

/// A transaction that can't be carried over as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangesError {
    /// The stream describes a table otherwise than the catalog did.
    #[error("table {table} was changed: {what}")]
    Schema {
        /// The table.
        table: TableName,
        /// What differs.
        what: String,
    },
    /// The change doesn't say what the row was.
    #[error(
        "a change in {table} doesn't say what column {column} was: its replica identity is not FULL"
    )]
    OldValue {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// A counter that is no whole number, or none of 38 digits.
    #[error(
        "counter {column} of {table} went from {from:?} to {to:?}: no whole numbers of at most 38 digits"
    )]
    Counter {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What it was.
        from: Option<String>,
        /// What it is.
        to: Option<String>,
    },
}

/// What is known of the tables that replicate.
pub trait Tables {
    /// The table of this name, if it replicates.
    fn table(&self, name: &TableName) -> Option<Arc<Table>>;

    /// How writes of this table that had not seen each other are decided.
    fn strategy(&self, name: &TableName) -> Strategy;
}

/// The rows of one transaction, as they are folded.
#[derive(Debug, Default)]
pub struct Fold {
    rows: Vec<Folded>,
    places: HashMap<(TableName, String), usize>,
}

#[derive(Debug)]
struct Folded {
    table: Arc<Table>,
    key: String,
    /// What the row was when the transaction came to it; `None` where that isn't known or needed.
    before: Option<Values>,
    /// Whether it is another row than before: it came, or went and came again.
    is_new: bool,
    /// What it is now; `None` where it is gone.
    now: Option<Values>,
}

impl Fold {
    /// Takes the next change of the transaction. `shown` lists the keys of the rows that the
    /// dataset's tables show of a table that was emptied.
    ///
    /// # Errors
    /// [`ChangesError`].
    pub fn take(
        &mut self,
        change: RowChange,
        tables: &impl Tables,
        mut shown: impl FnMut(&TableName) -> Vec<String>,
    ) -> Result<(), ChangesError> {
        match change {
            RowChange::Insert { relation, new } => {
                let Some(shape) = Shape::of(&relation, tables)? else {
                    return Ok(());
                };
                let values = shape.values(new, None)?;
                self.came(&shape.table, values);
            }
            RowChange::Update { relation, old, new } => {
                let Some(shape) = Shape::of(&relation, tables)? else {
                    return Ok(());
                };
                shape.names_keys(&relation)?;
                let is_full = relation.replica_identity == 'f';
                let before = match &old {
                    Some(old) if is_full => Some(shape.values(old.clone(), None)?),
                    _ => None,
                };
                let old_key = old.map(|old| shape.key(old)).transpose()?;
                let values = shape.values(new, before.as_ref())?;
                let key = document::key(&shape.table, &values);
                match old_key {
                    Some(old_key) if old_key != key => {
                        self.went(&shape.table, old_key);
                        self.came(&shape.table, values);
                    }
                    _ => self.changed(&shape.table, key, before, values),
                }
            }
            RowChange::Delete { relation, old } => {
                let Some(shape) = Shape::of(&relation, tables)? else {
                    return Ok(());
                };
                shape.names_keys(&relation)?;
                let key = shape.key(old)?;
                self.went(&shape.table, key);
            }
            RowChange::Truncate { relations } => {
                for relation in relations {
                    let Some(shape) = Shape::of(&relation, tables)? else {
                        continue;
                    };
                    let name = &shape.table.name;
                    let mine = self.places.iter().filter(|((table, _), _)| table == name);
                    for place in mine.map(|(_, place)| *place).collect::<Vec<_>>() {
                        self.rows[place].now = None;
                    }
                    if active(Mutation::EmptiedTableKept) {
                        continue;
                    }
                    for key in shown(name) {
                        self.went(&shape.table, key);
                    }
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, table: &Arc<Table>, key: String) -> (&mut Folded, bool) {
        let next = self.rows.len();
        let place = *self
            .places
            .entry((table.name.clone(), key.clone()))
            .or_insert(next);
        let is_first = place == next;
        if is_first {
            self.rows.push(Folded {
                table: table.clone(),
                key,
                before: None,
                is_new: false,
                now: None,
            });
        }
        (&mut self.rows[place], is_first)
    }

    fn came(&mut self, table: &Arc<Table>, values: Values) {
        let (row, _) = self.row(table, document::key(table, &values));
        row.is_new = true;
        row.now = Some(values);
    }

    fn changed(&mut self, table: &Arc<Table>, key: String, before: Option<Values>, now: Values) {
        let (row, is_first) = self.row(table, key);
        if is_first {
            row.before = before;
        }
        row.now = Some(now);
    }

    fn went(&mut self, table: &Arc<Table>, key: String) {
        let (row, _) = self.row(table, key);
        row.now = None;
        row.is_new = true;
    }

    /// The rows touched so far, with what they are now.
    pub fn touched(&self) -> impl Iterator<Item = (&TableName, &str, Option<&Values>)> {
        self.rows
            .iter()
            .map(|row| (&row.table.name, row.key.as_str(), row.now.as_ref()))
    }

    /// The changes, one for each row, in the order in which the transaction came to them.
    ///
    /// # Errors
    /// [`ChangesError`].
    pub fn changes(self, tables: &impl Tables) -> Result<Vec<Change>, ChangesError> {
        let rows = self.rows.into_iter();
        let changes = rows.map(|row| {
            let strategy = tables.strategy(&row.table.name);
            Ok(Change {
                table: row.table.name.to_string(),
                operation: row.operation(strategy)?,
                key: row.key,
            })
        });
        changes.collect()
    }
}

impl Folded {
    fn operation(&self, strategy: Strategy) -> Result<Operation, ChangesError> {
        let Some(now) = &self.now else {
            return Ok(Operation::Delete);
        };
        let has_counters = self.table.has_counters();
        let per_field = strategy == Strategy::RegisterPerField;
        let put = || Operation::Put {
            document: document::document(&self.table, now),
        };
        if self.is_new || !(has_counters || per_field) {
            return Ok(put());
        }
        let mut edit = Edit::default();
        for (index, column) in self.table.columns.iter().enumerate() {
            let to = &now[index];
            let from = self.before.as_ref().map(|before| &before[index]);
            if column.is_counter {
                let Some(from) = from else {
                    return Err(self.old_value(&column.name));
                };
                match difference(from.as_deref(), to.as_deref()) {
                    Some(Difference::Of(0)) => {}
                    Some(Difference::Of(by)) => edit.by.push((column.name.clone(), by)),
                    Some(Difference::Leap) => return Ok(put()),
                    None => {
                        return Err(ChangesError::Counter {
                            table: self.table.name.clone(),
                            column: column.name.clone(),
                            from: from.clone(),
                            to: to.clone(),
                        });
                    }
                }
            } else if !self.table.is_key(index) && (!per_field || from != Some(to)) {
                let text = to
                    .as_ref()
                    .map(|text| serde_json::Value::from(text.as_str()));
                let text = text.unwrap_or_default().to_string();
                edit.set.push((column.name.clone(), Some(text)));
            }
        }
        edit.set.sort();
        edit.by.sort();
        if !per_field && self.only_counters_changed(now) {
            return Ok(Operation::Increment { by: edit.by });
        }
        Ok(Operation::Edit(edit))
    }

    fn only_counters_changed(&self, now: &Values) -> bool {
        let Some(before) = &self.before else {
            return false;
        };
        let columns = self.table.columns.iter().zip(before.iter().zip(now));
        let mut plain = columns.filter(|(column, _)| !column.is_counter);
        before != now && plain.all(|(_, (before, now))| before == now)
    }

    fn old_value(&self, column: &str) -> ChangesError {
        ChangesError::OldValue {
            table: self.table.name.clone(),
            column: column.to_owned(),
        }
    }
}

/// What became of a counter.
enum Difference {
    /// So much was added.
    Of(i64),
    /// More than that says, or nothing that numbers say.
    Leap,
}

/// A counter that is NULL counts as 0. `None` where it is no whole number.
fn difference(from: Option<&str>, to: Option<&str>) -> Option<Difference> {
    if from == to {
        return Some(Difference::Of(0));
    }
    if [from, to].contains(&Some("NaN")) {
        return Some(Difference::Leap);
    }
    let number = |text: Option<&str>| text.map_or(Some(0), |text| text.parse::<i128>().ok());
    let by = number(to)?.checked_sub(number(from)?);
    let by = by.and_then(|by| i64::try_from(by).ok());
    Some(by.map_or(Difference::Leap, Difference::Of))
}

/// How the stream's columns stand in the table's.
struct Shape {
    table: Arc<Table>,
    /// By column of the table its place in the stream, or what rows have that are older than it.
    places: Vec<Place>,
}

enum Place {
    At(usize),
    Missing(Datum),
}

impl Shape {
    /// `None` where the table doesn't replicate.
    fn of(relation: &Relation, tables: &impl Tables) -> Result<Option<Self>, ChangesError> {
        let Some(table) = tables.table(&relation.name) else {
            return Ok(None);
        };
        let differs = |what: String| ChangesError::Schema {
            table: table.name.clone(),
            what,
        };
        let place = |name: &str| {
            let is_it = |it: &RelationColumn| match table.former.get(&it.name) {
                Some(Became::Column(now)) => now == name,
                _ => it.name == name,
            };
            relation.columns.iter().position(is_it)
        };
        let places =
            table
                .columns
                .iter()
                .map(|column| match (place(&column.name), &column.missing) {
                    (Some(place), _) => Ok(Place::At(place)),
                    (None, Some(missing)) => Ok(Place::Missing(Datum::Text(missing.clone()))),
                    (None, None) if column.is_nullable => Ok(Place::Missing(Datum::Null)),
                    (None, None) => Err(differs(format!("column {} is gone", column.name))),
                });
        let places: Vec<_> = places.collect::<Result<_, _>>()?;
        let is_known = |name: &str| {
            table.columns.iter().any(|column| column.name == name)
                || table.former.contains_key(name)
        };
        if let Some(new) = relation.columns.iter().find(|it| !is_known(&it.name)) {
            return Err(differs(format!(
                "rows have a column {}, which it doesn't have",
                new.name
            )));
        }
        Ok(Some(Self { table, places }))
    }

    fn datum<'a>(&'a self, tuple: &'a Tuple, column: usize) -> Result<&'a Datum, ChangesError> {
        match &self.places[column] {
            Place::At(place) => tuple.get(*place).ok_or_else(|| self.short()),
            Place::Missing(datum) => Ok(datum),
        }
    }

    /// That old rows are told with their whole key, else nobody knows which one changed or went.
    fn names_keys(&self, relation: &Relation) -> Result<(), ChangesError> {
        for column in &self.table.key {
            if let Place::At(place) = self.places[*column]
                && !relation.columns[place].is_identity
            {
                return Err(self.untold(&self.table.columns[*column].name));
            }
        }
        Ok(())
    }

    fn untold(&self, column: &str) -> ChangesError {
        ChangesError::OldValue {
            table: self.table.name.clone(),
            column: column.to_owned(),
        }
    }

    fn short(&self) -> ChangesError {
        ChangesError::Schema {
            table: self.table.name.clone(),
            what: "a row has fewer columns than the table".to_owned(),
        }
    }

    fn values(&self, tuple: Tuple, before: Option<&Values>) -> Result<Values, ChangesError> {
        let columns = self.table.columns.iter().enumerate();
        let values = columns.map(|(index, column)| match self.datum(&tuple, index)? {
            Datum::Null => Ok(None),
            Datum::Text(text) => Ok(Some(text.clone())),
            // Never NULL; that it is told so means that it isn't told: the identity of a partition
            // may be another than the table's.
            Datum::Unchanged => match before.and_then(|before| before[index].clone()) {
                Some(before) => Ok(Some(before)),
                None => Err(self.untold(&column.name)),
            },
        });
        values.collect()
    }

    /// The key of an old row, of which nothing but the key need be told.
    fn key(&self, tuple: Tuple) -> Result<String, ChangesError> {
        let mut values = Values::with_capacity(self.table.columns.len());
        for (index, column) in self.table.columns.iter().enumerate() {
            values.push(match self.datum(&tuple, index)? {
                Datum::Text(text) => Some(text.clone()),
                Datum::Null | Datum::Unchanged if self.table.is_key(index) => {
                    return Err(self.untold(&column.name));
                }
                Datum::Null | Datum::Unchanged => None,
            });
        }
        Ok(document::key(&self.table, &values))
    }
}

#[cfg(test)]
mod tests;
