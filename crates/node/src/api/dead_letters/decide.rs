//! What becomes of a dead letter: retried, edited or dropped, in every region.

use super::{find, letter_id};
use crate::api::acknowledged;
use crate::api::documents;
use crate::api::incoming::Incoming;
use crate::api::json::{REPLAYED, SESSION};
use crate::api::openapi;
use crate::api::problem::{Kind, Problem};
use crate::api::session::Session;
use crate::api::state::ApiState;
use crate::api::transactions::{self, TransactionBody, TransactionReply};
use crate::api::writes::Write;
use crate::dataset::{DatasetHandle, Written};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use meridian_engine_kv::{Outcome, Request as Transaction, Verdict};
use meridian_model::{Vector, Version};

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
        openapi::WriteProblems,
        openapi::ServerProblems,
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
        openapi::WriteProblems,
        openapi::ServerProblems,
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
            *response.status_mut() = StatusCode::NO_CONTENT;
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
        openapi::WriteProblems,
        openapi::ServerProblems,
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
    token: HeaderValue,
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
            let replayed = HeaderValue::from_static("true");
            response.headers_mut().insert(REPLAYED, replayed);
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
