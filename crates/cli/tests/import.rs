//! `meridian tables import` against a server that keeps what it is sent: batches, retries, and what a
//! person is told of a bad line.

mod support;

use serde_json::Value;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use support::region::{Region, csv, import, run};
use support::{Server, text};

#[test]
fn rows_arrive_in_batches_over_kept_connections() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(1050)).unwrap();
    let region = Region::default();
    let server = region.serve();
    let arguments = ["--batch", "100", "--connections", "2", "--output", "json"];
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert!(output.status.success(), "{}", text(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["rows"], 1050);
    let applied = region.0.lock().unwrap();
    assert_eq!(applied.requests.len(), 11);
    assert!(applied.connections.len() <= 2, "{:?}", applied.connections);
    assert_eq!(applied.rows.len(), 1050);
    assert_eq!(
        applied.rows["7"].to_string(),
        r#"{"id":7,"name":"name, 7"}"#
    );
    assert!(!directory.path().join("t.csv.meridian-import").exists());
}

#[test]
fn a_batch_is_no_larger_than_a_mebibyte() {
    let directory = tempfile::tempdir().unwrap();
    let wide = "x".repeat(100_000);
    let lines = (0..25).map(|id| format!("{{\"id\":{id},\"wide\":\"{wide}\"}}\n\n"));
    std::fs::write(directory.path().join("t.csv"), lines.collect::<String>()).unwrap();
    let region = Region::default();
    let server = region.serve();
    let output = run(&mut import(
        directory.path(),
        &server.url(),
        &["--format", "jsonl"],
    ));
    assert!(output.status.success(), "{}", text(&output));
    let applied = region.0.lock().unwrap();
    assert_eq!(applied.rows.len(), 25);
    let largest = applied
        .requests
        .iter()
        .map(|(_, body)| body.len())
        .max()
        .unwrap();
    assert!((900_000..=1 << 20).contains(&largest), "{largest}");
}

#[test]
fn what_cannot_be_taken_now_is_sent_again_with_the_same_key() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(300)).unwrap();
    let region = Region::default();
    let refusals = Mutex::new(vec![503, 507, 0]);
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let (accepting, seen) = (region.clone(), Arc::clone(&refused));
    let server = Server::start(move |request| {
        let Some(status) = refusals.lock().unwrap().pop() else {
            return accepting.accept(request);
        };
        seen.lock()
            .unwrap()
            .push(request.headers["idempotency-key"].clone());
        if status == 0 {
            // The batch is applied, and the reply is lost.
            accepting.accept(request);
            return None;
        }
        Some((status, vec![], r#"{"title":"Not now"}"#.to_owned()))
    });
    let arguments = ["--batch", "100", "--connections", "1"];
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("Not now; trying again in"),
        "{}",
        text(&output)
    );
    assert_eq!(refused.lock().unwrap().len(), 3);
    assert_eq!(region.keys().len(), 3, "a retry had another key");
    assert_eq!(region.writes(), 300, "a batch was applied twice");
}

#[test]
fn a_region_that_starts_later_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(10)).unwrap();
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = place.local_addr().unwrap();
    drop(place);
    let mut child = import(directory.path(), &format!("http://{address}"), &[])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut talk = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut talk, &mut line).unwrap();
    assert!(line.contains("connection refused; trying again"), "{line}");
    let region = Region::default();
    let accepting = region.clone();
    let listener = TcpListener::bind(address).unwrap();
    Server::on(listener, move |request| accepting.accept(request));
    assert!(child.wait().unwrap().success());
    assert_eq!(region.rows().len(), 10);
}

#[test]
fn retries_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(10)).unwrap();
    let output = run(&mut import(
        directory.path(),
        "http://127.0.0.1:1",
        &["--retry-for", "0"],
    ));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(
        text(&output).contains("connection refused"),
        "{}",
        text(&output)
    );
}

#[test]
fn importing_again_on_purpose_writes_again() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(10)).unwrap();
    let region = Region::default();
    let server = region.serve();
    for _ in 0..2 {
        let output = run(&mut import(directory.path(), &server.url(), &[]));
        assert!(output.status.success(), "{}", text(&output));
    }
    assert_eq!(region.writes(), 20);
}

#[test]
fn a_bad_line_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let region = Region::default();
    let server = region.serve();
    let cases: [(&str, &[&str], &str); 5] = [
        (
            "id,name\n1,a\n2,b,c\n",
            &[],
            "t.csv:3: the row has 3 values where the header has 2",
        ),
        (
            "id,name\n\"1\n1\",a\n,b\n",
            &[],
            "t.csv:4: the key column \"id\" has no value",
        ),
        (
            "{\"id\":1}\n{\"id\":\n",
            &["--format", "jsonl"],
            "t.csv:2: the line is no JSON object",
        ),
        (
            "{\"id\":1}\n{}\n",
            &["--format", "jsonl"],
            "t.csv:2: the key field \"id\" has no value",
        ),
        (
            "{\"id\":[1]}\n",
            &["--format", "jsonl"],
            "t.csv:1: the key field \"id\" is neither",
        ),
    ];
    for (content, arguments, message) in cases {
        std::fs::write(directory.path().join("t.csv"), content).unwrap();
        let output = run(&mut import(directory.path(), &server.url(), arguments));
        assert_eq!(output.status.code(), Some(1), "{content}");
        assert!(
            text(&output).contains(message),
            "{message}\n{}",
            text(&output)
        );
        assert!(text(&output).contains("\n\nhint: "), "{}", text(&output));
    }
    std::fs::write(directory.path().join("t.csv"), b"id,name\n1,\xff\n").unwrap();
    let output = run(&mut import(directory.path(), &server.url(), &[]));
    assert!(
        text(&output).contains("t.csv:2: the row is not UTF-8"),
        "{}",
        text(&output)
    );
}
