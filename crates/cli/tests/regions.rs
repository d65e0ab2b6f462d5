//! `meridian regions rejoin` and a change of the regions that is still under way.

mod support;

use serde_json::json;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Server, meridian, text};

const BUSY: &str = "/problems/membership-busy";

/// A region that refuses so many wishes for this reason, then takes them; the wishes that it was sent.
fn region(refusals: usize, problem: &'static str) -> (Server, Arc<AtomicUsize>) {
    let wishes = Arc::new(AtomicUsize::new(0));
    let count = wishes.clone();
    let server = Server::start(move |request| {
        let members = json!([{ "region": "b", "standing": "voting" }]);
        let datasets = json!([{ "dataset": "main", "state": "running", "members": members }]);
        let json = vec!["content-type: application/json".to_owned()];
        Some(match request.method.as_str() {
            "POST" if count.fetch_add(1, Ordering::SeqCst) < refusals => {
                let problem = json!({ "type": problem, "title": "it can't be", "status": 409 });
                (409, json, problem.to_string())
            }
            "POST" => (202, json, "{}".to_owned()),
            _ => {
                let regions = json!({ "region": "a", "datasets": datasets });
                (200, json, regions.to_string())
            }
        })
    });
    (server, wishes)
}

/// A region that can't open its dataset.
fn failed() -> Server {
    Server::start(|request| {
        let why = "could not be opened: the tables were removed";
        let dataset = json!({ "dataset": "main", "state": "failed", "progress": why,
            "hint": "move them away" });
        let regions = json!({ "region": "b", "datasets": [dataset] });
        let json = vec!["content-type: application/json".to_owned()];
        assert_eq!(request.method, "GET", "it isn't asked for anything");
        Some((200, json, regions.to_string()))
    })
}

fn rejoin(server: &Server, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    meridian(directory.path())
        .args(["regions", "rejoin", "b", "--api", &server.url()])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn it_waits_for_the_change_before_it() {
    let (server, wishes) = region(3, BUSY);
    let said = rejoin(&server, &["--timeout", "60"]);
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(wishes.load(Ordering::SeqCst), 4);
    assert!(
        text(&said).contains("region b has joined again"),
        "{}",
        text(&said)
    );
}

#[test]
fn it_waits_only_where_it_may_and_where_that_can_help() {
    for (problem, arguments) in [
        (BUSY, &["--no-wait"][..]),
        (BUSY, &["--timeout", "0"]),
        ("/problems/region-unknown", &["--timeout", "60"]),
    ] {
        let (server, wishes) = region(usize::MAX, problem);
        let said = rejoin(&server, arguments);
        assert_eq!(said.status.code(), Some(1), "{}", text(&said));
        assert!(text(&said).contains("it can't be"), "{}", text(&said));
        assert_eq!(wishes.load(Ordering::SeqCst), 1, "{problem} {arguments:?}");
    }
}

#[test]
fn a_region_that_can_not_open_its_dataset_does_not_join_anew() {
    let (member, wishes) = region(0, BUSY);
    let (failed, directory) = (failed(), tempfile::tempdir().unwrap());
    let said = meridian(directory.path())
        .args(["regions", "rejoin", "b", "--region", "a", "--timeout", "60"])
        .args(["--api", &member.url(), "--api", &failed.url()])
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    let expected = "region b: dataset main could not be opened: the tables were removed";
    assert!(text(&said).contains(expected), "{}", text(&said));
    assert!(
        text(&said).contains("hint: move them away"),
        "{}",
        text(&said)
    );
    assert_eq!(wishes.load(Ordering::SeqCst), 0);
}

#[test]
fn where_its_address_is_known_by_the_members_alone_the_wait_ends_with_the_reason() {
    let failed = failed();
    let api = failed.address.to_string();
    let member = Server::start(move |request| {
        let members = json!([{ "region": "b", "standing": "joining", "api": api }]);
        let datasets = json!([{ "dataset": "main", "state": "running", "members": members }]);
        let json = vec!["content-type: application/json".to_owned()];
        let regions = json!({ "region": "a", "datasets": datasets });
        let status = if request.method == "POST" { 202 } else { 200 };
        Some((status, json, regions.to_string()))
    });
    let said = rejoin(&member, &["--timeout", "10"]);
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    let expected = "error: region b: dataset main could not be opened: the tables were removed";
    assert!(text(&said).contains(expected), "{}", text(&said));
    assert!(text(&said).contains("move them away"), "{}", text(&said));
}
