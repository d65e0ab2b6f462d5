//! Reading, writing and removing one row.

use crate::world::World;
use serde_json::json;

const ROW: &str = "/v1/tables/t/rows/k";

#[tokio::test]
async fn a_row_comes_and_goes() {
    let world = World::new();
    world
        .ask(&format!("GET {ROW}"), "")
        .await
        .is_problem(404, "row-not-found");
    let created = world
        .ask(&format!("PUT {ROW}"), " {\"b\":1.50, \"a\":[1e400]}\n")
        .await;
    assert_eq!(created.status, 201);
    let got = world.ask(&format!("GET {ROW}"), "").await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.body, "{\"b\":1.50, \"a\":[1e400]}",
        "the client's own text"
    );
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("etag"), created.header("etag"));
    let replaced = world.ask(&format!("PUT {ROW}"), "null").await;
    assert_eq!(replaced.status, 200);
    assert_ne!(replaced.header("etag"), created.header("etag"));
    let head = world.ask(&format!("HEAD {ROW}"), "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for _ in 0..2 {
        let removed = world.ask(&format!("DELETE {ROW}"), "").await;
        assert_eq!((removed.status.as_u16(), removed.body.len()), (204, 0));
    }
    world
        .ask(&format!("GET {ROW}"), "")
        .await
        .is_problem(404, "row-not-found");
}

#[tokio::test]
async fn preconditions_hold() {
    let world = World::new();
    let (put, get) = (format!("PUT {ROW}"), format!("GET {ROW}"));
    let first = world.ask_with(&put, [("if-none-match", "*")], "1").await;
    assert_eq!(first.status, 201);
    let first = first.header("etag");
    let again = world.ask_with(&put, [("if-none-match", "*")], "2").await;
    again.is_problem(412, "precondition-failed");
    assert_eq!(
        format!("\"{}\"", again.json()["version"].as_str().unwrap()),
        first
    );

    let known = world.ask_with(&get, [("if-none-match", first)], "").await;
    assert_eq!((known.status.as_u16(), known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), first);

    let second = world.ask_with(&put, [("if-match", first)], "3").await;
    assert_eq!(second.status, 200);
    for stale in [put.as_str(), &format!("DELETE {ROW}")] {
        world
            .ask_with(stale, [("if-match", first)], "4")
            .await
            .is_problem(412, "precondition-failed");
    }
    world
        .ask_with(&get, [("if-match", first)], "")
        .await
        .is_problem(412, "precondition-failed");
    assert_eq!(
        world
            .ask_with(&get, [("if-none-match", first)], "")
            .await
            .body,
        "3"
    );
    world
        .ask_with(&put, [("if-match", "no tag")], "5")
        .await
        .is_problem(400, "bad-header");
}

#[tokio::test]
async fn what_is_not_json_is_said_to_be_so() {
    let world = World::new();
    for bad in ["", "{", "{\"a\":1,}", "nul", "1 2", "\"\\ud800\"", "'a'"] {
        let put = world.ask(&format!("PUT {ROW}"), bad).await;
        put.is_problem(400, "malformed-json");
        assert_eq!(put.json()["line"], 1, "{bad}");
    }
    let put = world.ask(&format!("PUT {ROW}"), &b"\"\xff\""[..]).await;
    put.is_problem(400, "malformed-json");
    world
        .ask(&format!("GET {ROW}"), "")
        .await
        .is_problem(404, "row-not-found");
}

#[tokio::test]
async fn nesting_has_an_end() {
    let world = World::new();
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let put = world.ask(&format!("PUT {ROW}"), nested(10_000)).await;
    put.is_problem(422, "nesting-too-deep");
    let operations = format!(
        r#"{{"operations":[{{"op":"put","table":"t","key":"k","document":{}}}]}}"#,
        nested(10_000),
    );
    let posted = world.ask("POST /v1/transactions", operations).await;
    posted.is_problem(422, "nesting-too-deep");
    assert_eq!(
        world.ask(&format!("PUT {ROW}"), nested(100)).await.status,
        201
    );
    assert_eq!(world.ask(&format!("GET {ROW}"), "").await.body, nested(100));
}

#[tokio::test]
async fn a_document_may_be_as_large_as_the_limit() {
    let world = World::new();
    let document = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let largest = world.ask(&format!("PUT {ROW}"), document(1 << 20)).await;
    assert_eq!(largest.status, 201);
    let larger = world
        .ask(&format!("PUT {ROW}"), document((1 << 20) + 1))
        .await;
    larger.is_problem(413, "too-large");
    assert_eq!(larger.json()["bytes_max"], 1 << 20);
}

#[tokio::test]
async fn rows_are_listed_page_by_page() {
    let world = World::new();
    for key in ["c", "a", "b"] {
        let path = format!("PUT /v1/tables/t/rows/{key}");
        assert_eq!(
            world
                .ask(&path, json!({ "key": key }).to_string())
                .await
                .status,
            201
        );
    }
    let first = world.ask("GET /v1/tables/t/rows?limit=2", "").await.json();
    assert_eq!(
        (&first["rows"][0]["key"], &first["next"]),
        (&json!("a"), &json!("b"))
    );
    assert_eq!(first["rows"][1]["document"], json!({ "key": "b" }));
    let last = world
        .ask("GET /v1/tables/t/rows?limit=2&after=b", "")
        .await
        .json();
    assert_eq!(
        (&last["rows"][0]["key"], &last["next"]),
        (&json!("c"), &json!(null))
    );
    let checksum = world.ask("GET /v1/tables/t/checksum", "").await.json();
    assert_eq!(checksum["rows"], 3);
    let tables = world.ask("GET /v1/tables", "").await.json();
    assert_eq!(
        tables["datasets"][1],
        json!({ "dataset": "main", "tables": ["t"] })
    );
    for bad in ["limit=0", "limit=x", "page=2", "after=%ff"] {
        let got = world.ask(&format!("GET /v1/tables/t/rows?{bad}"), "").await;
        got.is_problem(400, "bad-query");
    }
}
