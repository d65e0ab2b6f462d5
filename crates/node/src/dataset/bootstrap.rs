//! Beginning a dataset with a copy of a peer's tables, before its replica is opened.
//!
//! ```text
//! blank ─▶ tables marked unfinished ─part, part, …─▶ log begun at the snapshot's marks ─▶ tables
//!   ▲                      │                                  │                          finished
//!   └───── begins anew ────┴── a crash, a disk that is full ──┘                             │
//!                                                        open as usual, tail by the streams ◀┘
//! ```
//!
//! What makes the dataset whole is the last step, one durable commit; before it there are no
//! tables, whatever is on the disk. Who asks which peer what is decided by [`Joiner`].
//!
//! While the disk has no room to spare, nothing is asked for, and the copy goes on from where it is
//! once there is. A store that the disk has refused something takes nothing more, and nobody knows what
//! of its last commit stands: it is thrown away, which makes room too, and the copy begins anew.

use super::open::{OpenDatasetError, create, log_config};
use super::room::lack_for_copy;
use super::{AskError, DatasetConfig, DatasetHandle, Questions, apart, describe};
use crate::durable;
use crate::faults::FaultyDisk;
use meridian_engine_kv::{FjallStore, Import, TablesError};
use meridian_log::{Directory, Log};
use meridian_model::{Answer, Question, Record, RegionName, SnapshotHead};
use meridian_replicate::{JoinProgress, Joiner};
use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between a question that came to nothing and the next one.
const PAUSE: Duration = Duration::from_millis(250);
/// Between looks for room, and before a copy that the disk has refused begins anew.
const ROOM_PAUSE: Duration = Duration::from_millis(500);
/// A part of a copy on its way to be removed.
const DISCARDED: &str = "tables.unfinished";

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
    /// How much room there is, where the copy waits for more.
    pub waits_for_room: Option<String>,
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
/// will give it. Goes on trying for as long as it is polled, and waits where the disk has no room;
/// dropping it leaves a directory that [`needs_bootstrap`] still. Afterwards the dataset is opened as
/// usual.
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
    let directory = config.directory.clone();
    if !blocking(move || needs_bootstrap(&directory)).await? {
        return Err(TablesError::Occupied.into());
    }
    let mut copying = Copying {
        config: config.clone(),
        joiner: if config.replica.witnesses.contains(&config.replica.region) {
            Joiner::of_witness(candidates, fastrand::u64(..))
        } else {
            Joiner::new(candidates, fastrand::u64(..))
        },
        import: None,
        bytes: 0,
        lack: None,
    };
    // What there is of an earlier one is of no use, and takes room.
    copying.discard().await?;
    loop {
        copying.wait_for_room(&mut progress).await;
        progress(copying.progress());
        let (peer, question) = (copying.joiner.sponsor().clone(), copying.joiner.question());
        let answered = peers.ask(&peer, question, ANSWER_WITHIN).await;
        match copying.take(answered).await {
            Ok(Taken::All) => {
                progress(copying.progress());
                return Ok(());
            }
            Ok(Taken::Some) => {}
            Ok(Taken::Nothing) => tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await,
            Err(error) if error.lacks_room() => {
                copying.refused(&error).await?;
                progress(copying.progress());
                tokio::time::sleep(ROOM_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

struct Copying {
    config: DatasetConfig,
    joiner: Joiner,
    /// What was taken so far, with the store that has it.
    import: Option<(FjallStore, Import<FjallStore>)>,
    bytes: u64,
    /// How much room there is, where there is too little.
    lack: Option<String>,
}

enum Taken {
    Nothing,
    Some,
    All,
}

impl Copying {
    fn progress(&self) -> BootstrapProgress {
        let import = self.import.as_ref();
        BootstrapProgress {
            sponsor: self.joiner.sponsor().clone(),
            attempt: self.joiner.attempts(),
            records: import.map_or(0, |(_, import)| import.records()),
            bytes: self.bytes,
            last_error: self.joiner.last_error().map(str::to_owned),
            waits_for_room: self.lack.clone(),
        }
    }

    /// Returns once there is room to spare.
    async fn wait_for_room(&mut self, progress: &mut (impl FnMut(BootstrapProgress) + Send)) {
        let dataset = &self.config.name;
        loop {
            let store = self.import.as_ref().map(|(store, _)| store);
            let lack = lack_for_copy(&self.config, store);
            match (&lack, &self.lack) {
                (Some(reason), None) => tracing::warn!(
                    dataset,
                    reason,
                    hint = "make room; the copy goes on by itself",
                    "the copy waits for room on the disk"
                ),
                (None, Some(_)) => tracing::info!(dataset, "there is room: the copy goes on"),
                _ => {}
            }
            self.lack = lack;
            if self.lack.is_none() {
                return;
            }
            progress(self.progress());
            tokio::time::sleep(ROOM_PAUSE).await;
        }
    }

    /// The disk has refused a part of the copy, which begins anew.
    async fn refused(&mut self, error: &OpenDatasetError) -> Result<(), OpenDatasetError> {
        let said = describe(error);
        let (reason, _) = apart(&said);
        tracing::warn!(
            dataset = self.config.name,
            reason,
            hint = "make room; the copy goes on by itself",
            "the copy waits for room on the disk and begins anew"
        );
        self.joiner.again();
        self.lack = Some(reason.to_owned());
        self.discard().await
    }

    /// Throws away what there is of a copy.
    async fn discard(&mut self) -> Result<(), OpenDatasetError> {
        let import = self.import.take();
        self.bytes = 0;
        let directory = self.config.directory.clone();
        blocking(move || {
            // It is closed before its files go.
            drop(import);
            discard(&directory)
        })
        .await
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
                    self.discard().await?;
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
        let import = self.import.take();
        let config = self.config.clone();
        let bytes: usize = records.iter().map(Record::size).sum();
        let is_last = end.is_some();
        match blocking(move || store_part(import, &records, end, &config)).await {
            Ok(import) => {
                self.bytes += bytes as u64;
                self.import = import;
                Ok(if is_last { Taken::All } else { Taken::Some })
            }
            Err(OpenDatasetError::Tables(
                error @ (TablesError::Damaged { .. } | TablesError::DamagedRow { .. }),
            )) => {
                // What the peer sent, not what is here.
                self.joiner.another(&describe(&error), fastrand::u64(..));
                Ok(Taken::Nothing)
            }
            Err(error) => Err(error),
        }
    }
}

/// Away with what there is of a copy: tables under another name first, since a store of which files
/// are missing can't be opened to find out that it is none. A log that was begun has no entries yet.
///
/// # Errors
/// [`OpenDatasetError::Directory`].
pub(crate) fn discard(directory: &Path) -> Result<(), OpenDatasetError> {
    let failed = |source| OpenDatasetError::Directory {
        path: directory.to_owned(),
        source,
    };
    let (tables, discarded) = (directory.join("tables"), directory.join(DISCARDED));
    unless_gone(fs::remove_dir_all(&discarded)).map_err(failed)?;
    if tables.exists() {
        fs::rename(&tables, &discarded).map_err(failed)?;
        durable::sync_name(&discarded).map_err(failed)?;
        fs::remove_dir_all(&discarded).map_err(failed)?;
    }
    unless_gone(fs::remove_dir_all(directory.join("log"))).map_err(failed)
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("work on files doesn't panic")
}

fn store_part(
    import: Option<(FjallStore, Import<FjallStore>)>,
    records: &[Record],
    end: Option<SnapshotHead>,
    config: &DatasetConfig,
) -> Result<Option<(FjallStore, Import<FjallStore>)>, OpenDatasetError> {
    let (store, mut import) = match import {
        Some(begun) => begun,
        None => {
            let tables_at = config.directory.join("tables");
            create(&tables_at)?;
            let store = FjallStore::open(&tables_at)?;
            (store.clone(), Import::begin(store)?)
        }
    };
    import.take(records)?;
    let Some(head) = end else {
        return Ok(Some((store, import)));
    };
    let log_at = config.directory.join("log");
    create(&log_at)?;
    let disk = Directory::open(&log_at).map_err(|source| OpenDatasetError::Directory {
        path: log_at,
        source,
    })?;
    let disk = FaultyDisk::new(disk, config.disk.clone());
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
