//! A Redis primary and its replica, which goes away and comes back.

use anyhow::{Context, Result, bail, ensure};
use meridian_bench::bulk::{self, BulkPlan};
use meridian_bench::load;
use meridian_bench::ports::free_port;
use meridian_bench::process::Server;
use meridian_bench::redis::{RedisClient, RedisReply};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const READY_DEADLINE: Duration = Duration::from_secs(60);
/// How soon a primary gives a silent replica up, in seconds. Only while the replica is to go away: a
/// copy or a backlog of a million rows keeps both sides silent for longer.
const GIVEN_UP_AFTER: &str = "2";
const REPLICATION_TIMEOUT: &str = "600";
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How the replica goes away and comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Paused until the primary has given it up; then it continues.
    Paused,
    /// Killed; then started anew over its files.
    Killed,
}

/// The two servers.
pub struct RedisPair {
    directory: PathBuf,
    addresses: [SocketAddr; 2],
    primary: Server,
    replica: Server,
}

impl RedisPair {
    /// Starts both and waits until the replica follows.
    pub async fn start(directory: &Path) -> Result<Self> {
        let address = || free_port().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let addresses = [address()?, address()?];
        let mut pair = Self {
            primary: launch(directory, addresses[0], None)?,
            replica: launch(directory, addresses[1], Some(addresses[0]))?,
            directory: directory.to_owned(),
            addresses,
        };
        let probe = || async move { answers(addresses[0]).await };
        pair.primary.ready(READY_DEADLINE, probe).await?;
        pair.answers(READY_DEADLINE).await?;
        pair.follow(READY_DEADLINE).await?;
        Ok(pair)
    }

    /// Writes all rows of a plan; several in a transaction go as one `MSET`.
    pub async fn write(&self, prefix: &'static str, plan: BulkPlan) -> Result<Duration> {
        let started = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let mut connections = Vec::new();
        for _ in 0..plan.connections {
            let client = RedisClient::connect(self.addresses[0]).await?;
            connections.push(tokio::spawn(write_some(client, prefix, plan, next.clone())));
        }
        for connection in connections {
            connection.await.context("a writer panicked")??;
        }
        Ok(started.elapsed())
    }

