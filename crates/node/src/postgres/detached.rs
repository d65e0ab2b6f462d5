//! A dataset that is detached from its server: nothing is captured or written, and no slot holds WAL.

use super::PostgresConfig;
use super::meet::drop_slot;
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, Input};
use meridian_engine_postgres::server::connect;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(2);

/// Stays detached until something else is asked for.
pub(super) async fn stay(config: &PostgresConfig, dataset: &DatasetHandle, status: &SharedStatus) {
    let mut is_free = false;
    loop {
        if !is_free {
            let freed = free(config).await;
            is_free = freed.is_ok();
            status.change(|status| {
                status.state = PostgresState::Detached;
                status.differing.clear();
                (status.reason, status.hint) = match freed {
                    Ok(()) => (None, None),
                    Err(trouble) => {
                        let reason = format!("the slot is not dropped yet: {}", trouble.reason);
                        (Some(reason), trouble.hint)
                    }
                };
                (status.lag_bytes, status.held_bytes) = (0, 0);
                status.rows_dirty = 0;
            });
        }
        // Nothing outside follows the log any more.
        let position = dataset.log().end();
        dataset.send(Input::KeepFrom { position });
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = status.control().changed() => return,
        }
    }
}

async fn free(config: &PostgresConfig) -> Result<(), Trouble> {
    let client = connect(&config.server, "detach").await?;
    drop_slot(&client, &config.slot).await?;
    let query = "SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let left: i64 = client.query_one(query, &[&config.slot]).await?.try_get(0)?;
    if left > 0 {
        return Err(Trouble::passing("somebody reads it"));
    }
    Ok(())
}
