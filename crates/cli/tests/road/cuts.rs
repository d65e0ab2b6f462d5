//! Every cut between two of three regions, one way and both, alone: nobody is down and every answer
//! stays right, all the while and after.
//!
//! Of each pair first one direction is cut, then both, then the other: so each region falls in the
//! other's eyes once, and is held down for as long as the preset says once.

use crate::health::{NAMES, changes, health, seen, start, verdicts};
use crate::system::System;
use serde_json::{Value, json};

const PAIRS: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 0)];

/// How often in a row `at` has had no answer of another.
fn failures(health: &Value, at: usize, of: usize) -> u64 {
    let id = format!("{}/{}/api", NAMES[at], NAMES[of]);
    let mut records = health["records"].as_array().expect("records").iter();
    let record = records.find(|record| record["healthCheckId"] == *id);
    let record = record.expect("a record of the link");
    record["consecutiveFailures"].as_u64().expect("a count")
}

/// Nobody is down for anybody, and every region answers with all three, none of them down.
fn stays_right(system: &System) {
    for (at, name) in NAMES.iter().enumerate() {
        let health = health(system, at);
        assert!(
            !verdicts(&health).contains(&"unhealthy"),
            "{name}: {health}"
        );
        assert_eq!(health["has_quorum"], true, "{name}: {health}");
        let route = system.get(at, "/v1/route?client=193.0.6.139").json();
        let regions = route["regions"].as_array().expect("regions");
        let down = regions.iter().any(|region| region["tier"] == "down");
        assert!(regions.len() == 3 && !down, "{name}: {route}");
    }
}

/// Cuts what one region sends to another; gives the fault's path.
fn cut(system: &System, from: usize, to: usize) -> String {
    let fault = json!({
        "kind": "partition", "peer": NAMES[to], "direction": "outbound", "for": "10m",
    });
    let reply = system.client(from).post("/v1/faults", &fault.to_string());
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 201, "{reply:?}");
    let id = &reply.json()["id"];
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    format!("/v1/faults/{id}")
}

fn lift(system: &System, at: usize, fault: &str) {
    let reply = system.client(at).delete_at(fault).expect("an answer");
    assert!((200..300).contains(&reply.status), "{reply:?}");
}

/// Waits for something while everything stays right.
fn until(system: &System, what: &str, holds: impl Fn() -> bool) {
    system.until(what, || {
        stays_right(system);
        holds()
    });
}

/// Waits until more probes have gone unanswered.
fn wait_unanswered(system: &System, one: usize, other: usize) {
    let before = failures(&health(system, one), one, other);
    until(system, "more probes are lost", || {
        failures(&health(system, one), one, other) >= before + 2
    });
}

#[test]
fn no_cut_between_two_regions_brings_anybody_down() {
    let system = start();
    let before: Vec<_> = (0..3).map(|at| changes(&system, at).len()).collect();
    for (one, other) in PAIRS {
        let there = cut(&system, one, other);
        until(&system, "they don't see each other", || {
            let [by_one, by_other] = [one, other].map(|at| health(&system, at));
            seen(&by_one, other) == "unhealthy" && seen(&by_other, one) == "unhealthy"
        });
        let back = cut(&system, other, one);
        wait_unanswered(&system, one, other);
        lift(&system, one, &there);
        wait_unanswered(&system, one, other);
        lift(&system, other, &back);
        until(&system, "all see each other", || {
            let all = |at| (0..3).all(|of| seen(&health(&system, at), of) == "healthy");
            (0..3).all(all)
        });
    }
    for (at, before) in before.into_iter().enumerate() {
        let changes = changes(&system, at);
        let since = &changes[..changes.len() - before];
        let fell = |change: &&Value| change["by"] == "vote" && change["to"] == "unhealthy";
        assert_eq!(since.iter().find(fell), None);
    }
    system.until("all are well", || {
        (0..3).all(|at| verdicts(&health(&system, at)) == ["healthy"; 3])
    });
}
