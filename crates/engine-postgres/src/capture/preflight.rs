//! What is looked at before the stream is asked for, so that what is missing is told by name.

use super::connection::{Connection, Row};
use super::endpoint::Endpoint;
use super::error::CaptureError;
use crate::catalog::quoted;
use crate::{Lsn, ServerIdentity};

/// Who the server is and how far its WAL reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerPlace {
    /// Which server, in which of its histories.
    pub identity: ServerIdentity,
    /// Where its WAL ends, as far as it is on disk.
    pub end: Lsn,
}

/// The first version whose pgoutput passes logical messages on.
const VERSION_MIN: u32 = 140_000;

/// Who the server is.
pub(super) async fn identify(
    connection: &mut Connection,
    endpoint: &Endpoint,
) -> Result<ServerPlace, CaptureError> {
    let row = one(connection, endpoint, "ask who it is", "IDENTIFY_SYSTEM").await?;
    let [Some(system), Some(timeline), Some(end), ..] = row.as_slice() else {
        return Err(unexpected("IDENTIFY_SYSTEM"));
    };
    let unread = |_| unexpected("IDENTIFY_SYSTEM");
    Ok(ServerPlace {
        identity: ServerIdentity {
            system: system.parse().map_err(unread)?,
            timeline: timeline.parse().map_err(unread)?,
        },
        end: end.parse().map_err(|_| unexpected("IDENTIFY_SYSTEM"))?,
    })
}

/// Takes the limit off how long a transaction may last, from version 17 on: for the server, sending a
/// large one is one.
pub(super) async fn unlimit(
    connection: &mut Connection,
    endpoint: &Endpoint,
) -> Result<(), CaptureError> {
    let query = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
                 WHERE name = 'transaction_timeout'";
    run(connection, endpoint, "set the session up", query).await
}

/// Refuses a server that is too old, or takes no writes.
pub(super) async fn is_fit(
    connection: &mut Connection,
    endpoint: &Endpoint,
) -> Result<(), CaptureError> {
    let query = "SELECT pg_catalog.current_setting('server_version_num'), \
                 pg_catalog.current_setting('server_version'), \
                 pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('wal_level')";
    let row = one(connection, endpoint, "ask for its version", query).await?;
    let [Some(number), Some(version), Some(in_recovery), Some(level)] = row.as_slice() else {
        return Err(unexpected("a query"));
    };
    if number
        .parse::<u32>()
        .is_ok_and(|number| number < VERSION_MIN)
    {
        return Err(CaptureError::Protocol {
            reason: format!("it is PostgreSQL {version}, and 14 is the first that will do"),
        });
    }
    if in_recovery == "t" {
        return Err(CaptureError::Standby {
            place: connection.place().to_owned(),
        });
    }
    if level != "logical" {
        return Err(CaptureError::NotLogical {
            level: level.clone(),
        });
    }
    Ok(())
}

/// How far a slot has been confirmed, if it is there, free, and fit.
pub(super) async fn slot(
    connection: &mut Connection,
    endpoint: &Endpoint,
    slot: &str,
) -> Result<Lsn, CaptureError> {
    let query = format!(
        "SELECT plugin, database, active_pid, wal_status, confirmed_flush_lsn \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        literal(slot)
    );
    let rows = rows(connection, endpoint, "look for the slot", &query).await?;
    let name = slot.to_owned();
    let others = |reason: String| CaptureError::SlotTaken {
        slot: slot.to_owned(),
        reason,
    };
    let Some(row) = rows.first() else {
        return Err(CaptureError::SlotMissing { slot: name });
    };
    let [plugin, database, process, wal_status, confirmed] = row.as_slice() else {
        return Err(unexpected("a query"));
    };
    match (plugin.as_deref(), database.as_deref()) {
        (None, _) | (_, None) => return Err(others("it is a physical one".to_owned())),
        (Some("pgoutput"), Some(database)) if database == endpoint.target.database => {}
        (Some("pgoutput"), Some(other)) => {
            return Err(others(format!("it is of database {other}")));
        }
        (Some(other), _) => return Err(others(format!("it decodes with {other}"))),
    }
    if let Some(process) = process {
        return Err(CaptureError::SlotInUse {
            slot: name,
            process: process.parse().ok(),
        });
    }
    if wal_status.as_deref() == Some("lost") {
        return Err(CaptureError::SlotLost {
            slot: name,
            reason: "it is marked as lost".to_owned(),
        });
    }
    // A slot whose making was interrupted has none.
    let confirmed = confirmed.as_deref().and_then(|lsn| lsn.parse().ok());
    confirmed.ok_or(CaptureError::SlotUnfit { slot: name })
}

