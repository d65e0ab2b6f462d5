//! A restore while somebody writes: what changes between the look and the write stays.

use crate::backup::{Backups, meridian, now};
use crate::support::{Reply, Request, Server};
use crate::system::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// A region's API, behind somebody who writes to some rows just before each is restored.
struct Meddler {
    region: Client,
    agent: ureq::Agent,
    /// Rows that are still to be written to.
    waiting: Mutex<BTreeSet<&'static str>>,
}

impl Meddler {
    fn start(region: Client, rows: &[&'static str]) -> (Server, Arc<Self>) {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let meddler = Arc::new(Self {
            region,
            agent: config.build().into(),
            waiting: Mutex::new(rows.iter().copied().collect()),
        });
        let shared = meddler.clone();
        let server = Server::start(move |request| Some(shared.hand_on(request)));
        (server, meddler)
    }

    fn hand_on(&self, request: &Request) -> Reply {
        let key = request.path.rsplit('/').next().unwrap_or_default();
        let is_write = request.method == "PUT" || request.method == "DELETE";
        if is_write && self.waiting.lock().expect("no panic").remove(key) {
            let written = self.region.put(key, "\"meanwhile\"").expect("an answer");
            assert!(written.status < 300, "{written:?}");
        }
        let mut call = ureq::http::Request::builder()
            .method(request.method.as_str())
            .uri(self.region.url(&request.path));
        for name in ["if-match", "if-none-match"] {
            if let Some(value) = request.headers.get(name) {
                call = call.header(name, value);
            }
        }
        let call = call.body(request.body.clone()).expect("a request");
        let mut reply = self.agent.run(call).expect("an answer");
        let body = reply.body_mut().read_to_string().expect("text");
        (reply.status().as_u16(), Vec::new(), body)
    }
}

#[test]
fn rows_that_change_while_it_runs_are_left_and_told() {
    let backups = Backups::new(&["a"], "");
    let client = backups.system.client(0);
    for row in 0..20 {
        client.put(&format!("k{row:02}"), "1").expect("an answer");
    }
    backups.take();
    let (time, then) = (now(), backups.rows("rows"));
    // Changed, gone and new since; each of the three kinds also where nobody meddles.
    for key in ["k01", "k02"] {
        client.put(key, "2").expect("an answer");
    }
    for key in ["k03", "k04"] {
        client.delete(key).expect("an answer");
    }
    for key in ["new-1", "new-2"] {
        client.put(key, "2").expect("an answer");
    }
    backups.take();

    let meddled = ["k01", "k03", "new-1"];
    let (server, meddler) = Meddler::start(client.clone(), &meddled);
    let left = backups.restore_into(&server.url(), &time, &[]);
    assert!(meddler.waiting.lock().expect("no panic").is_empty());
    assert_eq!(left.code, 1, "{}", left.talk);
    let report: Value = serde_json::from_str(&left.out).expect("JSON");
    assert_eq!((&report["put"], &report["deleted"]), (&2.into(), &1.into()));
    let mut changed: Vec<_> = report["changed_meanwhile"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["key"].as_str().expect("a key").to_owned())
        .collect();
    changed.sort();
    assert_eq!(changed, meddled);
    let last = left.talk.lines().last().unwrap_or_default();
    let problem: Value = serde_json::from_str(last).expect("a problem");
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|it| it.starts_with("3 rows changed")),
        "{problem}"
    );
    assert!(problem["hint"].is_string(), "{problem}");
    for key in meddled {
        let row = client.row(key).expect("an answer");
        assert_eq!(row.json(), json!("meanwhile"), "{key} was overwritten");
    }

    let again = backups.restore(&time, &[]).json();
    assert_eq!((&again["put"], &again["deleted"]), (&2.into(), &1.into()));
    assert_eq!(backups.rows("rows"), then);
}

#[test]
fn what_was_left_is_named_for_people() {
    let backups = Backups::new(&["a"], "");
    let client = backups.system.client(0);
    client.put("k", "1").expect("an answer");
    backups.take();
    let time = now();
    client.put("k", "2").expect("an answer");
    backups.take();
    let (server, _) = Meddler::start(client, &["k"]);
    let url = server.url();
    let restore = [
        "restore",
        "--from",
        backups.at(),
        "--at",
        &time,
        "--api",
        &url,
    ];
    let left = meridian(&restore);
    assert_eq!(left.code, 1);
    assert!(
        left.out.contains("left: rows \"k\" changed meanwhile"),
        "{}",
        left.out
    );
    assert!(left.talk.contains("hint: "), "{}", left.talk);
}
