//! Reading rows page by page and by their keys, for whoever compares them.
//!
//! Each statement sees a snapshot of its own, so that a comparison that takes hours keeps no old row
//! versions from being vacuumed. Values are texts as the types write them, in the order of the table's
//! columns, like those that capture reads ([`document`](crate::document)).

use crate::Xid;
use crate::apply::{ApplyError, for_casts};
use crate::catalog::{Table, quoted};
use crate::document::Values;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// A row as it stands in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its values.
    pub values: Values,
    /// The transaction that wrote it last.
    pub writer: Xid,
}

/// Reads one table.
pub struct Reader<'a> {
    client: &'a Client,
    table: Table,
    columns: String,
}

impl<'a> Reader<'a> {
    /// A reader of the table, whose session writes values as [`connect`](crate::server::connect) sets it
    /// up.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn new(client: &'a Client, table: &Table) -> Result<Self, ApplyError> {
        let table = for_casts(client, vec![table.clone()]).await?.remove(0);
        let columns = table.columns.iter().map(|column| {
            let name = quoted(&column.name);
            format!("CASE WHEN t.{name} IS DISTINCT FROM NULL THEN format('%s', t.{name}) END")
        });
        let mut columns = columns.collect::<Vec<_>>();
        columns.push("t.xmin::text".to_owned());
        Ok(Self {
            client,
            columns: columns.join(", "),
            table,
        })
    }

    /// At most so many rows in the order of the key, after the row with this key.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn page(
        &self,
        after: Option<&[String]>,
        rows_max: usize,
    ) -> Result<Vec<StoredRow>, ApplyError> {
        let key = self.key_columns();
        let key = key.join(", ");
        let (columns, from) = (&self.columns, self.table.name.sql());
        let behind = after.map_or_else(String::new, |after| {
            let values = (0..after.len()).map(|place| self.cast(place));
            let values = values.collect::<Vec<_>>().join(", ");
            format!("WHERE ({key}) > ({values})")
        });
        let query =
            format!("SELECT {columns} FROM {from} t {behind} ORDER BY {key} LIMIT {rows_max}");
        let texts = after.unwrap_or_default().iter();
        let texts: Vec<&(dyn ToSql + Sync)> = texts.map(|text| text as _).collect();
        let rows = self.client.query(&query, &texts).await;
        let rows = rows.map_err(ApplyError::server("read rows to compare them"))?;
        rows.iter().map(stored).collect()
    }

    /// The rows with these keys that are there. A key that is no value of its type names none.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn by_key(&self, keys: &[Vec<String>]) -> Result<Vec<StoredRow>, ApplyError> {
        match self.by_keys(keys).await {
            Err(error) if is_no_value(&error) => {}
            rows => return rows.map_err(ApplyError::server("read rows by their keys")),
        }
        let mut rows = Vec::new();
        for key in keys {
            match self.by_keys(std::slice::from_ref(key)).await {
                Err(error) if is_no_value(&error) => {}
                found => rows.extend(found.map_err(ApplyError::server("read rows by their keys"))?),
            }
        }
        Ok(rows)
    }

    async fn by_keys(&self, keys: &[Vec<String>]) -> Result<Vec<StoredRow>, tokio_postgres::Error> {
        let places = 0..self.table.key.len();
        let names: Vec<String> = places.clone().map(|place| format!("k{place}")).collect();
        let arrays: Vec<Vec<&str>> = places
            .clone()
            .map(|place| keys.iter().map(|key| key[place].as_str()).collect())
            .collect();
        let sources = places
            .clone()
            .map(|place| format!("${}::text[]", place + 1));
        let sources = sources.collect::<Vec<_>>().join(", ");
        let is_it = places.map(|place| {
            let key = &self.key_columns()[place];
            format!("{key} = u.k{place}::{}", self.key_type(place))
        });
        let is_it = is_it.collect::<Vec<_>>().join(" AND ");
        // Row by row, so that each is found by the index whatever the planner thinks of the table.
        let query = format!(
            "SELECT f.* FROM unnest({sources}) u({}) CROSS JOIN LATERAL \
             (SELECT {} FROM {} t WHERE {is_it} OFFSET 0) f",
            names.join(", "),
            self.columns,
            self.table.name.sql()
        );
        let arrays: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        let rows = self.client.query(&query, &arrays).await?;
        rows.iter().map(read).collect()
    }

    /// Writes a row as it is, if nobody has written it since: capture sees that like any other write.
    /// Says whether it did. A table without a column that may be set can't be written so.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn rewrite(&self, key: &[String], writer: Xid) -> Result<bool, ApplyError> {
        let columns = 0..self.table.columns.len();
        let mut free = columns.filter(|at| !self.table.columns[*at].is_identity_always);
        let plain = free.clone().find(|at| !self.table.is_key(*at));
        let Some(column) = plain.or_else(|| free.next()) else {
            return Ok(false);
        };
        let column = quoted(&self.table.columns[column].name);
        let is_it = self.key_columns().into_iter().enumerate();
        let is_it = is_it.map(|(place, key)| format!("{key} = {}", self.cast(place)));
        let is_it = is_it.collect::<Vec<_>>().join(" AND ");
        let writer_at = key.len() + 1;
        let update = format!(
            "UPDATE {} t SET {column} = t.{column} \
             WHERE {is_it} AND t.xmin = (${writer_at}::text)::xid",
            self.table.name.sql()
        );
        let writer = writer.0.to_string();
        let mut texts: Vec<&(dyn ToSql + Sync)> = key.iter().map(|text| text as _).collect();
        texts.push(&writer);
        let written = self.client.execute(&update, &texts).await;
        let written = written.map_err(ApplyError::server("write a row as it is"))?;
        Ok(written > 0)
    }

    fn key_columns(&self) -> Vec<String> {
        let key = self.table.key.iter();
        key.map(|at| format!("t.{}", quoted(&self.table.columns[*at].name)))
            .collect()
    }

    fn key_type(&self, place: usize) -> &str {
        &self.table.columns[self.table.key[place]].type_name
    }

    /// The parameter with the key's column at this place.
    fn cast(&self, place: usize) -> String {
        format!("(${}::text)::{}", place + 1, self.key_type(place))
    }
}

