//! The tables that replicate, as the server has them now.

use meridian_engine_postgres::catalog::{Catalog, Table, TableName};
use meridian_engine_postgres::changes::Tables;
use meridian_topology::Strategy;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables, and how writes to them merge.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    tables: BTreeMap<TableName, Arc<Table>>,
    by_text: BTreeMap<String, Arc<Table>>,
    parents_first: Vec<TableName>,
    strategy: Strategy,
    strategies: BTreeMap<String, Strategy>,
}

impl Schema {
    pub(super) fn of(
        catalog: &Catalog,
        strategy: Strategy,
        strategies: BTreeMap<String, Strategy>,
    ) -> Self {
        let tables = catalog.tables().map(|facts| Arc::new(facts.table.clone()));
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
