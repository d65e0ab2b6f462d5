//! Comparing a dataset's PostgreSQL server with the tables beside it.

use super::documents;
use super::incoming::Incoming;
use super::json::serialized;
use super::postgres::on_postgres;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use crate::postgres::{CheckOrder, ServerComparison, Side};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

const BODY_BYTES_MAX: usize = 1 << 20;

/// What to compare, and what to do about rows that differ.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerCompareOrder {
    /// These tables; all where none is named.
    #[serde(default)]
    tables: Vec<String>,
    /// Whether rows are written again that the server lacks, or has in an older state.
    #[serde(default)]
    repair: bool,
    /// A person's decision about rows of which nobody knows where the server's state comes from: the
    /// server's become writes of this region, or the regions' are written into the server.
    take: Option<Side>,
    /// How many rows a second at most.
    rows_per_second_max: Option<u64>,
}

/// Compares the server's rows with those of the regions, and mends them if asked to. The reply comes at
/// once; the comparison goes on.
#[utoipa::path(
    post,
    path = "/v1/datasets/{dataset}/postgres/comparisons",
    tag = "postgres",
    params(("dataset" = String, Path, description = "The dataset.")),
    request_body = ServerCompareOrder,
    responses(
        (status = 202, description = "It has begun.", body = ServerComparison),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn compare(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let text = documents::text(incoming.read_body(BODY_BYTES_MAX).await?)?;
    let order: ServerCompareOrder = documents::object(&text)?;
    if order.take.is_some() && !order.repair {
        let problem = Problem::new(Kind::BadBody, "`take` is carried out with `repair`");
        return Err(problem.hint("set `repair`"));
    }
    let dataset = on_postgres(&state, &incoming)?;
    let order = CheckOrder {
        tables: order.tables.into_iter().collect(),
        repair: order.repair,
        take: order.take,
        rows_per_second_max: order.rows_per_second_max,
    };
    let begun = dataset.postgres().begin_comparison(dataset, order);
    let comparison = begun.ok_or_else(|| {
        let detail = "the server is being compared already, or the region is only just starting";
        Problem::new(Kind::TooBusy, detail)
            .hint("wait until that has ended")
            .retry_after(5)
    })?;
    Ok(serialized(StatusCode::ACCEPTED, &comparison))
}

/// Shows a comparison of the server that was asked for.
#[utoipa::path(
    get,
    path = "/v1/datasets/{dataset}/postgres/comparisons",
    tag = "postgres",
    params(
        ("dataset" = String, Path, description = "The dataset."),
        ("id" = u64, Query, description = "The comparison's id."),
    ),
    responses(
        (status = 200, description = "How far it is, or what it found.", body = ServerComparison),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn comparison(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [id] = incoming.query(["id"])?;
    let id: u64 = id.and_then(|id| id.parse().ok()).ok_or_else(|| {
        Problem::new(
            Kind::BadQuery,
            "id is the number that the comparison was given",
        )
    })?;
    let dataset = on_postgres(&state, &incoming)?;
    let found = dataset.postgres().comparisons().get(id).ok_or_else(|| {
        let detail = format!("no comparison {id} of this server is known here");
        Problem::new(Kind::UnknownPath, detail)
            .hint("the last 16 since the region started are kept")
    })?;
    Ok(serialized(StatusCode::OK, &found))
}
