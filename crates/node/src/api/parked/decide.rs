//! What becomes of a parked row: tried again, edited or dropped.
//!
//! An edit or a drop is a transaction in the tables beside the servers, of the region that is asked;
//! it reaches the other regions and all servers like any other. It is made only as long as the row
//! is parked here, in the version that was read. Trying again is no write: the row is as old as it
//! was, so what it comes to is the same in every region.

use super::{dataset, hindrance, not_connected, not_parked};
use crate::api::documents;
use crate::api::incoming::Incoming;
use crate::api::json::serialized;
use crate::api::openapi;
use crate::api::preconditions::if_match;
use crate::api::problem::{Kind, Problem};
use crate::api::state::ApiState;
use crate::api::transactions::{self, TransactionReply};
use crate::api::writes::{self, Write};
use crate::dataset::DatasetHandle;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_engine_kv::{
    Action, Precondition, PreconditionKind, Request as Transaction, RowOperation, RowView, Tags,
};
use meridian_engine_postgres::projection::Hindrance;
use meridian_model::RowName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use utoipa::ToSchema;

/// How long a retry is waited for.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a body where none is wanted.
const NO_BODY_BYTES_MAX: usize = 64 << 10;

/// What a retry came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetryReply {
    /// Whether the row is still parked here.
    parked: bool,
    /// Why, if so.
    detail: Option<String>,
}

/// Which columns get other values.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParkedEdit {
    /// By column its value: a text as PostgreSQL reads it, a number, true, false, or null.
    #[schema(value_type = Object)]
    set: Map<String, Value>,
}

/// Has a parked row decided about again, now.
#[utoipa::path(
    post,
    path = "/v1/parked/{table}/{key}/retry",
    tag = "parked rows",
    params(
        ("table" = String, Path, description = "The table, with its schema."),
        ("key" = String, Path, description = "The row's key, percent-encoded."),
    ),
    responses(
        (status = 200, description = "It was decided about.", body = RetryReply),
        openapi::ReadProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let row = incoming.row()?;
    let dataset = dataset(&state, &row)?;
    hindrance(dataset, &row)?;
    let parked = dataset.postgres().parked();
    let decided = tokio::time::timeout(RETRY_TIMEOUT, parked.retry(row.clone())).await;
    if !matches!(decided, Ok(Ok(()))) {
        return Err(not_connected(dataset));
    }
    let why = parked.get(&row);
    let reply = RetryReply {
        parked: why.is_some(),
        detail: why.map(|why| why.to_string()),
    };
    Ok(serialized(StatusCode::OK, &reply))
}

