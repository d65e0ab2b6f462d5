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
        let tags = "\"2@eu-west-1\", \"1@us-east-1\"";
        let level = request.headers.get("meridian-consistency");
        let wants = |name: &str| level.is_some_and(|level| level == name);
        Some(match (request.method.as_str(), key, path) {
            ("GET", _, "/v1/tables/carts/rows/7") => {
                let siblings = r#"[{"version":"2@eu-west-1","document":{"items":["tea"]}},{"version":"1@us-east-1","document":{"items":["milk"]}}]"#;
                (300, etag(2), format!(r#"{{"siblings":{siblings}}}"#))
            }
            ("PUT", _, "/v1/tables/carts/rows/7")
                if request.headers.get("if-match").map(String::as_str) != Some(tags) =>
            {
                let problem = r#"{"title":"The row is in another state","status":412}"#;
                (412, vec![], problem.to_owned())
            }
            ("PUT", _, "/v1/tables/carts/rows/7") => (200, etag(3), request.body.clone()),
            ("POST", _, "/v1/tables/carts/rows/7/members") => {
                let expected = r#"{"field":"items","add":["tea",5],"remove":["milk"]}"#;
                let status = if request.body == expected { 200 } else { 422 };
                (status, etag(4), request.body.clone())
            }
            ("POST", _, "/v1/tables/pages/rows/home/increment") => match request.body.as_str() {
                r#"{"field":"views","by":1}"# => (200, etag(5), r#"{"views":8}"#.to_owned()),
                r#"{"field":"views","by":-3}"# => (200, etag(6), r#"{"views":5}"#.to_owned()),
                _ => (422, vec![], String::new()),
            },
            ("POST", _, "/v1/tables/pages/rows/alone/increment") => {
                let accepted = r#"{"status":200,"reason":"within 2000 ms, 0 of 1 other regions confirmed that they hold the write","hint":"the write stands","reply":{"views":9}}"#;
                (202, etag(7), accepted.to_owned())
            }
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
            ("GET", None, "/v1/tables") => {
                let tables = r#"{"datasets":[{"dataset":"main","tables":["carts","orders"],"declared":["stock"]}]}"#;
                (200, vec![], tables.to_owned())
            }
            ("GET", None, "/v1/tables/ordres/rows" | "/v1/tables/stock/rows") => {
                (200, vec![], r#"{"rows":[],"next":null}"#.to_owned())
            }
            ("GET", None, "/v1/tables/ordres/checksum") => {
                (200, vec![], r#"{"rows":0,"checksum":"0"}"#.to_owned())
            }
            ("GET", None, "/v1/tables/ordres/rows/1") => {
                let problem = r#"{"type":"/problems/row-not-found","title":"The row is not there","status":404}"#;
                (404, vec![], problem.to_owned())
            }
            ("GET", None, "/v1/tables/orders/checksum") => {
                let rows = rows.len();
                (
                    200,
                    vec![],
                    format!(r#"{{"rows":{rows},"checksum":"{rows:016x}"}}"#),
                )
            }
            _ => faults(request)
                .or_else(|| dead_letters(request))
                .or_else(|| conflicts(request))
                .or_else(|| shifts(request))
                .unwrap_or((404, vec![], String::new())),
        })
    }
}

/// A region with one fault, which nothing lifts.
fn faults(request: &Request) -> Option<Reply> {
    let fault = r#"{"id":"5ad30d1c","kind":"partition","what":"nothing comes in from us-east-1","peers":["us-east-1"],"until":"2026-01-01T00:00:10Z","remaining_seconds":9.8}"#;
    Some(match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/v1/faults") if request.body.contains("full-disk") => {
            let problem = r#"{"type":"/problems/bad-fault","title":"The fault can't be","status":422,"detail":"the request does not say how long the fault lasts","hint":"every fault ends by itself: give \"for\", for example \"10s\", up to \"1h\""}"#;
            (422, vec![], problem.to_owned())
        }
        ("POST", "/v1/faults") => (201, vec![], fault.to_owned()),
        ("GET", "/v1/faults") => (200, vec![], format!(r#"{{"faults":[{fault}]}}"#)),
        ("DELETE", "/v1/faults/5ad30d1c") => (204, vec![], String::new()),
        ("DELETE", path) if path.starts_with("/v1/faults/") => {
            let problem = r#"{"type":"/problems/fault-not-found","title":"The fault is not at work","status":404}"#;
            (404, vec![], problem.to_owned())
        }
        _ => return None,
    })
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

/// A region with one dead letter, which nothing removes.
fn dead_letters(request: &Request) -> Option<Reply> {
    let letter = r#""id":"7234881012-00000000000000fe","dataset":"main","region":"eu-west-1","committed_at":"2026-01-01T00:00:00Z","reason":"it changes row \"1\" of table \"orders\" twice","changes":2,"bytes":40"#;
    let path = request.path.split('?').next().unwrap();
    let own = path.strip_prefix("/v1/dead-letters/7234881012-00000000000000fe");
    let made = r#"{"version":"7234999999-0000000000000007","rows":[]}"#;
    Some(match (request.method.as_str(), path, own) {
        ("GET", "/v1/dead-letters", _) => {
            let page =
                format!(r#"{{"dead_letters":[{{{letter}}}],"next":null,"total":3,"waiting":1}}"#);
            (200, vec![], page)
        }
        ("GET", _, Some("")) => {
            let operations = r#"[{"op":"put","table":"orders","key":"1","document":{"item":"tea"}},{"op":"delete","table":"orders","key":"1"}]"#;
            let whole = format!(r#"{{{letter},"idempotency_key":null,"operations":{operations}}}"#);
            (200, vec![], whole)
        }
        ("POST", _, Some("/retry" | "/edit")) => (200, vec![], made.to_owned()),
        ("DELETE", _, Some("")) => (204, vec![], String::new()),
        (_, path, _) if path.starts_with("/v1/dead-letters/") => {
            let problem = r#"{"type":"/problems/dead-letter-not-found","title":"The dead letter is not there","status":404,"detail":"there is no dead letter \"5-0000000000000007\"","hint":"it may have been decided about already, here or in another region; GET /v1/dead-letters lists those that wait"}"#;
            (404, vec![], problem.to_owned())
        }
        _ => return None,
    })
}

#[test]
fn dead_letters_and_what_becomes_of_them() {
    assert_reproduced("dead-letters.txt");
}

#[test]
fn siblings() {
    assert_reproduced("siblings.txt");
}

#[test]
fn faults_on_purpose() {
    assert_reproduced("faults.txt");
}

#[test]
fn consistency() {
    assert_reproduced("consistency.txt");
}

#[test]
fn nothing_runs() {
    assert_reproduced("nothing-runs.txt");
}

#[test]
fn failures_for_programs() {
    assert_reproduced("failures.txt");
}

#[test]
fn tables_that_are_not_there() {
    assert_reproduced("unknown-tables.txt");
}

/// A region that has resolved two conflicts.
fn conflicts(request: &Request) -> Option<Reply> {
    let path = request.path.split('?').next().unwrap();
    if path != "/v1/conflicts" {
        return None;
    }
    let event = |id: &str, region: &str, data: &str| {
        format!(
            r#"{{"eventId":"{id}","region":"{region}","timestamp":"2026-01-01T00:00:00Z","data":{data}}}"#
        )
    };
    let tea = event("1-a", "us-east-1", r#"{"item":"tea"}"#);
    let coffee = event("2-b", "eu-west-1", r#"{"item":"coffee"}"#);
    let gone = event("3-b", "eu-west-1", "null");
    let long = event("4-a", "us-east-1", r#""leave it at the door, and ring""#);
    let conflicts = format!(
        r#"{{"conflictId":"1","conflictType":"UpdateDeleteConflict","aggregateId":"orders/7","field":"note","conflictingEvents":[{gone},{long}],"resolutionStrategy":"RegisterPerField","resolvedEvent":"4-a","resolvedAt":"2026-01-01T00:00:02Z"}},{{"conflictId":"2","conflictType":"WriteConflict","aggregateId":"orders/1","conflictingEvents":[{tea},{coffee}],"resolutionStrategy":"LastWriterWins","resolvedEvent":"2-b","resolvedAt":"2026-01-01T00:00:01Z"}}"#
    );
    let page = format!(r#"{{"conflicts":[{conflicts}],"next":null,"total":1203,"kept":2}}"#);
    Some((200, vec![], page))
}

#[test]
fn conflicts_and_how_they_were_decided() {
    assert_reproduced("conflicts.txt");
}

#[test]
fn drains_and_shifts() {
    assert_reproduced("shifts.txt");
}

/// A region of which another is drained. Its last healthy one can't be.
fn shifts(request: &Request) -> Option<Reply> {
    let line = r#""region":"eu-west-1","route":null"#;
    let signed = r#""at":"2026-01-01T00:00:00Z","who":"ann","why":"a disk is changed""#;
    let differences = format!(r#"[{{{line},"from":"as-usual","to":"drained"}}]"#);
    let version = "7234881012-00000000000000fe";
    let change =
        format!(r#"{{"version":"{version}",{signed},"differences":{differences},"standing":1}}"#);
    let stage =
        format!(r#"{{"id":"5ad30d1c",{signed},"differences":{differences},"refusal":null}}"#);
    let path = request.path.split('?').next().unwrap();
    Some(match (request.method.as_str(), path) {
        ("GET", "/v1/shifts") => {
            let wish = format!(
                r#"{{{line},"want":"drained","ignored_by":[],"version":"{version}",{signed}}}"#
            );
            let list = format!(r#"{{"wishes":[{wish}],"changes":[{change}],"staged":[]}}"#);
            (200, vec![], list)
        }
        ("POST", "/v1/shifts") if request.body.contains("us-east-1") => {
            (201, vec![], stage.replace("5ad30d1c", "00000001"))
        }
        ("POST", "/v1/shifts") => (201, vec![], stage),
        ("GET", "/v1/shifts/5ad30d1c") => (200, vec![], stage),
        ("POST", "/v1/shifts/00000001/apply") => {
            let problem = r#"{"type":"/problems/last-healthy-region","title":"The last healthy region can't be drained","status":409,"detail":"us-east-1 is the last healthy region of route \"app\" that takes clients","hint":"nothing overrides this: bring another region back first, or undo its drain"}"#;
            (409, vec![], problem.to_owned())
        }
        ("DELETE", "/v1/shifts/00000001") => (204, vec![], String::new()),
        ("POST", "/v1/shifts/5ad30d1c/apply") => (200, vec![], change),
        ("POST", path) if path == format!("/v1/shifts/{version}/undo") => {
            let undone = change.replace("7234881012", "7234881099");
            let undone = undone.replace(
                r#""from":"as-usual","to":"drained""#,
                r#""from":"drained","to":"as-usual""#,
            );
            (200, vec![], undone)
        }
        ("GET", "/v1/route") => {
            let regions = r#"[{"region":"us-east-1","given":true,"tier":"healthy","share":1.0,"reason":"healthy, 68 ms from the region next to the client"},{"region":"eu-west-1","given":false,"tier":"drained","share":1.0,"reason":"drained, 0 ms from the region next to the client"}]"#;
            let left_out = r#"[{"region":"ap-northeast-1","reason":"residency doesn't allow it for this client"}]"#;
            let route = format!(
                r#"{{"name":"app","client":"193.0.6.139","answered_by":"us-east-1","quorum":true,"policy":"latency","area":"europe","country":null,"scope_bits":8,"regions":{regions},"left_out":{left_out}}}"#
            );
            (200, vec![], route)
        }
        _ => return None,
    })
}
