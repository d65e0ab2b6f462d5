//! What all writes have in common: room, body, idempotency key, session, execution.

use super::incoming::Incoming;
use super::json::{REPLAYED, SESSION};
use super::problem::{Kind, Problem};
use super::session::{Session, WAIT_MAX};
use super::state::{ApiState, single};
use super::{acknowledged, forwarded};
use crate::dataset::DatasetHandle;
use axum::http::HeaderValue;
use axum::response::Response;
use meridian_engine_kv::{Outcome, Request};
use meridian_model::{IdempotencyKey, Vector};
use tokio::sync::SemaphorePermit;
use xxhash_rust::xxh3::Xxh3;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A write whose body has arrived.
pub(crate) struct Write<'a> {
    pub(crate) body: Vec<u8>,
    pub(crate) session: Session,
    pub(crate) idempotency: Option<IdempotencyKey>,
    /// Room for it, given back when it is answered.
    _room: SemaphorePermit<'a>,
}

impl<'a> Write<'a> {
    /// Reads what every write has.
    pub(crate) async fn read(
        state: &'a ApiState,
        incoming: &mut Incoming,
        body_bytes_max: usize,
    ) -> Result<Self, Problem> {
        let session = Session::read(state, incoming.headers())?;
        let key = single(incoming.headers(), IDEMPOTENCY_KEY)?.map(str::to_owned);
        let room = state.admit_write(incoming.body_bytes(body_bytes_max).min(body_bytes_max))?;
        let body = incoming.read_body(body_bytes_max).await?;
        let idempotency = key.map(|key| {
            let fingerprint = fingerprint(incoming, &body);
            IdempotencyKey { key, fingerprint }
        });
        Ok(Self {
            body,
            session,
            idempotency,
            _room: room,
        })
    }
}

/// Executes a transaction and gives the reply its session token.
pub(crate) async fn execute(
    dataset: &DatasetHandle,
    session: &Session,
    request: Request,
    reply: impl FnOnce(Outcome) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    if dataset.is_captured() {
        return Err(captured(dataset));
    }
    carry_out(dataset, session, request, reply).await
}

/// The same, also where clients write elsewhere: in a server's tables.
pub(crate) async fn carry_out(
    dataset: &DatasetHandle,
    session: &Session,
    request: Request,
    reply: impl FnOnce(Outcome) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let mut session = session.clone();
    let executed = if dataset.takes_writes() {
        session.wait(dataset, WAIT_MAX).await?;
        let executed = dataset.execute(request).await;
        session.note(dataset, &Vector::default());
        executed.map_err(Problem::execute)
    } else {
        let handed_on = forwarded::hand_on(dataset, &session, request).await;
        handed_on.map(|(written, applied)| {
            session.saw(dataset, &applied);
            written
        })
    };
    let token = session.token();
    let written = executed.map_err(|problem| problem.header(SESSION, token.clone()))?;
    let replayed = written.outcome.replayed;
    let mut response = reply(written.outcome)?;
    if let Some(shortfall) = &written.shortfall {
        response = acknowledged::accepted(response, shortfall).await;
    }
    response.headers_mut().insert(SESSION, token);
    if replayed {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// Who writes rows that belong to a server goes to that server: it wouldn't wait for us.
fn captured(dataset: &DatasetHandle) -> Problem {
    let name = dataset.name();
    let detail = format!("the rows of dataset {name} are those of a PostgreSQL server");
    Problem::new(Kind::TakesNoWrites, detail)
        .hint(
            "write with SQL, in the server of any region; rows can be read here, and those that \
             the servers can't show be decided about at /v1/parked",
        )
        .member("dataset", name)
}

/// A transaction came back without the row that it wrote.
pub(crate) fn missing_outcome() -> Problem {
    Problem::new(
        Kind::Internal,
        "the write was carried out, but its row was not returned",
    )
}

fn fingerprint(incoming: &Incoming, body: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    for part in [incoming.parts.method.as_str(), incoming.parts.uri.path()] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    hasher.update(body);
    hasher.digest()
}
