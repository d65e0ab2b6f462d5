//! Parked rows: shown with both sides, decided about, and gone then.

use crate::support::{eventually, text};
use crate::system::{PATIENCE, REGIONS, System};
use serde_json::{Value, json};

const USERS: &str = "public.users";
const ALL: &str = "SELECT string_agg(id || ' ' || email, ', ' ORDER BY id) FROM public.users";

/// Two regions whose servers each had a row with the same unique value before they met.
fn rivals() -> System {
    let schema = "CREATE TABLE public.users (id int PRIMARY KEY, email varchar(20) UNIQUE, n int)";
    let mut system = System::prepared(2, schema);
    system.sql(
        0,
        "INSERT INTO public.users VALUES (1, 'ada@example.com', 1)",
    );
    system.sql(
        1,
        "INSERT INTO public.users VALUES (2, 'ada@example.com', 2)",
    );
    system.up();
    system
}

/// The one row that is parked in both regions, as the CLI lists it.
fn parked_everywhere(system: &System, reason: &str) -> Value {
    eventually("parked in both", PATIENCE, || {
        let list = system.json(&["postgres", "parked", "list"]);
        let rows = list["parked"].as_array()?;
        let is_it = |row: &&Value| row["everywhere"] == true && row["reason"] == reason;
        rows.iter().find(is_it).cloned()
    })
}

