//! `postgres-catch-up`: what joins the servers is paused, transactions are committed in the first
//! server, and it goes on: how many transactions a second until all servers have them?
//!
//! Native subscriptions are disabled, so that the WAL is decoded, sent and applied afterwards.
//! Meridian's processes are stopped where they are in *all* regions: else the first region's would
//! have captured everything meanwhile. The clock starts when they go on, and stops when the last
//! transaction, a mark, is visible in every other server. Then all rows are compared.
//!
//! A transaction of two rows updates an account and adds a line to a history, as `pgbench -N` does;
//! larger ones half and half, and one of a single row updates. They are written by one session in a
//! loop, without waiting for the disk, because that isn't measured.

mod report;

use crate::Common;
use crate::output::{talk, workplace_of_servers};
use anyhow::{Context, Result, ensure};
use meridian_bench::postgres::{Joined, Servers, System, Wanted};
use meridian_bench::regions::REGIONS_MAX;
use report::{CatchUp, Report};
use std::path::Path;
use std::time::{Duration, Instant};

const TABLES: [&str; 3] = ["public.accounts", "public.history", "public.marks"];
const DEADLINE: Duration = Duration::from_secs(600);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Options of `postgres-catch-up`.
#[derive(Clone, clap::Args)]
pub struct Options {
    /// Rows written in all while the systems are paused, by transactions of one or two rows
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows: u64,
    /// Rows in each transaction, one run for each
    #[arg(long, value_delimiter = ',', default_value = "1,2,10,100,1000",
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rows_per_transaction: Vec<u64>,
    /// Servers, one run for each number
    #[arg(long, value_delimiter = ',', default_value = "2,3",
          value_parser = clap::value_parser!(u64).range(2..=REGIONS_MAX as u64))]
    regions: Vec<u64>,
    /// Accounts that are there
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    accounts: u64,
    /// Rounds of each system, in turns; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// The systems to compare
    #[arg(long, value_enum, value_delimiter = ',', default_value = "meridian,native",
          value_parser = super::postgres::joining())]
    systems: Vec<System>,
}

/// One size of transactions.
#[derive(Clone, Copy, Debug)]
struct Size {
    rows_per_transaction: u64,
    transactions: u64,
}

impl Options {
    fn sizes(&self) -> impl Iterator<Item = Size> + '_ {
        self.rows_per_transaction.iter().map(|rows| Size {
            rows_per_transaction: *rows,
            transactions: self.rows.div_ceil(*rows),
        })
    }

    /// The accounts come alike in every server: nothing has to be copied.
    fn schema(&self) -> String {
        format!(
            "CREATE TABLE public.accounts (id int PRIMARY KEY, balance bigint NOT NULL, filler char(84));
             CREATE TABLE public.history (id bigserial PRIMARY KEY, account int NOT NULL,
                 amount int NOT NULL, at timestamptz NOT NULL DEFAULT now());
             CREATE TABLE public.marks (id bigint PRIMARY KEY);
             INSERT INTO public.accounts SELECT n, 0, '' FROM generate_series(1, {}) n;
             ANALYZE",
            self.accounts
        )
    }
}

/// Runs the benchmark and prints its report.
pub async fn run(common: &Common, options: &Options) -> Result<bool> {
    let (directory, machine) = workplace_of_servers(&common.data_parent)?;
    let mut runs = Vec::new();
    let mut version = String::new();
    for regions in &options.regions {
        let place = directory.path().join(format!("{regions}-servers"));
        std::fs::create_dir(&place).context("create a data directory")?;
        let mut groups = Vec::new();
        for system in &options.systems {
            talk(&format!("starting {regions} servers for {}", system.name()));
            let place = place.join(system.name());
            groups.push(start(&common.meridian, options, *system, *regions, &place).await?);
        }
        if let Some(group) = groups.first() {
            version = group.servers.version_name().await?;
        }
        let mut mark = 0;
        for size in options.sizes() {
            for round in 0..options.rounds {
                for turn in 0..groups.len() {
                    let group = &groups[(turn + usize::from(round)) % groups.len()];
                    mark += 1;
                    let run = measure(group, options, size, mark).await?;
                    talk(&run.in_words());
                    runs.push(run);
                }
            }
        }
        for group in groups {
            group.stop().await?;
        }
        std::fs::remove_dir_all(&place).context("remove the servers' data")?;
    }
    common
        .output
        .print(&Report::new(options, machine, version, runs))?;
    Ok(true)
}

async fn start(
    meridian: &Path,
    options: &Options,
    system: System,
    regions: u64,
    directory: &Path,
) -> Result<Joined> {
    std::fs::create_dir(directory).context("create a data directory")?;
    let count = usize::try_from(regions).context("count the servers")?;
    let servers = Servers::start(directory, count, &options.schema()).await?;
    let wanted = Wanted {
        meridian,
        directory,
        tables: &TABLES,
        is_both_ways: false,
    };
    let group = Joined::join(system, servers, wanted).await?;
    // A region that has yet to hear what its server was given gives it its own writes again.
    let client = group.servers.client(0).await?;
    let first = "INSERT INTO public.marks VALUES (0)";
    client.batch_execute(first).await.context("write a row")?;
    for server in 1..group.servers.count() {
        marked(&group, server, 0, Instant::now()).await?;
    }
    Ok(group)
}

