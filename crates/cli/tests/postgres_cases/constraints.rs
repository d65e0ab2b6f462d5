//! Rows that regions may each have by itself and not together. Which of them stand follows from the
//! rows and their versions, whichever way they came.

use crate::system::System;
use meridian_engine_postgres::local::MIXED_VARIABLE;

const UNIQUE: &str = "CREATE TABLE public.t (id int PRIMARY KEY, u text UNIQUE, v text UNIQUE);";
const ALL: &str =
    "SELECT id || ':' || coalesce(u, '-') || coalesce(v, '-') FROM public.t ORDER BY id";

fn part_all(system: &System) {
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
}

#[test]
fn a_unique_index_violated_across_regions() {
    let system = System::start(UNIQUE);
    part_all(&system);
    system.write(0, "INSERT INTO public.t VALUES (1, 'x', NULL)");
    system.write(1, "INSERT INTO public.t VALUES (2, 'x', NULL)");
    system.write(2, "INSERT INTO public.t VALUES (3, 'y', NULL)");
    system.heal();
    // The newest has the value; the other is kept, and comes back when the value is free.
    system.expect(ALL, "2:x-\n3:y-");
    assert_eq!(system.parked(), "public.t 1");
    system.sql(2, "UPDATE public.t SET u = 'z' WHERE id = 2");
    system.expect(ALL, "1:x-\n2:z-\n3:y-");
    assert_eq!(system.parked(), "");
}

#[test]
fn unique_values_in_chains_over_two_indexes() {
    let system = System::start(UNIQUE);
    // Three rows of which each excludes the next, written in this order; they meet in every order.
    for (turn, first) in [(1, [0, 1]), (2, [1, 2]), (3, [0, 2])] {
        part_all(&system);
        let (one, two, three) = (turn * 10 + 1, turn * 10 + 2, turn * 10 + 3);
        system.write(
            0,
            &format!("INSERT INTO public.t VALUES ({one}, 'p{turn}', 'q{turn}')"),
        );
        system.write(
            1,
            &format!("INSERT INTO public.t VALUES ({two}, 'p{turn}', 's{turn}')"),
        );
        system.write(
            2,
            &format!("INSERT INTO public.t VALUES ({three}, 't{turn}', 's{turn}')"),
        );
        system.heal();
        let last = 3 - first[0] - first[1];
        system.isolate(last);
        let here = format!("SELECT count(*) FROM public.t WHERE id / 10 = {turn}");
        let together = if last == 1 { "2" } else { "1" };
        system.wait_for(first[0], &here, together);
        system.wait_for(first[1], &here, together);
        system.heal();
        // The newest stands, so the second is out, so the first stands.
        let ids = format!("SELECT id FROM public.t WHERE id / 10 = {turn} ORDER BY id");
        system.expect(&ids, &format!("{one}\n{three}"));
    }
    assert_eq!(system.parked(), "public.t 12\npublic.t 22\npublic.t 32");
    // Without the newest the second stands, and the first is out.
    system.sql(1, "DELETE FROM public.t WHERE id = 13");
    system.expect("SELECT id FROM public.t WHERE id < 20", "12");
}

#[test]
fn unique_indexes_over_expressions_parts_and_nulls() {
    // Servers before 15 take indexes that mean the same; side by side all have the same ones.
    let newest = "CREATE UNIQUE INDEX ON public.e (slot) NULLS NOT DISTINCT";
    let oldest = "CREATE UNIQUE INDEX ON public.e (slot); \
                  CREATE UNIQUE INDEX ON public.e ((slot IS NULL)) WHERE slot IS NULL";
    let newest_since = if std::env::var_os(MIXED_VARIABLE).is_some() {
        u32::MAX
    } else {
        150_000
    };
    let system = System::start(&format!(
        "CREATE TABLE public.e (id int PRIMARY KEY, mail text, active boolean, slot int); \
         CREATE UNIQUE INDEX ON public.e (lower(mail)) WHERE active; \
         DO $$ BEGIN IF current_setting('server_version_num')::bigint >= {newest_since} THEN \
         EXECUTE '{newest}'; ELSE {oldest}; END IF; END $$;"
    ));
    part_all(&system);
    system.write(0, "INSERT INTO public.e VALUES (1, 'Ada', true, 1), (2, 'Bob', false, 2), (3, 'c', true, NULL)");
    system.write(1, "INSERT INTO public.e VALUES (4, 'aDA', true, 4), (5, 'bob', true, 5), (6, 'd', true, NULL)");
    system.heal();
    system.expect("SELECT id FROM public.e ORDER BY id", "2\n4\n5\n6");
    assert_eq!(system.parked(), "public.e 1\npublic.e 3");
}

