//! Backups of running regions, and rows made what they were.

use crate::system::System;
use meridian_backup::{format_time, parse_time};
use meridian_model::Micros;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Run {
    pub code: i32,
    pub out: String,
    pub talk: String,
}

pub fn meridian(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_meridian"))
        .args(arguments)
        .output()
        .expect("meridian starts");
    Run {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("text"),
        talk: String::from_utf8(output.stderr).expect("text"),
    }
}

impl Run {
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.talk);
        self.out
    }

    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }
}

/// A system, a directory for backups, and what is done with them.
pub struct Backups {
    pub system: System,
    directory: PathBuf,
    api: String,
}

impl Backups {
    pub fn new(names: &[&str], dataset: &str) -> Self {
        let system = System::start(names, dataset);
        Self {
            directory: system.directory.path().join("backup"),
            api: system.client(0).url(""),
            system,
        }
    }

    pub fn at(&self) -> &str {
        self.directory.to_str().expect("a text path")
    }

    pub fn take(&self) -> Value {
        let options = ["backup", "--output", "json", "--dataset", "main"];
        meridian(&[&options[..], &["--api", &self.api, self.at()]].concat()).json()
    }

    pub fn restore(&self, time: &str, more: &[&str]) -> Run {
        self.restore_into(&self.api, time, more)
    }

    pub fn restore_into(&self, api: &str, time: &str, more: &[&str]) -> Run {
        let options = ["restore", "--output", "json", "--from", self.at()];
        meridian(&[&options[..], &["--at", time, "--api", api], more].concat())
    }

    pub fn rows(&self, table: &str) -> Vec<(String, Value)> {
        rows(&self.system, table)
    }
}

/// Keys and documents.
fn rows(system: &System, table: &str) -> Vec<(String, Value)> {
    let page = system
        .get(0, &format!("/v1/tables/{table}/rows?limit=1000"))
        .json();
    let rows = page["rows"].as_array().expect("rows").iter();
    let row = |row: &Value| {
        let key = row["key"].as_str().expect("a key").to_owned();
        (key, row["document"].clone())
    };
    rows.map(row).collect()
}

pub fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let micros = u64::try_from(since.as_micros()).expect("not that late");
    format_time(Micros(micros))
}

fn earlier(time: &str, micros: u64) -> String {
    format_time(Micros(parse_time(time).expect("a time").0 - micros))
}

fn file(directory: &Path, end: &str) -> PathBuf {
    let files = fs::read_dir(directory).expect("a directory");
    let mut files = files.map(|file| file.expect("a file").path());
    let is_wanted = |path: &PathBuf| path.to_string_lossy().ends_with(end);
    files.find(is_wanted).expect("such a file")
}

#[test]
fn rows_are_made_what_they_were_and_later_writes_elsewhere_stay() {
    let backups = Backups::new(&["a", "b"], "");
    let system = &backups.system;
    for row in 0..40 {
        system.put(0, &format!("k{row:02}"), &format!("{{\"n\":{row}}}"));
    }
    system.client(0).delete("k05").expect("an answer");
    let first = backups.take();
    assert_eq!(first["added"][0]["kind"], "snapshot");
    system.put(0, "k01", "\"changed after the snapshot\"");
    system.client(0).delete("k02").expect("an answer");
    system
        .client(0)
        .increment("k03", "once")
        .expect("an answer");
    system.put(1, "from-b", "{\"é\":[1.50,null]}");
    system.wait_converged(&[0, 1]);
    let (time, then) = (now(), backups.rows("rows"));
    assert_eq!(then.len(), 39);

    system.put(0, "k01", "\"changed later\"");
    system.put(0, "k02", "\"back again\"");
    system.put(0, "new", "1");
    system
        .client(0)
        .increment("k03", "twice")
        .expect("an answer");
    for row in 10..30 {
        system
            .client(0)
            .delete(&format!("k{row:02}"))
            .expect("an answer");
    }
    let other = "/v1/tables/other/rows/k";
    system
        .client(0)
        .put_at(other, "\"later\"")
        .expect("an answer");
    let second = backups.take();
    assert_eq!(second["added"][0]["kind"], "entries");
    assert!(second["added"][0]["count"].as_u64() > Some(25));

    let planned = backups
        .restore(&time, &["--dry-run", "--table", "rows"])
        .json();
    assert_eq!(planned["put"], 22);
    assert_eq!(planned["deleted"], 2);
    assert_ne!(backups.rows("rows"), then, "nothing was written");
    let done = backups.restore(&time, &["--table", "rows"]).json();
    assert_eq!(
        (&done["put"], &done["deleted"]),
        (&planned["put"], &planned["deleted"])
    );
    assert_eq!(backups.rows("rows"), then);
    assert_eq!(
        backups.rows("other").len(),
        1,
        "another table is left alone"
    );
    system.wait_converged(&[0, 1]);

    let again = backups.restore(&time, &[]).json();
    assert_eq!((&again["put"], &again["deleted"]), (&0.into(), &1.into()));
    assert!(backups.rows("other").is_empty(), "the table came later");
}

