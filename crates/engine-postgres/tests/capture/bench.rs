//! A server with one database, one slot and one publication, and what is captured of it as texts.

use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{
    Capture, CaptureError, CapturedTransaction, Changes, Datum, Event, Relation, RowChange, Tuple,
};
use meridian_engine_postgres::local::Cluster;
use meridian_engine_postgres::server::ServerConfig;
use meridian_engine_postgres::tag::TagKey;
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::Client;

pub const DATABASE: &str = "shop";
pub const SLOT: &str = "meridian_shop";
pub const PUBLICATION: &str = "meridian_shop";

/// Longer than anything takes; what waits for so long waits in vain.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Bench {
    pub cluster: Cluster,
    /// As the role `clerk`, which owns the tables, may replicate, and is no superuser.
    pub server: ServerConfig,
    pub key: TagKey,
    pub directory: TempDir,
    /// A session of the role.
    pub clerk: Client,
    markers: u32,
}

impl Bench {
    /// A server with these parameters, and a database in which these statements were run before the
    /// slot was made.
    pub async fn with(parameters: &[(&str, &str)], statements: &str) -> Self {
        let cluster = Cluster::temporary_with(parameters).unwrap();
        let server = cluster.create_database_of(DATABASE, "clerk").await.unwrap();
        let clerk = cluster.connect(DATABASE, "clerk").await.unwrap();
        let marker = "CREATE TABLE marker (number int PRIMARY KEY)";
        clerk.batch_execute(marker).await.unwrap();
        clerk.batch_execute(statements).await.unwrap();
        let bench = Self {
            cluster,
            server,
            key: TagKey::random(),
            directory: tempfile::tempdir().unwrap(),
            clerk,
            markers: 0,
        };
        bench.publish().await;
        bench.make_slot().await;
        bench
    }

    pub async fn new(statements: &str) -> Self {
        Self::with(&[], statements).await
    }

    pub async fn superuser(&self) -> Client {
        self.cluster.connect(DATABASE, "postgres").await.unwrap()
    }

    pub async fn publish(&self) {
        let publication = format!(
            "CREATE PUBLICATION {PUBLICATION} FOR ALL TABLES \
             WITH (publish_via_partition_root = true)"
        );
        let superuser = self.superuser().await;
        superuser.batch_execute(&publication).await.unwrap();
    }

    pub async fn make_slot(&self) {
        let slot = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
        self.clerk.batch_execute(&slot).await.unwrap();
    }

    pub async fn sql(&self, statements: &str) {
        self.clerk.batch_execute(statements).await.unwrap();
    }

    pub async fn text(&self, query: &str) -> String {
        self.clerk.query_one(query, &[]).await.unwrap().get(0)
    }

    pub async fn number(&self, query: &str) -> i64 {
        self.clerk.query_one(query, &[]).await.unwrap().get(0)
    }

    pub async fn lsn(&self, query: &str) -> Lsn {
        self.text(query).await.parse().unwrap()
    }

    pub async fn start(&self, after: Lsn) -> Result<Capture, CaptureError> {
        self.start_as(&self.server, after).await
    }

    pub async fn start_as(
        &self,
        server: &ServerConfig,
        after: Lsn,
    ) -> Result<Capture, CaptureError> {
        let directory = self.directory.path();
        Capture::start(server, SLOT, PUBLICATION, after, &self.key, directory).await
    }

    /// Capture from where the slot stands, as soon as whoever had it before is gone.
    pub async fn capture(&self, after: Lsn) -> Capture {
        self.eventually(async || match self.start(after).await {
            Ok(capture) => Some(capture),
            Err(error) if error.is_transient() => None,
            Err(error) => panic!("{error:#}"),
        })
        .await
    }

    /// Tries until there is something, and leaves the machine to others in between.
    pub async fn eventually<T>(&self, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
        let trying = async {
            loop {
                if let Some(found) = attempt().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, trying)
            .await
            .expect("it never became true")
    }

    /// All transactions that were committed until now.
    pub async fn captured(&mut self, capture: &mut Capture) -> Vec<CapturedTransaction> {
        self.markers += 1;
        let marker = format!("insert marker ({})", self.markers);
        let insert = format!("INSERT INTO marker VALUES ({})", self.markers);
        self.sql(&insert).await;
        let mut transactions = Vec::new();
        loop {
            let Event::Transaction(transaction) = next(capture).await.unwrap() else {
                continue;
            };
            if matches!(transaction.changes, Changes::Held(_)) && told(&transaction) == [&*marker] {
                return transactions;
            }
            transactions.push(transaction);
        }
    }

    /// What was committed until now, change by change and transaction by transaction.
    pub async fn told(&mut self, capture: &mut Capture) -> Vec<Vec<String>> {
        self.captured(capture).await.iter().map(told).collect()
    }
}

/// What comes next, which must come.
pub async fn next(capture: &mut Capture) -> Result<Event, CaptureError> {
    tokio::time::timeout(PATIENCE, capture.next())
        .await
        .expect("nothing came")
}

/// The error with which capture ends; everything before is confirmed.
pub async fn end(capture: &mut Capture) -> CaptureError {
    loop {
        match next(capture).await {
            Ok(Event::Transaction(transaction)) => capture.confirm(transaction.end),
            Ok(Event::Passed(position)) => capture.confirm(position),
            Err(error) => return error,
        }
    }
}

/// A transaction's changes as texts.
pub fn told(transaction: &CapturedTransaction) -> Vec<String> {
    let chunks = transaction.changes.chunks().map(Result::unwrap);
    chunks
        .flat_map(|chunk| chunk.iter().map(change).collect::<Vec<_>>())
        .collect()
}

fn change(change: &RowChange) -> String {
    match change {
        RowChange::Insert { relation, new } => format!("insert {} {}", name(relation), row(new)),
        RowChange::Update {
            relation,
            old: Some(old),
            new,
        } => format!("update {} {} to {}", name(relation), row(old), row(new)),
        RowChange::Update {
            relation,
            old: None,
            new,
        } => format!("update {} to {}", name(relation), row(new)),
        RowChange::Delete { relation, old } => format!("delete {} {}", name(relation), row(old)),
        RowChange::Truncate { relations } => {
            let names: Vec<_> = relations.iter().map(|relation| name(relation)).collect();
            format!("truncate {}", names.join(" "))
        }
    }
}

fn name(relation: &Relation) -> String {
    let name = relation.name.to_string();
    name.strip_prefix("public.").unwrap_or(&name).to_owned()
}

fn row(tuple: &Tuple) -> String {
    let values = tuple.iter().map(|datum| match datum {
        Datum::Null => "null".to_owned(),
        Datum::Unchanged => "unchanged".to_owned(),
        Datum::Text(text) if text.len() > 200 => format!("{} bytes", text.len()),
        Datum::Text(text) => text.clone(),
    });
    format!("({})", values.collect::<Vec<_>>().join(", "))
}
