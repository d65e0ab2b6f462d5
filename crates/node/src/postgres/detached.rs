//! A dataset that is detached from its server: nothing is captured or written, and no slot holds WAL.
//!
//! Nothing of Meridian's need stay in the server. So the rows that a constraint keeps out of it, which
//! it lists itself, are noted in the data directory: when the two meet again these aren't rows that
//! somebody deleted there.

use super::history;
use super::meet::drop_slot;
use super::noted;
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use super::{PostgresConfig, must_be_own, unwritable};
use crate::dataset::{DatasetHandle, Input};
use crate::durable;
use meridian_engine_postgres::apply::parked;
use meridian_engine_postgres::meeting::history::Slot;
use meridian_engine_postgres::server::connect;
use meridian_model::RowName;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio_postgres::Client;

const EVERY: Duration = Duration::from_secs(2);
/// Where the rows are noted.
const FILE: &str = "kept-out.json";

/// Stays detached until something else is asked for.
pub(super) async fn stay(config: &PostgresConfig, dataset: &DatasetHandle, status: &SharedStatus) {
    let mut is_free = false;
    loop {
        if !is_free {
            let freed = free(config, dataset).await;
            is_free = freed.is_ok();
            status.change(|status| {
                status.state = PostgresState::Detached;
                status.differing.clear();
                (status.reason, status.hint) = match freed {
                    Ok(()) => (None, None),
                    Err(trouble) => (Some(trouble.reason), trouble.hint),
                };
                (status.lag_bytes, status.held_bytes) = (0, 0);
                status.rows_dirty = 0;
            });
            status.waits_since(None, None);
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

async fn free(config: &PostgresConfig, dataset: &DatasetHandle) -> Result<(), Trouble> {
    let freed = free_slot(config, dataset).await;
    let client = freed.map_err(|trouble| trouble.in_words("the slot is not dropped yet"))?;
    // After the slot, which must not hold WAL because these can't be read.
    let noted = note_kept_out(&client, config).await;
    noted.map_err(|trouble| trouble.in_words("the slot is dropped, and parked rows can't be noted"))
}

/// Drops the slot; gives the session in which that was done.
async fn free_slot(config: &PostgresConfig, dataset: &DatasetHandle) -> Result<Client, Trouble> {
    let client = connect(&config.server, "detach").await?;
    must_be_own(dataset, config, &client).await?;
    drop_slot(&client, &config.slot).await?;
    match history::slot(&client, &config.slot).await? {
        Slot::Missing => Ok(client),
        Slot::There | Slot::Lost => Err(Trouble::passing("somebody reads it")),
    }
}

/// Notes the rows that a constraint keeps out of the server, if it says so still.
async fn note_kept_out(client: &Client, config: &PostgresConfig) -> Result<(), Trouble> {
    let rows = parked(client, &config.dataset).await?;
    if rows.is_empty() {
        return Ok(());
    }
    let rows: BTreeSet<RowName> = rows.into_iter().map(|parked| parked.row).collect();
    noted::write(&config.directory.join(FILE), &rows).map_err(|error| unwritable(&error))
}

/// The rows that were kept out of the server when it was detached.
///
/// # Errors
/// [`Trouble`] when the file can't be read.
pub(super) fn kept_out(directory: &Path) -> Result<BTreeSet<RowName>, Trouble> {
    noted::read(&directory.join(FILE)).map_err(|error| unwritable(&error))
}

/// The two have met again.
///
/// # Errors
/// [`Trouble`] when the file can't be removed.
pub(super) fn met(directory: &Path) -> Result<(), Trouble> {
    durable::unmark(&directory.join(FILE)).map_err(|error| unwritable(&error))
}
