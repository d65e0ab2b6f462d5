//! Verdicts among three real regions: a dead one is out, and nothing else is.

use crate::system::{System, meridian};
use serde_json::{Value, json};

pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three regions that are well in each other's eyes.
pub fn start() -> System {
    let mut system = System::prepare(&NAMES, "");
    system
        .arguments
        .extend(["--allow-faults", "--health", "default"]);
    for region in 0..3 {
        system.start_region(region);
    }
    for region in 0..3 {
        system.wait_ready(region);
    }
    wait_verdicts(&system, &[0, 1, 2], ["healthy"; 3]);
    system
}

/// What a region says of the health of all.
pub fn health(system: &System, at: usize) -> Value {
    system.get(at, "/v1/health?limit=1000").json()
}

/// The verdict about the `api` of each.
pub fn verdicts(health: &Value) -> Vec<&str> {
    let regions = health["regions"].as_array().expect("regions").iter();
    let regions = regions.map(|region| &region["services"][0]["verdict"]);
    regions.map(|it| it.as_str().unwrap_or("none")).collect()
}

fn wait_verdicts(system: &System, at: &[usize], expected: [&str; 3]) {
    for region in at {
        system.until(&format!("{} says {expected:?}", NAMES[*region]), || {
            verdicts(&health(system, *region)) == expected
        });
    }
}

/// How the region sees the `api` of another.
pub fn seen(health: &Value, of: usize) -> &str {
    let seen = &health["regions"][of]["services"][0]["seen"];
    seen.as_str().unwrap_or("none")
}

/// Whether a verdict about an `api` was ever `unhealthy`, going by the histories.
fn ever_down(system: &System, at: &[usize], since: &[usize]) -> Vec<String> {
    let mut down = Vec::new();
    for (region, since) in at.iter().zip(since) {
        let history = changes(system, *region);
        for change in &history[..history.len() - since] {
            if change["by"] == "vote" && change["to"] == "unhealthy" {
                down.push(format!("{} at {}", change["region"], NAMES[*region]));
            }
        }
    }
    down
}

/// What changed at a region, the newest first.
pub fn changes(system: &System, at: usize) -> Vec<Value> {
    let history = health(system, at)["history"].clone();
    history.as_array().expect("a history").clone()
}

fn has_quorum(system: &System, region: usize) -> bool {
    health(system, region)["has_quorum"] == true
}

#[test]
fn a_dead_region_is_down_in_the_others_and_comes_back() {
    let mut system = start();
    system.kill(2);
    wait_verdicts(&system, &[0, 1], ["healthy", "healthy", "unhealthy"]);
    let health = health(&system, 0);
    let down = &health["regions"][2];
    assert_eq!(
        (&down["verdict"], &down["because"]),
        (&json!("unhealthy"), &json!("api"))
    );
    let record = health["records"].as_array().expect("records").iter();
    let mut record = record.filter(|it| it["healthCheckId"] == "a/c/api");
    let record = record.next().expect("a record of c");
    assert_eq!(record["status"], "unhealthy");
    assert!(
        record["consecutiveFailures"].as_u64() >= Some(3),
        "{record}"
    );
    let metrics = system.get(1, "/metrics").body;
    assert!(
        metrics.contains("meridian_health_region{region=\"c\"} 3"),
        "{metrics}"
    );
    assert!(has_quorum(&system, 0) && has_quorum(&system, 1));

    system.start_region(2);
    system.wait_ready(2);
    wait_verdicts(&system, &[0, 1, 2], ["healthy"; 3]);
}

#[test]
fn a_cut_link_and_an_observer_cut_off_bring_nobody_down() {
    let system = start();
    let since: Vec<_> = (0..3)
        .map(|region| changes(&system, region).len())
        .collect();
    // The link between two: each sees the other as dead, and the third knows better.
    system.part(0, 1);
    system.until("a and b don't see each other", || {
        seen(&health(&system, 0), 1) == "unhealthy" && seen(&health(&system, 1), 0) == "unhealthy"
    });
    assert_eq!(verdicts(&health(&system, 2)), ["healthy"; 3]);
    assert_eq!(ever_down(&system, &[0, 1, 2], &since), [""; 0]);
    system.heal();
    system.until("a and b see each other", || {
        seen(&health(&system, 0), 1) == "healthy" && seen(&health(&system, 1), 0) == "healthy"
    });
    assert_eq!(ever_down(&system, &[0, 1, 2], &since), [""; 0]);

    // A region that is cut off sees all others as dead; nobody asks it, and it changes no verdict.
    system.part(0, 1);
    system.part(0, 2);
    wait_verdicts(&system, &[1, 2], ["unhealthy", "healthy", "healthy"]);
    system.until("a knows that it has no majority", || {
        !has_quorum(&system, 0)
    });
    system.until("a sees the others as dead", || {
        seen(&health(&system, 0), 1) == "unhealthy" && seen(&health(&system, 0), 2) == "unhealthy"
    });
    assert_eq!(
        verdicts(&health(&system, 0)),
        ["healthy"; 3],
        "by the last verdict"
    );
    assert_eq!(ever_down(&system, &[0], &since[..1]), [""; 0]);
    system.heal();
    wait_verdicts(&system, &[0, 1, 2], ["healthy"; 3]);
}

