//! Machines that misbehave: clocks, disks, links, processes, files.

use super::load::{Load, STARTING};
use crate::damage::{append_garbage, flip_a_bit, log_files};
use crate::system::System;
use serde_json::{Value, json};
use std::fs;

fn begin(system: &System, region: usize, fault: &Value) {
    let reply = system.client(region).post("/v1/faults", &fault.to_string());
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 201, "{reply:?}");
}

fn wait_lifted(system: &System, region: usize) {
    system.until("the fault is lifted", || {
        let faults = system.get(region, "/v1/faults").json();
        faults["faults"].as_array().is_some_and(Vec::is_empty)
    });
}

/// Faults that the load isn't to notice but in one region, and only as it is said.
pub fn misbehave(system: &System, load: &Load) {
    begin(
        system,
        0,
        &json!({"kind": "clock-offset", "offset_ms": 5000, "for": "2s"}),
    );
    begin(
        system,
        1,
        &json!({"kind": "slow-disk", "added_ms": 30, "for": "2s"}),
    );
    begin(
        system,
        2,
        &json!({"kind": "partition", "peer": "b", "for": "2s"}),
    );
    system.until("the drift is seen", || {
        let report = system.get(2, "/v1/replication").json();
        let peers = report["peers"].as_array().cloned().unwrap_or_default();
        let a = peers.iter().find(|peer| peer["peer"] == "a");
        a.is_some_and(|peer| peer["drift_alert"] == true)
    });
    (0..3).for_each(|region| wait_lifted(system, region));

    load.may(2, &["disk-full"]);
    begin(system, 2, &json!({"kind": "full-disk", "for": "1s"}));
    let refused = system.put(2, "refused", "1");
    assert_eq!(refused.status, 507, "{refused:?}");
    let problem = refused.json();
    assert_eq!(problem["type"], "/problems/disk-full");
    assert!(problem["hint"].is_string(), "{problem}");
    wait_lifted(system, 2);
    takes_writes(system, 2);
    load.must(2);
    let row = system.client(1).row("refused").expect("an answer");
    assert_eq!(row.status, 404, "a refused write happened");
}

fn takes_writes(system: &System, region: usize) {
    system.until("writes are taken", || {
        let key = format!("again-{region}");
        system
            .client(region)
            .put(&key, "1")
            .is_ok_and(|reply| reply.status < 300)
    });
}

/// Ends a region by SIGKILL, does something to its files, and starts it again.
fn while_dead(system: &mut System, load: &Load, region: usize, then: impl FnOnce(&System)) {
    load.may(region, &STARTING);
    system.kill(region);
    then(system);
    system.start_region(region);
    system.until("the API answers", || {
        system.try_get(region, "/livez").is_some()
    });
}

fn is_back(system: &System, load: &Load, region: usize) {
    system.wait_ready(region);
    takes_writes(system, region);
    load.must(region);
}

/// A region that dies, and one that finds its files damaged, or gone, when it is back.
pub fn break_down(system: &mut System, load: &Load) {
    while_dead(system, load, 1, |_| {});
    is_back(system, load, 1);
    a_flipped_bit(system, load);
    a_wiped_directory(system, load);
}

/// A region that dies in the middle of a write to its log.
pub fn tear(system: &mut System, load: &Load) {
    while_dead(system, load, 0, |system| {
        let last = log_files(system, 0).pop().expect("a segment");
        append_garbage(&last);
    });
    is_back(system, load, 0);
}

/// The dataset whose log it is says so and takes nothing, the region's other one runs.
fn a_flipped_bit(system: &mut System, load: &Load) {
    let mut undo = None;
    while_dead(system, load, 2, |system| {
        let first = log_files(system, 2).remove(0);
        let place = flip_a_bit(&first, |end| end / 2);
        undo = Some((first, place));
    });
    let (file, place) = undo.expect("a flipped bit");
    system.until("the dataset says what is wrong", || {
        let row = system.client(2).row("register-0");
        row.is_ok_and(|reply| {
            reply.status == 503
                && reply.json()["type"] == "/problems/dataset-unavailable"
                && reply.json()["hint"].is_string()
                && reply.body.contains(".log")
        })
    });
    let other = system.get(2, "/v1/tables/other/rows/x");
    assert_eq!(other.status, 404, "{other:?}");
    while_dead(system, load, 2, |_| {
        flip_a_bit(&file, |_| place);
    });
    is_back(system, load, 2);
}

/// A region on an empty directory is refused by its peers, and takes no writes that nobody would
/// ever hear of.
fn a_wiped_directory(system: &mut System, load: &Load) {
    let kept = system.directory.path().join("kept");
    while_dead(system, load, 2, |system| {
        fs::rename(system.data_dir(2), &kept).expect("it is taken away");
    });
    system.until("it is refused, and told why", || {
        let (state, error) = system.stream(2, 0);
        state == "quarantined" && error.contains("data directory was replaced")
    });
    let refused = system.put(2, "lost", "1");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.json()["hint"].is_string(), "{refused:?}");
    while_dead(system, load, 2, |system| {
        fs::remove_dir_all(system.data_dir(2)).expect("it is removed");
        fs::rename(&kept, system.data_dir(2)).expect("it is put back");
    });
    is_back(system, load, 2);
}
