//! Faults over the API, each at work in real processes, each ending by itself.

use crate::system::System;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn start(names: &[&str]) -> System {
    let mut system = System::prepare(names, "");
    system.arguments.push("--allow-faults");
    for region in 0..names.len() {
        system.start_region(region);
    }
    for region in 0..names.len() {
        system.wait_ready(region);
    }
    system.put(0, "first", "1");
    let all: Vec<_> = (0..names.len()).collect();
    system.wait_converged(&all);
    system
}

fn begin(system: &System, region: usize, fault: &Value) -> Value {
    let reply = system.client(region).post("/v1/faults", &fault.to_string());
    let reply = reply.expect("an answer");
    assert!(matches!(reply.status, 201 | 202), "{reply:?}");
    reply.json()
}

fn wait_lifted(system: &System, region: usize) {
    system.until("the fault is lifted", || {
        let faults = system.get(region, "/v1/faults").json();
        faults["faults"].as_array().is_some_and(Vec::is_empty)
    });
}

fn has(system: &System, region: usize, key: &str) -> bool {
    let row = system.client(region).row(key).expect("an answer");
    row.status == 200
}

/// Whether `region` has none of `key` for as long as `fault` lasts. Nobody who asked for it is there
/// any more: each request is a connection of its own.
fn stays_away(system: &System, region: usize, key: &str, at: usize) -> bool {
    let faults = || system.get(at, "/v1/faults").json()["faults"].clone();
    let mut looks = 0;
    loop {
        let is_there = has(system, region, key);
        // The row was looked for before: had it come only after the end, this would not be the one.
        if faults().as_array().is_none_or(Vec::is_empty) {
            return looks > 0;
        }
        if is_there {
            return false;
        }
        looks += 1;
    }
}

#[test]
fn a_partition_cuts_the_way_it_says_and_ends_by_itself() {
    let system = start(&["a", "b"]);
    // What a sends does not arrive; what b sends does.
    let cut = json!({"kind": "partition", "peer": "b", "direction": "outbound", "for": "3s"});
    begin(&system, 0, &cut);
    system.put(0, "from-a", "1");
    system.put(1, "from-b", "1");
    system.until("b's row comes in at a", || has(&system, 0, "from-b"));
    assert!(stays_away(&system, 1, "from-a", 0), "a's row got out");
    system.wait_converged(&[0, 1]);
    assert!(has(&system, 1, "from-a"));
    // And now neither way.
    begin(
        &system,
        1,
        &json!({"kind": "partition", "peer": "a", "for": "2s"}),
    );
    system.put(0, "again-a", "1");
    system.put(1, "again-b", "1");
    assert!(stays_away(&system, 1, "again-a", 1), "a's row came in");
    system.wait_converged(&[0, 1]);
    assert!(has(&system, 0, "again-b") && has(&system, 1, "again-a"));
}

#[test]
fn latency_shows_in_the_delays_and_lost_messages_lose_nothing() {
    let system = start(&["a", "b"]);
    let slow =
        json!({"kind": "latency", "peer": "b", "added_ms": 150, "jitter_ms": 20, "for": "1h"});
    let slow = begin(&system, 0, &slow);
    let written = Instant::now();
    system.put(0, "slow", "1");
    system.until("the row arrives", || has(&system, 1, "slow"));
    assert!(written.elapsed() >= Duration::from_millis(150), "too early");
    system.until("the delay is counted", || {
        let report = system.get(1, "/v1/replication").json();
        report["peers"][0]["visible"]["max_ms"].as_f64() >= Some(150.0)
    });
    let path = format!("/v1/faults/{}", slow["id"].as_str().expect("an id"));
    let lifted = system.client(0).delete_at(&path).expect("an answer");
    assert_eq!(lifted.status, 204);

    for region in 0..2 {
        let peer = ["b", "a"][region];
        let loss = json!({"kind": "loss", "peer": peer, "share": 0.3, "for": "4s"});
        begin(&system, region, &loss);
    }
    let mut missed = false;
    for step in 0..200 {
        system.put(step % 2, &format!("row-{step}"), "1");
        missed |= system.stream(1, 0).1.contains("lost");
    }
    wait_lifted(&system, 0);
    wait_lifted(&system, 1);
    system.wait_converged(&[0, 1]);
    assert!(missed, "nothing was lost");
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again() {
    let system = start(&["a", "b"]);
    begin(&system, 0, &json!({"kind": "full-disk", "for": "2s"}));
    let refused = system.put(0, "refused", "1");
    assert_eq!(refused.status, 507, "{refused:?}");
    assert!(refused.body.contains("hint"), "{refused:?}");
    // The other region goes on, and the full one takes its writes in when it can.
    assert_eq!(system.put(1, "elsewhere", "1").status, 201);
    assert!(has(&system, 0, "first"), "reads go on");
    wait_lifted(&system, 0);
    assert_eq!(system.put(0, "after", "1").status, 201);
    system.wait_converged(&[0, 1]);
    assert!(has(&system, 0, "elsewhere") && has(&system, 1, "after"));
    assert!(has(&system, 0, "first"));
    assert!(!has(&system, 0, "refused"), "a refused write happened");
    // A slow one takes its time over each write.
    let slow = json!({"kind": "slow-disk", "added_ms": 100, "for": "5s"});
    begin(&system, 0, &slow);
    let began = Instant::now();
    assert_eq!(system.put(0, "slow", "1").status, 201);
    assert!(began.elapsed() >= Duration::from_millis(200), "too quick");
}

#[test]
fn a_wrong_clock_raises_the_alert_and_the_regions_still_agree() {
    let system = start(&["a", "b"]);
    for (offset_ms, observer, peer) in [(5000, 1, 0), (-5000, 0, 1)] {
        let offset = json!({"kind": "clock-offset", "offset_ms": offset_ms, "for": "4s"});
        begin(&system, 0, &offset);
        // The one whose clock is behind sees the other's ahead.
        system.until("the drift is seen", || {
            let report = system.get(observer, "/v1/replication").json();
            let ahead = &report["peers"][0];
            ahead["drift_alert"] == true && ahead["peer"] == system.names[peer].as_str()
        });
        // Each overwrites what it has seen of the other: the later write stands, whoever's clock
        // says what.
        for step in 0..6 {
            let document = format!("{step}");
            assert!(system.put(step % 2, "row", &document).status < 300);
            system.wait_converged(&[0, 1]);
            let row = system.client(step % 2).row("row").expect("an answer");
            assert_eq!(row.body, document, "an older write won");
        }
        wait_lifted(&system, 0);
        system.until("the alert ends", || {
            let report = system.get(observer, "/v1/replication").json();
            report["peers"][0]["drift_alert"] == false
        });
    }
}

#[test]
fn a_restarted_region_has_no_faults() {
    let mut system = start(&["a", "b"]);
    begin(&system, 0, &json!({"kind": "full-disk", "for": "1h"}));
    begin(&system, 0, &json!({"kind": "crash"}));
    system.until("the region is gone", || {
        system.try_get(0, "/livez").is_none()
    });
    system.kill(0);
    system.start_region(0);
    system.wait_ready(0);
    let faults = system.get(0, "/v1/faults").json();
    assert_eq!(faults["faults"], json!([]));
    system.until("writes are taken", || {
        system.put(0, "again", "1").status < 300
    });
    system.wait_converged(&[0, 1]);
}