/// The tiers of a, b and c at a region.
fn tiers(system: &System, at: usize) -> Vec<String> {
    let route = system.get(at, "/v1/status").json()["routes"][0].clone();
    let regions = route["regions"].as_array().expect("regions").iter();
    let mut tiers: Vec<_> = regions
        .map(|it| (it["region"].to_string(), it["tier"].to_string()))
        .collect();
    tiers.sort();
    tiers.into_iter().map(|it| it.1.replace('"', "")).collect()
}

#[test]
fn a_region_without_room_comes_after_the_others_and_before_a_dead_one() {
    let mut system = start();
    for region in 0..3 {
        system.until("all are healthy to steering", || {
            tiers(&system, region) == ["healthy"; 3]
        });
    }
    let full = json!({"kind": "full-disk", "for": "1h"}).to_string();
    let begun = system.client(1).post("/v1/faults", &full);
    let begun = begun.expect("an answer").json();
    for region in 0..3 {
        system.until("b comes last", || {
            tiers(&system, region) == ["healthy", "degraded", "healthy"]
        });
        assert_eq!(verdicts(&health(&system, region)), ["healthy"; 3]);
        let b = health(&system, region)["regions"][1].clone();
        assert_eq!(
            (&b["verdict"], &b["because"]),
            (&json!("degraded"), &json!("storage"))
        );
    }
    assert_eq!(system.get(1, "/readyz").status, 503);
    assert_eq!(system.get(0, "/readyz").status, 200);
    let shown = meridian(&["status", "--api", &system.api_url(1)]);
    assert!(shown.contains("dataset main is full: "), "{shown}");
    system.kill(2);
    system.until("a dead one comes after it", || {
        tiers(&system, 0) == ["healthy", "degraded", "down"]
    });
    let path = format!("/v1/faults/{}", begun["id"].as_str().expect("an id"));
    assert_eq!(
        system.client(1).delete_at(&path).expect("an answer").status,
        204
    );
    system.wait_ready(1);
    system.until("b takes clients again", || {
        tiers(&system, 0) == ["healthy", "healthy", "down"]
    });
}

#[test]
fn faults_reach_probes_and_loss_delay_and_one_way_cuts_bring_nobody_down() {
    let system = start();
    let since: Vec<_> = (0..3)
        .map(|region| changes(&system, region).len())
        .collect();
    let begin = |region: usize, fault: &Value| {
        let reply = system.client(region).post("/v1/faults", &fault.to_string());
        assert_eq!(reply.expect("an answer").status, 201);
    };
    let wait_lifted = |region: usize| {
        system.until("the fault is lifted", || {
            let faults = system.get(region, "/v1/faults").json();
            faults["faults"].as_array().is_some_and(Vec::is_empty)
        });
    };
    // What a sends to b doesn't arrive: it can't probe it.
    begin(
        0,
        &json!({"kind": "partition", "peer": "b", "direction": "outbound", "for": "8s"}),
    );
    system.until("a sees b as dead", || {
        seen(&health(&system, 0), 1) == "unhealthy"
    });
    wait_lifted(0);
    system.until("a sees b again", || {
        seen(&health(&system, 0), 1) == "healthy"
    });
    assert_eq!(ever_down(&system, &[0, 1, 2], &since), [""; 0]);

    begin(
        1,
        &json!({"kind": "loss", "peer": "c", "share": 0.5, "for": "15s"}),
    );
    begin(
        0,
        &json!({"kind": "latency", "peer": "c", "added_ms": 1000, "for": "15s"}),
    );
    system.until("a finds c slow", || {
        seen(&health(&system, 0), 2) == "degraded"
    });
    wait_lifted(0);
    wait_lifted(1);
    assert_eq!(ever_down(&system, &[0, 1, 2], &since), [""; 0]);
    wait_verdicts(&system, &[0, 1, 2], ["healthy"; 3]);
}
