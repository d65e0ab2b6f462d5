//! Regions join, are evicted, come back and leave while the others are written to and read.
#![allow(
    clippy::print_stdout,
    reason = "the delays are what somebody runs it for"
)]

use crate::proxy::Proxy;
use crate::system::{Client, System, meridian};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Writers and readers at one region, all the time, and what they met.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Tally>>,
    phase: Arc<AtomicU64>,
}

/// By phase the delays in microseconds.
#[derive(Default)]
pub struct Tally {
    pub writes: Vec<(u64, u128)>,
    reads: Vec<(u64, u128)>,
    pub errors: Vec<String>,
}

impl Load {
    pub fn start(clients: &[Client]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let phase = Arc::new(AtomicU64::new(0));
        let worker = |(index, client): (usize, &Client)| {
            let (stop, phase, client) = (stop.clone(), phase.clone(), client.clone());
            std::thread::spawn(move || work(index, &client, &stop, &phase))
        };
        let workers = clients.iter().enumerate().map(worker).collect();
        Self {
            stop,
            workers,
            phase,
        }
    }

    /// From now on the delays count for the next phase.
    pub fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::Relaxed);
    }

    pub fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for worker in self.workers {
            let tally = worker.join().expect("a worker");
            all.writes.extend(tally.writes);
            all.reads.extend(tally.reads);
            all.errors.extend(tally.errors);
        }
        all
    }
}

