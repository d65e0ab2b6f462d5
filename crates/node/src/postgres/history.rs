//! What tells whether a server goes on in the history that was captured of it so far: read of the
//! server, and kept in the data directory.

use super::PostgresConfig;
use super::mark;
use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::Xid;
use meridian_engine_postgres::meeting::history::{Break, Slot, Standing};
use meridian_engine_postgres::tag::Tag;
use meridian_model::Position;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tokio_postgres::Client;

/// Where a break is kept.
const FILE: &str = "meeting.json";

/// Whether the server has the table of Meridian's own rows.
pub(super) async fn is_there(client: &Client) -> Result<bool, Trouble> {
    let query = "SELECT pg_catalog.to_regclass('meridian.position') IS NOT NULL";
    Ok(client.query_one(query, &[]).await?.try_get(0)?)
}

/// What the server's rows of Meridian's own say, as `client` sees them.
pub(super) async fn standing(
    client: &Client,
    config: &PostgresConfig,
) -> Result<Standing, Trouble> {
    let query = "SELECT dataset = $1 AND position IS NOT NULL, position, seen::text, xmin::text, \
                     dataset = $3 FROM meridian.position WHERE dataset IN ($1, $2, $3)";
    let (mark, let_in) = (mark::named(&config.dataset), mark::let_in(&config.dataset));
    let names: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&config.dataset, &mark, &let_in];
    let mut standing = Standing::default();
    for row in client.query(query, &names).await? {
        let writer: String = row.try_get(3)?;
        let seen: Option<String> = row.try_get(2)?;
        let seen = seen.unwrap_or_default();
        let mark = mark::parsed(&seen);
        if !mark.is_some_and(|mark| mark.is_renewed) {
            standing.writers.extend(writer.parse().ok().map(Xid));
        }
        if row.try_get(4)? {
            let xids: Vec<String> = serde_json::from_str(&seen).unwrap_or_default();
            let xids = xids.iter().filter_map(|xid| xid.parse().ok().map(Xid));
            standing.let_in = xids.collect();
            continue;
        }
        if !row.try_get::<_, bool>(0)? {
            standing.mark = mark.or(standing.mark);
            continue;
        }
        let position: i64 = row.try_get(1)?;
        let seen = serde_json::from_str(&seen)
            .map_err(|_| Trouble::passing(format!("the server answered {seen:?}")))?;
        standing.given = Some(Tag {
            position: Position(position.cast_unsigned()),
            seen,
        });
    }
    Ok(standing)
}

/// How the database's slot is, as the server says.
pub(super) async fn slot(client: &Client, slot: &str) -> Result<Slot, Trouble> {
    let query = "SELECT wal_status FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 \
                 AND database = pg_catalog.current_database()";
    let Some(row) = client.query_opt(query, &[&slot]).await? else {
        return Ok(Slot::Missing);
    };
    let status: Option<String> = row.try_get(0)?;
    Ok(match status.as_deref() {
        Some("lost") => Slot::Lost,
        _ => Slot::There,
    })
}

/// Keeps a break until rows have been compared to the end.
pub(super) fn remember(directory: &Path, broken: &Break) -> Result<(), Trouble> {
    let path = directory.join(FILE);
    let bytes = serde_json::to_vec(broken).expect("texts are JSON");
    durable::replace(&path, &bytes).map_err(|error| unwritable(&error))
}

/// Rows have been compared to the end.
pub(super) fn forget(directory: &Path) -> Result<(), Trouble> {
    match fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

/// The one that is kept.
pub(super) fn remembered(directory: &Path) -> Result<Option<Break>, Trouble> {
    match fs::read(directory.join(FILE)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unwritable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_is_remembered_until_rows_are_compared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(remembered(path).unwrap(), None);
        let broken = Break {
            reason: "gone".to_owned(),
            is_same_history: true,
            is_same_log: true,
            is_unclear: false,
            went_back: false,
            than: None,
        };
        remember(path, &broken).unwrap();
        assert_eq!(remembered(path).unwrap(), Some(broken));
        forget(path).unwrap();
        assert_eq!(remembered(path).unwrap(), None);
    }
}
