//! Tables that somebody alters in one region's server without `meridian schema apply`: the region
//! that can't go on stops and says why, nothing is lost, and it goes on by itself once they are alike.

mod support;

use support::local::{Local, PATIENCE, REGIONS};
use support::{eventually, text};

const TABLES: &str = "CREATE TABLE added (id int PRIMARY KEY, a text);
    CREATE TABLE dropped (id int PRIMARY KEY, a text, c text);
    CREATE TABLE typed (id int PRIMARY KEY, n int);
    CREATE TABLE renamed (id int PRIMARY KEY, a text);
    CREATE TABLE keyless (id int PRIMARY KEY, a text);
    CREATE TABLE identity (id int PRIMARY KEY, a text);";

fn stops(system: &Local, region: usize, words: &[&str]) {
    let what = format!("{} stops: {words:?}", REGIONS[region]);
    let mut last = String::new();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(&what, PATIENCE, || {
            let standing = system.standing(region);
            last = standing.to_string();
            let reason = standing["reason"].as_str().unwrap_or_default();
            let is_told = words.iter().all(|word| reason.contains(word));
            (standing["state"] == "stopped" && is_told && standing["hint"].is_string())
                .then_some(())
        });
    }));
    assert!(stopped.is_ok(), "{what}: {last}");
}

fn all_run(system: &Local) {
    for (region, name) in REGIONS.iter().enumerate() {
        eventually(&format!("{name} runs"), PATIENCE, || {
            (system.standing(region)["state"] == "running").then_some(())
        });
    }
}

#[test]
fn a_table_altered_in_one_region_stops_what_cannot_go_on_until_regions_match() {
    let system = Local::start(26_000, &[]);
    system.file("tables.sql", TABLES);
    let made = system.output(&["schema", "apply", "tables.sql"]);
    assert!(made.status.success(), "{}", text(&made));

    // A column that one region adds.
    system.sql(
        0,
        "ALTER TABLE added ADD c text; INSERT INTO added VALUES (1, 'x', 'new')",
    );
    stops(&system, 1, &["public.added", "column c"]);
    system.sql(1, "INSERT INTO added VALUES (2, 'y')");
    for region in [1, 2] {
        system.sql(region, "ALTER TABLE added ADD c text");
    }
    let added = "SELECT string_agg(concat(id, a, c), ' ' ORDER BY id) FROM public.added";
    system.all_say(added, "1xnew 2y");
    all_run(&system);

    // A column that one region drops, while another writes it.
    system.sql(0, "ALTER TABLE dropped DROP c");
    system.sql(1, "INSERT INTO dropped VALUES (1, 'a', 'c')");
    stops(&system, 0, &["public.dropped", "column c"]);
    system.sql(0, "INSERT INTO dropped VALUES (2, 'b')");
    for region in [1, 2] {
        system.sql(region, "ALTER TABLE dropped DROP c");
    }
    let dropped = "SELECT string_agg(concat(id, a), ' ' ORDER BY id) FROM public.dropped";
    system.all_say(dropped, "1a 2b");
    all_run(&system);

    // A type that doesn't read what the other writes: the row waits, and is shown as parked.
    system.sql(
        0,
        "ALTER TABLE typed ALTER n TYPE text USING n::text; INSERT INTO typed VALUES (1, 'word')",
    );
    eventually("the row is parked", PATIENCE, || {
        (system.standing(1)["rows_parked"] == 1).then_some(())
    });
    system.sql(1, "INSERT INTO typed VALUES (2, 2)");
    for region in [1, 2] {
        system.sql(region, "ALTER TABLE typed ALTER n TYPE text USING n::text");
    }
    let typed = "SELECT string_agg(concat(id, n), ' ' ORDER BY id) FROM public.typed";
    system.all_say(typed, "1word 22");
    all_run(&system);

    // A table that one region lacks.
    let table = "CREATE TABLE absent (id int PRIMARY KEY, a text)";
    system.sql(0, table);
    system.sql(1, table);
    system.sql(0, "INSERT INTO absent VALUES (1, 'a')");
    stops(&system, 2, &["public.absent"]);
    system.sql(2, table);
    system.sql(2, "INSERT INTO absent VALUES (2, 'b')");
    let absent = "SELECT string_agg(concat(id, a), ' ' ORDER BY id) FROM public.absent";
    system.all_say(absent, "1a 2b");
    all_run(&system);

    // A column that one region renames: rows from before are read by its new name.
    system.sql(1, "INSERT INTO renamed VALUES (1, 'one')");
    system.all_say("SELECT count(*)::text FROM public.renamed", "1");
    system.sql(
        0,
        "ALTER TABLE renamed RENAME a TO b; INSERT INTO renamed VALUES (2, 'two')",
    );
    stops(&system, 1, &["public.renamed", "column b"]);
    system.sql(1, "INSERT INTO renamed (id, a) VALUES (3, 'three')");
    for region in [1, 2] {
        system.sql(region, "ALTER TABLE renamed RENAME a TO b");
    }
    let renamed = "SELECT string_agg(concat(id, b), ' ' ORDER BY id) FROM public.renamed";
    system.all_say(renamed, "1one 2two 3three");
    all_run(&system);

    // A primary key that is dropped under way.
    system.sql(0, "ALTER TABLE keyless DROP CONSTRAINT keyless_pkey");
    stops(&system, 0, &["public.keyless", "primary key"]);
    system.sql(0, "INSERT INTO keyless VALUES (1, 'here')");
    system.sql(1, "INSERT INTO keyless VALUES (2, 'there')");
    system.sql(0, "ALTER TABLE keyless ADD PRIMARY KEY (id)");
    let keyless = "SELECT string_agg(concat(id, a), ' ' ORDER BY id) FROM public.keyless";
    system.all_say(keyless, "1here 2there");
    all_run(&system);

    // A replica identity that says nothing of old rows: it is set again, and nothing was missed.
    system.sql(0, "ALTER TABLE identity REPLICA IDENTITY NOTHING");
    system.sql(0, "INSERT INTO identity VALUES (1, 'a')");
    let is_full = "SELECT relreplident::text FROM pg_class WHERE oid = 'public.identity'::regclass";
    system.all_say(is_full, "f");
    system.sql(0, "UPDATE identity SET a = 'b'");
    system.all_say("SELECT a FROM public.identity", "b");
    all_run(&system);
}
