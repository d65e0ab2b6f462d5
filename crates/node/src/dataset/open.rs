//! Opening a dataset: its directory, its log, its tables, and the thread that runs it.

use super::repair::Repairs;
use super::room::Room;
use super::thread::{self, Running, Surroundings};
use super::{DatasetHandle, MachineClock, Questions, RepairConfig, describe};
use crate::faults::{DiskLevers, FaultyDisk};
use crate::postgres::PostgresConfig;
use meridian_engine_kv::{
    FjallStore, JournalDamage, Limits, StoreError, Strategies, Tables, TablesError,
};
use meridian_log::{Directory, Log, LogConfig, LogError};
use meridian_model::{OriginId, RegionName};
use meridian_replicate::{CommitError, Config, Engine as _, OpenError, Replica};
use meridian_topology::Promises;
use std::io;
use std::path::{Path, PathBuf};

/// A dataset's surroundings.
#[derive(Clone, Debug)]
pub struct DatasetConfig {
    /// Its name.
    pub name: String,
    /// Where it keeps its files.
    pub directory: PathBuf,
    /// Regions, budgets, intervals.
    pub replica: Config,
    /// What its clients are promised, and which regions take writes.
    pub promises: Promises,
    /// The other regions, the nearest first.
    pub nearest: Vec<RegionName>,
    /// What a client's transaction may be.
    pub limits: Limits,
    /// What becomes of clients' writes that had not seen each other.
    pub strategies: Strategies,
    /// Whether applying stops at a dead letter until it is decided about.
    pub stop_at_dead_letters: bool,
    /// How the log's disk is made worse, for drills.
    pub disk: DiskLevers,
    /// The server whose rows it has, if they aren't its own.
    pub postgres: Option<PostgresConfig>,
    /// How it is compared with its peers in the background.
    pub repair: RepairConfig,
}

