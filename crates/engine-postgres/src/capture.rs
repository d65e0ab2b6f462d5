//! Capture: the server's committed transactions, in WAL order.
//!
//! ```text
//! server ─▶ connection ─▶ stream ─▶ assemble (pgoutput, relations, tag) ─▶ task ─▶ Capture::next
//!                 ◀────────────────────── status ◀──────────────────────────────── Capture::confirm
//! ```
//!
//! One logical slot with the plugin `pgoutput` is read. Its stream starts behind what was captured
//! before, each committed transaction is one [`Event::Transaction`], and what is confirmed, because
//! the log holds it on disk, the server may throw away.
//!
//! Invariants:
//! - events are in WAL order; a transaction is told whole, and once for each start before which it
//!   wasn't captured;
//! - nothing is confirmed that the caller didn't;
//! - a transaction of any size takes a bounded amount of memory, and so do those that wait.

use crate::catalog::TableName;
use crate::server::ServerConfig;
use crate::tag::{Tag, TagKey};
use crate::{Lsn, ServerIdentity, Xid};
use meridian_model::Micros;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

mod assemble;
mod authentication;
mod changes;
mod connection;
mod create;
mod endpoint;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod pgoutput;
mod preflight;
mod refusal;
mod relations;
mod stream;
mod task;
mod timelines;

pub use changes::{Changes, ChangesError, Chunks, Spool, SpooledChunks};
pub use create::{NewSlot, create_slot};
pub use error::CaptureError;
pub use preflight::ServerPlace;
pub use relations::RowError;
pub use timelines::earlier_timelines;

/// How much memory the changes of one transaction may take, about; beyond that they go into a file.
const HELD_BYTES_MAX: usize = 8 << 20;

/// A slot's stream, as events. It ends when this is dropped; the slot is free soon after, when the
/// server has seen it.
#[derive(Debug)]
pub struct Capture {
    events: mpsc::UnboundedReceiver<task::Waiting>,
    confirmed: watch::Sender<Lsn>,
    task: JoinHandle<()>,
    place: ServerPlace,
    slot_confirmed: Lsn,
    forged: Arc<AtomicU64>,
}

impl Capture {
    /// Begins to read a slot behind `after`: the end of a transaction captured, a position passed, or
    /// zero for all that the slot has. Large transactions are put aside in files without names in
    /// `spool_directory`, which is made if it isn't there.
    ///
    /// # Errors
    /// [`CaptureError`] when the stream can't be had.
    pub async fn start(
        server: &ServerConfig,
        slot: &str,
        publication: &str,
        after: Lsn,
        key: &TagKey,
        spool_directory: &Path,
    ) -> Result<Self, CaptureError> {
        let begin = Begin { after, from: after };
        Self::begin(server, slot, publication, begin, key, spool_directory).await
    }

    /// Begins behind all that ended before `ends`, with the transaction that ends there: a part of it
    /// was captured. Where its commit record begins isn't known, and the server skips what begins
    /// before the position asked for; so it is asked for all that the slot has, and what is known is
    /// left out here.
    ///
    /// # Errors
    /// [`CaptureError`] when the stream can't be had.
    pub async fn start_within(
        server: &ServerConfig,
        slot: &str,
        publication: &str,
        ends: Lsn,
        key: &TagKey,
        spool_directory: &Path,
    ) -> Result<Self, CaptureError> {
        let begin = Begin {
            after: Lsn(ends.0.saturating_sub(1)),
            from: Lsn(0),
        };
        Self::begin(server, slot, publication, begin, key, spool_directory).await
    }

    async fn begin(
        server: &ServerConfig,
        slot: &str,
        publication: &str,
        Begin { after, from }: Begin,
        key: &TagKey,
        spool_directory: &Path,
    ) -> Result<Self, CaptureError> {
        std::fs::create_dir_all(spool_directory).map_err(|source| ChangesError::File {
            directory: spool_directory.to_owned(),
            source,
        })?;
        let endpoint = endpoint::Endpoint::of(server)?;
        let at = endpoint.place();
        let started = start(endpoint, slot, publication, from);
        let (stream, place, slot_confirmed) = patiently(at, started).await?;
        let forged = Arc::new(AtomicU64::new(0));
        let assembler = assemble::Assembler::new(assemble::Settings {
            after,
            from,
            key: key.clone(),
            spool_directory: spool_directory.to_owned(),
            held_bytes_max: HELD_BYTES_MAX,
            forged: Arc::clone(&forged),
        });
        let (confirmed, told) = watch::channel(from);
        let (sender, events) = mpsc::unbounded_channel();
        let task = task::Task::new(stream, assembler, sender, told);
        Ok(Self {
            events,
            confirmed,
            task: tokio::spawn(task.run()),
            place,
            slot_confirmed,
            forged,
        })
    }

    /// What comes next. Nothing is lost when this is given up before it is done. After an error there
    /// is nothing more.
    ///
    /// # Errors
    /// [`CaptureError`] when the stream ended.
    pub async fn next(&mut self) -> Result<Event, CaptureError> {
        match self.events.recv().await {
            Some((event, _room)) => event,
            None => Err(CaptureError::Ended),
        }
    }

