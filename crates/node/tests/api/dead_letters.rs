//! Dead letters over the API: shown page by page and whole, retried, edited, dropped.

use crate::support::{Region, Setting};
use axum::http::Method;
use meridian_engine_kv::{FjallStore, Limits, Tables};
use meridian_log::{Directory, Log, LogConfig};
use meridian_model::{Change, Micros, Operation, OriginId, RegionName};
use meridian_replicate::{Config, Engine as _, Executed, Now, Replica};
use meridian_topology::{Promises, Writes};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn put(table: &str, key: &str, document: &str) -> Change {
    Change {
        table: table.to_owned(),
        key: key.to_owned(),
        operation: Operation::Put {
            document: document.to_owned(),
        },
    }
}

/// Commits three transactions to dataset `main`, by the library, that no tables can take.
fn three_letters(directory: &Path) {
    let at = directory.join("main");
    let store = FjallStore::open(&at.join("tables")).unwrap();
    let tables = Tables::open(store, Limits::default()).unwrap();
    let disk = Directory::open(at.join("log")).unwrap();
    let log = Log::open(disk, LogConfig::default(), tables.position()).unwrap();
    let region = RegionName::new("us-east-1");
    let config = Config {
        regions: vec![region.clone()],
        region,
        log_bytes_max: 1 << 30,
        log_bytes_limit: 1 << 30,
        drift_max: Duration::from_millis(500),
        report_interval: Duration::from_secs(1),
        log_retention: Duration::ZERO,
        wire_version: meridian_model::WIRE_VERSION_MAX,
        witnesses: std::collections::BTreeSet::new(),
        arrival: meridian_replicate::Arrival::Founding,
        evict_after: None,
        settle: Duration::ZERO,
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Now {
        wall: Micros(u64::try_from(since_1970.as_micros()).unwrap()),
        elapsed: Duration::ZERO,
    };
    let mut replica = Replica::open(config, log, tables, OriginId(7), now).unwrap();
    let increment = Change {
        operation: Operation::Increment {
            by: vec![("n".to_owned(), 4)],
        },
        ..put("t", "twice", "")
    };
    for changes in [
        vec![put("t", "twice", "{\"n\":1}"), increment],
        vec![put("a\0b", "k", "1")],
        vec![put("t", "", "no JSON")],
    ] {
        let written = replica.write(now, |_, _| {
            Ok::<_, ()>(Executed {
                changes,
                idempotency: None,
                reply: (),
            })
        });
        written.unwrap();
        replica.flush(now).unwrap();
    }
}

/// The region, and the letters' ids from the oldest to the newest.
async fn region() -> (Region, [String; 3]) {
    let region = Region::with(Setting {
        before_all: Some(three_letters),
        ..Setting::default()
    });
    let listed = region.get("/v1/dead-letters").await.ok(200).json();
    let letters = listed["dead_letters"].as_array().unwrap().iter().rev();
    let ids: Vec<String> = letters
        .map(|letter| letter["id"].as_str().unwrap().to_owned())
        .collect();
    (region, ids.try_into().unwrap())
}

async fn waiting(region: &Region) -> (u64, u64) {
    let listed = region.get("/v1/dead-letters").await.ok(200).json();
    let count = |name: &str| listed[name].as_u64().unwrap();
    (count("total"), count("waiting"))
}

#[tokio::test]
async fn letters_are_listed_page_by_page_and_shown_whole() {
    let (region, [twice, nul, text]) = region().await;
    let first = region.get("/v1/dead-letters?limit=2").await.ok(200).json();
    assert_eq!(first["dead_letters"][0]["id"], text, "newest first");
    assert_eq!(first["dead_letters"][1]["id"], nul);
    let next = first["next"].as_str().unwrap();
    let path = format!("/v1/dead-letters?limit=2&after={next}");
    let second = region.get(&path).await.ok(200).json();
    assert_eq!(second["dead_letters"][0]["id"], twice);
    assert_eq!(second["next"], Value::Null);
    assert_eq!(
        (&second["total"], &second["waiting"]),
        (&json!(3), &json!(3))
    );

    let path = |id: &str| format!("/v1/dead-letters/{id}");
    let shown = region.get(&path(&twice)).await.ok(200).json();
    assert_eq!(shown["dataset"], "main");
    assert_eq!(shown["region"], "us-east-1");
    assert_eq!(shown["changes"], 2);
    assert!(shown["reason"].as_str().unwrap().contains("twice"));
    let operations = json!([
        {"op": "put", "table": "t", "key": "twice", "document": {"n": 1}},
        {"op": "increment", "table": "t", "key": "twice", "field": "n", "by": 4},
    ]);
    assert_eq!(shown["operations"], operations);
    let shown = region.get(&path(&text)).await.ok(200).json();
    assert_eq!(shown["operations"][0]["document_text"], "no JSON");

    for id in ["1", "x", "5-0000000000000007"] {
        let problem = region.get(&path(id)).await;
        let problem = problem.problem(404, "dead-letter-not-found");
        assert!(problem["hint"].is_string(), "{problem}");
    }
    for bad in ["after=x", "after=main:x", "limit=0", "what=1"] {
        let reply = region.get(&format!("/v1/dead-letters?{bad}")).await;
        reply.problem(400, "bad-query");
    }
    let status = region.get("/v1/status").await.ok(200).json();
    assert_eq!(status["datasets"][0]["dead_letters"], 3);
}

#[tokio::test]
async fn a_letter_is_retried_or_dropped_once() {
    let (region, [twice, nul, _]) = region().await;
    let retry = format!("/v1/dead-letters/{twice}/retry");
    region.post(&retry, "{}").await.problem(422, "bad-body");
    let retried = region.post(&retry, "").await.ok(200);
    assert!(!retried.header("meridian-session").is_empty());
    assert_eq!(retried.json()["rows"][0]["document"], json!({"n": 5}));
    let row = region.get("/v1/tables/t/rows/twice").await.ok(200);
    assert_eq!(row.text(), "{\"n\":5}");
    region
        .post(&retry, "")
        .await
        .problem(404, "dead-letter-not-found");
    assert_eq!(waiting(&region).await, (3, 2));

    let again = region
        .post(&format!("/v1/dead-letters/{nul}/retry"), "")
        .await;
    let problem = again.problem(422, "dead-letter-again");
    assert!(
        problem["hint"].as_str().unwrap().contains("edit"),
        "{problem}"
    );
    let path = format!("/v1/dead-letters/{nul}");
    let dropped = region.request(Method::DELETE, &path, &[], "").await.ok(204);
    assert!(dropped.body.is_empty());
    region
        .delete(&path)
        .await
        .problem(404, "dead-letter-not-found");
    assert_eq!(waiting(&region).await, (3, 1));
}

#[tokio::test]
async fn a_letter_is_edited_once_however_often_that_is_sent() {
    let (region, [twice, _, _]) = region().await;
    let path = format!("/v1/dead-letters/{twice}/edit");
    for (body, status, name) in [
        ("{", 400, "malformed-json"),
        ("{\"operations\":[]}", 422, "empty-transaction"),
        (
            "{\"operations\":[{\"op\":\"put\",\"table\":\"t\",\"key\":\"k\"}]}",
            422,
            "bad-body",
        ),
        (
            "{\"operations\":[{\"op\":\"delete\",\"table\":\"other\",\"key\":\"k\"}]}",
            422,
            "several-datasets",
        ),
    ] {
        region.post(&path, body).await.problem(status, name);
    }
    assert_eq!(waiting(&region).await, (3, 3));
    let body = r#"{"operations":[{"op":"put","table":"t","key":"k","document":1}]}"#;
    let send = || region.request(Method::POST, &path, &[("Idempotency-Key", "key")], body);
    let first = send().await.ok(200);
    let second = send().await.ok(200);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(first.json()["version"], second.json()["version"]);
    assert_eq!(waiting(&region).await, (3, 2));
    region
        .post(&path, body)
        .await
        .problem(404, "dead-letter-not-found");
    let row = region.get("/v1/tables/t/rows/k").await.ok(200);
    assert_eq!(row.text(), "1");
}

#[tokio::test]
async fn a_region_that_takes_no_writes_decides_about_no_letter() {
    let home = Promises {
        writes: Writes::Home(RegionName::new("eu-west-1")),
        ..Promises::default()
    };
    let region = Region::with(Setting {
        before_all: Some(three_letters),
        promises: home,
        ..Setting::default()
    });
    let listed = region.get("/v1/dead-letters").await.ok(200).json();
    let id = listed["dead_letters"][0]["id"].as_str().unwrap();
    let dropped = region.delete(&format!("/v1/dead-letters/{id}")).await;
    let problem = dropped.problem(409, "takes-no-writes");
    assert_eq!(problem["hint"], "ask region eu-west-1");
    assert_eq!(waiting(&region).await, (3, 3), "nothing was decided");
}