fn is_no_value(error: &tokio_postgres::Error) -> bool {
    let class = |code: &SqlState| code.code().starts_with("22");
    error.code().is_some_and(class)
}

fn stored(row: &Row) -> Result<StoredRow, ApplyError> {
    read(row).map_err(ApplyError::server("read a row"))
}

fn read(row: &Row) -> Result<StoredRow, tokio_postgres::Error> {
    let columns = 0..row.len();
    let values = columns.map(|column| row.try_get::<_, Option<String>>(column));
    let mut values = values.collect::<Result<Values, _>>()?;
    let writer = values.pop().flatten().unwrap_or_default();
    Ok(StoredRow {
        values,
        writer: Xid(writer.parse().unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Selection};
    use crate::local::Cluster;
    use crate::server::connect;

    async fn table(client: &Client) -> Table {
        let selection = Selection {
            include: vec!["public.*".to_owned()],
            ..Selection::default()
        };
        let catalog = Catalog::load(client, &selection).await.unwrap();
        catalog.tables().next().unwrap().table.clone()
    }

    fn key(one: &str, other: &str) -> Vec<String> {
        vec![one.to_owned(), other.to_owned()]
    }

    #[tokio::test]
    async fn rows_are_read_in_pages_and_by_key_and_written_as_they_are() {
        let cluster = Cluster::temporary().unwrap();
        let config = cluster.create_database("d").await.unwrap();
        let client = connect(&config, "test").await.unwrap();
        let schema = "CREATE TABLE public.t (n int, what text, c char(3), PRIMARY KEY (what, n)); \
                      INSERT INTO public.t SELECT g % 10, 'w' || g / 10, NULL FROM generate_series(0, 24) g";
        client.batch_execute(schema).await.unwrap();
        let table = table(&client).await;
        let reader = Reader::new(&client, &table).await.unwrap();
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let page = reader.page(after.as_deref(), 7).await.unwrap();
            let Some(last) = page.last() else {
                break;
            };
            let text = |at: usize| last.values[at].clone().unwrap();
            after = Some(key(&text(1), &text(0)));
            read.extend(page);
        }
        assert_eq!(read.len(), 25);
        assert_eq!(read[24].values, [Some("4".into()), Some("w2".into()), None]);
        let keys = [key("w1", "3"), key("w9", "3"), key("w0", "no number")];
        let found = reader.by_key(&keys).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].values[0].as_deref(), Some("3"));

        let writer = found[0].writer;
        assert!(!reader.rewrite(&keys[0], Xid(writer.0 + 1)).await.unwrap());
        assert!(reader.rewrite(&keys[0], writer).await.unwrap());
        let again = reader.by_key(&keys[..1]).await.unwrap();
        assert_eq!(again[0].values, found[0].values);
        assert_ne!(again[0].writer, writer);
    }
}
