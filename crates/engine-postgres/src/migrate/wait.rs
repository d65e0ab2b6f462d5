//! Whether a region captures a server with the tables as they are: seen from the server alone.
//!
//! The region's session is named after the tables that it goes by
//! ([`names::session`](crate::names::session())), and its slot says up to where everything is durable
//! in the region's log. So neither the region's address nor a token for it is needed.

use super::run::MigrateError;
use crate::catalog::Fingerprint;
use crate::tag::HEARTBEAT_PREFIX;
use crate::{Lsn, names};
use tokio_postgres::Client;

/// How a region stands to its server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It reads the slot.
    pub reads: bool,
    /// It has everything up to the mark.
    pub has_mark: bool,
    /// It goes by the tables as they are.
    pub knows_tables: bool,
}

impl Standing {
    /// Whether the region captures what is written from now on, and has what was before.
    #[must_use]
    pub fn is_captured(self) -> bool {
        self.reads && self.has_mark && self.knows_tables
    }
}

/// Writes a mark into the WAL, behind everything that is committed: where it is.
///
/// # Errors
/// [`MigrateError`].
pub async fn mark(client: &Client) -> Result<Lsn, MigrateError> {
    let emit = "SELECT pg_catalog.pg_logical_emit_message(true, $1, '')::text";
    let row = client
        .query_one(emit, &[&HEARTBEAT_PREFIX])
        .await
        .map_err(MigrateError::server("write a mark into the WAL"))?;
    let text: &str = row.get(0);
    Ok(text.parse().expect("a position of the WAL is one"))
}

/// How the dataset's region stands, by what its server shows.
///
/// # Errors
/// [`MigrateError`].
pub async fn standing(
    client: &Client,
    dataset: &str,
    tables: Fingerprint,
    mark: Lsn,
) -> Result<Standing, MigrateError> {
    let query = "SELECT COALESCE(s.active, false), \
         COALESCE(s.confirmed_flush_lsn >= ($2::text)::pg_catalog.pg_lsn, false), \
         EXISTS (SELECT FROM pg_catalog.pg_stat_activity a \
                 WHERE a.datname = pg_catalog.current_database() AND a.application_name = $3) \
         FROM (SELECT) one LEFT JOIN pg_catalog.pg_replication_slots s \
         ON s.slot_name = $1 AND s.database = pg_catalog.current_database()";
    let slot = names::of_dataset(dataset);
    let session = format!("meridian {}", names::session(tables));
    let row = client
        .query_one(query, &[&slot, &mark.to_string(), &session])
        .await
        .map_err(MigrateError::server("ask how far the region has captured"))?;
    Ok(Standing {
        reads: row.get(0),
        has_mark: row.get(1),
        knows_tables: row.get(2),
    })
}
