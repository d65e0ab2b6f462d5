//! Two regions with tables and a witness.

use crate::members::{Load, join, members, restrict, standing};
use crate::system::{Reply, System, meridian};
use serde_json::{Value, json};
use std::fs;

/// Every region's file says that this one is a witness.
fn appoint(system: &System, witness: usize) {
    for region in 0..system.names.len() {
        appoint_in(system, region, witness);
    }
}

fn appoint_in(system: &System, region: usize, witness: usize) {
    let path = system.topology_path(region);
    let text = fs::read_to_string(&path).expect("a topology");
    let name = format!("name = \"{}\"\n", system.names[witness]);
    let text = text.replace(&name, &format!("{name}witness = true\n"));
    fs::write(path, text).expect("it is written");
}

fn names(system: &System, at: usize) -> Vec<String> {
    let members = members(system, at).into_iter();
    members.map(|(name, _)| name).collect()
}

fn evict(system: &System, at: usize, region: &str) -> Reply {
    let body = json!({ "decided_by": "majority", "confirm": region }).to_string();
    let path = format!("/v1/regions/{region}/evict");
    let reply = system.client(at).post(&path, &body).expect("an answer");
    assert!(matches!(reply.status, 202 | 409), "{reply:?}");
    reply
}

fn has_row(system: &System, at: usize, key: &str, document: &str) -> bool {
    let row = system.client(at).row(key);
    row.is_ok_and(|row| row.body == document)
}

#[test]
fn a_lost_region_is_evicted_without_a_person_and_comes_back_and_nobody_notices() {
    let mut system = System::prepare(&["a", "b", "w"], "acknowledgement = \"one-remote\"\n");
    appoint(&system, 2);
    for region in 0..3 {
        system.start_region(region);
    }
    for region in 0..3 {
        system.wait_ready(region);
    }
    assert_eq!(system.put(0, "first", "1").status, 201);
    system.wait_converged(&[0, 1]);

    // A client that comes to the witness is told where to go.
    for reply in [
        system.client(2).row("first").expect("an answer"),
        system.put(2, "first", "2"),
        system.get(2, "/v1/datasets/main/backup"),
    ] {
        assert_eq!(reply.status, 421, "{reply:?}");
        let problem = reply.json();
        assert_eq!(problem["type"], "/problems/witness");
        let told: Vec<&Value> = problem["regions"]
            .as_array()
            .expect("regions")
            .iter()
            .collect();
        assert_eq!(told.len(), 2, "{problem}");
        assert_eq!(told[0]["api"], system.api(0).to_string());
    }
    let status = system.get(2, "/v1/status").json();
    assert_eq!(status["witness"], true);
    assert_eq!(status["datasets"][0]["tables"], json!([]));
    let page = system.get(2, "/metrics").body;
    assert!(page.contains("meridian_witness{} 1\n"), "{page}");
    let listed = meridian(&["regions", "list", "--api", &system.api_url(0)]);
    assert!(listed.contains("voting, a witness"), "{listed}");

    let load = Load::start(&[system.client(0), system.client(0)]);
    // Of what b writes from now on, only the witness hears; then nobody does.
    system.cut(0, 1);
    system.cut(0, 2);
    assert_eq!(system.put(1, "confided", "\"b\"").status, 201);
    assert!(!has_row(&system, 0, "confided", "\"b\""));
    system.cut(2, 1);
    for key in ["new", "contested"] {
        let written = system.put(1, key, "\"b\"");
        assert_eq!(written.status, 202, "nobody confirms it: {written:?}");
    }
    system.kill(1);
    system.heal();
    system.until("what the witness alone held reaches the survivor", || {
        has_row(&system, 0, "confided", "\"b\"")
    });
    assert_eq!(system.put(0, "contested", "0").status, 201);
    system.until("two of three agree that b is gone", || {
        evict(&system, 0, "b").status == 202
    });
    for at in [0, 2] {
        system.until("b doesn't count", || names(&system, at) == ["a", "w"]);
    }
    let last = evict(&system, 2, "a");
    assert_eq!(last.json()["type"], "/problems/last-region", "{last:?}");
    assert_eq!(
        system.put(0, "alone", "1").status,
        201,
        "the witness holds it"
    );

    system.start_region(1);
    system.until("b learns that it is evicted", || {
        standing(&system, 1) == "evicted"
    });
    let at = system.api_url(0);
    meridian(&["regions", "rejoin", "b", "--api", &at, "--timeout", "50"]);
    system.wait_ready(1);
    system.until("what b alone held and nobody changed is everywhere", || {
        has_row(&system, 0, "new", "\"b\"")
    });
    // Others may have the row before this region has noted that it was written again.
    system.until("it is noted", || {
        system.get(1, "/v1/aside").json()["counts"]["resubmitted"] == 1
    });
    let aside = system.get(1, "/v1/aside").json();
    assert_eq!(
        aside["aside"][0]["rows"],
        json!(["rows/contested"]),
        "{aside}"
    );
    let tally = load.end();
    assert!(tally.errors.is_empty(), "{:?}", &tally.errors[..1]);
    assert!(tally.writes.len() > 100, "only {}", tally.writes.len());
    system.wait_converged(&[0, 1]);
}

