//! One dead letter, whole: what it would do, in the shape that an edit takes.

use super::list::{DeadLetter, summary};
use super::{find, letter_id, not_found};
use crate::api::documents;
use crate::api::incoming::Incoming;
use crate::api::json::Json;
use crate::api::listing::read;
use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::api::transactions::OperationBody;
use axum::extract::{Request, State};
use axum::response::Response;
use meridian_model::{Operation, Transaction as Committed};
use utoipa::ToSchema;

/// A dead letter with its transaction.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct WholeDeadLetter {
    /// What the list shows.
    #[schema(inline)]
    #[serde(flatten)]
    letter: DeadLetter,
    /// The idempotency key of the client that sent it, where it gave one.
    idempotency_key: Option<String>,
    /// What it would do, in the shape that a transaction and an edit take. A document that is no
    /// JSON is shown as a string, as `document_text`.
    operations: Vec<OperationBody>,
}

/// Shows a dead letter, whole.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}",
    tag = "dead letters",
    params(("id" = String, Path, description = "The letter's id.")),
    responses(
        (status = 200, description = "The letter.", body = WholeDeadLetter),
        openapi::ReadProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let id = letter_id(&incoming)?;
    let dataset = find(&state, id).await?;
    let found = read(dataset.tables(), move |tables| tables.letter(id)).await?;
    let (letter, transaction) = found.ok_or_else(|| not_found(&id.to_string()))?;
    let mut json = Json::default();
    json.raw("{");
    summary(&mut json, dataset, id, &letter);
    let key = transaction.idempotency.as_ref().map(|it| it.key.as_str());
    json.raw(",\"idempotency_key\":").optional(key);
    operations(&mut json, &transaction);
    json.raw("}");
    Ok(json.reply())
}

/// The document came from a region that may have kept no rules.
fn document_of(json: &mut Json, document: &str) {
    match documents::check(document) {
        Ok(()) => json.raw(",\"document\":").raw(document),
        Err(_) => json.raw(",\"document_text\":").string(document),
    };
}

fn operations(json: &mut Json, transaction: &Committed) {
    json.raw(",\"operations\":[");
    let mut first = true;
    for change in &transaction.changes {
        let mut begin = |json: &mut Json, op: &str| {
            json.raw(if std::mem::take(&mut first) {
                "{"
            } else {
                ",{"
            });
            json.raw("\"op\":").string(op);
            json.raw(",\"table\":").string(&change.table);
            json.raw(",\"key\":").string(&change.key);
        };
        match &change.operation {
            Operation::Put { document } => {
                begin(json, "put");
                document_of(json, document);
                json.raw("}");
            }
            Operation::Sibling {
                document: Some(document),
            } => {
                begin(json, "put");
                document_of(json, document);
                json.raw("}");
            }
            Operation::Delete | Operation::Sibling { document: None } => {
                begin(json, "delete");
                json.raw("}");
            }
            Operation::Edit(edit) => {
                for (field, value) in &edit.set {
                    begin(json, "set");
                    json.raw(",\"field\":").string(field);
                    json.raw(",\"value\":").optional(value.as_deref()).raw("}");
                }
                for (field, by) in &edit.by {
                    begin(json, "increment");
                    json.raw(",\"field\":").string(field);
                    json.raw(&format!(",\"by\":{by}}}"));
                }
                for (field, members) in &edit.members {
                    begin(json, "members");
                    json.raw(",\"field\":").string(field);
                    json.raw(",\"add\":");
                    json.list(&members.add, |json, text| {
                        json.string(text);
                    });
                    json.raw(",\"remove\":");
                    json.list(&members.remove, |json, text| {
                        json.string(text);
                    });
                    json.raw("}");
                }
            }
            Operation::Increment { by } => {
                for (field, by) in by {
                    begin(json, "increment");
                    json.raw(",\"field\":").string(field);
                    json.raw(&format!(",\"by\":{by}}}"));
                }
            }
        }
    }
    json.raw("]");
}
