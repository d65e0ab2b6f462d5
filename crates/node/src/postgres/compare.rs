//! The server's rows held against the dataset's tables, in chunks.
//!
//! Both sides are one snapshot each. Memory grows with the number of keys (8 bytes each) and not with
//! the rows: which rows the tables have and the server lacks is only known at the end of a table.

use super::trouble::Trouble;
use crate::dataset::TablesSnapshot;
use meridian_engine_kv::TablesError;
use meridian_engine_postgres::catalog::{Table, quoted};
use meridian_engine_postgres::document::{self, Values};
use meridian_model::RowName;
use std::collections::HashSet;
use tokio_postgres::{Client, Row};

/// Rows that are read at once.
const CHUNK_ROWS: usize = 1000;

/// What a chunk of a table came to.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Rows that only the server has, with their documents.
    pub(super) only_there: Vec<(RowName, String)>,
    /// Rows that both have, with different values.
    pub(super) different: Vec<RowName>,
    /// Rows that only the tables have.
    pub(super) only_here: Vec<RowName>,
}

/// A comparison of one table under way, within a transaction of `client` that sees one snapshot.
pub(super) struct Comparison<'a> {
    client: &'a Client,
    table: &'a Table,
    tables: &'a TablesSnapshot,
    name: String,
    /// Digests of the keys that the server has.
    there: HashSet<u64>,
    stage: Stage,
}

enum Stage {
    Unopened,
    Server,
    Tables { after: Option<String> },
    Done,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(client: &'a Client, table: &'a Table, tables: &'a TablesSnapshot) -> Self {
        Self {
            client,
            table,
            tables,
            name: table.name.to_string(),
            there: HashSet::new(),
            stage: Stage::Unopened,
        }
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// [`Trouble`] when either side can't be read.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, Trouble> {
        if matches!(self.stage, Stage::Unopened) {
            let columns = self.table.columns.iter();
            // As the type writes it: a cast to text is something else for some types.
            let columns = columns.map(|column| {
                let name = quoted(&column.name);
                format!("CASE WHEN {name} IS DISTINCT FROM NULL THEN format('%s', {name}) END")
            });
            let columns = columns.collect::<Vec<_>>().join(", ");
            let from = self.table.name.sql();
            let declare =
                format!("DECLARE meridian_rows NO SCROLL CURSOR FOR SELECT {columns} FROM {from}");
            self.client.batch_execute(&declare).await?;
            self.stage = Stage::Server;
        }
        match &self.stage {
            Stage::Server => self.next_of_server().await.map(Some),
            Stage::Tables { after } => {
                let after = after.clone();
                self.next_of_tables(after).map(Some)
            }
            Stage::Unopened | Stage::Done => Ok(None),
        }
    }

    async fn next_of_server(&mut self) -> Result<Chunk, Trouble> {
        let fetch = format!("FETCH {CHUNK_ROWS} FROM meridian_rows");
        let rows = self.client.query(&fetch, &[]).await?;
        if rows.is_empty() {
            self.client.batch_execute("CLOSE meridian_rows").await?;
            self.stage = Stage::Tables { after: None };
        }
        let mut chunk = Chunk::default();
        for row in rows {
            let values = values(&row)?;
            let key = document::key(self.table, &values);
            self.there.insert(digest(&key));
            let known = self.tables.get(&self.name, &key).map_err(unreadable)?;
            let row = RowName {
                table: self.name.clone(),
                key,
            };
            match known {
                None => {
                    let document = document::document(self.table, &values);
                    chunk.only_there.push((row, document));
                }
                Some(known) => {
                    if document::values(self.table, &known.document).as_ref() != Ok(&values) {
                        chunk.different.push(row);
                    }
                }
            }
        }
        Ok(chunk)
    }

    fn next_of_tables(&mut self, after: Option<String>) -> Result<Chunk, Trouble> {
        let page = self
            .tables
            .page(&self.name, after.as_deref(), CHUNK_ROWS, 1 << 20)
            .map_err(unreadable)?;
        self.stage = match page.next {
            None => Stage::Done,
            after => Stage::Tables { after },
        };
        let keys = page.rows.into_iter().map(|(key, _)| key);
        let missing = keys.filter(|key| !self.there.contains(&digest(key)));
        let only_here = missing.map(|key| RowName {
            table: self.name.clone(),
            key,
        });
        Ok(Chunk {
            only_here: only_here.collect(),
            ..Chunk::default()
        })
    }
}

fn values(row: &Row) -> Result<Values, Trouble> {
    let columns = 0..row.len();
    let values = columns.map(|column| row.try_get::<_, Option<String>>(column));
    Ok(values.collect::<Result<_, _>>()?)
}

fn digest(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

pub(super) fn unreadable(error: TablesError) -> Trouble {
    Trouble::lasting(
        crate::dataset::describe(&error),
        "the dataset's tables can't be read; is the disk sound?",
    )
}
