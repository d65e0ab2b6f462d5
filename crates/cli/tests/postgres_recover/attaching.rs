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

pub fn detach(system: &System, region: usize, succeeds: bool) {
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
        let (here, there) = (Some("here"), Some("there"));
        let gave_way = match side {
            "server" => vec![("2", here, there), ("3", Some("only here"), None)],
            _ => vec![
                ("2", there, here),
                ("3", None, Some("only here")),
                ("4", Some("only there"), None),
            ],
        };
        for region in 0..2 {
            system.lists(region, &gave_way);
        }
    }
}

#[test]
fn a_side_is_chosen_for_each_table() {
    let mut system = System::prepared(2);
    for region in 0..2 {
        let stock = "CREATE TABLE public.stock (id int PRIMARY KEY, what text NOT NULL)";
        system.sql(region, stock);
    }
    system.prepare();
    system.up();
    for region in 0..2 {
        system.stands(region, "it runs", |postgres| postgres["state"] == "running");
    }
    let rows = "INSERT INTO public.items VALUES (2, 'here'); \
                INSERT INTO public.stock VALUES (2, 'here')";
    system.sql(0, rows);
    let stock = "SELECT string_agg(id || '=' || what, ' ' ORDER BY id) FROM public.stock";
    let all_have = |items: &str, in_stock: &str| {
        system.all_have(items);
        for region in 0..2 {
            eventually("the other table is the same", PATIENCE, || {
                (system.ask(region, stock).as_deref() == Some(in_stock)).then_some(())
            });
        }
    };
    all_have("2=here", "2=here");
    detach(&system, 1, true);
    let other = "UPDATE public.items SET what = 'there'; UPDATE public.stock SET what = 'there'";
    system.sql(1, other);
    system.prepare();

    let asks = |more: &[&str], tables: &[&str]| {
        let said = system.attach(1, more);
        assert_eq!(said.status.code(), Some(1), "{}", text(&said));
        let said = text(&said);
        for table in ["public.items", "public.stock"] {
            let is_asked = said.contains(&format!("{table} differs in 1 rows"));
            assert_eq!(is_asked, tables.contains(&table), "{said}");
        }
        assert_eq!(system.ask(1, ALL).as_deref(), Some("2=there"), "{said}");
        said
    };
    let said = asks(&[], &["public.items", "public.stock"]);
    let values = r#"2    {"what":"there"}  {"what":"here"}"#;
    assert_eq!(said.matches(values).count(), 2, "{said}");
    assert!(!said.contains("in one command"), "{said}");
    let said = asks(&["--take", "public.items=regions"], &["public.stock"]);
    assert!(said.contains("in one command"), "{said}");
    let both = ["--take", "server", "--take", "public.itmes=regions"];
    let said = asks(&both, &["public.items", "public.stock"]);
    assert!(said.contains("public.itmes"), "{said}");
    let said = system.attach(1, &["--take", "server", "--take", "public.items=regions"]);
    assert!(said.status.success(), "{}", text(&said));
    all_have("2=here", "2=there");
    let met = &system.postgres(1)["met"];
    assert_eq!(met["take"], "server", "{met}");
    assert_eq!(met["take_in"]["public.items"], "regions", "{met}");
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

#[test]
fn a_list_of_parked_rows_that_cant_be_read_holds_no_wal() {
    let system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a')");
    system.all_have("1=a");
    let role = system.ask(1, "SELECT current_user::text").unwrap();
    let may = |what: &str| {
        let sql = format!("{what} {role}");
        system.root_sql(1, &sql).unwrap();
    };
    may("REVOKE SELECT ON meridian.parked FROM");
    let mut child = meridian(system.path())
        .args(["postgres", "detach", "--data-dir", "data", "--region"])
        .arg(REGIONS[1])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let detached = system.stands(1, "it says what it can't do", |postgres| {
        postgres["state"] == "detached" && postgres["reason"].is_string()
    });
    let reason = detached["reason"].as_str().unwrap();
    assert!(reason.contains("parked rows"), "{reason}");
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(system.ask(1, slots).as_deref(), Some("0"));
    // It is tried again, and the verb has waited for it.
    assert!(child.try_wait().unwrap().is_none());
    may("GRANT SELECT ON meridian.parked TO");
    assert!(child.wait().unwrap().success());
    let detached = system.postgres(1);
    assert!(detached["reason"].is_null(), "{detached}");
}

#[test]
fn a_region_that_waits_to_attach_hears_that_it_is_to_let_go() {
    let mut system = System::prepared(2);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // A slot is made only once whoever writes now has ended.
    let writer = runtime
        .block_on(connect(&system.servers[1], "test"))
        .unwrap();
    let begin = "BEGIN; INSERT INTO public.items VALUES (9, 'open')";
    runtime.block_on(writer.batch_execute(begin)).unwrap();
    system.up();
    let waits = "SELECT count(*)::text FROM pg_stat_activity \
                 WHERE application_name = 'meridian capture' AND wait_event_type = 'Lock'";
    eventually("it waits for the writer", PATIENCE, || {
        (system.ask(1, waits).as_deref() == Some("1")).then_some(())
    });
    let mut child = meridian(system.path())
        .args([
            "postgres",
            "detach",
            "--data-dir",
            "data",
            "--region",
            REGIONS[1],
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    system.stands(1, "it is detached", |postgres| {
        postgres["state"] == "detached"
    });
    runtime.block_on(writer.batch_execute("COMMIT")).unwrap();
    assert!(child.wait().unwrap().success());
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(system.ask(1, slots).as_deref(), Some("0"));
}

/// Takes the table out of a region's publication, and puts it back after `sql`.
fn while_it_is_out(system: &System, region: usize, sql: &str) {
    // Where the region notes the tables that left.
    let left = system.path().join("data").join(REGIONS[region]);
    let left = left.join("postgres/shop/tables-left.json");
    let is_out = || {
        let noted = std::fs::read_to_string(&left).unwrap_or_default();
        noted.contains("public.items")
    };
    eventually("the table is in", PATIENCE, || (!is_out()).then_some(()));
    let out = "ALTER PUBLICATION meridian_shop DROP TABLE public.items";
    system.sql(region, out);
    eventually("the region goes on without it", PATIENCE, || {
        is_out().then_some(())
    });
    system.sql(region, sql);
    let back = "ALTER PUBLICATION meridian_shop ADD TABLE public.items";
    system.sql(region, back);
}

#[test]
fn what_was_written_while_a_table_was_out_of_the_publication_is_found() {
    let system = System::start(2);
    let rows = "INSERT INTO public.items SELECT g, 'v' FROM generate_series(1, 4) g";
    system.sql(0, rows);
    system.all_have("1=v 2=v 3=v 4=v");
    let changed = "UPDATE public.items SET what = 'changed' WHERE id = 1; \
                   INSERT INTO public.items VALUES (5, 'came')";
    while_it_is_out(&system, 0, changed);
    system.all_have("1=changed 2=v 3=v 4=v 5=came");

    for (id, side, all) in [
        (2, "server", "1=changed 3=v 4=v 5=came"),
        (3, "regions", "1=changed 3=v 4=v 5=came"),
    ] {
        let delete = format!("DELETE FROM public.items WHERE id = {id}");
        while_it_is_out(&system, 0, &delete);
        let stopped = system.stands(0, "it asks", |postgres| {
            postgres["state"] == "stopped" && postgres["differing"][0]["rows"] == 1
        });
        let keys = &stopped["differing"][0]["keys"];
        assert_eq!(keys[0], id.to_string(), "{stopped}");
        eventually("the answer is taken", PATIENCE, || {
            let said = system.attach(0, &["--take", side]);
            said.status.success().then_some(())
        });
        system.all_have(all);
    }
    for region in 0..2 {
        system.lists(region, &[("2", Some("v"), None), ("3", None, Some("v"))]);
    }
    system.sql(0, "UPDATE public.items SET what = 'after' WHERE id = 4");
    system.all_have("1=changed 3=v 4=after 5=came");
}