#[test]
fn unique_values_swapped_inside_one_transaction() {
    let system = System::start(
        "CREATE TABLE public.t (id int PRIMARY KEY, u text UNIQUE, v text); \
         CREATE TABLE public.d (id int PRIMARY KEY, u int UNIQUE DEFERRABLE); \
         CREATE TABLE public.child (id int PRIMARY KEY, t int REFERENCES public.t ON DELETE CASCADE);",
    );
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, 'x', '-'), (2, 'y', '-'), (3, 'z', '-'); \
                   INSERT INTO public.child VALUES (1, 1), (2, 2); \
                   INSERT INTO public.d SELECT g, g FROM generate_series(1, 4) g",
    );
    system.barrier();
    system.sql(
        1,
        "BEGIN; UPDATE public.t SET u = 't' WHERE id = 1; UPDATE public.t SET u = 'x' WHERE id = 2; \
         UPDATE public.t SET u = 'y' WHERE id = 1; COMMIT",
    );
    system.sql(2, "UPDATE public.d SET u = 5 - u");
    system.expect("SELECT id || u FROM public.t ORDER BY id", "1y\n2x\n3z");
    system.expect(
        "SELECT id || '-' || u FROM public.d ORDER BY id",
        "1-4\n2-3\n3-2\n4-1",
    );
    // No cascade fired on the way.
    system.expect(
        "SELECT id || '-' || t FROM public.child ORDER BY id",
        "1-1\n2-2",
    );
}

const FAMILY: &str = "\
    CREATE TABLE public.parent (id int PRIMARY KEY, v text); \
    CREATE TABLE public.child (id int PRIMARY KEY, parent int NOT NULL REFERENCES public.parent); \
    CREATE TABLE public.cascaded (id int PRIMARY KEY, parent int REFERENCES public.parent ON DELETE CASCADE); \
    CREATE TABLE public.freed (id int PRIMARY KEY, parent int REFERENCES public.parent ON DELETE SET NULL);";

#[test]
fn a_foreign_key_whose_parent_was_deleted_elsewhere() {
    let system = System::start(FAMILY);
    system.sql(0, "INSERT INTO public.parent VALUES (1, 'one'), (2, 'two')");
    system.barrier();
    part_all(&system);
    system.write(0, "DELETE FROM public.parent WHERE id = 1");
    system.write(1, "INSERT INTO public.child VALUES (1, 1), (2, 2)");
    // The other way round: the child is older than the delete of its parent.
    system.write(1, "INSERT INTO public.child VALUES (3, 2)");
    system.write(2, "DELETE FROM public.parent WHERE id = 2");
    system.heal();
    system.expect("SELECT count(*) FROM public.parent", "0");
    system.expect("SELECT count(*) FROM public.child", "0");
    assert_eq!(
        system.parked(),
        "public.child 1\npublic.child 2\npublic.child 3"
    );
    system.sql(2, "INSERT INTO public.parent VALUES (1, 'again')");
    system.expect("SELECT id FROM public.child", "1");
    assert_eq!(system.parked(), "public.child 2\npublic.child 3");
}

#[test]
fn cascades() {
    let system = System::start(FAMILY);
    system.sql(
        0,
        "INSERT INTO public.parent VALUES (1, 'one'), (2, 'two'); \
                   INSERT INTO public.cascaded VALUES (1, 1), (2, 2); \
                   INSERT INTO public.freed VALUES (1, 1), (2, 2)",
    );
    system.barrier();
    part_all(&system);
    system.write(1, "INSERT INTO public.cascaded VALUES (3, 1)");
    system.write(1, "INSERT INTO public.freed VALUES (3, 1)");
    system.write(1, "UPDATE public.cascaded SET parent = 2 WHERE id = 1");
    system.write(0, "DELETE FROM public.parent WHERE id = 1");
    system.write(2, "UPDATE public.parent SET v = 'newer' WHERE id = 2");
    system.heal();
    // What a's cascade saw went with it; what it had not seen is without parent, and kept out.
    system.expect(
        "SELECT id || '-' || parent FROM public.cascaded ORDER BY id",
        "2-2",
    );
    system.expect(
        "SELECT id || '-' || coalesce(parent::text, '') FROM public.freed ORDER BY id",
        "1-\n2-2",
    );
    assert_eq!(system.parked(), "public.cascaded 3\npublic.freed 3");
}