async fn measure(group: &Joined, options: &Options, size: Size, mark: u64) -> Result<CatchUp> {
    group.pause().await?;
    let started = Instant::now();
    write(group, options, size, mark).await?;
    let write_seconds = started.elapsed().as_secs_f64();
    let before = group.processor_times();

    let started = Instant::now();
    group.resume().await?;
    let mut looks = Vec::new();
    for server in 1..group.servers.count() {
        looks.push(marked(group, server, mark, started));
    }
    let mut seconds: f64 = 0.0;
    for look in looks {
        seconds = seconds.max(look.await?.as_secs_f64());
    }
    let [by_servers, by_regions] = group.processor_seconds(before);
    let rows = group.servers.equal(&TABLES).await?;
    ensure!(!rows.is_empty(), "the servers said nothing of their rows");
    Ok(CatchUp {
        system: group.system,
        regions: group.servers.count(),
        rows_per_transaction: size.rows_per_transaction,
        transactions: size.transactions,
        write_seconds,
        seconds,
        processor_seconds: by_servers + by_regions,
        servers_seconds: by_servers,
    })
}

/// Writes transactions into the first server, the mark last.
async fn write(group: &Joined, options: &Options, size: Size, mark: u64) -> Result<()> {
    let client = group.servers.client(0).await?;
    let added = size.rows_per_transaction / 2;
    let updated = size.rows_per_transaction - added;
    ensure!(
        updated <= options.accounts,
        "a transaction of {} rows updates more accounts than there are",
        size.rows_per_transaction
    );
    let insert = if added == 0 {
        String::new()
    } else {
        format!(
            "INSERT INTO public.history (account, amount)
             SELECT first + n, n FROM generate_series(0, {}) n;",
            added - 1
        )
    };
    let text = format!(
        "DO $$ DECLARE first int; BEGIN
             FOR i IN 1..{} LOOP
                 first := 1 + floor(random() * {});
                 UPDATE public.accounts SET balance = balance + i
                     WHERE id BETWEEN first AND first + {};
                 {insert}
                 COMMIT;
             END LOOP;
             INSERT INTO public.marks VALUES ({mark});
         END $$",
        size.transactions,
        options.accounts - updated + 1,
        updated - 1,
    );
    client
        .batch_execute("SET synchronous_commit = off; SET lock_timeout = '60s'")
        .await
        .context("set up a session")?;
    client
        .batch_execute(&text)
        .await
        .context("write transactions")
}

/// Waits until a mark is visible in a server; when that was.
async fn marked(group: &Joined, server: usize, mark: u64, started: Instant) -> Result<Duration> {
    let client = group.servers.client(server).await?;
    let look = client
        .prepare("SELECT 1 FROM public.marks WHERE id = $1")
        .await?;
    loop {
        let found = client.query_opt(&look, &[&mark.cast_signed()]).await?;
        if found.is_some() {
            return Ok(started.elapsed());
        }
        ensure!(
            started.elapsed() < DEADLINE,
            "server {} does not catch up",
            server + 1
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn native_subscriptions_catch_up_with_what_they_missed() {
        let place = crate::output::tests::directory_for_servers();
        let options = Command::parse_from(["test", "--rows", "60", "--accounts", "1000"]).options;
        let none = Path::new("/nonexistent");
        let place = place.path().join("native");
        let group = start(none, &options, System::Native, 2, &place)
            .await
            .unwrap();
        for (mark, rows) in [(1, 1), (2, 2), (3, 10)] {
            let size = Size {
                rows_per_transaction: rows,
                transactions: 6,
            };
            let run = measure(&group, &options, size, mark).await.unwrap();
            assert_eq!(run.transactions, 6);
            assert!(run.seconds > 0.0, "{run:?}");
            // A paused subscription isn't one that lets everything through.
            group.pause().await.unwrap();
            write(&group, &options, size, mark + 100).await.unwrap();
            let query = format!(
                "SELECT count(*) FROM public.marks WHERE id = {}",
                mark + 100
            );
            assert_eq!(group.servers.ask(0, &query).await.unwrap(), "1");
            assert_eq!(group.servers.ask(1, &query).await.unwrap(), "0");
            group.resume().await.unwrap();
        }
        group.servers.equal(&TABLES).await.unwrap();
        let history = group.servers.ask(1, "SELECT count(*) FROM public.history");
        assert_eq!(history.await.unwrap(), (2 * (6 + 6 * 5)).to_string());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_transaction_that_does_not_go_on_is_seen_with_those_that_wait_for_it() {
        let place = crate::output::tests::directory_for_servers();
        let schema = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";
        let servers = Servers::start(place.path(), 1, schema).await.unwrap();
        assert_eq!(servers.transactions().await.unwrap(), [""; 0]);
        let holder = servers.client(0).await.unwrap();
        let lock = "BEGIN; SELECT FROM t FOR UPDATE";
        holder.batch_execute(lock).await.unwrap();
        let open = servers.transactions().await.unwrap();
        assert!(matches!(&open[..], [one] if one.contains(lock)), "{open:?}");
        let waiter = servers.client(0).await.unwrap();
        let waiting = tokio::spawn(async move { waiter.batch_execute("DELETE FROM t").await });
        // Never an error: a statement that waits for a lock is not one that is at work.
        while servers.transactions().await.unwrap().len() < 2 {}
        holder.batch_execute("COMMIT").await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(servers.transactions().await.unwrap(), [""; 0]);
    }
}
