//! What an evicted region alone held: shown, and what a person decides about it.

use super::incoming::{Incoming, page_limit};
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::state::ApiState;
use super::timestamp::rfc_3339;
use crate::aside::resubmit_one;
use crate::aside::{
    Decision, Kept, KeptId, Record, Resubmission, Shelf, ShelfError, State as KeptState,
};
use crate::dataset::{MachineClock, describe};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_engine_kv::IDEMPOTENCY_KEPT;
use meridian_model::{Micros, Operation, Sequence};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

/// Transactions that an evicted region alone held.
#[derive(Serialize, ToSchema)]
pub(crate) struct AsideReply {
    /// Those that wait for a decision, oldest first; with `state=all` every one.
    aside: Vec<AsideTransaction>,
    /// The id after which the next page begins; null at the end.
    next: Option<String>,
    /// How many there are in each state.
    counts: AsideCounts,
}

/// How many transactions are in each state.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct AsideCounts {
    waiting: u64,
    resubmitted: u64,
    dropped: u64,
    held: u64,
}

/// A transaction that was set aside.
#[derive(Serialize, ToSchema)]
pub(crate) struct AsideTransaction {
    id: String,
    dataset: String,
    /// The evicted incarnation.
    origin: String,
    /// When it was committed there (RFC 3339).
    committed_at: String,
    /// `waiting`, `resubmitted`, `dropped`, or `held` where the members held it after all.
    state: &'static str,
    /// Why it was not written again by itself.
    reason: Option<String>,
    /// What to look at before it is written again: it may have been already.
    #[serde(skip_serializing_if = "Option::is_none")]
    caution: Option<&'static str>,
    /// The version as which it was written again.
    version: Option<String>,
    /// The rows that it changes, as `table/key`.
    rows: Vec<String>,
    /// What it changes; where one transaction is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    changes: Option<Vec<Value>>,
}

/// Lists what an evicted incarnation of this region alone held.
#[utoipa::path(
    get,
    path = "/v1/aside",
    tag = "regions",
    params(
        ("after" = Option<String>, Query, description = "The id after which the page begins."),
        ("limit" = Option<u16>, Query, description = "The most of a page: 1 to 1000, 100 unless given."),
        ("state" = Option<String>, Query, description = "`waiting` (unless given) or `all`."),
    ),
    responses(
        (status = 200, description = "A page.", body = AsideReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [after, limit, wanted] = Incoming::new(request).query(["after", "limit", "state"])?;
    let limit = page_limit(limit.as_deref())?;
    let all = match wanted.as_deref() {
        None | Some("waiting") => false,
        Some("all") => true,
        Some(_) => {
            let detail = "state is `waiting` or `all`";
            return Err(Problem::new(Kind::BadQuery, detail));
        }
    };
    let after = after.map(|text| id(&text)).transpose()?;
    let shelves = state.api().shelves.all();
    let reply = tokio::task::spawn_blocking(move || page(&shelves, after.as_ref(), limit, all))
        .await
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?
        .map_err(|error| failed(&error))?;
    Ok(serialized(StatusCode::OK, &reply))
}

fn page(
    shelves: &[Arc<Shelf>],
    after: Option<&KeptId>,
    limit: usize,
    all: bool,
) -> Result<AsideReply, ShelfError> {
    let mut reply = AsideReply {
        aside: Vec::new(),
        next: None,
        counts: AsideCounts::default(),
    };
    for shelf in shelves {
        for sequence in shelf.sequences() {
            let state = shelf.state(sequence);
            let count = match state {
                KeptState::Waiting { .. } => &mut reply.counts.waiting,
                KeptState::Resubmitted { .. } => &mut reply.counts.resubmitted,
                KeptState::Dropped => &mut reply.counts.dropped,
                KeptState::Held => &mut reply.counts.held,
            };
            *count += 1;
            let is_wanted = all || matches!(state, KeptState::Waiting { .. });
            if !is_wanted || after.is_some_and(|after| name(shelf, sequence) <= *after) {
                continue;
            }
            if reply.aside.len() == limit {
                let last = reply.aside.last().map(|last| last.id.clone());
                reply.next = reply.next.or(last);
            } else if let Some(kept) = shelf.get(sequence)? {
                reply.aside.push(shown(shelf, &kept, false));
            }
        }
    }
    Ok(reply)
}

/// Shows a transaction that was set aside, with what it changes.
#[utoipa::path(
    get,
    path = "/v1/aside/{id}",
    tag = "regions",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The transaction.", body = AsideTransaction),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let text = incoming.id_alone()?;
    let (shelf, kept) = find(&state, &text)?;
    Ok(serialized(StatusCode::OK, &shown(&shelf, &kept, true)))
}

