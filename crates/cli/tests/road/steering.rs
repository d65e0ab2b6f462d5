//! Drains and shifts over three regions: what is wanted in one holds in all, and survives.

use crate::system::{MERIDIAN, System, meridian};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What stands in a region, as it says: each region that something is wanted of, and what.
fn wishes(system: &System, at: usize) -> Vec<(String, String)> {
    let listed = system.get(at, "/v1/shifts").json();
    let wishes = listed["wishes"].as_array().expect("wishes").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    wishes
        .map(|wish| (text(&wish["region"]), text(&wish["want"])))
        .collect()
}

/// The tier of each region for a client, in the order of the answer.
fn tiers(system: &System, at: usize) -> Vec<(String, String)> {
    let route = system.get(at, "/v1/route?client=193.0.6.139").json();
    let regions = route["regions"].as_array().expect("regions").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    regions
        .map(|it| (text(&it["region"]), text(&it["tier"])))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

fn wait_wishes(system: &System, regions: &[usize], expected: &[(&str, &str)]) {
    for region in regions {
        system.until(&format!("{expected:?} is wanted in {region}"), || {
            wishes(system, *region) == pairs(expected)
        });
    }
}

fn is_drained(system: &System, at: usize, region: &str) -> bool {
    let tiers = tiers(system, at);
    tiers.len() == 3 && tiers[2] == (region.to_owned(), "drained".to_owned())
}

/// Runs `meridian` at a region; its exit code, and what it said.
fn run(system: &System, at: usize, line: &[&str]) -> (i32, String) {
    let url = system.api_url(at);
    let output = Command::new(MERIDIAN)
        .args(line)
        .args(["--api", &url])
        .output()
        .expect("meridian starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    (output.status.code().expect("an exit"), said)
}

/// Runs it, and expects success.
fn ok(system: &System, at: usize, line: &[&str]) -> String {
    let (code, said) = run(system, at, line);
    assert_eq!(code, 0, "{line:?}: {said}");
    said
}

#[test]
fn a_drain_in_one_region_holds_in_all_survives_their_deaths_and_is_undone() {
    let mut system = System::start(&["a", "b", "c"], "");
    ok(
        &system,
        0,
        &["drain", "b", "--who", "ann", "--why", "a disk is changed"],
    );
    wait_wishes(&system, &[0, 1, 2], &[("b", "drained")]);
    for region in 0..3 {
        system.until("answers go by it", || is_drained(&system, region, "b"));
    }
    let history = ok(&system, 2, &["shift", "history", "--output", "json"]);
    let history: Value = serde_json::from_str(&history).expect("JSON");
    assert_eq!(
        (&history[0]["who"], &history[0]["why"]),
        (&json!("ann"), &json!("a disk is changed"))
    );

    for region in 0..3 {
        system.kill(region);
    }
    // With every peer gone, from the start of the process on.
    system.start_region(2);
    system.until("it answers", || {
        let reply = system.try_get(2, "/v1/route?client=193.0.6.139");
        reply.is_some_and(|reply| reply.status == 200)
    });
    // Peers that it can't reach it may leave out.
    assert_ne!(tiers(&system, 2)[0].0, "b");
    assert_eq!(wishes(&system, 2), pairs(&[("b", "drained")]));

    // Its undo reaches those that come back later.
    let version = history[0]["version"].as_str().expect("a version");
    ok(&system, 2, &["shift", "undo", version, "--who", "ben"]);
    system.start_region(0);
    system.start_region(1);
    for region in 0..3 {
        system.wait_ready(region);
    }
    wait_wishes(&system, &[0, 1, 2], &[]);
    let (code, said) = run(&system, 0, &["shift", "undo", version]);
    assert_eq!(code, 1, "{said}");
}

#[test]
fn two_sides_that_drain_all_regions_between_them_leave_one() {
    // A region that is cut off takes the others to be down after a while; not within this test.
    let patient = "[health]\npreset = \"standard\"\n";
    let mut system = System::start(&["a", "b", "c"], patient);
    ok(&system, 0, &["drain", "c", "--why", "first"]);
    wait_wishes(&system, &[0, 1, 2], &[("c", "drained")]);
    let (code, said) = run(
        &system,
        1,
        &[
            "shift",
            "set",
            "a=drained",
            "b=drained",
            "--why",
            "all",
            "--apply",
            "--force",
        ],
    );
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("last healthy region"), "{said}");

    // Neither side knows of the other.
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
    ok(&system, 0, &["drain", "a", "--why", "here", "--force"]);
    ok(&system, 1, &["drain", "b", "--why", "there", "--force"]);
    system.heal();
    wait_wishes(
        &system,
        &[0, 1, 2],
        &[("a", "drained"), ("b", "drained"), ("c", "drained")],
    );
    let version = |region: usize, name: &str| {
        let listed = system.get(region, "/v1/shifts").json();
        let wishes = listed["wishes"].as_array().expect("wishes").clone();
        let wish = wishes.into_iter().find(|wish| wish["region"] == name);
        crate::system::version(
            wish.expect("a wish")["version"]
                .as_str()
                .expect("a version"),
        )
    };
    let newest = if version(0, "a") > version(0, "b") {
        "a"
    } else {
        "b"
    };
    for region in 0..3 {
        system.until("all go on with the region that was drained last", || {
            let tiers = tiers(&system, region);
            let first = tiers.first().cloned();
            first.is_some_and(|(name, tier)| name == newest && tier != "drained")
                && tiers[1..].iter().all(|(_, tier)| tier == "drained")
        });
    }
    let listed = system.get(2, "/v1/shifts").json();
    let ignored = listed["wishes"]
        .as_array()
        .expect("wishes")
        .iter()
        .find(|wish| wish["region"] == newest);
    assert_eq!(ignored.expect("a wish")["ignored_by"], json!(["app"]));
    let (code, said) = run(&system, 2, &["drain", newest, "--why", "again"]);
    assert_eq!(code, 1, "nothing changes: {said}");
    // Whoever dies meanwhile comes to the same.
    system.kill(0);
    system.start_region(0);
    system.wait_ready(0);
    assert_eq!(tiers(&system, 0)[0].0, newest);
}

#[test]
fn what_a_region_has_lost_the_others_tell_it_again() {
    let mut system = System::start(&["a", "b", "c"], "");
    ok(
        &system,
        0,
        &[
            "shift",
            "set",
            "b=25%",
            "--name",
            "app",
            "--why",
            "a release",
            "--apply",
        ],
    );
    wait_wishes(&system, &[0, 1, 2], &[("b", "25%")]);
    system.kill(1);
    let file = system.data_dir(1).join("desired");
    let mut bytes = std::fs::read(&file).expect("the file");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");
    system.start_region(1);
    system.wait_ready(1);
    wait_wishes(&system, &[1], &[("b", "25%")]);
    assert!(system.data_dir(1).join("desired.damaged").exists());
    assert!(system.talk(1).contains("it is asked of the other regions"));
}

#[test]
fn a_stage_is_shown_applied_and_discarded_from_the_command_line() {
    let system = System::start(&["a", "b"], "");
    let staged = ok(&system, 0, &["shift", "set", "b=50%", "--why", "a release"]);
    let id = staged.rsplit(' ').next().expect("a word").trim();
    assert!(staged.contains("as-usual  50%"), "{staged}");
    assert_eq!(wishes(&system, 0), []);
    ok(&system, 0, &["shift", "discard", id]);
    let (code, _) = run(&system, 0, &["shift", "apply", id]);
    assert_eq!(code, 1);
    let staged = ok(&system, 0, &["shift", "set", "b=50%", "--why", "a release"]);
    let id = staged.rsplit(' ').next().expect("a word").trim();
    ok(&system, 0, &["shift", "apply", id]);
    wait_wishes(&system, &[0, 1], &[("b", "50%")]);
    let explain = [
        "route",
        "explain",
        "--client",
        "193.0.6.139",
        "--name",
        "app",
    ];
    // One that has just been seen for the first time may be on its way back still.
    system.until("its share shows", || {
        ok(&system, 1, &explain).contains("50%")
    });
    let (code, said) = run(
        &system,
        1,
        &[
            "route",
            "explain",
            "--client",
            "193.0.6.139",
            "--name",
            "apq",
        ],
    );
    assert_eq!(code, 1);
    assert!(said.contains("hint: did you mean \"app\"?"), "{said}");
    let listed = ok(&system, 1, &["shift", "list"]);
    assert!(listed.contains("a release"), "{listed}");
}

#[test]
fn a_file_that_says_nothing_of_places_keeps_a_region_from_starting() {
    let system = System::prepare(&["a"], "");
    let serve = |geo: &Path| {
        let output = Command::new(MERIDIAN)
            .args(["serve", "--region", "a", "--config"])
            .arg(system.topology_path(0))
            .arg("--data-dir")
            .arg(system.data_dir(0))
            .arg("--geo")
            .arg(geo)
            .output()
            .expect("meridian starts");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let file = system.directory.path().join("places.mmdb");
    let said = serve(&file);
    assert!(
        said.contains("can't be read") && said.contains("hint: --geo takes"),
        "{said}"
    );
    std::fs::write(&file, "latitude,longitude\n").expect("it is written");
    let said = serve(&file);
    assert!(said.contains("no database in MaxMind's format"), "{said}");
    // The command line itself is sound.
    assert!(meridian(&["serve", "--help"]).contains("--geo <FILE>"));
}