/// Refuses a publication that isn't there: the stream itself would say so at the first change only.
pub(super) async fn publication(
    connection: &mut Connection,
    endpoint: &Endpoint,
    publication: &str,
) -> Result<(), CaptureError> {
    let query = format!(
        "SELECT pubname FROM pg_catalog.pg_publication WHERE pubname = {}",
        literal(publication)
    );
    let rows = rows(connection, endpoint, "look for the publication", &query).await?;
    if rows.is_empty() {
        return Err(CaptureError::PublicationMissing {
            publication: publication.to_owned(),
        });
    }
    Ok(())
}

/// Makes a slot, and says where its stream begins and under which name its snapshot is found.
pub(super) async fn create(
    connection: &mut Connection,
    endpoint: &Endpoint,
    slot: &str,
) -> Result<(Lsn, String), CaptureError> {
    const COMMAND: &str = "CREATE_REPLICATION_SLOT";
    let query = format!(
        "{COMMAND} {} LOGICAL pgoutput EXPORT_SNAPSHOT",
        quoted(slot)
    );
    let row = one(connection, endpoint, "make the slot", &query).await?;
    let [_, Some(begins), Some(snapshot), ..] = row.as_slice() else {
        return Err(unexpected(COMMAND));
    };
    let begins = begins.parse().map_err(|_| unexpected(COMMAND))?;
    Ok((begins, snapshot.clone()))
}

/// Runs something whose answer says nothing.
pub(super) async fn run(
    connection: &mut Connection,
    endpoint: &Endpoint,
    action: &'static str,
    query: &str,
) -> Result<(), CaptureError> {
    rows(connection, endpoint, action, query).await.map(drop)
}

async fn rows(
    connection: &mut Connection,
    endpoint: &Endpoint,
    action: &'static str,
    query: &str,
) -> Result<Vec<Row>, CaptureError> {
    let answer = connection.query(query).await?;
    answer.map_err(|refusal| refusal.into_error(action, endpoint))
}

async fn one(
    connection: &mut Connection,
    endpoint: &Endpoint,
    action: &'static str,
    query: &str,
) -> Result<Row, CaptureError> {
    let mut rows = rows(connection, endpoint, action, query).await?;
    rows.pop().ok_or_else(|| unexpected("a query"))
}

/// A text as SQL; the session's `standard_conforming_strings` is on.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn unexpected(what: &str) -> CaptureError {
    CaptureError::Protocol {
        reason: format!("its answer to {what} isn't what PostgreSQL answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Cluster;

    #[tokio::test]
    async fn nothing_ends_the_session_from_outside() {
        let cluster = Cluster::temporary().unwrap();
        let server = cluster.create_database("d").await.unwrap();
        let admin = cluster.connect("d", "postgres").await.unwrap();
        let limits = "FROM pg_settings WHERE name IN ('statement_timeout', \
            'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";
        let query = format!("SELECT format('ALTER DATABASE d SET %I = 7000', name) {limits}");
        for row in admin.query(&query, &[]).await.unwrap() {
            admin.batch_execute(row.get(0)).await.unwrap();
        }
        let endpoint = Endpoint::of(&server).unwrap();
        let mut connection = Connection::open(&endpoint).await.unwrap();
        unlimit(&mut connection, &endpoint).await.unwrap();
        let query = format!("SELECT name, setting {limits} AND setting <> '0'");
        let limited = rows(&mut connection, &endpoint, "ask", &query).await;
        assert_eq!(limited.unwrap(), Vec::<Row>::new());
    }
}