#[test]
fn an_empty_system_gets_everything() {
    let backups = Backups::new(&["a"], "");
    for row in 0..300 {
        let document = format!("{{\"n\":{row},\"text\":\"{}\"}}", "words ".repeat(900));
        backups.system.put(0, &format!("k{row}"), &document);
    }
    backups.take();
    backups.system.put(0, "tail", "1");
    backups.take();
    let (time, then) = (now(), backups.rows("rows"));
    backups.take();
    let empty = System::start(&["c"], "");
    backups
        .restore_into(&empty.client(0).url(""), &time, &[])
        .json();
    assert_eq!(rows(&empty, "rows"), then);
}

#[test]
fn a_time_that_is_not_covered_is_told_with_what_is() {
    let backups = Backups::new(&["a"], "");
    backups.system.put(0, "k", "1");
    let before = earlier(&now(), 3_600_000_000);
    backups.take();
    let listed = meridian(&["backup", "list", backups.at(), "--output", "json"]).json();
    let until = listed["covers"][0]["until"]
        .as_str()
        .expect("a time")
        .to_owned();
    for time in [before.as_str(), "2099-01-01T00:00:00Z"] {
        let refused = backups.restore(time, &[]);
        assert_eq!(refused.code, 2);
        assert!(refused.talk.contains("doesn't cover"), "{}", refused.talk);
        assert!(refused.talk.contains(&until), "{}", refused.talk);
    }
    let refused = backups.restore("yesterday", &[]);
    assert_eq!(refused.code, 2);
    assert!(refused.talk.contains("hint"), "{}", refused.talk);
    let refused = backups.restore(&until, &["--dataset", "another"]);
    assert_eq!(refused.code, 2);
}

