//! The tables that replicate, as the server has them now, and the watch for changes of them.
//!
//! The whole catalog is read when a connection begins, and again when something in it moved: that is
//! one cheap question a second on a connection of its own, so that capture waits for neither.

use super::PostgresConfig;
use super::taken::Taken;
use super::trouble::Trouble;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::catalog::{
    Catalog, Fingerprint, History, Movement, Table, TableName,
};
use meridian_engine_postgres::changes::Tables;
use meridian_engine_postgres::prepare::{self, Publication};
use meridian_topology::Strategy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// How often it is asked whether the tables changed.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The tables, and how writes to them merge.
#[derive(Clone, Debug, Default)]
pub(super) struct Schema {
    tables: BTreeMap<TableName, Arc<Table>>,
    by_text: BTreeMap<String, Arc<Table>>,
    parents_first: Vec<TableName>,
    strategy: Strategy,
    strategies: BTreeMap<String, Strategy>,
    fingerprint: Fingerprint,
    /// The tables are at least as new as what is in the WAL before here.
    as_of: Lsn,
    /// What became of columns and tables that were there.
    history: History,
    /// Tables that are published and have no primary key.
    keyless: BTreeSet<String>,
    /// Tables that could replicate, and that the publication doesn't have.
    unpublished: BTreeSet<String>,
    /// What the publication leaves out of all tables, or of some.
    left_out: Option<&'static str>,
    /// Triggers that fire on what is written for other regions.
    firing: Vec<String>,
}

impl Schema {
    /// The tables of the configuration that the publication has, as the server describes them now.
    pub(super) async fn load(client: &Client, config: &PostgresConfig) -> Result<Self, Trouble> {
        let row = client
            .query_one(
                "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, current_user::text",
                &[],
            )
            .await?;
        let (as_of, role): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        let as_of = as_of
            .parse()
            .map_err(|_| Trouble::passing(format!("the server answered {as_of:?}")))?;
        let catalog = Catalog::load(client, &config.selection).await?;
        let query = "SELECT schemaname::text, tablename::text FROM pg_catalog.pg_publication_tables \
                     WHERE pubname = $1";
        let mut published = BTreeSet::new();
        for row in client.query(query, &[&config.publication]).await? {
            published.insert(TableName {
                schema: row.try_get(0)?,
                name: row.try_get(1)?,
            });
        }
        let history = History::load(client).await?.unwrap_or_default();
        let left_out = prepare::publication(client, &config.publication)
            .await?
            .and_then(|it| left_out(&it));
        let schema = Self::of(&catalog, &published, &history, config, as_of);
        let firing = schema.tables.keys().filter_map(|name| catalog.table(name));
        let firing = firing.flat_map(|facts| prepare::triggers(facts, role));
        Ok(Self {
            firing: firing
                .map(|it| format!("{}: {}", it.subject, it.reason))
                .collect(),
            left_out,
            ..schema
        })
    }

    fn of(
        catalog: &Catalog,
        published: &BTreeSet<TableName>,
        history: &History,
        config: &PostgresConfig,
        as_of: Lsn,
    ) -> Self {
        let (strategy, strategies) = (config.strategy, config.strategies.clone());
        let replicating = || {
            let tables = catalog.tables();
            let tables = tables.filter(|facts| published.contains(&facts.table.name));
            tables.filter(|facts| !facts.table.key.is_empty())
        };
        // Somebody may have published one that has no key by hand: its rows can't be told apart.
        let keyless = catalog.tables().map(|facts| &facts.table);
        let keyless = keyless.filter(|table| table.key.is_empty());
        let keyless = keyless.filter(|table| published.contains(&table.name));
        let keyless = keyless.map(|table| table.name.to_string());
        let unpublished = catalog.tables().map(|facts| &facts.table);
        let unpublished = unpublished.filter(|table| !published.contains(&table.name));
        let tables = replicating().map(|facts| {
            let former = history.former(&facts.table);
            let table = facts.table.clone();
            Arc::new(Table { former, ..table })
        });
        let tables: Vec<_> = tables.collect();
        Self {
            by_text: tables
                .iter()
                .map(|table| (table.name.to_string(), table.clone()))
                .collect(),
            tables: tables
                .into_iter()
                .map(|table| (table.name.clone(), table))
                .collect(),
            parents_first: catalog.parents_first().into_iter().cloned().collect(),
            strategy,
            strategies,
            fingerprint: Fingerprint::of(replicating()),
            keyless: keyless.collect(),
            unpublished: unpublished.map(|table| table.name.to_string()).collect(),
            left_out: None,
            firing: Vec::new(),
            as_of,
            history: history.clone(),
        }
    }

