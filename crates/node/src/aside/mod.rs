//! What an evicted region alone held.
//!
//! A region that was evicted while it could not be reached may have committed transactions that
//! nobody else has. They can't go on under its old incarnation, which counts no more; so before it
//! joins anew they are copied from its log to a *shelf*, one for each incarnation. So are those of
//! another one that counts no more, which it may be the last to hold: it may have confirmed them. They
//! wait for a person, since that other region may come back with them itself.
//!
//! ```text
//! log ─entries beyond what the members hold─▶ aside/DATASET-ORIGIN.entries
//!                                             aside/DATASET-ORIGIN.decisions
//! waiting ──rows unchanged since──▶ resubmitted       a person: resubmit ─▶ resubmitted
//! held by the members after all ─▶ held
//!    └─────changed──▶ waiting, with the reason  ────────────▶  drop ─▶ dropped
//! ```
//!
//! A transaction is written again by itself only where each of its rows is still what it had seen:
//! its version is one of the transaction's dependencies, of its own earlier writes, or of an
//! earlier one that was written again. All of its changes or none. It keeps its client's
//! idempotency key, so one that the client itself has repeated elsewhere isn't repeated here.
//!
//! Entries are written once and whole before the old directory is touched; decisions are appended,
//! each durable before it is told to anybody. A crash between a resubmission and its decision is
//! mended by the idempotency key, by which a client's own repetition elsewhere is recognised, too.

mod judge;
mod resubmit;
mod shelf;

pub(crate) use resubmit::{Resubmission, resubmit_all, resubmit_one};
pub use shelf::ShelfError;
pub(crate) use shelf::{Decision, Kept, Range, Record, Shelf, State};

use meridian_model::{OriginId, Sequence};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names a transaction set aside: `DATASET-ORIGIN-SEQUENCE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeptId {
    pub(crate) dataset: String,
    pub(crate) origin: OriginId,
    pub(crate) sequence: Sequence,
}

impl fmt::Display for KeptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.dataset, self.origin, self.sequence)
    }
}

impl FromStr for KeptId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.rsplitn(3, '-');
        let sequence = parts.next().and_then(|part| part.parse().ok()).ok_or(())?;
        let origin = parts.next().and_then(parse_origin).ok_or(())?;
        let dataset = parts.next().filter(|name| !name.is_empty()).ok_or(())?;
        Ok(Self {
            dataset: dataset.to_owned(),
            origin,
            sequence: Sequence(sequence),
        })
    }
}

fn parse_origin(text: &str) -> Option<OriginId> {
    let is_whole = text.len() == 16;
    is_whole
        .then(|| u64::from_str_radix(text, 16).ok().map(OriginId))
        .flatten()
}

/// What was set aside in a region, by evicted incarnation; clones share it.
#[derive(Clone, Debug)]
pub struct Shelves(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    shelves: Mutex<BTreeMap<(String, OriginId), Arc<Shelf>>>,
}

impl Shelves {
    /// The shelves under a directory, which need not be there.
    ///
    /// # Errors
    /// [`ShelfError`] when one can't be read.
    pub fn open(directory: &Path) -> Result<Self, ShelfError> {
        let mut shelves = BTreeMap::new();
        for (dataset, origin) in shelf::found_in(directory)? {
            let shelf = Shelf::open(directory, &dataset, origin)?;
            shelves.insert((dataset, origin), Arc::new(shelf));
        }
        Ok(Self(Arc::new(Shared {
            directory: directory.to_owned(),
            shelves: Mutex::new(shelves),
        })))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Takes in a shelf that was just written.
    pub(crate) fn add(&self, shelf: Shelf) -> Arc<Shelf> {
        let shelf = Arc::new(shelf);
        let name = (shelf.dataset().to_owned(), shelf.origin());
        self.shelves().insert(name, shelf.clone());
        shelf
    }

    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<Arc<Shelf>> {
        self.shelves().values().cloned().collect()
    }

    /// The shelf of an incarnation.
    pub(crate) fn find(&self, id: &KeptId) -> Option<Arc<Shelf>> {
        let name = (id.dataset.clone(), id.origin);
        self.shelves().get(&name).cloned()
    }

    fn shelves(&self) -> MutexGuard<'_, BTreeMap<(String, OriginId), Arc<Shelf>>> {
        self.0
            .shelves
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_is_shown() {
        let id = KeptId {
            dataset: "main-2".to_owned(),
            origin: OriginId(0xab),
            sequence: Sequence(17),
        };
        assert_eq!(id.to_string(), "main-2-00000000000000ab-17");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "main",
            "main-ab-17",
            "-00000000000000ab-17",
            "main-00000000000000ab-x",
        ] {
            assert!(bad.parse::<KeptId>().is_err(), "{bad}");
        }
    }
}
