//! Transactions over several rows, of one dataset.

use super::documents;
use super::incoming::Incoming;
use super::json::Json;
use super::members::{self, Texts};
use super::problem::{Kind, Problem};
use super::state::{ApiState, Target};
use super::writes::{self, Write};
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::Response;
use meridian_engine_kv::{Action, Outcome, Request as Transaction, RowOperation};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// The body: operations as text, so that each is read, and complained about, by itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operations<'a> {
    #[serde(borrow)]
    operations: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation<'a> {
    op: Op,
    table: String,
    key: String,
    #[serde(borrow, default, deserialize_with = "present")]
    document: Option<&'a RawValue>,
    field: Option<String>,
    by: Option<i64>,
    add: Option<Texts>,
    remove: Option<Texts>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Put,
    Delete,
    Increment,
    Members,
}

/// A transaction.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that is read otherwise")]
pub(crate) struct TransactionBody {
    /// What to do, one after another; at least one.
    operations: Vec<OperationBody>,
}

/// One operation of a transaction.
#[derive(serde::Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a body that is read otherwise")]
pub(crate) enum OperationBody {
    /// Write a row.
    Put {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The row's document: any JSON.
        document: serde_json::Value,
    },
    /// Remove a row.
    Delete {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
    },
    /// Increment a field of a row.
    Increment {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
        /// The amount.
        by: i64,
    },
    /// Add members to a field that is a set, and remove others.
    Members {
        /// The table.
        table: String,
        /// The row's key.
        key: String,
        /// The field.
        field: String,
        /// What is added: any JSON.
        add: Option<Vec<serde_json::Value>>,
        /// What is removed, as far as it was seen here.
        remove: Option<Vec<serde_json::Value>>,
    },
}

/// What a transaction did.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct TransactionReply {
    /// The version that it committed with; null where it came to nothing.
    version: Option<String>,
    /// The rows that it names, each once, as they are now.
    rows: Vec<TransactionRow>,
}

/// A row after a transaction.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct TransactionRow {
    /// The table.
    table: String,
    /// The row's key.
    key: String,
    /// Its version; null where it isn't there.
    version: Option<String>,
    /// Its document; null where it isn't there.
    document: serde_json::Value,
}

/// Executes a transaction: atomic here and everywhere.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    tag = "transactions",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body = TransactionBody,
    responses(
        (status = 200, description = "It is committed.", body = TransactionReply,
            headers(("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        super::acknowledged::Unconfirmed,
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn execute(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        if incoming.headers().contains_key(&name) {
            let detail = format!("{name} is about one row, a transaction is not");
            return Err(Problem::new(Kind::BadHeader, detail));
        }
    }
    let body_bytes_max = state.transaction_body_bytes_max();
    let mut write = Write::read(&state, &mut incoming, body_bytes_max).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let operations = parse(&text)?;
    let target = common_target(&state, &operations)?;
    let idempotency = write.idempotency.take();
    let transaction = Transaction {
        operations,
        preconditions: Vec::new(),
        idempotency,
    };
    drop(text);
    writes::execute(target.dataset, &write.session, transaction, |outcome| {
        Ok(shown(&outcome))
    })
    .await
}

pub(crate) fn parse(text: &str) -> Result<Vec<RowOperation>, Problem> {
    let Operations { operations } = documents::object(text)?;
    let indexed = operations.into_iter().enumerate();
    indexed
        .map(|(index, text)| operation(text).map_err(|problem| locate(problem, index)))
        .collect()
}

fn operation(text: &RawValue) -> Result<RowOperation, Problem> {
    let operation: Operation<'_> = documents::object(text.get())?;
    let Operation {
        op,
        table,
        key,
        document,
        field,
        by,
        add,
        remove,
    } = operation;
    if let (Op::Members, None, Some(field), None) = (op, document, &field, by) {
        let (add, remove) = (add.unwrap_or_default(), remove.unwrap_or_default());
        let action = members::action(field.clone(), add, remove)?;
        return Ok(RowOperation { table, key, action });
    }
    let others = add.or(remove);
    let action = match (op, document, field, by) {
        (op, ..) if others.is_some() => return Err(wrong_members(op)),
        (Op::Put, Some(document), None, None) => {
            documents::check(document.get())?;
            Action::Put {
                document: document.get().to_owned(),
            }
        }
        (Op::Delete, None, None, None) => Action::Delete,
        (Op::Increment, None, Some(field), Some(by)) => {
            documents::check_field(&field)?;
            Action::Increment { field, by }
        }
        (op, ..) => return Err(wrong_members(op)),
    };
    Ok(RowOperation { table, key, action })
}

fn wrong_members(op: Op) -> Problem {
    let members = match op {
        Op::Put => "a put has op, table, key and document",
        Op::Delete => "a delete has op, table and key",
        Op::Increment => "an increment has op, table, key, field and by",
        Op::Members => "a change of members has op, table, key, field, and add or remove or both",
    };
    Problem::new(
        Kind::BadBody,
        format!("{members}, all of them and no others"),
    )
}

/// Also a document that is `null` is one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn locate(problem: Problem, index: usize) -> Problem {
    problem
        .at(&format!("operation {index}"))
        .member("operation", index)
}

pub(super) fn common_target<'a>(
    state: &'a ApiState,
    operations: &[RowOperation],
) -> Result<Target<'a>, Problem> {
    let mut common: Option<(Target<'a>, &str)> = None;
    for (index, operation) in operations.iter().enumerate() {
        let table = operation.table.as_str();
        if common.is_some_and(|(_, first)| first == table) {
            continue;
        }
        let target = state
            .target(table)
            .map_err(|problem| locate(problem, index))?;
        match common {
            Some((first, first_table)) if first.dataset.name() != target.dataset.name() => {
                let detail = format!(
                    "table {first_table:?} is of dataset {:?}, table {table:?} of dataset {:?}",
                    first.dataset.name(),
                    target.dataset.name(),
                );
                return Err(locate(
                    Problem::new(Kind::SeveralDatasets, detail)
                        .hint("send one transaction for each dataset"),
                    index,
                ));
            }
            Some(_) => {}
            None => common = Some((target, table)),
        }
    }
    common.map(|(target, _)| target).ok_or_else(|| {
        Problem::new(Kind::EmptyTransaction, "the transaction has no operations")
            .hint("give at least one")
    })
}

pub(super) fn shown(outcome: &Outcome) -> Response {
    let mut json = Json::default();
    json.raw("{\"version\":")
        .version(outcome.version)
        .raw(",\"rows\":");
    json.list(&outcome.rows, |json, row| {
        json.raw("{\"table\":").string(&row.table);
        json.raw(",\"key\":").string(&row.key);
        json.raw(",\"version\":").version(row.version);
        json.raw(",\"document\":")
            .document(row.document.as_deref())
            .raw("}");
    });
    json.raw("}");
    json.reply()
}
