//! Regions with a server each, and what can happen to those.

use crate::support::local::run;
use crate::support::{eventually, free_base, meridian, text};
use meridian_engine_postgres::local::{Cluster, MIXED_VARIABLE, Settings, Stop};
use meridian_engine_postgres::server::{ServerConfig, connect};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);
const SCHEMA: &str = "CREATE TABLE public.items (id int PRIMARY KEY, what text NOT NULL);";
/// All rows of a server, in one text.
pub const ALL: &str = "SELECT string_agg(id || '=' || what, ' ' ORDER BY id) FROM public.items";

/// Servers, and the regions beside them.
pub struct System {
    pub clusters: Vec<Cluster>,
    pub servers: Vec<ServerConfig>,
    directory: TempDir,
    up: Option<Child>,
    base: u16,
    /// Directories of servers that took another one's place.
    homes: Vec<TempDir>,
}

impl System {
    /// Regions that run, with empty tables.
    pub fn start(regions: usize) -> Self {
        let mut system = Self::prepared(regions);
        system.up();
        system
    }

    /// Servers that are prepared, and no region yet.
    pub fn prepared(regions: usize) -> Self {
        let clusters: Vec<_> = (0..regions)
            .map(|_| Cluster::temporary().unwrap())
            .collect();
        let make = |cluster: &Cluster| run(cluster.create_database_of("shop", "clerk")).unwrap();
        let servers: Vec<_> = clusters.iter().map(make).collect();
        let system = Self {
            clusters,
            servers,
            directory: tempfile::tempdir().unwrap(),
            up: None,
            base: free_base(28_000),
            homes: Vec::new(),
        };
        for region in 0..regions {
            system.sql(region, SCHEMA);
        }
        system.write_topology();
        system.prepare();
        system
    }

    pub fn regions(&self) -> usize {
        self.servers.len()
    }

