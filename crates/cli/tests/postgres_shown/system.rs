//! Servers and the regions beside them, as the tests need them.

use crate::support::local::run;
use crate::support::{eventually, free_base, meridian, text};
use meridian_engine_postgres::local::Cluster;
use meridian_engine_postgres::server::{ServerConfig, connect};
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::Duration;

/// Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];
const DATABASE: &str = "shop";

pub struct System {
    pub clusters: Vec<Cluster>,
    pub servers: Vec<ServerConfig>,
    pub directory: tempfile::TempDir,
    up: Option<Child>,
    base: u16,
}

impl System {
    /// Servers that are prepared, each with this schema, and no regions yet.
    pub fn prepared(regions: usize, schema: &str) -> Self {
        let clusters: Vec<_> = (0..regions)
            .map(|_| Cluster::temporary().unwrap())
            .collect();
        let make = |cluster: &Cluster| run(cluster.create_database_of(DATABASE, "clerk")).unwrap();
        let servers: Vec<_> = clusters.iter().map(make).collect();
        let system = Self {
            clusters,
            servers,
            directory: tempfile::tempdir().unwrap(),
            up: None,
            base: free_base(26_000),
        };
        for region in 0..regions {
            system.sql(region, schema);
        }
        system.write_topology("");
        system.prepare();
        system
    }

    /// The same, with its regions running and attached.
    pub fn start(regions: usize, schema: &str) -> Self {
        let mut system = Self::prepared(regions, schema);
        system.up();
        for region in 0..regions {
            system.wait_for_state(region, "running");
        }
        system
    }

    /// Writes the topology, with this added to the servers' URLs and lines.
    pub fn write_topology(&self, lines: &str) {
        let mut text = "zone = \"meridian.test\"\n".to_owned();
        let regions = || REGIONS.iter().zip(&self.servers);
        for (region, _) in regions() {
            text += &format!("[[region]]\nname = \"{region}\"\n");
        }
        text += "[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\ntables = [\"public.*\"]\n";
        for (region, server) in regions() {
            text += &format!(
                "[dataset.postgres.region.{region}]\nurl = \"{}\"\n{lines}\n",
                server.url
            );
        }
        std::fs::write(self.path().join("meridian.toml"), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn prepare(&self) {
        let mut command = meridian(self.path());
        let output = command.args(["postgres", "prepare", "--apply"]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    /// Starts the regions.
    pub fn up(&mut self) {
        let out = std::fs::File::create(self.path().join("out.txt")).unwrap();
        let arguments = ["up", "--config", "meridian.toml", "--data-dir", "data"];
        let child = meridian(self.path())
            .args(arguments)
            .args(["--output", "json", "--base-port", &self.base.to_string()])
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        self.up = Some(child.unwrap());
        eventually("the regions answer", PATIENCE, || {
            let said = std::fs::read_to_string(self.path().join("out.txt")).unwrap();
            said.contains("\"serving\"").then_some(())
        });
    }

    /// Stops the regions.
    pub fn down(&mut self) {
        let Some(mut up) = self.up.take() else {
            return;
        };
        let pid = rustix::process::Pid::from_child(&up);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = up.wait();
    }

    pub fn meridian(&self, arguments: &[&str]) -> Output {
        let mut command = meridian(self.path());
        let command = command.args(arguments).args(["--data-dir", "data"]);
        command.output().unwrap()
    }

    /// What a verb prints with `--output json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.meridian(&[arguments, &["--output", "json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
    }

    /// How a region stands with its server; null where it doesn't say.
    pub fn status(&self, region: usize) -> Value {
        let all = self.json(&["postgres", "status"]);
        all[region]["datasets"][0]["postgres"].clone()
    }

    pub fn wait_for_state(&self, region: usize, state: &str) -> Value {
        let mut last = Value::Null;
        let until = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < until {
            last = self.status(region);
            if last["state"] == state {
                return last;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never {state}: {last}");
    }

    /// Waits until the region's state is told with this reason.
    pub fn wait_for_trouble(&self, state: &str, reason: &str) -> Value {
        let what = format!("{state} with {reason:?}");
        eventually(&what, PATIENCE, || {
            let status = self.status(0);
            let said = status["reason"].as_str().unwrap_or_default();
            (status["state"] == state && said.contains(reason)).then_some(status)
        })
    }

    pub fn url(&self, region: usize, path: &str) -> String {
        let port = usize::from(self.base) + 10 * region;
        format!("http://127.0.0.1:{port}{path}")
    }

    pub fn sql(&self, region: usize, sql: &str) {
        run(async {
            let client = connect(&self.servers[region], "test").await.unwrap();
            client.batch_execute(sql).await.unwrap();
        });
    }

    /// As the superuser, in the database `postgres`.
    pub fn admin(&self, sql: &str) {
        run(async {
            let client = connect(&self.clusters[0].superuser("postgres"), "test").await;
            client.unwrap().batch_execute(sql).await.unwrap();
        });
    }

    pub fn ask(&self, region: usize, sql: &str) -> String {
        run(async {
            let client = connect(&self.servers[region], "test").await.unwrap();
            let row = client.query_one(sql, &[]).await.unwrap();
            row.get::<_, Option<String>>(0).unwrap_or_default()
        })
    }

    /// Waits until a server answers so.
    pub fn wait_for(&self, region: usize, sql: &str, answer: &str) {
        eventually(&format!("{sql} is {answer}"), PATIENCE, || {
            (self.ask(region, sql) == answer).then_some(())
        });
    }

    /// Waits until the region's own tables have a row.
    pub fn wait_for_row(&self, table: &str, key: &str) {
        eventually(&format!("{table}/{key} is captured"), PATIENCE, || {
            let got = self.meridian(&["tables", "get", table, key]);
            got.status.success().then_some(())
        });
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.down();
    }
}
