//! Servers with what joins them.

use super::{DATABASE, PostgresError, ROLE, Servers, System, native};
use crate::http::HttpClient;
use crate::regions::Regions;
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNNING_DEADLINE: Duration = Duration::from_secs(300);
const PAUSED_DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Servers with what joins them; all of it ends when this is dropped.
#[derive(Debug)]
pub struct Joined {
    /// What joins them.
    pub system: System,
    /// The regions go first when this is dropped.
    regions: Option<Regions>,
    /// The servers.
    pub servers: Servers,
}

/// What is to be joined.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The `meridian` binary.
    pub meridian: &'a Path,
    /// Where everything is kept.
    pub directory: &'a Path,
    /// The tables that replicate, qualified.
    pub tables: &'a [&'a str],
    /// Whether native subscriptions go both ways.
    pub is_both_ways: bool,
}

impl Joined {
    /// Joins servers whose tables are there and equal.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn join(
        system: System,
        servers: Servers,
        wanted: Wanted<'_>,
    ) -> Result<Self, PostgresError> {
        let regions = match system {
            System::Meridian => Some(attach(&servers, wanted).await?),
            System::Native => {
                native::join(&servers, wanted.tables, wanted.is_both_ways).await?;
                None
            }
            System::Bare => None,
        };
        Ok(Self {
            system,
            regions,
            servers,
        })
    }

    /// Stops what joins the servers: subscriptions are disabled, the regions' processes stopped where
    /// they are (`SIGSTOP`), though not in the middle of a transaction of a server, where they would
    /// hold locks that those who write wait for.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn pause(&self) -> Result<(), PostgresError> {
        let Some(regions) = &self.regions else {
            return native::enable(&self.servers, false).await;
        };
        let started = Instant::now();
        loop {
            regions.pause();
            let transactions = self.servers.transactions().await?;
            if transactions.is_empty() {
                return Ok(());
            }
            regions.resume();
            if started.elapsed() > PAUSED_DEADLINE {
                return Err(PostgresError::Late {
                    what: "the regions were never found without a transaction in their servers",
                    seconds: PAUSED_DEADLINE.as_secs(),
                    seen: transactions.join(", "),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn resume(&self) -> Result<(), PostgresError> {
        match &self.regions {
            Some(regions) => regions.resume(),
            None => native::enable(&self.servers, true).await?,
        }
        Ok(())
    }

    /// The processor time that the servers have used so far, and the regions.
    #[must_use]
    pub fn processor_times(&self) -> [Duration; 2] {
        let regions = self.regions.as_ref().map(Regions::processor_time);
        [self.servers.processor_time(), regions.unwrap_or_default()]
    }

    /// The same in seconds, without what it was before.
    #[must_use]
    pub fn processor_seconds(&self, before: [Duration; 2]) -> [f64; 2] {
        let [servers, regions] = self.processor_times();
        [(servers, before[0]), (regions, before[1])]
            .map(|(now, before)| now.saturating_sub(before).as_secs_f64())
    }

    /// Ends everything.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn stop(self) -> Result<(), PostgresError> {
        if let Some(regions) = self.regions {
            regions.stop().await?;
        }
        Ok(())
    }
}

/// Prepares the servers, starts a region beside each, and waits until all replicate.
async fn attach(servers: &Servers, wanted: Wanted<'_>) -> Result<Regions, PostgresError> {
    let count = servers.count();
    let mut regions = Regions::prepare_with(wanted.meridian, wanted.directory, count, |names| {
        dataset(servers, names, wanted.tables)
    })?;
    prepare(wanted)?;
    for index in 0..count {
        regions.launch(index)?;
    }
    for index in 0..count {
        regions.ready(index).await?;
        is_running(regions.addresses()[index].api).await?;
    }
    Ok(regions)
}

fn dataset(servers: &Servers, names: &[&str], tables: &[&str]) -> String {
    let tables = serde_json::to_string(tables).expect("texts are JSON");
    let mut text =
        format!("[[dataset]]\nname = \"main\"\nengine = \"postgres\"\ntables = {tables}\n\n");
    for (index, name) in names.iter().enumerate() {
        writeln!(
            text,
            "[dataset.postgres.region.{name}]\n\
             url = \"postgresql://{ROLE}@127.0.0.1:{}/{DATABASE}?sslmode=disable\"\n",
            servers.port(index)
        )
        .expect("a String takes all that is written to it");
    }
    text
}

fn prepare(wanted: Wanted<'_>) -> Result<(), PostgresError> {
    let output = Command::new(wanted.meridian)
        .args(["postgres", "prepare", "--apply", "--config"])
        .arg(wanted.directory.join("meridian.toml"))
        .output()
        .map_err(|source| PostgresError::Run {
            program: wanted.meridian.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(PostgresError::Prepare(said))
}

async fn is_running(api: SocketAddr) -> Result<(), PostgresError> {
    let started = Instant::now();
    loop {
        let state = state(api).await;
        if state["state"] == "running" {
            return Ok(());
        }
        if started.elapsed() > RUNNING_DEADLINE {
            return Err(PostgresError::Late {
                what: "a region did not attach to its server",
                seconds: RUNNING_DEADLINE.as_secs(),
                seen: state.to_string(),
            });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// How a region stands with its server; null while it doesn't say.
async fn state(api: SocketAddr) -> Value {
    let Ok(mut client) = HttpClient::connect(api).await else {
        return Value::Null;
    };
    let Ok(reply) = client.get("/v1/status").await else {
        return Value::Null;
    };
    let status: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    status["datasets"][0]["postgres"].clone()
}
