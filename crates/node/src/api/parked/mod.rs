//! Rows that a PostgreSQL server can't show: listed with the row that is in their way, and decided
//! about.
//!
//! Each region has a server of its own, and says what *its* server doesn't show. Rows that exclude
//! each other are parked alike in every region; one that a server refuses by itself may be refused
//! there alone.

mod decide;
mod list;
mod shown;

// With what describes each handler to OpenAPI, which has names of its own.
pub(crate) use decide::*;
pub(crate) use list::*;

use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::dataset::DatasetHandle;
use crate::postgres::PostgresState;
use meridian_engine_postgres::projection::Hindrance;
use meridian_model::RowName;

/// The dataset of a row's table.
fn dataset<'a>(state: &'a ApiState, row: &RowName) -> Result<&'a DatasetHandle, Problem> {
    let target = state.target(&row.table)?;
    if target.dataset.is_captured() {
        return Ok(target.dataset);
    }
    let detail = format!(
        "dataset {:?} has no PostgreSQL server, so none of its rows is parked",
        target.dataset.name()
    );
    Err(Problem::new(Kind::ParkedNotFound, detail))
}

/// What keeps a row out of this region's server.
fn hindrance(dataset: &DatasetHandle, row: &RowName) -> Result<Hindrance, Problem> {
    let parked = dataset.postgres().parked();
    if !parked.is_known() {
        return Err(not_connected(dataset));
    }
    parked.get(row).ok_or_else(|| not_parked(row))
}

fn not_parked(row: &RowName) -> Problem {
    let detail = format!("{row} is not parked in this region");
    Problem::new(Kind::ParkedNotFound, detail).hint(
        "it may be shown by now, or have been decided about; GET /v1/parked lists those that are \
         parked",
    )
}

fn not_connected(dataset: &DatasetHandle) -> Problem {
    let status = dataset.postgres().now();
    let reason = match (status.state, status.reason) {
        (_, Some(reason)) => reason,
        (PostgresState::Attaching, None) => "it takes over the rows that are there".to_owned(),
        (_, None) => "it is about to connect".to_owned(),
    };
    let detail = format!(
        "dataset {:?} is not joined to its server now: {reason}",
        dataset.name()
    );
    Problem::new(Kind::NotConnected, detail)
        .hint(status.hint.unwrap_or_else(|| {
            "send it again a little later; `meridian postgres status` says how it stands".to_owned()
        }))
        .member("dataset", dataset.name())
        .retry_after(1)
}
