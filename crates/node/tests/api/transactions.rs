//! Transactions over several rows.

use crate::support::Region;
use serde_json::{Value, json};

const PATH: &str = "/v1/transactions";

fn body(operations: Value) -> String {
    json!({ "operations": operations }).to_string()
}

#[tokio::test]
async fn a_transaction_writes_all_its_rows_with_one_version() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/gone", "1").await.ok(201);
    let operations = json!([
        {"op": "put", "table": "t", "key": "a", "document": {"n": 1}},
        {"op": "put", "table": "u", "key": "/\u{0}", "document": null},
        {"op": "delete", "table": "t", "key": "gone"},
        {"op": "increment", "table": "t", "key": "a", "field": "n", "by": 2},
        {"op": "increment", "table": "t", "key": "new", "field": "n", "by": -1},
    ]);
    let reply = region.post(PATH, body(operations)).await.ok(200);
    let tag = region
        .get("/v1/tables/t/rows/a")
        .await
        .header("etag")
        .to_owned();
    let version = tag.trim_matches('"');
    // What increments leave behind has a version of its own, which tells their sums too.
    let incremented = region.get("/v1/tables/t/rows/new").await;
    let incremented = incremented.header("etag").trim_matches('"').to_owned();
    assert_eq!(
        reply.json(),
        json!({
            "version": version,
            "rows": [
                {"table": "t", "key": "a", "version": version, "document": {"n": 3}},
                {"table": "u", "key": "/\u{0}", "version": version, "document": null},
                {"table": "t", "key": "gone", "version": null, "document": null},
                {"table": "t", "key": "new", "version": incremented, "document": {"n": -1}},
            ],
        })
    );
    let row = region.get("/v1/tables/u/rows/%2F%00").await.ok(200);
    assert_eq!((row.text(), row.header("etag")), ("null", tag.as_str()));
    region
        .get("/v1/tables/t/rows/gone")
        .await
        .problem(404, "row-not-found");
}

#[tokio::test]
async fn a_document_stays_the_clients_own_text() {
    let region = Region::start();
    let put = r#"{"operations":[{"op":"put","table":"t","key":"a","document": {"b" : 1.50} }]}"#;
    region.post(PATH, put).await.ok(200);
    assert_eq!(
        region.get("/v1/tables/t/rows/a").await.text(),
        r#"{"b" : 1.50}"#
    );
}

#[tokio::test]
async fn a_transaction_happens_as_a_whole_or_not_at_all() {
    let region = Region::start();
    region
        .put("/v1/tables/t/rows/text", "\"text\"")
        .await
        .ok(201);
    let before = region.get("/v1/tables/t/checksum").await.json();
    let operations = json!([
        {"op": "put", "table": "t", "key": "a", "document": 1},
        {"op": "increment", "table": "t", "key": "text", "field": "n", "by": 1},
    ]);
    region
        .post(PATH, body(operations))
        .await
        .problem(422, "not-an-object");
    assert_eq!(region.get("/v1/tables/t/checksum").await.json(), before);
}

#[tokio::test]
async fn a_transaction_that_comes_to_nothing_has_no_version() {
    let region = Region::start();
    let nothing = body(json!([{"op": "delete", "table": "t", "key": "a"}]));
    let reply = region.post(PATH, nothing).await.ok(200).json();
    assert!(reply["version"].is_null(), "{reply}");
    assert_eq!(reply["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bad_operation_is_named() {
    let region = Region::start();
    let good = r#"{"op":"delete","table":"t","key":"k"}"#;
    for bad in [
        "1",
        "{}",
        r#"["delete","t","k"]"#,
        r#"{"op":"upsert","table":"t","key":"k"}"#,
        r#"{"op":"put","table":"t","key":"k"}"#,
        r#"{"op":"put","table":"t","key":"k","document":1,"by":1}"#,
        r#"{"op":"put","key":"k","document":1}"#,
        r#"{"op":"delete","table":"t","key":"k","document":null}"#,
        r#"{"op":"delete","table":"t","key":1}"#,
        r#"{"op":"delete","table":"t","key":"k","more":1}"#,
        r#"{"op":"delete","op":"delete","table":"t","key":"k"}"#,
        r#"{"op":"increment","table":"t","key":"k","field":"n"}"#,
        r#"{"op":"increment","table":"t","key":"k","field":"n","by":1.5}"#,
    ] {
        let body = format!(r#"{{"operations":[{good},{bad}]}}"#);
        let problem = region.post(PATH, body).await.problem(422, "bad-body");
        assert_eq!(problem["operation"], 1, "{bad}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("operation 1: "), "{detail}");
    }
    let table = body(json!([{"op": "delete", "table": "a b", "key": "k"}]));
    let problem = region.post(PATH, table).await.problem(422, "bad-table");
    assert_eq!(problem["operation"], 0);
}

#[tokio::test]
async fn a_bad_body_is_refused() {
    let region = Region::start();
    for bad in [
        "{}",
        "[]",
        "null",
        r#"{"operations":{}}"#,
        r#"{"operations":[],"more":1}"#,
    ] {
        region.post(PATH, bad).await.problem(422, "bad-body");
    }
    for bad in [
        "",
        "{",
        r#"{"operations":[{]}"#,
        r#"{"operations":[{"op":"delete","key":"\ud800"}]}"#,
    ] {
        region.post(PATH, bad).await.problem(400, "malformed-json");
    }
    region
        .post(PATH, body(json!([])))
        .await
        .problem(422, "empty-transaction");
}

#[tokio::test]
async fn a_transaction_keeps_to_one_dataset() {
    let region = Region::start();
    let two = json!([
        {"op": "put", "table": "t", "key": "k", "document": 1},
        {"op": "put", "table": "other", "key": "k", "document": 1},
    ]);
    let problem = region
        .post(PATH, body(two))
        .await
        .problem(422, "several-datasets");
    assert_eq!(problem["operation"], 1);
    region
        .get("/v1/tables/t/rows/k")
        .await
        .problem(404, "row-not-found");
    let one = json!([
        {"op": "put", "table": "other", "key": "k", "document": 1},
        {"op": "put", "table": "other2", "key": "k", "document": 1},
    ]);
    region.post(PATH, body(one)).await.ok(200);
}