/// Writes a transaction again that was set aside, over what its rows are now.
#[utoipa::path(
    post,
    path = "/v1/aside/{id}/resubmit",
    tag = "regions",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It was written again.", body = AsideTransaction),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn resubmit(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let text = incoming.id_alone()?;
    let (shelf, kept) = undecided(&state, &text)?;
    let Some(dataset) = state.api().datasets.running(shelf.dataset()) else {
        let detail = format!("dataset {:?} doesn't run here now", shelf.dataset());
        return Err(Problem::new(Kind::DatasetNotYet, detail).retry_after(1));
    };
    let outcome = resubmit_one(&shelf, &kept, &dataset).await;
    let state = outcome.map_err(|error| match error {
        Resubmission::Execute(error) => Problem::execute(error),
        Resubmission::Tables(error) => Problem::tables(&error),
        Resubmission::Shelf(error) => failed(&error),
    })?;
    if let KeptState::Waiting { reason } = &state {
        let reason = reason.clone().unwrap_or_default();
        return Err(Problem::new(Kind::AsideNotTaken, reason)
            .hint("write what you want of it yourself, then drop it"));
    }
    let kept = Kept { state, ..kept };
    Ok(serialized(StatusCode::OK, &shown(&shelf, &kept, true)))
}

/// Gives up a transaction that was set aside.
#[utoipa::path(
    delete,
    path = "/v1/aside/{id}",
    tag = "regions",
    params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "It was given up.", body = AsideTransaction),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn discard(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let text = incoming.id_alone()?;
    let (shelf, kept) = undecided(&state, &text)?;
    let decision = Decision {
        sequence: kept.record.sequence,
        state: KeptState::Dropped,
    };
    shelf.decide(decision).map_err(|error| failed(&error))?;
    let kept = Kept {
        state: KeptState::Dropped,
        ..kept
    };
    Ok(serialized(StatusCode::OK, &shown(&shelf, &kept, true)))
}

fn id(text: &str) -> Result<KeptId, Problem> {
    text.parse().map_err(|()| {
        let detail = format!("{text:?} is not the id of a transaction set aside");
        Problem::new(Kind::AsideNotFound, detail).hint("`meridian regions aside list` shows them")
    })
}

fn find(state: &ApiState, text: &str) -> Result<(Arc<Shelf>, Kept), Problem> {
    let id = id(text)?;
    let shelf = state.api().shelves.find(&id);
    let kept = match &shelf {
        Some(shelf) => shelf.get(id.sequence).map_err(|error| failed(&error))?,
        None => None,
    };
    shelf.zip(kept).ok_or_else(|| {
        let detail = format!("no transaction {text:?} was set aside in this region");
        Problem::new(Kind::AsideNotFound, detail).hint("`meridian regions aside list` shows them")
    })
}

fn undecided(state: &ApiState, text: &str) -> Result<(Arc<Shelf>, Kept), Problem> {
    let (shelf, kept) = find(state, text)?;
    if let KeptState::Waiting { .. } = kept.state {
        return Ok((shelf, kept));
    }
    let detail = format!("{text} is {} already", word(&kept.state));
    Err(Problem::new(Kind::AsideDecided, detail))
}

fn failed(error: &ShelfError) -> Problem {
    let reason = describe(error);
    tracing::error!(reason, "what was set aside can't be used");
    Problem::new(Kind::Internal, reason)
}

fn name(shelf: &Shelf, sequence: Sequence) -> KeptId {
    KeptId {
        dataset: shelf.dataset().to_owned(),
        origin: shelf.origin(),
        sequence,
    }
}

fn word(state: &KeptState) -> &'static str {
    match state {
        KeptState::Waiting { .. } => "waiting",
        KeptState::Resubmitted { .. } => "resubmitted",
        KeptState::Dropped => "dropped",
        KeptState::Held => "held",
    }
}

fn shown(shelf: &Shelf, kept: &Kept, in_full: bool) -> AsideTransaction {
    let record = &kept.record;
    let (reason, version) = match &kept.state {
        KeptState::Waiting { reason: None } => (Some(NOT_LOOKED_AT.to_owned()), None),
        KeptState::Waiting { reason } => (reason.clone(), None),
        KeptState::Resubmitted { version } => (None, *version),
        KeptState::Dropped | KeptState::Held => (None, None),
    };
    AsideTransaction {
        id: name(shelf, record.sequence).to_string(),
        dataset: shelf.dataset().to_owned(),
        origin: shelf.origin().to_string(),
        committed_at: rfc_3339(record.hlc.time()),
        state: word(&kept.state),
        reason,
        caution: match kept.state {
            KeptState::Waiting { .. } => caution(record, MachineClock::start().now().wall),
            _ => None,
        },
        version: version.map(|(hlc, origin)| format!("{hlc}-{origin}")),
        rows: record
            .rows()
            .map(|(table, key)| format!("{table}/{key}"))
            .collect(),
        changes: in_full.then(|| changes(record)),
    }
}

