//! Reading, writing and removing a row.

use crate::support::Region;
use axum::http::Method;

const ROW: &str = "/v1/tables/flights/rows/a";

#[tokio::test]
async fn a_row_is_created_replaced_read_and_removed() {
    let region = Region::start();
    region.get(ROW).await.problem(404, "row-not-found");
    let created = region.put(ROW, " {\"b\": 1.50, \"a\":[]}\n").await.ok(201);
    assert_eq!(
        created.text(),
        "{\"b\": 1.50, \"a\":[]}",
        "the client's own text"
    );
    let replaced = region.put(ROW, "null").await.ok(200);
    assert_ne!(created.header("etag"), replaced.header("etag"));
    let read = region.get(ROW).await.ok(200);
    assert_eq!(read.text(), "null");
    assert_eq!(read.header("content-type"), "application/json");
    assert_eq!(read.header("etag"), replaced.header("etag"));
    assert!(read.header("etag").starts_with('"') && read.header("etag").ends_with('"'));
    for _ in 0..2 {
        let removed = region.delete(ROW).await.ok(204);
        assert!(removed.body.is_empty());
        removed.header("meridian-session");
    }
    region.get(ROW).await.problem(404, "row-not-found");
    region.put(ROW, "1").await.ok(201);
}

#[tokio::test]
async fn a_head_has_the_headers_alone() {
    let region = Region::start();
    region.put(ROW, "[1,2,3]").await.ok(201);
    let head = region.request(Method::HEAD, ROW, &[], "").await.ok(200);
    assert_eq!(head.header("content-length"), "7");
    head.header("etag");
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn the_same_key_in_another_table_is_another_row() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/k", "1").await.ok(201);
    region.put("/v1/tables/other/rows/k", "2").await.ok(201);
    assert_eq!(region.get("/v1/tables/t/rows/k").await.text(), "1");
    assert_eq!(region.get("/v1/tables/other/rows/k").await.text(), "2");
    region
        .get("/v1/tables/T/rows/k")
        .await
        .problem(404, "row-not-found");
}
