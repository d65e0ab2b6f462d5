//! Strategies between real regions that are cut off from each other, and a strategy that changes in
//! one region after the other.

use crate::system::System;
use serde_json::{Value, json};
use std::fs;

const ROW: &str = "/v1/tables/rows/rows/k";

/// Lets each region write without the other, and both meet.
fn meet(system: &System, writes: impl FnOnce(&System)) {
    system.wait_converged(&[0, 1]);
    system.part(0, 1);
    for (region, peer) in [(0, 1), (1, 0)] {
        system.until("the regions are parted", || {
            system.stream(region, peer).0 != "streaming"
        });
    }
    writes(system);
    system.heal();
    system.wait_converged(&[0, 1]);
}

fn document(system: &System, region: usize) -> Value {
    let reply = system.get(region, ROW);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[test]
fn siblings_stand_until_a_put_that_names_them_all() {
    let system = System::start(&["a", "b"], "strategy = \"siblings\"\n");
    system.put(0, "k", "1");
    meet(&system, |system| {
        system.put(0, "k", "2");
        system.put(1, "k", "3");
    });
    let read = system.get(1, ROW);
    assert_eq!(read.status, 300);
    let siblings = read.json()["siblings"]
        .as_array()
        .expect("siblings")
        .clone();
    let mut documents: Vec<_> = siblings
        .iter()
        .map(|sibling| sibling["document"].clone())
        .collect();
    documents.sort_by_key(Value::to_string);
    assert_eq!(documents, [json!(2), json!(3)]);
    let tags: Vec<_> = siblings
        .iter()
        .map(|sibling| sibling["version"].to_string())
        .collect();
    let client = system.client(0);
    let refused = client.put_if_match("k", "4", &tags[0]).expect("an answer");
    assert_eq!(refused.status, 412);
    let resolved = client
        .put_if_match("k", "4", &tags.join(", "))
        .expect("an answer");
    assert_eq!(resolved.status, 200, "{}", resolved.body);
    system.wait_converged(&[0, 1]);
    assert_eq!(document(&system, 1), json!(4));
}

#[test]
fn a_strategy_changes_in_one_region_after_the_other() {
    let mut system = System::start(&["a", "b"], "");
    system.put(0, "k", r#"{"x":0,"y":0,"s":["m"]}"#);
    for region in [0, 1] {
        system.wait_converged(&[0, 1]);
        system.kill(region);
        let path = system.topology_path(region);
        let text = fs::read_to_string(&path).expect("a topology");
        fs::write(&path, text + "strategy = \"add-wins-set\"\n").expect("it is written");
        system.start_region(region);
        system.wait_ready(region);
        // Only one region of the two writes fields by themselves in the first turn.
        meet(&system, |system| {
            system.put(0, "k", r#"{"x":1,"y":0,"s":["m"]}"#);
            system.put(1, "k", r#"{"x":0,"y":2,"s":["m"]}"#);
        });
        assert_eq!(document(&system, 0), document(&system, 1));
        system.put(0, "k", r#"{"x":0,"y":0,"s":["m"]}"#);
    }
    meet(&system, |system| {
        system.put(0, "k", r#"{"x":1,"y":0,"s":["m","a"]}"#);
        system.put(1, "k", r#"{"x":0,"y":2,"s":["b"]}"#);
    });
    assert_eq!(
        document(&system, 0),
        json!({"x": 1, "y": 2, "s": ["a", "b"]})
    );
    assert_eq!(document(&system, 1), document(&system, 0));
}
