//! Three servers, three regions as processes, everything between them cuttable, and what must be so
//! in the end.

use crate::gate::Gate;
use crate::proxy::Proxy;
use crate::template;
use meridian_engine_postgres::local::{Cluster, Stop};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, SimpleQueryMessage};

pub const MERIDIAN: &str = env!("CARGO_BIN_EXE_meridian");
pub const REGIONS: [&str; 3] = ["a", "b", "c"];
/// How long anything may take before a test fails: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a test wants of its system.
#[derive(Clone, Default)]
pub struct Wanted<'a> {
    /// Tables and all that belongs to them, run in every server by their owner.
    pub schema: &'a str,
    /// More TOML about the dataset: `[dataset.table."public.t"]` and the like.
    pub dataset: &'a str,
    /// The databases' encoding, where it isn't UTF8.
    pub encoding: Option<&'a str>,
    /// How many regions there are at first; the others may join. All where 0.
    pub founders: usize,
    /// What these are started with besides.
    pub arguments: &'a [&'a str],
}

/// A server with the region beside it.
struct Place {
    cluster: Cluster,
    gate: Gate,
    api: SocketAddr,
    link: SocketAddr,
    process: Option<Child>,
    client: RefCell<Option<Client>>,
    _data: TempDir,
}

pub struct System {
    places: Vec<Place>,
    links: BTreeMap<(usize, usize), Proxy>,
    directory: TempDir,
    agent: ureq::Agent,
    runtime: Runtime,
    dataset: String,
    barriers: Cell<u32>,
}

/// Whether a verb succeeded, and what it said, once it has ended.
pub fn ended(verb: Child) -> (bool, String) {
    let output = verb.wait_with_output().expect("it ends");
    let said =
        [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned());
    (output.status.success(), said.concat())
}

/// Addresses that nobody listens on, outside of those given to outgoing connections.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at once begin at different places.
    let offset = u16::try_from(std::process::id() * 61 % 8_000).expect("below the divisor");
    loop {
        let port = 22_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What drives the connections to the servers.
pub fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("threads")
}

fn meridian(arguments: &[&str]) {
    let output = Command::new(MERIDIAN).args(arguments).output();
    let output = output.expect("meridian starts");
    let said =
        [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned());
    assert!(
        output.status.success(),
        "meridian {arguments:?}: {}",
        said.concat()
    );
}

impl System {
    /// Three regions beside servers with these tables.
    pub fn start(schema: &str) -> Self {
        Self::start_with(&Wanted {
            schema,
            ..Wanted::default()
        })
    }

    /// Three regions, one table of it with a counter.
    pub fn start_counting(schema: &str, table: &str, counter: &str) -> Self {
        Self::start_with(&Wanted {
            schema,
            dataset: &format!("[dataset.table.\"public.{table}\"]\ncounters = [\"{counter}\"]\n"),
            ..Wanted::default()
        })
    }

    pub fn start_with(wanted: &Wanted<'_>) -> Self {
        let mut system = Self::servers(wanted);
        let founders = match wanted.founders {
            0 => system.places.len(),
            founders => founders,
        };
        for own in 0..founders {
            system.write_topology(own, founders);
        }
        system.prepare(0);
        for region in 0..founders {
            system.start_region_with(region, wanted.arguments);
        }
        for region in 0..founders {
            system.wait_running(region);
        }
        system
    }

