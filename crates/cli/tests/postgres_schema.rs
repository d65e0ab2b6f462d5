//! `meridian schema apply`: migrations over the servers of all regions, as `up --postgres` starts them.

mod support;

use meridian_engine_postgres::server::connect;
use serde_json::Value;
use std::process::Output;
use support::local::{Local, REGIONS, run};
use support::text;

/// The tables of schema `public` with their columns, as text.
const CATALOG: &str = "SELECT string_agg(table_name || '.' || column_name || ' ' || data_type, ', ' \
    ORDER BY table_name, column_name) FROM information_schema.columns WHERE table_schema = 'public'";

fn apply(system: &Local, name: &str, sql: &str, arguments: &[&str]) -> Output {
    system.file(name, sql);
    let mut command = system.command(&["schema", "apply", name]);
    command.args(arguments).output().unwrap()
}

fn applied(system: &Local, name: &str, sql: &str) -> Value {
    let output = apply(system, name, sql, &["--output", "json"]);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// That it exits with 1 and says this.
fn refused(system: &Local, name: &str, sql: &str, said: &[&str]) {
    let before: Vec<_> = (0..3).map(|region| system.ask(region, CATALOG)).collect();
    let output = apply(system, name, sql, &[]);
    assert_eq!(output.status.code(), Some(1), "{sql}: {}", text(&output));
    for said in said {
        assert!(
            text(&output).contains(said),
            "{sql}: no {said:?} in {}",
            text(&output)
        );
    }
    assert!(text(&output).contains("hint:"), "{sql}: {}", text(&output));
    let after: Vec<_> = (0..3).map(|region| system.ask(region, CATALOG)).collect();
    assert_eq!(before, after, "{sql}");
}

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, item text NOT NULL, price int);
    CREATE TABLE gone (id serial PRIMARY KEY, what text);
    CREATE TABLE empty (id int PRIMARY KEY);";

#[test]
fn a_migration_is_in_every_region_and_captured_when_it_returns() {
    let system = Local::start(24_000, &[]);

    // A dry run changes nothing.
    let dry = apply(&system, "0001_orders.sql", ORDERS, &["--dry-run"]);
    assert!(dry.status.success(), "{}", text(&dry));
    assert!(
        text(&dry).contains("+ public.orders is made"),
        "{}",
        text(&dry)
    );
    assert!(text(&dry).contains("us-east-1 to do"), "{}", text(&dry));
    assert_eq!(system.ask(0, CATALOG), "");

    let report = applied(&system, "0001_orders.sql", ORDERS);
    for region in REGIONS {
        assert_eq!(report["steps"][0]["regions"][region], "done", "{report}");
    }
    for region in 0..3 {
        let standing = system.standing(region);
        assert_eq!(standing["state"], "running", "{standing}");
        system.sql(
            region,
            &format!("INSERT INTO orders VALUES ({region}, 'tea', 3)"),
        );
    }
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM public.orders";
    system.all_say(ids, "0 1 2");

    // Several steps: a column with a default, rows, an index outside of a transaction.
    let report = applied(
        &system,
        "0002_stock.sql",
        "-- step: columns\nALTER TABLE orders ADD COLUMN stock int NOT NULL DEFAULT 7, ADD note text;\n\
         -- step: fill\nUPDATE orders SET note = 'n' || id;\n\
         -- step: index\nCREATE INDEX CONCURRENTLY by_note ON orders (note);\n",
    );
    let steps = report["steps"].as_array().unwrap();
    let natures: Vec<_> = steps.iter().map(|step| step["nature"].as_str()).collect();
    assert_eq!(natures, [Some("additive"), Some("rows"), None], "{report}");
    assert_eq!(steps[1]["regions"]["us-east-1"], "done");
    assert_eq!(steps[1]["regions"]["eu-west-1"], "replicates");
    let rows = "SELECT string_agg(concat(id, stock, note), ' ' ORDER BY id) FROM public.orders";
    system.all_say(rows, "07n0 17n1 27n2");
    let index = "SELECT count(*)::text FROM pg_indexes WHERE indexname = 'by_note'";
    system.all_say(index, "1");

    // Again: nothing is left to do.
    let file = std::fs::read_to_string(system.directory.path().join("0002_stock.sql")).unwrap();
    let again = applied(&system, "0002_stock.sql", &file);
    assert_eq!(
        again["steps"][0]["regions"]["ap-northeast-1"],
        "done before"
    );
    let edited = apply(&system, "0002_stock.sql", &file.replace('7', "8"), &[]);
    assert_eq!(edited.status.code(), Some(1), "{}", text(&edited));
    assert!(
        text(&edited).contains("with another text"),
        "{}",
        text(&edited)
    );

    what_cannot_work_while_regions_differ_is_refused(&system);
    one_that_stops_goes_on_where_it_stopped(&system);

    a_table_with_parked_rows_is_not_dropped(&system);

    // What takes away: a table once it is empty, a column that takes NULL, a name.
    applied(
        &system,
        "0004_less.sql",
        "TRUNCATE gone;\n-- step\nDROP TABLE gone;\n\
         -- step\nALTER TABLE orders DROP COLUMN note;\n\
         -- step\nALTER TABLE orders RENAME COLUMN item TO article;",
    );
    system.sql(1, "INSERT INTO orders (id, article) VALUES (9, 'new')");
    system.all_say(
        "SELECT article || stock FROM public.orders WHERE id = 9",
        "new7",
    );
}