fn work(index: usize, client: &Client, stop: &AtomicBool, phase: &AtomicU64) -> Tally {
    let mut tally = Tally::default();
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let (at, key) = (
            phase.load(Ordering::Relaxed),
            format!("load-{index}-{}", n % 500),
        );
        let started = Instant::now();
        match client.put(&key, &n.to_string()) {
            Ok(reply) if matches!(reply.status, 200 | 201) => {
                tally.writes.push((at, started.elapsed().as_micros()));
            }
            other => tally.errors.push(format!("write: {other:?}")),
        }
        let started = Instant::now();
        match client.row(&key) {
            Ok(reply) if reply.body == n.to_string() => {
                tally.reads.push((at, started.elapsed().as_micros()));
            }
            other => tally.errors.push(format!("read: {other:?}")),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    tally
}

fn p99_ms(delays: &[(u64, u128)], phase: u64) -> f64 {
    let of_phase = delays.iter().filter(|(at, _)| *at == phase);
    let mut sorted: Vec<_> = of_phase.map(|(_, micros)| *micros).collect();
    sorted.sort_unstable();
    let at = (sorted.len() * 99 / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |micros| *micros as f64 / 1000.0)
}

/// A topology in which only the first `founders` regions are, and `own`.
pub fn restrict(system: &System, own: usize, founders: usize) {
    let path = system.topology_path(own);
    let text = fs::read_to_string(&path).expect("a topology");
    let (head, rest) = text.split_once("[[region]]").expect("regions");
    let (regions, dataset) = rest.split_once("[[dataset]]").expect("a dataset");
    let mut kept = head.to_owned();
    for (index, region) in regions.split("[[region]]").enumerate() {
        if index < founders || index == own {
            kept.push_str("[[region]]");
            kept.push_str(region);
        }
    }
    fs::write(path, format!("{kept}[[dataset]]{dataset}")).expect("it is written");
}

pub fn members(system: &System, at: usize) -> Vec<(String, String)> {
    let said = system.get(at, "/v1/regions").json();
    let members = said["datasets"][0]["members"].as_array().cloned();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    members
        .unwrap_or_default()
        .iter()
        .map(|member| (text(&member["region"]), text(&member["standing"])))
        .collect()
}

pub fn standing(system: &System, at: usize) -> String {
    let said = system.try_get(at, "/v1/regions").map(|reply| reply.json());
    let said = said.unwrap_or_default();
    said["datasets"][0]["standing"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Starts a region and adds it.
pub fn join(system: &mut System, region: usize, link: SocketAddr) {
    system.start_joining(region);
    add(system, region, link);
}

/// Adds a region by its verb, which returns when it has joined.
fn add(system: &mut System, region: usize, link: SocketAddr) {
    let name = system.names[region].clone();
    let api = system.api(region).to_string();
    let link = link.to_string();
    let at = format!("http://{}", system.api(0));
    meridian(&[
        "regions",
        "add",
        &name,
        "--api",
        &api,
        "--link",
        &link,
        "--at",
        &at,
        "--location",
        "0,0",
        "--timeout",
        "50",
    ]);
    system.wait_ready(region);
}

/// Has a region evicted at another, once that one has missed it for long enough.
pub fn evict(system: &System, at: usize, region: &str, decided_by: &str) {
    let body = json!({ "decided_by": decided_by, "confirm": region }).to_string();
    let path = format!("/v1/regions/{region}/evict");
    system.until("it is evicted", || {
        let asked = system.client(at).post(&path, &body);
        let reply = asked.expect("an answer");
        assert!(matches!(reply.status, 200 | 202 | 404 | 409), "{reply:?}");
        members(system, at).iter().all(|(name, _)| name != region)
    });
}

#[test]
fn one_region_grows_to_four_one_is_evicted_and_returns_another_leaves_and_nobody_notices() {
    let mut system = System::prepare(&["a", "b", "c", "d"], "");
    for region in 0..4 {
        restrict(&system, region, 1);
    }
    system.start_region(0);
    system.wait_ready(0);
    let load = Load::start(&[system.client(0), system.client(0)]);
    let began = Instant::now();
    system.until("the load runs", || began.elapsed() > Duration::from_secs(2));

    load.next_phase();
    let to_d = Proxy::start(system.link(3));
    for region in 1..4 {
        let link = if region == 3 {
            to_d.address
        } else {
            system.link(region)
        };
        join(&mut system, region, link);
    }
    let everybody = ["a", "b", "c", "d"].map(|name| (name.to_owned(), "voting".to_owned()));
    for region in 0..4 {
        system.until("everybody counts everybody", || {
            members(&system, region) == everybody
        });
    }

    // Nothing of d gets out any more; it takes writes, dies, and is evicted by the others.
    to_d.cut();
    assert_eq!(system.put(3, "new", "\"d\"").status, 201);
    assert_eq!(system.put(3, "contested", "\"d\"").status, 201);
    system.kill(3);
    assert_eq!(system.put(0, "contested", "0").status, 201);
    let at = format!("http://{}", system.api(0));
    let client = system.client(0);
    let evict = |region: &str| {
        let body = json!({ "decided_by": "majority", "confirm": region });
        let path = format!("/v1/regions/{region}/evict");
        let reply = client.post(&path, &body.to_string());
        let reply = reply.expect("an answer");
        assert!(matches!(reply.status, 202 | 409), "{reply:?}");
        reply
    };
    system.until("a majority agrees that d is gone", || {
        evict("d").status == 202
    });
    system.until("d doesn't count", || members(&system, 0).len() == 3);

    // A minority evicts nobody.
    system.kill(1);
    system.kill(2);
    system.until("a sees that it is alone", || {
        let reply = evict("b");
        reply.json()["type"] == "/problems/needs-majority"
    });
    for region in [1, 2] {
        system.start_region(region);
        system.wait_ready(region);
    }
    assert_eq!(members(&system, 0).len(), 3);

    to_d.heal();
    system.start_region(3);
    system.until("d learns that it is evicted", || {
        standing(&system, 3) == "evicted"
    });
    let refused = system.put(3, "late", "1");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["type"], "/problems/region-evicted");
    let hint = refused.json()["hint"].to_string();
    assert!(hint.contains("`meridian regions rejoin NAME`"), "{hint}");
    meridian(&["regions", "rejoin", "d", "--api", &at, "--timeout", "50"]);
    system.wait_ready(3);
    system.until("what d alone held and nobody changed is everywhere", || {
        system
            .try_get(0, "/v1/tables/rows/rows/new")
            .is_some_and(|row| row.body == "\"d\"")
    });
    // Others may have the row before this region has noted that it was written again.
    system.until("it is noted", || {
        system.get(3, "/v1/aside").json()["counts"]["resubmitted"] == 1
    });
    let aside = system.get(3, "/v1/aside").json();
    assert_eq!(aside["counts"]["waiting"], 1, "{aside}");
    assert_eq!(aside["aside"][0]["rows"], json!(["rows/contested"]));
    assert_eq!(
        system.client(0).row("contested").expect("an answer").body,
        "0"
    );
    let id = aside["aside"][0]["id"].as_str().expect("an id").to_owned();
    let d = format!("http://{}", system.api(3));
    meridian(&["regions", "aside", "resubmit", &id, "--api", &d]);
    system.until("a person's decision is everywhere", || {
        system
            .client(0)
            .row("contested")
            .is_ok_and(|row| row.body == "\"d\"")
    });

    meridian(&["regions", "remove", "b", "--api", &at, "--timeout", "50"]);
    system.until("b knows that it has left", || {
        standing(&system, 1) == "removed"
    });
    load.next_phase();
    let began = Instant::now();
    system.until("the load runs on", || {
        began.elapsed() > Duration::from_secs(2)
    });

    let tally = load.end();
    for (phase, what) in [(0, "before"), (1, "during"), (2, "after")] {
        println!(
            "P99 {what}: writes {:.1} ms, reads {:.1} ms",
            p99_ms(&tally.writes, phase),
            p99_ms(&tally.reads, phase)
        );
    }
    println!("{} writes, {} reads", tally.writes.len(), tally.reads.len());
    assert!(tally.errors.is_empty(), "{:?}", &tally.errors[..1]);
    system.wait_converged(&[0, 2, 3]);
}

#[test]
fn a_region_that_is_away_for_too_long_is_evicted_by_the_others() {
    let limits = "[dataset.limits]\nevict-after = \"10s\"\n";
    let mut system = System::start(&["a", "b", "c"], limits);
    system.put(0, "row", "1");
    system.wait_converged(&[0, 1, 2]);
    system.kill(2);
    let left = [("a", "voting"), ("b", "voting")].map(|(name, standing)| {
        let (name, standing) = (name.to_owned(), standing.to_owned());
        (name, standing)
    });
    for region in 0..2 {
        system.until("c is given up", || members(&system, region) == left);
    }
    assert_eq!(system.put(1, "row", "2").status, 200, "the others go on");
    system.wait_converged(&[0, 1]);
}

#[test]
fn who_removes_a_region_that_is_away_is_told_what_that_waits_for() {
    let mut system = System::start(&["a", "b", "c"], "");
    system.put(0, "row", "1");
    system.wait_converged(&[0, 1, 2]);
    system.kill(2);
    system.until("c is away", || {
        let said = system.get(0, "/v1/regions").json();
        said["datasets"][0]["members"][2]["away"] == true
    });
    let at = system.api_url(0);
    let remove = ["regions", "remove", "c", "--api", &at, "--no-wait"];
    let output = crate::support::meridian(Path::new("."))
        .args(remove)
        .output();
    let output = output.expect("meridian starts");
    let said = crate::support::text(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("hint: nothing has come from region c"),
        "{said}"
    );
    assert!(said.contains("`meridian regions evict c`"), "{said}");
    system.start_region(2);
    let left = ["a", "b"].map(|name| (name.to_owned(), "voting".to_owned()));
    system.until("c is back and leaves", || members(&system, 0) == left);
}

#[test]
fn a_region_that_left_joins_again_over_its_old_data() {
    let mut system = System::start(&["a", "b", "c"], "");
    assert_eq!(system.put(2, "old", "1").status, 201);
    system.wait_converged(&[0, 1, 2]);
    let at = format!("http://{}", system.api(0));
    meridian(&["regions", "remove", "c", "--api", &at, "--timeout", "50"]);
    system.terminate(2);
    assert_eq!(system.put(0, "old", "2").status, 200);

    // It goes on as what it is, and says what is to be done.
    system.start_joining(2);
    system.until("c knows that it has left", || {
        standing(&system, 2) == "removed"
    });
    let refused = system.put(2, "late", "1").json();
    assert_eq!(refused["type"], "/problems/region-evicted");
    let hint = refused["hint"].to_string();
    assert!(hint.contains("`meridian regions add NAME`"), "{hint}");
    system.until("c says how it comes back", || {
        system.talk(2).contains("meridian regions add c")
    });
    let link = system.link(2);
    add(&mut system, 2, link);
    let old = fs::read_dir(system.data_dir(2).join("set-aside")).expect("old data");
    assert_eq!(old.count(), 1);
    system.wait_converged(&[0, 1, 2]);
    let row = system.client(2).row("old").expect("an answer");
    assert_eq!(row.body, "2", "nothing is written again");
}

#[test]
fn what_an_evicted_region_has_confirmed_for_one_that_is_lost_is_kept() {
    let mut system = System::start(&["a", "b", "c"], "acknowledgement = \"one-remote\"\n");
    assert_eq!(system.put(0, "both", "1").status, 201);
    system.wait_converged(&[0, 1, 2]);
    // Somebody takes c for all that is left, and a and b go on.
    system.part(0, 2);
    system.part(1, 2);
    for region in ["a", "b"] {
        evict(&system, 2, region, "operator");
    }
    let confirmed = system.put(0, "only", "\"a\"");
    assert_eq!(confirmed.status, 201, "{confirmed:?}");
    system.kill(0);
    fs::remove_dir_all(system.data_dir(0)).expect("a's disk is lost");

    system.heal();
    system.until("b learns that it is evicted", || {
        standing(&system, 1) == "evicted"
    });
    let c = system.api_url(2);
    meridian(&["regions", "rejoin", "b", "--api", &c, "--timeout", "50"]);
    system.wait_ready(1);
    let aside = system.get(1, "/v1/aside").json();
    assert_eq!(aside["counts"]["waiting"], 1, "{aside}");
    assert_eq!(aside["aside"][0]["rows"], json!(["rows/only"]), "{aside}");
    let id = aside["aside"][0]["id"].as_str().expect("an id").to_owned();
    let b = system.api_url(1);
    let status = meridian(&["status", "--api", &b]);
    let said = "b: 1 transaction that it alone held is set aside and waits for a decision";
    assert!(status.contains(said), "{status}");
    meridian(&["regions", "aside", "resubmit", &id, "--api", &b]);
    let status = meridian(&["status", "--api", &b]);
    assert!(!status.contains("set aside"), "{status}");
    system.wait_row("only", &[1, 2]);
    assert_eq!(
        system.client(2).row("only").expect("an answer").body,
        "\"a\""
    );
}
