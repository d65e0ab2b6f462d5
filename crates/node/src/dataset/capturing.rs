//! The thread's part in capture: transactions that an engine committed first.

use super::describe;
use super::thread::Worker;
use meridian_model::{ABSORBED_SINCE, CapturedAt, Change, Collisions, Conflict, Operation, Vector};
use meridian_replicate::{CommitError, Now, WriteError};
use std::convert::Infallible;
use tokio::sync::oneshot;

/// A transaction that an engine committed.
#[derive(Clone, Debug)]
pub(crate) struct CapturedTransaction {
    /// Where, in its history.
    pub(crate) at: CapturedAt,
    /// What the engine had been given of the other regions before.
    pub(crate) seen: Vector,
    /// What it did.
    pub(crate) changes: Vec<Change>,
    /// What is to be listed as a conflict besides.
    pub(crate) collisions: Collisions,
}

/// Captured transactions could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    /// They can later, as they are: peers have to be heard of first.
    #[error("{0}")]
    NotNow(String),
    /// They can once a region is known to understand what they say.
    #[error("{0}")]
    Unread(String),
    /// The log or its disk has no room.
    #[error("{0}")]
    Full(String),
    /// One has a row that no message between regions holds.
    #[error("{0}")]
    TooLarge(String),
    /// Not before somebody has looked.
    #[error("{0}")]
    Stopped(String),
    /// The dataset's thread is gone.
    #[error("{0}")]
    Ended(String),
}

/// Captured transactions of the round, and who waits for them to be durable.
pub(super) struct StagedCapture {
    /// How many of them changed something and are staged: all that were before one that isn't taken.
    writes: u64,
    /// Whether all are, as far as is known.
    outcome: Result<(), CaptureError>,
    reply: oneshot::Sender<Result<(), CaptureError>>,
}

impl Worker {
    pub(super) fn capture(
        &mut self,
        now: Now,
        transactions: Vec<CapturedTransaction>,
        reply: oneshot::Sender<Result<(), CaptureError>>,
    ) {
        let (mut writes, mut outcome) = (0, Ok(()));
        if !self.replica.is_settled(now) {
            let reason = "the region has just started and waits for its peers";
            outcome = Err(CaptureError::NotNow(reason.to_owned()));
        } else if let Some(reason) = self.room.lack() {
            outcome = Err(CaptureError::Full(reason));
        }
        for transaction in transactions {
            if outcome.is_err() {
                break;
            }
            if let Some(reason) = too_large(&transaction) {
                outcome = Err(CaptureError::TooLarge(reason));
                break;
            }
            let CapturedTransaction {
                at,
                seen,
                changes,
                collisions,
            } = transaction;
            let is_write = at.is_last && !changes.is_empty();
            let what = (changes, collisions);
            let taken = self.replica.capture_colliding(now, at, seen, what);
            match taken {
                Ok(_) => writes += u64::from(is_write),
                Err(error) => outcome = Err(refused(&error)),
            }
        }
        self.captures.push(StagedCapture {
            writes,
            outcome,
            reply,
        });
    }

    /// Lists conflicts that were found where the rows are shown.
    pub(super) fn note(&mut self, now: Now, conflicts: Vec<Conflict>) {
        for mut conflict in conflicts {
            conflict.resolved_at = now.wall;
            let noted = self.replica.mend(|tables| {
                tables.note_conflict(&conflict);
                Ok(())
            });
            if let Err(error) = noted {
                tracing::warn!(%error, "a conflict could not be listed");
            }
        }
    }

    /// Tells what became of captured transactions, once the round's fate is known.
    pub(super) fn answer_captures(&mut self, committed: &Result<(), CommitError>) {
        for staged in std::mem::take(&mut self.captures) {
            let StagedCapture {
                writes,
                outcome,
                reply,
            } = staged;
            let outcome = match committed {
                // What is in the log is captured, wherever the tables are.
                Ok(()) | Err(CommitError::Tables { .. }) => {
                    self.count_local(writes);
                    outcome
                }
                Err(CommitError::Log(error)) if error.must_reopen() => {
                    Err(CaptureError::Stopped(describe(error)))
                }
                Err(CommitError::Log(error)) if error.is_full() => {
                    Err(CaptureError::Full(describe(error)))
                }
                Err(CommitError::Log(error)) => Err(CaptureError::NotNow(describe(error))),
            };
            // Whoever asked may be gone; what is durable stays.
            let _ = reply.send(outcome);
        }
    }
}

/// Around a transaction's rows a message has room for other entries.
const BYTES_MAX: usize = meridian_link::MESSAGE_BYTES_MAX - (1 << 20);

/// Why a transaction can't go to other regions: its largest row.
fn too_large(transaction: &CapturedTransaction) -> Option<String> {
    let changes = transaction.changes.iter();
    let changes = changes.map(|change| (bytes(&change.operation), &change.table, &change.key));
    let chosen = transaction.collisions.chosen.iter();
    let chosen = chosen.map(|it| {
        let bytes = it.document.as_ref().map_or(0, String::len);
        (bytes, &it.row.table, &it.row.key)
    });
    let rows = changes.chain(chosen);
    let bytes: usize = rows.clone().map(|(bytes, _, key)| bytes + key.len()).sum();
    if bytes <= BYTES_MAX {
        return None;
    }
    let (largest, table, key) = rows.max()?;
    Some(format!(
        "row {key} of {table} has {largest} bytes as text; a transaction's part of {bytes} bytes can't \
         go to other regions, which takes at most {BYTES_MAX}"
    ))
}

fn bytes(operation: &Operation) -> usize {
    match operation {
        Operation::Put { document } => document.len(),
        Operation::Edit(edit) => {
            let texts = edit.set.iter().filter_map(|(_, text)| text.as_ref());
            texts.map(String::len).sum()
        }
        _ => 0,
    }
}

fn refused(error: &WriteError<Infallible>) -> CaptureError {
    let reason = describe(error);
    match error {
        WriteError::Stopped { .. } | WriteError::Clock(_) => CaptureError::Stopped(reason),
        WriteError::LogBudget { .. } => CaptureError::Full(reason),
        WriteError::NotSpoken {
            version: ABSORBED_SINCE,
            ..
        } => CaptureError::Unread(reason),
        _ => CaptureError::NotNow(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[usize]) -> CapturedTransaction {
        let changes = bytes.iter().enumerate().map(|(key, bytes)| Change {
            table: "public.notes".to_owned(),
            key: key.to_string(),
            operation: Operation::Put {
                document: "x".repeat(*bytes),
            },
        });
        CapturedTransaction {
            at: CapturedAt::default(),
            seen: Vector::default(),
            changes: changes.collect(),
            collisions: Collisions::default(),
        }
    }

    #[test]
    fn what_no_message_between_regions_holds_is_told_by_its_largest_row() {
        assert_eq!(too_large(&taken(&[1, 15 << 20])), Some(
            "row 1 of public.notes has 15728640 bytes as text; a transaction's part of 15728643 bytes \
             can't go to other regions, which takes at most 15728640".to_owned()
        ));
        assert_eq!(too_large(&taken(&[7, 9 << 20, 5 << 20])), None);
    }
}
