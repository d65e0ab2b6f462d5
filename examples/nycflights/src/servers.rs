//! The regions' PostgreSQL servers, asked in plain SQL.

use crate::data::{TABLES, Table};
use crate::record::{FlightKey, FlightState};
use anyhow::{Context, Result};
use futures_util::SinkExt;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::SocketAddr;
use tokio_postgres::{Client, NoTls, Row};

/// How much of a file goes into one message.
const PIECE_BYTES: usize = 64 * 1024;
/// The table that is not of the data.
pub const BOOKINGS: (&str, &str) = ("bookings", "carrier");

/// A region: its API, and its server beside it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The region's name.
    pub name: &'static str,
    /// Where its API listens.
    pub api: SocketAddr,
    /// Where its server listens, on loopback.
    pub port: u16,
}

/// A table's rows, their number and an MD5 over their texts in the order of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The table.
    pub table: &'static str,
    /// How many rows.
    pub rows: i64,
    /// The checksum.
    pub md5: String,
}

/// A row that no server shows because of a constraint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParkedRow {
    /// Its table.
    pub table: String,
    /// Its key, as Meridian writes it.
    pub key: String,
}

/// Connects to a region's server as the role that owns the tables there.
///
/// # Errors
/// Where that fails.
pub async fn connect(place: &Place) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(place.port)
        .user("meridian")
        .dbname("meridian")
        .application_name("nycflights")
        .connect(NoTls)
        .await
        .with_context(|| format!("connect to the server of {}", place.name))?;
    // Its end shows in whatever is asked next.
    tokio::spawn(connection);
    Ok(client)
}

/// Copies a table's rows into the server; gives their number.
///
/// # Errors
/// Where the server refuses.
pub async fn copy(client: &Client, table: &Table) -> Result<u64> {
    let statement = format!(
        "COPY public.{} ({}) FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')",
        table.name,
        table.columns()?
    );
    let copied = async {
        let sink = client.copy_in::<_, Cursor<Vec<u8>>>(&statement).await?;
        let mut sink = std::pin::pin!(sink);
        for piece in table.csv.chunks(PIECE_BYTES) {
            sink.send(Cursor::new(piece.to_vec())).await?;
        }
        sink.finish().await
    };
    copied.await.with_context(|| format!("copy {}", table.name))
}

/// How many rows each table has.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn counts(client: &Client) -> Result<Vec<i64>> {
    let tables = TABLES.into_iter().chain([BOOKINGS]);
    let counts: Vec<_> = tables
        .map(|(table, _)| format!("(SELECT count(*) FROM public.{table})"))
        .collect();
    let query = format!("SELECT ARRAY[{}]", counts.join(", "));
    let row = client.query_one(&query, &[]).await.context("count rows")?;
    Ok(row.get(0))
}

/// Every table's number of rows and checksum, all of one snapshot.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn digests(client: &Client) -> Result<Vec<Digest>> {
    let one = |(table, key)| {
        format!(
            "SELECT '{table}', count(*), md5(coalesce(string_agg(t::text, E'\\n' ORDER BY {key}), '')) \
             FROM public.{table} t"
        )
    };
    let tables = TABLES.into_iter().chain([BOOKINGS]);
    let query: Vec<_> = tables.map(one).collect();
    let rows = client
        .query(&query.join(" UNION ALL "), &[])
        .await
        .context("make checksums")?;
    let found = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2)));
    by_name(&found.collect::<Vec<_>>())
}

/// The digests in the order of the tables, found by their names: a UNION ALL gives them in any order,
/// and does so where its parts run in parallel.
fn by_name(found: &[(String, i64, String)]) -> Result<Vec<Digest>> {
    let tables = TABLES.into_iter().chain([BOOKINGS]);
    let digest = |(table, _)| {
        let of_table = found.iter().find(|(name, ..)| name == table);
        let (_, rows, md5) = of_table.with_context(|| format!("no checksum of {table}"))?;
        Ok(Digest {
            table,
            rows: *rows,
            md5: md5.clone(),
        })
    };
    tables.map(digest).collect()
}

