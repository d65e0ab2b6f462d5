//! The connection on which the server is asked how it stands.

use super::trouble::Trouble;
use meridian_engine_postgres::catalog::Fingerprint;
use meridian_engine_postgres::meeting::mark::Reading;
use meridian_engine_postgres::names;
use meridian_engine_postgres::tag::HEARTBEAT_PREFIX;
use meridian_engine_postgres::{Lsn, Xid};
use std::sync::Arc;
use tokio_postgres::Client;

/// The connection on which the server is asked how it stands.
#[derive(Clone)]
pub(super) struct Session {
    client: Arc<Client>,
}

/// How the server stands.
pub(super) struct Standing {
    /// Its transactions, and a WAL position read after these.
    pub(super) found: Reading,
    pub(super) wal: WalStanding,
}

/// How far the server's WAL goes, and how much of it a slot keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalStanding {
    pub(super) written: Lsn,
    pub(super) held_bytes: u64,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client: Arc::new(client),
        }
    }

    /// How the server stands now. Takes some turns, during which others go on.
    pub(super) async fn standing(self, slot: &str) -> Result<Standing, Trouble> {
        Ok(Standing {
            found: self.horizon().await?,
            wal: self.wal(slot).await?,
        })
    }

    /// The oldest transaction under way and the next one, by a snapshot, and a WAL position read after
    /// it.
    async fn horizon(&self) -> Result<Reading, Trouble> {
        let query = "SELECT pg_catalog.pg_snapshot_xmin(s)::text, pg_catalog.pg_snapshot_xmax(s)::text, \
                     pg_catalog.pg_current_wal_insert_lsn()::text \
                     FROM (SELECT pg_catalog.pg_current_snapshot() AS s OFFSET 0) AS taken";
        let row = self.client.query_one(query, &[]).await?;
        Ok(Reading {
            oldest: low(parsed(row.try_get(0)?)?),
            next: low(parsed(row.try_get(1)?)?),
            lsn: parsed(row.try_get(2)?)?,
        })
    }

    /// The connection itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes the WAL go on, so that capture passes every position read before.
    pub(super) async fn heartbeat(&self) -> Result<(), Trouble> {
        let emit = "SELECT pg_catalog.pg_logical_emit_message(true, $1, '')";
        self.client.execute(emit, &[&HEARTBEAT_PREFIX]).await?;
        Ok(())
    }

    /// Shows in the server that it is captured with these tables, for whoever waits for that.
    pub(super) async fn announce(&self, tables: Fingerprint) -> Result<(), Trouble> {
        let name = format!("meridian {}", names::session(tables));
        let set = "SELECT pg_catalog.set_config('application_name', $1, false)";
        self.client.execute(set, &[&name]).await?;
        Ok(())
    }

    async fn wal(&self, slot: &str) -> Result<WalStanding, Trouble> {
        let query = "SELECT pg_catalog.pg_current_wal_lsn()::text, \
                     (pg_catalog.pg_current_wal_lsn() - restart_lsn)::bigint \
                     FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let row = self.client.query_one(query, &[&slot]).await?;
        let held: Option<i64> = row.try_get(1)?;
        Ok(WalStanding {
            written: parsed(row.try_get(0)?)?,
            held_bytes: held.unwrap_or_default().max(0).cast_unsigned(),
        })
    }
}

/// The epoch stands above the 32 bits that rows carry.
fn low(xid: u64) -> Xid {
    Xid(u32::try_from(xid & u64::from(u32::MAX)).unwrap_or_default())
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Trouble> {
    text.parse()
        .map_err(|_| Trouble::passing(format!("the server answered {text:?}")))
}
