//! A region's data directory is put back to an older copy, while its server and the other regions stay
//! as they are.

use crate::system::{REGIONS, System};
use serde_json::Value;
use tempfile::TempDir;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text NOT NULL);";
const ALL: &str = "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM public.t";

/// Rows that all have, and a copy of the first region's directory from then; its process is stopped.
fn copied() -> (System, TempDir) {
    let mut system = System::start(SCHEMA);
    let rows = "INSERT INTO public.t SELECT g, 'old' FROM generate_series(1, 5) g";
    system.sql(0, rows);
    system.expect(ALL, "1=old 2=old 3=old 4=old 5=old");
    let mark = "SELECT count(*) FROM meridian.position WHERE dataset = 'shop#mark'";
    system.wait_for(0, mark, "1");
    system.kill(0);
    let copy = system.directory_copy(0);
    (system, copy)
}

/// Waits until the first region asks about rows of the table; their keys.
fn asks(system: &System) -> Value {
    let mut keys = Value::Null;
    system.until("it asks", || {
        let status = system.status(0).unwrap_or_default();
        let differing = status["differing"].as_array().cloned();
        let mut tables = differing.unwrap_or_default().into_iter();
        let table = tables.find(|table| table["table"] == "public.t");
        keys = table.map_or(Value::Null, |table| table["keys"].clone());
        status["state"] == "stopped" && keys.is_array()
    });
    keys
}

#[test]
fn what_the_others_have_heard_is_found_by_them_and_the_region_joins_anew() {
    let (mut system, copy) = copied();
    system.start_region(0);
    system.wait_running(0);
    system.sql(
        0,
        "UPDATE public.t SET v = 'here' WHERE id = 1; DELETE FROM public.t WHERE id = 3; \
         INSERT INTO public.t VALUES (6, 'here')",
    );
    system.sql(
        1,
        "UPDATE public.t SET v = 'there' WHERE id = 2; DELETE FROM public.t WHERE id = 4; \
         INSERT INTO public.t VALUES (7, 'there')",
    );
    let before = "1=here 2=there 5=old 6=here 7=there";
    system.expect(ALL, before);
    system.kill(0);
    system.put_back(0, &copy);
    // Both sides are written to meanwhile.
    system.sql(
        0,
        "UPDATE public.t SET v = 'alone' WHERE id = 5; INSERT INTO public.t VALUES (8, 'alone')",
    );
    system.sql(1, "INSERT INTO public.t VALUES (9, 'meanwhile')");
    let elsewhere = format!("{before} 9=meanwhile");
    system.wait_for(2, ALL, &elsewhere);
    system.start_region(0);
    system.until("it finds that its log lost its end", || {
        let is_lost = |(state, reason): (String, String)| {
            state == "stopped" && reason.contains("where its own log ends")
        };
        system.dataset(0).is_some_and(is_lost)
    });
    // Nothing is written because of it, not even if somebody says that the regions are right: what this
    // one has of them is old.
    let (is_done, said) = system.asked(0, &["postgres", "attach", "--take", "regions"]);
    assert!(
        !is_done && said.contains("where its own log ends"),
        "{said}"
    );
    let alone = "1=here 2=there 5=alone 6=here 7=there 8=alone";
    assert_eq!(system.ask(0, ALL), alone);
    assert_eq!(system.ask(1, ALL), elsewhere);

    // As the page on production says.
    system.kill(0);
    let evict = ["regions", "evict", REGIONS[0], "--timeout", "60"];
    system.until("it is evicted", || system.asked(1, &evict).0);
    system.start_region(0);
    system.counts_no_more(0);
    let (is_done, said) = system.asked(0, &["postgres", "attach"]);
    assert!(!is_done && said.contains("regions rejoin"), "{said}");
    let rejoin = ["regions", "rejoin", REGIONS[0], "--no-wait"];
    system.until("it may join anew", || system.asked(1, &rejoin).0);
    // What was written to the table meanwhile and can't be told is asked about; nothing is written.
    assert_eq!(asks(&system), serde_json::json!(["8", "9"]));
    assert_eq!(system.ask(0, ALL), alone);
    assert_eq!(system.ask(1, ALL), elsewhere);
    let (is_done, said) = system.asked(0, &["postgres", "attach", "--take", "regions"]);
    assert!(is_done, "{said}");
    system.wait_for(0, ALL, "1=here 2=there 5=alone 6=here 7=there 9=meanwhile");
    // What is written over is to be saved first, and written again.
    system.sql(0, "INSERT INTO public.t VALUES (8, 'alone')");
    system.expect(ALL, &format!("{alone} 9=meanwhile"));
}

#[test]
fn what_nobody_has_heard_is_found_in_the_server() {
    let (mut system, copy) = copied();
    system.isolate(0);
    system.start_region(0);
    system.wait_running(0);
    system.write(
        0,
        "UPDATE public.t SET v = 'alone' WHERE id = 1; DELETE FROM public.t WHERE id = 3; \
         INSERT INTO public.t VALUES (6, 'alone')",
    );
    let written = system.ask(0, "SELECT pg_current_wal_lsn()");
    // Its slot has forgotten that by now; and it dies before it has marked anything.
    let is_forgotten =
        format!("SELECT confirmed_flush_lsn >= '{written}' FROM pg_replication_slots");
    system.wait_for(0, &is_forgotten, "t");
    system.kill(0);
    system.put_back(0, &copy);
    system.heal();
    system.start_region(0);
    assert_eq!(asks(&system), serde_json::json!(["6"]));
    let (is_done, said) = system.asked(0, &["postgres", "attach", "--take", "server"]);
    assert!(is_done, "{said}");
    system.expect(ALL, "1=alone 2=old 4=old 5=old 6=alone");
}
