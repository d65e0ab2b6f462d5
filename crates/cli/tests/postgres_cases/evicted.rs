//! A region with its server is evicted.

use crate::system::{REGIONS, System, ended};
use serde_json::Value;
use std::fs;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text NOT NULL);";
const ALL: &str = "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM public.t";

fn with_a_row() -> System {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, 'here')");
    system.expect(ALL, "1=here");
    system
}

/// Its slot would hold the server's WAL for ever, and nobody else drops it.
#[test]
fn a_region_that_counts_no_more_lets_its_server_go() {
    let mut system = with_a_row();
    system.kill(0);
    let evict = ["regions", "evict", REGIONS[0], "--timeout", "60"];
    system.until("it is evicted", || system.asked(1, &evict).0);
    system.start_region(0);
    system.counts_no_more(0);
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(system.ask(0, slots), "1");
    // So it is where it knows from the beginning.
    system.kill(0);
    system.start_region(0);
    system.counts_no_more(0);
    assert_eq!(system.status(0).unwrap()["slot"], "meridian_shop");

    let topology = system.topology_path(0);
    let topology = topology.to_str().expect("a text path");
    let detach = [
        "postgres", "detach", "--region", REGIONS[0], "--config", topology,
    ];
    // What can't be noted is told, and tried again.
    let notes = system.data_dir(0).join("postgres/shop");
    let elsewhere = notes.with_extension("elsewhere");
    fs::rename(&notes, &elsewhere).expect("it is moved");
    fs::write(&notes, "").expect("something else is there");
    let asked = system.asking(0, &detach);
    system.until("it says why it can't be let go", || {
        let status = system.status(0).unwrap_or_default();
        let hint = status["hint"].as_str().unwrap_or_default();
        hint.contains("data directory")
    });
    fs::remove_file(&notes).expect("it goes");
    fs::rename(&elsewhere, &notes).expect("it is back");
    let (_, said) = ended(asked);
    assert!(said.contains("shop: detached"), "{said}");
    let status = system.status(0).unwrap();
    assert_eq!(status["state"], "detached", "{status}");
    assert_eq!(status["lag_seconds"], 0.0, "{status}");
    assert_eq!(system.ask(0, slots), "0");
    assert_eq!(system.ask(0, ALL), "1=here");
}

/// What it alone had is written again where nothing says otherwise; here somebody does.
#[test]
fn what_somebody_chose_against_is_not_written_again() {
    let system = with_a_row();
    system.isolate(0);
    system.write(0, "INSERT INTO public.t VALUES (2, 'alone')");
    let evict = ["regions", "evict", REGIONS[0], "--timeout", "60"];
    system.until("it is evicted", || system.asked(1, &evict).0);
    system.heal();
    system.counts_no_more(0);
    let rejoin = ["regions", "rejoin", REGIONS[0], "--no-wait"];
    system.until("it may join anew", || system.asked(1, &rejoin).0);
    system.until("it asks", || {
        let status = system.status(0).unwrap_or_default();
        status["state"] == "stopped" && status["differing"].is_array()
    });
    let (is_done, said) = system.asked(0, &["postgres", "attach", "--take", "regions"]);
    assert!(is_done, "{said}");
    // Those that wait for a person say why once the region votes and has looked at them.
    let aside = ["regions", "aside", "list", "--output", "json"];
    let mut waiting = Vec::new();
    system.until("what it alone had waits", || {
        let (is_done, said) = system.asked(0, &aside);
        let listed: Value = serde_json::from_str(&said).unwrap_or_default();
        waiting = listed.as_array().cloned().unwrap_or_default();
        // The others tell what is captured, and nothing else.
        waiting.retain(|it: &Value| it["rows"].to_string().contains("public.t/"));
        let is_chosen = |it: &Value| {
            let reason = it["reason"].as_str().unwrap_or_default();
            it["state"] == "waiting" && reason.contains("chose the other regions' side")
        };
        is_done && !waiting.is_empty() && waiting.iter().all(is_chosen)
    });
    system.barrier();
    system.expect(ALL, "1=here");
    // A person may still have it.
    for transaction in &waiting {
        let id = transaction["id"].as_str().expect("a name");
        let (is_done, said) = system.asked(0, &["regions", "aside", "resubmit", id]);
        assert!(is_done, "{said}");
    }
    system.expect(ALL, "1=here 2=alone");
}
