//! Datasets whose writes not every region takes: they are handed on, once.

use crate::system::{Client, Reply, System};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const REGIONS: [&str; 3] = ["a", "b", "c"];
const HOME: &str = "writes = \"home\"\nhome = \"a\"\n";

/// Waits until a region can hand a write on.
fn wait_handed_on(system: &System, region: usize) {
    system.until("writes are handed on", || {
        system
            .client(region)
            .put(&format!("first-{region}"), "0")
            .is_ok_and(|reply| reply.status < 300)
    });
}

fn with_key(client: &Client, key: &str, idempotency: &str, document: &str) -> Reply {
    let headers = [("Idempotency-Key", idempotency)];
    client.put_with(key, &headers, document).expect("an answer")
}

#[test]
fn a_write_goes_to_its_home_and_its_client_reads_it_where_it_is() {
    let mut system = System::start(&REGIONS, HOME);
    wait_handed_on(&system, 1);
    let (home, away) = (system.client(0), system.client(1));
    for step in 0..20 {
        let written = away.put("row", &step.to_string()).expect("an answer");
        assert!(matches!(written.status, 200 | 201), "{written:?}");
        let token = written.session.expect("a token");
        let session = [("Meridian-Session", token.as_str())];
        let read = away.row_with("row", &session).expect("an answer");
        assert_eq!((read.body, read.etag), (step.to_string(), written.etag));
        assert_eq!(home.row("row").expect("an answer").body, step.to_string());
    }
    let refused = away.put_with("row", &[("If-Match", "\"1-1\"")], "1");
    let refused = refused.expect("an answer");
    assert_eq!(refused.status, 412, "{refused:?}");
    assert_eq!(refused.json()["type"], "/problems/precondition-failed");
    assert!(refused.json()["version"].is_string(), "{refused:?}");

    let status = system.get(1, "/v1/status").json();
    let promises = &status["datasets"][0]["promises"];
    assert_eq!(
        (&promises["writes"], &promises["home"]),
        (&"home".into(), &"a".into())
    );
    assert_eq!(promises["takes_writes"], false);

    system.kill(0);
    system.until("b knows that the home is gone", || {
        away.put("row", "1").is_ok_and(|reply| reply.status == 503)
    });
    let problem = away.put("row", "1").expect("an answer").json();
    assert_eq!(problem["type"], "/problems/no-writer");
    assert!(problem["hint"].is_string(), "{problem}");
    assert_eq!(
        away.row("row").expect("an answer").status,
        200,
        "reads go on"
    );
}

/// Adds one to a number by reading its version and replacing that version alone.
fn compare_and_set(client: &Client) -> bool {
    let row = client.row("number").expect("an answer");
    let (Ok(number), Some(version)) = (row.body.parse::<usize>(), row.etag) else {
        return false;
    };
    let version = format!("\"{version}\"");
    let headers = [("If-Match", version.as_str())];
    let replaced = client.put_with("number", &headers, &(number + 1).to_string());
    match replaced.expect("an answer").status {
        200 => true,
        412 => false,
        other => panic!("{other}"),
    }
}

#[test]
fn compare_and_set_through_a_home_is_exact_from_everywhere() {
    let system = System::start(&REGIONS, HOME);
    (1..3).for_each(|region| wait_handed_on(&system, region));
    system.put(0, "number", "0");
    system.wait_converged(&[0, 1, 2]);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for region in 0..3 {
            let (client, done) = (system.client(region), &done);
            scope.spawn(move || {
                let until = Instant::now() + Duration::from_millis(1_500);
                while Instant::now() < until {
                    done.fetch_add(usize::from(compare_and_set(&client)), Ordering::Relaxed);
                }
            });
        }
    });
    let done = done.into_inner();
    assert!(done > 10, "only {done} replacements");
    let number = system.client(0).row("number").expect("an answer").body;
    assert_eq!(number, done.to_string());
}

fn signal(system: &System, region: usize, signal: &str) {
    let process = system.process_id(region).to_string();
    let sent = Command::new("kill").args([signal, &process]).status();
    assert!(sent.expect("a signal").success());
}

#[test]
fn a_write_whose_home_falls_silent_is_unknown_and_its_retry_happens_once() {
    let timeout = "acknowledgement-timeout = \"100ms\"\n";
    let system = System::start(&REGIONS, &format!("{HOME}{timeout}"));
    wait_handed_on(&system, 1);
    let away = system.client(1);
    signal(&system, 0, "-STOP");
    let unknown = away.increment("counter", "once").expect("an answer");
    signal(&system, 0, "-CONT");
    assert_eq!(unknown.status, 504, "{unknown:?}");
    let problem = unknown.json();
    assert_eq!(problem["type"], "/problems/outcome-unknown");
    let hint = problem["hint"].as_str().expect("a hint");
    assert!(hint.contains("Idempotency-Key"), "{hint}");
    system.until("the retry is answered", || {
        away.increment("counter", "once")
            .is_ok_and(|reply| reply.status == 200)
    });
    let counter = system.client(0).row("counter").expect("an answer");
    assert_eq!(counter.json()["n"], 1);
}

#[test]
fn a_read_replica_hands_writes_to_a_region_that_it_reaches() {
    let system = System::start(&REGIONS, "read-replicas = [\"c\"]\n");
    wait_handed_on(&system, 2);
    let replica = system.client(2);
    let reached = |reply: &Reply| reply.status < 300;
    assert!(reached(&with_key(&replica, "row", "one", "1")));
    assert!(system.put(1, "own", "1").status < 300, "b takes its own");
    system.cut(2, 0);
    system.until("b takes it", || {
        let reply = with_key(&replica, "row", "two", "2");
        reached(&reply) && system.client(1).row("row").is_ok_and(|row| row.body == "2")
    });
    system.cut(2, 1);
    system.until("nobody can be reached", || {
        replica
            .put("row", "3")
            .is_ok_and(|reply| reply.status == 503)
    });
    system.heal();
    system.wait_converged(&[0, 1, 2]);
    assert_ne!(replica.row("row").expect("an answer").body, "3");
}
