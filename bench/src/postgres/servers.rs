//! The servers themselves.

use super::{PostgresError, sql};
use crate::ports::free_port;
use crate::procfs::{self, ProcessId};
use meridian_engine_postgres::local::{Cluster, LocalError, Settings};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Row};

/// The database.
pub const DATABASE: &str = "bench";
/// Who owns its tables, and writes.
pub const ROLE: &str = "writer";

const PORT_TRIES: usize = 20;
const EQUAL_DEADLINE: Duration = Duration::from_secs(600);
const STATEMENTS_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Of each session with a transaction whether a statement is at work, and how it is named.
const TRANSACTIONS: &str = "SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Lock', \
     concat(application_name, ', ', state, ': ', left(query, 100)) \
     FROM pg_stat_activity WHERE backend_type = 'client backend' \
     AND pid <> pg_backend_pid() AND state <> 'idle'";
/// The same for all that are compared. Checkpoints would come to one or the other by chance, so
/// there is room for the WAL of a whole run; a worker that ended may start again at once.
const PARAMETERS: [(&str, &str); 7] = [
    ("shared_buffers", "256MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("max_connections", "60"),
    ("synchronous_commit", "on"),
    ("wal_retrieve_retry_interval", "100ms"),
    ("logical_decoding_work_mem", "64MB"),
];

/// Some servers with a database each; stopped when dropped.
#[derive(Debug)]
pub struct Servers {
    clusters: Vec<Cluster>,
}

impl Servers {
    /// Starts `count` servers with their data under `directory`, and runs `schema` in each as
    /// [`ROLE`].
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn start(
        directory: &Path,
        count: usize,
        schema: &str,
    ) -> Result<Self, PostgresError> {
        let mut servers = Self {
            clusters: Vec::new(),
        };
        for index in 0..count {
            let cluster = start(&directory.join(format!("server-{}", index + 1)))?;
            cluster.create_database_of(DATABASE, ROLE).await?;
            servers.clusters.push(cluster);
            let client = servers.client(index).await?;
            client
                .batch_execute(schema)
                .await
                .map_err(sql("make the tables"))?;
        }
        Ok(servers)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.clusters.len()
    }

    /// Where a server listens, at 127.0.0.1.
    #[must_use]
    pub fn port(&self, index: usize) -> u16 {
        self.clusters[index].port()
    }

    /// A server.
    #[must_use]
    pub fn cluster(&self, index: usize) -> &Cluster {
        &self.clusters[index]
    }

    /// A session of [`ROLE`] with a server's database.
    ///
    /// # Errors
    /// [`PostgresError::Local`].
    pub async fn client(&self, index: usize) -> Result<Client, PostgresError> {
        Ok(self.clusters[index].connect(DATABASE, ROLE).await?)
    }

    /// A session of the superuser with a server's database.
    ///
    /// # Errors
    /// [`PostgresError::Local`].
    pub async fn superuser(&self, index: usize) -> Result<Client, PostgresError> {
        Ok(self.clusters[index].connect(DATABASE, "postgres").await?)
    }

    /// The version as numbers compare: 150018.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn version(&self) -> Result<u32, PostgresError> {
        let text = self.ask(0, "SHOW server_version_num").await?;
        Ok(text.parse().unwrap_or_default())
    }

    /// The version as people say it.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn version_name(&self) -> Result<String, PostgresError> {
        self.ask(0, "SHOW server_version").await
    }

    /// The first field of the first row of an answer, as text.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn ask(&self, index: usize, query: &str) -> Result<String, PostgresError> {
        first_field(&self.client(index).await?, query).await
    }

    /// Waits until every server has the same rows in these tables; what that is.
    ///
    /// # Errors
    /// [`PostgresError`], also when they stay different.
    pub async fn equal(&self, tables: &[&str]) -> Result<String, PostgresError> {
        let parts: Vec<String> = tables
            .iter()
            .map(|table| {
                format!(
                    "(SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) \
                     FROM {table} t)"
                )
            })
            .collect();
        let query = format!("SELECT concat_ws(' ', {})", parts.join(", "));
        let started = Instant::now();
        loop {
            let mut answers = Vec::new();
            for index in 0..self.count() {
                answers.push(self.ask(index, &query).await?);
            }
            if answers.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(answers.swap_remove(0));
            }
            if started.elapsed() > EQUAL_DEADLINE {
                return Err(PostgresError::Late {
                    what: "the servers did not become equal",
                    seconds: EQUAL_DEADLINE.as_secs(),
                    seen: answers.join(" | "),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The sessions of applications that have transactions open, once no statement is at work: what
    /// those began that don't go on.
    ///
    /// # Errors
    /// [`PostgresError`], also when statements don't end.
    pub async fn transactions(&self) -> Result<Vec<String>, PostgresError> {
        let started = Instant::now();
        let mut open = Vec::new();
        for index in 0..self.count() {
            let client = self.superuser(index).await?;
            loop {
                let rows = client.query(TRANSACTIONS, &[]).await;
                let rows = rows.map_err(sql("list transactions"))?;
                let of = |row: &Row| format!("server {}: {}", index + 1, row.get::<_, &str>(1));
                if !rows.iter().any(|row| row.get(0)) {
                    open.extend(rows.iter().map(of));
                    break;
                }
                if started.elapsed() > STATEMENTS_DEADLINE {
                    return Err(PostgresError::Late {
                        what: "statements did not end",
                        seconds: STATEMENTS_DEADLINE.as_secs(),
                        seen: rows.iter().map(of).collect::<Vec<_>>().join(", "),
                    });
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        Ok(open)
    }

    /// The processor time that the servers have used so far, sessions that ended included.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let pids = self.clusters.iter().filter_map(Cluster::pid);
        let of = |pid: i32| {
            let server = ProcessId(pid.cast_unsigned());
            std::iter::once(server)
                .chain(procfs::descendants(server))
                .filter_map(procfs::processor_time_with_ended)
                .sum::<Duration>()
        };
        pids.map(of).sum()
    }
}

/// The first field of the first row of an answer, as text.
pub(crate) async fn first_field(client: &Client, query: &str) -> Result<String, PostgresError> {
    let messages = client.simple_query(query).await.map_err(sql("ask"))?;
    let field = messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(field.unwrap_or_default())
}

fn start(directory: &Path) -> Result<Cluster, PostgresError> {
    let parameters = PARAMETERS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut tries = 0;
    loop {
        let settings = Settings {
            parameters: parameters.to_vec(),
            ..Settings::default()
        };
        let port = free_port().map_err(|_| LocalError::NoPort)?;
        let mut cluster = Cluster::create(directory, port, settings)?;
        tries += 1;
        match cluster.start() {
            // Somebody was faster at this port.
            Err(LocalError::Ended { said, .. })
                if said.contains("listen socket") && tries < PORT_TRIES => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(cluster),
        }
    }
}
