//! Dead letters with real processes: one that was committed before the region's process began, by
//! the same library, so that it reaches everybody the way any transaction does.

use crate::system::{System, meridian, meridian_exit};
use meridian_engine_kv::{FjallStore, Limits, Tables};
use meridian_log::{Directory, Log, LogConfig};
use meridian_model::{Change, Micros, Operation, OriginId, RegionName, Version};
use meridian_replicate::{Config, Engine as _, Executed, Now, Replica};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Founds dataset `main` of region `a` in its data directory, with a row, a transaction that changes
/// another row twice, and a row after it.
fn found_with_a_letter(data_dir: &Path) -> Version {
    let at = data_dir.join("datasets").join("main");
    let store = FjallStore::open(&at.join("tables")).expect("a store");
    let tables = Tables::open(store, Limits::default()).expect("tables");
    let disk = Directory::open(at.join("log")).expect("a directory");
    let log = Log::open(disk, LogConfig::default(), tables.position()).expect("a log");
    let config = Config {
        region: RegionName::new("a"),
        regions: vec![RegionName::new("a"), RegionName::new("b")],
        log_bytes_max: 1 << 30,
        log_bytes_limit: 1 << 30,
        drift_max: Duration::from_millis(500),
        report_interval: Duration::from_millis(500),
        settle: Duration::ZERO,
        log_retention: Duration::ZERO,
        wire_version: meridian_model::WIRE_VERSION_MAX,
        witnesses: std::collections::BTreeSet::new(),
        arrival: meridian_replicate::Arrival::Founding,
        evict_after: None,
    };
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let now = Now {
        wall: Micros(u64::try_from(since_1970.as_micros()).expect("a sane clock")),
        elapsed: Duration::ZERO,
    };
    let mut replica = Replica::open(config, log, tables, OriginId(7), now).expect("a replica");
    let change = |key: &str, document: &str| Change {
        table: "rows".to_owned(),
        key: key.to_owned(),
        operation: Operation::Put {
            document: document.to_owned(),
        },
    };
    let mut commit = |changes: Vec<Change>| {
        let written = replica.write(now, |_, version| {
            Ok::<_, ()>(Executed {
                changes,
                idempotency: None,
                reply: version,
            })
        });
        replica.flush(now).expect("a commit");
        written.expect("a write")
    };
    commit(vec![change("before", "1")]);
    let letter = commit(vec![change("bad", "1"), change("bad", "2")]);
    commit(vec![change("after", "1")]);
    letter
}

fn start(dataset: &str) -> (System, String) {
    let mut system = System::prepare(&["a", "b"], dataset);
    let letter = found_with_a_letter(&system.data_dir(0)).to_string();
    for region in 0..2 {
        system.start_region(region);
    }
    (system, letter)
}

fn letters(system: &System, region: usize) -> Vec<String> {
    let found = system.get(region, "/v1/dead-letters").json();
    let letters = found["dead_letters"].as_array().expect("a list");
    let ids = letters.iter().map(|letter| letter["id"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

fn api(system: &System, region: usize) -> String {
    let text = std::fs::read_to_string(system.topology_path(region)).expect("a topology");
    let line = text
        .lines()
        .filter(|line| line.starts_with("api = "))
        .nth(region);
    let address = line.and_then(|line| line.split('"').nth(1));
    format!("http://{}", address.expect("an address"))
}

fn has(system: &System, region: usize, key: &str) -> bool {
    let row = system.client(region).row(key);
    row.is_ok_and(|row| row.status == 200)
}

#[test]
fn a_letter_is_set_aside_in_every_region_and_goes_from_all_when_one_decides() {
    let (system, letter) = start("");
    system.wait_ready(0);
    system.wait_ready(1);
    system.until("what follows the letter is at b", || {
        has(&system, 1, "after")
    });
    assert!(has(&system, 1, "before") && !has(&system, 1, "bad"));
    for region in 0..2 {
        assert_eq!(letters(&system, region), std::slice::from_ref(&letter));
        let (name, said) = (&system.names[region], system.talk(region));
        system.until("it is said", || system.talk(region).contains("dead letter"));
        let metrics = system.get(region, "/metrics").body;
        let gauge = "meridian_dead_letters_waiting{dataset=\"main\"} 1";
        assert!(metrics.contains(gauge), "{name}: {metrics}\n{said}");
        let shown = meridian(&["status", "--api", &api(&system, region)]);
        assert!(shown.contains("1 dead letter"), "{shown}");
    }
    let path = format!("/v1/dead-letters/{letter}");
    let shown = system.get(1, &path).json();
    assert_eq!(shown["operations"][1]["document"], 2, "{shown}");
    assert_eq!(shown["region"], "a", "{shown}");
    // b replaces it, with the command line.
    let file = system.directory.path().join("operations.json");
    let operations = r#"{"operations":[{"op":"put","table":"rows","key":"bad","document":3}]}"#;
    std::fs::write(&file, operations).expect("a file");
    let file = file.to_str().expect("a text path");
    let api = api(&system, 1);
    meridian(&["dead-letters", "edit", &letter, file, "--api", &api]);
    for region in 0..2 {
        system.until("the letter is gone", || letters(&system, region).is_empty());
        system.until("its place is taken", || {
            system.client(region).row("bad").expect("an answer").body == "3"
        });
    }
    let again = system.client(0).delete_at(&path).expect("an answer");
    assert_eq!(again.status, 404, "{again:?}");
    system.wait_converged(&[0, 1]);
}

#[test]
fn a_dataset_that_is_to_stop_at_letters_says_so_until_one_decides() {
    let (mut system, letter) = start("dead-letters = \"stop\"\n");
    system.until("b stands at the letter", || {
        system.try_get(1, "/v1/status").is_some_and(|status| {
            status.status == 200 && status.json()["datasets"][0]["state"] == "stopped"
        })
    });
    let status = system.get(1, "/v1/status").json();
    let reason = status["datasets"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains(&letter), "{reason}");
    assert!(has(&system, 1, "before") && !has(&system, 1, "after"));
    let refused = system.put(1, "own", "1");
    assert_eq!(refused.status, 503, "{refused:?}");
    // Stopped or not, it logs: also what comes while it stands, and also after a crash.
    assert_eq!(system.put(0, "later", "1").status, 201);
    system.until("b has logged it", || {
        let position = |region| system.get(region, "/v1/status").json();
        let at = |region| position(region)["datasets"][0]["position"].as_u64();
        at(1) >= Some(6)
    });
    system.kill(1);
    system.start_region(1);
    system.until("b answers", || system.try_get(1, "/livez").is_some());
    assert_eq!(letters(&system, 1), std::slice::from_ref(&letter));
    assert!(!has(&system, 1, "after"));
    // After its crash it has to hear first which wire version the other speaks.
    let drop = ["dead-letters", "drop", &letter, "--api", &api(&system, 1)];
    system.until("b decides", || meridian_exit(&drop).0 == 0);
    assert!(has(&system, 1, "after") && has(&system, 1, "later"));
    assert_eq!(system.put(1, "own", "1").status, 201);
    system.until("the letter is gone", || letters(&system, 0).is_empty());
    system.wait_converged(&[0, 1]);
}
