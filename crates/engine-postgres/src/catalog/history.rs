//! What became of columns and tables that are not there any more.
//!
//! Rows from before a column was renamed or dropped are in the regions' logs and tables, and in the
//! WAL, with the name that it had. `meridian.columns` says of each column that ever replicated which
//! one it is now; `prepare` keeps it, which sees all regions: only there is it known that no region has
//! a column any more, so that its values can be left out without taking them from anybody.

use super::Table;
use crate::server::ServerError;
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// The table of columns. `became` is NULL as long as nothing is decided, empty where no region has the
/// column any more, else its new name. The table itself stands there as a column without a name.
pub const COLUMNS_TABLE_SQL: &str = "CREATE TABLE IF NOT EXISTS meridian.columns \
    (\"table\" text, name text, relation oid NOT NULL, number smallint NOT NULL, became text, \
    PRIMARY KEY (\"table\", name))";

/// What became of a column that isn't there under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// No region has it.
    Gone,
    /// It is called otherwise.
    Column(String),
}

/// A column as it was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The table's id then.
    pub relation: u32,
    /// The column's number.
    pub number: i16,
    /// What became of it: see [`COLUMNS_TABLE_SQL`].
    pub became: Option<String>,
}

/// Everything that was noted in a server, by table and column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<(String, String), Noted>);

impl History {
    /// Reads it; `None` where there is none, or the role may not see it.
    ///
    /// # Errors
    /// [`ServerError`].
    pub async fn load(client: &Client) -> Result<Option<Self>, ServerError> {
        if !is_readable(client).await? {
            return Ok(None);
        }
        let query = "SELECT \"table\", name, relation, number, became FROM meridian.columns";
        let rows = client.query(query, &[]).await?;
        let rows = rows.iter().map(|row| {
            let noted = Noted {
                relation: row.get(2),
                number: row.get(3),
                became: row.get(4),
            };
            ((row.get(0), row.get(1)), noted)
        });
        Ok(Some(Self(rows.collect())))
    }

    /// What was noted of a column; of a table where `column` is empty.
    #[must_use]
    pub fn of(&self, table: &str, column: &str) -> Option<&Noted> {
        self.0.get(&(table.to_owned(), column.to_owned()))
    }

    /// All that was noted, with tables and columns.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, &Noted)> {
        let all = self.0.iter();
        all.map(|((table, column), noted)| (table.as_str(), column.as_str(), noted))
    }

    /// Whether no region has the table any more.
    #[must_use]
    pub fn is_gone(&self, table: &str) -> bool {
        let noted = self.of(table, "");
        noted.is_some_and(|noted| noted.became.as_deref() == Some(""))
    }

    /// What became of the columns that the table had.
    #[must_use]
    pub fn former(&self, table: &Table) -> BTreeMap<String, Became> {
        let name = table.name.to_string();
        let is_there = |column: &str| table.columns.iter().any(|it| it.name == column);
        let own = self
            .all()
            .filter(|(of, column, _)| *of == name && !column.is_empty());
        let former = own.filter(|(_, column, _)| !is_there(column));
        let former = former.filter_map(|(_, column, noted)| {
            let mut became = noted.became.as_deref()?;
            // A name may have been changed several times.
            for _ in 0..self.0.len() {
                if became.is_empty() {
                    return Some((column.to_owned(), Became::Gone));
                }
                if is_there(became) {
                    return Some((column.to_owned(), Became::Column(became.to_owned())));
                }
                became = self.of(&name, became)?.became.as_deref()?;
            }
            None
        });
        former.collect()
    }

    /// What it would be with this noted too.
    #[cfg(test)]
    fn with(mut self, table: &super::TableName, column: &str, noted: Noted) -> Self {
        self.0.insert((table.to_string(), column.to_owned()), noted);
        self
    }
}

/// Whether the table is there and may be read.
pub(super) async fn is_readable(client: &Client) -> Result<bool, ServerError> {
    let query = "SELECT COALESCE(pg_catalog.has_table_privilege(\
                 pg_catalog.to_regclass('meridian.columns')::pg_catalog.oid, 'SELECT'), false)";
    Ok(client.query_one(query, &[]).await?.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, TableName};

    #[test]
    fn a_name_that_changed_twice_leads_to_the_column_of_now() {
        let name = TableName {
            schema: "public".to_owned(),
            name: "t".to_owned(),
        };
        let column = |name: &str| Column {
            name: name.to_owned(),
            type_name: "text".to_owned(),
            is_nullable: true,
            is_counter: false,
            is_identity_always: false,
            missing: None,
        };
        let table = Table {
            name: name.clone(),
            columns: vec![column("id"), column("c")],
            key: vec![0],
            unique: Vec::new(),
            references: Vec::new(),
            former: BTreeMap::new(),
        };
        let noted = |became: Option<&str>| Noted {
            relation: 1,
            number: 2,
            became: became.map(str::to_owned),
        };
        let history = History::default()
            .with(&name, "a", noted(Some("b")))
            .with(&name, "b", noted(Some("c")))
            .with(&name, "c", noted(None))
            .with(&name, "dropped", noted(Some("")))
            .with(&name, "dropped here", noted(None))
            .with(&name, "round", noted(Some("round and round")))
            .with(&name, "round and round", noted(Some("round")))
            .with(&name, "", noted(None));
        let to_c = || Became::Column("c".to_owned());
        let expected = [("a", to_c()), ("b", to_c()), ("dropped", Became::Gone)];
        let expected = expected.map(|(name, became)| (name.to_owned(), became));
        assert_eq!(history.former(&table), BTreeMap::from(expected));
        assert!(!history.is_gone("public.t"));
    }
}
