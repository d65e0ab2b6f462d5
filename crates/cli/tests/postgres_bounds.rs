//! What a PostgreSQL dataset takes of memory and disk: transactions larger than memory, quiet databases.
//!
//! The figure of the documentation is that of the ignored test, in a release build:
//! `cargo nextest run --release -p meridian-cli --test postgres_bounds --run-ignored only`.

mod support;

use meridian_engine_postgres::local::{Cluster, Stop};
use meridian_engine_postgres::server::{ServerConfig, connect};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::local::run;
use support::{eventually, free_base, meridian, text};

const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(240);
const SCHEMA: &str = "
    CREATE TABLE public.items (id bigint PRIMARY KEY, name text NOT NULL, price bigint NOT NULL);
    CREATE TABLE public.small (id int PRIMARY KEY, body text);
";

fn ask(server: &ServerConfig, sql: &str) -> String {
    run(async {
        let client = connect(server, "test").await.unwrap();
        let row = client.query_one(sql, &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    })
}

fn sql(server: &ServerConfig, sql: &str) {
    run(async {
        let client = connect(server, "test").await.unwrap();
        client.batch_execute(sql).await.unwrap();
    });
}

/// Three servers, and the regions beside them.
struct System {
    clusters: Vec<Cluster>,
    servers: Vec<ServerConfig>,
    directory: tempfile::TempDir,
    up: Option<Child>,
    base: u16,
}

impl System {
    /// `limits` are lines of the dataset's table in the topology.
    fn start(limits: &str) -> Self {
        let clusters: Vec<_> = REGIONS.map(|_| Cluster::temporary().unwrap()).into();
        let make = |cluster: &Cluster| run(cluster.create_database_of("shop", "clerk")).unwrap();
        let servers: Vec<_> = clusters.iter().map(make).collect();
        let mut system = Self {
            clusters,
            servers,
            directory: tempfile::tempdir().unwrap(),
            up: None,
            base: free_base(28_000),
        };
        for server in &system.servers {
            sql(server, SCHEMA);
        }
        system.write_topology(limits);
        let mut prepare = meridian(system.directory.path());
        let output = prepare.args(["postgres", "prepare", "--apply"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output));
        system.up();
        for region in 0..REGIONS.len() {
            eventually("the region captures", PATIENCE, || {
                (system.status(region)?["state"] == "running").then_some(())
            });
        }
        system
    }

    fn write_topology(&self, limits: &str) {
        let mut text = "zone = \"meridian.test\"\n".to_owned();
        for region in REGIONS {
            let _ = writeln!(text, "[[region]]\nname = \"{region}\"");
        }
        text += "[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
        text += limits;
        for (region, server) in REGIONS.iter().zip(&self.servers) {
            let _ = write!(
                text,
                "[dataset.postgres.region.{region}]\nurl = \"{}\"\n",
                server.url
            );
        }
        std::fs::write(self.directory.path().join("meridian.toml"), text).unwrap();
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
        eventually("all regions serve", PATIENCE, || {
            (!self.events("serving").is_empty()).then_some(())
        });
    }

    fn events(&self, name: &str) -> Vec<Value> {
        let said = std::fs::read_to_string(self.directory.path().join("out.txt")).unwrap();
        let lines = said.lines();
        let events = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }

    fn process(&self, region: usize) -> i64 {
        let started = self.events("started");
        let of = |event: &&Value| event["region"] == REGIONS[region];
        let process = started.iter().rev().find(of).unwrap()["process_id"].as_i64();
        process.unwrap()
    }

    /// What `meridian postgres status` says of a region.
    fn status(&self, region: usize) -> Option<Value> {
        let output = meridian(self.directory.path())
            .args(["postgres", "status", "--output", "json"])
            .args(["--data-dir", "data"])
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).ok()?;
        let all = said.as_array()?;
        let of = |reply: &&Value| reply["region"] == REGIONS[region];
        member(all.iter().find(of)?, "postgres").cloned()
    }

    /// How all stand, and what the regions said.
    #[expect(clippy::print_stderr, reason = "a test that fails says what it saw")]
    fn tell(&self) {
        let verbs = [
            &["regions", "list"][..],
            &["postgres", "status"],
            &["status"],
        ];
        for verb in verbs {
            let mut asked = meridian(self.directory.path());
            let output = asked.args(verb).args(["--data-dir", "data"]).output();
            eprintln!(
                "{}",
                output.map_or_else(|it| it.to_string(), |it| text(&it))
            );
        }
        let said = std::fs::read_to_string(self.directory.path().join("out.txt"));
        eprintln!("{}", said.unwrap_or_default());
    }

    /// How long a region's API takes to say how it is.
    fn answers_after(&self, region: u16) -> Duration {
        let asked = Instant::now();
        let api = (Ipv4Addr::LOCALHOST, self.base + 10 * region);
        let mut stream = TcpStream::connect(api).unwrap();
        let request = b"GET /v1/health HTTP/1.1\r\nHost: region\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.starts_with("HTTP/1.1 "), "{said}");
        asked.elapsed()
    }

    /// The most memory that a region's process has had so far, in MiB.
    fn peak_mib(&self, region: usize) -> u64 {
        let pid = self.process(region);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() / 1024
    }

    fn logs(&self) -> String {
        let log = |region: &str| {
            let path = self.directory.path().join("data").join(region);
            let path = path.join("log.txt");
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(8).collect();
            format!("{region}:\n{}\n", lines.join("\n"))
        };
        REGIONS.map(log).concat()
    }

    /// Runs one transaction in the first region; readers of the others see all of it or nothing.
    /// `count` counts what it did. How long it took to show everywhere, and how long the regions'
    /// APIs took at most to answer meanwhile.
    fn whole(&self, transaction: &str, count: &str, rows: u64) -> (Duration, Duration) {
        let (is_over, wrong) = (AtomicBool::new(false), Mutex::new(None));
        let silence = Mutex::new(Duration::ZERO);
        let all = rows.to_string();
        let before = Instant::now();
        thread::scope(|scope| {
            for server in &self.servers[1..] {
                let (is_over, wrong, all) = (&is_over, &wrong, &all);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let asked = Instant::now();
                        let seen = ask(server, count);
                        if seen != "0" && seen != *all {
                            *wrong.lock().unwrap() = Some(seen);
                            return;
                        }
                        // Whoever counts millions of rows without pause keeps a core from the rest.
                        thread::sleep(Duration::from_millis(20).max(4 * asked.elapsed()));
                    }
                });
            }
            for region in 0..3 {
                let (is_over, silence) = (&is_over, &silence);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        let answered = self.answers_after(region);
                        let mut longest = silence.lock().unwrap();
                        *longest = answered.max(*longest);
                        drop(longest);
                        thread::sleep(Duration::from_millis(20));
                    }
                });
            }
            sql(&self.servers[0], transaction);
            let until = Instant::now() + PATIENCE + Duration::from_millis(rows);
            let shows = |server| ask(server, count) == all;
            let mut asked = Instant::now();
            while !self.servers.iter().all(shows)
                && wrong.lock().unwrap().is_none()
                && Instant::now() < until
            {
                thread::sleep(Duration::from_millis(100).max(4 * asked.elapsed()));
                asked = Instant::now();
            }
            is_over.store(true, Ordering::Relaxed);
            let status = || {
                (0..REGIONS.len())
                    .map(|it| self.status(it))
                    .collect::<Vec<_>>()
            };
            assert!(
                Instant::now() < until,
                "not in time: {:?}\n{}",
                status(),
                self.logs()
            );
        });
        assert_eq!(wrong.into_inner().unwrap(), None, "of {rows} rows show");
        (before.elapsed(), silence.into_inner().unwrap())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        for cluster in &mut self.clusters {
            cluster.stop(Stop::Immediate);
        }
    }
}

