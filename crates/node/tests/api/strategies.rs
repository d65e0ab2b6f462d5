//! Members of sets, and rows with siblings.

use crate::support::{Region, Setting};
use axum::http::Method;
use meridian_engine_kv::{FjallStore, Limits, Tables};
use meridian_model::{
    Change, Hlc, Micros, Operation, OriginId, Position, Strategy, Transaction, Vector, Version,
};
use meridian_replicate::{Applying, Engine as _};
use serde_json::json;
use std::path::Path;

const ROW: &str = "/v1/tables/t/rows/k";
const MEMBERS: &str = "/v1/tables/t/rows/k/members";

fn region(strategy: Strategy) -> Region {
    Region::with(Setting {
        strategy,
        ..Setting::default()
    })
}

#[tokio::test]
async fn members_come_and_go() {
    let region = region(Strategy::AddWinsSet);
    let added = region.post(
        MEMBERS,
        r#"{"field":"s","add":["b",{"y":1,"x":2},"a","b"]}"#,
    );
    let added = added.await.ok(200);
    assert_eq!(added.text(), r#"{"s":["a","b",{"x":2,"y":1}]}"#);
    assert_eq!(region.get(ROW).await.header("etag"), added.header("etag"));
    let changed = region.post(
        MEMBERS,
        r#"{"remove":["a",{"x":2,"y":1}],"field":"s","add":[1]}"#,
    );
    assert_eq!(changed.await.ok(200).text(), r#"{"s":["b",1]}"#);
    let emptied = region
        .post(MEMBERS, r#"{"field":"s","remove":["b",1]}"#)
        .await;
    assert_eq!(emptied.ok(200).text(), r#"{"s":[]}"#);
    let nothing = region.post(
        "/v1/tables/t/rows/none/members",
        r#"{"field":"s","remove":["b"]}"#,
    );
    assert_eq!(nothing.await.ok(200).text(), "null");
    region
        .get("/v1/tables/t/rows/none")
        .await
        .problem(404, "row-not-found");
}

#[tokio::test]
async fn arrays_that_are_put_are_sets_in_a_table_of_sets() {
    let region = region(Strategy::AddWinsSet);
    let put = region
        .put(ROW, r#"{"s":["b","a","b"],"n":1}"#)
        .await
        .ok(201);
    assert_eq!(put.text(), r#"{"n":1,"s":["a","b"]}"#);
    let same = region.put(ROW, r#"{"n":1,"s":["b","a"]}"#).await.ok(200);
    assert_eq!(same.header("etag"), put.header("etag"), "nothing changed");
}

#[tokio::test]
async fn members_are_an_operation_of_transactions() {
    let region = region(Strategy::LastWriterWins);
    let body = json!({"operations": [
        {"op": "members", "table": "t", "key": "k", "field": "s", "add": ["x", "y"]},
        {"op": "members", "table": "t", "key": "k", "field": "s", "remove": ["x"]},
        {"op": "increment", "table": "t", "key": "k", "field": "n", "by": 2},
    ]});
    let reply = region
        .post("/v1/transactions", body.to_string())
        .await
        .ok(200);
    assert_eq!(
        reply.json()["rows"][0]["document"],
        json!({"n": 2, "s": ["y"]})
    );
    for wrong in [
        json!({"op": "members", "table": "t", "key": "k", "add": ["x"]}),
        json!({"op": "members", "table": "t", "key": "k", "field": "s"}),
        json!({"op": "members", "table": "t", "key": "k", "field": "s", "add": ["x"], "by": 1}),
        json!({"op": "members", "table": "t", "key": "k", "field": "s", "add": "x"}),
        json!({"op": "put", "table": "t", "key": "k", "document": 1, "add": ["x"]}),
    ] {
        let body = json!({ "operations": [wrong] });
        let problem = region.post("/v1/transactions", body.to_string()).await;
        assert_eq!(problem.problem(422, "bad-body")["operation"], 0);
    }
}

#[tokio::test]
async fn what_is_no_change_of_members_is_refused() {
    let region = region(Strategy::AddWinsSet);
    region.put(ROW, r#"{"n":5}"#).await.ok(201);
    region.put("/v1/tables/t/rows/list", "[]").await.ok(201);
    for bad in [
        "{}",
        "[]",
        r#"{"field":"s"}"#,
        r#"{"field":"s","add":[]}"#,
        r#"{"field":"s","add":"x"}"#,
        r#"{"field":"s","add":null}"#,
        r#"{"field":"s","add":["x"],"remove":["x"]}"#,
        r#"{"field":"s","add":[1],"more":1}"#,
        r#"{"add":[1]}"#,
    ] {
        region.post(MEMBERS, bad).await.problem(422, "bad-body");
    }
    for bad in [
        "",
        "{",
        r#"{"field":"s","add":[1,]}"#,
        r#"{"field":"s","add":["\ud800"]}"#,
    ] {
        region
            .post(MEMBERS, bad)
            .await
            .problem(400, "malformed-json");
    }
    let deep = format!(r#"{{"field":"s","add":[{}]}}"#, "[".repeat(200));
    region
        .post(MEMBERS, deep)
        .await
        .problem(422, "nesting-too-deep");
    let problem = region.post(MEMBERS, r#"{"field":"n","add":[1]}"#).await;
    let problem = problem.problem(422, "not-a-set");
    assert!(problem["hint"].is_string());
    let list = region.post(
        "/v1/tables/t/rows/list/members",
        r#"{"field":"n","add":[1]}"#,
    );
    list.await.problem(422, "not-an-object");
    let long = format!(r#"{{"field":"s","add":["{}"]}}"#, "x".repeat(1 << 20));
    region.post(MEMBERS, long).await.problem(413, "too-large");
    assert_eq!(region.get(ROW).await.ok(200).text(), r#"{"n":5}"#);
}

#[tokio::test]
async fn members_keep_preconditions_and_idempotency_keys() {
    let region = region(Strategy::AddWinsSet);
    let tag = region
        .put(ROW, r#"{"s":[1]}"#)
        .await
        .ok(201)
        .header("etag")
        .to_owned();
    let body = r#"{"field":"s","add":[2]}"#;
    let headers = [("if-match", tag.as_str()), ("idempotency-key", "once")];
    let first = region
        .request(Method::POST, MEMBERS, &headers, body)
        .await
        .ok(200);
    let again = region
        .request(Method::POST, MEMBERS, &headers, body)
        .await
        .ok(200);
    assert_eq!(
        (again.text(), again.header("idempotency-replayed")),
        (first.text(), "true")
    );
    let stale = region
        .request(Method::POST, MEMBERS, &headers[..1], body)
        .await;
    stale.problem(412, "precondition-failed");
}

/// Two puts of other regions that had not seen each other.
fn two_siblings(tables: &Path) {
    std::fs::create_dir_all(tables).unwrap();
    let store = FjallStore::open(tables).unwrap();
    let mut tables = Tables::open(store, Limits::default()).unwrap();
    for origin in [1, 2] {
        let document = Some(format!(r#"{{"n":{origin}}}"#));
        let transaction = Transaction {
            dependencies: Vector::default(),
            changes: vec![Change {
                table: "t".to_owned(),
                key: "k".to_owned(),
                operation: Operation::Sibling { document },
            }],
            idempotency: None,
        };
        let applying = Applying {
            position: Position(0),
            version: Version {
                hlc: Hlc::from_raw(origin),
                origin: OriginId(origin),
            },
            transaction: &transaction,
            captured: None,
            now: Micros(1),
        };
        tables.apply(&applying).unwrap();
    }
    tables.commit(Position(0), None).unwrap();
    tables.persist().unwrap();
}

#[tokio::test]
async fn a_row_with_siblings_shows_them_all() {
    let region = Region::with(Setting {
        strategy: Strategy::Siblings,
        before: two_siblings,
        ..Setting::default()
    });
    let siblings = json!([
        {"version": "2-0000000000000002", "document": {"n": 2}},
        {"version": "1-0000000000000001", "document": {"n": 1}},
    ]);
    let read = region.get(ROW).await.ok(300);
    assert_eq!(read.json(), json!({ "siblings": siblings }));
    let page = region.get("/v1/tables/t/rows").await.ok(200).json();
    let tag = read.header("etag").to_owned();
    let expected = json!({"key": "k", "version": tag.trim_matches('"'), "document": {"n": 2}, "siblings": siblings});
    assert_eq!(page["rows"], json!([expected]));
    let known = [("if-none-match", tag.as_str())];
    region.request(Method::GET, ROW, &known, "").await.ok(304);

    let both = r#""1-0000000000000001", "2-0000000000000002""#;
    for (tags, status) in [(both, 300), (&both[..20], 412), (&tag, 300)] {
        let reply = region
            .request(Method::GET, ROW, &[("if-match", tags)], "")
            .await;
        assert_eq!(reply.status, status, "{tags}");
    }
    let one = [("if-match", &both[..20])];
    region
        .request(Method::PUT, ROW, &one, "1")
        .await
        .problem(412, "precondition-failed");
    let increment = region.post("/v1/tables/t/rows/k/increment", r#"{"field":"n","by":1}"#);
    let problem = increment.await.problem(409, "row-has-siblings");
    assert!(problem["hint"].as_str().unwrap().contains("If-Match"));
    let conflicts = region.get("/v1/conflicts").await.ok(200).json();
    assert_eq!(conflicts["conflicts"][0]["resolutionStrategy"], "Siblings");
    let all = [("if-match", both)];
    region
        .request(Method::PUT, ROW, &all, r#"{"n":3}"#)
        .await
        .ok(200);
}
