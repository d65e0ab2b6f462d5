//! The server's rows held against the dataset's tables, in chunks.
//!
//! Both sides are one snapshot each. Memory grows with the number of keys (8 bytes each) and not with
//! the rows: which rows the tables have and the server lacks is only known at the end of a table.

use super::trouble::Trouble;
use crate::dataset::TablesSnapshot;
use meridian_engine_kv::TablesError;
use meridian_engine_postgres::Xid;
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
    /// Rows that were read.
    pub(super) rows: u64,
    /// Rows that only the server has.
    pub(super) only_there: Vec<ThereRow>,
    /// Rows that both have, with different values.
    pub(super) different: Vec<ThereRow>,
    /// Rows that only the tables have.
    pub(super) only_here: Vec<RowName>,
}

/// A row as the server has it.
#[derive(Debug)]
pub(super) struct ThereRow {
    pub(super) name: RowName,
    pub(super) document: String,
    /// Of its values ([`document::digest`]).
    pub(super) digest: u64,
    /// Who wrote it.
    pub(super) writer: Xid,
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
            let mut columns = columns.collect::<Vec<_>>();
            columns.push("xmin::text".to_owned());
            let columns = columns.join(", ");
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
            chunk.rows += 1;
            let mut values = values(&row)?;
            let writer = values.pop().flatten().unwrap_or_default();
            let key = document::key(self.table, &values);
            self.there.insert(digest(&key));
            let known = self.tables.get(&self.name, &key).map_err(unreadable)?;
            let is_known = known.is_some();
            let shown = known.map(|known| document::values(self.table, &key, &known.document));
            if shown.is_some_and(|shown| shown.as_ref() == Ok(&values)) {
                continue;
            }
            let row = ThereRow {
                name: RowName {
                    table: self.name.clone(),
                    key,
                },
                document: document::document(self.table, &values),
                digest: document::digest(&values),
                writer: Xid(writer.parse().unwrap_or_default()),
            };
            if is_known {
                chunk.different.push(row);
            } else {
                chunk.only_there.push(row);
            }
        }
        Ok(chunk)
    }

    /// Whether the server had any row, as far as this has come.
    pub(super) fn has_rows(&self) -> bool {
        !self.there.is_empty()
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
