//! `pgbench`, PostgreSQL's own load generator.

use super::{DATABASE, PostgresError, ROLE, Servers, sql};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The tables that it writes under `-N`; its history gets a key, without which nothing can be
/// replicated by rows.
pub const TABLES: [&str; 2] = ["public.pgbench_accounts", "public.pgbench_history"];

/// The program.
#[derive(Clone, Debug)]
pub struct Pgbench {
    program: PathBuf,
}

/// What a run came to, as `pgbench` says it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Transactions in all.
    pub transactions: u64,
    /// Transactions a second, without connecting.
    pub transactions_per_second: f64,
    /// The mean of a transaction's latencies.
    pub latency_ms_mean: f64,
}

impl Pgbench {
    /// The one named, or the one beside the servers' other programs.
    ///
    /// # Errors
    /// [`PostgresError::NoPgbench`].
    pub fn find(named: Option<&Path>, servers: &Servers) -> Result<Self, PostgresError> {
        let beside = || servers.cluster(0).binaries().program("pgbench");
        let program = named.map_or_else(beside, Path::to_owned);
        if program.is_file() {
            return Ok(Self { program });
        }
        Err(PostgresError::NoPgbench { path: program })
    }

    /// Makes the tables in a server, and their first rows, the same each time.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn initialise(
        &self,
        servers: &Servers,
        index: usize,
        scale: u32,
    ) -> Result<(), PostgresError> {
        let scale = scale.to_string();
        self.run(servers, index, &["-i", "-q", "-s", &scale])
            .await?;
        let client = servers.client(index).await?;
        client
            .batch_execute("ALTER TABLE pgbench_history ADD COLUMN hid bigserial PRIMARY KEY")
            .await
            .map_err(sql("give pgbench's history a key"))
    }

    /// Writes for some seconds: an update of an account, a look at it and a line of history in each
    /// transaction.
    ///
    /// # Errors
    /// [`PostgresError`].
    pub async fn write(
        &self,
        servers: &Servers,
        index: usize,
        clients: u16,
        seconds: u64,
    ) -> Result<Run, PostgresError> {
        let (clients, seconds) = (clients.to_string(), seconds.to_string());
        let said = self
            .run(
                servers,
                index,
                &["-N", "-n", "-M", "prepared", "-c", &clients, "-T", &seconds],
            )
            .await?;
        read(&said).ok_or(PostgresError::Pgbench(said))
    }

    async fn run(
        &self,
        servers: &Servers,
        index: usize,
        arguments: &[&str],
    ) -> Result<String, PostgresError> {
        let port = servers.port(index).to_string();
        let output = Command::new(&self.program)
            .args(["-h", "127.0.0.1", "-U", ROLE, "-p", &port])
            .args(arguments)
            .arg(DATABASE)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| PostgresError::Run {
                program: self.program.clone(),
                source,
            })?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(PostgresError::Pgbench(format!("{said}{errors}")))
    }
}

fn read(said: &str) -> Option<Run> {
    let after = |start: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(start))?;
        let end = line.find(|it: char| !it.is_ascii_digit() && it != '.');
        Some(&line[..end.unwrap_or(line.len())])
    };
    Some(Run {
        transactions: after("number of transactions actually processed: ")?
            .parse()
            .ok()?,
        transactions_per_second: after("tps = ")?.parse().ok()?,
        latency_ms_mean: after("latency average = ")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_read() {
        let said = "transaction type: <builtin: simple update>\nscaling factor: 1\n\
                    number of transactions actually processed: 12345\n\
                    number of failed transactions: 0 (0.000%)\nlatency average = 2.431 ms\n\
                    initial connection time = 14.063 ms\n\
                    tps = 3290.123456 (without initial connection time)\n";
        let run = read(said).unwrap();
        assert_eq!(run.transactions, 12_345);
        assert!((run.transactions_per_second - 3_290.123_456).abs() < 1e-6);
        assert!((run.latency_ms_mean - 2.431).abs() < 1e-6);
        assert_eq!(read("tps = 1.0"), None);
    }
}