/// The checksum of all that no client touches.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn untouched(client: &Client) -> Result<String> {
    const QUERY: &str = "SELECT md5(string_agg(part, ',' ORDER BY part)) FROM ( \
        SELECT md5(string_agg(t::text, E'\\n' ORDER BY year, month, day, carrier, flight, origin)) \
            FROM public.flights t WHERE year = 2013 AND month < 12 \
        UNION ALL SELECT md5(string_agg(t::text, E'\\n' ORDER BY faa)) FROM public.airports t \
        UNION ALL SELECT md5(string_agg(t::text, E'\\n' ORDER BY origin, time_hour)) \
            FROM public.weather t) AS parts(part)";
    let row = client.query_one(QUERY, &[]).await;
    Ok(row
        .context("make the checksum of the untouched rows")?
        .get(0))
}

/// The flights that clients may touch: those of December and of the year after.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn touchable(client: &Client) -> Result<BTreeMap<FlightKey, FlightState>> {
    const QUERY: &str = "SELECT year, month, day, carrier, flight, origin, \
        dep_delay, arr_delay, tailnum FROM public.flights WHERE year <> 2013 OR month = 12";
    let rows = client.query(QUERY, &[]).await.context("read flights")?;
    let flight = |row: &Row| {
        let key = FlightKey {
            year: row.get(0),
            month: row.get(1),
            day: row.get(2),
            carrier: row.get(3),
            flight: row.get(4),
            origin: row.get(5),
        };
        let state = FlightState {
            dep_delay: row.get(6),
            arr_delay: row.get(7),
            tailnum: row.get(8),
        };
        (key, state)
    };
    Ok(rows.iter().map(flight).collect())
}

/// A checksum of what clients touch, quickly made.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn touchable_digest(client: &Client) -> Result<String> {
    const QUERY: &str = "SELECT md5(coalesce(string_agg(t, E'\\n' ORDER BY t), '')) FROM ( \
        SELECT f::text FROM public.flights f WHERE year <> 2013 OR month = 12 \
        UNION ALL SELECT p::text FROM public.planes p \
        UNION ALL SELECT a::text FROM public.airlines a \
        UNION ALL SELECT b::text FROM public.bookings b \
        UNION ALL SELECT \"table\" || key FROM meridian.parked) AS rows(t)";
    let row = client.query_one(QUERY, &[]).await;
    Ok(row.context("make a checksum of what is touched")?.get(0))
}

/// The rows of which a table's column of texts is told, with a number.
async fn texts(client: &Client, query: &str) -> Result<Vec<(String, i64)>> {
    let rows = client.query(query, &[]).await;
    let rows = rows.with_context(|| format!("run {query}"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The airlines' codes.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn carriers(client: &Client) -> Result<Vec<String>> {
    let rows = texts(
        client,
        "SELECT carrier, 0::bigint FROM public.airlines ORDER BY 1",
    )
    .await?;
    Ok(rows.into_iter().map(|(carrier, _)| carrier).collect())
}

/// The planes' tail numbers.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn planes(client: &Client) -> Result<Vec<String>> {
    let rows = texts(
        client,
        "SELECT tailnum, 0::bigint FROM public.planes ORDER BY 1",
    )
    .await?;
    Ok(rows.into_iter().map(|(plane, _)| plane).collect())
}

/// The seats booked, by airline.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn bookings(client: &Client) -> Result<BTreeMap<String, i64>> {
    let rows = texts(client, "SELECT carrier, seats FROM public.bookings").await?;
    Ok(rows.into_iter().collect())
}

/// The rows that constraints keep out.
///
/// # Errors
/// Where the server doesn't answer.
pub async fn parked(client: &Client) -> Result<Vec<ParkedRow>> {
    const QUERY: &str = "SELECT \"table\", key FROM meridian.parked ORDER BY 1, 2";
    let rows = client.query(QUERY, &[]).await.context("read parked rows")?;
    let row = |row: &Row| ParkedRow {
        table: row.get(0),
        key: row.get(1),
    };
    Ok(rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_its_table_s_in_whatever_order_the_server_gives_them() {
        let tables = TABLES.into_iter().chain([BOOKINGS]);
        let mut found: Vec<_> = tables
            .map(|(table, _)| (table.to_owned(), 1, format!("md5 of {table}")))
            .collect();
        found.reverse();
        let digests = by_name(&found).unwrap();
        let tables = TABLES.into_iter().chain([BOOKINGS]);
        for (digest, (table, _)) in digests.iter().zip(tables) {
            assert_eq!(digest.table, table);
            assert_eq!(digest.md5, format!("md5 of {table}"));
        }

        found.pop();
        let error = by_name(&found).unwrap_err();
        assert_eq!(error.to_string(), format!("no checksum of {}", TABLES[0].0));
    }
}
