//! Silent damage in one region's tables: found, reported, mended, and nothing else touched.

use crate::system::{System, meridian_exit};
use meridian_engine_kv::FjallStore;
use meridian_engine_kv::damage::{Damage, damage, record, rows};
use meridian_model::RowName;
use serde_json::Value;
use std::fmt::Write as _;

/// Rows of the table; a million with `MERIDIAN_REPAIR_ROWS=1000000`.
fn row_count() -> usize {
    let given = std::env::var("MERIDIAN_REPAIR_ROWS");
    given.map_or(20_000, |rows| {
        rows.parse().expect("MERIDIAN_REPAIR_ROWS is a number")
    })
}

fn name(key: &str) -> RowName {
    RowName {
        table: "rows".to_owned(),
        key: key.to_owned(),
    }
}

fn key(index: usize) -> String {
    format!("row-{index:07}")
}

/// The tables of a region that doesn't run.
fn store(system: &System, region: usize) -> FjallStore {
    let tables = system.data_dir(region).join("datasets/main/tables");
    FjallStore::open(&tables).expect("the region is stopped")
}

fn load(system: &System, count: usize) {
    let mut file = String::new();
    for index in 0..count {
        let (key, value) = (key(index), index * 7);
        writeln!(
            file,
            r#"{{"key":"{key}","value":{value},"text":"as it was written"}}"#
        )
        .expect("text");
    }
    let path = system.directory.path().join("rows.jsonl");
    std::fs::write(&path, file).expect("a file");
    let api = system.api_url(0);
    let (path, api) = (path.to_str().expect("text"), api.as_str());
    crate::system::meridian(&[
        "tables", "import", "rows", path, "--key", "key", "--api", api,
    ]);
}

fn compare(system: &System, arguments: &[&str]) -> (i32, Value) {
    let urls: Vec<String> = (0..system.names.len())
        .map(|region| system.api_url(region))
        .collect();
    let apis: Vec<&str> = urls.iter().flat_map(|url| ["--api", url]).collect();
    let start = ["tables", "compare", "--output", "json"];
    let (code, out) = meridian_exit(&[&start[..], arguments, &apis].concat());
    (
        code,
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("not JSON: {out}")),
    )
}

fn count(compared: &Value, what: &str) -> u64 {
    let regions = compared.as_array().expect("regions").iter();
    let datasets = regions.flat_map(|region| region["datasets"].as_array().expect("datasets"));
    datasets.filter_map(|dataset| dataset[what].as_u64()).sum()
}

/// Waits until every region has a connection to every other, on which it may ask.
fn wait_linked(system: &System) {
    let regions = 0..system.names.len();
    for (one, other) in regions
        .clone()
        .flat_map(|one| regions.clone().map(move |other| (one, other)))
    {
        let linked = || one == other || system.stream(one, other).0 == "streaming";
        system.until("the regions are linked", linked);
    }
}

