//! Servers compared with what the regions hold: rows that capture missed are found, and mended.

use crate::support::{eventually, text};
use crate::system::{PATIENCE, System};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SCHEMA: &str = "CREATE TABLE public.items (id int PRIMARY KEY, what text NOT NULL)";
const ALL: &str = "SELECT string_agg(id || '=' || what, ' ' ORDER BY id) FROM public.items";

/// Changes rows of region 1's server so that its stream doesn't tell: while the publication lacks them.
fn unseen(system: &System, sql: &str) {
    system.sql(
        1,
        &format!(
            "BEGIN; ALTER PUBLICATION meridian_shop DROP TABLE public.items; {sql}; \
             ALTER PUBLICATION meridian_shop ADD TABLE public.items; COMMIT"
        ),
    );
    // What is committed later in the server, and captured, is later than that.
    system.sql(1, "INSERT INTO public.items VALUES (0, 'passed')");
    system.wait_for(
        0,
        "SELECT count(*)::text FROM public.items WHERE id = 0",
        "1",
    );
    system.sql(0, "DELETE FROM public.items WHERE id = 0");
    system.wait_for(
        1,
        "SELECT count(*)::text FROM public.items WHERE id = 0",
        "0",
    );
}

/// What a comparison says of both servers, and its exit code.
fn compare(system: &System, arguments: &[&str]) -> (Value, Option<i32>) {
    let all = [&["postgres", "compare"], arguments, &["--output", "json"]].concat();
    let output = system.meridian(&all);
    let said = serde_json::from_slice(&output.stdout);
    let said = said.unwrap_or_else(|_| panic!("{}", text(&output)));
    (said, output.status.code())
}

/// By key how a server's row differs, where it comes from, and whether it was mended.
fn differences(server: &Value) -> Value {
    let all = server["differences"].as_array().unwrap();
    let all = all.iter().map(|row| {
        let key = row["key"].as_str().unwrap().to_owned();
        (key, json!([row["kind"], row["source"], row["mended"]]))
    });
    Value::Object(all.collect())
}

