//! Whether rows differ that seemed to: with what is on its way left out.

use super::super::compare::unreadable;
use super::super::trouble::Trouble;
use super::report::{DifferenceKind, RowSource, ServerDifference};
use super::{Check, must_run};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::catalog::Table;
use meridian_engine_postgres::document;
use meridian_engine_postgres::projection::RowStanding;
use meridian_engine_postgres::reading::{Reader, StoredRow};
use meridian_engine_postgres::tag::HEARTBEAT_PREFIX;
use meridian_model::{Chosen, Position, RowName, Version};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A row that was written between two looks is looked at again so often.
const ROUNDS_MAX: usize = 40;
const PAUSE: Duration = Duration::from_millis(250);
/// How long capture and projection may take to come by.
const PATIENCE: Duration = Duration::from_secs(120);

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) name: RowName,
    pub(super) server: Option<StoredRow>,
    /// The document that the tables show.
    pub(super) tables: Option<String>,
}

/// What became of candidates.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) differing: Vec<Confirmed>,
    pub(super) parked: u64,
    pub(super) busy: u64,
}

/// How both sides have a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sides {
    server: Option<StoredRow>,
    tables: Option<String>,
    version: Option<Version>,
}

/// Rows as both sides have them; a position in the log up to which the tables stood before.
struct Look {
    rows: BTreeMap<RowName, Sides>,
    position: Position,
}

/// Tells the rows that differ from those that are on their way.
pub(super) async fn confirm(
    check: &Check<'_>,
    table: &Table,
    candidates: Vec<RowName>,
) -> Result<Found, Trouble> {
    let mut found = Found::default();
    let mut left = candidates;
    let until = Instant::now() + PATIENCE;
    for round in 0..ROUNDS_MAX {
        if left.is_empty() || Instant::now() > until {
            break;
        }
        if round > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        left = once(check, table, left, (&mut found, until)).await?;
    }
    found.busy = left.len() as u64;
    Ok(found)
}

/// Of rows that are to be written, those that don't differ any more.
pub(super) async fn mended(
    check: &Check<'_>,
    table: &Table,
    rows: &[RowName],
) -> Result<Vec<RowName>, Trouble> {
    let found = confirm(check, table, rows.to_vec()).await?;
    let differs = |row: &RowName| found.differing.iter().any(|it| it.name == *row);
    // One that is out now doesn't differ: the server can't show it.
    Ok(rows.iter().filter(|row| !differs(row)).cloned().collect())
}

/// One round; the rows that have to be looked at again.
async fn once(
    check: &Check<'_>,
    table: &Table,
    rows: Vec<RowName>,
    (found, until): (&mut Found, Instant),
) -> Result<Vec<RowName>, Trouble> {
    let before = look(check, table, &rows).await?;
    let standings = standings(check, &rows, before.position, until).await?;
    // Rows that are written all the time, or a large transaction that takes its time.
    let Some(standings) = standings else {
        return Ok(rows);
    };
    let after = look(check, table, &rows).await?;
    let mut again = Vec::new();
    for (name, standing) in rows.into_iter().zip(standings) {
        let (first, second) = (before.rows.get(&name), after.rows.get(&name));
        let Some(sides) = second.filter(|_| first == second) else {
            again.push(name);
            continue;
        };
        match standing {
            _ if sides.is_same(table, &name.key) => {}
            RowStanding::UnderWay => again.push(name),
            RowStanding::Parked => found.parked += 1,
            RowStanding::Settled => found.differing.push(Confirmed {
                name,
                server: sides.server.clone(),
                tables: sides.tables.clone(),
            }),
        }
    }
    Ok(again)
}

