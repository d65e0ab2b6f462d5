//! The slot is gone, and the server as it was.

use crate::support::local::run;
use crate::support::{eventually, text};
use crate::system::{ALL, PATIENCE, System};
use meridian_engine_postgres::server::connect;
use std::sync::mpsc;
use tokio_postgres::Client;

#[test]
fn a_slot_that_is_dropped_under_way_is_made_again_and_nothing_is_lost() {
    let system = System::start(3);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    system.all_have("1=a 2=b 3=c");
    system.settles(0);
    drop_slot(
        &system,
        "UPDATE public.items SET what = 'unseen' WHERE id = 1;
        DELETE FROM public.items WHERE id = 2;
        INSERT INTO public.items VALUES (4, 'unseen too');",
    );
    system.sql(1, "UPDATE public.items SET what = 'there' WHERE id = 3");
    system.all_have("1=unseen 3=there 4=unseen too");
    system.sql(0, "DELETE FROM public.items WHERE id = 4");
    system.all_have("1=unseen 3=there");
}

#[test]
fn what_was_decided_is_written_though_the_region_stops_before_it_could() {
    let mut system = System::start(2);
    system.sql(
        0,
        "INSERT INTO public.items VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    );
    system.all_have("1=a 2=b 3=c");
    system.settles(0);
    drop_slot(&system, "TRUNCATE public.items;");
    system.stands(0, "it asks", |postgres| postgres["state"] == "stopped");
    // An application keeps everybody from writing.
    let (locked, is_locked) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    let server = system.servers[0].clone();
    let holder = std::thread::spawn(move || {
        run(async {
            let client = connect(&server, "test").await.unwrap();
            let lock = "BEGIN; LOCK TABLE public.items IN EXCLUSIVE MODE";
            client.batch_execute(lock).await.unwrap();
            locked.send(()).unwrap();
            let _ = is_released.recv();
        });
    });
    is_locked.recv().unwrap();
    let said = system.attach(0, &["--take", "regions"]);
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(system.ask(0, ALL), None, "nothing can be written yet");
    system.down();
    drop(release);
    holder.join().unwrap();
    system.up();
    system.all_have("1=a 2=b 3=c");
    system.settles(0);
}

/// Two regions with a table that region 0's server has come to replicate with a part of the rows, and
/// whose others wait to be written there; with who holds them up.
pub fn waiting() -> (System, tokio::runtime::Runtime, Client) {
    let mut system = System::prepared(2);
    let stock = "CREATE TABLE public.stock (id int PRIMARY KEY, what text NOT NULL)";
    for region in 0..2 {
        system.sql(region, stock);
    }
    // In region 0 it doesn't replicate yet, and has a part of the rows.
    system.prepare();
    let publication = |system: &System, what: &str| {
        let alter = format!("ALTER PUBLICATION meridian_shop {what} TABLE public.stock");
        system.sql(0, &alter);
    };
    publication(&system, "DROP");
    system.sql(0, "INSERT INTO public.stock VALUES (1, 'a'), (2, 'b')");
    system.up();
    system.sql(
        1,
        "INSERT INTO public.stock SELECT id, chr(96 + id) FROM generate_series(1, 4) id;
        INSERT INTO public.items VALUES (1, 'after them')",
    );
    system.all_have("1=after them");
    system.settles(0);
    // Somebody who has yet to commit keeps the others from being written.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let writer = runtime.block_on(connect(&system.servers[0], "test"));
    let writer = writer.unwrap();
    let begin = "BEGIN; INSERT INTO public.stock VALUES (3, 'open')";
    runtime.block_on(writer.batch_execute(begin)).unwrap();
    publication(&system, "ADD");
    system.stands(0, "rows wait to be written", |postgres| {
        postgres["rows_dirty"] == 2
    });
    (system, runtime, writer)
}

/// Waits until all servers have these rows of that table, and region 1 never only `at_first`: what region
/// 0 had of them before it was given the others.
pub fn is_given(system: &System, at_first: &str, expected: &str) {
    for region in [1, 0] {
        eventually("the others are there", PATIENCE, || {
            let found = stock(system, region);
            let is_all_gone = region == 1 && found.as_deref() == Some(at_first);
            assert!(!is_all_gone, "rows were deleted everywhere");
            (found.as_deref() == Some(expected)).then_some(())
        });
    }
}

/// A server's rows of that table.
pub fn stock(system: &System, region: usize) -> Option<String> {
    let all = "SELECT string_agg(id || '=' || what, ' ' ORDER BY id) FROM public.stock";
    system.ask(region, all)
}

#[test]
fn rows_that_a_new_table_was_still_to_be_given_are_not_taken_for_deleted() {
    let (system, runtime, writer) = waiting();
    drop_slot(&system, "DELETE FROM public.stock WHERE id = 2;");
    runtime.block_on(writer.batch_execute("ROLLBACK")).unwrap();
    is_given(&system, "1=a", "1=a 3=c 4=d");
}

/// Drops region 0's slot and runs statements before there is another one.
pub fn drop_slot(system: &System, statements: &str) {
    let drop = format!(
        "DO $$ BEGIN
        PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
        FOR i IN 1..500 LOOP
            EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE active);
            PERFORM pg_sleep(0.01);
        END LOOP;
        PERFORM pg_drop_replication_slot('meridian_shop');
        {statements}
    END $$"
    );
    eventually("the slot is dropped", PATIENCE, || {
        system.root_sql(0, &drop).ok()
    });
}
