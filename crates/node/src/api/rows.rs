//! One row: read it, write it, remove it.

use super::consistency::Read;
use super::documents;
use super::incoming::Incoming;
use super::json::{Json, etag, reply};
use super::listing::unreadable;
use super::preconditions;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::writes::{self, Write};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use meridian_engine_kv::{
    Action, Outcome, Request as Transaction, RowOperation, RowOutcome, RowView, SiblingView,
};
use utoipa::ToSchema;

/// Reads a row.
#[utoipa::path(
    get,
    path = "/v1/tables/{table}/rows/{key}",
    tag = "rows",
    params(
        ("table" = String, Path, description = "The table."),
        ("key" = String, Path, description = "The row's key, percent-encoded; any character."),
        ("If-None-Match" = Option<String>, Header, description = "Versions that are known already."),
        ("If-Match" = Option<String>, Header, description = "Versions one of which is wanted."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
        super::openapi::ReadParameters,
    ),
    responses(
        (status = 200, description = "The row's document.", body = serde_json::Value,
            headers(("ETag" = String), ("Meridian-Session" = String), ("Meridian-Consistency" = String))),
        (status = 300, description = "The row has siblings: documents that were written without \
            knowledge of each other. A PUT whose If-Match lists their versions resolves them.",
            body = SiblingsReply, headers(("ETag" = String), ("Meridian-Session" = String))),
        (status = 304, description = "The row is in one of the versions of If-None-Match."),
        super::openapi::RowProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn get(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let (table, key) = (incoming.table()?, incoming.key()?);
    let target = state.target(&table)?;
    target.check_key(&key)?;
    let read = Read::begin(&state, incoming.headers(), [target.dataset]).await?;
    let row = target
        .dataset
        .tables()
        .get(&table, &key)
        .map_err(|error| unreadable(target.dataset, &error))?;
    let stamp = read.end().await?;
    let Some(row) = row else {
        let detail = format!("table {table:?} has no row {key:?}");
        return Err(stamp.on_problem(Problem::new(Kind::RowNotFound, detail)));
    };
    let version = row.version;
    let demanded = demanded(incoming.headers(), &row);
    let status = match demanded {
        Ok(status) => status,
        Err(problem) => return Err(stamp.on_problem(problem)),
    };
    let mut response = match status {
        StatusCode::NOT_MODIFIED => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        _ if !row.siblings.is_empty() => siblings(&row),
        status => reply(status, row.document),
    };
    response.headers_mut().insert(header::ETAG, etag(version));
    stamp.on(response.headers_mut());
    Ok(response)
}

/// A row with siblings: the client has the choice.
fn siblings(row: &RowView) -> Response {
    let mut json = Json::default();
    json.raw("{\"siblings\":");
    write_siblings(&mut json, &row.siblings);
    json.raw("}");
    let mut response = json.reply();
    *response.status_mut() = StatusCode::MULTIPLE_CHOICES;
    response
}

/// The documents that stand side by side, newest first.
pub(crate) fn write_siblings(json: &mut Json, siblings: &[SiblingView]) {
    json.list(siblings, |json, sibling| {
        json.raw("{\"version\":").version(Some(sibling.version));
        json.raw(",\"document\":").raw(&sibling.document).raw("}");
    });
}

/// The documents of a row with siblings.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct SiblingsReply {
    /// The newest first; the client writes one document, with all of these versions in If-Match.
    siblings: Vec<SiblingRecord>,
}

/// One of several documents of a row.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct SiblingRecord {
    /// Its version.
    version: String,
    /// The document: any JSON.
    document: serde_json::Value,
}

/// The status that a read's preconditions lead to.
fn demanded(headers: &HeaderMap, row: &RowView) -> Result<StatusCode, Problem> {
    let wanted = preconditions::if_match(headers)?;
    if wanted.is_some_and(|tags| !preconditions::include(&tags, row)) {
        return Err(
            Problem::new(Kind::PreconditionFailed, "the row is in another version")
                .member("version", row.version.to_string()),
        );
    }
    let known = preconditions::if_none_match(headers)?;
    let is_known = known.is_some_and(|tags| preconditions::include(&tags, row));
    Ok(if is_known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    })
}

/// Writes a row.
#[utoipa::path(
    put,
    path = "/v1/tables/{table}/rows/{key}",
    tag = "rows",
    params(
        ("table" = String, Path, description = "The table."),
        ("key" = String, Path, description = "The row's key, percent-encoded; any character."),
        ("If-Match" = Option<String>, Header, description = "The versions that may be replaced."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if it isn't there."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body(content = serde_json::Value, description = "The row's document: any JSON."),
    responses(
        (status = 200, description = "The row was there; its document now.", body = serde_json::Value,
            headers(("ETag" = String), ("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        (status = 201, description = "The row was not there; its document now.", body = serde_json::Value,
            headers(("ETag" = String), ("Meridian-Session" = String))),
        super::acknowledged::Unconfirmed,
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn put(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let (table, key) = (incoming.table()?.into_owned(), incoming.key()?.into_owned());
    let target = state.target(&table)?;
    let body_bytes_max = target.document_bytes_max();
    let mut write = Write::read(&state, &mut incoming, body_bytes_max).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let document = documents::document(text)?;
    let transaction = of_row(
        incoming.headers(),
        table,
        key,
        Action::Put { document },
        &mut write,
    )?;
    writes::execute(target.dataset, &write.session, transaction, written).await
}

/// Removes a row.
#[utoipa::path(
    delete,
    path = "/v1/tables/{table}/rows/{key}",
    tag = "rows",
    params(
        ("table" = String, Path, description = "The table."),
        ("key" = String, Path, description = "The row's key, percent-encoded; any character."),
        ("If-Match" = Option<String>, Header, description = "The versions that may be removed."),
        ("If-None-Match" = Option<String>, Header, description = "The versions that may not."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 204, description = "The row is not there any more, whether or not it was.",
            headers(("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        super::acknowledged::Unconfirmed,
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn delete(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let (table, key) = (incoming.table()?.into_owned(), incoming.key()?.into_owned());
    let target = state.target(&table)?;
    let body_bytes_max = target.document_bytes_max();
    let mut write = Write::read(&state, &mut incoming, body_bytes_max).await?;
    let transaction = of_row(incoming.headers(), table, key, Action::Delete, &mut write)?;
    writes::execute(target.dataset, &write.session, transaction, |_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    })
    .await
}

/// The transaction of one operation on one row, with what the request's headers say.
pub(crate) fn of_row(
    headers: &HeaderMap,
    table: String,
    key: String,
    action: Action,
    write: &mut Write<'_>,
) -> Result<Transaction, Problem> {
    Ok(Transaction {
        preconditions: preconditions::of_row(headers, &table, &key)?,
        idempotency: write.idempotency.take(),
        operations: vec![RowOperation { table, key, action }],
    })
}

/// The reply that shows the one row of a transaction.
pub(crate) fn written(outcome: Outcome) -> Result<Response, Problem> {
    let row = outcome
        .rows
        .into_iter()
        .next()
        .ok_or_else(writes::missing_outcome)?;
    match row {
        RowOutcome {
            created,
            version: Some(version),
            document: Some(document),
            ..
        } => {
            let status = if created {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            let mut response = reply(status, document);
            response.headers_mut().insert(header::ETAG, etag(version));
            Ok(response)
        }
        // A replayed request shows the row as it is now: removed since.
        _ => Ok(reply(StatusCode::OK, "null")),
    }
}
