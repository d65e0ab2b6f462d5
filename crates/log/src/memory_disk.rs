//! A disk in memory that can do what disks do on their worst day, for the simulator and tests.
//!
//! It keeps, for each sector written since the last sync, what the sector held before. A crash
//! decides for each of them whether the old or the new content is there afterwards: writes are torn
//! and arrive in any order. A name that was being made or removed when the power went is decided in
//! the same way.

use crate::Disk;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A [`Disk`] in memory. Clones share the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Debug, Default)]
struct DiskState {
    files: BTreeMap<String, File>,
    capacity: Option<u64>,
    ignores_syncs: bool,
    syncs: u64,
    /// How many operations that change something still succeed.
    power: Option<u64>,
    /// The change of names that the power cut interrupted.
    interrupted: Option<NameChange>,
    /// How the next writes fail, and how many of their bytes are written all the same.
    write_errors: VecDeque<(io::ErrorKind, usize)>,
    next_sync_fails: bool,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    /// Sectors written since the last sync, and what they held before.
    unsynced: BTreeMap<usize, Vec<u8>>,
    /// Sectors whose sync failed, and what the disk holds instead. Like a kernel's cache, reads show
    /// what was written, and a later sync takes them for clean; only writing them again helps.
    lost: BTreeMap<usize, Vec<u8>>,
    /// Whether the file's name would survive a crash.
    is_name_unsynced: bool,
}

#[derive(Debug)]
enum NameChange {
    Remove(String),
    Rename(String, String),
}

