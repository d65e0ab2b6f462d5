//! The API's description of itself (OpenAPI 3.1), made from the handlers.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

/// An error reply (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what problem.rs writes by hand")]
pub(crate) struct Problem {
    /// What went wrong, as a stable relative reference: `/problems/NAME`.
    #[schema(rename = "type", example = "/problems/row-not-found")]
    kind: String,
    /// What went wrong, in general.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What went wrong this time.
    detail: String,
    /// What can be done about it.
    hint: Option<String>,
}

/// How much a read is sure to show, and how long it may wait for it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers that are read otherwise")]
pub(crate) struct ReadParameters {
    /// `eventual`, `session`, `causal` or `strong`; the dataset's own unless given.
    #[param(rename = "Meridian-Consistency", inline)]
    consistency: Option<String>,
    /// How long to wait for what that demands: `500ms`, say; 5s unless given, at most 60s.
    #[param(rename = "Meridian-Timeout", inline)]
    timeout: Option<String>,
}

/// What may be wrong with reading a row.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum RowProblems {
    /// Path, query or a header can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// The row is not there.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The row is in another version.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(#[to_schema] Problem),
    /// Table or key can't be.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
}

/// What may be wrong with a write.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum WriteProblems {
    /// Path, a header or the body can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// No dataset takes the table.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// The body took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(#[to_schema] Problem),
    /// The row has siblings, and the request would change one document.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// The row is in another version than the preconditions demand.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(#[to_schema] Problem),
    /// The body, a document or the transaction is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The request is understood and can't be carried out.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
    /// The write was handed on to another region, and what became of it is unknown.
    #[response(status = 504, content_type = "application/problem+json")]
    OutcomeUnknown(#[to_schema] Problem),
    /// The disk or its budget is used up; nothing was written.
    #[response(status = 507, content_type = "application/problem+json")]
    InsufficientStorage(#[to_schema] Problem),
}

/// What may be wrong with reading more than a row.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum ReadProblems {
    /// Path, query or a header can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// No dataset takes the table.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// A name or a parameter can't be.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
}

/// What may be wrong with a request that has a body and is no write of rows.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum BodyProblems {
    /// Path, query or the body can't be read.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(#[to_schema] Problem),
    /// The body took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Timeout(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The request is understood and can't be carried out.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
}

/// What may be wrong with the region.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) enum ServerProblems {
    /// The token is missing or wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] Problem),
    /// Something failed in the region.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(#[to_schema] Problem),
    /// The dataset, or the region for now, doesn't serve this; or what was asked for can't be had
    /// from other regions in time.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] Problem),
}

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", bearer);
    }
}

/// The document's source.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Meridian",
        description = "Tables that take writes in every region. Where a region asks for a token, \
                       every path but /livez and /readyz wants it."
    ),
    paths(
        super::rows::get,
        super::rows::put,
        super::rows::delete,
        super::increments::increment,
        super::transactions::execute,
        super::listing::tables,
        super::listing::rows,
        super::listing::checksum,
        super::status::status,
        super::replication::replication,
        super::conflicts::list,
        super::metrics::metrics,
        super::live::livez,
        super::live::readyz,
        super::members::change,
        super::backups::backup,
        super::integrity::integrity,
        super::integrity::compare,
        super::integrity::comparison,
        describe,
        super::faults::list,
        super::faults::begin,
        super::faults::lift,
        super::dead_letters::list,
        super::dead_letters::show,
        super::dead_letters::drop_it,
        super::dead_letters::retry,
        super::dead_letters::edit,
        super::aside::list,
        super::aside::show,
        super::aside::resubmit,
        super::aside::discard,
        super::parked::list,
        super::parked::show,
        super::parked::drop_it,
        super::parked::retry,
        super::parked::edit,
        super::regions::list,
        super::regions::add,
        super::regions::remove,
        super::regions::evict,
        super::postgres::attach,
        super::postgres::detach,
        super::health::health,
        super::route::explain,
        super::shifts::list,
        super::shifts::stage,
        super::shifts::show,
        super::shifts::discard,
        super::shifts::apply,
        super::shifts::undo,
        super::postgres_compare::compare,
        super::postgres_compare::comparison,
    ),
    modifiers(&BearerToken),
    security((), ("token" = [])),
)]
struct Description;

/// The API's OpenAPI document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Describes the API.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "region",
    responses((status = 200, description = "This document.", body = serde_json::Value)),
)]
pub(crate) async fn describe() -> axum::Json<utoipa::openapi::OpenApi> {
    axum::Json(openapi())
}