#[test]
fn a_damaged_file_is_refused_and_nothing_is_written() {
    let backups = Backups::new(&["a"], "");
    backups.system.put(0, "k", "1");
    backups.take();
    backups.system.put(0, "k", "2");
    backups.take();
    let time = now();
    backups.take();
    let verify = || meridian(&["backup", "verify", backups.at()]);
    verify().ok();
    let then = backups.rows("rows");
    backups.system.put(0, "k", "3");
    for name in ["snapshot.backup", "entries.backup"] {
        let path = file(&backups.directory, name);
        let whole = fs::read(&path).expect("its bytes");
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        let truncated = whole[..whole.len() - 7].to_vec();
        for damaged in [flipped, truncated, Vec::new()] {
            fs::write(&path, damaged).expect("damage");
            for refused in [verify(), backups.restore(&time, &[])] {
                assert_eq!(refused.code, 1, "{}", refused.talk);
                assert!(refused.talk.contains(name), "{}", refused.talk);
                assert!(refused.talk.contains("hint"), "{}", refused.talk);
            }
        }
        assert_eq!(backups.rows("rows")[0].1, 3);
        fs::write(&path, whole).expect("mended");
    }
    assert_eq!(then[0].1, 2);

    // Each that is damaged is named, and none that is whole.
    let [snapshot, entries] =
        ["snapshot.backup", "entries.backup"].map(|end| file(&backups.directory, end));
    let name = |path: &Path| {
        path.file_name()
            .and_then(|it| it.to_str())
            .map(str::to_owned)
    };
    for damaged in [&[&snapshot][..], &[&snapshot, &entries]] {
        let wholes = damaged
            .iter()
            .map(|path| fs::read(path).expect("its bytes"));
        let wholes: Vec<_> = wholes.collect();
        for path in damaged {
            fs::write(path, "damaged").expect("damage");
        }
        let run = meridian(&["backup", "verify", "--output", "json", backups.at()]);
        assert_eq!(run.code, 1, "{}", run.talk);
        let said: Value = serde_json::from_str(&run.out).expect("JSON");
        let said = said["damaged"].as_array().expect("files").iter();
        let said: BTreeSet<_> = said
            .map(|it| it["file"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(said, damaged.iter().map(|path| name(path)).collect());
        for (path, whole) in damaged.iter().zip(wholes) {
            fs::write(path, whole).expect("mended");
        }
    }
    verify().ok();
    fs::remove_file(entries).expect("removed");
    assert_eq!(verify().code, 1);
}

/// Whoever looks after a region asks what it has, however much an application's reads are to show.
#[test]
fn what_a_region_has_can_be_looked_at_and_restored_whatever_its_datasets_promise() {
    let backups = Backups::new(&["a"], "consistency = \"causal\"\n");
    let client = backups.system.client(0);
    client.put("k", "1").expect("an answer");
    backups.take();
    let before = now();
    client.put("k", "2").expect("an answer");
    backups.take();

    let mistyped = backups.restore(&before, &["--table", "rowz"]);
    assert_eq!(mistyped.code, 4, "{}", mistyped.out);
    let restored = backups.restore(&before, &[]).json();
    assert_eq!(restored["put"], 1, "{restored}");
    let tables = |arguments: &[&str]| {
        let more = ["--consistency", "session", "--api", backups.api.as_str()];
        meridian(&[&["tables"], arguments, &more[..]].concat())
    };
    let listed = tables(&["list", "rows"]).ok();
    assert!(
        listed.starts_with("k\t") && listed.ends_with("\t1\n"),
        "{listed}"
    );
    assert_eq!(tables(&["export", "rows"]).ok(), "1\n");
    assert_eq!(tables(&["list", "nowhere"]).code, 4);
    meridian(&["conflicts", "--api", &backups.api]).ok();
}

#[test]
fn a_backup_goes_on_with_the_region_that_began_it() {
    let backups = Backups::new(&["a", "b"], "");
    assert_eq!(backups.system.put(0, "row", "1").status, 201);
    backups.system.wait_converged(&[0, 1]);
    backups.take();
    let b = backups.system.client(1).url("");
    let of_b = ["backup", "--dataset", "main", "--api", &b];
    let refused = meridian(&[&of_b[..], &[backups.at()]].concat());
    assert_eq!(refused.code, 1, "{}", refused.talk);
    let said = "was last taken from region a, and this is region b";
    assert!(refused.talk.contains(said), "{}", refused.talk);
    assert!(refused.talk.contains("--full"), "{}", refused.talk);
    backups.take();
    let whole = meridian(&[&of_b[..], &["--full", backups.at()]].concat());
    assert_eq!(whole.code, 0, "{}", whole.talk);
    assert!(whole.talk.contains("warning: "), "{}", whole.talk);
    let files = meridian(&["backup", "list", backups.at()]).ok();
    let regions = files.lines().skip(1).map(|line| {
        let mut cells = line.split_whitespace();
        cells.nth(1).expect("a region").to_owned()
    });
    let regions: Vec<_> = regions.collect();
    assert_eq!(regions, ["a", "a", "b"], "{files}");
    let covers = meridian(&["backup", "list", "--output", "json", backups.at()]).json();
    assert_eq!(
        covers["covers"].as_array().map(Vec::len),
        Some(2),
        "{covers}"
    );

    let until = covers["covers"][1]["until"].as_str().expect("a time");
    let misspelt = backups.restore(until, &["--dry-run", "--table", "rowz"]);
    assert_eq!(misspelt.code, 4, "{}", misspelt.talk);
    assert!(misspelt.talk.contains("did you mean"), "{}", misspelt.talk);
}