#[test]
fn a_parent_that_an_update_brings_back() {
    let system = System::start(FAMILY);
    system.sql(
        0,
        "INSERT INTO public.parent VALUES (1, 'one'); INSERT INTO public.cascaded VALUES (1, 1)",
    );
    system.barrier();
    part_all(&system);
    system.write(0, "DELETE FROM public.parent WHERE id = 1");
    system.write(1, "UPDATE public.parent SET v = 'newer' WHERE id = 1");
    system.write(2, "INSERT INTO public.child VALUES (7, 1)");
    system.heal();
    // The newer update keeps the parent; the cascade stands, since nobody wrote that child since.
    system.expect("SELECT id || v FROM public.parent", "1newer");
    system.expect("SELECT count(*) FROM public.cascaded", "0");
    system.expect("SELECT id FROM public.child", "7");
}

#[test]
fn a_row_that_refers_to_its_own_table() {
    let system = System::start(
        "CREATE TABLE public.tree (id int PRIMARY KEY, above int REFERENCES public.tree ON DELETE CASCADE, u int UNIQUE);",
    );
    system.sql(
        0,
        "INSERT INTO public.tree VALUES (1, NULL, 1), (2, 1, 2), (3, 2, 3)",
    );
    system.barrier();
    part_all(&system);
    system.write(0, "DELETE FROM public.tree WHERE id = 2");
    system.write(1, "INSERT INTO public.tree VALUES (4, 3, 4)");
    system.write(2, "INSERT INTO public.tree VALUES (5, 1, 4)");
    system.heal();
    let ids = "SELECT id FROM public.tree ORDER BY id";
    system.expect(ids, "1\n5");
    assert_eq!(system.parked(), "public.tree 4");
    system.sql(0, "DELETE FROM public.tree WHERE id = 5");
    system.sql(0, "INSERT INTO public.tree VALUES (3, 1, 3)");
    system.expect(ids, "1\n3\n4");
}

#[test]
fn deferred_constraints() {
    let system = System::start(
        "CREATE TABLE public.head (id int PRIMARY KEY, tail int NOT NULL); \
         CREATE TABLE public.tail (id int PRIMARY KEY, head int NOT NULL \
         REFERENCES public.head DEFERRABLE INITIALLY DEFERRED); \
         ALTER TABLE public.head ADD FOREIGN KEY (tail) REFERENCES public.tail DEFERRABLE;",
    );
    let pair = |id: usize| {
        format!(
            "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.tail VALUES ({id}, {id}); \
             INSERT INTO public.head VALUES ({id}, {id}); COMMIT"
        )
    };
    part_all(&system);
    for region in 0..3 {
        system.write(region, &pair(region + 1));
    }
    system.heal();
    let pairs = "SELECT h.id FROM public.head h JOIN public.tail t ON t.head = h.id AND h.tail = t.id ORDER BY 1";
    system.expect(pairs, "1\n2\n3");
    system.sql(
        1,
        "BEGIN; SET CONSTRAINTS ALL DEFERRED; DELETE FROM public.head WHERE id = 3; \
         DELETE FROM public.tail WHERE id = 3; COMMIT",
    );
    system.expect(pairs, "1\n2");
}

#[test]
fn an_exclusion_constraint_violated_across_regions() {
    let system = System::start(
        "CREATE TABLE public.booking (id int PRIMARY KEY, during int4range, \
         EXCLUDE USING gist (during WITH &&));",
    );
    part_all(&system);
    system.write(
        0,
        "INSERT INTO public.booking VALUES (1, '[1,5)'), (4, '[20,30)')",
    );
    system.write(1, "INSERT INTO public.booking VALUES (2, '[3,8)')");
    system.write(2, "INSERT INTO public.booking VALUES (3, '[7,12)')");
    system.heal();
    system.expect("SELECT id FROM public.booking ORDER BY id", "1\n3\n4");
    assert_eq!(system.parked(), "public.booking 2");
    system.sql(0, "DELETE FROM public.booking WHERE id IN (1, 3)");
    system.expect("SELECT id FROM public.booking ORDER BY id", "2\n4");
}