/// The first member of this name.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(object) => {
            let inside = || object.values().find_map(|value| member(value, name));
            object.get(name).or_else(inside)
        }
        Value::Array(array) => array.iter().find_map(|value| member(value, name)),
        _ => None,
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the figures are what the long run is for"
)]
fn large(rows: u64, peak_mib_max: u64) {
    let system = System::start("");
    let insert = format!(
        "INSERT INTO public.items SELECT i, 'item number ' || i, 0 FROM generate_series(1, {rows}) i"
    );
    let count = "SELECT count(*)::text FROM public.items";
    let inserted = system.whole(&insert, count, rows);
    let update = "UPDATE public.items SET price = price + 1";
    let count = "SELECT count(*) FILTER (WHERE price = 1)::text FROM public.items";
    let updated = system.whole(update, count, rows);
    let peaks: Vec<u64> = (0..REGIONS.len()).map(|it| system.peak_mib(it)).collect();
    eprintln!(
        "{rows} rows, until they show and the longest silence: inserted {inserted:?}, updated \
         {updated:?}; peaks {peaks:?} MiB"
    );
    assert!(
        peaks.iter().all(|peak| *peak < peak_mib_max),
        "{peaks:?} MiB"
    );
    let sum = "SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM public.items i";
    let sums: Vec<_> = system.servers.iter().map(|it| ask(it, sum)).collect();
    assert!(sums.iter().all(|it| *it == sums[0]));
}

