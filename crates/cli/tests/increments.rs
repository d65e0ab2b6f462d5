//! `meridian tables increment` and a reply that doesn't come.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Output;
use std::sync::{Arc, Mutex};
use support::{Server, meridian};

/// A counter that counts each idempotency key once, and the requests that came for it.
#[derive(Default)]
struct Counter {
    values: BTreeMap<String, u64>,
    requests: usize,
}

/// A region with one; as many replies as `lost` don't come, though the increments are done.
fn region(lost: usize) -> (Server, Arc<Mutex<Counter>>) {
    let counter = Arc::new(Mutex::new(Counter::default()));
    let at_work = Arc::clone(&counter);
    let server = Server::start(move |request| {
        let mut counter = at_work.lock().unwrap();
        let key = request.headers.get("idempotency-key");
        let number = counter.requests;
        counter.requests += 1;
        let key = key.cloned().unwrap_or_else(|| format!("none {number}"));
        let next = counter.values.len() as u64 + 1;
        let views = *counter.values.entry(key).or_insert(next);
        let json = vec!["content-type: application/json".to_owned()];
        (number >= lost).then(|| (200, json, json!({ "views": views }).to_string()))
    });
    (server, counter)
}

fn increment(server: &Server, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    meridian(directory.path())
        .args(["tables", "increment", "pages", "home", "views"])
        .args(["--output", "json", "--api", &server.url()])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn one_whose_reply_was_lost_counts_once_when_it_is_repeated_as_told() {
    let (server, counter) = region(1);
    let lost = increment(&server, &[]);
    assert_eq!(lost.status.code(), Some(3), "{lost:?}");
    let problem: Value = serde_json::from_slice(&lost.stderr).unwrap();
    let hint = problem["hint"].as_str().unwrap();
    let (_, flag) = hint.split_once("--idempotency-key ").expect(hint);
    let key = flag.split_whitespace().next().unwrap();
    let again = increment(&server, &["--idempotency-key", key]);
    assert!(again.status.success(), "{again:?}");
    let row: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(row["document"], json!({ "views": 1 }));
    assert_eq!(counter.lock().unwrap().requests, 2);
}

#[test]
fn each_run_counts() {
    let (server, counter) = region(0);
    for _ in 0..2 {
        assert!(increment(&server, &[]).status.success());
    }
    let counter = counter.lock().unwrap();
    assert_eq!(counter.values.len(), 2);
    let is_named = |key: &String| key.starts_with("increment-");
    assert!(counter.values.keys().all(is_named), "{:?}", counter.values);
}
