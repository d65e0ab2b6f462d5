//! What a server does with its rows by itself: values out of line, frozen and rewritten rows,
//! partitions.

use crate::system::System;

#[test]
fn an_unchanged_toast_column() {
    let system = System::start(
        "CREATE TABLE public.doc (id int PRIMARY KEY, n int, body text, other bytea); \
         ALTER TABLE public.doc ALTER body SET STORAGE EXTERNAL;",
    );
    system.sql(
        0,
        "INSERT INTO public.doc SELECT g, 0, repeat(md5(g::text), 1000), decode(repeat(md5(g::text), 500), 'hex') \
         FROM generate_series(1, 3) g",
    );
    system.barrier();
    system.part(0, 1);
    system.part(1, 2);
    system.write(0, "UPDATE public.doc SET n = 1");
    system.write(
        1,
        "UPDATE public.doc SET body = body || 'b', n = 2 WHERE id = 2",
    );
    // While its region doesn't know of a local change yet.
    system.gate(1).hold_capture();
    system.sql(1, "UPDATE public.doc SET n = 3 WHERE id = 3");
    system.heal();
    system.gate(1).open();
    let expected = "SELECT id || ' ' || n || ' ' || (body = repeat(md5(id::text), 1000) \
                    || CASE WHEN id = 2 THEN 'b' ELSE '' END)::text || ' ' || length(other) \
                    FROM public.doc ORDER BY id";
    system.expect(expected, "1 1 true 8000\n2 2 true 8000\n3 3 true 8000");
    system.sql(
        2,
        "UPDATE public.doc SET id = id + 10, other = NULL WHERE id = 1",
    );
    system.sql(2, "UPDATE public.doc SET body = NULL WHERE id = 3");
    system.expect(
        "SELECT id || ' ' || coalesce(length(body), 0) FROM public.doc ORDER BY id",
        "2 32001\n3 0\n11 32000",
    );
}

#[test]
fn frozen_rows() {
    let system = System::start("CREATE TABLE public.t (id int PRIMARY KEY, v text);");
    system.sql(
        0,
        "INSERT INTO public.t VALUES (1, '-'), (2, '-'), (3, '-')",
    );
    system.barrier();
    for region in 0..3 {
        system.sql(region, "VACUUM (FREEZE) public.t");
    }
    system.sql(1, "UPDATE public.t SET v = 'b' WHERE id = 1");
    system.sql(2, "DELETE FROM public.t WHERE id = 2");
    system.expect("SELECT id || v FROM public.t ORDER BY id", "1b\n3-");
    // One that was frozen before its region heard of it.
    system.gate(0).hold_capture();
    system.sql(0, "UPDATE public.t SET v = 'a' WHERE id = 3");
    system.sql(0, "VACUUM (FREEZE) public.t");
    system.sql(1, "UPDATE public.t SET v = 'b' WHERE id = 3");
    system.wait_for(2, "SELECT v FROM public.t WHERE id = 3", "b");
    system.gate(0).open();
    system.expect("SELECT id || v FROM public.t ORDER BY id", "1b\n3a");
}

#[test]
fn a_table_rewritten() {
    let system = System::start("CREATE TABLE public.t (id int PRIMARY KEY, v text, n int);");
    system.sql(
        0,
        "INSERT INTO public.t SELECT g, '-', g FROM generate_series(1, 6) g",
    );
    system.barrier();
    let rewrites = [
        "VACUUM FULL public.t",
        "CLUSTER public.t USING t_pkey",
        "ALTER TABLE public.t ALTER n TYPE bigint",
    ];
    for (turn, rewrite) in rewrites.iter().enumerate() {
        // In one region after the other, as an operator would; others write meanwhile.
        for region in 0..3 {
            system.sql(region, rewrite);
            let (other, id) = ((region + 1) % 3, turn * 2 + 1);
            system.write(
                other,
                &format!("UPDATE public.t SET v = '{turn}{region}' WHERE id = {id}"),
            );
        }
        // Not captured yet, rewritten, and written by another region.
        system.gate(1).hold_capture();
        let id = turn * 2 + 2;
        system.sql(
            1,
            &format!("UPDATE public.t SET v = 'b{turn}' WHERE id = {id}"),
        );
        system.sql(1, "VACUUM FULL public.t");
        system.sql(
            0,
            &format!("UPDATE public.t SET v = 'a{turn}' WHERE id = {id}"),
        );
        system.wait_for(
            2,
            &format!("SELECT v FROM public.t WHERE id = {id}"),
            &format!("a{turn}"),
        );
        system.gate(1).open();
    }
    system.expect(
        "SELECT v FROM public.t ORDER BY id",
        "02\nb0\n12\nb1\n22\nb2",
    );
}

const PARTS: &str = "\
    CREATE TABLE public.m (region text, id int, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region); \
    CREATE TABLE public.m_x PARTITION OF public.m FOR VALUES IN ('x'); \
    CREATE TABLE public.m_y PARTITION OF public.m FOR VALUES IN ('y', 'z') PARTITION BY RANGE (id); \
    CREATE TABLE public.m_y1 PARTITION OF public.m_y FOR VALUES FROM (0) TO (10); \
    CREATE TABLE public.m_y2 PARTITION OF public.m_y DEFAULT;";
const PARTS_ALL: &str = "SELECT region || id || v FROM public.m ORDER BY region, id";

#[test]
fn partitioned_tables() {
    let system = System::start(PARTS);
    system.sql(
        0,
        "INSERT INTO public.m VALUES ('x', 1, '-'), ('x', 2, '-'), ('y', 3, '-'), ('z', 30, '-')",
    );
    system.barrier();
    // The third region would hand on to either what the other wrote.
    system.isolate(0);
    // Rows move between partitions, which are leaves of different depth.
    system.write(0, "UPDATE public.m SET region = 'y' WHERE id = 1");
    system.write(1, "UPDATE public.m_x SET v = 'b' WHERE id IN (1, 2)");
    system.write(2, "UPDATE public.m_y SET id = 4 WHERE id = 30");
    system.heal();
    system.expect(PARTS_ALL, "x1b\nx2b\ny1-\ny3-\nz4-");
    system.sql(1, "TRUNCATE public.m");
    system.sql(1, "INSERT INTO public.m VALUES ('z', 1, 'new')");
    system.expect(PARTS_ALL, "z1new");
}
