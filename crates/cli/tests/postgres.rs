//! Three PostgreSQL servers with writers in each, joined by three regions: the binary, stock servers,
//! ordinary SQL.

mod support;

use meridian_engine_postgres::local::{Cluster, Stop};
use meridian_engine_postgres::server::{ServerConfig, connect};
use serde_json::Value;
use std::fs::File;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::local::run;
use support::{eventually, free_base, meridian, text};
use tokio_postgres::Client;

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);
const ACCOUNTS: i64 = 20;
const SCHEMA: &str = "
    CREATE TABLE public.accounts (id int PRIMARY KEY, owner text NOT NULL, balance bigint NOT NULL);
    CREATE TABLE public.notes (id int PRIMARY KEY, by text, flag boolean, at timestamptz, tags text[],
        body jsonb);
";

/// Three servers, and the regions beside them.
struct System {
    clusters: Vec<Cluster>,
    servers: Vec<ServerConfig>,
    directory: tempfile::TempDir,
    up: Option<Child>,
    base: u16,
}

impl System {
    fn start() -> Self {
        let clusters: Vec<_> = REGIONS.map(|_| Cluster::temporary().unwrap()).into();
        let make = |cluster: &Cluster| run(cluster.create_database_of("shop", "clerk")).unwrap();
        let servers: Vec<_> = clusters.iter().map(make).collect();
        let mut system = Self {
            clusters,
            servers,
            directory: tempfile::tempdir().unwrap(),
            up: None,
            base: free_base(30_000),
        };
        for region in 0..3 {
            system.sql(region, SCHEMA);
        }
        system.write_topology();
        system.prepare();
        system.up();
        system
    }

    fn write_topology(&self) {
        let mut text = "zone = \"meridian.test\"\n".to_owned();
        for region in REGIONS {
            text += &format!("[[region]]\nname = \"{region}\"\n");
        }
        text += "[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
        for (region, server) in REGIONS.iter().zip(&self.servers) {
            text += &format!(
                "[dataset.postgres.region.{region}]\nurl = \"{}\"\n",
                server.url
            );
        }
        text += "[dataset.table.\"public.accounts\"]\ncounters = [\"balance\"]\n";
        std::fs::write(self.directory.path().join("meridian.toml"), text).unwrap();
    }

