//! Attaching a server whose rows differ, and letting one go.

use crate::support::{eventually, meridian, text};
use crate::system::{ALL, PATIENCE, REGIONS, System};
use meridian_engine_postgres::server::connect;
use std::process::Stdio;

/// Two regions whose servers had rows before, of which one differs; region 1 asks.
fn differing() -> System {
    let mut system = System::prepared(2);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'same'), (2, 'here'), (3, 'only here')",
    );
    let mut other = "INSERT INTO public.items VALUES (1, 'same'), (2, 'there')".to_owned();
    other += ", (4, 'only there')";
    system.up();
    // Region 1 has met its server, empty, before it is detached: a server that was never met brings
    // its rows along. It meets it again once other rows are there.
    for region in 0..2 {
        system.stands(region, "it runs", |postgres| postgres["state"] == "running");
    }
    system.all_have("1=same 2=here 3=only here");
    detach(&system, 1, true);
    system.sql(1, "TRUNCATE public.items");
    system.sql(1, &other);
    system.prepare();
    system
}

fn detach(system: &System, region: usize, succeeds: bool) {
    let arguments = ["postgres", "detach", "--data-dir", "data", "--region"];
    let mut all = arguments.to_vec();
    all.push(REGIONS[region]);
    let said = system.meridian(&all);
    assert_eq!(said.status.success(), succeeds, "{}", text(&said));
}

#[test]
fn the_side_that_is_chosen_stands_where_rows_differ() {
    for (side, expected) in [("server", "there"), ("regions", "here")] {
        let system = differing();
        let said = system.attach(1, &[]);
        assert_eq!(said.status.code(), Some(1), "{}", text(&said));
        assert!(
            text(&said).contains("public.items differs in"),
            "{}",
            text(&said)
        );
        assert_eq!(
            system.ask(1, ALL).as_deref(),
            Some("1=same 2=there 4=only there"),
            "nothing is written"
        );
        let said = system.attach(1, &["--take", side]);
        assert!(said.status.success(), "{}", text(&said));
        let other = if side == "server" {
            " 4=only there"
        } else {
            " 3=only here"
        };
        system.all_have(&format!("1=same 2={expected}{other}"));
    }
}

#[test]
fn a_server_that_is_let_go_keeps_nothing_of_ours_and_stays_so() {
    let mut system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a')");
    system.all_have("1=a");
    detach(&system, 1, true);
    let left = "SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || \
                (SELECT count(*) FROM pg_publication) || ' ' || \
                (SELECT count(*) FROM pg_namespace WHERE nspname = 'meridian')";
    assert_eq!(system.ask(1, left).as_deref(), Some("0 0 0"));
    system.sql(0, "INSERT INTO public.items VALUES (2, 'b')");
    system.down();
    system.up();
    let detached = system.postgres(1);
    assert_eq!(detached["state"], "detached", "{detached}");
    assert_eq!(system.ask(1, ALL).as_deref(), Some("1=a"));
    assert_eq!(system.ask(1, left).as_deref(), Some("0 0 0"));
    // And comes back.
    system.prepare();
    let said = system.attach(1, &["--take", "regions"]);
    assert!(said.status.success(), "{}", text(&said));
    system.all_have("1=a 2=b");
}
