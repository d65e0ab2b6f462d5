//! Beginning a dataset with a copy of a peer's tables, before its replica is opened.
//!
//! ```text
//! blank ─▶ tables marked unfinished ─part, part, …─▶ log begun at the snapshot's marks ─▶ tables
//!   ▲                      │                                  │                          finished
//!   └───── begins anew ────┴──────────── a crash ─────────────┘                             │
//!                                                        open as usual, tail by the streams ◀┘
//! ```
//!
//! What makes the dataset whole is the last step, one durable commit; before it there are no
//! tables, whatever is on the disk. Who asks which peer what is decided by [`Joiner`].

use super::open::{OpenDatasetError, create, log_config};
use super::{AskError, DatasetConfig, DatasetHandle, Questions, describe};
use meridian_engine_kv::{FjallStore, Import, TablesError};
use meridian_log::{Directory, Log};
use meridian_model::{Answer, Question, Record, RegionName, SnapshotHead};
use meridian_replicate::{JoinProgress, Joiner};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between a question that came to nothing and the next one.
const PAUSE: Duration = Duration::from_millis(250);

/// A way to put questions about one dataset to its peers.
pub trait AskPeers: Sync {
    /// Asks a peer and waits for its answer.
    fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, AskError>> + Send;
}

impl AskPeers for DatasetHandle {
    async fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        Self::ask(self, peer, question, timeout).await
    }
}

/// A dataset's name and its questions, before there is a handle to it.
impl AskPeers for (Arc<str>, Questions) {
    async fn ask(
        &self,
        peer: &RegionName,
        question: Question,
        timeout: Duration,
    ) -> Result<Answer, AskError> {
        self.1.ask(&self.0, peer, question, timeout).await
    }
}

/// How far a copy has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapProgress {
    /// Whose tables are copied.
    pub sponsor: RegionName,
    /// How many copies were begun or tried, this one included.
    pub attempt: u64,
    /// The records of this copy so far.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What last went wrong.
    pub last_error: Option<String>,
}

/// Whether a dataset's directory has no tables to open: nothing is there, or a part of a copy.
///
/// # Errors
/// [`OpenDatasetError`] when it can't be read.
pub fn needs_bootstrap(directory: &Path) -> Result<bool, OpenDatasetError> {
    let tables_at = directory.join("tables");
    if !tables_at.exists() {
        return Ok(true);
    }
    Ok(Import::is_needed(&FjallStore::open(&tables_at)?)?)
}

/// Fills a dataset's directory with a copy of the tables of one of `candidates`, the first one that
/// will give it. Goes on trying for as long as it is polled; dropping it leaves a directory that
/// [`needs_bootstrap`] still. Afterwards the dataset is opened as usual.
///
/// # Errors
/// [`OpenDatasetError`] when this region's own disk fails or the directory holds tables.
pub async fn bootstrap(
    config: &DatasetConfig,
    peers: &impl AskPeers,
    candidates: Vec<RegionName>,
    mut progress: impl FnMut(BootstrapProgress) + Send,
) -> Result<(), OpenDatasetError> {
    if candidates.is_empty() {
        return Err(OpenDatasetError::NobodyToCopyFrom);
    }
    super::role::settle(config)?;
    let tables_at = config.directory.join("tables");
    create(&tables_at)?;
    let store = tokio::task::spawn_blocking(move || FjallStore::open(&tables_at))
        .await
        .expect("opening a store doesn't panic")?;
    let mut copying = Copying {
        config: config.clone(),
        joiner: if config.replica.witnesses.contains(&config.replica.region) {
            Joiner::of_witness(candidates, fastrand::u64(..))
        } else {
            Joiner::new(candidates, fastrand::u64(..))
        },
        store,
        import: None,
        bytes: 0,
    };
    loop {
        progress(copying.progress());
        let (peer, question) = (copying.joiner.sponsor().clone(), copying.joiner.question());
        let answered = peers.ask(&peer, question, ANSWER_WITHIN).await;
        match copying.take(answered).await? {
            Taken::All => {
                progress(copying.progress());
                return Ok(());
            }
            Taken::Some => {}
            Taken::Nothing => tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await,
        }
    }
}

struct Copying {
    config: DatasetConfig,
    joiner: Joiner,
    store: FjallStore,
    import: Option<Import<FjallStore>>,
    bytes: u64,
}

enum Taken {
    Nothing,
    Some,
    All,
}

impl Copying {
    fn progress(&self) -> BootstrapProgress {
        BootstrapProgress {
            sponsor: self.joiner.sponsor().clone(),
            attempt: self.joiner.attempts(),
            records: self.import.as_ref().map_or(0, Import::records),
            bytes: self.bytes,
            last_error: self.joiner.last_error().map(str::to_owned),
        }
    }

    async fn take(
        &mut self,
        answered: Result<Answer, AskError>,
    ) -> Result<Taken, OpenDatasetError> {
        let fresh = fastrand::u64(..);
        let answer = match answered {
            Ok(answer) => answer,
            Err(AskError::Unavailable { reason, .. }) => Answer::Unavailable { reason },
            Err(error) => {
                self.joiner.unanswered(&error.to_string(), fresh);
                return Ok(Taken::Nothing);
            }
        };
        match self.joiner.answered(answer, fresh) {
            JoinProgress::None => Ok(Taken::Nothing),
            JoinProgress::Records {
                begins,
                records,
                end,
            } => {
                if begins {
                    self.import = None;
                    self.bytes = 0;
                }
                self.store_records(records, end).await
            }
        }
    }

    async fn store_records(
        &mut self,
        records: Vec<Record>,
        end: Option<SnapshotHead>,
    ) -> Result<Taken, OpenDatasetError> {
        let (store, import) = (self.store.clone(), self.import.take());
        let config = self.config.clone();
        let bytes: usize = records.iter().map(Record::size).sum();
        let is_last = end.is_some();
        let work = move || store_part(store, import, &records, end, &config);
        let stored = tokio::task::spawn_blocking(work).await;
        match stored.expect("storing records doesn't panic") {
            Ok(import) => {
                self.bytes += bytes as u64;
                self.import = import;
                Ok(if is_last { Taken::All } else { Taken::Some })
            }
            Err(OpenDatasetError::Tables(error @ TablesError::Damaged { .. })) => {
                // What the peer sent, not what is here.
                self.joiner.another(&describe(&error), fastrand::u64(..));
                Ok(Taken::Nothing)
            }
            Err(error) => Err(error),
        }
    }
}

fn store_part(
    store: FjallStore,
    import: Option<Import<FjallStore>>,
    records: &[Record],
    end: Option<SnapshotHead>,
    config: &DatasetConfig,
) -> Result<Option<Import<FjallStore>>, OpenDatasetError> {
    let mut import = match import {
        Some(import) => import,
        None => Import::begin(store)?,
    };
    import.take(records)?;
    let Some(head) = end else {
        return Ok(Some(import));
    };
    let log_at = config.directory.join("log");
    create(&log_at)?;
    let disk = Directory::open(&log_at).map_err(|source| OpenDatasetError::Directory {
        path: log_at,
        source,
    })?;
    // First the log, durable at once: tables without it would be tables without a tail.
    let log_config = log_config(&config.replica);
    drop(Log::begin_anew(
        disk,
        log_config,
        head.position,
        &head.marks,
    )?);
    import.finish(head.position, &head.road)?;
    Ok(None)
}
