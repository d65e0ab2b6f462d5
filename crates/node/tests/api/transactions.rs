//! Several rows at once, increments, and retries.

use crate::world::{World, ask};
use serde_json::{Value, json};

const ROW: &str = "/v1/tables/t/rows/k";

fn operations(operations: Value) -> String {
    json!({ "operations": operations }).to_string()
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let world = World::new();
    world.ask("PUT /v1/tables/t/rows/text", "\"no object\"").await;
    let half = operations(json!([
        {"op": "put", "table": "t", "key": "a", "document": {"n": 1}},
        {"op": "increment", "table": "t", "key": "text", "field": "n", "by": 1},
    ]));
    world.ask("POST /v1/transactions", half).await.is_problem(422, "not-an-object");
    world.ask("GET /v1/tables/t/rows/a", "").await.is_problem(404, "row-not-found");

    let whole = operations(json!([
        {"op": "put", "table": "t", "key": "a", "document": {"n": 1}},
        {"op": "increment", "table": "t", "key": "a", "field": "n", "by": 41},
        {"op": "put", "table": "u", "key": "b", "document": null},
        {"op": "delete", "table": "t", "key": "text"},
    ]));
    let reply = world.ask("POST /v1/transactions", whole).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let version = reply.json()["version"].clone();
    assert_eq!(
        reply.json()["rows"],
        json!([
            {"table": "t", "key": "a", "version": version, "document": {"n": 42}},
            {"table": "u", "key": "b", "version": version, "document": null},
            {"table": "t", "key": "text", "version": null, "document": null},
        ])
    );
    assert_eq!(world.ask("GET /v1/tables/t/rows/a", "").await.json(), json!({"n": 42}));
    world.ask("GET /v1/tables/t/rows/text", "").await.is_problem(404, "row-not-found");
}

#[tokio::test]
async fn a_transaction_that_cannot_be_is_refused_with_the_operation_at_fault() {
    let world = World::new();
    let put = json!({"op": "put", "table": "t", "key": "a", "document": 1});
    let bad = [
        (json!({"op": "put", "table": "t", "key": "a"}), 422, "bad-body"),
        (json!({"op": "erase", "table": "t", "key": "a"}), 422, "bad-body"),
        (json!({"op": "delete", "table": "t", "key": "a", "by": 1}), 422, "bad-body"),
        (json!({"op": "delete", "table": "no table", "key": "a"}), 422, "bad-table"),
        (json!({"op": "delete", "table": "broken", "key": "a"}), 503, "dataset-unavailable"),
    ];
    for (operation, status, kind) in bad {
        let body = operations(json!([put, operation]));
        let reply = world.ask("POST /v1/transactions", body).await;
        reply.is_problem(status, kind);
        assert_eq!(reply.json()["operation"], 1);
    }
    let empty = world.ask("POST /v1/transactions", operations(json!([]))).await;
    empty.is_problem(422, "empty-transaction");
    world.ask("GET /v1/tables/t/rows/a", "").await.is_problem(404, "row-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_add_up() {
    const TASKS: i64 = 64;
    const EACH: i64 = 50;
    let world = World::new();
    let tasks = (0..TASKS).map(|_| {
        let router = world.router.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                let line = format!("POST {ROW}/increment");
                let body = r#"{"field":"n","by":3}"#;
                let reply = ask(router.clone(), &line, &[], body.into()).await;
                assert_eq!(reply.status, 200, "{reply:?}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let row = world.ask(&format!("GET {ROW}"), "").await.json();
    assert_eq!(row, json!({ "n": TASKS * EACH * 3 }));
}

#[tokio::test]
async fn increments_that_cannot_be_are_refused() {
    let world = World::new();
    world.ask(&format!("PUT {ROW}"), json!({"text": "a", "n": i64::MAX}).to_string()).await;
    for (body, kind) in [
        (r#"{"field":"text","by":1}"#, "not-an-integer"),
        (r#"{"field":"n","by":1}"#, "out-of-range"),
        (r#"{"field":"n","by":1.5}"#, "bad-body"),
        (r#"{"field":"n"}"#, "bad-body"),
        (r#"{"field":"n","by":1,"to":2}"#, "bad-body"),
    ] {
        world.ask(&format!("POST {ROW}/increment"), body).await.is_problem(422, kind);
    }
}

#[tokio::test]
async fn a_retry_with_the_same_key_happens_once() {
    let world = World::new();
    let line = format!("POST {ROW}/increment");
    let (key, body) = ([("idempotency-key", "order-7")], r#"{"field":"n","by":5}"#);
    let first = world.ask_with(&line, key, body).await;
    let retried = world.ask_with(&line, key, body).await;
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(retried.header("idempotency-replayed"), "true");
    assert_eq!((retried.status, &retried.body), (first.status, &first.body));
    assert_eq!(retried.header("etag"), first.header("etag"));
    assert_eq!(world.ask(&format!("GET {ROW}"), "").await.json(), json!({"n": 5}));
    let other = world.ask_with(&line, key, r#"{"field":"n","by":6}"#).await;
    other.is_problem(422, "idempotency-key-reused");
}