#[test]
fn a_witness_joins_gives_nobody_a_copy_and_never_becomes_anything_else() {
    let mut system = System::prepare(&["a", "b", "w"], "");
    let whole = fs::read_to_string(system.topology_path(0)).expect("a topology");
    appoint(&system, 2);
    restrict(&system, 0, 1);
    system.start_region(0);
    system.wait_ready(0);
    for row in 0..200 {
        assert_eq!(system.put(0, &format!("row-{row}"), "1").status, 201);
    }
    // The witness knows what it is; a learns it when its file is written anew.
    let to_w = system.link(2);
    join(&mut system, 2, to_w);
    let status = system.get(2, "/v1/status").json();
    assert_eq!(status["datasets"][0]["tables"], json!([]), "{status}");
    let to_b = system.link(1);
    join(&mut system, 1, to_b);
    system.terminate(0);
    fs::write(system.topology_path(0), whole).expect("it is written");
    appoint_in(&system, 0, 2);
    system.start_region(0);
    system.wait_ready(0);
    for at in 0..3 {
        system.until("all three vote", || {
            let voting = |name: &str| (name.to_owned(), "voting".to_owned());
            members(&system, at) == ["a", "b", "w"].map(voting)
        });
    }
    let said = system.get(0, "/v1/regions").json();
    assert_eq!(said["datasets"][0]["members"][2]["witness"], true, "{said}");
    system.wait_converged(&[0, 1]);
    assert!(has_row(&system, 1, "row-199", "1"), "the copy is a's");

    // Lost and evicted, it comes back like any other region.
    system.kill(2);
    system.until("two of three agree that w is gone", || {
        evict(&system, 1, "w").status == 202
    });
    system.until("w doesn't count", || names(&system, 0) == ["a", "b"]);
    system.start_region(2);
    system.until("w learns that it is evicted", || {
        standing(&system, 2) == "evicted"
    });
    let at = system.api_url(0);
    meridian(&["regions", "rejoin", "w", "--api", &at, "--timeout", "50"]);
    system.wait_ready(2);
    assert_eq!(
        system.client(2).row("row-1").expect("an answer").status,
        421
    );
    assert_eq!(system.put(0, "after", "1").status, 201);
    system.wait_converged(&[0, 1]);

    // It isn't opened as what it never was.
    system.kill(2);
    let path = system.topology_path(2);
    let text = fs::read_to_string(&path).expect("a topology");
    fs::write(&path, text.replace("witness = true\n", "")).expect("it is written");
    system.start_region(2);
    system.until("it says what is wrong", || {
        let status = system.try_get(2, "/v1/status").map(|reply| reply.json());
        let reason = status.map(|it| it["datasets"][0]["reason"].to_string());
        reason.is_some_and(|reason| reason.contains("was begun by a witness"))
    });
}
