//! `TRUNCATE` removes the rows that its region holds, as of one version; what it had not heard of
//! stays if it is written elsewhere meanwhile.

use crate::system::System;

const SCHEMA: &str = "CREATE TABLE public.t (id int PRIMARY KEY, v text);";
const ALL: &str = "SELECT id || ':' || v FROM public.t ORDER BY id";

#[test]
fn truncate_against_concurrent_inserts() {
    let system = System::start(SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    system.part(0, 1);
    system.part(0, 2);
    system.part(1, 2);
    system.write(1, "UPDATE public.t SET v = 'older' WHERE id = 1");
    system.write(0, "TRUNCATE public.t");
    system.write(1, "UPDATE public.t SET v = 'newer' WHERE id = 2");
    system.write(2, "INSERT INTO public.t VALUES (4, 'c')");
    system.heal();
    system.expect(ALL, "2:newer\n4:c");
}

#[test]
fn truncate_among_other_statements_of_its_transaction() {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-'), (2, '-')");
    system.barrier();
    system.sql(
        1,
        "BEGIN; INSERT INTO public.t VALUES (3, 'before'); UPDATE public.t SET v = 'x' WHERE id = 1; \
         TRUNCATE public.t; INSERT INTO public.t VALUES (2, 'after'); \
         SAVEPOINT s; TRUNCATE public.t; ROLLBACK TO s; COMMIT",
    );
    system.expect(ALL, "2:after");
}

#[test]
fn truncate_of_what_the_same_large_transaction_wrote() {
    let system = System::start(SCHEMA);
    system.sql(
        2,
        "BEGIN; INSERT INTO public.t SELECT g, repeat('x', 3000) FROM generate_series(1, 3500) g; \
         TRUNCATE public.t; INSERT INTO public.t VALUES (7, 'after'); COMMIT",
    );
    system.expect(ALL, "7:after");
}

#[test]
fn truncate_cascades_and_sequences_stay_disjoint() {
    let system = System::start(
        "CREATE TABLE public.parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); \
         CREATE TABLE public.child (id bigserial PRIMARY KEY, parent int NOT NULL REFERENCES public.parent);",
    );
    system.sql(0, "INSERT INTO public.parent (v) VALUES ('old'); INSERT INTO public.child (parent) SELECT id FROM public.parent");
    system.barrier();
    system.isolate(0);
    // What an application's tests do now and then.
    for region in 0..2 {
        system.write(region, "TRUNCATE public.parent RESTART IDENTITY CASCADE");
    }
    for region in 0..2 {
        let insert = format!("INSERT INTO public.parent (v) VALUES ('of {region}')");
        system.write(region, &insert);
    }
    system.heal();
    system.expect("SELECT v FROM public.parent ORDER BY v", "of 0\nof 1");
    system.expect("SELECT count(*) FROM public.child", "0");
}

#[test]
fn truncate_that_its_region_has_not_captured() {
    let system = System::start(SCHEMA);
    system.sql(0, "INSERT INTO public.t VALUES (1, '-'), (2, '-')");
    system.barrier();
    system.gate(1).hold_capture();
    system.sql(1, "TRUNCATE public.t");
    system.sql(1, "INSERT INTO public.t VALUES (2, 'b')");
    system.sql(0, "UPDATE public.t SET v = 'a'");
    system.sql(0, "INSERT INTO public.t VALUES (3, 'a')");
    system.wait_for(2, ALL, "1:a\n2:a\n3:a");
    system.gate(1).open();
    // Its version is that of when it is captured: what b's region held by then goes.
    system.expect(ALL, "2:b");
}
