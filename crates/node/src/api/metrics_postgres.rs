//! What monitoring scrapes of datasets on PostgreSQL: how each stands with its server.

use super::metrics::{Samples, counters, gauges, signed};
use super::state::ApiState;
use crate::postgres::{PostgresState, PostgresStatus};
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

type Gauge<T> = (&'static str, &'static str, fn(&PostgresStatus) -> T);

const SIZES: [Gauge<u64>; 4] = [
    (
        "meridian_postgres_lag_bytes",
        "WAL of the server that is not captured yet",
        |status| status.lag_bytes,
    ),
    (
        "meridian_postgres_wal_held_bytes",
        "WAL that the server keeps for the slot",
        |status| status.held_bytes,
    ),
    (
        "meridian_postgres_rows_to_write",
        "Rows that the server does not show yet as the other regions do",
        |status| status.rows_dirty,
    ),
    (
        "meridian_postgres_rows_differing",
        "Rows in which the server differed from the regions when all were last compared",
        |status| {
            status
                .compared
                .as_ref()
                .map_or(0, |compared| compared.differing)
        },
    ),
];

const SECONDS: [Gauge<f64>; 2] = [
    (
        "meridian_postgres_lag_seconds",
        "For how long something has been waiting to be captured, or may have been",
        |status| status.lag_seconds,
    ),
    (
        "meridian_postgres_write_lag_seconds",
        "For how long the oldest row to write has been waiting, or may have been",
        |status| status.write_lag_seconds,
    ),
];

const COUNTS: [Gauge<u64>; 5] = [
    (
        "meridian_postgres_transactions_captured",
        "Transactions captured from the server",
        |status| status.transactions_captured,
    ),
    (
        "meridian_postgres_projections",
        "Transactions that wrote what other regions committed",
        |status| status.projections,
    ),
    (
        "meridian_postgres_rows_projected",
        "Rows that these wrote",
        |status| status.rows_projected,
    ),
    (
        "meridian_postgres_forged_tags",
        "Messages with a tag that nobody here wrote",
        |status| status.forged_tags,
    ),
    (
        "meridian_postgres_comparisons",
        "Comparisons of all rows of the server with those of the regions",
        |status| status.comparisons,
    ),
];

const STATES: [(PostgresState, &str); 6] = [
    (PostgresState::Connecting, "connecting"),
    (PostgresState::Attaching, "attaching"),
    (PostgresState::Running, "running"),
    (PostgresState::Waiting, "waiting"),
    (PostgresState::Stopped, "stopped"),
    (PostgresState::Detached, "detached"),
];

/// Nothing where no dataset is on PostgreSQL.
pub(super) fn encode(state: &ApiState, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let captured = state.running().filter(|dataset| dataset.is_captured());
    let servers: Vec<(String, PostgresStatus)> = captured
        .map(|dataset| (dataset.name().to_owned(), dataset.postgres().now()))
        .collect();
    if servers.is_empty() {
        return Ok(());
    }
    for (name, what, value) in SIZES {
        let samples = samples(&servers, |status| signed(value(status)));
        gauges(encoder, name, what, &samples)?;
    }
    for (name, what, value) in SECONDS {
        gauges(encoder, name, what, &samples(&servers, value))?;
    }
    for (name, what, value) in COUNTS {
        counters(encoder, name, what, &samples(&servers, value))?;
    }
    let what = "Rows that the server does not show, by why";
    gauges(
        encoder,
        "meridian_postgres_rows_parked",
        what,
        &parked(&servers),
    )?;
    let what = "1 for what the dataset does with its server, 0 for all else";
    gauges(encoder, "meridian_postgres_state", what, &states(&servers))
}

fn samples<T>(
    servers: &[(String, PostgresStatus)],
    value: impl Fn(&PostgresStatus) -> T,
) -> Samples<T> {
    let samples = servers.iter();
    samples
        .map(|(dataset, status)| (vec![("dataset", dataset.clone())], value(status)))
        .collect()
}

fn parked(servers: &[(String, PostgresStatus)]) -> Samples<i64> {
    let mut samples = Samples::new();
    for (dataset, status) in servers {
        let excluded = status.rows_parked.saturating_sub(status.rows_refused);
        for (reason, rows) in [("excluded", excluded), ("refused", status.rows_refused)] {
            let labels = vec![("dataset", dataset.clone()), ("reason", reason.to_owned())];
            samples.push((labels, signed(rows)));
        }
    }
    samples
}

fn states(servers: &[(String, PostgresStatus)]) -> Samples<i64> {
    let mut samples = Samples::new();
    for (dataset, status) in servers {
        for (state, word) in STATES {
            let labels = vec![("dataset", dataset.clone()), ("state", word.to_owned())];
            samples.push((labels, i64::from(status.state == state)));
        }
    }
    samples
}
