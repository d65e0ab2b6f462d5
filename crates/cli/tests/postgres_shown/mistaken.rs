//! A url that leads to a database which isn't this region's: it is said, and nothing is taken from whoever
//! has it.

use crate::support::local::run;
use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.notes (id int PRIMARY KEY, what text)";
const SLOT: &str = "SELECT database || ' ' || (confirmed_flush_lsn IS NOT NULL) \
                    FROM pg_replication_slots WHERE slot_name = 'meridian_shop'";

fn insert(system: &System, region: usize, id: usize) {
    let insert = format!("INSERT INTO public.notes VALUES ({id}, 'written')");
    system.sql(region, &insert);
}

#[test]
fn a_slot_of_another_database_is_left_alone() {
    let mut system = System::prepared(1, SCHEMA);
    system.admin("CREATE DATABASE other");
    run(async {
        let other = system.clusters[0]
            .connect("other", "postgres")
            .await
            .unwrap();
        let make = "SELECT pg_create_logical_replication_slot('meridian_shop', 'pgoutput')";
        other.batch_execute(make).await.unwrap();
    });
    system.up();
    let status = system.wait_for_trouble("stopped", "it is of database other");
    assert!(
        status["hint"].as_str().unwrap().contains("another name"),
        "{status}"
    );
    let verb = |system: &System, verb| {
        let said = system.meridian(&["postgres", verb, "--region", "us-east-1"]);
        (said.status.success(), crate::support::text(&said))
    };
    let (is_detached, said) = verb(&system, "detach");
    assert!(is_detached, "{said}");
    // After a restart too there is nothing to wait for, and nothing of Meridian's in the server.
    system.down();
    system.up();
    crate::support::eventually("it is detached", crate::system::PATIENCE, || {
        let status = system.status(0);
        let is_detached = status["state"] == "detached";
        assert!(!is_detached || status["reason"].is_null(), "{status}");
        is_detached.then_some(())
    });
    assert_eq!(system.ask(0, SLOT), "other true");
    insert(&system, 0, 1);
    system.admin("SELECT pg_drop_replication_slot('meridian_shop')");
    system.prepare();
    verb(&system, "attach");
    system.wait_for_row("public.notes", "1");
    assert_eq!(system.ask(0, SLOT), "shop true");
}

#[test]
fn a_server_that_was_mistaken_for_another_goes_on_where_it_stood() {
    let mut system = System::start(1, SCHEMA);
    insert(&system, 0, 1);
    system.wait_for_row("public.notes", "1");
    system.down();
    let mistaken = System::prepared(1, SCHEMA);
    mistaken.sql(
        0,
        "INSERT INTO public.notes VALUES (1, 'older'), (9, 'other')",
    );
    let own = std::mem::replace(&mut system.servers[0], mistaken.servers[0].clone());
    system.write_topology("");
    system.up();
    system.wait_for_trouble("stopped", "it is another server");
    system.down();
    system.servers[0] = own;
    system.write_topology("");
    insert(&system, 0, 2);
    system.sql(0, "UPDATE public.notes SET what = 'changed' WHERE id = 1");
    system.up();
    let status = system.wait_for_state(0, "running");
    assert!(status["met"].is_null(), "{status}");
    system.wait_for_row("public.notes", "2");
    let shown = system.meridian(&["tables", "get", "public.notes", "1"]);
    let shown = crate::support::text(&shown);
    assert!(shown.contains("changed"), "{shown}");
    let all = "SELECT string_agg(id || what, ' ' ORDER BY id) FROM public.notes";
    assert_eq!(system.ask(0, all), "1changed 2written");
    assert_eq!(mistaken.ask(0, all), "1older 9other");
}

#[test]
fn another_regions_database_stays_its_own() {
    let mut system = System::start(2, SCHEMA);
    insert(&system, 0, 1);
    let mark = "SELECT count(*)::text FROM meridian.position WHERE dataset = 'shop#mark'";
    system.wait_for(0, mark, "1");
    system.wait_for(1, "SELECT count(*)::text FROM public.notes", "1");
    system.down();
    let first = system.servers[0].clone();
    let own = std::mem::replace(&mut system.servers[1], first);
    system.write_topology("");
    // Both are without a reader when the regions start.
    system.up();
    let reason = "the database is region us-east-1's";
    let status = crate::support::eventually(reason, crate::system::PATIENCE, || {
        let status = system.status(1);
        let said = status["reason"].as_str().unwrap_or_default();
        said.contains(reason).then_some(status)
    });
    assert_eq!(status["state"], "stopped", "{status}");
    system.wait_for_state(0, "running");
    system.down();
    system.servers[1] = own;
    system.write_topology("");
    system.up();
    for region in 0..2 {
        let status = system.wait_for_state(region, "running");
        assert!(status["met"].is_null(), "{status}");
        insert(&system, region, 2 + region);
    }
    for region in 0..2 {
        system.wait_for(region, "SELECT count(*)::text FROM public.notes", "3");
    }
}
