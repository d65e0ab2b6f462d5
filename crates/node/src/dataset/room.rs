//! The room left on the disk.
//!
//! Client writes stop while some room is still left: peers' entries, the tables' own upkeep and
//! a clean shutdown need it. The upkeep most of all: tables are merged by writing them anew before the
//! old ones go, and a merge that finds no room stops the tables until the region is restarted.

use meridian_engine_kv::FjallStore;
use std::path::PathBuf;

/// Kept for peers' entries and the log, in bytes, beside what a merge of the tables takes.
const RESERVE_BYTES: u64 = 64 << 20;

/// A byte of a transaction is written to the log and to the tables' journal.
const BYTES_PER_BYTE: u64 = 2;

/// Watches the disk under a directory.
pub(super) struct Room {
    directory: PathBuf,
    store: FjallStore,
    free_bytes: Option<u64>,
    reserve_bytes: u64,
}

impl Room {
    /// Watches the disk under `directory`, in which `store` has its tables.
    pub(super) fn new(directory: PathBuf, store: FjallStore) -> Self {
        let mut room = Self {
            directory,
            store,
            free_bytes: None,
            reserve_bytes: RESERVE_BYTES,
        };
        room.look();
        room
    }

    /// Asks the file system. Where it doesn't say, nothing is refused on its account.
    pub(super) fn look(&mut self) {
        let stat = rustix::fs::statvfs(&self.directory).ok();
        self.free_bytes = stat.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        self.reserve_bytes = RESERVE_BYTES + self.store.merge_bytes_max();
    }

    /// Counts what is about to be written, until the file system is asked again.
    pub(super) fn take(&mut self, transactions_bytes: u64) {
        let bytes = BYTES_PER_BYTE.saturating_mul(transactions_bytes);
        self.free_bytes = self.free_bytes.map(|free| free.saturating_sub(bytes));
    }

    /// Why client writes have to wait, if they do.
    pub(super) fn shortage(&self) -> Option<String> {
        let reserve = self.reserve_bytes;
        let free = self.free_bytes.filter(|free| *free < reserve)?;
        Some(format!(
            "{free} bytes are free under {}, and the last {reserve} are kept for peers' entries and \
             for merging the tables",
            self.directory.display()
        ))
    }
}
