//! Whether the process lives, and whether it is of use. Neither asks for the token.

use super::problem::{Kind, Problem};
use super::state::{ApiState, DatasetState};
use super::status::{DatasetCondition, condition, shortage};
use super::witness::is_witness;
use crate::dataset::{Shortage, apart};
use crate::registry::Datasets;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use meridian_replicate::OwnStanding;

/// Whether the process answers.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "region",
    security(()),
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain")),
)]
pub(crate) async fn livez() -> Response {
    text("alive\n")
}

/// Whether this region serves reads and writes, with or without its peers; of a witness, whether it
/// keeps the log and votes.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "region",
    security(()),
    responses(
        (status = 200, description = "It does.", body = String, content_type = "text/plain"),
        (status = 503, description = "A dataset does not; the reasons are in `datasets`.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn readyz(State(state): State<ApiState>) -> Result<Response, Problem> {
    let mut faults = unready(state.datasets());
    faults.extend(without_room(state.datasets()));
    if faults.is_empty() && is_witness(&state) {
        return Ok(text("ready: a witness, which holds no tables\n"));
    }
    if faults.is_empty() {
        return Ok(text("ready\n"));
    }
    Err(Problem::new(Kind::NotReady, faults.join("; ")).member("datasets", faults))
}

/// Why the region isn't ready, for each dataset that isn't.
pub(crate) fn unready(datasets: &Datasets) -> Vec<String> {
    let datasets = datasets.iter();
    let faults = datasets.filter_map(|(name, dataset)| {
        let fault = fault(dataset)?;
        Some(format!("{name}: {}", apart(&fault).0))
    });
    faults.collect()
}

/// Which datasets take no client writes until there is room on the disk. Peers that ask over the link
/// aren't told: it is `storage` that lacks, so that a region that serves reads comes before one that is
/// down. A log's budget is filled in all regions by one that is away; then all of them go on serving.
pub(crate) fn without_room(datasets: &Datasets) -> Vec<String> {
    let running = datasets.values().filter_map(DatasetState::running);
    let without = running.filter_map(|handle| match shortage(handle, &handle.status())? {
        Shortage::Disk(reason) => Some(format!("{}: takes no writes: {reason}", handle.name())),
        Shortage::LogBudget(_) => None,
    });
    without.collect()
}

fn fault(dataset: &DatasetState) -> Option<String> {
    match dataset {
        DatasetState::Opening | DatasetState::Joining(_) | DatasetState::Failed { .. } => {
            dataset.absence()
        }
        DatasetState::Running(handle) => {
            let membership = handle.membership();
            if let OwnStanding::Joining { .. } | OwnStanding::Leaving = membership.standing {
                return Some("takes no writes: the region is joining or leaving".to_owned());
            }
            let status = handle.status();
            match condition(handle, &status) {
                DatasetCondition::Running | DatasetCondition::Full => None,
                DatasetCondition::Settling => {
                    Some("waits for its peers' word that nothing of it is lost".to_owned())
                }
                DatasetCondition::Stopped
                | DatasetCondition::Failed
                | DatasetCondition::Opening
                | DatasetCondition::Joining => Some(format!(
                    "takes no writes: {}",
                    status.stopped.unwrap_or_default()
                )),
            }
        }
    }
}

fn text(body: &'static str) -> Response {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CONTENT_TYPE, plain)], body).into_response()
}