fn call(method: &str, url: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_vec().unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[test]
fn a_server_that_is_detached_and_attached_again_has_not_deleted_what_it_never_showed() {
    let system = rivals();
    let row = parked_everywhere(&system, "unique");
    let loser = row["key"].as_str().unwrap();
    let winner = if loser == "1" { "2" } else { "1" };
    let detach = system.meridian(&["postgres", "detach", "--region", REGIONS[1]]);
    assert!(detach.status.success(), "{}", text(&detach));
    system.prepare();
    let attach = system.meridian(&["postgres", "attach", "--region", REGIONS[1]]);
    assert!(attach.status.success(), "{}", text(&attach));
    let again = parked_everywhere(&system, "unique");
    assert_eq!(again["key"], loser);
    for region in 0..REGIONS.len() {
        system.wait_for(region, ALL, &format!("{winner} ada@example.com"));
    }
}

#[test]
fn a_child_whose_parent_is_parked_says_so_and_not_that_it_was_deleted() {
    let schema = "CREATE TABLE public.users (id int PRIMARY KEY, email text UNIQUE);
        CREATE TABLE public.notes (id int PRIMARY KEY, owner int REFERENCES public.users)";
    let mut system = System::prepared(2, schema);
    for (region, id) in [(0, "1"), (1, "2")] {
        let rows = format!(
            "INSERT INTO public.users VALUES ({id}, 'ada@example.com');
             INSERT INTO public.notes VALUES ({id}, {id})"
        );
        system.sql(region, &rows);
    }
    system.up();
    let orphan = parked_everywhere(&system, "foreign-key");
    let id = orphan["key"].as_str().unwrap();
    let parked = text(&system.meridian(&["postgres", "parked", "list"]));
    let said = format!("public.users/{id} is parked itself");
    assert!(parked.contains(&said), "{parked}");
    for name in REGIONS {
        let conflict = eventually("listed", PATIENCE, || {
            let said = system.json(&["conflicts", "--region", name]);
            let conflicts = said["conflicts"].as_array()?;
            let is_it = |it: &&Value| it["conflictType"] == "ForeignKeyConflict";
            conflicts.iter().find(is_it).cloned()
        });
        let events = conflict["conflictingEvents"].as_array().unwrap();
        let is_parent = |it: &&Value| it["aggregateId"] == format!("public.users/{id}");
        let parent = events.iter().find(is_parent).unwrap();
        let values = json!({"id": id, "email": "ada@example.com"});
        assert_eq!(parent["data"], values, "{conflict}");
        let shown = text(&system.meridian(&["conflicts", "--region", name]));
        let said = format!("public.users/{id}: parked itself");
        assert!(shown.contains(&said), "{shown}");
    }
}

#[test]
fn a_row_whose_unique_value_another_has_is_shown_with_it_and_decided_about() {
    let system = rivals();
    let row = parked_everywhere(&system, "unique");
    let (loser, winner) = (row["key"].as_str().unwrap(), &row["rival"]);
    let other = if loser == "1" { "2" } else { "1" };
    assert_eq!(row["constraint"], "users_email_key", "{row}");
    assert_eq!(row["key_columns"], json!({"id": loser}));
    let values = |id: &str| json!({"id": id, "email": "ada@example.com", "n": id});
    assert_eq!(row["values"], values(loser));
    assert_eq!(
        (&winner["key"], &winner["values"]),
        (&json!(other), &values(other))
    );
    for (region, name) in REGIONS.iter().enumerate() {
        let shown = format!("{other} ada@example.com");
        system.wait_for(region, ALL, &shown);
        // It is a conflict too, of two rows.
        let conflicts = system.json(&["conflicts", "--region", name]);
        let conflict = &conflicts["conflicts"][0];
        assert_eq!(conflict["conflictType"], "UniqueConflict", "{conflicts}");
        assert_eq!(conflict["resolutionStrategy"], "Parked");
        assert_eq!(conflict["constraint"], "users_email_key");
        assert_eq!(conflict["key"], json!({"id": loser}));
        let events = conflict["conflictingEvents"].as_array().unwrap();
        let newer = &events[1];
        assert_eq!(newer["eventId"], conflict["resolvedEvent"]);
        assert_eq!(newer["aggregateId"], format!("public.users/{other}"));
        assert_eq!(newer["data"], values(other));
        assert_eq!(events[0]["data"], values(loser));
        assert_eq!(system.status(region)["rows_parked"], 1);
    }
    let (_, metrics) = (0, ureq::get(system.url(0, "/metrics")).call().unwrap());
    let metrics = metrics.into_body().read_to_string().unwrap();
    let parked = "meridian_postgres_rows_parked{dataset=\"shop\",reason=\"excluded\"} 1";
    assert!(metrics.contains(parked), "{metrics}");
    assert!(metrics.contains("meridian_postgres_state{dataset=\"shop\",state=\"running\"} 1"));

    let retried = system.json(&["postgres", "parked", "retry", USERS, loser]);
    for region in retried.as_array().unwrap() {
        assert_eq!(region["parked"], true, "{retried}");
        let detail = region["detail"].as_str().unwrap();
        assert!(
            detail.contains("has its values in users_email_key"),
            "{detail}"
        );
    }
    let edit = ["postgres", "parked", "edit", USERS, loser];
    let refused = |arguments: &[&str], reason: &str| {
        let output = system.meridian(&[&edit[..], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains(reason), "{}", text(&output));
    };
    refused(&["--set", "id=9"], "is of the key");
    refused(&["--set", "mail=x"], "its columns are");
    refused(
        &["--set", "email=x", "--if-match", "1-0000000000000001"],
        "another state",
    );

    // A value that no server takes makes it a dead letter; nothing else waits for it.
    let long = "email=much-too-long@for-this-column.example.com";
    let output = system.meridian(&[&edit[..], &["--set", long]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let letter = parked_everywhere(&system, "refused");
    assert_eq!(letter["key"], loser);
    let detail = letter["detail"].as_str().unwrap();
    assert!(
        detail.contains("too long for type character varying(20)"),
        "{detail}"
    );
    assert_eq!(system.status(0)["rows_refused"], 1);
    let output = system.meridian(&["postgres", "parked", "list"]);
    assert!(
        text(&output).contains("all: a dead letter"),
        "{}",
        text(&output)
    );
    system.sql(
        1,
        "INSERT INTO public.users VALUES (3, 'bo@example.com', 3)",
    );
    system.wait_for(0, "SELECT count(*)::text FROM public.users", "2");

    // Edited to something that fits, it is in both servers.
    let output = system.meridian(&[&edit[..], &["--set", "email=eve@example.com"]].concat());
    assert!(output.status.success(), "{}", text(&output));
    let query = format!("SELECT email FROM public.users WHERE id = {loser}");
    for region in 0..2 {
        let there = "SELECT count(*)::text FROM public.users";
        system.wait_for(region, there, "3");
        assert_eq!(system.ask(region, &query), "eve@example.com");
    }
    eventually("no row is parked", PATIENCE, || {
        let list = system.json(&["postgres", "parked", "list"]);
        list["parked"].as_array()?.is_empty().then_some(())
    });
    refused(&["--set", "email=x"], "is not parked");
}

#[test]
fn a_dropped_row_is_gone_everywhere_and_a_repeated_drop_is_the_same_drop() {
    let system = rivals();
    let row = parked_everywhere(&system, "unique");
    let key = row["key"].as_str().unwrap();
    let url = system.url(1, &format!("/v1/parked/{USERS}/{key}"));
    let stale = [("If-Match", "\"1-0000000000000001\"")];
    assert_eq!(call("DELETE", &url, &stale).0, 412);
    let once = [("Idempotency-Key", "drop it once")];
    let (status, first) = call("DELETE", &url, &once);
    assert_eq!(status, 200, "{first}");
    eventually("it isn't parked", PATIENCE, || {
        (call("GET", &url, &[]).0 == 404).then_some(())
    });
    let (status, again) = call("DELETE", &url, &once);
    assert_eq!((status, &again["version"]), (200, &first["version"]));
    let (status, problem) = call("DELETE", &url, &[]);
    assert_eq!(status, 404);
    assert_eq!(problem["type"], "/problems/parked-row-not-found");
    assert!(problem["hint"].as_str().unwrap().contains("/v1/parked"));
    // Its rival stays, and the value is free for whoever comes next.
    let count = "SELECT count(*)::text FROM public.users";
    for region in 0..2 {
        system.wait_for(region, count, "1");
    }
}

#[test]
fn a_label_that_one_server_lacks_keeps_its_row_waiting_there_and_no_other() {
    let schema = "CREATE TYPE public.mood AS ENUM ('ok');
                  CREATE TABLE public.days (id int PRIMARY KEY, mood public.mood);
                  CREATE UNIQUE INDEX ON public.days (mood) WHERE id < 0";
    let system = System::start(2, schema);
    system.sql(0, "ALTER TYPE public.mood ADD VALUE 'new'");
    system.sql(0, "INSERT INTO public.days VALUES (1, 'new')");
    system.sql(0, "INSERT INTO public.days VALUES (2, 'ok')");
    let ids = "SELECT string_agg(id::text, ',' ORDER BY id) FROM public.days";
    system.wait_for(1, ids, "2");
    let list = eventually("the row is listed", PATIENCE, || {
        let list = system.json(&["postgres", "parked", "list", "--refused"]);
        (!list["parked"].as_array()?.is_empty()).then_some(list)
    });
    let row = &list["parked"][0];
    assert_eq!(row["regions"], json!(["eu-west-1"]), "{list}");
    assert_eq!(row["everywhere"], false);
    assert_eq!(row["values"], json!({"id": "1", "mood": "new"}));
    let output = system.meridian(&["postgres", "status"]);
    let said = text(&output);
    assert!(
        said.contains("eu-west-1: the server refuses 1 row"),
        "{said}"
    );
    assert!(
        said.contains("invalid input value for enum public.mood"),
        "{said}"
    );
    assert_eq!(system.status(1)["state"], "running");
    system.sql(1, "ALTER TYPE public.mood ADD VALUE 'new'");
    let retried = system.json(&["postgres", "parked", "retry", "public.days", "1"]);
    let shown = json!([{"region": "eu-west-1", "parked": false, "detail": null}]);
    assert_eq!(retried, shown);
    assert_eq!(system.ask(1, ids), "1,2");
}

#[test]
fn a_table_that_is_dropped_takes_its_parked_rows_along() {
    let system = rivals();
    parked_everywhere(&system, "unique");
    system.sql(0, "DROP TABLE public.users");
    let parked = "SELECT count(*)::text FROM meridian.parked";
    system.wait_for(0, parked, "0");
    system.wait_for_state(0, "running");
    eventually("nothing is parked", PATIENCE, || {
        (system.status(0)["rows_parked"] == 0).then_some(())
    });
    // Made again, the table gets its rows back, and the one that is out is out again.
    let schema = "CREATE TABLE public.users (id int PRIMARY KEY, email varchar(20) UNIQUE, n int)";
    system.sql(0, schema);
    system.prepare();
    system.wait_for(0, "SELECT count(*)::text FROM public.users", "1");
    system.wait_for(0, parked, "1");
}
