//! The room left on the disk.
//!
//! Client writes stop while some room is still left: peers' entries, the tables' own upkeep and
//! a clean shutdown need it, and a disk that is full to the last byte stops all of these.

use std::path::PathBuf;

/// Client writes are refused while less than this is free, in bytes.
const RESERVE_BYTES: u64 = 64 << 20;

/// Watches the disk under a directory.
#[derive(Debug)]
pub(super) struct Room {
    directory: PathBuf,
    free_bytes: Option<u64>,
}

impl Room {
    /// Watches the disk under `directory`.
    pub(super) fn new(directory: PathBuf) -> Self {
        let mut room = Self {
            directory,
            free_bytes: None,
        };
        room.look();
        room
    }

    /// Asks the file system. Where it doesn't say, nothing is refused on its account.
    pub(super) fn look(&mut self) {
        let stat = rustix::fs::statvfs(&self.directory).ok();
        self.free_bytes = stat.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    }

    /// Why client writes have to wait, if they do.
    pub(super) fn shortage(&self) -> Option<String> {
        let free = self.free_bytes.filter(|free| *free < RESERVE_BYTES)?;
        Some(format!(
            "{free} bytes are free under {}, and the last {RESERVE_BYTES} are kept for peers' \
             entries and the tables",
            self.directory.display()
        ))
    }
}
