//! The store on disk: one LSM tree of fjall.
//!
//! Why *one* keyspace, where several would be the obvious layout: commits are not synced, so a
//! power failure may take the end of fjall's journal while tables that were flushed before it are
//! on disk. With several trees, one could then be ahead of another. With a single tree the state
//! after any crash is the state after some commit, because
//!
//! - a batch is inserted into the memtable under the journal's lock, and a memtable is sealed
//!   under the same lock: a memtable's boundary is a boundary between batches;
//! - a flush writes *all* sealed memtables as one merged run and registers the tables in one
//!   manifest switch, and flushes hold the tree's flush lock: what is flushed is a prefix of the
//!   commits;
//! - before a flush the journal is synced (or sealed, which syncs it);
//! - recovery skips journal batches up to the highest flushed sequence number, replays the rest in
//!   order, and drops an unfinished batch at the end. What it would drop for another reason is found
//!   before (`journal.rs`).
//!
//! (fjall 3.1: `batch::commit`, `keyspace::inner_rotate_memtable`, `worker_pool::worker_tick`,
//! `AbstractTree::flush`, `db::recover`.)
//!
//! So the kinds of record share the tree, told apart by a key's first byte.
//!
//! Readers take a snapshot even for one key: fjall's plain `get` sees a batch while it is being
//! inserted, so that two reads in a row could see half a transaction. Only the writer uses it.
//!
//! One worker thread: with two, the first hands compactions round in a busy loop while the second
//! compacts.

use crate::journal::{self, JournalDamage};
use crate::{Order, Store, StoreError, View, Visitor, Writes};
use fjall::config::{BlockSizePolicy, CompressionPolicy, PartitioningPolicy};
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice,
    Snapshot,
};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1024 * 1024;
const MEMTABLE_BYTES_MAX: u64 = 8 * MIB;
const CACHE_BYTES: u64 = 16 * MIB;
/// Of closed journals; each is 64 MiB at the least.
const JOURNALS_BYTES_MAX: u64 = 128 * MIB;
/// A merge into the first level reads all of it, at most four tables of 64 MiB, and what has been
/// flushed meanwhile; one further down reads less (lsm-tree 3.1: `compaction::leveled`).
const MERGE_BYTES_MAX: u64 = 512 * MIB;
const OPEN_FILES_MAX: usize = 128;
const WORKER_THREADS: usize = 1;
const KEYSPACE: &str = "tables";
/// The file that whoever has the store open has locked.
const LOCK: &str = "lock";

/// A store on disk. Clones share it.
#[derive(Clone)]
pub struct FjallStore {
    inner: Arc<Inner>,
}

struct Inner {
    // The order of the fields is the order in which they are closed.
    keyspace: Keyspace,
    database: Database,
    path: PathBuf,
    damage: Option<JournalDamage>,
}

impl std::fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallStore")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

impl FjallStore {
    /// Opens the store in `path`, which is made where it is missing. Where its journal is damaged, it
    /// is what it was after an earlier commit, and says so ([`FjallStore::journal_damage`]).
    ///
    /// # Errors
    /// [`StoreError`] when the directory can't be used or what is in it is damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let damage = settle_journal(path)?;
        let database = Database::builder(path)
            .manual_journal_persist(true)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNALS_BYTES_MAX)
            .max_cached_files(Some(OPEN_FILES_MAX))
            .worker_threads(WORKER_THREADS)
            .open()
            .map_err(|error| store_error(path, error))?;
        let keyspace = database
            .keyspace(KEYSPACE, options)
            .map_err(|error| store_error(path, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                keyspace,
                database,
                path: path.to_owned(),
                damage,
            }),
        })
    }

    /// What was found damaged when it was opened, or before and nobody was told.
    #[must_use]
    pub fn journal_damage(&self) -> Option<&JournalDamage> {
        self.inner.damage.as_ref()
    }

    /// Somebody has been told of it: later it is no news.
    ///
    /// # Errors
    /// [`StoreError`] when that can't be noted; it is told once more then.
    pub fn journal_damage_told(&self) -> Result<(), StoreError> {
        let path = &self.inner.path;
        journal::told(path).map_err(|source| io_error(path.clone(), source))
    }

    /// The most that a merge of its tables needs on disk beside what it reads, in bytes: until it is
    /// done, both are there. A merge that finds no room stops the store.
    #[must_use]
    pub fn merge_bytes_max(&self) -> u64 {
        self.inner.keyspace.disk_space().min(MERGE_BYTES_MAX)
    }
}

