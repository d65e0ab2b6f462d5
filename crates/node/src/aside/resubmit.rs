//! Writing transactions again that were set aside.

use super::judge::{Changed, RowNow, judge};
use super::shelf::{Decision, Kept, RowName, Shelf, ShelfError, State};
use crate::dataset::{DatasetHandle, ExecuteError};
use meridian_engine_kv::{Precondition, Rejection, Request, TablesError, operations_of};
use meridian_model::{IdempotencyKey, OriginId, Sequence, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A row that changes between the look and the commit is looked at again, this often.
const LOOKS_MAX: u32 = 5;

/// A transaction could not be written again now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Resubmission {
    /// The dataset doesn't take it.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// Its rows can't be read.
    #[error("the rows can't be read")]
    Tables(#[from] TablesError),
    /// The shelf can't be used.
    #[error("what was set aside can't be used")]
    Shelf(#[from] ShelfError),
}

/// Writes again all that wait on a shelf and whose rows are unchanged, in their order; the others
/// go on waiting, each with the reason. May be repeated.
///
/// # Errors
/// [`Resubmission`] when it can't go on now; what was done stays done.
pub(crate) async fn resubmit_all(
    shelf: &Arc<Shelf>,
    dataset: &DatasetHandle,
) -> Result<(), Resubmission> {
    // The region counts again, so all that the members held of the old incarnation is here.
    let held = dataset.log().marks().get(shelf.origin()).sequence;
    let mut rewritten = rewritten(shelf)?;
    let sequences: Vec<_> = shelf.sequences().collect();
    for sequence in sequences {
        if shelf.state(sequence) != (State::Waiting { reason: None }) {
            continue;
        }
        if sequence <= held {
            let state = State::Held;
            shelf.decide(Decision { sequence, state })?;
            continue;
        }
        let Some(kept) = shelf.get(sequence)? else {
            continue;
        };
        let state = automatically(shelf.origin(), &kept, dataset, &rewritten).await?;
        note(&mut rewritten, &kept, &state);
        shelf.decide(Decision { sequence, state })?;
    }
    Ok(())
}

/// Writes one again because a person says so, over whatever its rows are now.
///
/// # Errors
/// [`Resubmission`].
pub(crate) async fn resubmit_one(
    shelf: &Arc<Shelf>,
    kept: &Kept,
    dataset: &DatasetHandle,
) -> Result<State, Resubmission> {
    let state = match execute(shelf.origin(), kept, dataset, Vec::new()).await? {
        Executed::Done(version) => resubmitted(version),
        Executed::Changed(reason) => State::Waiting {
            reason: Some(reason),
        },
    };
    let sequence = kept.record.sequence;
    let decision = Decision {
        sequence,
        state: state.clone(),
    };
    shelf.decide(decision)?;
    Ok(state)
}

async fn automatically(
    origin: OriginId,
    kept: &Kept,
    dataset: &DatasetHandle,
    rewritten: &BTreeMap<RowName, Version>,
) -> Result<State, Resubmission> {
    let waiting = |reason| State::Waiting {
        reason: Some(reason),
    };
    let mut last = String::new();
    for _ in 0..LOOKS_MAX {
        let now = look(kept, dataset)?;
        let preconditions = match judge(&kept.record, origin, &now, rewritten) {
            Ok(preconditions) => preconditions,
            Err(Changed((table, key))) => {
                return Ok(waiting(format!(
                    "row {key:?} of table {table} has changed since"
                )));
            }
        };
        match execute(origin, kept, dataset, preconditions).await? {
            Executed::Done(version) => return Ok(resubmitted(version)),
            Executed::Changed(reason) => last = reason,
        }
    }
    Ok(waiting(last))
}

fn resubmitted(version: Option<Version>) -> State {
    State::Resubmitted {
        version: version.map(|version| (version.hlc, version.origin)),
    }
}

fn look(
    kept: &Kept,
    dataset: &DatasetHandle,
) -> Result<BTreeMap<RowName, Option<RowNow>>, TablesError> {
    let mut now = BTreeMap::new();
    for row in kept.record.rows() {
        let found = dataset.tables().get(&row.0, &row.1)?;
        let found = found.map(|found| RowNow {
            latest: found.version.latest,
            tag: found.version.to_string(),
        });
        now.insert(row, found);
    }
    Ok(now)
}

enum Executed {
    Done(Option<Version>),
    /// It is not for now, and why.
    Changed(String),
}

async fn execute(
    origin: OriginId,
    kept: &Kept,
    dataset: &DatasetHandle,
    preconditions: Vec<Precondition>,
) -> Result<Executed, Resubmission> {
    let Some(operations) = operations_of(&kept.record.transaction.changes) else {
        let reason = "it writes single fields of rows, on top of what its region held";
        return Ok(Executed::Changed(reason.to_owned()));
    };
    let request = Request {
        operations,
        preconditions,
        idempotency: Some(idempotency(origin, kept)),
    };
    match dataset.execute(request).await {
        Ok(written) => Ok(Executed::Done(written.outcome.version)),
        // The client has used its key elsewhere meanwhile, for something else.
        Err(ExecuteError::Rejected(rejection)) if !matches!(rejection, Rejection::Tables(_)) => {
            Ok(Executed::Changed(rejection.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The client's own key, where it gave one: it may have repeated its request elsewhere.
fn idempotency(origin: OriginId, kept: &Kept) -> IdempotencyKey {
    let sequence = kept.record.sequence;
    let own = || IdempotencyKey {
        key: format!("aside-{origin}-{sequence}"),
        fingerprint: kept.record.hlc.raw(),
    };
    kept.record
        .transaction
        .idempotency
        .clone()
        .unwrap_or_else(own)
}

/// By row the version as which an earlier attempt wrote it again last.
fn rewritten(shelf: &Shelf) -> Result<BTreeMap<RowName, Version>, ShelfError> {
    let mut rewritten = BTreeMap::new();
    let sequences: Vec<Sequence> = shelf.sequences().collect();
    for sequence in sequences {
        let state = shelf.state(sequence);
        if let State::Resubmitted { version: Some(_) } = state
            && let Some(kept) = shelf.get(sequence)?
        {
            note(&mut rewritten, &kept, &state);
        }
    }
    Ok(rewritten)
}

fn note(rewritten: &mut BTreeMap<RowName, Version>, kept: &Kept, state: &State) {
    let State::Resubmitted {
        version: Some((hlc, origin)),
    } = *state
    else {
        return;
    };
    for row in kept.record.rows() {
        rewritten.insert(row, Version { hlc, origin });
    }
}
