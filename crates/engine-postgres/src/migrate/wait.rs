//! Whether a region captures a server with the tables as they are: seen from the server alone.
//!
//! The region's session is named after the tables that it goes by
//! ([`names::session`](crate::names::session())), and its slot says up to where everything is durable
//! in the region's log. So neither the region's address nor a token for it is needed.

use super::run::MigrateError;
use crate::apply::{ApplyError, parked};
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

/// How many rows of a table the server keeps parked.
///
/// # Errors
/// [`ApplyError`] from the server.
pub async fn rows_parked(client: &Client, dataset: &str, table: &str) -> Result<usize, ApplyError> {
    let rows = parked(client, dataset).await?;
    Ok(rows.iter().filter(|it| it.row.table == table).count())
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

/// How the dataset's region stands, by what its server shows. Anybody may call a session what he
/// likes, so it has to be one of `role`, which the region connects as.
///
/// # Errors
/// [`MigrateError`].
pub async fn standing(
    client: &Client,
    (dataset, role): (&str, &str),
    tables: Fingerprint,
    mark: Lsn,
) -> Result<Standing, MigrateError> {
    let query = "SELECT COALESCE(s.active, false), \
         COALESCE(s.confirmed_flush_lsn >= ($2::text)::pg_catalog.pg_lsn, false), \
         EXISTS (SELECT FROM pg_catalog.pg_stat_activity a \
                 WHERE a.datname = pg_catalog.current_database() AND a.application_name = $3 \
                 AND a.usename = $4) \
         FROM (SELECT) one LEFT JOIN pg_catalog.pg_replication_slots s \
         ON s.slot_name = $1 AND s.database = pg_catalog.current_database()";
    let slot = names::of_dataset(dataset);
    let session = format!("meridian {}", names::session(tables));
    let row = client
        .query_one(query, &[&slot, &mark.to_string(), &session, &role])
        .await
        .map_err(MigrateError::server("ask how far the region has captured"))?;
    Ok(Standing {
        reads: row.get(0),
        has_mark: row.get(1),
        knows_tables: row.get(2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Cluster;

    #[tokio::test]
    async fn a_session_of_somebody_else_is_no_region_whatever_it_is_called() {
        let cluster = Cluster::temporary().unwrap();
        cluster.create_database("shop").await.unwrap();
        let owner = cluster.connect("shop", "postgres").await.unwrap();
        owner
            .batch_execute("CREATE ROLE mallory LOGIN; CREATE ROLE agent LOGIN")
            .await
            .unwrap();
        let tables = Fingerprint::default();
        let at = mark(&owner).await.unwrap();
        let knows = async || {
            let standing = standing(&owner, ("shop", "agent"), tables, at).await;
            standing.unwrap().knows_tables
        };
        let name = format!(
            "SET application_name = 'meridian {}'",
            names::session(tables)
        );
        let other = cluster.connect("shop", "mallory").await.unwrap();
        other.batch_execute(&name).await.unwrap();
        assert!(!knows().await);
        let region = cluster.connect("shop", "agent").await.unwrap();
        region.batch_execute(&name).await.unwrap();
        assert!(knows().await);
    }
}
