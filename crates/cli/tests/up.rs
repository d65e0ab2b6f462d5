//! `meridian up` for real: regions as processes, found, killed, restarted, ended.

mod support;

use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{eventually, free_base, meridian, text};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// A running `meridian up`, killed with its regions if the test fails.
struct Up {
    directory: tempfile::TempDir,
    child: Option<Child>,
    base: u16,
}

impl Up {
    fn start(from: u16, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = free_base(from);
        let mut up = Self {
            directory,
            child: None,
            base,
        };
        up.spawn(arguments);
        up
    }

    fn spawn(&mut self, arguments: &[&str]) {
        let out = File::create(self.out()).unwrap();
        let child = meridian(self.directory.path())
            .args([
                "up",
                "--data-dir",
                "data",
                "--output",
                "json",
                "--base-port",
            ])
            .arg(self.base.to_string())
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out.txt")
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.out()).unwrap()
    }

    /// The events that `up` printed whole.
    fn events(&self, name: &str) -> Vec<Value> {
        let said = self.said();
        let events = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }

    fn wait_for(&self, event: &str, count: usize) -> Vec<Value> {
        eventually(
            &format!("{count} × {event}\n{}", self.said()),
            PATIENCE,
            || {
                let events = self.events(event);
                (events.len() >= count).then_some(events)
            },
        )
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = meridian(self.directory.path());
        command.args(arguments).args(["--data-dir", "data"]);
        command.output().unwrap()
    }

    /// Sends SIGTERM and waits; how it ended and after how long.
    fn stop(&mut self) -> (Option<i32>, Duration) {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        signal(child.id(), rustix::process::Signal::TERM);
        let status = child.wait().unwrap();
        (status.code(), began.elapsed())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Its regions see their stdin close and end by themselves.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(process_id: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(process_id.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

fn process_of(event: &Value) -> u32 {
    event["process_id"].as_u64().unwrap().try_into().unwrap()
}

/// Whether the process is there and no zombie.
fn is_alive(process_id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn read(up: &Up, region: &str, key: &str) -> Option<String> {
    let output = up.run(&["tables", "get", "orders", key, "--region", region]);
    let is_there = output.status.success();
    is_there.then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn put(up: &Up, region: &str, key: &str, document: &str) {
    let output = up.run(&["tables", "put", "orders", key, document, "--region", region]);
    assert!(output.status.success(), "{}\n{}", text(&output), up.said());
}

#[test]
fn three_regions_agree_survive_a_kill_and_stop_quickly() {
    let mut up = Up::start(21_000, &[]);
    up.wait_for("serving", 1);
    put(&up, "us-east-1", "1", r#"{"item":"tea"}"#);
    for region in REGIONS {
        let row = eventually("the row in every region", PATIENCE, || {
            read(&up, region, "1")
        });
        assert_eq!(row, r#"{"item":"tea"}"#);
    }

    let started = up.events("started");
    let victim = started
        .iter()
        .find(|event| event["region"] == "eu-west-1")
        .unwrap();
    signal(process_of(victim), rustix::process::Signal::KILL);
    let died = up.wait_for("died", 1);
    assert_eq!(died[0]["region"], "eu-west-1");
    assert!(
        died[0]["status"].as_str().unwrap().contains("signal: 9"),
        "{died:?}"
    );
    assert!(died[0]["restart_seconds"].as_f64().unwrap() <= 5.0);
    // The others take writes meanwhile, and the one that died catches up.
    put(&up, "ap-northeast-1", "2", r#"{"item":"coffee"}"#);
    let ready = up.wait_for("ready", 4);
    assert_eq!(ready[3]["region"], "eu-west-1");
    eventually("the second row after the restart", PATIENCE, || {
        read(&up, "eu-west-1", "2")
    });
    eventually("equal checksums", PATIENCE, || {
        let output = up.run(&["tables", "checksum", "orders"]);
        output.status.success().then_some(())
    });

    let (code, took) = up.stop();
    assert_eq!(code, Some(0), "{}", up.said());
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(up.events("stopped").len(), 3, "{}", up.said());
    assert!(
        up.events("stopped")
            .iter()
            .all(|event| event["was_killed"] == false)
    );
    for event in up.events("started") {
        assert!(!is_alive(process_of(&event)), "{event}");
    }
    assert!(!up.directory.path().join("data/system.json").exists());
}

#[test]
fn a_region_that_is_crashed_on_purpose_is_started_again_without_its_faults() {
    let up = Up::start(9_000, &["--allow-faults"]);
    up.wait_for("serving", 1);
    let add = |kind: &[&str]| {
        let at = ["faults", "add", "--region", "eu-west-1"];
        let output = up.run(&[&at[..], kind].concat());
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let id = add(&["partition", "--peer", "us-east-1", "--for", "1h"]);
    let shown = |word: &str| {
        let output = up.run(&["status"]);
        text(&output).contains(word)
    };
    assert!(shown(&format!("fault {}", id.trim())));
    add(&["crash"]);
    let died = up.wait_for("died", 1);
    assert_eq!(died[0]["region"], "eu-west-1");
    let status = died[0]["status"].as_str().unwrap();
    assert!(status.contains("signal: 9"), "{died:?}");
    up.wait_for("ready", 4);
    assert!(!shown("fault "), "a fault outlived the process");
}

#[test]
fn data_outlives_the_system() {
    let mut up = Up::start(24_000, &[]);
    up.wait_for("serving", 1);
    put(&up, "eu-west-1", "1", "7");
    assert_eq!(up.stop().0, Some(0));
    up.spawn(&[]);
    up.wait_for("serving", 1);
    let row = eventually("the row after the restart", PATIENCE, || {
        read(&up, "eu-west-1", "1")
    });
    assert_eq!(row, "7");
}

#[test]
fn the_regions_end_with_an_up_that_is_killed() {
    let mut up = Up::start(27_000, &[]);
    up.wait_for("serving", 1);
    let regions: Vec<_> = up.events("started").iter().map(process_of).collect();
    assert!(regions.iter().all(|process_id| is_alive(*process_id)));
    let mut child = up.child.take().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the regions end", PATIENCE, || {
        let is_left = regions.iter().any(|process_id| is_alive(*process_id));
        (!is_left).then_some(())
    });
}

#[test]
fn a_region_stays_dead_where_that_is_asked() {
    let up = Up::start(18_000, &["--no-restart"]);
    up.wait_for("serving", 1);
    for event in up.events("started") {
        signal(process_of(&event), rustix::process::Signal::KILL);
    }
    let mut up = up;
    let status = up.child.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(1), "{}", up.said());
    assert!(
        up.said().contains("no region runs any more"),
        "{}",
        up.said()
    );
    assert_eq!(up.events("started").len(), 3);
}

#[test]
fn the_regions_are_shown() {
    let up = Up::start(12_000, &[]);
    up.wait_for("serving", 1);
    let output = up.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status.as_array().unwrap().len(), 3, "{status}");
    assert!(
        status
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["ready"] == true),
        "{status}"
    );
    let output = up.run(&["regions", "--output", "json"]);
    let regions: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        regions
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["reachable"] == true),
        "{regions}"
    );
    eventually("two streams into each region", PATIENCE, || {
        let output = up.run(&["replication", "--output", "json"]);
        let replication: Value = serde_json::from_slice(&output.stdout).unwrap();
        let streaming = |region: &Value| {
            let peers = region["replication"]["peers"].as_array();
            peers.is_some_and(|peers| {
                peers.len() == 2 && peers.iter().all(|peer| peer["state"] == "streaming")
            })
        };
        replication
            .as_array()
            .unwrap()
            .iter()
            .all(streaming)
            .then_some(())
    });
    for verb in ["status", "regions", "replication", "conflicts"] {
        let output = up.run(&[verb]);
        assert!(output.status.success(), "{verb}: {}", text(&output));
    }
}

fn up_fails(directory: &Path, base: u16) -> String {
    let mut command: Command = meridian(directory);
    command.args(["up", "--data-dir", "data", "--base-port", &base.to_string()]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(output.stdout.is_empty(), "{}", text(&output));
    text(&output)
}

#[test]
fn a_port_in_use_is_named_with_its_region() {
    let directory = tempfile::tempdir().unwrap();
    let base = free_base(15_000);
    let _other = TcpListener::bind(("127.0.0.1", base + 11)).unwrap();
    assert_eq!(
        up_fails(directory.path(), base),
        format!(
            "error: port {} on 127.0.0.1 is in use, and the link of region eu-west-1 needs it\n\n\
             hint: choose other ports with --base-port N\n",
            base + 11
        )
    );
}

#[test]
fn a_region_joins_with_nothing_but_its_name_and_leaves_again() {
    let mut up = Up::start(30_000, &[]);
    up.wait_for("serving", 1);
    let put = ["tables", "put", "orders", "1", "1"];
    assert!(up.run(&put).status.success());
    let added = up.run(&["regions", "add", "eu-central-1", "--timeout", "50"]);
    assert!(added.status.success(), "{}\n{}", text(&added), up.said());
    let get = ["tables", "get", "orders", "1", "--region", "eu-central-1"];
    let found = up.run(&get);
    assert_eq!(text(&found), "1\n");
    let listed = up.run(&["regions", "--output", "json"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let fourth = listed
        .iter()
        .find(|it| it["name"] == "eu-central-1")
        .unwrap();
    assert_eq!(fourth["datasets"][0]["standing"], "voting", "{fourth}");
    let port = up.base + 30;
    assert_eq!(fourth["api"], format!("http://127.0.0.1:{port}"));

    // It is one of the system's regions from now on.
    up.stop();
    up.spawn(&[]);
    up.wait_for("serving", 1);
    let put = [
        "tables",
        "put",
        "orders",
        "2",
        "2",
        "--region",
        "eu-central-1",
    ];
    let written = up.run(&put);
    assert!(written.status.success(), "{}", text(&written));

    let removed = up.run(&["regions", "remove", "us-east-1", "--timeout", "50"]);
    assert!(removed.status.success(), "{}", text(&removed));
    let left = up.wait_for("left", 1);
    assert_eq!(left[0]["region"], "us-east-1");
    up.wait_for("stopped", 1);
    assert!(up.directory.path().join("data/us-east-1/datasets").exists());
    let gone = up.run(&["status", "--region", "us-east-1"]);
    assert_eq!(gone.status.code(), Some(2), "{}", text(&gone));
    assert!(up.run(&["tables", "get", "orders", "2"]).status.success());
    let (code, _) = up.stop();
    assert_eq!(code, Some(0));

    // Another set of regions is another system.
    let other = up.directory.path().join("other.toml");
    let topology = "zone = \"a.test\"\n[[region]]\nname = \"sa-east-1\"\n[[dataset]]\n\
                    name = \"main\"\nengine = \"embedded\"\n";
    std::fs::write(&other, topology).unwrap();
    let refused = up.run(&["up", "--config", "other.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused).contains("was founded with the regions"),
        "{}",
        text(&refused)
    );
}

#[test]
fn a_region_that_was_removed_is_added_again_with_nothing_but_its_name() {
    let up = Up::start(28_000, &[]);
    up.wait_for("serving", 1);
    let change = |verb: &str, name: &str| {
        let output = up.run(&["regions", verb, name, "--timeout", "50"]);
        assert!(output.status.success(), "{}\n{}", text(&output), up.said());
    };
    change("add", "eu-central-1");
    put(&up, "eu-central-1", "1", "1");
    change("remove", "eu-central-1");
    up.wait_for("stopped", 1);
    put(&up, "us-east-1", "2", "2");
    change("add", "eu-central-1");
    let joins = up.wait_for("joins", 2);
    assert_eq!(joins[0]["set_aside"], Value::Null);
    assert_eq!(joins[1]["region"]["api"], joins[0]["region"]["api"]);
    let set_aside = PathBuf::from(joins[1]["set_aside"].as_str().unwrap());
    let kept = std::fs::read_dir(up.directory.path().join(set_aside)).unwrap();
    assert_eq!(kept.count(), 1);

    // One that founded the system too, and at once: its process may not have ended yet.
    change("remove", "eu-west-1");
    change("add", "eu-west-1");
    for region in ["eu-central-1", "eu-west-1"] {
        for key in ["1", "2"] {
            assert_eq!(read(&up, region, key).as_deref(), Some(key), "{region}");
        }
        put(&up, region, region, "3");
    }
    eventually("equal checksums", PATIENCE, || {
        let output = up.run(&["tables", "checksum", "orders"]);
        output.status.success().then_some(())
    });
    // Everybody had what they held: nothing was written again.
    let aside = up.run(&["regions", "aside", "list", "--output", "json"]);
    let aside: Vec<Value> = serde_json::from_slice(&aside.stdout).unwrap();
    let is_held = |kept: &Value| kept["state"] == "held";
    assert!(aside.iter().all(is_held), "{aside:?}");
}

#[test]
fn a_region_that_joined_takes_part_in_a_dataset_that_is_added_later() {
    let mut up = Up::start(26_000, &[]);
    up.wait_for("serving", 1);
    let add = ["regions", "add", "eu-central-1", "--timeout", "50"];
    let added = up.run(&add);
    assert!(added.status.success(), "{}\n{}", text(&added), up.said());
    up.stop();

    let regions = REGIONS.map(|name| format!("[[region]]\nname = \"{name}\"\n"));
    let topology = format!(
        "zone = \"meridian.test\"\n{}[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n\
         [[dataset]]\nname = \"new\"\nengine = \"embedded\"\ntables = [\"new_*\"]\n",
        regions.concat()
    );
    std::fs::write(up.directory.path().join("later.toml"), topology).unwrap();
    let everywhere = ["us-east-1", "eu-west-1", "ap-northeast-1", "eu-central-1"];
    for start in 0..2 {
        up.spawn(&["--config", "later.toml"]);
        up.wait_for("serving", 1);
        // It takes writes of the dataset, and is counted with its incarnation by everybody.
        for table in ["orders", "new_orders"] {
            let key = start.to_string();
            let put = [
                "tables",
                "put",
                table,
                &key,
                "1",
                "--region",
                "eu-central-1",
            ];
            let written = up.run(&put);
            assert!(
                written.status.success(),
                "{}\n{}",
                text(&written),
                up.said()
            );
            for region in everywhere {
                let get = ["tables", "get", table, &key, "--region", region];
                eventually(&format!("{table} {key} in {region}"), PATIENCE, || {
                    up.run(&get).status.success().then_some(())
                });
            }
        }
        let listed = up.run(&["regions", "--output", "json"]);
        let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
        for region in &listed {
            let datasets = region["datasets"].as_array().unwrap();
            let is_voting = |dataset: &Value| dataset["standing"] == "voting";
            assert_eq!(datasets.len(), 2, "{region}");
            assert!(datasets.iter().all(is_voting), "{region}");
        }
        assert_eq!(up.stop().0, Some(0));
    }
}
