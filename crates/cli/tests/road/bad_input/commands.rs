//! What the command line refuses, and how it says so.

use crate::system::{MERIDIAN, System};
use std::fs;
use std::path::Path;
use std::process::Command;

struct Ended {
    code: i32,
    said: String,
}

impl Ended {
    /// It failed with this code, and said this and what to do.
    fn refused(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{}", self.said);
        for words in [words, "error: ", "hint: "] {
            assert!(self.said.contains(words), "no {words:?}: {}", self.said);
        }
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(MERIDIAN)
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("meridian starts");
    Ended {
        code: output.status.code().expect("an exit"),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn mistype(system: &System) {
    let directory = system.directory.path();
    let api = system.api_url(1);
    let at = ["--api", &api, "--token-file", "token"];
    let call = |arguments: &[&str]| run(directory, &[arguments, &at].concat());

    fs::write(directory.join("wrong"), "nobody's\n").expect("it is written");
    let wrong = ["--api", &api, "--token-file", "wrong"];
    let get = ["tables", "get", "rows", "a-text"];
    run(directory, &[&get[..], &wrong].concat()).refused(1, "401");
    run(directory, &[&get[..], &["--api", &api]].concat()).refused(1, "401");
    call(&["tables", "put", "rows", "bad", "{"]).refused(2, "not JSON");
    call(&["tables", "put", "nobodys", "bad", "1"]).refused(1, "404");
    let long = "k".repeat(2000);
    call(&["tables", "put", "rows", &long, "1"]).refused(1, "422");
    call(&["faults", "add", "full-disk", "--for", "2h"]).refused(1, "422");

    imports(system, &call);
    topologies(system, directory);
}

/// Files that end in the middle: what came before is in, and the whole file puts the rest in.
fn imports(system: &System, call: &dyn Fn(&[&str]) -> Ended) {
    let directory = system.directory.path();
    let csv: String = (0..500)
        .map(|row| format!("csv-{row},\"a, {row}\"\n"))
        .collect();
    let csv = format!("id,text\n{csv}");
    let jsonl = (0..500).map(|row| format!("{{\"id\":\"json-{row}\",\"n\":{row}}}\n"));
    let jsonl: String = jsonl.collect();
    // In the middle of a row: without its second value; within its document.
    for (file, whole, cut, code, words) in [
        (
            "rows.csv",
            &csv,
            csv.rfind(",\"").expect("a row"),
            1,
            "rows.csv:501",
        ),
        ("rows.jsonl", &jsonl, jsonl.len() - 4, 1, "rows.jsonl:500"),
    ] {
        let path = directory.join(file);
        let import = ["tables", "import", "rows", file, "--key", "id"];
        fs::write(&path, &whole[..cut]).expect("it is written");
        call(&import).refused(code, words);
        fs::write(&path, whole).expect("it is written");
        let done = call(&import);
        assert_eq!(done.code, 0, "{}", done.said);
    }
    for key in ["csv-0", "csv-499", "json-0", "json-499"] {
        let row = system.client(1).row(key).expect("an answer");
        assert_eq!(row.status, 200, "{key}: {row:?}");
    }
}

/// A topology that can't be starts nothing.
fn topologies(system: &System, directory: &Path) {
    let text = fs::read_to_string(system.topology_path(0)).expect("a topology");
    let certs = directory.join("certs").display().to_string();
    for (text, words) in [
        (text.replace("name = \"b\"", "name = \"a\""), "\"a\""),
        (text.replace("engine = ", "engin = "), "engin"),
        (text.replace(&certs, "nowhere"), "nowhere"),
        (text[..text.len() / 2].to_owned(), "bad.toml"),
    ] {
        fs::write(directory.join("bad.toml"), text).expect("it is written");
        let serve = [
            "serve",
            "--region",
            "a",
            "--config",
            "bad.toml",
            "--data-dir",
            "bad",
        ];
        run(directory, &serve).refused(2, words);
    }
    let unknown = system.topology_path(0);
    let unknown = unknown.to_str().expect("a text path");
    let serve = [
        "serve",
        "--region",
        "nobody",
        "--config",
        unknown,
        "--data-dir",
        "bad",
    ];
    run(directory, &serve).refused(2, "nobody");
}
