//! Incrementing a field of a row.

use super::documents;
use super::incoming::Incoming;
use super::problem::Problem;
use super::rows;
use super::state::ApiState;
use super::writes::{self, Write};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use meridian_engine_kv::Action;
use serde::Deserialize;
use utoipa::ToSchema;

/// Which field grows by how much.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Increment {
    /// The field of the row's document; a missing one starts at 0.
    field: String,
    /// The amount, negative to take away.
    by: i64,
}

/// Increments a field; concurrent increments add up, in other regions too.
#[utoipa::path(
    post,
    path = "/v1/tables/{table}/rows/{key}/increment",
    tag = "rows",
    params(
        ("table" = String, Path, description = "The table."),
        ("key" = String, Path, description = "The row's key, percent-encoded; a missing row starts empty."),
        ("If-Match" = Option<String>, Header, description = "The versions that may be incremented."),
        ("If-None-Match" = Option<String>, Header, description = "The versions that may not."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body = Increment,
    responses(
        (status = 200, description = "The row's document now.", body = serde_json::Value,
            headers(("ETag" = String), ("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        super::acknowledged::Unconfirmed,
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn increment(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let (table, key) = (incoming.table()?.into_owned(), incoming.key()?.into_owned());
    let target = state.target(&table)?;
    let mut write = Write::read(&state, &mut incoming, target.increment_bytes_max()).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let Increment { field, by } = documents::object(&text)?;
    documents::check_field(&field)?;
    let action = Action::Increment { field, by };
    let transaction = rows::of_row(incoming.headers(), table, key, action, &mut write)?;
    writes::execute(target.dataset, &write.session, transaction, |outcome| {
        let mut response = rows::written(outcome)?;
        // That it created the row shows in nothing: the contract has 200 alone.
        *response.status_mut() = StatusCode::OK;
        Ok(response.into_response())
    })
    .await
}