async fn look(check: &Check<'_>, table: &Table, rows: &[RowName]) -> Result<Look, Trouble> {
    // What the log has beyond the tables comes to both later.
    let position = check.dataset.log().end();
    let tables = check.dataset.tables().snapshot();
    let reader = Reader::new(&check.client, table).await?;
    let keys = rows.iter();
    let keys = keys.filter_map(|row| document::key_values(table, &row.key).ok());
    let stored = reader.by_key(&keys.collect::<Vec<_>>()).await?;
    let stored = stored.into_iter();
    let mut stored: BTreeMap<String, StoredRow> = stored
        .map(|row| (document::key(table, &row.values), row))
        .collect();
    let mut looked = BTreeMap::new();
    for row in rows {
        let shown = tables.get(&row.table, &row.key).map_err(unreadable)?;
        let sides = Sides {
            server: stored.remove(&row.key),
            tables: shown.map(|row| row.document),
            version: tables.latest(&row.table, &row.key).map_err(unreadable)?,
        };
        looked.insert(row.clone(), sides);
    }
    Ok(Look {
        rows: looked,
        position,
    })
}

/// How the rows stand once capture has come by all that is committed now, and the log is followed;
/// `None` where that takes too long.
async fn standings(
    check: &Check<'_>,
    rows: &[RowName],
    position: Position,
    until: Instant,
) -> Result<Option<Vec<RowStanding>>, Trouble> {
    let query = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text";
    let row = check.client.query_one(query, &[]).await?;
    let text: String = row.try_get(0)?;
    let captured: Lsn = text
        .parse()
        .map_err(|_| Trouble::passing(format!("the server answered {text:?}")))?;
    // An idle server's WAL has to go on for capture to come by.
    let emit = "SELECT pg_catalog.pg_logical_emit_message(true, $1, '')";
    check.client.execute(emit, &[&HEARTBEAT_PREFIX]).await?;
    let mut answer = check
        .status
        .inquiries()
        .ask(rows.to_vec(), captured, position);
    loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut answer).await {
            Ok(Ok(standings)) => return Ok(Some(standings)),
            Ok(Err(_)) => return Err(lost()),
            Err(_) => {
                must_run(check.status)?;
                if Instant::now() > until {
                    return Ok(None);
                }
            }
        }
    }
}

/// Waits until the log says which side of the rows was chosen.
pub(super) async fn noted(check: &Check<'_>, chosen: Vec<Chosen>) -> Result<(), Trouble> {
    let mut answer = check.status.inquiries().choose(chosen);
    let until = Instant::now() + PATIENCE;
    loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut answer).await {
            Ok(Ok(told)) => return told,
            Ok(Err(_)) => return Err(lost()),
            Err(_) => {
                must_run(check.status)?;
                if Instant::now() > until {
                    return Err(Trouble::passing("what is written over could not be listed"));
                }
            }
        }
    }
}

fn lost() -> Trouble {
    Trouble::passing("the region lost its server, or can't follow it, while rows were compared")
}

impl Sides {
    fn is_same(&self, table: &Table, key: &str) -> bool {
        match (&self.server, &self.tables) {
            (Some(row), Some(document)) => {
                document::values(table, key, document).as_ref() == Ok(&row.values)
            }
            (server, tables) => server.is_none() && tables.is_none(),
        }
    }
}

impl Confirmed {
    /// Has the server's row captured as it is; whether that could be done.
    pub(super) async fn taken(&self, table: &Table, reader: &Reader<'_>) -> Result<bool, Trouble> {
        let key = document::key_values(table, &self.name.key).ok();
        match (key, &self.server) {
            (Some(key), Some(row)) => Ok(reader.rewrite(&key, row.writer).await?),
            _ => Ok(false),
        }
    }

    /// As a row of which somebody chose a side.
    pub(super) fn chosen(&self, table: &Table, stands: bool) -> Chosen {
        let server = self.server.as_ref();
        Chosen {
            row: self.name.clone(),
            document: server.map(|row| document::document(table, &row.values)),
            stands,
        }
    }

    /// As it is listed.
    pub(super) fn listed(
        self,
        table: Option<&Table>,
        source: RowSource,
        mended: bool,
    ) -> ServerDifference {
        let kind = match (&self.server, &self.tables) {
            (None, _) => DifferenceKind::Missing,
            (Some(_), None) => DifferenceKind::Extra,
            (Some(_), Some(_)) => DifferenceKind::Different,
        };
        let server = self.server.zip(table);
        let server = server.map(|(row, table)| document::document(table, &row.values));
        let json = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        ServerDifference {
            table: self.name.table,
            key: self.name.key,
            kind,
            source,
            server: json(server),
            tables: json(self.tables),
            mended,
        }
    }
}