/// A dataset can't be opened; it stays stopped, and the others run.
#[derive(Debug, thiserror::Error)]
pub enum OpenDatasetError {
    /// The directory can't be made.
    #[error("directory {} can't be used", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The tables' files can't be opened.
    #[error("the tables can't be opened")]
    Store(#[from] StoreError),
    /// The tables are not what they should be.
    #[error("the tables can't be opened")]
    Tables(#[from] TablesError),
    /// The log can't be opened.
    #[error("the log can't be opened")]
    Log(#[from] LogError),
    /// Log and tables don't go together.
    #[error("the dataset can't be recovered")]
    Replica(#[from] OpenError),
    /// It should begin with a copy of a peer's tables, and there is no peer.
    #[error("there is no other region to copy the tables from")]
    NobodyToCopyFrom,
    /// The directory is a witness's and the topology says otherwise, or the other way round.
    #[error("{} {}", path.display(), role(*was_witness))]
    Role {
        /// The directory.
        path: PathBuf,
        /// Whether it is a witness's.
        was_witness: bool,
    },
    /// The directory is of embedded tables and the topology says PostgreSQL, or the other way round.
    #[error("{} {}", path.display(), engine(*was_on_postgres))]
    Engine {
        /// The directory.
        path: PathBuf,
        /// Whether its rows are a PostgreSQL server's.
        was_on_postgres: bool,
    },
    /// The thread can't be started.
    #[error("the dataset's thread can't be started")]
    Thread(#[source] std::io::Error),
}

impl OpenDatasetError {
    /// Whether it may be tried again once there is room on the disk.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        match self {
            Self::Directory { source, .. } => is_full(source),
            Self::Store(error) | Self::Tables(TablesError::Store(error)) => error.disk_refused(),
            Self::Log(error)
            | Self::Replica(OpenError::Log(error) | OpenError::Commit(CommitError::Log(error))) => {
                error.is_full()
            }
            Self::Replica(OpenError::Tables(error)) => error.disk_full,
            _ => false,
        }
    }
}

/// Whether there was no room for what was to be written.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn role(was_witness: bool) -> &'static str {
    if was_witness {
        "was begun by a witness and has no rows, and the topology says that the region holds tables: \
         put `witness = true` back, or remove the region and let it join anew with an empty \
         directory"
    } else {
        "was begun by a region that holds tables, and the topology says that it is a witness: take \
         `witness` out again, or remove the region and let it join anew with an empty directory"
    }
}

fn engine(was_on_postgres: bool) -> &'static str {
    if was_on_postgres {
        "holds the rows of PostgreSQL servers, and the topology puts the dataset on the embedded \
         tables: put `engine = \"postgres\"` back, or give the embedded dataset another name"
    } else {
        "holds embedded tables, and the topology puts the dataset on PostgreSQL, where nobody would \
         find them: put `engine = \"embedded\"` back, or give the dataset on PostgreSQL another name"
    }
}

/// Opens a dataset, recovers it, and starts its thread.
///
/// # Errors
/// [`OpenDatasetError`].
pub fn open(
    config: DatasetConfig,
    clock: MachineClock,
) -> Result<(DatasetHandle, Running), OpenDatasetError> {
    open_asking(config, clock, Questions::default())
}

/// The same with questions that were there before: peers may be connected already.
pub(crate) fn open_asking(
    config: DatasetConfig,
    clock: MachineClock,
    questions: Questions,
) -> Result<(DatasetHandle, Running), OpenDatasetError> {
    super::role::settle(&config)?;
    let tables_at = config.directory.join("tables");
    create(&tables_at)?;
    let store = FjallStore::open(&tables_at)?;
    if let Some(JournalDamage { file, offset, kept }) = store.journal_damage() {
        tracing::error!(
            dataset = config.name,
            file = %file.display(),
            offset,
            ?kept,
            hint = "check the disk, unless the power failed; what was cut off is kept",
            "the journal of the tables was damaged and is cut there; they follow the log again from \
             what is left"
        );
        if let Err(error) = store.journal_damage_told() {
            tracing::warn!(dataset = config.name, error = %describe(&error), "it will be said again");
        }
    }
    let mut tables = Tables::open(store.clone(), config.limits)?
        .stopping_at_dead_letters(config.stop_at_dead_letters);
    tables.set_strategies(config.strategies);
    let log_at = config.directory.join("log");
    create(&log_at)?;
    let disk = Directory::open(&log_at).map_err(|source| OpenDatasetError::Directory {
        path: log_at,
        source,
    })?;
    let disk = FaultyDisk::new(disk, config.disk.clone());
    let log = Log::open(disk, log_config(&config.replica), tables.position())?;
    let fresh = OriginId(fastrand::u64(1..));
    let replica = Replica::open(config.replica, log, tables, fresh, clock.now())?;
    let replica = match &config.postgres {
        Some(postgres) => {
            let mut replica = replica.capturing();
            // Before anything is thrown away that a comparison with the server may need.
            if let Some(position) =
                crate::postgres::kept_from(&postgres.directory, replica.origin())
            {
                replica.keep_from(position);
            }
            replica
        }
        None => replica,
    };
    let started = thread::start(
        config.name,
        Room::new(config.directory, config.disk, store),
        Surroundings {
            promises: config.promises,
            is_captured: config.postgres.is_some(),
            nearest: config.nearest,
            repairs: Repairs::new(config.repair),
        },
        replica,
        clock,
        questions,
    );
    started.map_err(OpenDatasetError::Thread)
}

pub(super) fn create(path: &Path) -> Result<(), OpenDatasetError> {
    std::fs::create_dir_all(path).map_err(|source| OpenDatasetError::Directory {
        path: path.to_owned(),
        source,
    })
}

/// Segments small enough that a budget is kept to within an eighth, and that a client's last one
/// leaves most of the reserve to peers' entries.
pub(super) fn log_config(config: &Config) -> LogConfig {
    let default = LogConfig::default();
    let reserve = config.log_bytes_limit.saturating_sub(config.log_bytes_max);
    let most = (config.log_bytes_max / 8).min(reserve / 4).max(64 << 10);
    LogConfig {
        segment_bytes: default.segment_bytes.min(most),
        ..default
    }
}
