//! The primary dies, and a standby that lags takes over.

use crate::support::{eventually, text};
use crate::system::{ALL, PATIENCE, System, application, ask, elsewhere, server_on};
use meridian_engine_postgres::local::{Cluster, Stop};

/// A standby of region 0's server that has all of now, and is stopped.
fn standby(system: &System) -> tempfile::TempDir {
    let home = system.base_backup(0);
    let marker = home.path().join("data/standby.signal");
    std::fs::write(marker, "").unwrap();
    let primary = format!(
        "host=127.0.0.1 port={} user=postgres",
        system.clusters[0].port()
    );
    let mut cluster = server_on(
        home.path(),
        crate::support::free_base(24_000),
        &[("primary_conninfo", &primary)],
    );
    let now = system.ask(0, ALL);
    let server = cluster.superuser("shop");
    eventually("the standby has all", PATIENCE, || {
        (ask(&server, ALL) == now).then_some(())
    });
    cluster.stop(Stop::Fast);
    home
}

fn promote(cluster: &Cluster) {
    let server = cluster.superuser("shop");
    eventually("it is promoted", PATIENCE, || {
        ask(&server, "SELECT pg_promote()::text")?;
        let is_standby = ask(&server, "SELECT pg_is_in_recovery()::text")?;
        (is_standby == "false").then_some(())
    });
}

#[test]
fn what_a_standby_lacks_is_written_again_when_it_takes_over() {
    let mut system = System::start(3);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    system.all_have("1=a 2=b 3=c");
    system.settles(0);
    let home = standby(&system);
    // All of this is lost with the primary, and none of it anywhere else.
    system.sql(
        0,
        "UPDATE public.items SET what = 'changed here' WHERE id = 1",
    );
    system.sql(
        1,
        "UPDATE public.items SET what = 'changed there' WHERE id = 2",
    );
    system.sql(0, "DELETE FROM public.items WHERE id = 3");
    system.sql(0, "INSERT INTO public.items VALUES (4, 'new here')");
    system.sql(2, "INSERT INTO public.items VALUES (5, 'new there')");
    let all = "1=changed here 2=changed there 4=new here 5=new there";
    system.all_have(all);
    system.kill_server(0);
    // The others go on meanwhile.
    system.sql(1, "INSERT INTO public.items VALUES (6, 'meanwhile')");
    system.comes_back_on(0, home);
    let server = system.clusters[0].superuser("shop");
    let lags = ask(&server, ALL);
    assert_eq!(lags.as_deref(), Some("1=a 2=b 3=c"), "it lags");
    promote(&system.clusters[0]);
    let all = format!("{all} 6=meanwhile");
    system.all_have(&all);
    let postgres = system.stands(0, "it runs", |postgres| postgres["state"] == "running");
    let reason = postgres["met"]["reason"].as_str().unwrap();
    assert!(reason.contains("timeline"), "{postgres}");
    assert_eq!(postgres["met"]["rows_taken"], 0, "{postgres}");
    // And it goes on in both directions.
    system.sql(0, "UPDATE public.items SET what = 'after' WHERE id = 1");
    system.sql(2, "DELETE FROM public.items WHERE id = 5");
    system.all_have("1=after 2=changed there 4=new here 6=meanwhile");
}

#[test]
fn what_applications_wrote_to_a_new_primary_before_it_had_a_slot_is_found() {
    let mut system = System::start(3);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
    );
    system.all_have("1=a 2=b 3=c 4=d");
    // So that what the server had been given is later than these rows.
    system.sql(1, "INSERT INTO public.items VALUES (9, 'z')");
    system.all_have("1=a 2=b 3=c 4=d 9=z");
    system.settles(0);
    let home = standby(&system);
    system.sql(0, "UPDATE public.items SET what = 'lost' WHERE id = 1");
    system.sql(1, "UPDATE public.items SET what = 'unseen' WHERE id = 4");
    system.all_have("1=lost 2=b 3=c 4=unseen 9=z");
    system.kill_server(0);
    // Nobody but applications finds it there.
    elsewhere(&home, |cluster| {
        promote(cluster);
        application(
            cluster,
            "UPDATE public.items SET what = 'written' WHERE id = 2; \
                 DELETE FROM public.items WHERE id = 3; \
                 INSERT INTO public.items VALUES (5, 'inserted')",
        );
    });
    system.comes_back_on(0, home);
    system.all_have("1=lost 2=written 4=unseen 5=inserted 9=z");
    let postgres = system.stands(0, "it runs", |postgres| postgres["state"] == "running");
    assert_eq!(postgres["met"]["rows_taken"], 3, "{postgres}");
    assert_eq!(postgres["met"]["rows_to_write"], 2, "{postgres}");
}

#[test]
fn a_row_that_may_have_been_deleted_unseen_is_asked_about() {
    let mut system = System::start(3);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);
    let home = standby(&system);
    system.sql(0, "INSERT INTO public.items VALUES (3, 'lost, or deleted')");
    system.all_have("1=a 2=b 3=lost, or deleted");
    system.kill_server(0);
    elsewhere(&home, |cluster| {
        promote(cluster);
        application(
            cluster,
            "UPDATE public.items SET what = 'written' WHERE id = 1",
        );
    });
    system.comes_back_on(0, home);
    let stopped = system.stands(0, "it asks", |postgres| postgres["state"] == "stopped");
    assert_eq!(stopped["differing"][0]["rows"], 1, "{stopped}");
    assert_eq!(stopped["differing"][0]["keys"][0], "3", "{stopped}");
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(system.ask(0, slots).as_deref(), Some("0"), "no WAL waits");
    let said = system.attach(0, &[]);
    assert!(!said.status.success());
    let said = text(&said);
    assert!(said.contains("public.items differs in 1 rows"), "{said}");
    let sides = r#"3    -       {"id":"3","what":"lost, or deleted"}"#;
    assert!(said.contains(sides), "{said}");
    let said = system.attach(0, &["--take", "regions"]);
    assert!(said.status.success(), "{}", text(&said));
    system.all_have("1=written 2=b 3=lost, or deleted");
    for region in 0..3 {
        system.lists(region, &[("3", None, Some("lost, or deleted"))]);
    }
}

#[test]
fn transactions_that_the_standby_never_had_do_not_hide_a_deletion() {
    let mut system = System::start(2);
    system.sql(0, "INSERT INTO public.items VALUES (1, 'a'), (2, 'b')");
    system.all_have("1=a 2=b");
    system.settles(0);
    let home = standby(&system);
    for round in 1..=9 {
        let update = format!("UPDATE public.items SET what = 'lost {round}' WHERE id = 2");
        system.sql(0, &update);
    }
    system.all_have("1=a 2=lost 9");
    system.kill_server(0);
    elsewhere(&home, |cluster| {
        promote(cluster);
        application(cluster, "DELETE FROM public.items WHERE id = 2");
    });
    system.comes_back_on(0, home);
    let stopped = system.stands(0, "it asks", |postgres| postgres["state"] == "stopped");
    assert_eq!(stopped["differing"][0]["keys"][0], "2", "{stopped}");
    let said = system.attach(0, &["--take", "server"]);
    assert!(said.status.success(), "{}", text(&said));
    system.all_have("1=a");
}