fn settle_journal(path: &Path) -> Result<Option<JournalDamage>, StoreError> {
    let io = |source| io_error(path.to_owned(), source);
    let lock = match File::open(path.join(LOCK)) {
        // Nobody has opened it yet, or has come far with that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        lock => lock.map_err(io)?,
    };
    match lock.try_lock() {
        Ok(()) => journal::settle(path).map_err(io),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .manual_journal_persist(true)
        .max_memtable_size(MEMTABLE_BYTES_MAX)
        .data_block_size_policy(BlockSizePolicy::all(8 * 1024))
        // What has just been written is soon merged into the next level: not worth the work twice.
        .data_block_compression_policy(CompressionPolicy::new([
            CompressionType::None,
            CompressionType::Lz4,
        ]))
        // A table's filter in one piece is megabytes. Where the cache doesn't take that, each read of
        // a row would read all of it.
        .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
        .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
}

impl Inner {
    fn error(&self, error: fjall::Error) -> StoreError {
        store_error(&self.path, error)
    }
}

impl Store for FjallStore {
    type View = FjallView;

    fn view(&self) -> FjallView {
        FjallView {
            snapshot: self.inner.database.snapshot(),
            inner: Arc::clone(&self.inner),
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<FjallValue>, StoreError> {
        let value = self.inner.keyspace.get(key);
        let value = value.map_err(|error| self.inner.error(error))?;
        Ok(value.map(FjallValue))
    }

    fn commit(&self, writes: Writes) -> Result<(), StoreError> {
        let keyspace = &self.inner.keyspace;
        // Handed to the kernel, so that a killed process loses nothing; synced by `persist` only.
        let batch = self.inner.database.batch();
        let mut batch = batch.durability(Some(PersistMode::Buffer));
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(|error| self.inner.error(error))
    }

    fn persist(&self) -> Result<(), StoreError> {
        let persisted = self.inner.database.persist(PersistMode::SyncAll);
        persisted.map_err(|error| self.inner.error(error))
    }
}

/// A committed state of the store.
#[derive(Clone)]
pub struct FjallView {
    snapshot: Snapshot,
    inner: Arc<Inner>,
}

/// A value as the store holds it.
#[derive(Clone, Debug)]
pub struct FjallValue(Slice);

impl AsRef<[u8]> for FjallValue {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl View for FjallView {
    type Value = FjallValue;

    fn get(&self, key: &[u8]) -> Result<Option<FjallValue>, StoreError> {
        let value = self.snapshot.get(&self.inner.keyspace, key);
        let value = value.map_err(|error| self.inner.error(error))?;
        Ok(value.map(FjallValue))
    }

    fn visit(
        &self,
        start: &[u8],
        end: &[u8],
        order: Order,
        f: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if start >= end {
            return Ok(());
        }
        let range = start..end;
        let mut records = self.snapshot.range(&self.inner.keyspace, range);
        let next = || match order {
            Order::Ascending => records.next(),
            Order::Descending => records.next_back(),
        };
        for record in std::iter::from_fn(next) {
            let (key, value) = record
                .into_inner()
                .map_err(|error| self.inner.error(error))?;
            if f(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn store_error(path: &Path, error: fjall::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            io_error(path, source)
        }
        fjall::Error::Poisoned => StoreError::Stopped { path },
        fjall::Error::Locked => StoreError::InUse { path },
        fjall::Error::InvalidVersion(found) => StoreError::Version {
            path,
            detail: format!("{found:?}"),
        },
        fjall::Error::Storage(fjall::LsmError::InvalidVersion(found)) => StoreError::Version {
            path,
            detail: format!("table format {found}"),
        },
        other => StoreError::Corrupt {
            path,
            detail: other.to_string(),
        },
    }
}

fn io_error(path: PathBuf, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            StoreError::DiskFull { path, source }
        }
        // A file that ends too early, or a part of one that is gone, was written whole once.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => StoreError::Corrupt {
            path,
            detail: source.to_string(),
        },
        _ => StoreError::Io { path, source },
    }
}
