//! Faults on purpose: asked for, shown, lifted. Only where the region was started for it.

use super::documents;
use super::fault_request::{FaultBody, Wanted, read};
use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::timestamp::rfc_3339;
use crate::faults::{ActiveFault, Faults, crash_soon};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_model::Micros;
use serde::Serialize;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// No request for a fault is nearly as long.
const BODY_BYTES_MAX: usize = 64 << 10;

/// A fault at work.
#[derive(Serialize, ToSchema)]
pub(crate) struct FaultReport {
    /// Names it. None for a crash, which nothing can lift.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// partition, latency, loss, slow-disk, full-disk, clock-offset or crash.
    kind: &'static str,
    /// What it does, for people.
    what: String,
    /// The peers that it is about; none where it is about this region alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<String>,
    /// When the region lifts it by itself (RFC 3339). None for a crash.
    until: Option<String>,
    /// How long that still is.
    remaining_seconds: Option<f64>,
}

/// The faults at work.
#[derive(Serialize, ToSchema)]
pub(crate) struct FaultList {
    /// The one that ends first first.
    faults: Vec<FaultReport>,
}

impl FaultReport {
    fn of(active: &ActiveFault) -> Self {
        let since_1970 = active.until.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
        Self {
            id: Some(active.id.clone()),
            kind: active.fault.kind(),
            what: active.fault.to_string(),
            peers: active.fault.peers().to_vec(),
            until: Some(rfc_3339(Micros(micros))),
            remaining_seconds: Some(active.remaining().as_secs_f64()),
        }
    }
}

/// The region's faults at work; `None` where none may be asked for.
pub(crate) fn at_work(state: &ApiState) -> Option<Vec<FaultReport>> {
    let faults = state.api().faults.as_ref()?;
    Some(faults.list().iter().map(FaultReport::of).collect())
}

fn allowed(state: &ApiState) -> Result<&Faults, Problem> {
    state.api().faults.as_ref().ok_or_else(|| {
        Problem::new(
            Kind::FaultsNotAllowed,
            "this region was not started with faults allowed",
        )
        .hint("faults are for drills: start the region with --allow-faults")
    })
}

/// Begins a fault.
#[utoipa::path(
    post,
    path = "/v1/faults",
    tag = "faults",
    request_body = FaultBody,
    responses(
        (status = 201, description = "It is at work.", body = FaultReport),
        (status = 202, description = "The process ends now (crash).", body = FaultReport),
        (status = 403, description = "The region was not started with faults allowed.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another fault does that already; `fault` is its id.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn begin(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let faults = allowed(&state)?;
    let body = incoming.read_body(BODY_BYTES_MAX).await?;
    let text = documents::text(body)?;
    match read(&state, documents::object(&text)?)? {
        Wanted::Crash => {
            crash_soon();
            let report = FaultReport {
                id: None,
                kind: "crash",
                what: "this process ends at once".to_owned(),
                peers: Vec::new(),
                until: None,
                remaining_seconds: None,
            };
            Ok(serialized(StatusCode::ACCEPTED, &report))
        }
        Wanted::Fault { fault, lasts } => {
            let begun = faults.begin(fault, lasts).map_err(|overlap| {
                Problem::new(Kind::FaultOverlaps, overlap.to_string())
                    .hint(format!("lift it first: DELETE /v1/faults/{}", overlap.id))
                    .member("fault", overlap.id)
            })?;
            Ok(serialized(StatusCode::CREATED, &FaultReport::of(&begun)))
        }
    }
}

/// Lists the faults at work.
#[utoipa::path(
    get,
    path = "/v1/faults",
    tag = "faults",
    responses(
        (status = 200, description = "The faults.", body = FaultList),
        (status = 400, description = "The query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The region was not started with faults allowed.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    allowed(&state)?;
    let faults = at_work(&state).unwrap_or_default();
    Ok(serialized(StatusCode::OK, &FaultList { faults }))
}

/// Lifts a fault before its time.
#[utoipa::path(
    delete,
    path = "/v1/faults/{id}",
    tag = "faults",
    params(("id" = String, Path, description = "The fault's id.")),
    responses(
        (status = 204, description = "It is lifted."),
        (status = 400, description = "Path or query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 403, description = "The region was not started with faults allowed.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "It is not at work, perhaps not any more.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn lift(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let id = incoming.id_alone()?;
    let faults = allowed(&state)?;
    if faults.lift(&id) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    }
    Err(
        Problem::new(Kind::FaultNotFound, format!("no fault {id:?} is at work"))
            .hint("a fault ends by itself at its time; GET /v1/faults lists those at work"),
    )
}
