//! Writes handed on between regions, at both ends: what clients are told here, and what is carried
//! out for another region there.

use super::problem::{Kind, Problem};
use super::session::Session;
use crate::dataset::{DatasetHandle, ForwardError, ForwardedReply, Written};
use bytes::Bytes;
use meridian_engine_kv::{ForwardedWrite, Request};
use meridian_model::Vector;
use std::time::Duration;

/// How long a handed-on write waits for what its client has seen. Shorter than its sender waits.
const SESSION_WAIT_MAX: Duration = Duration::from_secs(3);

/// Hands a write on; gives what became of it, and what the region that took it has applied.
pub(crate) async fn hand_on(
    dataset: &DatasetHandle,
    session: &Session,
    request: Request,
) -> Result<(Written, Vector), Problem> {
    let write = ForwardedWrite {
        request,
        seen: session.seen(dataset.name()).cloned(),
    };
    match dataset.forward(&write).await {
        Ok(ForwardedReply::Written {
            outcome,
            shortfall,
            applied,
        }) => Ok((Written { outcome, shortfall }, applied)),
        Ok(ForwardedReply::Problem {
            body,
            retry_after_seconds,
        }) => Err(Problem::read(&body, retry_after_seconds)),
        Err(error) => Err(unanswered(dataset, &error)),
    }
}

fn unanswered(dataset: &DatasetHandle, error: &ForwardError) -> Problem {
    let detail = error.to_string();
    let problem = match error {
        ForwardError::NowhereToGo { .. } => Problem::new(Kind::NoWriter, detail)
            .hint(
                "the write did not happen: send it again later, or to a region that takes writes \
                 of this dataset; /v1/status shows which do",
            )
            .retry_after(1),
        ForwardError::TooLarge { bytes_max, .. } => Problem::new(Kind::TooLarge, detail)
            .hint("split it, or send it to a region that takes the writes itself")
            .member("bytes_max", *bytes_max),
        ForwardError::Unknown { .. } | ForwardError::Unreadable { .. } => {
            Problem::new(Kind::OutcomeUnknown, detail).hint(
                "the write may or may not have happened: with an Idempotency-Key it can be sent \
                 again, without one read the row first",
            )
        }
    };
    problem.member("dataset", dataset.name())
}

/// Carries out what another region handed on; gives the answer.
pub(crate) async fn carry_out(dataset: &DatasetHandle, bytes: &[u8]) -> Bytes {
    let reply = match attempt(dataset, bytes).await {
        Ok(written) => ForwardedReply::of(written, Vector::clone(&dataset.applied())),
        Err(problem) => refused(&problem),
    };
    reply.encode().unwrap_or_else(|| {
        let problem = Problem::new(
            Kind::ReplyTooLarge,
            "the write is done, but its rows are too large to be handed back",
        )
        .hint("read the rows; a transaction over fewer of them can be shown");
        refused(&problem)
            .encode()
            .expect("a problem without rows is small")
    })
}

fn refused(problem: &Problem) -> ForwardedReply {
    let (body, retry_after_seconds) = problem.write();
    ForwardedReply::Problem {
        body,
        retry_after_seconds,
    }
}

async fn attempt(dataset: &DatasetHandle, bytes: &[u8]) -> Result<Written, Problem> {
    if !dataset.takes_writes() {
        let detail = "by its own topology, the region that was handed this write doesn't take it";
        return Err(Problem::new(Kind::NoWriter, detail)
            .hint("the write did not happen: give every region the same topology"));
    }
    let Some(write) = ForwardedWrite::decode(bytes) else {
        let detail = "the region that was handed this write can't read it";
        return Err(Problem::new(Kind::NoWriter, detail).hint(
            "the write did not happen: the regions may run different releases; send it to a \
             region that takes writes itself",
        ));
    };
    let mut session = Session::default();
    if let Some(seen) = &write.seen {
        session.saw(dataset, seen);
    }
    session.wait(dataset, SESSION_WAIT_MAX).await?;
    let executed = dataset.execute(write.request).await;
    executed.map_err(Problem::execute)
}
