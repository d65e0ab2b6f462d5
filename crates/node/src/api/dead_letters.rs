//! Dead letters: what no region can apply, shown and decided about.
//!
//! A letter's id is its transaction's version, the same in every region; it names the dataset too,
//! since no two datasets share an origin. Lists go through the datasets by name, as those of
//! conflicts do, and show no documents: a letter may be as large as a transaction.

use super::acknowledged;
use super::consistency::Read;
use super::documents;
use super::incoming::{Incoming, page_limit};
use super::json::{Json, SESSION};
use super::listing::read;
use super::problem::{Kind, Problem};
use super::session::Session;
use super::state::ApiState;
use super::timestamp::rfc_3339;
use super::transactions::{self, TransactionBody, TransactionReply};
use super::writes::Write;
use crate::dataset::{DatasetHandle, Written};
use axum::extract::{Request, State};
use axum::response::Response;
use meridian_engine_kv::{Letter, LetterCounts, Outcome, Request as Transaction, Verdict};
use meridian_model::{Operation, Transaction as Committed, Vector, Version};
use utoipa::ToSchema;

/// Dead letters, newest first within each dataset.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct DeadLettersReply {
    /// The letters.
    dead_letters: Vec<DeadLetter>,
    /// What to send as `after` for the next page; null at the end.
    next: Option<String>,
    /// How many transactions were set aside in this region, ever.
    total: u64,
    /// Of these, how many still wait for a decision.
    waiting: u64,
}

/// A transaction that no region can apply.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct DeadLetter {
    /// The transaction's version: the letter's name in every region.
    id: String,
    /// The dataset.
    dataset: String,
    /// The region that committed it; of an incarnation that is no member any more, its number.
    region: String,
    /// When (RFC 3339).
    committed_at: String,
    /// Why it can't be applied.
    reason: String,
    /// How many rows it would change.
    changes: u64,
    /// About how many bytes of names, keys and documents it has.
    bytes: u64,
}

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
    operations: Vec<super::transactions::OperationBody>,
}

/// Lists the dead letters.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "dead letters",
    params(
        ("after" = Option<String>, Query, description = "The last page's `next`."),
        ("limit" = Option<u16>, Query, description = "The most letters of a page: 1 to 1000, 100 unless given."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 200, description = "A page.", body = DeadLettersReply,
            headers(("Meridian-Session" = String))),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [after, limit] = incoming.query(["after", "limit"])?;
    let limit = page_limit(limit.as_deref())?;
    let cursor = after.map(|after| parse_cursor(&after)).transpose()?;
    let reading = Read::begin(&state, incoming.headers(), state.running()).await?;
    let mut json = Json::default();
    json.raw("{\"dead_letters\":[");
    let mut counts = LetterCounts::default();
    let mut listed = 0;
    let mut next = None;
    for dataset in state.running() {
        let counted = read(dataset.tables(), |tables| tables.letter_counts()).await?;
        counts.total += counted.total;
        counts.waiting += counted.waiting;
        let after = match &cursor {
            Some((name, _)) if dataset.name() < name.as_str() => continue,
            Some((name, after)) if dataset.name() == name => *after,
            _ => None,
        };
        if listed == limit {
            next.get_or_insert_with(|| format!("{}:", dataset.name()));
            continue;
        }
        let wanted = limit - listed;
        let page = read(dataset.tables(), move |tables| {
            tables.letters(after, wanted)
        })
        .await?;
        for (id, letter) in &page.letters {
            json.raw(if listed > 0 { ",{" } else { "{" });
            summary(&mut json, dataset, *id, letter);
            json.raw("}");
            listed += 1;
        }
        next = page.next.map(|id| format!("{}:{id}", dataset.name()));
    }
    json.raw("],\"next\":").optional(next.as_deref());
    let LetterCounts { total, waiting } = counts;
    json.raw(&format!(",\"total\":{total},\"waiting\":{waiting}}}"));
    let mut response = json.reply();
    reading.end().await?.on(response.headers_mut());
    Ok(response)
}

