//! A disk that can be slow or full.
//!
//! Without a fault a write costs two relaxed loads more than on the disk beneath. Only what the log
//! writes is touched; reading, removing and renaming work on a full disk too, as they do in life. A
//! sync of a full disk succeeds: what it makes durable was written before, into files that have
//! their full size already.

use meridian_log::Disk;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The levers of a region's disks; clones move the same levers.
#[derive(Clone, Debug, Default)]
pub struct DiskLevers(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_full: AtomicBool,
    added_micros: AtomicU64,
}

impl DiskLevers {
    /// Whether writes fail for want of room.
    pub fn set_full(&self, is_full: bool) {
        self.0.is_full.store(is_full, Ordering::Relaxed);
    }

    /// How much longer each write and each sync takes.
    pub fn set_added(&self, added: Duration) {
        let micros = u64::try_from(added.as_micros()).unwrap_or(u64::MAX);
        self.0.added_micros.store(micros, Ordering::Relaxed);
    }

    /// Whether writes fail for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.is_full.load(Ordering::Relaxed)
    }

    fn linger(&self) {
        let micros = self.0.added_micros.load(Ordering::Relaxed);
        if micros > 0 {
            std::thread::sleep(Duration::from_micros(micros));
        }
    }

    fn take_room(&self) -> io::Result<()> {
        if self.is_full() {
            return Err(io::Error::from(rustix::io::Errno::NOSPC));
        }
        Ok(())
    }
}

/// A [`Disk`] with levers.
#[derive(Clone, Debug)]
pub struct FaultyDisk<D> {
    disk: D,
    levers: DiskLevers,
}

impl<D> FaultyDisk<D> {
    /// The disk, with these levers on it.
    pub fn new(disk: D, levers: DiskLevers) -> Self {
        Self { disk, levers }
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, size: u64) -> io::Result<()> {
        self.levers.take_room()?;
        self.disk.create(name, size)
    }

    fn reserve(&self, name: &str, size: u64) -> io::Result<()> {
        self.levers.take_room()?;
        self.disk.reserve(name, size)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(name, offset, buffer)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.levers.linger();
        self.levers.take_room()?;
        self.disk.write_at(name, offset, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.levers.linger();
        self.disk.sync(name)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.disk.size(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_log::MemoryDisk;
    use std::time::Instant;

    #[test]
    fn a_full_disk_takes_no_writes_until_there_is_room_again() {
        let levers = DiskLevers::default();
        let disk = FaultyDisk::new(MemoryDisk::default(), levers.clone());
        disk.create("a", 8).unwrap();
        levers.set_full(true);
        let full = io::ErrorKind::StorageFull;
        assert_eq!(disk.write_at("a", 0, b"x").unwrap_err().kind(), full);
        assert_eq!(disk.create("b", 8).unwrap_err().kind(), full);
        assert_eq!(disk.reserve("b", 8).unwrap_err().kind(), full);
        disk.sync("a").unwrap();
        levers.set_full(false);
        disk.write_at("a", 0, b"x").unwrap();
    }

    #[test]
    fn a_slow_disk_takes_its_time_over_writes_and_syncs() {
        let levers = DiskLevers::default();
        let disk = FaultyDisk::new(MemoryDisk::default(), levers.clone());
        disk.create("a", 8).unwrap();
        let added = Duration::from_millis(20);
        levers.set_added(added);
        let began = Instant::now();
        disk.write_at("a", 0, b"x").unwrap();
        disk.sync("a").unwrap();
        assert!(began.elapsed() >= 2 * added);
    }
}
