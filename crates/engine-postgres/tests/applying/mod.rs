//! A server, the machine, an applier, and tables in which the higher version wins.

mod at_once;
mod bulk;
mod foreign_keys;
mod orders;
mod refused;
mod shapes;
mod unique;
mod writers;

use meridian_engine_postgres::Xid;
use meridian_engine_postgres::apply::{Applier, ApplyError, PARKED_TABLE_SQL, POSITION_TABLE_SQL};
use meridian_engine_postgres::catalog::{Catalog, Selection};
use meridian_engine_postgres::local::Cluster;
use meridian_engine_postgres::projection::{Hindrance, Outcome, Projection, Shown};
use meridian_engine_postgres::server::{self, ServerConfig};
use meridian_engine_postgres::tag::{TagKey, seal};
use meridian_model::{Hlc, OriginId, Position, RowName, Vector, Version};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, SimpleQueryMessage};

pub struct Region {
    pub app: Client,
    pub applier: Applier,
    pub projection: Projection,
    tables: BTreeMap<RowName, (Version, Option<String>)>,
    position: u64,
}

pub fn name(table: &str, key: &str) -> RowName {
    RowName {
        table: format!("public.{table}"),
        key: key.to_owned(),
    }
}

fn version(number: u64) -> Version {
    Version {
        hlc: Hlc::from_raw(number),
        origin: OriginId(1),
    }
}

/// An applier over a connection of its own.
pub async fn applier(config: &ServerConfig) -> Applier {
    let counters = BTreeMap::from([("public.purses".to_owned(), ["balance".to_owned()].into())]);
    let selection = Selection {
        include: vec!["public.*".to_owned()],
        counters,
        ..Selection::default()
    };
    let writer = server::connect_held(config, "apply").await.unwrap();
    let catalog = Catalog::load(&writer.0, &selection).await.unwrap();
    let tables = catalog.tables().map(|facts| facts.table.clone()).collect();
    let key = TagKey::random();
    let sealing = move |tag: &_| seal(&key, tag);
    Applier::new(writer, "shop", tables, Box::new(sealing))
        .await
        .unwrap()
}

impl Region {
    /// A region on a database of its own with this schema.
    pub async fn open(cluster: &Cluster, database: &str, schema: &str) -> Self {
        let config = cluster.create_database(database).await.unwrap();
        let app = cluster.connect(database, "postgres").await.unwrap();
        app.batch_execute("CREATE SCHEMA meridian").await.unwrap();
        for sql in [POSITION_TABLE_SQL, PARKED_TABLE_SQL, schema] {
            app.batch_execute(sql).await.unwrap();
        }
        let mut applier = applier(&config).await;
        assert_eq!(applier.position().await.unwrap(), None);
        Self {
            app,
            applier,
            projection: Projection::default(),
            tables: BTreeMap::new(),
            position: 0,
        }
    }

    /// An entry of another region: a row gets columns with texts, as of a version.
    pub fn put(&mut self, table: &str, key: &str, at: u64, columns: &[(&str, Option<&str>)]) {
        let object: serde_json::Map<String, serde_json::Value> = columns
            .iter()
            .map(|(column, text)| ((*column).to_owned(), (*text).into()))
            .collect();
        self.arrives(
            table,
            key,
            at,
            Some(serde_json::Value::Object(object).to_string()),
        );
    }

    pub fn delete(&mut self, table: &str, key: &str, at: u64) {
        self.arrives(table, key, at, None);
    }

    pub fn arrives(&mut self, table: &str, key: &str, at: u64, document: Option<String>) {
        self.position += 1;
        let row = name(table, key);
        self.projection.touched([row.clone()]);
        let held = self.tables.get(&row).map(|(version, _)| *version);
        if held.is_none_or(|held| held < version(at)) {
            self.tables.insert(row, (version(at), document));
        }
    }

    /// One batch, if one is due, without anything being captured.
    pub async fn project(&mut self) -> Option<Outcome> {
        self.try_to_project().await.map(Result::unwrap)
    }

    pub async fn try_to_project(&mut self) -> Option<Result<Outcome, ApplyError>> {
        let batch = self.projection.next_batch()?;
        let id = batch.id;
        let outcome = if batch.hold.is_empty() {
            let shown: Vec<Option<Shown>> = batch
                .rows
                .iter()
                .map(|row| {
                    let (version, document) = self.tables.get(&row.row)?.clone();
                    Some(Shown {
                        document: document?,
                        version,
                    })
                })
                .collect();
            let position = Position(self.position);
            let projected = self
                .projection
                .projected(batch, position, Vector::default(), shown);
            match sendable(self.applier.apply(&projected)).await {
                Err(error) if error.is_connection_lost() => Ok(Outcome::Unknown),
                result => result,
            }
        } else {
            sendable(self.applier.hold(&batch.hold)).await
        };
        if let Ok(outcome) = &outcome {
            self.projection.outcome(id, outcome.clone());
        }
        Some(outcome)
    }

    /// Capture passes all that there is.
    pub async fn capture(&mut self) {
        let end = self.applier.wal_position().await.unwrap();
        self.projection.passed(end);
    }

    /// Captures and projects until nothing is left; how many batches that took.
    pub async fn settle(&mut self) -> usize {
        for batches in 0..40 {
            self.capture().await;
            match self.project().await {
                None => return batches,
                Some(Outcome::Violation { reason }) => panic!("{reason}"),
                Some(_) => {}
            }
        }
        panic!("it never comes to rest");
    }

    /// What a query returns, a row a line.
    /// The oldest transaction under way by now is a candidate for the horizon.
    pub async fn horizon_moves(&mut self) {
        let oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::xid";
        let oldest = self.rows(oldest).await.remove(0).parse().unwrap();
        let read_at = self.applier.wal_position().await.unwrap();
        self.projection.horizon_candidate(Xid(oldest), read_at);
    }

    pub async fn rows(&self, query: &str) -> Vec<String> {
        self.app
            .simple_query(query)
            .await
            .unwrap()
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|field| row.get(field).unwrap_or("-"))
                        .collect::<Vec<_>>()
                        .join(" "),
                ),
                _ => None,
            })
            .collect()
    }

    pub async fn execute(&self, sql: &str) {
        self.app.batch_execute(sql).await.unwrap();
    }

    /// The rows that are out, as `table/key: kind`; the same in the machine and in the server.
    pub async fn parked(&self) -> BTreeSet<String> {
        let machine: Vec<_> = self.projection.parked().collect();
        let mut recorded = self.applier.parked().await.unwrap();
        recorded.sort_by(|a, b| a.row.cmp(&b.row));
        assert_eq!(recorded, machine);
        machine
            .iter()
            .map(|parked| {
                let kind = match &parked.hindrance {
                    Hindrance::Rival { rival, .. } => format!("rival {}", rival.key),
                    Hindrance::Orphan { .. } => "orphan".to_owned(),
                    Hindrance::Incomplete { .. } => "incomplete".to_owned(),
                    Hindrance::Refused { .. } => "refused".to_owned(),
                };
                format!("{}: {kind}", parked.row.key)
            })
            .collect()
    }
}

/// A task of any thread may do this.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

pub fn committed(outcome: Option<Outcome>) -> Xid {
    match outcome {
        Some(Outcome::Committed { xid, .. }) => xid,
        other => panic!("{other:?}"),
    }
}

pub fn unsure(outcome: Option<Outcome>) -> Vec<(RowName, Option<Xid>)> {
    match outcome {
        Some(Outcome::Unsure { found, .. }) => found,
        other => panic!("{other:?}"),
    }
}
