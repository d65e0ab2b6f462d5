//! The room left on the disk.
//!
//! Client writes stop while some room is still left: peers' entries, the tables' own upkeep and
//! a clean shutdown need it. The upkeep most of all: tables are merged by writing them anew before the
//! old ones go, and a merge that finds no room stops the tables until the region is restarted.
//!
//! Once they have stopped they begin again where somewhat more is free: at the limit itself every
//! segment and every merge would stop them and let them begin.

use super::{DatasetConfig, ExecuteError};
use crate::faults::DiskLevers;
use meridian_engine_kv::FjallStore;
use std::path::{Path, PathBuf};

/// Kept for peers' entries and the log, in bytes, beside what a merge of the tables takes.
const RESERVE_BYTES: u64 = 64 << 20;

/// A byte of a transaction is written to the log and to the tables' journal.
const BYTES_PER_BYTE: u64 = 2;

/// How much more has to be free for client writes to begin again, in bytes: more than a segment of the
/// log.
const AGAIN_BYTES: u64 = 32 << 20;

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
    reserve: Reserve,
}

/// What is free, and how much of it is kept.
#[derive(Default)]
struct Reserve {
    /// Unknown where the file system doesn't say.
    free_bytes: Option<u64>,
    kept_bytes: u64,
    is_short: bool,
}

impl Reserve {
    fn see(&mut self, free_bytes: Option<u64>, kept_bytes: u64) {
        (self.free_bytes, self.kept_bytes) = (free_bytes, kept_bytes);
        let needed = match self.is_short {
            true => self.again_bytes(),
            false => kept_bytes,
        };
        self.is_short = free_bytes.is_some_and(|free| free < needed);
    }

    fn again_bytes(&self) -> u64 {
        self.kept_bytes.saturating_add(AGAIN_BYTES)
    }
}

impl Room {
    /// Watches the disk under `directory`, in which `store` has its tables, and on which there are
    /// `levers`.
    pub(super) fn new(directory: PathBuf, levers: DiskLevers, store: FjallStore) -> Self {
        let mut room = Self {
            directory,
            levers,
            store,
            reserve: Reserve::default(),
        };
        room.look();
        room
    }

    /// Asks the file system. Where it doesn't say, nothing is refused on its account.
    pub(super) fn look(&mut self) {
        let kept = RESERVE_BYTES + self.store.merge_bytes_max();
        self.reserve.see(free_bytes(&self.directory), kept);
    }

    /// Counts what is about to be written, until the file system is asked again.
    pub(super) fn take(&mut self, transactions_bytes: u64) {
        let bytes = BYTES_PER_BYTE.saturating_mul(transactions_bytes);
        let free = self.reserve.free_bytes;
        let free = free.map(|free| free.saturating_sub(bytes));
        self.reserve.see(free, self.reserve.kept_bytes);
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
        lack(&self.directory, &self.levers, &self.reserve)
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
    let mut reserve = Reserve::default();
    reserve.see(free_bytes(there), reserve_bytes);
    lack(there, &config.disk, &reserve)
}

fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn lack(directory: &Path, levers: &DiskLevers, reserve: &Reserve) -> Option<String> {
    let directory = directory.display();
    if levers.is_full() {
        return Some(format!(
            "nothing is free under {directory}, by a fault on purpose"
        ));
    }
    let free = reserve.free_bytes.filter(|_| reserve.is_short)?;
    let kept = reserve.kept_bytes;
    let again = match free < kept {
        true => String::new(),
        false => format!("; writes begin again at {}", reserve.again_bytes()),
    };
    Some(format!(
        "{free} bytes are free under {directory}, and the last {kept} are kept for peers' entries and \
         for merging the tables{again}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stopped_at_the_reserve_begins_again_a_little_above_it() {
        let kept = 100 << 20;
        let mut reserve = Reserve::default();
        let mut is_short = |free: u64| {
            reserve.see(Some(free), kept);
            reserve.is_short
        };
        assert!(!is_short(kept), "all of the reserve is there");
        assert!(is_short(kept - 1));
        for nearly in [kept, kept + 1, kept + AGAIN_BYTES - 1] {
            assert!(is_short(nearly), "{nearly}");
        }
        assert!(!is_short(kept + AGAIN_BYTES));
        assert!(!is_short(kept), "it has begun again");
        assert!(is_short(0));
        reserve.see(None, kept);
        assert!(!reserve.is_short, "nobody says how much is free");
    }
}
