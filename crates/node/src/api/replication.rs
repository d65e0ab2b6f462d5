//! How replication from each peer stands.

use super::incoming::Incoming;
use super::json::serialized;
use super::problem::Problem;
use super::state::ApiState;
use crate::dataset::{DelaySummary, PeerReport};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_replicate::StreamState;
use serde::Serialize;
use utoipa::ToSchema;

/// How replication stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReplicationReply {
    region: String,
    /// Each dataset's stream from each peer.
    peers: Vec<PeerStream>,
}

/// The stream of a dataset from a peer.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeerStream {
    dataset: String,
    peer: String,
    /// `disconnected`, `subscribing`, `streaming` or `quarantined`.
    state: &'static str,
    /// For how long something has been missing here, or may have been.
    lag_seconds: f64,
    /// How many transactions are missing here, as far as is known.
    lag_transactions: u64,
    last_error: Option<String>,
    /// The wire version last agreed on with the peer since the process started.
    wire_version: Option<u16>,
    /// How far the peer's clock was ahead when it last sent.
    clock_ahead_seconds: f64,
    /// Whether that is more than is allowed.
    drift_alert: bool,
    /// How long after their commit there its transactions became visible here.
    visible: VisibleDelays,
}

/// Percentiles of delays since the process started.
#[derive(Serialize, ToSchema)]
pub(crate) struct VisibleDelays {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    count: u64,
}

/// Shows how replication from each peer stands.
#[utoipa::path(
    get,
    path = "/v1/replication",
    tag = "replication",
    responses(
        (status = 200, description = "How it stands.", body = ReplicationReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn replication(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    let mut peers = Vec::new();
    for dataset in state.running() {
        let reports = dataset.status().peers.into_iter();
        peers.extend(reports.map(|report| stream(dataset.name(), report)));
    }
    let region = state.api().region.to_string();
    Ok(serialized(
        StatusCode::OK,
        &ReplicationReply { region, peers },
    ))
}

/// A stream's state in a word.
pub(crate) fn word(state: &StreamState) -> &'static str {
    match state {
        StreamState::Disconnected => "disconnected",
        StreamState::Subscribing => "subscribing",
        StreamState::Streaming => "streaming",
        StreamState::Quarantined { .. } => "quarantined",
    }
}

fn stream(dataset: &str, report: PeerReport) -> PeerStream {
    let PeerReport { status, delays } = report;
    let DelaySummary {
        count,
        p50_ms,
        p95_ms,
        p99_ms,
        max_ms,
    } = delays;
    PeerStream {
        dataset: dataset.to_owned(),
        peer: status.region.to_string(),
        state: word(&status.state),
        lag_seconds: status.lag.as_secs_f64(),
        lag_transactions: status.lag_transactions,
        last_error: status.last_error,
        wire_version: status.wire_version,
        clock_ahead_seconds: status.clock_ahead.as_secs_f64(),
        drift_alert: status.drifts,
        visible: VisibleDelays {
            p50_ms,
            p95_ms,
            p99_ms,
            max_ms,
            count,
        },
    }
}
