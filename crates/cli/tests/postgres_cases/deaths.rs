//! Regions and servers that die at the worst moment.

use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text);";
const ALL: &str = "SELECT id || ':' || v FROM public.t ORDER BY id";

#[test]
fn an_origin_that_dies_having_reached_one_peer() {
    let mut system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-'), (2, '-')");
    system.barrier();
    system.part(2, 0);
    system.part(2, 1);
    system.sql(0, "UPDATE public.t SET v = 'last' WHERE id = 1");
    system.sql(
        0,
        "DELETE FROM public.t WHERE id = 2; INSERT INTO public.t VALUES (3, 'last')",
    );
    system.wait_for(1, ALL, "1:last\n3:last");
    system.wait_for(2, ALL, "1:-\n2:-");
    // Region and server are gone for good.
    system.kill(0);
    system.crash_server(0);
    system.sql(2, "INSERT INTO public.t VALUES (4, 'survivor')");
    system.heal();
    system.expect(ALL, "1:last\n3:last\n4:survivor");
}

#[test]
fn the_agent_killed_between_the_servers_commit_and_its_own() {
    let mut system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-'), (4, '-')",
    );
    system.barrier();
    system.gate(1).hold_capture();
    // b's application deletes a row, and before b's region hears of that, it writes a's update over
    // it, and hears of neither.
    system.sql(1, "DELETE FROM public.t WHERE id = 1");
    system.sql(1, "UPDATE public.t SET v = 'b' WHERE id = 2");
    system.gate(1).swallow_replies_to_commits();
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id IN (1, 3)");
    system.wait_for(1, "SELECT v FROM public.t WHERE id IN (1, 3)", "a\na");
    system.until("the reply is swallowed", || system.gate(1).has_swallowed());
    system.kill(1);
    // Meanwhile others write, here and there.
    system.sql(1, "UPDATE public.t SET v = 'orphan' WHERE id = 3");
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 4");
    system.lift();
    system.start_region(1);
    system.wait_running(1);
    system.expect(ALL, "2:b\n3:orphan\n4:a");
}

#[test]
fn what_a_frozen_agent_has_locked_is_let_go() {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-')");
    system.barrier();
    system.gate(1).swallow_commits();
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 1");
    system.until("a commit is swallowed", || system.gate(1).has_swallowed());
    // b's application waits for the row, which the agent's session holds.
    system.sql(
        1,
        "SET lock_timeout = '90s'; UPDATE public.t SET v = 'b' WHERE id = 1",
    );
    system.lift();
    system.expect(ALL, "1:b");
}

#[test]
fn a_synchronous_standby_that_is_gone_is_waited_for_by_applications_alone() {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-')");
    system.barrier();
    system.administer(
        1,
        &[
            // As a role has it by default.
            "ALTER ROLE clerk SET synchronous_commit = on",
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ],
    );
    // b's region meets a row that it hasn't heard of yet, and has to see to it that it hears of it.
    system.gate(1).hold_capture();
    system.sql(
        1,
        "SET synchronous_commit = local; UPDATE public.t SET v = 'b' WHERE id = 1",
    );
    let many = "INSERT INTO public.t SELECT n, 'a' FROM generate_series(2, 40) AS n";
    system.sql(0, many);
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 1");
    system.until("rows wait to be written", || {
        system
            .status(1)
            .is_some_and(|status| status["rows_dirty"] != 0)
    });
    system.lift();
    system.sql(0, "INSERT INTO public.t VALUES (41, 'a')");
    system.wait_for(1, "SELECT count(*) FROM public.t", "41");
    system.until("its mark is written, as each second", || {
        system
            .status(1)
            .is_some_and(|status| status["lag_bytes"] == 0)
    });
    system.administer(
        1,
        &[
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        ],
    );
    system.expect("SELECT count(*) FROM public.t", "41");
}

#[test]
fn the_agent_killed_between_its_log_and_the_slot() {
    let mut system = System::start_counting(
        "CREATE TABLE public.t (id int PRIMARY KEY, n bigint NOT NULL);",
        "t",
        "n",
    );
    system.sql(0, "INSERT INTO public.t VALUES (1, 0)");
    system.barrier();
    for turn in 1..=3 {
        // The log has it and the slot doesn't know: it comes again, and must not count twice.
        system.gate(1).hold_confirmations();
        system.sql(1, "UPDATE public.t SET n = n + 1");
        system.wait_for(0, "SELECT n FROM public.t", &turn.to_string());
        system.kill(1);
        system.lift();
        system.start_region(1);
        system.wait_running(1);
        system.expect("SELECT n FROM public.t", &turn.to_string());
    }
}

#[test]
fn the_agent_killed_again_and_again_while_it_writes() {
    let mut system = System::start_counting(
        "CREATE TABLE public.t (id int PRIMARY KEY, n bigint NOT NULL);",
        "t",
        "n",
    );
    system.sql(
        0,
        "INSERT INTO public.t SELECT g, 0 FROM generate_series(1, 50) g",
    );
    system.barrier();
    for turn in 1..=6 {
        system.sql(0, "UPDATE public.t SET n = n + 1");
        system.sql(1, "UPDATE public.t SET n = n + 1 WHERE id % 2 = 0");
        // At any time between nothing and everything.
        system.wait_for(2, "SELECT (max(n) > 0)::text FROM public.t", "true");
        std::thread::sleep(std::time::Duration::from_millis(turn * 7));
        system.kill(1);
        system.sql(1, "UPDATE public.t SET n = n + 1 WHERE id % 5 = 0");
        system.start_region(1);
    }
    system.wait_running(1);
    let sums = "SELECT sum(n) || ' ' || min(n) || ' ' || max(n) FROM public.t";
    system.expect(sums, "510 6 18");
}

#[test]
fn the_agent_killed_within_a_large_transaction() {
    let mut system = System::start(SCHEMA);
    system.gate(1).hold_confirmations();
    system.sql(
        1,
        "INSERT INTO public.t SELECT g, repeat('x', 3000) FROM generate_series(1, 6000) g",
    );
    // As soon as some of its parts are in the log.
    system.until("a part of it is in the log", || {
        system.rows_held(1, "t") > 0
    });
    system.kill(1);
    system.lift();
    system.start_region(1);
    system.wait_running(1);
    system.expect(
        "SELECT count(*) || ' ' || sum(id) FROM public.t",
        "6000 18003000",
    );
}

#[test]
fn a_server_that_crashes_loses_what_was_projected_and_gets_it_again() {
    let mut system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t SELECT g, '-' FROM generate_series(1, 500) g",
    );
    system.barrier();
    for turn in 0..4 {
        system.sql(
            0,
            &format!("UPDATE public.t SET v = 'a{turn}' WHERE id % 4 = {turn}"),
        );
        system.sql(
            1,
            &format!("INSERT INTO public.t VALUES ({}, 'b')", 1000 + turn),
        );
        // Commits of the projection aren't waited for: the crash takes some of them back.
        system.crash_server(1);
        system.start_server(1);
    }
    let sums = "SELECT v || count(*) FROM public.t GROUP BY v ORDER BY v";
    system.expect(sums, "a0125\na1125\na2125\na3125\nb4");
}
