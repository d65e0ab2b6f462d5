//! `meridian tables import`, stopped in the middle: killed, refused, interrupted, its file changed.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::region::{Region, csv, import, run};
use support::{Server, eventually, text};

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes the first `count` batches and then keeps silent, as a network would.
fn silent_after(region: &Region, count: usize) -> Server {
    let region = region.clone();
    Server::start(move |request| {
        if region.requests() < count {
            return region.accept(request);
        }
        loop {
            std::thread::park();
        }
    })
}

/// Starts an import into a region that falls silent after three batches, and waits until they are
/// in the state file.
fn import_until_silent(directory: &Path, listener: &Server) -> std::process::Child {
    let arguments = ["--batch", "100", "--connections", "1"];
    let child = import(directory, &listener.url(), &arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let state = directory.join("t.csv.meridian-import");
    eventually("three batches in the state file", PATIENCE, || {
        let state: Value = serde_json::from_slice(&std::fs::read(&state).ok()?).ok()?;
        (state["acknowledged"]["rows"] == 300).then_some(())
    });
    child
}

#[test]
fn a_killed_import_continues_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(1000)).unwrap();
    let region = Region::default();
    let released = Arc::new(AtomicBool::new(false));
    let (accepting, open) = (region.clone(), Arc::clone(&released));
    // The region's fourth reply is lost with the import, though the batch was applied.
    let server = Server::start(move |request| {
        let reply = accepting.accept(request);
        if accepting.requests() < 4 || open.load(Ordering::SeqCst) {
            return reply;
        }
        loop {
            std::thread::park();
        }
    });
    let mut child = import_until_silent(directory.path(), &server);
    eventually("the fourth batch", PATIENCE, || {
        (region.requests() == 4).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    released.store(true, Ordering::SeqCst);

    let arguments = ["--batch", "100", "--connections", "1"];
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("continuing after 300 rows"),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("imported 700 rows"),
        "{}",
        text(&output)
    );
    assert_eq!(region.rows().len(), 1000);
    assert_eq!(region.requests(), 11, "only the fourth batch is sent twice");
    assert_eq!(region.keys().len(), 10, "the fourth batch had another key");
    assert_eq!(region.writes(), 1000);
}

#[test]
fn json_lines_resume_too() {
    let directory = tempfile::tempdir().unwrap();
    let lines = (0..600).map(|id| format!("{{\"id\": {id}}}\n\n"));
    std::fs::write(directory.path().join("t.csv"), lines.collect::<String>()).unwrap();
    let region = Region::default();
    let refusals = Mutex::new(3);
    let accepting = region.clone();
    let server = Server::start(move |request| {
        let mut left = refusals.lock().unwrap();
        if *left == 0 {
            *left = u32::MAX;
            return Some((422, vec![], r#"{"title":"No"}"#.to_owned()));
        }
        *left -= 1;
        accepting.accept(request)
    });
    let arguments = ["--format", "jsonl", "--batch", "100", "--connections", "1"];
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("rows 301 to 400 (t.csv, from line 600)"),
        "{said}"
    );
    assert!(said.contains("the first 300 rows are in"), "{said}");
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(region.rows().len(), 600);
    assert_eq!(region.requests(), 6);
}

#[test]
fn an_interrupted_import_says_how_far_it_came() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(1000)).unwrap();
    let region = Region::default();
    let accepting = region.clone();
    let server = Server::start(move |request| match accepting.requests() {
        0..3 => accepting.accept(request),
        _ => Some((503, vec![], r#"{"title":"Not now"}"#.to_owned())),
    });
    let child = import_until_silent(directory.path(), &server);
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(
        text(&output).contains("interrupted; the first 300 rows are in"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_changed_file_is_not_continued() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(1000)).unwrap();
    let region = Region::default();
    let server = silent_after(&region, 3);
    let mut child = import_until_silent(directory.path(), &server);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(directory.path().join("t.csv"), csv(1001)).unwrap();
    let arguments = ["--batch", "100", "--connections", "1"];
    let output = run(&mut import(directory.path(), &server.url(), &arguments));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(
        text(&output).contains("begin anew with --restart"),
        "{}",
        text(&output)
    );
}