const NOT_LOOKED_AT: &str =
    "the region has yet to look at it, which it does by itself while it counts";
const UNKNOWN_REPEATED: &str = "it adds to what is there, and its client gave it no Idempotency-Key: \
    if it was repeated elsewhere, it would count twice";
const MAY_BE_FORGOTTEN: &str = "it adds to what is there, and is older than the day for which \
    Idempotency-Keys are remembered at least: if it was repeated elsewhere, or written again before a \
    crash, it would count twice";

/// Why one that increments may count twice, though keys keep others from it. What is put or deleted
/// again is the same as before.
fn caution(record: &Record, now: Micros) -> Option<&'static str> {
    let increments = record.transaction.changes.iter().any(|change| {
        let by = match &change.operation {
            Operation::Increment { by } => by,
            Operation::Edit(edit) => &edit.by,
            _ => return false,
        };
        !by.is_empty()
    });
    let is_young = now.since(record.hlc.time()) < IDEMPOTENCY_KEPT;
    match &record.transaction.idempotency {
        _ if !increments => None,
        None => Some(UNKNOWN_REPEATED),
        Some(_) if is_young => None,
        Some(_) => Some(MAY_BE_FORGOTTEN),
    }
}

fn changes(record: &Record) -> Vec<Value> {
    let changes = record.transaction.changes.iter().map(|change| {
        let (table, key) = (&change.table, &change.key);
        match &change.operation {
            Operation::Put { document } => {
                let document: Value = serde_json::from_str(document).unwrap_or_default();
                json!({ "op": "put", "table": table, "key": key, "document": document })
            }
            Operation::Sibling {
                document: Some(document),
            } => {
                let document: Value = serde_json::from_str(document).unwrap_or_default();
                json!({ "op": "put", "table": table, "key": key, "document": document })
            }
            Operation::Delete | Operation::Sibling { document: None } => {
                json!({ "op": "delete", "table": table, "key": key })
            }
            Operation::Edit(edit) => {
                json!({ "op": "edit", "table": table, "key": key, "fields": edit })
            }
            Operation::Increment { by } => {
                let by: serde_json::Map<_, _> = by
                    .iter()
                    .map(|(field, by)| (field.clone(), (*by).into()))
                    .collect();
                json!({ "op": "increment", "table": table, "key": key, "by": by })
            }
        }
    });
    changes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Change, Edit, Hlc, IdempotencyKey, Transaction};
    use std::time::Duration;

    #[test]
    fn what_adds_up_is_shown_with_caution_once_its_key_may_be_forgotten() {
        let committed = Micros(1_767_225_600_000_000);
        let by = vec![("n".to_owned(), 1)];
        let increment = Operation::Increment { by: by.clone() };
        let edit = Operation::Edit(Edit {
            by,
            ..Edit::default()
        });
        let put = Operation::Put {
            document: "1".to_owned(),
        };
        let key = || IdempotencyKey {
            key: "once".to_owned(),
            fingerprint: 1,
        };
        let hour = Duration::from_hours(1);
        for (operation, idempotency, age, expected) in [
            (increment.clone(), Some(key()), 23 * hour, None),
            (
                increment.clone(),
                Some(key()),
                25 * hour,
                Some(MAY_BE_FORGOTTEN),
            ),
            (edit, Some(key()), 25 * hour, Some(MAY_BE_FORGOTTEN)),
            (increment, None, hour, Some(UNKNOWN_REPEATED)),
            (put.clone(), None, 25 * hour, None),
            (put, Some(key()), 25 * hour, None),
        ] {
            let change = Change {
                table: "t".to_owned(),
                key: "k".to_owned(),
                operation,
            };
            let transaction = Transaction {
                changes: vec![change],
                idempotency,
                ..Transaction::default()
            };
            let record = Record {
                sequence: Sequence(1),
                hlc: Hlc::at(committed),
                transaction,
                before: Vec::new(),
            };
            let said = caution(&record, committed.plus(age));
            assert_eq!(said, expected, "{record:?} after {age:?}");
        }
    }
}
