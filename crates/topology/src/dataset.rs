//! A dataset: which tables, which engine, how conflicts are decided, how much of everything.

use crate::name::{DatasetName, TableName};
use crate::pattern::TablePattern;
use crate::postgres::Postgres;
use crate::promises::Promises;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A set of tables with one engine and one stream of transactions.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Its name, distinct.
    pub name: DatasetName,
    /// What stores it.
    pub engine: Engine,
    /// How conflicts are decided in tables without an entry of their own.
    pub strategy: Strategy,
    /// Which tables it takes; `None` takes every table that no other dataset names.
    pub tables: Option<Vec<TablePattern>>,
    /// Tables with rules of their own.
    pub table_rules: BTreeMap<TableName, TableRules>,
    /// How much of everything.
    pub limits: Limits,
    /// What it promises to clients.
    pub promises: Promises,
    /// What a transaction does to the dataset that no region can apply.
    pub dead_letters: DeadLetters,
    /// How often its rows are compared with those of the other regions; never where it is zero.
    pub compare_every: Duration,
    /// How many rows a second such a comparison reads at most.
    pub compare_rows_per_second_max: u64,
}

/// What a transaction does to its dataset that no region can apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetters {
    /// It is set aside, and applying goes on.
    #[default]
    SetAside,
    /// Applying stops at it until it is decided about.
    Stop,
}

/// How often rows are compared, unless a dataset says otherwise.
pub(crate) const COMPARE_EVERY: Duration = Duration::from_hours(1);
/// How many rows a second are compared, unless a dataset says otherwise.
pub(crate) const COMPARE_ROWS_PER_SECOND_MAX: u64 = 50_000;

impl Dataset {
    /// A dataset on the embedded engine that takes every table, with default limits.
    #[must_use]
    pub fn embedded(name: DatasetName) -> Self {
        Self {
            name,
            engine: Engine::Embedded,
            strategy: Strategy::LastWriterWins,
            tables: None,
            table_rules: BTreeMap::new(),
            limits: Limits::default(),
            promises: Promises::default(),
            dead_letters: DeadLetters::default(),
            compare_every: COMPARE_EVERY,
            compare_rows_per_second_max: COMPARE_ROWS_PER_SECOND_MAX,
        }
    }

    /// Its servers, if it is on PostgreSQL.
    #[must_use]
    pub fn postgres(&self) -> Option<&Postgres> {
        match &self.engine {
            Engine::Embedded => None,
            Engine::Postgres(postgres) => Some(postgres),
        }
    }

    /// How conflicts in `table` are decided.
    #[must_use]
    pub fn strategy_of(&self, table: &str) -> Strategy {
        self.table_rules
            .get(table)
            .map_or(self.strategy, |rules| rules.strategy)
    }

    /// Whether one of its patterns names `table`.
    pub(crate) fn names(&self, table: &str) -> bool {
        self.tables
            .iter()
            .flatten()
            .any(|pattern| pattern.matches(table))
    }
}

/// What stores a dataset.
#[derive(Clone, Debug, PartialEq)]
pub enum Engine {
    /// Meridian's own store.
    Embedded,
    /// A PostgreSQL server in each region.
    Postgres(Postgres),
}

impl Engine {
    /// Its name in the file.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Postgres(_) => "postgres",
        }
    }
}

pub use meridian_model::Strategy;

/// What one table has different from its dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRules {
    /// How conflicts in this table are decided.
    pub strategy: Strategy,
    /// Columns that merge by difference; of an embedded table none, since there every field that is
    /// incremented does.
    pub counters: BTreeSet<String>,
}

/// A dataset's limits; the documentation of each key is in [`crate::init_template`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest document.
    pub document_bytes_max: u64,
    /// The largest transaction, all its changes together.
    pub transaction_bytes_max: u64,
    /// The longest row key.
    pub key_bytes_max: u64,
    /// The disk budget of the log.
    pub log_bytes_max: u64,
    /// How much of that budget only replicated writes may use.
    pub log_reserve_bytes: u64,
    /// How many conflict records are kept.
    pub conflicts_max: u64,
    /// For how long the log keeps entries that every region has, within its budget.
    pub log_retention: Duration,
    /// A region that has been away for so long is evicted by the others, if they are a majority;
    /// `None`: only when it keeps the log at its budget.
    pub evict_after: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes_max: 1 << 20,
            transaction_bytes_max: 4 << 20,
            key_bytes_max: 1024,
            log_bytes_max: 4 << 30,
            log_reserve_bytes: 256 << 20,
            conflicts_max: 100_000,
            log_retention: Duration::ZERO,
            evict_after: None,
        }
    }
}