    /// What has come already; `None` where nothing has.
    ///
    /// # Errors
    /// [`CaptureError`] when the stream ended.
    pub fn try_next(&mut self) -> Result<Option<Event>, CaptureError> {
        match self.events.try_recv() {
            Ok((event, _room)) => event.map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(CaptureError::Ended),
        }
    }

    /// Lets the server throw away the WAL up to a position: the end of a transaction that is on disk
    /// here, or a position passed behind which all are. It is told within a second, with the
    /// others confirmed meanwhile. A position before one confirmed is ignored.
    ///
    /// The server waits with its shutdown until the last position passed is confirmed.
    pub fn confirm(&mut self, position: Lsn) {
        self.confirmed.send_if_modified(|confirmed| {
            let is_later = position > *confirmed;
            if is_later {
                *confirmed = position;
            }
            is_later
        });
    }

    /// Which server it is.
    #[must_use]
    pub fn identity(&self) -> ServerIdentity {
        self.place.identity
    }

    /// Where the server's WAL ended when this began.
    #[must_use]
    pub fn end_at_start(&self) -> Lsn {
        self.place.end
    }

    /// How far the slot had been confirmed when this began: what was committed before isn't told,
    /// whatever the position asked for.
    #[must_use]
    pub fn slot_confirmed(&self) -> Lsn {
        self.slot_confirmed
    }

    /// How many messages looked like tags and were none.
    #[must_use]
    pub fn forged(&self) -> u64 {
        self.forged.load(Ordering::Relaxed)
    }
}

/// Where to begin.
struct Begin {
    /// What ended there or before was captured.
    after: Lsn,
    /// Where the server begins, and what it may throw away.
    from: Lsn,
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Which server answers, and how far its WAL reaches.
///
/// # Errors
/// [`CaptureError`] when none does.
pub async fn identify(server: &ServerConfig) -> Result<ServerPlace, CaptureError> {
    let endpoint = endpoint::Endpoint::of(server)?;
    patiently(endpoint.place(), async {
        let mut connection = connection::Connection::open(&endpoint).await?;
        preflight::identify(&mut connection, &endpoint).await
    })
    .await
}

async fn start(
    endpoint: endpoint::Endpoint,
    slot: &str,
    publication: &str,
    after: Lsn,
) -> Result<(stream::Stream, ServerPlace, Lsn), CaptureError> {
    let mut connection = connection::Connection::open(&endpoint).await?;
    let place = preflight::identify(&mut connection, &endpoint).await?;
    preflight::is_fit(&mut connection, &endpoint).await?;
    preflight::unlimit(&mut connection, &endpoint).await?;
    let confirmed = preflight::slot(&mut connection, &endpoint, slot).await?;
    preflight::publication(&mut connection, &endpoint, publication).await?;
    let stream = stream::Stream::start(connection, endpoint, slot, publication, after).await?;
    Ok((stream, place, confirmed))
}

async fn patiently<T>(
    place: String,
    answer: impl Future<Output = Result<T, CaptureError>>,
) -> Result<T, CaptureError> {
    match tokio::time::timeout(endpoint::PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(CaptureError::Silent {
            place,
            seconds: endpoint::PATIENCE.as_secs(),
        }),
    }
}

/// What the slot has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A transaction was committed.
    Transaction(CapturedTransaction),
    /// All that was committed before this position has been told.
    Passed(Lsn),
}

/// A transaction that the server committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedTransaction {
    /// Where the WAL goes on after its commit record.
    pub end: Lsn,
    /// Its id; rows written in savepoints carry others.
    pub xid: Xid,
    /// The server's clock at its commit.
    pub committed_at: Micros,
    /// Set where a projection wrote it.
    pub tag: Option<Tag>,
    /// What it did, in its order.
    pub changes: Changes,
}

/// A relation as the stream describes it, as of the changes that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its id in the server.
    pub oid: u32,
    /// Its name.
    pub name: TableName,
    /// What old rows carry: `d` the key, `f` all columns, `n` nothing, `i` an index's columns.
    pub replica_identity: char,
    /// Its columns, without generated ones.
    pub columns: Vec<RelationColumn>,
}

/// A column as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// Its name.
    pub name: String,
    /// Whether it belongs to the replica identity.
    pub is_identity: bool,
    /// Its type's id.
    pub type_oid: u32,
    /// Its type's modifier.
    pub type_modifier: i32,
}

/// What a transaction did to a row, or to tables as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// A row came.
    Insert {
        /// Its table.
        relation: Arc<Relation>,
        /// Its values.
        new: Tuple,
    },
    /// A row changed.
    Update {
        /// Its table.
        relation: Arc<Relation>,
        /// What it was: all columns under full replica identity, the key's where the key changed,
        /// else nothing.
        old: Option<Tuple>,
        /// Its values now.
        new: Tuple,
    },
    /// A row went.
    Delete {
        /// Its table.
        relation: Arc<Relation>,
        /// What it was, or its key's columns only.
        old: Tuple,
    },
    /// Tables were emptied.
    Truncate {
        /// The tables.
        relations: Vec<Arc<Relation>>,
    },
}

/// A row's values, in the order of the relation's columns.
pub type Tuple = Vec<Datum>;

/// A value in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// NULL, or a column that is not told.
    Null,
    /// A large value that the change left alone; under full replica identity the old row has it.
    Unchanged,
    /// Its text.
    Text(String),
}
