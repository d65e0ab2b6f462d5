//! Drains and shifts: staged, shown, applied, undone, remembered.
//!
//! ```text
//! POST /v1/shifts ──▶ a stage, with what it would change ──POST …/apply──▶ a change, by its version
//!                       │                                                     │
//!                       └──DELETE──▶ nothing happened          POST …/undo ◀──┘
//! ```

use super::documents;
use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::shift_reports::{AppliedReport, ShiftList, ShiftReport, StageReport, refused};
use super::shift_requests::{self, ApplyRequest, StageRequest, UndoRequest};
use super::state::ApiState;
use crate::dataset::describe;
use crate::steering::{Applied, ApplyError, Steering};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_model::Version;
use serde::de::DeserializeOwned;

/// No request about shifts is nearly as long.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Lists what is wanted of the regions, what was, and what is staged in this region.
#[utoipa::path(
    get,
    path = "/v1/shifts",
    tag = "steering",
    responses(
        (status = 200, description = "Drains and shifts.", body = ShiftList),
        (status = 400, description = "The query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    let steering = &state.api().steering;
    Ok(serialized(StatusCode::OK, &ShiftList::of(steering)))
}

/// Stages drains and shifts: shows what they would change, and changes nothing.
#[utoipa::path(
    post,
    path = "/v1/shifts",
    tag = "steering",
    request_body = StageRequest,
    responses(
        (status = 201, description = "It is staged in this region, until it is applied, discarded \
            or the region restarts.", body = StageReport),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn stage(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let asked: StageRequest = read(&mut incoming).await?;
    let steering = &state.api().steering;
    let wants = shift_requests::wants(&asked, &steering.now())?;
    let (who, why) = shift_requests::signed(&asked.who, &asked.why)?;
    let staged = steering.stage(&wants, who, why);
    let report = StageReport::of(steering, &staged);
    Ok(serialized(StatusCode::CREATED, &report))
}

/// Shows a stage, or a change that is remembered.
#[utoipa::path(
    get,
    path = "/v1/shifts/{id}",
    tag = "steering",
    params(("id" = String, Path, description = "A stage's id, or a change's version.")),
    responses(
        (status = 200, description = "The stage, or the change.", body = ShiftReport),
        (status = 400, description = "Path or query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "Neither is there.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let id = incoming.id_alone()?;
    let steering = &state.api().steering;
    if let Some(staged) = steering.stage_of(&id) {
        let report = ShiftReport::Staged(StageReport::of(steering, &staged));
        return Ok(serialized(StatusCode::OK, &report));
    }
    let ledger = steering.ledger();
    let version = id.parse::<Version>().ok();
    let mut changes = ledger.changes().into_iter();
    match changes.find(|change| Some(change.version) == version) {
        Some(change) => {
            let report = ShiftReport::Applied(AppliedReport::of(&change));
            Ok(serialized(StatusCode::OK, &report))
        }
        None => Err(not_found(&id)),
    }
}

/// Discards a stage.
#[utoipa::path(
    delete,
    path = "/v1/shifts/{id}",
    tag = "steering",
    params(("id" = String, Path, description = "The stage's id.")),
    responses(
        (status = 204, description = "It is forgotten."),
        (status = 400, description = "Path or query can't be read.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such stage here.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn discard(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let id = incoming.id_alone()?;
    if !state.api().steering.discard(&id) {
        return Err(not_found(&id));
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// Puts a stage into effect, here at once and in the other regions as soon as they hear of it.
#[utoipa::path(
    post,
    path = "/v1/shifts/{id}/apply",
    tag = "steering",
    params(("id" = String, Path, description = "The stage's id.")),
    request_body = ApplyRequest,
    responses(
        (status = 200, description = "It is in effect.", body = AppliedReport),
        (status = 404, description = "There is no such stage here.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not safe, changes nothing, or somebody else has \
            changed the same meanwhile.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room to keep it; nothing has changed.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn apply(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let id = incoming.id_alone()?.into_owned();
    let asked: ApplyRequest = read(&mut incoming).await?;
    let steering = state.api().steering.clone();
    let staged = steering.stage_of(&id).ok_or_else(|| not_found(&id))?;
    let (who, why) = (staged.who, staged.why);
    let applied = in_background(steering.clone(), move |steering| {
        steering.apply(&staged.stage, &who, &why, asked.force)
    });
    let applied = applied.await?;
    steering.discard(&id);
    Ok(reply(&applied))
}

/// Takes back what still stands of a change, as a change of its own.
#[utoipa::path(
    post,
    path = "/v1/shifts/{id}/undo",
    tag = "steering",
    params(("id" = String, Path, description = "The change's version.")),
    request_body = UndoRequest,
    responses(
        (status = 200, description = "It is taken back.", body = AppliedReport),
        (status = 404, description = "No such change is remembered.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not safe, or nothing of the change stands.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room to keep it; nothing has changed.",
            body = super::openapi::Problem, content_type = "application/problem+json"),
        super::openapi::BodyProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn undo(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let id = incoming.id_alone()?.into_owned();
    let asked: UndoRequest = read(&mut incoming).await?;
    let steering = state.api().steering.clone();
    let why = asked.why.unwrap_or_else(|| format!("undo {id}"));
    let (who, why) = shift_requests::signed(&asked.who, &why)?;
    let (who, why) = (who.to_owned(), why.to_owned());
    let version: Version = id.parse().map_err(|_| not_found(&id))?;
    let stage = steering.undoing(version).ok_or_else(|| not_found(&id))?;
    let applied = in_background(steering, move |steering| {
        steering.apply(&stage, &who, &why, asked.force)
    });
    Ok(reply(&applied.await?))
}

/// What is applied is made durable, which takes a disk's time.
async fn in_background(
    steering: Steering,
    apply: impl FnOnce(Steering) -> Result<Applied, ApplyError> + Send + 'static,
) -> Result<Applied, Problem> {
    let applied = tokio::task::spawn_blocking(move || apply(steering)).await;
    let applied = applied.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    applied.map_err(|error| match error {
        ApplyError::Refused(reason) => refused(&reason),
        ApplyError::Keep(error) => {
            let kind = if error.disk_full() {
                Kind::DiskFull
            } else {
                Kind::Internal
            };
            Problem::new(kind, describe(&error)).hint("nothing has changed; see the region's disk")
        }
        ApplyError::Clock(error) => Problem::new(Kind::Internal, error.to_string()),
    })
}

fn reply(applied: &Applied) -> Response {
    serialized(StatusCode::OK, &AppliedReport::new(applied))
}

async fn read<T: DeserializeOwned>(incoming: &mut Incoming) -> Result<T, Problem> {
    let body = incoming.read_body(BODY_BYTES_MAX).await?;
    let text = documents::text(body)?;
    documents::object(if text.is_empty() { "{}" } else { &text })
}

fn not_found(id: &str) -> Problem {
    Problem::new(
        Kind::ShiftNotFound,
        format!("there is no shift {id:?} here"),
    )
    .hint(
        "GET /v1/shifts lists stages and changes; a stage is known only in the region that it was \
         made in, until that restarts",
    )
}
