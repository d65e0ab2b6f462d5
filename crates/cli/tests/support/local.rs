//! `meridian up --postgres`: a system with a server for each region, as a newcomer starts it.

use super::{eventually, free_base, meridian, text};
use meridian_engine_postgres::server::{ServerConfig, connect};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];
/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// A system that `up --postgres` runs.
pub struct Local {
    pub directory: tempfile::TempDir,
    pub base: u16,
    up: Child,
}

impl Local {
    /// Starts it on ports from `from` on, and waits until all regions serve.
    pub fn start(from: u16, arguments: &[&str]) -> Self {
        let base = free_base(from);
        let directory = tempfile::tempdir().unwrap();
        let out = File::create(directory.path().join("out.txt")).unwrap();
        let up = meridian(directory.path())
            .args(["up", "--postgres", "--data-dir", "data"])
            .args(["--output", "json", "--base-port", &base.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        let system = Self {
            directory,
            base,
            up,
        };
        eventually("all regions serve", PATIENCE, || {
            (!system.events("serving").is_empty()).then_some(())
        });
        system
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("out.txt")).unwrap()
    }

    /// The events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let events = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        events
            .filter(|event: &Value| event["event"] == name)
            .collect()
    }

    pub fn port(&self, region: usize) -> u16 {
        self.base + 10 * u16::try_from(region).unwrap() + 6
    }

    pub fn server(&self, region: usize) -> ServerConfig {
        ServerConfig {
            url: format!(
                "postgresql://meridian@127.0.0.1:{}/meridian?sslmode=disable",
                self.port(region)
            ),
            password: None,
            root_certificates: None,
        }
    }

    pub fn sql(&self, region: usize, sql: &str) {
        run(async {
            let client = connect(&self.server(region), "test").await.unwrap();
            let set = format!("SET search_path = public; {sql}");
            client.batch_execute(&set).await.unwrap_or_else(|error| {
                panic!("{}: {sql}: {error:?}", REGIONS[region]);
            });
        });
    }

    /// The text that a query gives; empty where it gives none or can't be asked now.
    pub fn ask(&self, region: usize, sql: &str) -> String {
        run(async {
            let Ok(client) = connect(&self.server(region), "test").await else {
                return String::new();
            };
            let row = client.query_one(sql, &[]).await;
            let text = row.map(|row| row.get::<_, Option<String>>(0));
            text.unwrap_or_default().unwrap_or_default()
        })
    }

    /// Waits until every server answers this.
    pub fn all_say(&self, sql: &str, expected: &str) {
        eventually(&format!("{expected} everywhere: {sql}"), PATIENCE, || {
            let says = |region: &usize| self.ask(*region, sql) == expected;
            (0..REGIONS.len()).all(|region| says(&region)).then_some(())
        });
    }

    /// A verb that finds the system by its data directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = meridian(self.directory.path());
        command.args(arguments).args(["--data-dir", "data"]);
        command
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Writes a file into the directory that verbs run in.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// How each region stands with its server.
    pub fn standing(&self, region: usize) -> Value {
        let output = self.output(&["postgres", "status", "--output", "json"]);
        let status: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
        let regions = status.as_array().unwrap();
        let region = regions.iter().find(|it| it["region"] == REGIONS[region]);
        region.unwrap()["datasets"][0]["postgres"].clone()
    }

    /// The process of a region's server.
    pub fn server_process(&self, region: usize) -> Option<rustix::process::Pid> {
        let directory = self.directory.path().join("data/postgres");
        let file = directory.join(REGIONS[region]).join("data/postmaster.pid");
        process_in(&file)
    }

    /// Ends `up` as Ctrl-C does, and waits until it has ended.
    pub fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.up);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.up.wait();
    }
}

fn process_in(file: &Path) -> Option<rustix::process::Pid> {
    let text = std::fs::read_to_string(file).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    rustix::process::Pid::from_raw(pid)
}

impl Drop for Local {
    fn drop(&mut self) {
        let elsewhere = std::fs::canonicalize(self.directory.path().join("data/postgres"));
        self.stop();
        // As root the servers' data is outside of the test's directory.
        if let Ok(elsewhere) = elsewhere
            && !elsewhere.starts_with(self.directory.path())
        {
            let _ = std::fs::remove_dir_all(elsewhere);
        }
    }
}