/// The raw records of all rows.
fn records(store: &FjallStore) -> Vec<(RowName, Vec<u8>)> {
    let names = rows(store).expect("it reads");
    let read = |name: RowName| {
        let bytes = record(store, &name).expect("it reads").expect("a record");
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

#[test]
fn silent_damage_is_found_and_mended_and_nothing_else_is_touched() {
    let rows_count = row_count();
    let mut system = System::start(&["a", "b", "c"], "compare-every = \"0s\"\n");
    load(&system, rows_count);
    system.wait_converged(&[0, 1, 2]);
    let before = system.checksum(0).expect("a checksum");

    system.kill(1);
    let damaged_store = store(&system, 1);
    let good = records(&damaged_store);
    let mut random = fastrand::Rng::with_seed(7);
    let mut victims = std::collections::BTreeSet::new();
    while victims.len() < 200 {
        victims.insert(random.usize(0..rows_count));
    }
    for (turn, index) in victims.iter().enumerate() {
        let kind = match turn % 3 {
            0 => Damage::Flip,
            1 => Damage::Rewrite,
            _ => Damage::Drop,
        };
        let struck = damage(&damaged_store, &name(&key(*index)), &kind);
        assert!(struck.expect("it is written"));
    }
    // A row that nobody ever wrote.
    let (_, bytes) = &good[0];
    let invented = damage(
        &damaged_store,
        &name("invented"),
        &Damage::Restore(bytes.clone()),
    );
    assert!(invented.expect("it is written"));
    drop(damaged_store);
    system.start_region(1);
    system.wait_ready(1);

    wait_linked(&system);

    // Found, and nothing done about it.
    let (code, found) = compare(&system, &[]);
    let compared = &found["compared"];
    assert_eq!((code, count(compared, "found")), (1, 201), "{found}");

    // Mended.
    let (code, outcome) = compare(&system, &["--repair"]);
    assert_eq!(code, 0, "{outcome}");
    let mended = &outcome["mended"];
    let by_region = |region: &str| {
        let all = mended.as_array().expect("regions").iter();
        let own: Vec<Value> = all.filter(|at| at["region"] == region).cloned().collect();
        count(&Value::Array(own), "mended")
    };
    assert_eq!(
        (by_region("a"), by_region("b"), by_region("c")),
        (0, 201, 0)
    );
    for region in 0..3 {
        assert_eq!(
            system.checksum(region).as_ref(),
            Some(&before),
            "region {region}"
        );
    }
    let integrity = system.get(1, "/v1/integrity").json();
    let dataset = &integrity["datasets"][0];
    assert_eq!(dataset["mended"], 201, "{integrity}");
    assert_eq!(dataset["waiting"], serde_json::json!([]), "{integrity}");
    let share = dataset["peers"][0]["equal_share"]
        .as_f64()
        .expect("a figure");
    assert!(share > 0.98 && share < 1.0, "{integrity}");

    // Every record is what it was, to the byte, the damaged ones too.
    system.kill(1);
    let mended_store = store(&system, 1);
    assert!(records(&mended_store) == good, "the records differ");
}

#[test]
fn a_damaged_row_is_refused_where_it_is_read_and_mended_at_once() {
    let mut system = System::start(&["a", "b", "c"], "compare-every = \"0s\"\n");
    system.put(0, "row-1", "{\"n\":1}");
    system.wait_converged(&[0, 1, 2]);
    system.kill(0);
    assert!(damage(&store(&system, 0), &name("row-1"), &Damage::Flip).expect("it is written"));
    system.part(0, 1);
    system.part(0, 2);
    system.start_region(0);
    system.wait_ready(0);
    for path in [
        "/v1/tables/rows/rows/row-1",
        "/v1/tables/rows/rows",
        "/v1/tables/rows/checksum",
    ] {
        let refused = system.get(0, path);
        assert_eq!(refused.status, 503, "{refused:?}");
        let problem = refused.json();
        assert_eq!(problem["type"], "/problems/row-damaged", "{problem}");
        assert_eq!(
            (&problem["table"], &problem["key"]),
            (&"rows".into(), &"row-1".into())
        );
    }
    let refused = system.put(0, "row-1", "{\"n\":2}");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(
        system.put(0, "row-2", "{\"n\":2}").status,
        201,
        "other rows are written"
    );
    assert_eq!(system.get(0, "/v1/status").status, 200);
    system.heal();
    system.until("the row is mended", || {
        let reply = system.client(0).row("row-1").expect("an answer");
        reply.status == 200 && reply.body == "{\"n\":1}"
    });
}

#[test]
fn a_write_to_a_damaged_row_waits_for_a_good_copy_and_the_dataset_goes_on() {
    let mut system = System::start(&["a", "b"], "compare-every = \"0s\"\n");
    system.put(0, "counter", "{\"n\":5}");
    system
        .client(0)
        .increment("counter", "one")
        .expect("an answer");
    system.wait_converged(&[0, 1]);
    system.kill(1);
    let tables = store(&system, 1);
    assert!(damage(&tables, &name("counter"), &Damage::Flip).expect("it is written"));
    drop(tables);
    // Region a writes to it while b is down, so that b meets the damage when it applies that.
    for step in 0..5 {
        system
            .client(0)
            .increment("counter", &format!("more-{step}"))
            .expect("an answer");
        system.put(0, &format!("after-{step}"), "1");
    }
    system.start_region(1);
    system.wait_ready(1);
    system.wait_converged(&[0, 1]);
    let reply = system.client(1).row("counter").expect("an answer");
    assert_eq!(reply.body, "{\"n\":11}", "no increment counts twice");
    assert_eq!(system.put(1, "counter", "{\"n\":0}").status, 200);
    // It outlives a restart.
    system.kill(1);
    system.start_region(1);
    system.wait_ready(1);
    system.wait_converged(&[0, 1]);
}

#[test]
fn two_regions_that_stand_still_at_different_rows_do_not_wait_for_each_other() {
    let mut system = System::start(&["a", "b"], "compare-every = \"0s\"\n");
    for key in ["x", "y"] {
        system.put(0, key, "{\"n\":5}");
    }
    system.wait_converged(&[0, 1]);
    let write_alone = |system: &System, region: usize, key: &str| {
        for step in 0..5 {
            let step = format!("{key}-{step}");
            system.put(region, &format!("only-{step}"), "1");
            let client = system.client(region);
            client.increment(key, &step).expect("an answer");
        }
    };
    let strike = |system: &System, region: usize, key: &str| {
        let struck = damage(&store(system, region), &name(key), &Damage::Flip);
        assert!(struck.expect("it is written"));
    };
    // Each writes, alone, to the row that is damaged in the other, and to some that are only there.
    system.kill(1);
    strike(&system, 1, "y");
    write_alone(&system, 0, "y");
    system.kill(0);
    strike(&system, 0, "x");
    system.start_region(1);
    system.wait_ready(1);
    write_alone(&system, 1, "x");
    system.start_region(0);
    system.wait_ready(0);
    system.wait_converged(&[0, 1]);
    for key in ["x", "y"] {
        for region in [0, 1] {
            let reply = system.client(region).row(key).expect("an answer");
            assert_eq!(reply.body, "{\"n\":10}", "{key} in region {region}");
        }
    }
}

#[test]
fn what_no_rule_decides_waits_for_a_person() {
    let mut system = System::start(&["a", "b"], "compare-every = \"0s\"\n");
    system.put(0, "row-1", "{\"n\":1}");
    system.put(0, "row-2", "{\"n\":2}");
    system.wait_converged(&[0, 1]);
    system.kill(1);
    let tables = store(&system, 1);
    assert!(damage(&tables, &name("row-1"), &Damage::Rewrite).expect("it is written"));
    assert!(damage(&tables, &name("row-2"), &Damage::Drop).expect("it is written"));
    drop(tables);
    system.start_region(1);
    system.wait_ready(1);
    wait_linked(&system);
    let (code, outcome) = compare(&system, &["--repair"]);
    assert_eq!(
        (code, count(&outcome["compared"], "left")),
        (1, 2),
        "{outcome}"
    );
    let integrity = system.get(0, "/v1/integrity").json();
    let waiting = integrity["datasets"][0]["waiting"].as_array().cloned();
    assert_eq!(waiting.map_or(0, |rows| rows.len()), 2, "{integrity}");
    let (code, outcome) = compare(&system, &["--repair", "--prefer", "a", "rows", "row-1"]);
    assert_eq!(code, 0, "{outcome}");
    let (code, outcome) = compare(&system, &["--repair", "--prefer", "b", "rows", "row-2"]);
    assert_eq!(code, 0, "{outcome}");
    for region in 0..2 {
        let client = system.client(region);
        assert_eq!(client.row("row-1").expect("an answer").body, "{\"n\":1}");
        assert_eq!(client.row("row-2").expect("an answer").status, 404);
    }
    system.wait_converged(&[0, 1]);
}
