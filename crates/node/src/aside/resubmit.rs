//! Writing transactions again that were set aside.

use super::judge::{Changed, RowNow, judge};
use super::shelf::{Decision, Kept, RowName, Shelf, ShelfError, State};
use crate::dataset::{DatasetHandle, ExecuteError};
use meridian_engine_kv::{Precondition, Rejection, Request, TablesError, operations_of};
use meridian_model::{IdempotencyKey, OriginId, Sequence, Version};
use std::collections::{BTreeMap, BTreeSet};
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
/// go on waiting, each with the reason. So do those of a row that was `given_up`: of which somebody has
/// chosen the other regions' side since, when the region's server was attached. Notes which were
/// written again before, or are held after all. May be repeated.
///
/// # Errors
/// [`Resubmission`] when it can't go on now; what was done stays done.
pub(crate) async fn resubmit_all(
    shelf: &Arc<Shelf>,
    dataset: &DatasetHandle,
    given_up: &BTreeSet<RowName>,
) -> Result<(), Resubmission> {
    // The region counts again, so all that the members held of the old incarnation is here.
    let held = dataset.log().marks().get(shelf.origin()).sequence;
    let mut rewritten = rewritten(shelf)?;
    let sequences: Vec<_> = shelf.sequences().collect();
    for sequence in sequences {
        let State::Waiting { reason } = shelf.state(sequence) else {
            continue;
        };
        if sequence <= held {
            let state = State::Held;
            shelf.decide(Decision { sequence, state })?;
            continue;
        }
        let Some(kept) = shelf.get(sequence)? else {
            continue;
        };
        let key = idempotency(shelf.origin(), &kept);
        let state = match dataset.tables().remembered(&key)? {
            // Its client has repeated it, or a crash came before the decision.
            known @ Some(_) => resubmitted(known),
            None if reason.is_some() => continue,
            None => match kept.record.rows().find(|row| given_up.contains(row)) {
                Some(row) => State::Waiting {
                    reason: Some(not_chosen(&row)),
                },
                None => automatically(shelf.origin(), &kept, dataset, &rewritten).await?,
            },
        };
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

fn not_chosen((table, key): &RowName) -> String {
    format!(
        "of row {key:?} of table {table} somebody chose the other regions' side, when the server was attached"
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aside::Range;
    use crate::dataset::{MachineClock, config_for_tests, open};
    use crate::faults::{DiskLevers, FaultyDisk};
    use meridian_engine_kv::{Action, RowOperation};
    use meridian_log::{Directory, Log, LogConfig};
    use meridian_model::{Body, Change, Entry, Hlc, Mark, Operation, Position, Transaction};
    use std::fs;
    use std::path::Path;

    const EVICTED: OriginId = OriginId(1);

    fn transaction(idempotency: Option<IdempotencyKey>) -> Transaction {
        let change = Change {
            table: "t".to_owned(),
            key: "k".to_owned(),
            operation: Operation::Put {
                document: "1".to_owned(),
            },
        };
        Transaction {
            changes: vec![change],
            idempotency,
            ..Transaction::default()
        }
    }

    /// A shelf with this alone, which an evicted region had written.
    fn shelf(directory: &Path, transaction: Transaction) -> Arc<Shelf> {
        let disk = Directory::open(directory.join("old")).unwrap();
        let disk = FaultyDisk::new(disk, DiskLevers::default());
        let mut log = Log::open(disk, LogConfig::default(), Position(0)).unwrap();
        let body = Body::Transaction(transaction);
        let entry = Entry::following(Mark::default(), EVICTED, Hlc::from_raw(5), &body);
        log.commit(&[entry]).unwrap();
        let (origin, held) = (EVICTED, Sequence(0));
        let range = Range::Own { origin, held };
        Arc::new(Shelf::fill(directory, "main", range, &log.reader()).unwrap())
    }

    fn dataset(directory: &Path) -> DatasetHandle {
        let config = config_for_tests(&directory.join("dataset"));
        open(config, MachineClock::start()).unwrap().0
    }

    #[tokio::test]
    async fn one_that_was_written_again_just_before_a_crash_is_not_left_to_a_person() {
        let directory = tempfile::tempdir().unwrap();
        let dataset = dataset(directory.path());
        let first = shelf(directory.path(), transaction(None));
        resubmit_all(&first, &dataset, &BTreeSet::new())
            .await
            .unwrap();
        let state = first.state(Sequence(1));
        assert!(matches!(state, State::Resubmitted { .. }), "{state:?}");
        // The crash came before the decision was written down.
        let decisions = format!("main-{EVICTED}.decisions");
        fs::remove_file(directory.path().join(decisions)).unwrap();
        let again = Arc::new(Shelf::open(directory.path(), "main", EVICTED).unwrap());
        resubmit_all(&again, &dataset, &BTreeSet::new())
            .await
            .unwrap();
        assert_eq!(again.state(Sequence(1)), state);
    }

    #[tokio::test]
    async fn one_that_its_client_has_repeated_elsewhere_is_known_by_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let dataset = dataset(directory.path());
        let key = IdempotencyKey {
            key: "once".to_owned(),
            fingerprint: 7,
        };
        let repeated = Request {
            operations: vec![RowOperation {
                table: "t".to_owned(),
                key: "k".to_owned(),
                action: Action::Put {
                    document: "1".to_owned(),
                },
            }],
            preconditions: Vec::new(),
            idempotency: Some(key.clone()),
        };
        let written = dataset.execute(repeated).await.unwrap();
        let shelf = shelf(directory.path(), transaction(Some(key)));
        resubmit_all(&shelf, &dataset, &BTreeSet::new())
            .await
            .unwrap();
        let state = resubmitted(written.outcome.version);
        assert_eq!(shelf.state(Sequence(1)), state);
    }
}