impl MemoryDisk {
    /// An empty disk without limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state
            .lock()
            .expect("nothing panics while it holds the disk")
    }

    /// The power goes and comes back: each sector that wasn't synced is kept or not, as `random`
    /// says. What a power cut had stopped works again.
    pub fn crash(&self, random: &mut dyn FnMut() -> u64) {
        self.state().crash(random);
    }

    /// The process is killed and started again, the machine goes on: what was written is there.
    pub fn restore_power(&self) {
        let mut state = self.state();
        state.power = None;
        state.interrupted = None;
    }

    /// After this many further operations that change something, the power is cut in the middle of
    /// the next: it and all later ones fail until [`MemoryDisk::crash`].
    pub fn cut_power_after(&self, operations: u64) {
        self.state().power = Some(operations);
    }

    /// Limits the files' sizes in sum; `None` lifts the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Makes the disk lie: a sync succeeds and does nothing.
    pub fn ignore_syncs(&self, ignores: bool) {
        self.state().ignores_syncs = ignores;
    }

    /// How many syncs were asked for.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Makes the next write fail after at most so many of its bytes were written; called twice, the
    /// next two.
    pub fn fail_next_write(&self, kind: io::ErrorKind, bytes_written: usize) {
        self.state().write_errors.push_back((kind, bytes_written));
    }

    /// Makes the next sync fail. What was to be synced still reads as written, and yet no later sync
    /// makes it durable: a crash brings back what was before.
    pub fn fail_next_sync(&self) {
        self.state().next_sync_fails = true;
    }

    /// The sum of the files' sizes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes()
    }

    /// A file's bytes, durable or not.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.state().files.get(name).map(|file| file.bytes.clone())
    }

    /// Flips one bit of a byte. Nothing happens where there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        if let Some(file) = self.state().files.get_mut(name)
            && let Some(byte) = file.bytes.get_mut(as_usize(offset))
        {
            *byte ^= 1 << (bit % 8);
        }
    }

    /// Cuts a file off. Nothing happens where it is shorter or missing.
    pub fn truncate(&self, name: &str, length: u64) {
        if let Some(file) = self.state().files.get_mut(name) {
            file.truncate(as_usize(length));
        }
    }

    /// A second disk with the same files, all durable.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut files = self.state().files.clone();
        for file in files.values_mut() {
            file.unsynced.clear();
            file.lost.clear();
            file.is_name_unsynced = false;
        }
        let state = DiskState {
            files,
            ..DiskState::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl DiskState {
    fn bytes(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.bytes.len() as u64)
            .sum()
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Counts an operation that changes something; false once the power is gone. The operation that
    /// meets the cut is told so by `Some(false)`, the later ones fail.
    fn use_power(&mut self) -> io::Result<bool> {
        match &mut self.power {
            None => Ok(true),
            Some(u64::MAX) => Err(power_cut()),
            Some(0) => {
                self.power = Some(u64::MAX);
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
        }
    }

    fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        self.power = None;
        match self.interrupted.take() {
            Some(NameChange::Remove(name)) if random() & 1 == 0 => {
                self.files.remove(&name);
            }
            Some(NameChange::Rename(from, to)) if random() & 1 == 0 => self.rename(&from, to),
            _ => {}
        }
        self.files
            .retain(|_, file| !file.is_name_unsynced || random() & 1 == 0);
        for file in self.files.values_mut() {
            file.crash(random);
        }
    }

    fn rename(&mut self, from: &str, to: String) {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to, file);
        }
    }

    fn has_room(&self, more: u64) -> bool {
        self.capacity
            .is_none_or(|capacity| self.bytes() + more <= capacity)
    }
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for sector in offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES {
            let start = sector * SECTOR_BYTES;
            let stop = (start + SECTOR_BYTES).min(self.bytes.len());
            let before = self.lost.remove(&sector);
            let before = before.unwrap_or_else(|| self.bytes[start..stop].to_vec());
            self.unsynced.entry(sector).or_insert(before);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        for sectors in [&mut self.unsynced, &mut self.lost] {
            sectors.retain(|sector, before| {
                before.truncate(length.saturating_sub(sector * SECTOR_BYTES));
                !before.is_empty()
            });
        }
    }

    fn restore(&mut self, sector: usize, before: &[u8]) {
        let start = sector * SECTOR_BYTES;
        self.bytes[start..start + before.len()].copy_from_slice(before);
    }

    fn crash(&mut self, random: &mut dyn FnMut() -> u64) {
        for (sector, before) in std::mem::take(&mut self.unsynced) {
            if random() & 1 == 0 {
                self.restore(sector, &before);
            }
        }
        for (sector, before) in std::mem::take(&mut self.lost) {
            self.restore(sector, &before);
        }
        if self.is_name_unsynced {
            let length = random() % (self.bytes.len() as u64 + 1);
            self.bytes.truncate(as_usize(length));
        }
        self.is_name_unsynced = false;
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.files.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, name));
        }
        if !state.has_room(size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let has_power = state.use_power()?;
        let file = File {
            bytes: vec![0; as_usize(size)],
            is_name_unsynced: !has_power,
            ..File::default()
        };
        state.files.insert(name.to_owned(), file);
        if has_power { Ok(()) } else { Err(power_cut()) }
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        let bytes = &state.file(name)?.bytes;
        let rest = bytes.get(as_usize(offset)..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let grows =
            (offset + bytes.len() as u64).saturating_sub(state.file(name)?.bytes.len() as u64);
        if grows > 0 && !state.has_room(grows) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let has_power = state.use_power()?;
        let error = state.write_errors.pop_front();
        let file = state.file(name)?;
        if let Some((kind, written)) = error {
            file.write(as_usize(offset), &bytes[..bytes.len().min(written)]);
            return Err(kind.into());
        }
        file.write(as_usize(offset), bytes);
        if has_power { Ok(()) } else { Err(power_cut()) }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.use_power()? {
            return Err(power_cut());
        }
        state.syncs += 1;
        let ignores = state.ignores_syncs;
        let fails = std::mem::take(&mut state.next_sync_fails);
        let file = state.file(name)?;
        if fails {
            file.lost.append(&mut file.unsynced);
            return Err(io::Error::other("the disk could not write"));
        }
        if !ignores {
            file.unsynced.clear();
        }
        Ok(())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.state().file(name)?.bytes.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.file(from)?;
        if state.use_power()? {
            state.rename(from, to.to_owned());
            return Ok(());
        }
        state.interrupted = Some(NameChange::Rename(from.to_owned(), to.to_owned()));
        Err(power_cut())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.file(name)?;
        if state.use_power()? {
            state.files.remove(name);
            return Ok(());
        }
        state.interrupted = Some(NameChange::Remove(name.to_owned()));
        Err(power_cut())
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no file {name}"))
}

fn power_cut() -> io::Error {
    io::Error::other("the power is gone")
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
