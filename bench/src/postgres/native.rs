//! PostgreSQL's own logical replication between servers.

use super::{DATABASE, PostgresError, ROLE, Servers, sql};
use crate::postgres::servers::first_field;
use std::time::{Duration, Instant};

/// From this version on a subscription can leave out what the other side had from elsewhere.
const ORIGINS_FROM: u32 = 160_000;
const WORKERS_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// A table on each server but the first that nobody writes.
const IDLE_TABLE: &str = "CREATE TABLE IF NOT EXISTS public.idle (id int PRIMARY KEY)";

/// Publishes `tables` everywhere and subscribes: in both directions, as far as the version can, or
/// from the first server to the others.
pub(super) async fn join(
    servers: &Servers,
    tables: &[&str],
    is_both_ways: bool,
) -> Result<(), PostgresError> {
    let has_origins = servers.version().await? >= ORIGINS_FROM;
    let all = tables.join(", ");
    for index in 0..servers.count() {
        // Whoever publishes must own the tables, whoever subscribes must be a superuser up to 15.
        let client = servers.superuser(index).await?;
        let of = if index == 0 || has_origins {
            all.clone()
        } else {
            "public.idle".to_owned()
        };
        let text = format!(
            "{IDLE_TABLE}; ALTER TABLE public.idle OWNER TO {ROLE}; CREATE PUBLICATION whole FOR TABLE {of}"
        );
        client
            .batch_execute(&text)
            .await
            .map_err(sql("publish tables"))?;
    }
    let origins = if has_origins { ", origin = none" } else { "" };
    for to in 0..servers.count() {
        for from in (0..servers.count()).filter(|from| *from != to) {
            if from != 0 && !is_both_ways {
                continue;
            }
            let text = format!(
                "CREATE SUBSCRIPTION from_{from}_to_{to} \
                 CONNECTION 'host=127.0.0.1 port={} user={ROLE} dbname={DATABASE}' \
                 PUBLICATION whole WITH (copy_data = false{origins})",
                servers.port(from)
            );
            let client = servers.superuser(to).await?;
            client
                .batch_execute(&text)
                .await
                .map_err(sql("subscribe"))?;
        }
    }
    workers(servers, true).await
}

/// Lets all subscriptions rest, or go on; without waiting for them to have begun.
pub(super) async fn enable(servers: &Servers, is_enabled: bool) -> Result<(), PostgresError> {
    let verb = if is_enabled { "ENABLE" } else { "DISABLE" };
    for index in 0..servers.count() {
        let client = servers.superuser(index).await?;
        let rows = client
            .query("SELECT subname::text FROM pg_subscription", &[])
            .await
            .map_err(sql("list subscriptions"))?;
        for row in rows {
            let name: String = row.get(0);
            client
                .batch_execute(&format!("ALTER SUBSCRIPTION {name} {verb}"))
                .await
                .map_err(sql("change a subscription"))?;
        }
    }
    if is_enabled {
        return Ok(());
    }
    workers(servers, false).await
}

/// Waits until every subscription has a worker and its slot is read, or none has.
async fn workers(servers: &Servers, are_wanted: bool) -> Result<(), PostgresError> {
    let started = Instant::now();
    for index in 0..servers.count() {
        let client = servers.superuser(index).await?;
        let query = format!(
            "SELECT (SELECT count(*) FROM pg_subscription s LEFT JOIN pg_stat_subscription w \
             ON w.subid = s.oid AND w.relid IS NULL WHERE (w.pid IS NOT NULL) <> {are_wanted}) + \
             (SELECT count(*) FROM pg_replication_slots WHERE active <> {are_wanted})"
        );
        while first_field(&client, &query).await? != "0" {
            if started.elapsed() > WORKERS_DEADLINE {
                return Err(PostgresError::Late {
                    what: "the subscriptions' workers did not start or end",
                    seconds: WORKERS_DEADLINE.as_secs(),
                    seen: format!("server {}", index + 1),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
    Ok(())
}