fn what_cannot_work_while_regions_differ_is_refused(system: &Local) {
    system.sql(2, "INSERT INTO gone (what) VALUES ('x')");
    system.all_say("SELECT count(*)::text FROM public.gone", "1");
    let refused = |sql: &str, said: &[&str]| refused(system, "bad.sql", sql, said);
    refused(
        "ALTER TABLE orders ADD COLUMN c int NOT NULL",
        &[
            "line 1",
            "contains null values",
            "SET NOT NULL in a later step",
        ],
    );
    refused(
        "ALTER TABLE empty ADD COLUMN c int NOT NULL",
        &[
            "public.empty",
            "column c is added NOT NULL without DEFAULT",
            "nothing was done",
        ],
    );
    refused(
        "ALTER TABLE orders ADD COLUMN c timestamptz DEFAULT now()",
        &["another value in each region"],
    );
    refused(
        "ALTER TABLE orders ALTER COLUMN id TYPE bigint",
        &["primary key changes from (id integer) to (id bigint)"],
    );
    refused(
        "ALTER TABLE orders ALTER COLUMN price TYPE text",
        &["column price changes from integer to text"],
    );
    refused(
        "ALTER TABLE orders DROP COLUMN item",
        &["column item is dropped", "DROP NOT NULL"],
    );
    refused(
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
        &["primary key changes"],
    );
    refused(
        "DROP TABLE gone",
        &["public.gone", "dropped with rows in it"],
    );
    refused(
        "ALTER TABLE orders RENAME TO sales",
        &["renamed to public.sales"],
    );
    refused(
        "CREATE TABLE keyless (a int)",
        &["public.keyless", "a row of one region"],
    );
    refused(
        "ALTER TABLE orders ADD COLUMN c int; UPDATE orders SET c = 1",
        &["rows of this one", "step of their own"],
    );
    refused(
        "SELECT 1;\n-- step\nALTER TABLE orders ADD COLUMN price int",
        &["line 3", "already exists"],
    );
    for (sql, said) in [
        (
            "CREATE INDEX CONCURRENTLY i ON orders (id); SELECT 1",
            "line 1: this can't run",
        ),
        ("BEGIN; SELECT 1; COMMIT", "BEGIN is Meridian's to say"),
        ("", "it has no statement"),
    ] {
        let output = apply(system, "bad.sql", sql, &[]);
        assert_eq!(output.status.code(), Some(2), "{sql}: {}", text(&output));
        assert!(text(&output).contains(said), "{sql}: {}", text(&output));
    }
}

/// Somebody holds a lock in the last region: the others have the step then, and keep it.
fn one_that_stops_goes_on_where_it_stopped(system: &Local) {
    let sql = "ALTER TABLE orders ADD COLUMN late int";
    let impatient = ["--lock-timeout", "1", "--patience", "2"];
    run(async {
        let holder = connect(&system.server(2), "test").await.unwrap();
        holder
            .batch_execute("BEGIN; LOCK TABLE public.orders IN ACCESS SHARE MODE")
            .await
            .unwrap();
        let output = apply(system, "0003_late.sql", sql, &impatient);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("trying again"), "{}", text(&output));
        assert!(
            text(&output).contains("ap-northeast-1"),
            "{}",
            text(&output)
        );
        holder.batch_execute("ROLLBACK").await.unwrap();
    });
    let has = "SELECT count(*)::text FROM information_schema.columns WHERE column_name = 'late'";
    let counts: Vec<_> = (0..3).map(|region| system.ask(region, has)).collect();
    assert_eq!(counts, ["1", "1", "0"]);
    // What is written meanwhile waits where the column isn't there yet, and isn't lost.
    system.sql(
        0,
        "INSERT INTO orders (id, item, late) VALUES (5, 'early', 1)",
    );
    system.sql(2, "INSERT INTO orders (id, item) VALUES (6, 'without')");
    let report = applied(system, "0003_late.sql", sql);
    let regions = &report["steps"][0]["regions"];
    assert_eq!(regions["us-east-1"], "done before", "{report}");
    assert_eq!(regions["ap-northeast-1"], "done", "{report}");
    let late = "SELECT string_agg(item || coalesce(late::text, '-'), ' ' ORDER BY id) \
                FROM public.orders WHERE id IN (5, 6)";
    system.all_say(late, "early1 without-");
}

fn a_table_with_parked_rows_is_not_dropped(system: &Local) {
    let parked = "INSERT INTO meridian.parked VALUES ('shop', 'public.empty', '7', \
                  '{\"row\": {\"table\": \"public.empty\", \"key\": \"7\"}, \
                    \"hindrance\": {\"refused\": {\"reason\": \"it says no\"}}}')";
    let dataset =
        "SELECT string_agg(dataset, ' ') FROM meridian.position WHERE position IS NOT NULL";
    let dataset = system.ask(1, dataset);
    system.sql(1, &parked.replace("shop", &dataset));
    let drop = "DROP TABLE empty;";
    let output = apply(system, "0003_drop.sql", drop, &["--patience", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = "public.empty is to be dropped, and 1 rows of it are parked in eu-west-1";
    assert!(text(&output).contains(said), "{}", text(&output));
    system.sql(1, "DELETE FROM meridian.parked");
}