    fn write_topology(&self) {
        let mut text = "zone = \"meridian.test\"\n".to_owned();
        for region in &REGIONS[..self.regions()] {
            text += &format!("[[region]]\nname = \"{region}\"\n");
        }
        text += "[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
        for (region, server) in REGIONS.iter().zip(&self.servers) {
            text += &format!(
                "[dataset.postgres.region.{region}]\nurl = \"{}\"\n",
                server.url
            );
        }
        fs::write(self.path().join("meridian.toml"), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn prepare(&self) {
        let output = self.meridian(&["postgres", "prepare", "--apply"]);
        assert!(output.status.success(), "{}", text(&output));
    }

    pub fn meridian(&self, arguments: &[&str]) -> Output {
        let output = meridian(self.path()).args(arguments).output();
        output.unwrap()
    }

    pub fn up(&mut self) {
        let out = File::create(self.path().join("out.txt")).unwrap();
        let arguments = ["up", "--config", "meridian.toml", "--data-dir", "data"];
        let child = meridian(self.path())
            .args(arguments)
            .args(["--output", "json", "--base-port", &self.base.to_string()])
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        self.up = Some(child.unwrap());
        eventually("all regions serve", PATIENCE, || {
            let said = fs::read_to_string(self.path().join("out.txt")).unwrap();
            said.contains("\"serving\"").then_some(())
        });
    }

    /// Stops all regions; the servers go on.
    pub fn down(&mut self) {
        let mut up = self.up.take().unwrap();
        let pid = rustix::process::Pid::from_child(&up);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        up.wait().unwrap();
    }

    pub fn sql(&self, region: usize, sql: &str) {
        self.try_sql(region, sql).unwrap();
    }

    pub fn try_sql(&self, region: usize, sql: &str) -> Result<(), String> {
        run(async {
            let client = connect(&self.servers[region], "test").await;
            let client = client.map_err(|error| error.to_string())?;
            let done = client.batch_execute(sql).await;
            done.map_err(|error| format!("{error:?}"))
        })
    }

    /// As the superuser.
    pub fn root_sql(&self, region: usize, sql: &str) -> Result<(), String> {
        let server = self.clusters[region].superuser("shop");
        run(async {
            let client = connect(&server, "test").await;
            let client = client.map_err(|error| error.to_string())?;
            let done = client.batch_execute(sql).await;
            done.map_err(|error| format!("{error:?}"))
        })
    }

    pub fn ask(&self, region: usize, sql: &str) -> Option<String> {
        ask(&self.servers[region], sql)
    }

    /// Waits until every server has these rows.
    pub fn all_have(&self, rows: &str) {
        let mut last = Vec::new();
        let until = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < until {
            last = (0..self.regions())
                .map(|region| self.ask(region, ALL))
                .collect();
            if last.iter().all(|found| found.as_deref() == Some(rows)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("not {rows}: {last:?}\n{:#}", self.postgres(0));
    }

    /// How a region stands with its server.
    pub fn postgres(&self, region: usize) -> Value {
        let status = self.meridian(&[
            "postgres",
            "status",
            "--data-dir",
            "data",
            "--region",
            REGIONS[region],
            "--output",
            "json",
        ]);
        let status: Value = serde_json::from_slice(&status.stdout).unwrap_or_default();
        status[0]["datasets"][0]["postgres"].clone()
    }

    /// Waits until a region stands so with its server.
    pub fn stands(&self, region: usize, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually(what, PATIENCE, || {
            last = self.postgres(region);
            is_so(&last).then(|| last.clone())
        })
    }

    /// Waits until a region runs, its server is marked as far as it is captured, and all is written.
    pub fn settles(&self, region: usize) {
        self.stands(region, "it is settled", |postgres| {
            postgres["state"] == "running" && postgres["rows_dirty"] == 0
        });
        // A mark that was on its way before doesn't count.
        let now = "SELECT pg_current_xact_id()::xid::text";
        let now = self.ask(region, now).expect("a transaction");
        let is_marked = format!(
            "SELECT ((seen ->> 'next')::bigint > {now})::text FROM meridian.position \
             WHERE dataset = 'shop#mark'"
        );
        eventually("the server is marked", PATIENCE, || {
            (self.ask(region, &is_marked).as_deref() == Some("true")).then_some(())
        });
    }

    /// Waits until a region lists these conflicts and no others: key, what gave way, what stands.
    pub fn lists(&self, region: usize, expected: &[(&str, Option<&str>, Option<&str>)]) {
        let side = |key: &str, what: &Option<&str>| match what {
            Some(what) => json!({"id": key, "what": what}),
            None => Value::Null,
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, loser, winner)| {
                let row = format!("public.items/{key}");
                (json!(row), side(key, loser), side(key, winner))
            })
            .collect();
        let arguments = ["conflicts", "--data-dir", "data", "--output", "json"];
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let output = self.meridian(&[&arguments[..], &["--region", REGIONS[region]]].concat());
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let all = said["conflicts"].as_array().cloned().unwrap_or_default();
            let mut found: Vec<_> = all.iter().map(sides).collect();
            found.sort_by_key(|(row, ..)| row.to_string());
            if found == expected {
                return;
            }
            assert!(
                std::time::Instant::now() < until,
                "{found:#?}\n{expected:#?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills a region as a power cut would. Nobody starts it again until it is revived.
    pub fn kill(&self, region: usize) {
        let said = fs::read_to_string(self.path().join("out.txt")).unwrap();
        let events = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut started = events.filter(|event: &Value| {
            event["event"] == "started" && event["region"] == REGIONS[region]
        });
        let process = started.next_back().unwrap()["process_id"].as_i64().unwrap();
        self.signal_up(rustix::process::Signal::STOP);
        let pid = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Lets a region be started again that was killed.
    pub fn revive(&self) {
        self.signal_up(rustix::process::Signal::CONT);
    }

    fn signal_up(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.up.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn attach(&self, region: usize, more: &[&str]) -> Output {
        let arguments = ["postgres", "attach", "--data-dir", "data", "--region"];
        let mut all = arguments.to_vec();
        all.push(REGIONS[region]);
        all.extend(more);
        self.meridian(&all)
    }

    /// Kills the region's server as a power cut would.
    pub fn kill_server(&mut self, region: usize) {
        let pid = rustix::process::Pid::from_raw(self.clusters[region].pid().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        self.clusters[region].stop(Stop::Immediate);
    }

    /// Starts a server on another data directory in the place of a region's.
    pub fn comes_back_on(&mut self, region: usize, data: TempDir) {
        self.comes_back_with(region, data, &[]);
    }

    /// The same with parameters of its own.
    pub fn comes_back_with(&mut self, region: usize, data: TempDir, parameters: &[(&str, &str)]) {
        let cluster = server_on(data.path(), self.clusters[region].port(), parameters);
        self.homes.push(data);
        self.clusters[region] = cluster;
    }

    /// A base backup of a region's server, in a directory that a server can be started on. By SQL: not
    /// every package of a server has pg_basebackup.
    pub fn base_backup(&self, region: usize) -> TempDir {
        let home = home();
        let cluster = &self.clusters[region];
        let (from, to) = (cluster.data(), home.path().join("data"));
        run(async {
            let client = cluster.connect("postgres", "postgres").await.unwrap();
            let version = "SELECT current_setting('server_version_num')::int";
            let version: i32 = client.query_one(version, &[]).await.unwrap().get(0);
            let (start, stop) = match version >= 150_000 {
                true => (
                    "SELECT pg_backup_start('test', true)",
                    "SELECT labelfile FROM pg_backup_stop(false)",
                ),
                false => (
                    "SELECT pg_start_backup('test', true, false)",
                    "SELECT labelfile FROM pg_stop_backup(false, false)",
                ),
            };
            client.batch_execute(start).await.unwrap();
            copy_live(&from, &to, &OF_THE_PROCESS);
            let label: String = client.query_one(stop, &[]).await.unwrap().get(0);
            fs::write(to.join("backup_label"), label).unwrap();
        });
        copy_live(&from.join("pg_wal"), &to.join("pg_wal"), &[]);
        give(&to, &from);
        home
    }

    /// A copy of the files of a region's server, which must be stopped.
    pub fn file_copy(&self, region: usize) -> TempDir {
        let home = home();
        let cluster = &self.clusters[region];
        copy(&cluster.data(), &home.path().join("data"));
        home
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        self.clusters.clear();
    }
}

/// Where servers are of several versions side by side: the binaries of the one whose data these are, if
/// there are any.
fn binaries_for(home: &Path) -> Option<PathBuf> {
    let directories = std::env::var_os(MIXED_VARIABLE)?;
    let version = fs::read_to_string(home.join("data/PG_VERSION")).ok()?;
    let version = format!(" {}.", version.trim());
    std::env::split_paths(&directories).find(|directory| {
        let said = Command::new(directory.join("postgres"))
            .arg("--version")
            .output();
        text(&said.expect("postgres starts")).contains(&version)
    })
}

/// A server on a copy of a data directory, at this port, as soon as that is free.
pub fn server_on(home: &Path, port: u16, parameters: &[(&str, &str)]) -> Cluster {
    let binaries = binaries_for(home);
    let settings = || Settings {
        binaries: binaries.clone(),
        fsync: false,
        parameters: parameters
            .iter()
            .chain(&[("shared_buffers", "16MB"), ("max_connections", "60")])
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    eventually("the port is free", PATIENCE, || {
        let mut cluster = Cluster::create(home, port, settings()).unwrap();
        cluster.start().is_ok().then_some(cluster)
    })
}

/// The row of a conflict, what gave way, and what stands.
fn sides(conflict: &Value) -> (Value, Value, Value) {
    let events = conflict["conflictingEvents"].as_array().unwrap();
    let stands = |event: &Value| event["eventId"] == conflict["resolvedEvent"];
    let winner = events.iter().position(stands).unwrap();
    let data = |place: usize| events[place]["data"].clone();
    (
        conflict["aggregateId"].clone(),
        data(1 - winner),
        data(winner),
    )
}

/// What happens to a server on a data directory while no region finds it.
pub fn elsewhere(data: &TempDir, happens: impl FnOnce(&Cluster)) {
    let mut cluster = server_on(data.path(), free_base(24_000), &[]);
    happens(&cluster);
    cluster.stop(Stop::Fast);
}

/// Statements of an application.
pub fn application(cluster: &Cluster, sql: &str) {
    run(async {
        let client = cluster.connect("shop", "clerk").await.unwrap();
        client.batch_execute(sql).await.unwrap();
    });
}

pub fn ask(server: &ServerConfig, sql: &str) -> Option<String> {
    run(async {
        let client = connect(server, "test").await.ok()?;
        let row = client.query_one(sql, &[]).await.ok()?;
        row.get::<_, Option<String>>(0)
    })
}

/// A directory that a server can be started in.
pub fn home() -> TempDir {
    let home = tempfile::Builder::new()
        .prefix("meridian-postgres-")
        .tempdir();
    home.unwrap()
}

pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// What belongs to the process that runs, and is no part of a backup
/// (PostgreSQL's documentation, "Making a Base Backup Using the Low Level API").
const OF_THE_PROCESS: [&str; 9] = [
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_wal",
    "postmaster.pid",
];

/// Copies a directory whose files come and go meanwhile; of the directories in it that are named, only
/// that they are there.
fn copy_live(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    let is_out = |path: &Path| without.iter().any(|name| path.ends_with(name));
    if is_out(from) {
        return;
    }
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_live(&path, &to, without);
        } else if !is_out(&path)
            && let Err(error) = fs::copy(&path, to)
        {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{}", path.display());
        }
    }
}

/// Gives a directory to whom another one belongs.
fn give(directory: &Path, like: &Path) {
    let owner = fs::metadata(like).unwrap();
    let mut todo = vec![directory.to_owned()];
    while let Some(path) = todo.pop() {
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        if path.is_dir() && !path.is_symlink() {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}
