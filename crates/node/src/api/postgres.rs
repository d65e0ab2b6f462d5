//! What is asked of a dataset's PostgreSQL server: to attach it, and to let it go.

use super::documents;
use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::dataset::DatasetHandle;
use crate::postgres::{Choice, PostgresStatus, Side};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_replicate::OwnStanding;
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const BODY_BYTES_MAX: usize = 64 << 10;

/// How to attach.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AttachOrder {
    /// Which side is right about rows of which nothing else tells; without it, it is only said which
    /// they are.
    take: Option<Side>,
    /// Which side is right in single tables.
    #[serde(default)]
    take_in: BTreeMap<String, Side>,
}

/// Attaches the dataset to its server, or tries to anew. The reply comes at once and says how things
/// stood before; `/v1/status` says how it goes.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/postgres/attach",
    tag = "postgres",
    params(("dataset" = String, Path, description = "The dataset.")),
    request_body = AttachOrder,
    responses(
        (status = 202, description = "It has begun.", body = PostgresStatus),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn attach(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let text = documents::text(incoming.read_body(BODY_BYTES_MAX).await?)?;
    let order: AttachOrder = documents::object(&text)?;
    let dataset = on_postgres(&state, &incoming)?;
    if matches!(dataset.membership().standing, OwnStanding::Evicted { .. }) {
        let hint = format!(
            "`{}` lets it join anew; attach it then if it was detached",
            dataset.way_back()
        );
        return Err(
            Problem::new(Kind::RegionEvicted, "nothing is captured from its server").hint(hint),
        );
    }
    let before = dataset.postgres().now();
    let choice = Choice {
        all: order.take,
        tables: order.take_in,
    };
    dataset.postgres().control().attach(choice);
    Ok(serialized(StatusCode::ACCEPTED, &before))
}

/// Captures from the dataset's server and writes to it no more, and drops the replication slot. So it
/// stays until it is attached again.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/postgres/detach",
    tag = "postgres",
    params(("dataset" = String, Path, description = "The dataset.")),
    responses(
        (status = 202, description = "It has begun.", body = PostgresStatus),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn detach(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let dataset = on_postgres(&state, &incoming)?;
    let before = dataset.postgres().now();
    dataset.postgres().control().detach();
    Ok(serialized(StatusCode::ACCEPTED, &before))
}

/// The dataset that the path names.
pub(super) fn on_postgres<'a>(
    state: &'a ApiState,
    incoming: &Incoming,
) -> Result<&'a DatasetHandle, Problem> {
    let name = incoming.dataset()?;
    let found = state
        .running()
        .find(|dataset| dataset.name() == name && dataset.is_captured());
    found.ok_or_else(|| {
        let detail = format!("no dataset {name:?} on PostgreSQL runs in this region");
        Problem::new(Kind::DatasetNotServed, detail).hint("`meridian postgres status` lists them")
    })
}
