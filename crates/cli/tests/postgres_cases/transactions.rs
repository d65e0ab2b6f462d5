//! Transactions as applications make them: savepoints, locks held, constraints put off, prepared
//! ones, large ones; and what readers see of them.

use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text);";
const ALL: &str = "SELECT id || ':' || v FROM public.t ORDER BY id";

#[test]
fn savepoints() {
    let system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    system.sql(
        1,
        "BEGIN; UPDATE public.t SET v = 'top' WHERE id = 1; SAVEPOINT a; \
         UPDATE public.t SET v = 'sub' WHERE id = 2; SAVEPOINT b; DELETE FROM public.t; \
         INSERT INTO public.t VALUES (9, 'never'); ROLLBACK TO b; RELEASE a; \
         INSERT INTO public.t VALUES (4, 'sub'); COMMIT",
    );
    // Rows whose writer is a savepoint are overwritten by others, in time.
    for region in [0, 2] {
        system.wait_for(region, ALL, "1:top\n2:sub\n3:-\n4:sub");
    }
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id IN (1, 2)");
    system.sql(2, "DELETE FROM public.t WHERE id = 4");
    system.wait_for(1, ALL, "1:a\n2:a\n3:-");
    // And by a savepoint that its region doesn't know of.
    system.gate(1).hold_capture();
    system.sql(
        1,
        "BEGIN; SAVEPOINT s; UPDATE public.t SET v = 'b' WHERE id = 3; RELEASE s; COMMIT",
    );
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 3");
    system.wait_for(2, "SELECT v FROM public.t WHERE id = 3", "a");
    system.gate(1).open();
    system.expect(ALL, "1:a\n2:a\n3:b");
}

#[test]
fn select_for_update_held_by_an_application() {
    let system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    let application = system.connect(1);
    system.on(
        &application,
        "BEGIN; SELECT * FROM public.t WHERE id IN (1, 2) FOR UPDATE",
    );
    system.sql(0, "UPDATE public.t SET v = 'a'");
    system.wait_for(2, ALL, "1:a\n2:a\n3:a");
    system.until("the region says that it waits", || {
        let status = system.status(1).unwrap_or_default();
        status["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("locks"))
    });
    // The application's own write comes through, and stands: it is the later one.
    system.on(
        &application,
        "UPDATE public.t SET v = 'b' WHERE id = 1; COMMIT",
    );
    system.expect(ALL, "1:b\n2:a\n3:a");
}

#[test]
fn prepared_transactions() {
    let system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    let prepare = |sql: &str, name: &str| {
        let client = system.connect(1);
        system.on(
            &client,
            &format!("BEGIN; {sql}; PREPARE TRANSACTION '{name}'"),
        );
    };
    prepare(
        "UPDATE public.t SET v = 'prepared' WHERE id = 1; INSERT INTO public.t VALUES (4, 'prepared')",
        "one",
    );
    prepare("DELETE FROM public.t WHERE id = 2", "two");
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 3");
    // They hold up nobody else, and are nowhere until they are committed.
    system.expect(ALL, "1:-\n2:-\n3:a");
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id IN (1, 2)");
    system.wait_for(2, ALL, "1:a\n2:a\n3:a");
    system.sql(1, "COMMIT PREPARED 'one'");
    system.sql(1, "ROLLBACK PREPARED 'two'");
    system.expect(ALL, "1:prepared\n2:a\n3:a\n4:prepared");
}

#[test]
fn a_large_transaction_of_many_kinds() {
    let system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t SELECT g, 'old' FROM generate_series(1, 100) g",
    );
    system.barrier();
    system.sql(
        1,
        "BEGIN; INSERT INTO public.t SELECT g, repeat('x', 3000) FROM generate_series(101, 4000) g; \
         UPDATE public.t SET v = 'new' WHERE id <= 3900; DELETE FROM public.t WHERE id % 2 = 0; \
         UPDATE public.t SET id = -id WHERE id > 3900; COMMIT",
    );
    let sums = "SELECT count(*) || ' ' || sum(id) || ' ' || count(*) FILTER (WHERE v = 'new') FROM public.t";
    system.expect(sums, "2000 3605000 1950");
}

#[test]
fn plain_columns_lose_concurrent_transfers_and_counters_do_not() {
    let system = System::start_counting(
        "CREATE TABLE public.plain (id int PRIMARY KEY, balance bigint NOT NULL); \
         CREATE TABLE public.counted (id int PRIMARY KEY, balance bigint NOT NULL);",
        "counted",
        "balance",
    );
    for table in ["plain", "counted"] {
        system.sql(
            0,
            &format!("INSERT INTO public.{table} VALUES (1, 100), (2, 100), (3, 100)"),
        );
    }
    system.barrier();
    system.part(0, 1);
    system.part(0, 2);
    for (region, to, amount) in [(0, 2, 10), (1, 3, 25)] {
        for table in ["plain", "counted"] {
            system.write(
                region,
                &format!(
                    "BEGIN; UPDATE public.{table} SET balance = balance - {amount} WHERE id = 1; \
                     UPDATE public.{table} SET balance = balance + {amount} WHERE id = {to}; COMMIT"
                ),
            );
        }
    }
    system.heal();
    let balances = |table: &str| format!("SELECT balance FROM public.{table} ORDER BY id");
    system.expect(&balances("counted"), "65\n110\n125");
    // The later transfer's balance of the first account stands, so the earlier one's 10 came from
    // nowhere: 310 instead of 300. The regions agree about that.
    system.expect(&balances("plain"), "75\n110\n125");
}

