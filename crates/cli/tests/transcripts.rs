//! Golden transcripts: what a person types and sees. Each file in `transcripts/` is run by a shell,
//! in a directory of its own, and must be reproduced to the letter. `UPDATE=1` writes what is seen.
//!
//! A line that begins with `$ ` is a command, one that begins with `# ` a remark; all else is output,
//! stdout before stderr, and the exit code if it isn't 0.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use support::{Reply, Request, Server, text};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// Runs the commands of a transcript and gives it as it should be.
fn replay(script: &str, api: &str) -> String {
    let work = tempfile::tempdir().unwrap();
    let mut seen = String::new();
    for line in script.lines() {
        if line.starts_with("# ") {
            if !seen.is_empty() {
                seen.push('\n');
            }
            seen.push_str(line);
            seen.push('\n');
        }
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        seen.push_str(line);
        seen.push('\n');
        seen.push_str(&run(command, work.path(), api));
    }
    seen
}

fn run(command: &str, work: &Path, api: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_meridian"));
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(work)
        .env("PATH", path)
        .env("API", api)
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    // As many digits as a port that the system chooses, so that columns keep their widths.
    let seen = text(&output).replace(api, "http://127.0.0.1:47000");
    let lines = seen.lines().map(|line| line.trim_end().to_owned() + "\n");
    let seen: String = lines.collect();
    match output.status.code() {
        Some(0) => seen,
        code => format!("{seen}[exit code {}]\n", code.unwrap()),
    }
}

fn assert_reproduced(name: &str) {
    let api = Server::start(region());
    let file = directory().join(name);
    let script = std::fs::read_to_string(&file).unwrap();
    let seen = replay(&script, &api.url());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &seen).unwrap();
    }
    let script = std::fs::read_to_string(&file).unwrap();
    assert!(
        script == seen,
        "{name} is not what is seen now:\n{seen}\nhint: UPDATE=1 writes it"
    );
}

/// A region with one table in memory. Its versions count up, its checksum counts rows.
fn region() -> impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static {
    let rows: Mutex<BTreeMap<String, (u64, String)>> = Mutex::default();
    move |request| {
        let mut rows = rows.lock().unwrap();
        let next = rows
            .values()
            .map(|(version, _)| *version)
            .max()
            .unwrap_or(0)
            + 1;
        let path = request.path.split('?').next().unwrap();
        let etag = |version: u64| vec![format!("etag: \"{version}@eu-west-1\"")];
        let key = path
            .strip_prefix("/v1/tables/orders/rows/")
            .map(str::to_owned);
        let level = request.headers.get("meridian-consistency");
        let wants = |name: &str| level.is_some_and(|level| level == name);
        Some(match (request.method.as_str(), key, path) {
            ("PUT", Some(key), _) if key == "alone" => {
                let accepted = r#"{"status":201,"acknowledgement":"one-remote","needed":2,"holders":[],"reason":"within 2000 ms, 0 of 1 other regions confirmed that they hold the write","hint":"the write stands","reply":1}"#;
                (202, etag(next), accepted.to_owned())
            }
            ("GET", Some(_), _) if wants("strong") => {
                let problem = r#"{"type":"/problems/strong-read-unavailable","title":"A strong read is not possible now","detail":"1 region more must say what they hold: region us-east-1 can't be reached","hint":"send it again, or read with less consistency"}"#;
                (503, vec![], problem.to_owned())
            }
            ("GET", Some(key), _) if wants("causal") => {
                assert_eq!(request.headers["meridian-session"], "0102");
                let headers = vec![etag(1).remove(0), "meridian-session: 0103".to_owned()];
                (200, headers, format!(r#"{{"key":"{key}"}}"#))
            }
            ("GET", Some(key), _) => match rows.get(&key) {
                Some((version, document)) => (200, etag(*version), document.clone()),
                None => {
                    let problem = r#"{"type":"/problems/row-not-found","title":"The row is not there","status":404}"#;
                    (404, vec![], problem.to_owned())
                }
            },
            ("PUT", Some(_), _) if request.body.len() > 100 => {
                let problem = r#"{"type":"/problems/too-large","title":"The request is too large","detail":"the body has more than 100 bytes","hint":"raise document-bytes-max"}"#;
                (413, vec![], problem.to_owned())
            }
            ("PUT", Some(key), _) => {
                rows.insert(key, (next, request.body.clone()));
                (201, etag(next), request.body.clone())
            }
            ("DELETE", Some(key), _) => {
                rows.remove(&key);
                (204, etag(next), String::new())
            }
            ("GET", None, "/v1/tables/orders/rows") => {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(key, (version, document))| {
                        format!(r#"{{"key":"{key}","version":"{version}@eu-west-1","document":{document}}}"#)
                    })
                    .collect();
                (
                    200,
                    vec![],
                    format!(r#"{{"rows":[{}],"next":null}}"#, rows.join(",")),
                )
            }
            ("GET", None, "/v1/tables/orders/checksum") => {
                let rows = rows.len();
                (
                    200,
                    vec![],
                    format!(r#"{{"rows":{rows},"checksum":"{rows:016x}"}}"#),
                )
            }
            _ => (404, vec![], String::new()),
        })
    }
}

#[test]
fn topology() {
    assert_reproduced("topology.txt");
}

#[test]
fn usage() {
    assert_reproduced("usage.txt");
}

#[test]
fn certificates() {
    assert_reproduced("certificates.txt");
}

#[test]
fn tables() {
    assert_reproduced("tables.txt");
}

#[test]
fn consistency() {
    assert_reproduced("consistency.txt");
}

#[test]
fn nothing_runs() {
    assert_reproduced("nothing-runs.txt");
}