/// Waits until all regions list these conflicts and no others: key, what gave way, what stands.
fn all_list(system: &System, expected: &[(&str, Option<&str>, Option<&str>)]) {
    let what = |data: &Value| data["what"].as_str().map(str::to_owned);
    let expected: Vec<_> = expected
        .iter()
        .map(|(key, loser, winner)| {
            let side = |what: &Option<&str>| what.map(str::to_owned);
            (
                json!(format!("public.items/{key}")),
                side(loser),
                side(winner),
            )
        })
        .collect();
    for region in ["us-east-1", "eu-west-1"] {
        let until = Instant::now() + PATIENCE;
        loop {
            let said = system.json(&["conflicts", "--region", region]);
            let all = said["conflicts"].as_array().unwrap();
            let mut found: Vec<_> = all
                .iter()
                .map(|conflict| {
                    let events = conflict["conflictingEvents"].as_array().unwrap();
                    let stands = |event: &Value| event["eventId"] == conflict["resolvedEvent"];
                    let winner = events.iter().position(stands).unwrap();
                    assert_eq!(conflict["resolutionStrategy"], "Chosen", "{conflict}");
                    let data = |place: usize| what(&events[place]["data"]);
                    (
                        conflict["aggregateId"].clone(),
                        data(1 - winner),
                        data(winner),
                    )
                })
                .collect();
            found.sort_by_key(|(row, ..)| row.to_string());
            if found == expected {
                break;
            }
            assert!(Instant::now() < until, "{found:#?}\n{expected:#?}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn more_rows_than_are_kept_at_once_are_mended_all_the_same() {
    let system = System::start(2, SCHEMA);
    let rows = "INSERT INTO public.items SELECT g, 'v' FROM generate_series(1, 101000) g";
    system.sql(0, rows);
    let count = "SELECT count(*)::text FROM public.items";
    system.wait_for(1, count, "101000");
    unseen(&system, "DELETE FROM public.items");
    assert_eq!(system.ask(1, count), "0");
    let (said, code) = compare(&system, &["--repair"]);
    assert_eq!(code, Some(0), "{}", said["servers"][1]["error"]);
    assert_eq!(said["servers"][1]["differing"], 101_000);
    assert_eq!(said["servers"][1]["mended"], 101_000);
    system.wait_for(1, count, "101000");
}

#[test]
fn rows_that_capture_missed_are_found_and_mended() {
    let system = System::start(2, SCHEMA);
    system.sql(
        0,
        "INSERT INTO public.items SELECT g, 'v1' FROM generate_series(1, 5) g",
    );
    let sound = "1=v1 2=v1 3=v1 4=v1 5=v1";
    system.wait_for(1, ALL, sound);
    let (said, code) = compare(&system, &[]);
    assert_eq!((&said["equal"], code), (&json!(true), Some(0)), "{said}");
    assert_eq!(said["servers"][1]["rows"], 5, "{said}");
    assert_eq!(said["servers"][1]["tables"]["public.items"], 5, "{said}");

    system.sql(0, "UPDATE public.items SET what = 'v2' WHERE id = 4");
    system.wait_for(1, ALL, "1=v1 2=v1 3=v1 4=v2 5=v1");
    unseen(
        &system,
        "UPDATE public.items SET what = 'damaged' WHERE id = 1; \
         DELETE FROM public.items WHERE id = 2; \
         UPDATE public.items SET what = 'v1' WHERE id = 4; \
         INSERT INTO public.items VALUES (9, 'unseen')",
    );
    let damaged = "1=damaged 3=v1 4=v1 5=v1 9=unseen";
    assert_eq!(system.ask(1, ALL), damaged);
    let (said, code) = compare(&system, &[]);
    assert_eq!((&said["equal"], code), (&json!(false), Some(1)), "{said}");
    assert_eq!(said["servers"][0]["differing"], 0, "{said}");
    assert_eq!(
        differences(&said["servers"][1]),
        json!({
            "1": ["different", "unknown", false],
            "2": ["missing", "nothing", false],
            "4": ["different", "older", false],
            "9": ["extra", "unknown", false],
        }),
        "{said}"
    );
    let rows = said["servers"][1]["differences"].as_array().unwrap();
    let first = rows.iter().find(|row| row["key"] == "1").unwrap();
    assert_eq!(first["server"], json!({"id": "1", "what": "damaged"}));
    assert_eq!(first["tables"], json!({"id": "1", "what": "v1"}));

    // Repair writes over nothing that may be somebody's.
    let (said, code) = compare(&system, &["--repair"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said["servers"][1]["mended"], 2, "{said}");
    assert_eq!(said["servers"][1]["unknown"], 2, "{said}");
    assert_eq!(system.ask(1, ALL), "1=damaged 2=v1 3=v1 4=v2 5=v1 9=unseen");
    let output = system.meridian(&["postgres", "compare", "public.items"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("unexplained"), "{}", text(&output));

    let (said, code) = compare(&system, &["--repair", "--take", "regions"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(system.ask(1, ALL), "1=v1 2=v1 3=v1 4=v2 5=v1");
    let mut listed = vec![
        ("1", Some("damaged"), Some("v1")),
        ("9", Some("unseen"), None),
    ];
    all_list(&system, &listed);

    // Or they are taken for what they are: writes of that region.
    unseen(
        &system,
        "UPDATE public.items SET what = 'mine' WHERE id = 3; \
         INSERT INTO public.items VALUES (8, 'mine too')",
    );
    let (said, code) = compare(&system, &["--repair", "--take", "server"]);
    assert_eq!(code, Some(0), "{said}");
    let all = "1=v1 2=v1 3=mine 4=v2 5=v1 8=mine too";
    assert_eq!(system.ask(1, ALL), all);
    system.wait_for(0, ALL, all);
    // What nobody else had gave way to nobody.
    listed.insert(1, ("3", Some("v1"), Some("mine")));
    all_list(&system, &listed);

    let (said, code) = compare(&system, &["public.nothing"]);
    assert_eq!(code, Some(1), "{said}");
    let missing = &said["servers"][0]["not_replicating"];
    assert_eq!(missing, &json!(["public.nothing"]), "{said}");
}

#[test]
fn rows_on_their_way_are_no_differences_and_the_background_finds_what_is_one() {
    let mut system = System::prepared(2, SCHEMA);
    let path = system.path().join("meridian.toml");
    let topology = std::fs::read_to_string(&path).unwrap();
    let often = "engine = \"postgres\"\ncompare-every = \"2s\"\n";
    std::fs::write(&path, topology.replace("engine = \"postgres\"\n", often)).unwrap();
    system.up();
    for region in 0..2 {
        system.wait_for_state(region, "running");
    }
    system.sql(
        0,
        "INSERT INTO public.items SELECT g, 'v' FROM generate_series(1, 2000) g",
    );
    let count = "SELECT count(*)::text FROM public.items";
    system.wait_for(1, count, "2000");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for region in 0..2 {
            let (system, is_over) = (&system, &is_over);
            scope.spawn(move || {
                let mut round = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    let id = 1 + (round * 37 + 1000 * region as u64) % 2000;
                    let more = 10_000 * (region as u64 + 1) + round;
                    system.sql(
                        region,
                        &format!(
                            "UPDATE public.items SET what = what || '.' WHERE id = {id}; \
                             INSERT INTO public.items VALUES ({more}, 'new'); \
                             DELETE FROM public.items WHERE id = {more} - 5"
                        ),
                    );
                }
            });
        }
        let said: Vec<_> = (0..3).map(|_| compare(&system, &[])).collect();
        is_over.store(true, Ordering::Relaxed);
        for (said, _) in said {
            for server in said["servers"].as_array().unwrap() {
                assert_eq!(server["differing"], 0, "{said}");
                assert_eq!(server["error"], Value::Null, "{said}");
                assert!(server["rows"].as_u64().unwrap() >= 2000, "{said}");
            }
        }
    });
    unseen(
        &system,
        "UPDATE public.items SET what = 'damaged' WHERE id = 7",
    );
    let found = eventually("the background finds it", PATIENCE, || {
        let status = system.status(1);
        (status["compared"]["differing"] == 1).then_some(status)
    });
    assert_eq!(found["compared"]["first"], "public.items/7", "{found}");
    let metrics = ureq::get(system.url(1, "/metrics")).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    let differing = "meridian_postgres_rows_differing{dataset=\"shop\"} 1";
    assert!(metrics.contains(differing), "{metrics}");
    assert!(metrics.contains("meridian_postgres_comparisons_total"));
    // Nothing is mended without being asked for.
    let row = "SELECT what FROM public.items WHERE id = 7";
    assert_eq!(system.ask(1, row), "damaged");
}
