//! The slot is gone, and the server as it was.

use crate::support::local::run;
use crate::support::{eventually, text};
use crate::system::{ALL, PATIENCE, System};
use meridian_engine_postgres::server::connect;
use std::sync::mpsc;

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

/// Drops region 0's slot and runs statements before there is another one.
fn drop_slot(system: &System, statements: &str) {
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