/// Writes a parked row anew with other values in some columns.
#[utoipa::path(
    post,
    path = "/v1/parked/{table}/{key}/edit",
    tag = "parked rows",
    params(
        ("table" = String, Path, description = "The table, with its schema."),
        ("key" = String, Path, description = "The row's key, percent-encoded."),
        ("If-Match" = Option<String>, Header, description = "The version that was read."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body = ParkedEdit,
    responses(
        (status = 200, description = "It is written, in all regions once it reaches them.",
            body = TransactionReply, headers(("Meridian-Session" = String))),
        openapi::WriteProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn edit(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let row = incoming.row()?;
    let dataset = dataset(&state, &row)?;
    let bytes_max = state.target(&row.table)?.document_bytes_max();
    let mut write = Write::read(&state, &mut incoming, bytes_max).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let ParkedEdit { set } = documents::object(&text)?;
    let parked = dataset.postgres().parked();
    let columns = Columns {
        key: parked.key_of(&row).unwrap_or_default(),
        counters: parked.counters_of(&row.table),
        lacks: match hindrance(dataset, &row) {
            Ok(Hindrance::Incomplete { column }) => Some(column),
            _ => None,
        },
    };
    let action = move |now: &RowView| {
        let document = edited(&now.document, set, &columns)?;
        Ok(Action::Put { document })
    };
    let wanted = if_match(incoming.headers())?;
    decide(dataset, wanted, write, row, action).await
}

/// Deletes a parked row, in every region.
#[utoipa::path(
    delete,
    path = "/v1/parked/{table}/{key}",
    tag = "parked rows",
    params(
        ("table" = String, Path, description = "The table, with its schema."),
        ("key" = String, Path, description = "The row's key, percent-encoded."),
        ("If-Match" = Option<String>, Header, description = "The version that was read."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 200, description = "It is deleted, in all regions once that reaches them.",
            body = TransactionReply, headers(("Meridian-Session" = String))),
        openapi::WriteProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn drop_it(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let row = incoming.row()?;
    let dataset = dataset(&state, &row)?;
    let write = Write::read(&state, &mut incoming, NO_BODY_BYTES_MAX).await?;
    if !write.body.is_empty() {
        let problem = Problem::new(Kind::BadBody, "a drop takes no body");
        return Err(problem.hint("to give other values, POST to …/edit"));
    }
    let wanted = if_match(incoming.headers())?;
    decide(dataset, wanted, write, row, |_| Ok(Action::Delete)).await
}

/// Writes to a row that is parked, in the version that the client names, or in which it is now.
async fn decide(
    dataset: &DatasetHandle,
    wanted: Option<Tags>,
    mut write: Write<'_>,
    row: RowName,
    action: impl FnOnce(&RowView) -> Result<Action, Problem> + Send,
) -> Result<Response, Problem> {
    let tables = dataset.tables();
    let now = tables.get(&row.table, &row.key);
    let now = now.map_err(|error| Problem::tables(&error))?;
    let parked = hindrance(dataset, &row);
    let idempotency = write.idempotency.take();
    let (action, tags) = match (parked, now) {
        (Ok(_), Some(now)) => {
            let tags = wanted.unwrap_or_else(|| Tags::Versions(vec![now.version.to_string()]));
            (action(&now)?, tags)
        }
        // Sent again after it was carried out: the tables remember, and nothing else fits no tag.
        (Err(problem), _) if problem.is(Kind::ParkedNotFound) && idempotency.is_some() => {
            (Action::Delete, Tags::Versions(Vec::new()))
        }
        (Ok(_), None) => return Err(not_parked(&row)),
        (Err(problem), _) => return Err(problem),
    };
    let is_over = matches!(&tags, Tags::Versions(tags) if tags.is_empty());
    let RowName { table, key } = row.clone();
    let transaction = Transaction {
        preconditions: vec![Precondition {
            table: table.clone(),
            key: key.clone(),
            kind: PreconditionKind::IfMatch(tags),
        }],
        operations: vec![RowOperation { table, key, action }],
        idempotency,
    };
    let shown = |outcome| Ok(transactions::shown(&outcome));
    let done = writes::carry_out(dataset, &write.session, transaction, shown).await;
    done.map_err(|problem| {
        if is_over && problem.is(Kind::PreconditionFailed) {
            return not_parked(&row);
        }
        problem
    })
}

/// What is known of a parked row's columns.
struct Columns {
    /// Those of its key, with their values.
    key: BTreeMap<String, String>,
    counters: BTreeSet<String>,
    /// One that it has to have, and lacks.
    lacks: Option<String>,
}

/// A document with other values in some of its columns. One that is all that was left of a deleted row
/// lacks a column, which may be set, and its key.
fn edited(document: &str, set: Map<String, Value>, of: &Columns) -> Result<String, Problem> {
    let lacks = of.lacks.as_deref();
    let unreadable = |error: serde_json::Error| Problem::new(Kind::Internal, error.to_string());
    let mut columns: Map<String, Value> = serde_json::from_str(document).map_err(unreadable)?;
    if set.is_empty() {
        let problem = Problem::new(Kind::BadBody, "set names no column");
        return Err(problem.hint("to have the row tried as it is, POST to …/retry"));
    }
    if let Some(lacks) = lacks.filter(|lacks| !set.contains_key(*lacks)) {
        let detail = format!("the row has no {lacks}, and stays parked without");
        let hint = format!("set column {lacks} too");
        return Err(Problem::new(Kind::BadBody, detail).hint(hint));
    }
    for (column, value) in set {
        if of.key.contains_key(&column) {
            let detail = format!("column {column:?} is of the key, which names the row");
            let hint = "drop the row, and insert one with another key by SQL";
            return Err(Problem::new(Kind::BadBody, detail).hint(hint));
        }
        if !columns.contains_key(&column) && lacks != Some(&*column) {
            let known = columns.keys().map(String::as_str).chain(lacks);
            let known: Vec<&str> = known.collect();
            let detail = format!("the row has no column {column:?}");
            let hint = format!("its columns are {}", known.join(", "));
            return Err(Problem::new(Kind::BadBody, detail).hint(hint));
        }
        let value = match of.counters.contains(&column) {
            true => counted(&column, &value)?,
            false => text_of(value),
        };
        columns.insert(column, value);
    }
    if lacks.is_some() {
        for (column, text) in &of.key {
            let own = || Value::String(text.clone());
            columns.entry(column.clone()).or_insert_with(own);
        }
    }
    Ok(Value::Object(columns).to_string())
}

/// A counter's value as it stands in a document.
fn counted(column: &str, value: &Value) -> Result<Value, Problem> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_str().parse().ok(),
        _ => None,
    };
    number
        .map(|number: i128| Value::Number(number.into()))
        .ok_or_else(|| {
            let detail = format!("column {column:?} is a counter, and {value} is no whole number");
            Problem::new(Kind::BadBody, detail)
        })
}

/// Any other column's.
fn text_of(value: Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value,
        other => Value::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns(lacks: Option<&str>) -> Columns {
        Columns {
            key: BTreeMap::from([("id".to_owned(), "7".to_owned())]),
            counters: ["n", "balance"].map(str::to_owned).into(),
            lacks: lacks.map(str::to_owned),
        }
    }

    fn edit(set: Value) -> Result<Value, Problem> {
        let document = r#"{"id":"7","email":"a@b","n":5,"flag":"t"}"#;
        let Value::Object(set) = set else {
            panic!("an object");
        };
        let text = edited(document, set, &columns(None))?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn values_become_texts_and_counters_stay_numbers() {
        let row = edit(json!({"email": null, "n": "8", "flag": false})).unwrap();
        assert_eq!(
            row,
            json!({"id": "7", "email": null, "n": 8, "flag": "false"})
        );
        let row = edit(json!({"email": 12, "n": 9})).unwrap();
        assert_eq!(row, json!({"id": "7", "email": "12", "n": 9, "flag": "t"}));
    }

    #[test]
    fn a_counter_is_a_whole_number() {
        for bad in ["zz", "", "1.5", "true", "9223372036854775808"] {
            assert_eq!(edit(json!({"n": bad})).unwrap_err().kind(), Kind::BadBody);
        }
        for bad in [json!(null), json!(1.5), json!(true), json!([1])] {
            assert_eq!(edit(json!({"n": bad})).unwrap_err().kind(), Kind::BadBody);
        }
        assert_eq!(edit(json!({"n": "-8"})).unwrap()["n"], json!(-8));
    }

    #[test]
    fn what_is_no_column_or_the_key_is_refused() {
        for bad in [json!({}), json!({"id": "8"}), json!({"nmae": "x"})] {
            assert_eq!(edit(bad).unwrap_err().kind(), Kind::BadBody);
        }
    }

    #[test]
    fn what_was_left_of_a_deleted_row_takes_the_column_that_it_lacks() {
        let left = r#"{"name":"still here"}"#;
        let edit = |set: Value| {
            let Value::Object(set) = set else {
                panic!("an object");
            };
            let text = edited(left, set, &columns(Some("balance")))?;
            Ok::<Value, Problem>(serde_json::from_str(&text).unwrap())
        };
        let whole = edit(json!({"balance": "7"})).unwrap();
        assert_eq!(
            whole,
            json!({"id": "7", "name": "still here", "balance": 7})
        );
        for bad in [
            json!({"name": "back"}),
            json!({"balance": 7, "other": 1}),
            json!({"balance": "zz"}),
        ] {
            assert_eq!(edit(bad).unwrap_err().kind(), Kind::BadBody);
        }
    }
}