    /// Whether no region has the table any more.
    pub(super) fn is_gone(&self, table: &str) -> bool {
        self.history.is_gone(table)
    }

    /// Whether another reading found the same.
    fn is_same(&self, other: &Self) -> bool {
        self.tables == other.tables
            && self.parents_first == other.parents_first
            && self.history == other.history
            && self.keyless == other.keyless
            && self.unpublished == other.unpublished
            && self.left_out == other.left_out
            && self.firing == other.firing
    }

    /// That the server replicates a table of which the dataset has rows, unless no region does any more.
    pub(super) fn must_have(&self, table: &str) -> Result<(), Trouble> {
        if self.named(table).is_some() || self.is_gone(table) {
            return Ok(());
        }
        let reason = format!("other regions replicate table {table}, this server doesn't");
        let hint = "create it here as it is there, and run `meridian postgres prepare --apply`; where \
                    no region has it any more, the latter is enough if it had been prepared under this \
                    name; else create it, empty, in every region, prepare, and drop it with `meridian \
                    schema apply`";
        Err(Trouble::lasting(reason, hint))
    }

    /// That no table which replicated has lost its key.
    pub(super) fn must_have_keys(&self, taken: &Taken) -> Result<(), Trouble> {
        let Some(table) = self.keyless.iter().find(|table| taken.has(table)) else {
            return Ok(());
        };
        let reason = format!("table {table} has no primary key any more");
        let hint = "give it the key that it has in the other regions: it goes on by itself then";
        Err(Trouble::lasting(reason, hint))
    }

    /// What the publication leaves out of tables that it has, if anything: what is written there
    /// meanwhile is told by nobody.
    pub(super) fn left_out(&self) -> Option<&'static str> {
        self.left_out
    }

    /// What somebody should know though all goes on: what has changed since the server was prepared.
    pub(super) fn notices(&self, taken: &Taken) -> Vec<String> {
        let left = self.unpublished.iter();
        let left = left.filter(|table| taken.has(table) || taken.had(table));
        let left = left.map(|table| {
            format!(
                "{table}: it replicated, and the publication doesn't have it any more: what is \
                 written to it here stays here"
            )
        });
        left.chain(self.firing.iter().cloned()).collect()
    }

    /// What tells these tables from others.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether a transaction that ended here may be newer than these tables.
    pub(super) fn may_be_older_than(&self, end: Lsn) -> bool {
        self.as_of < end
    }

    /// Waits until the tables are others, or can't be asked for.
    pub(super) async fn changed(self, client: Client, config: PostgresConfig) -> Trouble {
        let mut moved = None;
        loop {
            match self.look(&client, &config, &mut moved).await {
                Ok(false) => tokio::time::sleep(WATCH_EVERY).await,
                Ok(true) => return Trouble::passing("the server's tables were changed"),
                Err(trouble) => return trouble,
            }
        }
    }

    async fn look(
        &self,
        client: &Client,
        config: &PostgresConfig,
        moved: &mut Option<Movement>,
    ) -> Result<bool, Trouble> {
        let now = Movement::read(client).await?;
        if moved.as_ref() == Some(&now) {
            return Ok(false);
        }
        // What moved is noted first: what changes while the catalog is read moves it again.
        *moved = Some(now);
        Ok(!Self::load(client, config).await?.is_same(self))
    }

    /// The tables, each after those that its foreign keys point to.
    pub(super) fn parents_first(&self) -> impl Iterator<Item = &Arc<Table>> {
        let names = self.parents_first.iter();
        names.filter_map(|name| self.tables.get(name))
    }

    /// Whether several writes may make a row together, so that none says alone what it is.
    pub(super) fn merges(&self, name: &str) -> bool {
        let Some(table) = self.named(name) else {
            return false;
        };
        let counts = table.has_counters();
        counts || self.strategy(&table.name) != Strategy::LastWriterWins
    }

    /// The tables by their names in the dataset.
    pub(super) fn by_name(&self) -> BTreeMap<String, Arc<Table>> {
        self.by_text.clone()
    }

    /// The table that a dataset's table of this name is.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Table>> {
        self.by_text.get(name)
    }
}

fn left_out(publication: &Publication) -> Option<&'static str> {
    if publication.is_partial {
        Some("rows or columns of a table")
    } else if publication.publishes_all {
        None
    } else {
        Some("a kind of change (insert, update, delete, truncate), or partitions as their root")
    }
}

impl Tables for Schema {
    fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        self.tables.get(name).cloned()
    }

    fn strategy(&self, name: &TableName) -> Strategy {
        let own = self.strategies.get(&name.to_string());
        own.copied().unwrap_or(self.strategy)
    }
}
