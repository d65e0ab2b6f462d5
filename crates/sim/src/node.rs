//! One region of the world: the production machines over a disk and tables in memory.

use crate::joining::Joining;
use crate::repair::{Repair, Urgent};
use meridian_check::{
    Action, ExpectedRow, FIELDS, RowKey, SETS, SIBLINGS, SWITCHED, SnapshotChecker,
};
use meridian_engine_kv::{
    Action as RowAction, Limits, MemoryStore, Order, Request, RowOperation, RowView, Store as _,
    Strategies, TableReader, Tables, View as _,
};
use meridian_log::{Log, LogConfig, LogError, MemoryDisk};
use meridian_model::{
    Answer, Epoch, Fetched, Micros, OriginId, Question, RegionName, RowName, Strategy,
};
use meridian_replicate::{
    Arrival, CommitError, Config, Engine as _, Now, OpenError, Replica, Sender, Standstill,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

/// 2026-01-01, in microseconds: where the world's clocks begin.
const EPOCH: u64 = 1_767_225_600_000_000;

/// Small segments, so that logs are trimmed within a run; no threads.
pub(crate) const LOG_CONFIG: LogConfig = LogConfig {
    segment_bytes: 16 << 10,
    tail_cache_bytes: 8 << 10,
    prepare_ahead: false,
};

pub(crate) type SimReplica = Replica<MemoryDisk, Tables<MemoryStore>>;

/// A region.
pub(crate) struct Node {
    pub(crate) name: RegionName,
    pub(crate) disk: MemoryDisk,
    pub(crate) store: MemoryStore,
    /// `None` while the process is down.
    pub(crate) replica: Option<SimReplica>,
    /// By subscriber: the connection and the sender on it.
    pub(crate) senders: BTreeMap<usize, (u64, Sender<MemoryDisk>)>,
    /// How far the machine's wall clock is off, in microseconds.
    pub(crate) clock_offset: i64,
    pub(crate) checker: SnapshotChecker,
    /// Destroyed, not to come back.
    pub(crate) is_gone: bool,
    /// Stops applying at dead letters.
    pub(crate) stops_at_letters: bool,
    /// Which of the world's incarnations this is, counted from 0.
    pub(crate) life: usize,
    /// The number of this incarnation, once it has started.
    pub(crate) origin: Option<OriginId>,
    /// How its stream begins.
    pub(crate) arrival: Arrival,
    pub(crate) evict_after: Option<Duration>,
    /// The regions that hold no tables, as its topology says.
    pub(crate) witnesses: BTreeSet<RegionName>,
    pub(crate) segment_bytes: u64,
    /// Its transactions come out of a PostgreSQL server.
    pub(crate) captures: bool,
    /// Why it can't start, where it refused to.
    pub(crate) refused: Option<String>,
    /// Set while it fetches a snapshot to begin with.
    pub(crate) joining: Option<Joining>,
    /// The epoch that it goes by, as of its last commit.
    pub(crate) published: Epoch,
    pub(crate) repair: Repair,
    /// The question for the row that its tables wait for.
    pub(crate) urgent: Option<Urgent>,
    /// Its tables were damaged, so that its readers may see anything until they are mended.
    pub(crate) is_damaged: bool,
    started: Duration,
}

impl Node {
    pub(crate) fn new(name: &str, life: usize) -> Self {
        Self {
            name: RegionName::new(name),
            disk: MemoryDisk::new(),
            store: MemoryStore::default(),
            replica: None,
            senders: BTreeMap::new(),
            clock_offset: 0,
            checker: SnapshotChecker::new(name),
            is_gone: false,
            stops_at_letters: false,
            life,
            origin: None,
            arrival: Arrival::Founding,
            evict_after: None,
            witnesses: BTreeSet::new(),
            segment_bytes: 16 << 10,
            captures: false,
            refused: None,
            joining: None,
            published: Epoch::default(),
            repair: Repair::default(),
            urgent: None,
            is_damaged: false,
            started: Duration::ZERO,
        }
    }

    pub(crate) fn now(&self, time: Duration) -> Now {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let wall = EPOCH.saturating_add_signed(micros + self.clock_offset);
        Now {
            wall: Micros(wall),
            elapsed: time.saturating_sub(self.started),
        }
    }

    /// Starts the process on what the disk holds.
    pub(crate) fn start(
        &mut self,
        time: Duration,
        regions: &[RegionName],
        fresh: u64,
    ) -> Result<(), StartError> {
        self.started = time;
        self.repair = Repair::default();
        self.urgent = None;
        let mut tables = Tables::open(self.store.clone(), Limits::default())
            .map_err(|error| StartError::Refused(error.to_string()))?
            .stopping_at_dead_letters(self.stops_at_letters);
        tables.set_strategies(strategies(fresh));
        let log_config = LogConfig {
            segment_bytes: self.segment_bytes,
            ..LOG_CONFIG
        };
        let log = Log::open(self.disk.clone(), log_config, tables.position())?;
        let config = Config {
            region: self.name.clone(),
            regions: regions.to_vec(),
            arrival: self.arrival,
            evict_after: self.evict_after,
            log_bytes_max: 8 << 20,
            log_bytes_limit: 16 << 20,
            drift_max: Duration::from_millis(500),
            report_interval: Duration::from_millis(500),
            settle: Duration::from_secs(1),
            log_retention: Duration::ZERO,
            wire_version: meridian_model::WIRE_VERSION_MAX,
            witnesses: self.witnesses.clone(),
        };
        let mut replica = Replica::open(config, log, tables, OriginId(fresh), self.now(time))?;
        if self.captures {
            replica = replica.capturing();
        }
        self.origin = Some(replica.origin());
        self.published = replica.epoch().clone();
        self.replica = Some(replica);
        Ok(())
    }

    /// The process ends at once; the machine goes on.
    pub(crate) fn kill(&mut self) {
        self.replica = None;
        self.senders.clear();
        self.disk.restore_power();
    }

    /// The machine loses power: what was not synced may be torn or lost.
    pub(crate) fn lose_power(&mut self, random: &mut fastrand::Rng) {
        self.replica = None;
        self.senders.clear();
        self.disk.crash(&mut || random.u64(..));
        self.store.crash(random.u64(..));
    }

    /// The machine loses power, and with it everything that was not synced, without a trace.
    pub(crate) fn lose_unsynced(&mut self, random: &mut fastrand::Rng) {
        self.replica = None;
        self.senders.clear();
        self.disk.crash(&mut || 0);
        self.store.crash(random.u64(..));
    }

    pub(crate) fn tables(&self) -> TableReader<MemoryStore> {
        TableReader::new(self.store.clone())
    }

    /// The answer to a question; `None` as long as what it needs is not applied.
    pub(crate) fn answer(&self, question: &Question) -> Option<Answer> {
        let replica = self.replica.as_ref()?;
        if let Question::Fetch { names, covering } = question
            && let Some(standstill) = replica.standstill()
        {
            let has_all = standstill.as_of.covers(covering);
            return has_all.then(|| self.ahead(names, standstill));
        }
        let applied = replica.follows().then(|| replica.applied())?;
        if question
            .covering()
            .is_some_and(|needed| !applied.covers(needed))
        {
            return None;
        }
        let answer = self.tables().snapshot().answer(&applied, question);
        answer.unwrap_or_else(|error| {
            let reason = error.to_string();
            Some(Answer::Unavailable { reason })
        })
    }

    /// Rows as of the log's end, from tables that a damaged row has stopped.
    fn ahead(&self, names: &[RowName], standstill: Standstill<MemoryDisk>) -> Answer {
        let snapshot = self.tables().snapshot();
        match snapshot.ahead(names, |each| standstill.follow(each)) {
            Ok(rows) => Answer::Fetched(Fetched {
                as_of: standstill.as_of,
                rows,
            }),
            Err(error) => Answer::Unavailable {
                reason: error.to_string(),
            },
        }
    }

    pub(crate) fn document(&self, table: &str, key: &str) -> Option<Value> {
        let row = self
            .tables()
            .get(table, key)
            .expect("the tables in memory are readable")?;
        serde_json::from_str(&row.document).ok()
    }

    /// Whether it holds no tables.
    pub(crate) fn is_witness(&self) -> bool {
        self.witnesses.contains(&self.name)
    }

    /// All live rows.
    pub(crate) fn rows(&self) -> BTreeMap<RowKey, ExpectedRow> {
        let tables = self.tables();
        let mut rows = BTreeMap::new();
        for table in tables.tables().expect("the tables in memory are readable") {
            let page = tables.page(&table, None, usize::MAX, usize::MAX);
            for (key, row) in page.expect("the tables in memory are readable").rows {
                let document = serde_json::from_str(&row.document).unwrap_or(Value::Null);
                rows.insert(
                    (table.clone(), key),
                    ExpectedRow {
                        version: row.version.latest,
                        document,
                        siblings: siblings(&row),
                    },
                );
            }
        }
        rows
    }

    /// How many records still wait to be collected, deleted rows that nothing waits for included.
    pub(crate) fn uncollected(&self) -> usize {
        let rows = self.count(b"r", b"s");
        self.count(b"q", b"r") + (rows - self.rows().len())
    }

    fn count(&self, start: &[u8], end: &[u8]) -> usize {
        let mut count = 0;
        let counted = self
            .store
            .view()
            .visit(start, end, Order::Ascending, &mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
        counted.expect("the tables in memory are readable");
        count
    }
}

/// The strategies of a process: the table that switches has another one with each start, in each
/// region by itself.
fn strategies(fresh: u64) -> Strategies {
    let switched = Strategy::ALL[(fresh % 4) as usize];
    let tables = [
        (FIELDS, Strategy::RegisterPerField),
        (SETS, Strategy::AddWinsSet),
        (SIBLINGS, Strategy::Siblings),
        (SWITCHED, switched),
    ];
    let tables = tables.map(|(table, strategy)| (table.to_owned(), strategy));
    Strategies {
        default: Strategy::LastWriterWins,
        tables: tables.into(),
    }
}

/// The documents beside the newest.
fn siblings(row: &RowView) -> Vec<Value> {
    let others = row.siblings.iter().skip(1);
    others
        .map(|sibling| serde_json::from_str(&sibling.document).unwrap_or(Value::Null))
        .collect()
}

/// Why a process didn't start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// What it found, it must not go on with.
    Refused(String),
    /// The disk failed it; it may work the next time.
    Again,
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        if error.is_damage() {
            Self::Refused(error.to_string())
        } else {
            Self::Again
        }
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Log(error) | OpenError::Commit(CommitError::Log(error)) => error.into(),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// A client's request for these actions.
pub(crate) fn request(actions: &[(String, String, Action)]) -> Request {
    let operations = actions
        .iter()
        .map(|(table, key, action)| RowOperation {
            table: table.clone(),
            key: key.clone(),
            action: match action {
                Action::Put(document) => RowAction::Put {
                    document: document.clone(),
                },
                Action::Delete => RowAction::Delete,
                Action::Increment(field, by) => RowAction::Increment {
                    field: field.clone(),
                    by: *by,
                },
                Action::Members(field, add, remove) => RowAction::Members {
                    field: field.clone(),
                    add: add.clone(),
                    remove: remove.clone(),
                },
            },
        })
        .collect();
    Request {
        operations,
        preconditions: Vec::new(),
        idempotency: None,
    }
}
