//! Two writes of one row that had not seen each other, in every combination and order of arrival,
//! and while a server's own write isn't known to its region yet.

use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text);";
const ALL: &str = "SELECT id || ':' || v FROM public.t ORDER BY id";

/// Three regions with these rows, which hear nothing of each other any more.
fn apart(rows: &str) -> System {
    let system = System::start(SCHEMA);
    if !rows.is_empty() {
        system.sql(0, &format!("INSERT INTO public.t VALUES {rows}"));
        system.barrier();
    }
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
    system
}

#[test]
fn insert_insert() {
    let system = apart("");
    // Each key is inserted in another order of regions; the last one stands.
    for (key, order) in [(1, [0, 1, 2]), (2, [2, 0, 1]), (3, [1, 2, 0])] {
        for region in order {
            let name = ["a", "b", "c"][region];
            system.write(
                region,
                &format!("INSERT INTO public.t VALUES ({key}, '{name}')"),
            );
        }
    }
    system.heal();
    system.expect(ALL, "1:c\n2:b\n3:a");
}

#[test]
fn update_update() {
    let system = apart("(1, '-'), (2, '-'), (3, '-')");
    for (key, order) in [(1, [0, 1, 2]), (2, [2, 0, 1]), (3, [1, 2, 0])] {
        for region in order {
            let name = ["a", "b", "c"][region];
            system.write(
                region,
                &format!("UPDATE public.t SET v = '{name}' WHERE id = {key}"),
            );
        }
    }
    // They meet one after the other, each time by another way.
    system.heal();
    system.isolate(2);
    system.wait_for(0, "SELECT v FROM public.t WHERE id = 2", "b");
    system.heal();
    system.expect(ALL, "1:c\n2:b\n3:a");
}

#[test]
fn update_delete() {
    let system = apart("(1, '-'), (2, '-')");
    system.write(1, "UPDATE public.t SET v = 'b' WHERE id IN (1, 2)");
    system.write(0, "DELETE FROM public.t WHERE id = 1");
    system.write(2, "DELETE FROM public.t WHERE id = 2");
    system.heal();
    system.expect(ALL, "");
}

#[test]
fn delete_update() {
    let system = apart("(1, '-'), (2, '-')");
    system.write(0, "DELETE FROM public.t WHERE id = 1");
    system.write(2, "DELETE FROM public.t WHERE id = 2");
    system.write(1, "UPDATE public.t SET v = 'b' WHERE id IN (1, 2)");
    system.heal();
    system.expect(ALL, "1:b\n2:b");
}

#[test]
fn delete_delete() {
    let system = apart("(1, '-'), (2, '-')");
    for region in 0..3 {
        system.write(region, "DELETE FROM public.t WHERE id = 1");
    }
    // One of them has made it anew meanwhile; the others' deletes come later, or before.
    system.write(0, "DELETE FROM public.t WHERE id = 2");
    system.write(1, "DELETE FROM public.t WHERE id = 2");
    system.write(1, "INSERT INTO public.t VALUES (2, 'anew')");
    system.heal();
    system.expect(ALL, "2:anew");
    system.sql(2, "INSERT INTO public.t VALUES (1, 'again')");
    system.expect(ALL, "1:again\n2:anew");
}

#[test]
fn a_delete_older_than_a_newer_update() {
    let system = apart("(1, '-'), (2, '-')");
    system.write(0, "DELETE FROM public.t WHERE id = 1");
    system.write(1, "UPDATE public.t SET v = 'b' WHERE id = 1");
    // The delete arrives where the update has been.
    system.heal();
    system.isolate(0);
    system.wait_for(2, ALL, "1:b\n2:-");
    system.heal();
    system.expect(ALL, "1:b\n2:-");
    // And the update where the delete has been.
    system.isolate(1);
    system.write(0, "DELETE FROM public.t WHERE id = 2");
    system.write(1, "UPDATE public.t SET v = 'b' WHERE id = 2");
    system.wait_for(2, ALL, "1:b");
    system.heal();
    system.expect(ALL, "1:b\n2:b");
}

#[test]
fn an_update_that_overtakes_its_insert_on_the_way_through_a_third_region() {
    let system = System::start(SCHEMA);
    // c hears of a's insert and b's update of it from b alone.
    system.part(0, 2);
    system.sql(0, "INSERT INTO public.t VALUES (1, 'a')");
    system.wait_for(1, ALL, "1:a");
    system.sql(1, "UPDATE public.t SET v = 'b' WHERE id = 1");
    system.wait_for(2, ALL, "1:b");
    // The insert by itself arrives after all.
    system.heal();
    system.expect(ALL, "1:b");
}

#[test]
fn a_delete_that_overtakes_its_insert() {
    let system = System::start(SCHEMA);
    system.part(0, 2);
    system.sql(0, "INSERT INTO public.t VALUES (1, 'a'), (2, 'a')");
    system.wait_for(1, ALL, "1:a\n2:a");
    system.sql(1, "DELETE FROM public.t WHERE id = 1");
    system.wait_for(2, ALL, "2:a");
    system.heal();
    system.expect(ALL, "2:a");
}

#[test]
fn a_write_that_its_region_has_not_captured_when_another_is_projected() {
    let system = System::start(SCHEMA);
    let rows: Vec<_> = (1..=7).map(|id| format!("({id}, '-')")).collect();
    system.sql(
        0,
        &format!("INSERT INTO public.t VALUES {}", rows.join(",")),
    );
    system.barrier();
    // b's region doesn't hear its server, and goes on writing into it.
    system.gate(1).hold_capture();
    for sql in [
        "UPDATE public.t SET v = 'b' WHERE id = 1",
        "DELETE FROM public.t WHERE id = 2",
        "DELETE FROM public.t WHERE id = 3",
        "INSERT INTO public.t VALUES (3, 'anew'), (8, 'b')",
        "UPDATE public.t SET id = 14 WHERE id = 4",
        "BEGIN; SAVEPOINT s; UPDATE public.t SET v = 'saved' WHERE id = 5; RELEASE s; COMMIT",
        "DELETE FROM public.t WHERE id = 7",
    ] {
        system.sql(1, sql);
    }
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id IN (1, 2, 4, 5)");
    system.sql(0, "DELETE FROM public.t WHERE id = 3");
    system.sql(0, "INSERT INTO public.t VALUES (8, 'a')");
    system.sql(0, "UPDATE public.t SET v = 'sentinel' WHERE id = 6");
    system.wait_for(2, "SELECT v FROM public.t WHERE id = 6", "sentinel");
    system.gate(1).open();
    // b's writes are captured last, and what a wrote had not seen them: b's stand.
    system.expect(ALL, "1:b\n3:anew\n5:saved\n6:sentinel\n8:b\n14:-");
}

#[test]
fn a_row_that_a_projection_brings_back_over_a_delete_goes_again() {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-')");
    system.barrier();
    system.gate(1).hold_capture();
    system.sql(1, "DELETE FROM public.t WHERE id = 1");
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 1");
    // Nobody can know yet that it was deleted: it is inserted.
    system.wait_for(1, ALL, "1:a");
    system.gate(1).open();
    system.expect(ALL, "");
}
