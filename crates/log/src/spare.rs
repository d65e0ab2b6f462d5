//! The next segment's file, made ahead.
//!
//! Writing 16 MiB of zeros takes longer than a hundred commits, so it happens in a thread of its own
//! once the active segment is half full. Where commits are large, the file's room is only reserved
//! ([`Filling`]): zeros would be as many bytes again as the entries. The file is made under a name that recovery throws away,
//! gets its header, is synced, and only then renamed to what it is: a file with a segment's name
//! always has a whole header.

use crate::Disk;
use crate::error::LogError;
use crate::scan::size_of;
use std::io;
use std::thread::JoinHandle;

/// The name under which the next segment is made.
pub(crate) const SPARE_NAME: &str = "next";

/// How a segment gets its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Zeros, so that a small commit's sync has nothing but the commit to write.
    Zeros,
    /// Reserved, for large commits.
    Reserved,
}

/// Commits of this many bytes on average are large.
const LARGE_COMMIT_BYTES: u64 = 64 << 10;

impl Filling {
    /// What suits a segment like the one that has taken so much in so many commits.
    pub fn after(bytes: u64, commits: u64) -> Self {
        if bytes / commits.max(1) < LARGE_COMMIT_BYTES {
            Self::Zeros
        } else {
            Self::Reserved
        }
    }
}

/// The next segment's file.
pub(crate) struct Spare<D: Disk> {
    disk: D,
    state: SpareState,
}

enum SpareState {
    /// There is none, or one that isn't to be used.
    Missing,
    /// A thread is making one of this size.
    Making(JoinHandle<io::Result<()>>, u64),
}

impl<D: Disk> Spare<D> {
    pub fn new(disk: D) -> Self {
        Self {
            disk,
            state: SpareState::Missing,
        }
    }

    /// Starts to make it, unless that was done. A failure shows when the file is needed.
    pub fn prepare(&mut self, size: u64, filling: Filling) {
        if matches!(self.state, SpareState::Making(..)) {
            return;
        }
        let disk = self.disk.clone();
        let thread = std::thread::Builder::new()
            .name("log-spare".to_owned())
            .spawn(move || recreate(&disk, size, filling));
        if let Ok(thread) = thread {
            self.state = SpareState::Making(thread, size);
        }
    }

    /// The space it takes.
    pub fn bytes(&self) -> u64 {
        match &self.state {
            SpareState::Making(_, size) => *size,
            SpareState::Missing => 0,
        }
    }

    /// A file that reads as zeros, under [`SPARE_NAME`] of at least this size: the one made ahead where it will
    /// do, else a new one. Gives its size.
    pub fn take(&mut self, size_min: u64, size: u64, filling: Filling) -> Result<u64, LogError> {
        if let Some(ready) = self.finish()
            && ready >= size_min
        {
            return Ok(size_of(&self.disk, SPARE_NAME)?.min(ready));
        }
        let size = size.max(size_min);
        recreate(&self.disk, size, filling).map_err(|source| LogError::Create {
            file: SPARE_NAME.to_owned(),
            bytes: size,
            source,
        })?;
        Ok(size)
    }

    /// Waits for the thread; the size of what it made.
    fn finish(&mut self) -> Option<u64> {
        match std::mem::replace(&mut self.state, SpareState::Missing) {
            SpareState::Making(thread, size) => match thread.join() {
                Ok(Ok(())) => Some(size),
                // Tried again by the caller, who then tells why it fails.
                Ok(Err(_)) | Err(_) => None,
            },
            SpareState::Missing => None,
        }
    }
}

/// Makes the file anew: what an earlier attempt left may have been written to.
fn recreate<D: Disk>(disk: &D, size: u64, filling: Filling) -> io::Result<()> {
    discard(disk)?;
    match filling {
        Filling::Zeros => disk.create(SPARE_NAME, size),
        Filling::Reserved => disk.reserve(SPARE_NAME, size),
    }
}

/// Removes the file, where there is one.
pub(crate) fn discard<D: Disk>(disk: &D) -> io::Result<()> {
    match disk.remove(SPARE_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl<D: Disk> Drop for Spare<D> {
    fn drop(&mut self) {
        // The thread must not meet a log that is opened on the same directory afterwards.
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_commits_are_not_worth_zeros() {
        assert_eq!(Filling::after(0, 0), Filling::Zeros);
        assert_eq!(Filling::after(8 << 20, 400), Filling::Zeros);
        assert_eq!(Filling::after(8 << 20, 4), Filling::Reserved);
    }
}
