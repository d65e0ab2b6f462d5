//! A region with an empty server joins others, whether or not these are written to.

use crate::system::{System, Wanted};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The third region joins; it counts then.
fn joins(system: &mut System) {
    starts_to_join(system);
    system.add_region(2);
    system.wait_running(2);
}

fn starts_to_join(system: &mut System) {
    system.write_topology(2, 2);
    system.prepare(2);
    system.start_region_with(2, &["--join"]);
}

/// What its server writes says which increments it absorbs, which they would not understand: it waits, and
/// nothing of the server is looked at meanwhile.
#[test]
fn a_region_that_joins_regions_of_an_earlier_wire_version() {
    let mut system = System::start_with(&Wanted {
        schema: "CREATE TABLE public.t (id int PRIMARY KEY, v text);",
        founders: 2,
        arguments: &["--wire-version-max", "4"],
        ..Wanted::default()
    });
    system.sql(0, "INSERT INTO public.t VALUES (1, 'a')");
    system.barrier();
    starts_to_join(&mut system);
    let mut adding = system.adding_region(2);
    system.sql(2, "INSERT INTO public.t VALUES (2, 'c')");
    system.until("it waits", || {
        let status = system.status(2).unwrap_or_default();
        let reason = status["reason"].as_str().unwrap_or_default();
        let hint = status["hint"].as_str().unwrap_or_default();
        status["state"] == "waiting"
            && reason.contains("is not known to speak wire version 5")
            && hint.starts_with("upgrade that region")
    });
    system.wait_for(2, "SELECT count(*) FROM pg_replication_slots", "0");
    adding.kill().expect("a signal");
    adding.wait().expect("its end");
    for region in 0..2 {
        system.kill(region);
        system.start_region(region);
    }
    system.wait_running(2);
    system.expect("SELECT string_agg(v, ' ' ORDER BY id) FROM public.t", "a c");
}

#[test]
fn a_region_that_joins_under_load() {
    let mut system = System::start_with(&Wanted {
        schema: "CREATE TABLE public.account (id int PRIMARY KEY, balance bigint NOT NULL); \
                 CREATE TABLE public.t (id int PRIMARY KEY, u int UNIQUE, v text);",
        dataset: "[dataset.table.\"public.account\"]\ncounters = [\"balance\"]\n",
        founders: 2,
        ..Wanted::default()
    });
    system.sql(
        0,
        "INSERT INTO public.account SELECT g, 100 FROM generate_series(1, 20) g; \
                   INSERT INTO public.t SELECT g, g, '-' FROM generate_series(1, 2000) g",
    );
    system.barrier();
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|region| {
            let client = system.connect(region);
            let (stop, handle) = (stop.clone(), system.handle());
            std::thread::spawn(move || {
                let mut turn = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    // Ever slower: regions on a busy machine would else fall behind without end.
                    std::thread::sleep(Duration::from_millis(turn / 4));
                    let (from, to) = (turn % 20 + 1, turn * 7 % 20 + 1);
                    let (low, high) = (from.min(to), from.max(to));
                    let sql = format!(
                        "BEGIN; UPDATE public.account SET balance = balance - 1 WHERE id = {low}; \
                         UPDATE public.account SET balance = balance + 1 WHERE id = {high}; COMMIT; \
                         UPDATE public.t SET v = '{region}-{turn}' WHERE id = {}; \
                         DELETE FROM public.t WHERE id = {}",
                        turn * 13 % 2000,
                        turn * 31 % 2000
                    );
                    // A transaction that ran into another is none.
                    if handle.block_on(client.batch_execute(&sql)).is_err() {
                        let _ = handle.block_on(client.batch_execute("ROLLBACK"));
                    }
                }
                turn
            })
        })
        .collect();
    joins(&mut system);
    // It takes writes of its own.
    system.sql(2, "INSERT INTO public.t VALUES (100001, 100001, 'c')");
    system.wait_for(0, "SELECT v FROM public.t WHERE id = 100001", "c");
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.join().expect("a writer") > 20);
    }
    system.expect(
        "SELECT sum(balance) || ' ' || count(*) FROM public.account",
        "2000 20",
    );
    system.expect("SELECT v FROM public.t WHERE id = 100001", "c");
}

#[test]
fn a_region_that_joins_where_nobody_writes() {
    let mut system = System::start_with(&Wanted {
        schema: "CREATE TABLE public.t (id int PRIMARY KEY, v text);",
        founders: 2,
        ..Wanted::default()
    });
    joins(&mut system);
    system.sql(2, "INSERT INTO public.t VALUES (1, 'c')");
    system.expect("SELECT v FROM public.t WHERE id = 1", "c");
}