#[test]
fn counters_of_rows_that_go_meanwhile() {
    let system = System::start_counting(
        "CREATE TABLE public.stock (id int PRIMARY KEY, name text NOT NULL, n bigint NOT NULL, note text);",
        "stock",
        "n",
    );
    system.sql(0, "INSERT INTO public.stock VALUES (1, 'one', 10, '-'), (2, 'two', 10, '-'), (3, 'three', 10, '-'), (4, 'four', 10, '-')");
    system.barrier();
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
    // Older and newer than the delete that hasn't seen them.
    system.write(1, "UPDATE public.stock SET n = n + 5 WHERE id = 1");
    system.write(
        1,
        "UPDATE public.stock SET name = 'TWO', n = n + 5 WHERE id = 2",
    );
    system.write(0, "DELETE FROM public.stock WHERE id IN (1, 2, 3, 4)");
    system.write(1, "UPDATE public.stock SET n = n + 5 WHERE id = 3");
    system.write(
        2,
        "UPDATE public.stock SET name = 'FOUR', n = n + 5 WHERE id = 4",
    );
    system.heal();
    // The counter alone is no row that a server could show: it is kept out, and heard of. A newer
    // write of the other columns is one.
    system.expect(
        "SELECT id || name || n || coalesce(note, '') FROM public.stock",
        "4FOUR5-",
    );
    assert_eq!(
        system.parked(),
        "public.stock 1\npublic.stock 2\npublic.stock 3"
    );
    system.sql(2, "INSERT INTO public.stock VALUES (3, 'again', 1, NULL)");
    system.expect(
        "SELECT id || name || n FROM public.stock ORDER BY id",
        "3again1\n4FOUR5",
    );
}

#[test]
fn what_a_counter_leaves_of_a_deleted_row_is_no_difference() {
    let mut system = System::start_counting(
        "CREATE TABLE public.member (id bigint PRIMARY KEY); \
         CREATE TABLE public.wallet (balance bigint, note text, \
             member bigint PRIMARY KEY REFERENCES public.member ON DELETE CASCADE);",
        "wallet",
        "balance",
    );
    system.sql(0, "INSERT INTO public.member VALUES (81), (82), (83)");
    system.sql(
        0,
        "INSERT INTO public.wallet VALUES (10, 'vip', 81), (10, 'vip', 82), (10, 'vip', 83)",
    );
    system.barrier();
    system.part(0, 1);
    system.part(0, 2);
    system.write(0, "DELETE FROM public.wallet WHERE member = 81");
    system.write(
        1,
        "UPDATE public.wallet SET balance = balance + 1 WHERE member IN (81, 82)",
    );
    system.write(0, "DELETE FROM public.wallet WHERE member = 82");
    system.heal();
    let all = "SELECT member || ' ' || balance || ' ' || coalesce(note, 'none') \
               FROM public.wallet ORDER BY member";
    let left = "81 1 none\n82 1 none\n83 10 vip";
    system.expect(all, left);
    let compare = ["postgres", "compare"];
    for region in 0..3 {
        let (is_equal, said) = system.asked(region, &compare);
        assert!(is_equal, "{said}");
    }

    // A server that shows such a row otherwise differs, and is mended.
    system.sql(
        1,
        "BEGIN; ALTER PUBLICATION meridian_shop DROP TABLE public.wallet; \
         UPDATE public.wallet SET balance = 7 WHERE member = 81; \
         UPDATE public.wallet SET note = 'unseen' WHERE member = 82; \
         ALTER PUBLICATION meridian_shop ADD TABLE public.wallet; COMMIT",
    );
    system.captured(1);
    let (is_equal, said) = system.asked(1, &compare);
    assert!(!is_equal && said.contains("unexplained"), "{said}");
    let take = ["postgres", "compare", "--repair", "--take", "regions"];
    let (is_equal, said) = system.asked(1, &take);
    assert!(is_equal, "{said}");
    system.expect(all, left);

    // Nor does a meeting of server and tables find any.
    system.kill(1);
    system.drop_slot(1);
    system.start_region(1);
    system.wait_running(1);
    assert_eq!(system.rows_met(1), (0, 0));
    system.expect(all, left);
}
