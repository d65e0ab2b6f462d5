//! What the tables ask of an ordered key-value store.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// Writes that are made in one atomic step: `None` removes the key.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What is shown a key and its value, and says whether to go on.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered key-value store with atomic batches and snapshots. One writer, many readers.
///
/// After a crash the store holds the state after some commit, no earlier than the last
/// [`Store::persist`]: commits may be lost from the end, never from the middle and never in part.
pub trait Store: Clone + Send + Sync + 'static {
    /// A snapshot.
    type View: View;

    /// The committed state as of now; later commits don't show in it.
    fn view(&self) -> Self::View;

    /// A key's value for the writer, which no commit can run beside: cheaper than a snapshot.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<<Self::View as View>::Value>, StoreError>;

    /// Makes the writes visible all at once, without waiting for the disk.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be written; the store should then be opened anew.
    fn commit(&self, writes: Writes) -> Result<(), StoreError>;

    /// Makes all commits so far survive a power loss.
    ///
    /// # Errors
    /// [`StoreError`] when the disk refused.
    fn persist(&self) -> Result<(), StoreError>;
}

/// A committed state that doesn't change.
pub trait View {
    /// Bytes as the store holds them.
    type Value: AsRef<[u8]>;

    /// A key's value.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Self::Value>, StoreError>;

    /// Shows `f` the keys from `start` up to but not including `end`, until it breaks.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be read.
    fn visit(
        &self,
        start: &[u8],
        end: &[u8],
        order: Order,
        f: &mut Visitor<'_>,
    ) -> Result<(), StoreError>;
}

/// Which way keys are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the lowest key up.
    Ascending,
    /// From the highest key down.
    Descending,
}

/// The store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room is left.
    #[error(
        "the disk under the tables in {path} is full\n\nhint: make room and restart the region; \
         nothing acknowledged is lost, the tables catch up from the log"
    )]
    DiskFull {
        /// The store's directory.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: std::io::Error,
    },
    /// The files of the store are damaged.
    #[error(
        "the tables in {path} are damaged: {detail}\n\nhint: stop the region, keep a copy of \
         this directory and check the disk; the log beside it is whole unless it says otherwise"
    )]
    Corrupt {
        /// The store's directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// An earlier failure in the background stopped the store.
    #[error(
        "the tables in {path} stopped after an earlier write to disk failed\n\nhint: see to the \
         disk (space, health), then restart the region; the tables catch up from the log"
    )]
    Stopped {
        /// The store's directory.
        path: PathBuf,
    },
    /// Another process holds the store.
    #[error(
        "the tables in {path} are in use by another process\n\nhint: a region runs once per data \
         directory; stop the other one"
    )]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// Another version of the storage engine wrote the files.
    #[error(
        "the tables in {path} were written by another version of the storage engine ({detail})\n\n\
         hint: use the build that wrote them"
    )]
    Version {
        /// The store's directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The operating system refused.
    #[error("the tables in {path} could not be read or written: {source}")]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the cause is a full disk.
    #[must_use]
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// Whether the disk refused a write, now or in the background before: once it takes writes again,
    /// so does the store when it is opened anew.
    #[must_use]
    pub fn disk_refused(&self) -> bool {
        matches!(self, Self::DiskFull { .. } | Self::Stopped { .. })
    }
}
