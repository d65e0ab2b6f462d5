//! The tables that replicate, as the server has them now.

use super::PostgresConfig;
use super::trouble::Trouble;
use meridian_engine_postgres::catalog::{Catalog, Table, TableName};
use meridian_engine_postgres::changes::Tables;
use meridian_topology::Strategy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_postgres::Client;

/// The tables, and how writes to them merge.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Schema {
    tables: BTreeMap<TableName, Arc<Table>>,
    by_text: BTreeMap<String, Arc<Table>>,
    parents_first: Vec<TableName>,
    strategy: Strategy,
    strategies: BTreeMap<String, Strategy>,
}

impl Schema {
    /// The tables of the configuration that the publication has, as the server describes them now.
    pub(super) async fn load(client: &Client, config: &PostgresConfig) -> Result<Self, Trouble> {
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
        Ok(Self::of(&catalog, &published, config))
    }

    fn of(catalog: &Catalog, published: &BTreeSet<TableName>, config: &PostgresConfig) -> Self {
        let (strategy, strategies) = (config.strategy, config.strategies.clone());
        let tables = catalog.tables().map(|facts| Arc::new(facts.table.clone()));
        // Somebody may have published one that has no key by hand: its rows can't be told apart.
        let tables = tables.filter(|table| published.contains(&table.name));
        let tables = tables.filter(|table| !table.key.is_empty());
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
        }
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
        let counts = table.columns.iter().any(|column| column.is_counter);
        counts || self.strategy(&table.name) != Strategy::LastWriterWins
    }

    /// By table the names of its key's columns.
    pub(super) fn key_columns(&self) -> BTreeMap<String, Vec<String>> {
        let tables = self.by_text.iter();
        let tables = tables.map(|(name, table)| {
            let columns = table.key.iter();
            let columns = columns.map(|place| table.columns[*place].name.clone());
            (name.clone(), columns.collect())
        });
        tables.collect()
    }

    /// The table that a dataset's table of this name is.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<Table>> {
        self.by_text.get(name)
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