    fn servers(wanted: &Wanted<'_>) -> Self {
        let starting = REGIONS.map(|_| std::thread::spawn(place));
        let places: Vec<_> = starting.map(|place| place.join().expect("a server")).into();
        let mut links = BTreeMap::new();
        for from in 0..places.len() {
            for to in (0..places.len()).filter(|to| *to != from) {
                links.insert((from, to), Proxy::start(places[to].link));
            }
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)))
            .max_idle_connections_per_host(0);
        let system = Self {
            places,
            links,
            directory: tempfile::tempdir().expect("a directory"),
            agent: config.build().into(),
            runtime: runtime(),
            dataset: wanted.dataset.to_owned(),
            barriers: Cell::new(0),
        };
        let certs = system.directory.path().join("certs");
        let certs = certs.to_str().expect("a text path");
        meridian(&["certs", "authority", "--directory", certs]);
        meridian(&[&["certs", "region"], &REGIONS[..], &["--directory", certs]].concat());
        let barrier = "CREATE TABLE public.barrier (region text PRIMARY KEY, n int NOT NULL);";
        for region in 0..REGIONS.len() {
            if let Some(encoding) = wanted.encoding {
                system.recreate_database(region, encoding);
            }
            system.sql(region, &format!("{barrier}{}", wanted.schema));
        }
        system
    }

    fn recreate_database(&self, region: usize, encoding: &str) {
        let cluster = &self.places[region].cluster;
        self.runtime.block_on(async {
            let client = cluster.connect("postgres", "postgres").await.expect("the server");
            for statement in [
                "DROP DATABASE shop".to_owned(),
                format!(
                    "CREATE DATABASE shop OWNER clerk TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
                ),
            ] {
                client.batch_execute(&statement).await.expect("a database");
            }
        });
    }

    /// The topology as `own` has it, with the first `founders` regions and itself.
    pub fn write_topology(&self, own: usize, founders: usize) {
        let certs = self.directory.path().join("certs");
        let certs = certs.display();
        let mut text = format!(
            "zone = \"meridian.test\"\n[tls]\nauthority = \"{certs}/authority.pem\"\n\
             certificate = \"{certs}/{{region}}.pem\"\nkey = \"{certs}/{{region}}.key.pem\"\n"
        );
        let there = |region: &usize| *region < founders || *region == own;
        for region in (0..self.places.len()).filter(there) {
            let place = &self.places[region];
            let link = self
                .links
                .get(&(own, region))
                .map_or(place.link, |proxy| proxy.address);
            let name = REGIONS[region];
            writeln!(
                text,
                "[[region]]\nname = \"{name}\"\nlocation = {{ latitude = 0.0, longitude = 0.0 }}\n\
                 api = \"{}\"\nlink = \"{link}\"",
                place.api
            )
            .expect("a string takes all");
        }
        text += "[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
        for region in (0..self.places.len()).filter(there) {
            let (name, gate) = (REGIONS[region], self.places[region].gate.address);
            let url = format!("postgresql://meridian@{gate}/shop?sslmode=disable");
            writeln!(text, "[dataset.postgres.region.{name}]\nurl = \"{url}\"")
                .expect("a string takes all");
        }
        fs::write(self.topology_path(own), text + &self.dataset).expect("a topology");
    }

    pub fn topology_path(&self, own: usize) -> PathBuf {
        self.directory.path().join(format!("{}.toml", REGIONS[own]))
    }

    /// Prepares the servers of `own`'s topology, as the tables' owner.
    pub fn prepare(&self, own: usize) {
        let path = self.topology_path(own);
        let path = path.to_str().expect("a text path");
        let prepare = [
            "postgres", "prepare", "--apply", "--user", "clerk", "--config", path,
        ];
        meridian(&prepare);
    }

    // Regions and servers as processes.

    pub fn start_region(&mut self, region: usize) {
        self.start_region_with(region, &[]);
    }

    pub fn start_region_with(&mut self, region: usize, arguments: &[&str]) {
        let talk = File::options()
            .create(true)
            .append(true)
            .open(self.talk_path(region))
            .expect("a file");
        let child = Command::new(MERIDIAN)
            .args(["serve", "--region", REGIONS[region], "--config"])
            .arg(self.topology_path(region))
            .arg("--data-dir")
            .arg(self.data_dir(region))
            .arg("--allow-faults")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(talk)
            .spawn();
        self.places[region].process = Some(child.expect("meridian starts"));
    }

    pub fn data_dir(&self, region: usize) -> PathBuf {
        self.directory.path().join(REGIONS[region])
    }

    /// A copy of a region's data directory; its process must not run.
    pub fn directory_copy(&self, region: usize) -> TempDir {
        assert!(!self.is_up(region));
        let copy = tempfile::tempdir().expect("a directory");
        duplicate(&self.data_dir(region), &copy.path().join("data"));
        copy
    }

    /// Puts a copy in the place of a region's data directory.
    pub fn put_back(&self, region: usize, copy: &TempDir) {
        assert!(!self.is_up(region));
        fs::remove_dir_all(self.data_dir(region)).expect("it is removed");
        duplicate(&copy.path().join("data"), &self.data_dir(region));
    }

    fn talk_path(&self, region: usize) -> PathBuf {
        self.directory
            .path()
            .join(format!("{}.talk", REGIONS[region]))
    }

    /// What went wrong lately, for a test that fails.
    pub fn talk(&self) -> String {
        let mut all = String::new();
        for (region, name) in REGIONS.iter().enumerate() {
            let said = fs::read_to_string(self.talk_path(region)).unwrap_or_default();
            let lines: Vec<_> = said.lines().rev().take(8).collect();
            let lines: Vec<_> = lines.into_iter().rev().collect();
            let status = self.status(region).unwrap_or_default();
            let _ = write!(all, "\n{name}: {status}\n{}", lines.join("\n"));
        }
        all
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self, region: usize) {
        if let Some(mut child) = self.places[region].process.take() {
            child.kill().expect("a signal");
            child.wait().expect("its end");
        }
    }

    /// The server ends as in a crash.
    pub fn crash_server(&mut self, region: usize) {
        *self.places[region].client.borrow_mut() = None;
        self.places[region].cluster.stop(Stop::Immediate);
    }

    /// Drops the slot of a region that is down.
    pub fn drop_slot(&self, region: usize) {
        let cluster = &self.places[region].cluster;
        let client = self.runtime.block_on(cluster.connect("shop", "postgres"));
        let client = client.expect("the server takes connections");
        let drop = "SELECT pg_drop_replication_slot('meridian_shop')";
        self.until("the slot is dropped", || self.try_on(&client, drop).is_ok());
    }

    pub fn start_server(&mut self, region: usize) {
        self.places[region].cluster.start().expect("a server");
    }

    pub fn gate(&self, region: usize) -> &Gate {
        &self.places[region].gate
    }

    /// Whether the region's process was started and not killed.
    pub fn is_up(&self, region: usize) -> bool {
        self.places[region].process.is_some()
    }

    pub fn cut(&self, from: usize, to: usize) {
        self.links[&(from, to)].cut();
    }

    /// Cuts the links of two regions in both directions.
    pub fn part(&self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Cuts a region off from all others.
    pub fn isolate(&self, region: usize) {
        for other in (0..self.places.len()).filter(|other| *other != region) {
            self.part(region, other);
        }
    }

    pub fn heal(&self) {
        self.links.values().for_each(Proxy::heal);
    }

    /// Lets links and servers be reached again.
    pub fn lift(&self) {
        self.heal();
        self.places.iter().for_each(|place| place.gate.open());
    }

    // SQL.

    /// A connection of an application of its own.
    pub fn connect(&self, region: usize) -> Client {
        let cluster = &self.places[region].cluster;
        let client = self.runtime.block_on(cluster.connect("shop", "clerk"));
        client.expect("the server takes connections")
    }

    /// Runs one statement after the other as the server's superuser.
    pub fn administer(&self, region: usize, statements: &[&str]) {
        let cluster = &self.places[region].cluster;
        self.runtime.block_on(async {
            let client = cluster
                .connect("shop", "postgres")
                .await
                .expect("the server");
            for statement in statements {
                let done = client.batch_execute(statement).await;
                done.unwrap_or_else(|error| panic!("{statement}: {}", describe(&error)));
            }
        });
    }

    pub fn try_connect(&self, region: usize) -> Option<Client> {
        let cluster = &self.places[region].cluster;
        self.runtime.block_on(cluster.connect("shop", "clerk")).ok()
    }

    pub fn try_on(&self, client: &Client, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(client.batch_execute(sql))
    }

    pub fn on(&self, client: &Client, sql: &str) {
        if let Err(error) = self.try_on(client, sql) {
            panic!("{sql}: {}", describe(&error));
        }
    }

    pub fn try_sql(&self, region: usize, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.with_client(region, |client| self.try_on(client, sql))
    }

    pub fn sql(&self, region: usize, sql: &str) {
        if let Err(error) = self.try_sql(region, sql) {
            panic!("in {}: {sql}: {}", REGIONS[region], describe(&error));
        }
    }

    /// The first field of each row of the answer, a line each.
    pub fn ask(&self, region: usize, sql: &str) -> String {
        let answer = self.try_ask(region, sql);
        answer.unwrap_or_else(|error| panic!("in {}: {sql}: {}", REGIONS[region], describe(&error)))
    }

    pub fn try_ask(&self, region: usize, sql: &str) -> Result<String, tokio_postgres::Error> {
        let answer = self.with_client(region, |client| {
            self.runtime.block_on(client.simple_query(sql))
        });
        let lines = answer?.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("∅").to_owned()),
            _ => None,
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    fn with_client<T>(&self, region: usize, ask: impl FnOnce(&Client) -> T) -> T {
        let mut client = self.places[region].client.borrow_mut();
        if client.as_ref().is_none_or(Client::is_closed) {
            *client = Some(self.connect(region));
        }
        ask(client.as_ref().expect("just made"))
    }

    // What the regions say.

    fn get(&self, region: usize, path: &str) -> Option<Value> {
        let url = format!("http://{}{path}", self.places[region].api);
        let body = self.agent.get(url).call().ok()?.body_mut().read_to_string();
        serde_json::from_str(&body.ok()?).ok()
    }

    /// How a region stands with its server.
    pub fn status(&self, region: usize) -> Option<Value> {
        let status = self.get(region, "/v1/status")?;
        Some(status["datasets"][0]["postgres"].clone())
    }

    fn begin_fault(&self, region: usize, fault: &Value) {
        let url = format!("http://{}/v1/faults", self.places[region].api);
        let reply = self
            .agent
            .post(url)
            .header("content-type", "application/json")
            .send(fault.to_string())
            .expect("an answer");
        assert!(matches!(reply.status().as_u16(), 201 | 202), "{reply:?}");
    }

    /// The region's clock is wrong from now on, until its process ends.
    pub fn set_clock_off(&self, region: usize, offset_ms: i64) {
        let fault = json!({"kind": "clock-offset", "offset_ms": offset_ms, "for": "1h"});
        self.begin_fault(region, &fault);
    }

    /// How many rows were taken over, and were to be written, when a region last met its server.
    pub fn rows_met(&self, region: usize) -> (u64, u64) {
        let status = self.status(region).expect("an answer");
        let count = |name: &str| status["met"][name].as_u64().expect("it met its server");
        (count("rows_taken"), count("rows_to_write"))
    }

    /// How many rows a region holds of a table, whatever its server shows.
    pub fn rows_held(&self, region: usize, table: &str) -> u64 {
        let checksum = self.get(region, &format!("/v1/tables/public.{table}/checksum"));
        checksum
            .and_then(|it| it["rows"].as_u64())
            .unwrap_or_default()
    }

    /// The version of a row as a region holds it.
    pub fn version(&self, region: usize, table: &str, key: &str) -> String {
        let api = self.places[region].api;
        let url = format!("http://{api}/v1/tables/public.{table}/rows/{key}");
        let reply = self.agent.get(url).call().expect("an answer");
        let version = reply.headers().get("etag").expect("a version");
        version.to_str().expect("text").to_owned()
    }

    /// The dataset's state in a region, and why it is so.
    pub fn dataset(&self, region: usize) -> Option<(String, String)> {
        let status = self.get(region, "/v1/status")?;
        let dataset = &status["datasets"][0];
        let text = |name: &str| dataset[name].as_str().unwrap_or_default().to_owned();
        Some((text("state"), text("reason")))
    }

    /// A verb, asked of a region; whether it went well, and what it said.
    pub fn asked(&self, region: usize, verb: &[&str]) -> (bool, String) {
        ended(self.asking(region, verb))
    }

    /// The verb, which has begun and may take until something else is done.
    pub fn asking(&self, region: usize, verb: &[&str]) -> Child {
        let api = format!("http://{}", self.places[region].api);
        let mut command = Command::new(MERIDIAN);
        command.args(verb).args(["--api", &api]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("meridian starts")
    }

    /// Adds a region that was started to join; returns when it has.
    pub fn add_region(&self, region: usize) {
        let (is_done, said) = ended(self.adding_region(region));
        assert!(is_done, "{said}");
    }

    /// The same, not waited for.
    pub fn adding_region(&self, region: usize) -> Child {
        let place = &self.places[region];
        let (api, link) = (place.api.to_string(), place.link.to_string());
        let at = format!("http://{}", self.places[0].api);
        let add = [
            "regions",
            "add",
            REGIONS[region],
            "--api",
            &api,
            "--link",
            &link,
        ];
        let how = ["--at", &at, "--location", "0,0", "--timeout", "50"];
        let add = Command::new(MERIDIAN)
            .args(add)
            .args(how)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        add.expect("meridian starts")
    }

    /// What other threads run their SQL on.
    pub fn handle(&self) -> tokio::runtime::Handle {
        self.runtime.handle().clone()
    }

    // Waiting.

    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "in vain: {what}{}", self.talk());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a region says that it counts no more.
    pub fn counts_no_more(&self, region: usize) {
        self.until("it says that it counts no more", || {
            let status = self.status(region).unwrap_or_default();
            let reason = status["reason"].as_str().unwrap_or_default();
            status["state"] == "stopped" && reason.contains("counts no more")
        });
    }

    pub fn wait_running(&self, region: usize) {
        self.until(
            &format!("{} is joined to its server", REGIONS[region]),
            || {
                self.status(region)
                    .is_some_and(|status| status["state"] == "running")
            },
        );
    }

    /// Waits until one region's server answers this.
    pub fn wait_for(&self, region: usize, sql: &str, expected: &str) {
        let mut found = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_ask(region, sql) {
                Ok(answer) if answer == expected => return,
                Ok(answer) => found = answer,
                Err(_) => {}
            }
            let (name, talk) = (REGIONS[region], || self.talk());
            assert!(
                Instant::now() < deadline,
                "in {name}: {sql}\nexpected {expected:?}\nfound    {found:?}{}",
                talk()
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn up(&self) -> Vec<usize> {
        (0..self.places.len())
            .filter(|region| self.is_up(*region))
            .collect()
    }

    /// Waits until what was committed before in any region that is up is in all of them.
    pub fn barrier(&self) {
        let n = self.barriers.get() + 1;
        self.barriers.set(n);
        let up = self.up();
        for region in &up {
            let name = REGIONS[*region];
            let sql = format!(
                "INSERT INTO public.barrier VALUES ('{name}', {n}) \
                 ON CONFLICT (region) DO UPDATE SET n = excluded.n"
            );
            self.sql(*region, &sql);
        }
        let count = format!("SELECT count(*) FROM public.barrier WHERE n = {n}");
        for region in &up {
            self.wait_for(*region, &count, &up.len().to_string());
        }
    }

    /// Waits until what was committed in a region's server before is in that region's log, with a
    /// version before all that regions give later.
    pub fn captured(&self, region: usize) {
        let n = self.barriers.get() + 1;
        self.barriers.set(n);
        let name = REGIONS[region];
        let sql = format!(
            "INSERT INTO public.barrier VALUES ('{name}', {n}) \
             ON CONFLICT (region) DO UPDATE SET n = excluded.n"
        );
        self.sql(region, &sql);
        let path = format!("/v1/tables/public.barrier/rows/{name}");
        self.until("a write is captured", || {
            self.get(region, &path)
                .is_some_and(|row| row["n"].as_str() == Some(&n.to_string()))
        });
    }

    /// Runs SQL in a region, and waits until it is captured.
    pub fn write(&self, region: usize, sql: &str) {
        self.sql(region, sql);
        self.captured(region);
    }

    /// Every region that is up answers this, goes on doing so, and they have everything in common.
    pub fn expect(&self, sql: &str, expected: &str) {
        for region in self.up() {
            self.wait_for(region, sql, expected);
        }
        self.settle();
        for region in self.up() {
            assert_eq!(
                self.ask(region, sql),
                expected,
                "later in {}",
                REGIONS[region]
            );
        }
    }

    /// Waits until nothing is under way, and compares everything.
    pub fn settle(&self) {
        // What the first makes the regions write is behind the second.
        self.barrier();
        self.barrier();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.compare() {
                Ok(()) => return,
                Err(difference) => {
                    assert!(Instant::now() < deadline, "{difference}{}", self.talk());
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// All tables, all rows kept out, all checksums; what differs.
    fn compare(&self) -> Result<(), String> {
        let tables = "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace \
                      AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1";
        let up = self.up();
        let tables = self.ask(up[0], tables);
        self.same(
            "rows kept out",
            "SELECT \"table\" || ' ' || key FROM meridian.parked ORDER BY 1",
        )?;
        for table in tables.lines() {
            let rows = format!("SELECT t::text FROM public.\"{table}\" t ORDER BY 1");
            self.same(table, &rows)?;
            let path = format!("/v1/tables/public.{table}/checksum");
            let checksums = up.iter().map(|region| self.get(*region, &path));
            let checksums: Vec<_> = checksums.collect();
            if checksums.iter().any(|checksum| *checksum != checksums[0]) {
                return Err(format!("checksums of {table} differ: {checksums:?}"));
            }
            let shown = format!(
                "SELECT (SELECT count(*) FROM public.\"{table}\") \
                 + (SELECT count(*) FROM meridian.parked WHERE \"table\" = 'public.{table}')"
            );
            let shown = self.ask(up[0], &shown);
            let held = checksums[0].as_ref().map(|it| it["rows"].to_string());
            if held.as_ref().is_some_and(|held| *held != shown) {
                return Err(format!(
                    "{table}: {shown} rows shown or kept out, {held:?} held"
                ));
            }
        }
        Ok(())
    }

    fn same(&self, what: &str, sql: &str) -> Result<(), String> {
        let up = self.up();
        let first = self.ask(up[0], sql);
        for region in &up[1..] {
            let other = self.ask(*region, sql);
            if other != first {
                let (one, name) = (REGIONS[up[0]], REGIONS[*region]);
                return Err(format!("{what} in {one}:\n{first}\nin {name}:\n{other}"));
            }
        }
        Ok(())
    }

    /// The rows kept out of every server, `table key`, a line each.
    pub fn parked(&self) -> String {
        let sql = "SELECT \"table\" || ' ' || key FROM meridian.parked ORDER BY 1";
        self.ask(self.up()[0], sql)
    }
}

fn duplicate(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp starts").success());
}

pub fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn place() -> Place {
    let data = tempfile::Builder::new()
        .prefix("meridian-postgres-")
        .tempdir();
    let data = data.expect("a directory");
    let cluster = template::cluster(Path::new(data.path()));
    let gate = Gate::start(SocketAddr::from(([127, 0, 0, 1], cluster.port())));
    Place {
        cluster,
        gate,
        api: free_address(),
        link: free_address(),
        process: None,
        client: RefCell::new(None),
        _data: data,
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.places.iter().for_each(|place| place.gate.open());
        for region in 0..self.places.len() {
            self.kill(region);
            self.places[region].cluster.stop(Stop::Immediate);
        }
    }
}