#[test]
fn a_large_transaction_shows_as_a_whole_and_takes_little_memory() {
    large(40_000, 300);
}

#[test]
#[ignore = "takes minutes, in a release build"]
fn two_million_rows_in_one_transaction_take_less_than_512_mib() {
    large(2_000_000, 512);
}

const ITEMS: &str = "INSERT INTO public.items SELECT i, repeat(md5(i::text), 20), 0 FROM \
                     generate_series((SELECT 1 + count(*) FROM public.items), \
                     (SELECT 2000 + count(*) FROM public.items)) i";

#[test]
fn a_quiet_database_holds_no_wal_while_its_server_is_busy() {
    let system = System::start("");
    let held = |region| {
        let status = eventually("a status", PATIENCE, || system.status(region));
        status["held_bytes"].as_u64().unwrap()
    };
    let server = &system.servers[0];
    // The same server, another database.
    let busy = run(system.clusters[0].create_database_of("other", "clerk")).unwrap();
    sql(
        &busy,
        "CREATE TABLE public.t AS SELECT i, repeat('x', 400) AS x FROM generate_series(1, 100000) i",
    );
    let wal = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text";
    let before: u64 = ask(server, wal).parse().unwrap();
    sql(&busy, "UPDATE public.t SET i = i + 1");
    let written = ask(server, wal).parse::<u64>().unwrap() - before;
    assert!(written > 32 << 20, "{written} bytes");
    eventually("none of it is held", PATIENCE, || {
        (held(0) < 1 << 20).then_some(())
    });
}

#[test]
fn a_region_that_is_away_costs_log_and_then_wal_and_the_status_says_so() {
    let limits = "[dataset.limits]\nlog-bytes-max = \"48 MiB\"\nlog-reserve-bytes = \"32 MiB\"\n";
    let system = System::start(limits);
    let state = |region: usize| {
        let status = eventually("a status", PATIENCE, || system.status(region));
        status["state"].as_str().unwrap().to_owned()
    };
    let process = |region| {
        let process = i32::try_from(system.process(region)).unwrap();
        rustix::process::Pid::from_raw(process).unwrap()
    };
    let away = [process(1), process(2)];
    // They answer nobody, and keep their state. One alone is no majority: nobody is evicted.
    for process in away {
        rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    }
    let count = "SELECT count(*)::text FROM public.items";
    // A status takes long while regions don't answer: most is written before the first look.
    for _ in 0..16 {
        sql(&system.servers[0], ITEMS);
    }
    eventually("the log is at its budget", PATIENCE, || {
        sql(&system.servers[0], ITEMS);
        (state(0) == "waiting").then_some(())
    });
    let status = system.status(0).unwrap();
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("log"), "{status}");
    assert!(status["hint"].as_str().unwrap().contains("log-bytes-max"));
    eventually("the server keeps the WAL", PATIENCE, || {
        sql(&system.servers[0], ITEMS);
        let held = system.status(0)?["held_bytes"].as_u64()?;
        (held > 2 << 20).then_some(())
    });
    for process in away {
        rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    }
    eventually("all of it is everywhere", PATIENCE, || {
        let counts: Vec<_> = system.servers.iter().map(|it| ask(it, count)).collect();
        counts.iter().all(|it| *it == counts[0]).then_some(())
    });
    eventually("it runs again", PATIENCE, || {
        (state(0) == "running").then_some(())
    });
}
