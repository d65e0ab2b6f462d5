//! The room left on the disk.
//!
//! Client writes stop while some room is still left: peers' entries, the tables' own upkeep and
//! a clean shutdown need it. The upkeep most of all: tables are merged by writing them anew before the
//! old ones go, and a merge that finds no room stops the tables until the region is restarted.

use super::{DatasetConfig, ExecuteError};
use crate::faults::DiskLevers;
use meridian_engine_kv::FjallStore;
use std::path::{Path, PathBuf};

/// Kept for peers' entries and the log, in bytes, beside what a merge of the tables takes.
const RESERVE_BYTES: u64 = 64 << 20;

/// A byte of a transaction is written to the log and to the tables' journal.
const BYTES_PER_BYTE: u64 = 2;

/// What client writes wait for. They are taken again by themselves once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// Room on the disk; how much there is.
    Disk(String),
    /// Room in the log's budget, which peers that are away fill; how much it takes.
    LogBudget(String),
}

impl Shortage {
    /// How it stands.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Disk(reason) | Self::LogBudget(reason) => reason,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk(_) => "make room; writes are taken again by themselves",
            Self::LogBudget(_) => {
                "a peer has been away for long: bring it back, or give the log more disk; writes are \
                 taken again by themselves"
            }
        }
    }
}

/// Watches the disk under a directory.
pub(super) struct Room {
    directory: PathBuf,
    levers: DiskLevers,
    store: FjallStore,
    free_bytes: Option<u64>,
    reserve_bytes: u64,
}

impl Room {
    /// Watches the disk under `directory`, in which `store` has its tables, and on which there are
    /// `levers`.
    pub(super) fn new(directory: PathBuf, levers: DiskLevers, store: FjallStore) -> Self {
        let mut room = Self {
            directory,
            levers,
            store,
            free_bytes: None,
            reserve_bytes: RESERVE_BYTES,
        };
        room.look();
        room
    }

    /// Asks the file system. Where it doesn't say, nothing is refused on its account.
    pub(super) fn look(&mut self) {
        self.free_bytes = free_bytes(&self.directory);
        self.reserve_bytes = RESERVE_BYTES + self.store.merge_bytes_max();
    }

    /// Counts what is about to be written, until the file system is asked again.
    pub(super) fn take(&mut self, transactions_bytes: u64) {
        let bytes = BYTES_PER_BYTE.saturating_mul(transactions_bytes);
        self.free_bytes = self.free_bytes.map(|free| free.saturating_sub(bytes));
    }

    /// What client writes have to wait for, if they do, with a log of so many bytes.
    pub(super) fn shortage(&self, log_bytes: u64, log_bytes_max: u64) -> Option<Shortage> {
        let disk = self.lack().map(Shortage::Disk);
        let budget = || {
            let error = ExecuteError::LogBudget {
                bytes: log_bytes,
                bytes_max: log_bytes_max,
            };
            (log_bytes > log_bytes_max).then(|| Shortage::LogBudget(error.to_string()))
        };
        disk.or_else(budget)
    }

    /// Why the disk takes no client writes, if it doesn't.
    pub(super) fn lack(&self) -> Option<String> {
        lack(
            &self.directory,
            &self.levers,
            self.free_bytes,
            self.reserve_bytes,
        )
    }
}

/// What a copy of a peer's tables has to wait for, in a directory that need not be there yet: room
/// beside that which clients' writes would have to leave. `store` has what there is of the copy; a
/// witness, which takes no records, has none.
pub(super) fn lack_for_copy(config: &DatasetConfig, store: Option<&FjallStore>) -> Option<String> {
    let mut above = config.directory.ancestors();
    let there = above.find(|it| it.exists()).unwrap_or(&config.directory);
    let reserve_bytes = if config.replica.witnesses.contains(&config.replica.region) {
        0
    } else {
        RESERVE_BYTES + store.map_or(0, FjallStore::merge_bytes_max)
    };
    lack(there, &config.disk, free_bytes(there), reserve_bytes)
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn lack(
    directory: &Path,
    levers: &DiskLevers,
    free_bytes: Option<u64>,
    reserve_bytes: u64,
) -> Option<String> {
    let directory = directory.display();
    if levers.is_full() {
        return Some(format!(
            "nothing is free under {directory}, by a fault on purpose"
        ));
    }
    let free = free_bytes.filter(|free| *free < reserve_bytes)?;
    Some(format!(
        "{free} bytes are free under {directory}, and the last {reserve_bytes} are kept for peers' \
         entries and for merging the tables"
    ))
}