    /// Takes the replica away; returns when the primary has noticed.
    pub async fn take_away(&mut self, how: Return) -> Result<()> {
        self.set_timeout(GIVEN_UP_AFTER).await?;
        match how {
            Return::Paused => self.replica.pause(),
            Return::Killed => drop(self.replica.kill()?),
        }
        let started = Instant::now();
        let mut primary = RedisClient::connect(self.addresses[0]).await?;
        while number(
            &info(&mut primary, "replication").await?,
            "connected_slaves:",
        )? != 0
        {
            ensure!(
                started.elapsed() < READY_DEADLINE,
                "the primary does not give its replica up"
            );
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.set_timeout(REPLICATION_TIMEOUT).await
    }

    /// Sets the primary's replication timeout.
    async fn set_timeout(&self, seconds: &str) -> Result<()> {
        let mut primary = RedisClient::connect(self.addresses[0]).await?;
        let words: [&[u8]; 4] = [b"CONFIG", b"SET", b"repl-timeout", seconds.as_bytes()];
        primary.command(&words).await?;
        Ok(())
    }

    /// Lets the replica come back.
    pub fn bring_back(&mut self, how: Return) -> Result<()> {
        match how {
            Return::Paused => self.replica.resume(),
            Return::Killed => {
                let [primary, replica] = self.addresses;
                self.replica = launch(&self.directory, replica, Some(primary))?;
            }
        }
        Ok(())
    }

    /// Waits until the replica answers; says how long that took.
    pub async fn answers(&mut self, deadline: Duration) -> Result<Duration> {
        let started = Instant::now();
        let replica = self.addresses[1];
        let probe = || async move { answers(replica).await };
        self.replica.ready(deadline, probe).await?;
        Ok(started.elapsed())
    }

    /// Waits until the replica has taken all that the primary wrote.
    pub async fn follow(&self, deadline: Duration) -> Result<()> {
        let started = Instant::now();
        let mut primary = RedisClient::connect(self.addresses[0]).await?;
        let mut replica = RedisClient::connect(self.addresses[1]).await?;
        loop {
            // A replica that is still loading answers with an error.
            if let Ok(state) = info(&mut replica, "replication").await
                && state.contains("master_link_status:up")
            {
                let there = number(
                    &info(&mut primary, "replication").await?,
                    "master_repl_offset:",
                )?;
                if number(&state, "slave_repl_offset:")? >= there {
                    return Ok(());
                }
            }
            ensure!(started.elapsed() < deadline, "the replica does not follow");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Both hold the same, this many keys, and the replica came back in the way it should have.
    pub async fn verify(&self, keys: u64, how: Return) -> Result<()> {
        let mut digests = Vec::new();
        for address in self.addresses {
            let mut client = RedisClient::connect(address).await?;
            let found = client.count().await?;
            ensure!(
                found == keys,
                "{keys} keys were written, {address} has {found}"
            );
            digests.push(client.command(&[b"DEBUG", b"DIGEST"]).await?);
        }
        ensure!(digests[0] == digests[1], "the digests differ: {digests:?}");
        let mut primary = RedisClient::connect(self.addresses[0]).await?;
        let stats = info(&mut primary, "stats").await?;
        let (full, partial) = (
            number(&stats, "sync_full:")?,
            number(&stats, "sync_partial_ok:")?,
        );
        // The first of the full ones was the beginning of the pair.
        let as_expected = match how {
            Return::Paused => full == 1 && partial >= 1,
            Return::Killed => full == 2,
        };
        ensure!(
            as_expected,
            "{how:?}, the replica came back by {full} full and {partial} partial resynchronisations"
        );
        Ok(())
    }

    /// Ends both.
    pub async fn stop(self) -> Result<()> {
        self.replica.stop().await?;
        self.primary.stop().await?;
        Ok(())
    }
}

fn launch(directory: &Path, address: SocketAddr, primary: Option<SocketAddr>) -> Result<Server> {
    let port = address.port().to_string();
    let own = directory.join(&port);
    std::fs::create_dir_all(&own).context("create a data directory")?;
    let mut settings: Vec<(&str, String)> = [
        ("--bind", "127.0.0.1"),
        ("--daemonize", "no"),
        ("--appendonly", "yes"),
        ("--appendfsync", "always"),
        ("--save", ""),
        // All that is missed fits, so that a paused replica can continue.
        ("--repl-backlog-size", "4gb"),
        ("--repl-diskless-sync-delay", "0"),
        ("--repl-timeout", REPLICATION_TIMEOUT),
        // A rewrite of the file in the middle of it would be measured too.
        ("--auto-aof-rewrite-percentage", "0"),
        ("--repl-ping-replica-period", "1"),
        ("--enable-debug-command", "local"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    settings.push(("--port", port));
    settings.push(("--dir", own.display().to_string()));
    if let Some(primary) = primary {
        settings.push((
            "--replicaof",
            format!("{} {}", primary.ip(), primary.port()),
        ));
    }
    let arguments: Vec<OsString> = settings
        .into_iter()
        .flat_map(|(name, value)| [OsString::from(name), OsString::from(value)])
        .collect();
    Ok(Server::start(
        Path::new("redis-server"),
        &arguments,
        &own.join("log"),
    )?)
}

async fn answers(address: SocketAddr) -> bool {
    match RedisClient::connect(address).await {
        Ok(mut client) => client.count().await.is_ok(),
        Err(_) => false,
    }
}

async fn info(client: &mut RedisClient, section: &str) -> Result<String> {
    match client.command(&[b"INFO", section.as_bytes()]).await? {
        RedisReply::Bulk(Some(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        other => bail!("INFO gave {other:?}"),
    }
}

fn number(info: &str, field: &str) -> Result<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(field));
    let text = line.with_context(|| format!("INFO has no {field}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("read {field}{text}"))
}

async fn write_some(
    mut client: RedisClient,
    prefix: &'static str,
    plan: BulkPlan,
    next: Arc<AtomicU64>,
) -> Result<()> {
    let step = plan.rows_per_transaction.max(1);
    loop {
        let first = next.fetch_add(step, Ordering::Relaxed);
        let end = plan.rows.min(first + step);
        if first >= end {
            return Ok(());
        }
        let pairs: Vec<_> = (first..end)
            .map(|number| {
                let key = format!("{prefix}/{}", bulk::key(number));
                (key, load::value(0, number, plan.value_bytes))
            })
            .collect();
        let mut words: Vec<&[u8]> = vec![if pairs.len() == 1 { b"SET" } else { b"MSET" }];
        for (key, value) in &pairs {
            words.extend([key.as_bytes(), &value[..]]);
        }
        client.command(&words).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let text = "# Replication\r\nslave_repl_offset:7\r\nmaster_repl_offset:123\r\n";
        assert_eq!(number(text, "master_repl_offset:").unwrap(), 123);
        assert_eq!(number(text, "slave_repl_offset:").unwrap(), 7);
        assert!(number(text, "sync_full:").is_err());
    }
}