/// Shows a dead letter, whole.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}",
    tag = "dead letters",
    params(("id" = String, Path, description = "The letter's id.")),
    responses(
        (status = 200, description = "The letter.", body = WholeDeadLetter),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
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

/// Makes a dead letter's transaction anew, as if a client sent it now.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/retry",
    tag = "dead letters",
    params(
        ("id" = String, Path, description = "The letter's id."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 200, description = "It is made, and the letter gone.", body = TransactionReply,
            headers(("Meridian-Session" = String))),
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn retry(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let outcome = decide(&state, Incoming::new(request), Verdict::Retry).await?;
    Ok(outcome.reply(transactions::shown).await)
}

/// Removes a dead letter, in every region.
#[utoipa::path(
    delete,
    path = "/v1/dead-letters/{id}",
    tag = "dead letters",
    params(
        ("id" = String, Path, description = "The letter's id."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 204, description = "It is gone.", headers(("Meridian-Session" = String))),
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn drop_it(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let outcome = decide(&state, Incoming::new(request), Verdict::Drop).await?;
    Ok(outcome
        .reply(|_| {
            let mut response = Response::default();
            *response.status_mut() = axum::http::StatusCode::NO_CONTENT;
            response
        })
        .await)
}

/// Makes another transaction in a dead letter's place.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/edit",
    tag = "dead letters",
    params(
        ("id" = String, Path, description = "The letter's id."),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a retry safe."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    request_body = TransactionBody,
    responses(
        (status = 200, description = "It is made, and the letter gone.", body = TransactionReply,
            headers(("Meridian-Session" = String), ("Idempotency-Replayed" = String))),
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn edit(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let body_bytes_max = state.transaction_body_bytes_max();
    let mut write = Write::read(&state, &mut incoming, body_bytes_max).await?;
    let text = documents::text(std::mem::take(&mut write.body))?;
    let operations = transactions::parse(&text)?;
    drop(text);
    let target = transactions::common_target(&state, &operations)?;
    let request = Transaction {
        operations,
        preconditions: Vec::new(),
        idempotency: write.idempotency.take(),
    };
    let id = letter_id(&incoming)?;
    // An edit that is repeated finds no letter; where it belongs, its tables say.
    let dataset = match find(&state, id).await {
        Ok(dataset) => dataset,
        Err(problem) if !problem.is(Kind::LetterNotFound) => return Err(problem),
        Err(_) => target.dataset,
    };
    if dataset.name() != target.dataset.name() {
        let (one, other) = (dataset.name(), target.dataset.name());
        let detail = format!("the letter is of dataset {one:?}, the operations of {other:?}");
        return Err(Problem::new(Kind::SeveralDatasets, detail));
    }
    let session = &write.session;
    let verdict = Verdict::Edit(request);
    Ok(settle(dataset, session, id, verdict)
        .await?
        .reply(transactions::shown)
        .await)
}

/// A decision that is durable.
struct Decided {
    written: Written,
    token: axum::http::HeaderValue,
}

impl Decided {
    async fn reply(self, shown: impl FnOnce(&Outcome) -> Response) -> Response {
        let Written { outcome, shortfall } = self.written;
        let mut response = shown(&outcome);
        if let Some(shortfall) = &shortfall {
            response = acknowledged::accepted(response, shortfall).await;
        }
        response.headers_mut().insert(SESSION, self.token);
        if outcome.replayed {
            let replayed = axum::http::HeaderValue::from_static("true");
            response
                .headers_mut()
                .insert(super::json::REPLAYED, replayed);
        }
        response
    }
}

async fn decide(
    state: &ApiState,
    mut incoming: Incoming,
    verdict: Verdict,
) -> Result<Decided, Problem> {
    let [] = incoming.query([])?;
    // A body would be a wish that nobody fulfils: it is taken for a mistake.
    if !incoming.read_body(BODY_BYTES_MAX).await?.is_empty() {
        let detail = "a retry or a drop takes no body";
        let problem = Problem::new(Kind::BadBody, detail);
        return Err(problem.hint("to give other operations, POST to …/edit"));
    }
    let session = Session::read(state, incoming.headers())?;
    let id = letter_id(&incoming)?;
    let dataset = find(state, id).await?;
    settle(dataset, &session, id, verdict).await
}

/// As much as is read of a body that shouldn't be there.
const BODY_BYTES_MAX: usize = 64 << 10;

async fn settle(
    dataset: &DatasetHandle,
    session: &Session,
    id: Version,
    verdict: Verdict,
) -> Result<Decided, Problem> {
    if !dataset.takes_writes() {
        return Err(takes_no_writes(dataset));
    }
    // Not the session's wait: a dataset that stands at this letter has to be let go by it.
    let decided = dataset.decide(id, verdict).await;
    let mut session = session.clone();
    session.note(dataset, &Vector::default());
    let token = session.token();
    match decided {
        Ok(written) => Ok(Decided { written, token }),
        Err(error) => Err(Problem::execute(error).header(SESSION, token)),
    }
}

/// A decision is a write, and whoever reads relies on where writes are made.
fn takes_no_writes(dataset: &DatasetHandle) -> Problem {
    let name = dataset.name();
    let detail = format!("this region takes no writes of dataset {name}, and a decision is one");
    let hint = match dataset.promises().writes.home() {
        Some(home) => format!("ask region {home}"),
        None => "ask a region that takes writes; /v1/status shows which do".to_owned(),
    };
    Problem::new(Kind::TakesNoWrites, detail)
        .hint(hint)
        .member("dataset", name)
}

fn letter_id(incoming: &Incoming) -> Result<Version, Problem> {
    let id = incoming.id()?;
    id.parse().map_err(|_| not_found(&id))
}

/// The dataset that a letter is in.
async fn find(state: &ApiState, id: Version) -> Result<&DatasetHandle, Problem> {
    for dataset in state.running() {
        let found = read(dataset.tables(), move |tables| tables.letter(id)).await?;
        if found.is_some() {
            return Ok(dataset);
        }
    }
    Err(not_found(&id.to_string()))
}

fn not_found(id: &str) -> Problem {
    Problem::new(
        Kind::LetterNotFound,
        format!("there is no dead letter {id:?}"),
    )
    .hint(
        "it may have been decided about already, here or in another region; GET /v1/dead-letters \
         lists those that wait",
    )
}

fn parse_cursor(text: &str) -> Result<(String, Option<Version>), Problem> {
    let parsed = text.split_once(':').and_then(|(dataset, id)| {
        let id = match id {
            "" => None,
            id => Some(id.parse().ok()?),
        };
        Some((dataset.to_owned(), id))
    });
    parsed.ok_or_else(|| {
        let detail = format!("after is no place in this list: {text:?}");
        Problem::new(Kind::BadQuery, detail).hint("send back the last page's next as it was")
    })
}

fn summary(json: &mut Json, dataset: &DatasetHandle, id: Version, letter: &Letter) {
    let members = dataset.status().members;
    let region = members.iter().find(|(_, origin)| **origin == id.origin);
    let region = region.map_or_else(|| id.origin.to_string(), |(region, _)| region.to_string());
    json.raw("\"id\":").version(Some(id));
    json.raw(",\"dataset\":").string(dataset.name());
    json.raw(",\"region\":").string(&region);
    json.raw(",\"committed_at\":")
        .string(&rfc_3339(id.hlc.time()));
    json.raw(",\"reason\":").string(&letter.reason);
    let Letter { changes, bytes, .. } = letter;
    json.raw(&format!(",\"changes\":{changes},\"bytes\":{bytes}"));
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