    fn prepare(&self) {
        let mut command = meridian(self.directory.path());
        let output = command.args(["postgres", "prepare", "--apply"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    fn up(&mut self) {
        let out = File::create(self.directory.path().join("out.txt")).unwrap();
        let arguments = ["up", "--config", "meridian.toml", "--data-dir", "data"];
        let child = meridian(self.directory.path())
            .args(arguments)
            .args(["--output", "json", "--base-port", &self.base.to_string()])
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        self.up = Some(child.unwrap());
        let until = Instant::now() + PATIENCE;
        while self.events("serving").is_empty() {
            let is_late = Instant::now() >= until;
            assert!(!is_late, "not all serve:\n{}\n{}", self.said(), self.logs());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("out.txt")).unwrap()
    }

    fn logs(&self) -> String {
        let log = |region: &str| {
            let path = self
                .directory
                .path()
                .join("data")
                .join(region)
                .join("log.txt");
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(5).collect();
            format!("{region}:\n{}\n", lines.join("\n"))
        };
        REGIONS.map(log).concat()
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let lines = said.lines();
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }

    /// A connection, as soon as the server answers. Its thread ends with the test.
    fn client(&self, region: usize) -> Client {
        let (sender, receiver) = std::sync::mpsc::channel();
        let server = self.servers[region].clone();
        thread::spawn(move || {
            run(async {
                loop {
                    if let Ok(client) = connect(&server, "test").await {
                        let _ = sender.send(client);
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().unwrap()
    }

    fn sql(&self, region: usize, sql: &str) {
        run(async {
            let client = connect(&self.servers[region], "test").await.unwrap();
            client.batch_execute(sql).await.unwrap();
        });
    }

    fn ask(&self, region: usize, sql: &str) -> String {
        run(async {
            let client = connect(&self.servers[region], "test").await.unwrap();
            let row = client.query_one(sql, &[]).await.unwrap();
            row.get::<_, Option<String>>(0).unwrap_or_default()
        })
    }

    /// Waits until every server answers the same.
    fn agree(&self, sql: &str) -> String {
        let mut last = Vec::new();
        let until = Instant::now() + PATIENCE;
        loop {
            let answers: Vec<_> = (0..3).map(|region| self.ask(region, sql)).collect();
            if answers.iter().all(|answer| *answer == answers[0]) {
                return answers[0].clone();
            }
            last.clone_from(&answers);
            assert!(
                Instant::now() < until,
                "they don't agree: {last:?}\n{}",
                self.logs()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills a region's process; `up` starts another.
    fn kill_region(&self, region: usize) {
        let started = self.events("started");
        let of = |event: &&Value| event["region"] == REGIONS[region];
        let process = started.iter().rev().find(of).unwrap()["process_id"].as_i64();
        let pid = rustix::process::Pid::from_raw(process.unwrap().try_into().unwrap());
        rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
    }
}

const ALL: &str = "SELECT md5(string_agg(t, ';' ORDER BY t)) FROM (
    SELECT a::text AS t FROM public.accounts a UNION ALL SELECT n::text FROM public.notes n) u";

/// Writes until told to stop; what fails while a server is away is tried again.
fn write(system: &System, region: usize, stop: &AtomicBool, written: &AtomicU64) {
    let mut random = fastrand_of(region);
    let mut client = system.client(region);
    while !stop.load(Ordering::Relaxed) {
        let (from, to) = (random() % ACCOUNTS, random() % ACCOUNTS);
        let (amount, note) = (random() % 50, random() % 40);
        let sql = match random() % 5 {
            0 => format!(
                "INSERT INTO public.notes VALUES ({note}, '{region}', {}, now(), ARRAY['a', '{amount}'], \
                 '{{\"n\": {amount}}}') ON CONFLICT (id) DO UPDATE SET by = excluded.by, \
                 flag = excluded.flag, at = excluded.at, tags = excluded.tags, body = excluded.body",
                amount % 2 == 0
            ),
            1 => format!("DELETE FROM public.notes WHERE id = {note}"),
            2 => format!(
                "BEGIN; SAVEPOINT s; UPDATE public.notes SET by = 'saved' WHERE id = {note}; \
                 RELEASE s; SAVEPOINT s; DELETE FROM public.notes; ROLLBACK TO s; COMMIT"
            ),
            // In one order, so that two of them never wait for each other.
            _ => format!(
                "BEGIN; \
                 UPDATE public.accounts SET balance = balance - {amount} WHERE id = {from} AND {from} < {to}; \
                 UPDATE public.accounts SET balance = balance + {amount} WHERE id = {to} AND {from} < {to}; \
                 COMMIT"
            ),
        };
        match run(client.batch_execute(&sql)) {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if client.is_closed() => client = system.client(region),
            Err(_) => {
                let _ = run(client.batch_execute("ROLLBACK"));
            }
        }
    }
}

/// Numbers from a seed.
fn fastrand_of(seed: usize) -> impl FnMut() -> i64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed as u64 + 1);
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 33).unwrap()
    }
}

/// Reads the sum of all balances until told to stop: no reader ever sees half of a transfer.
fn audit(system: &System, region: usize, stop: &AtomicBool, read: &AtomicU64) {
    let mut client = system.client(region);
    let query = "SELECT sum(balance)::text, count(*)::text FROM public.accounts";
    while !stop.load(Ordering::Relaxed) {
        match run(client.query_one(query, &[])) {
            Ok(row) => {
                let (sum, count): (String, String) = (row.get(0), row.get(1));
                let expected = (ACCOUNTS * 1000).to_string();
                assert_eq!(
                    (sum, count),
                    (expected, ACCOUNTS.to_string()),
                    "in {}",
                    REGIONS[region]
                );
                read.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => client = system.client(region),
        }
    }
}

#[test]
fn writers_in_every_region_agree_whatever_dies_and_no_reader_sees_half_a_transfer() {
    let mut system = System::start();
    system.sql(
        0,
        &format!(
            "INSERT INTO public.accounts SELECT g, 'owner ' || g, 1000 FROM generate_series(0, {}) g",
            ACCOUNTS - 1
        ),
    );
    let count = "SELECT count(*)::text FROM public.accounts";
    eventually("the accounts in every region", PATIENCE, || {
        let all = (0..3).all(|region| system.ask(region, count) == ACCOUNTS.to_string());
        all.then_some(())
    });
    let stop = AtomicBool::new(false);
    let (written, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut crashing = system.clusters.remove(1);
    thread::scope(|scope| {
        for region in 0..3 {
            let (system, stop) = (&system, &stop);
            let (written, read) = (&written, &read);
            scope.spawn(move || write(system, region, stop, written));
            scope.spawn(move || audit(system, region, stop, read));
        }
        thread::sleep(Duration::from_secs(2));
        system.kill_region(0);
        thread::sleep(Duration::from_secs(2));
        crashing.stop(Stop::Immediate);
        crashing.start().unwrap();
        thread::sleep(Duration::from_secs(3));
        stop.store(true, Ordering::Relaxed);
    });
    system.clusters.insert(1, crashing);
    assert!(written.load(Ordering::Relaxed) > 300, "{written:?}");
    assert!(read.load(Ordering::Relaxed) > 300, "{read:?}");
    system.agree(ALL);
    let sum = "SELECT sum(balance)::text FROM public.accounts";
    assert_eq!(system.agree(sum), (ACCOUNTS * 1000).to_string());
}

#[test]
fn a_table_that_comes_later_replicates_once_it_is_prepared() {
    let system = System::start();
    for region in 0..3 {
        system.sql(
            region,
            "CREATE TABLE public.later (id int PRIMARY KEY, what text)",
        );
    }
    system.sql(2, "INSERT INTO public.later VALUES (1, 'before')");
    system.prepare();
    system.sql(1, "INSERT INTO public.later VALUES (2, 'after')");
    let all = "SELECT string_agg(what, ', ' ORDER BY id) FROM public.later";
    eventually("both rows everywhere", PATIENCE, || {
        (0..3)
            .all(|region| system.ask(region, all) == "before, after")
            .then_some(())
    });
    system.sql(
        0,
        "TRUNCATE public.later; INSERT INTO public.later VALUES (3, 'anew')",
    );
    eventually("emptied everywhere", PATIENCE, || {
        (0..3)
            .all(|region| system.ask(region, all) == "anew")
            .then_some(())
    });
    let output = meridian(system.directory.path())
        .args([
            "postgres",
            "status",
            "--data-dir",
            "data",
            "--output",
            "json",
        ])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    for region in status.as_array().unwrap() {
        let postgres = &region["datasets"][0]["postgres"];
        assert_eq!(postgres["state"], "running", "{status}");
        assert_eq!(postgres["rows_parked"], 0, "{status}");
    }
    // Rows are read and not written over the API.
    let api = format!("http://127.0.0.1:{}", system.base);
    let command = |arguments: &[&str]| {
        let mut command = meridian(system.directory.path());
        command
            .args(arguments)
            .args(["--api", &api])
            .output()
            .unwrap()
    };
    let got = command(&["tables", "get", "public.later", "3"]);
    assert!(text(&got).contains("anew"), "{}", text(&got));
    let put = command(&["tables", "put", "public.later", "3", "{}"]);
    assert!(!put.status.success());
    assert!(text(&put).contains("write with SQL"), "{}", text(&put));
}
