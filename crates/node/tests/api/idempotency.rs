//! Retries with an `Idempotency-Key`.

use crate::support::{Region, Reply};
use axum::http::Method;

const ROW: &str = "/v1/tables/t/rows/k";

async fn send(region: &Region, method: Method, path: &str, body: &'static str) -> Reply {
    region
        .request(method, path, &[("idempotency-key", "one")], body)
        .await
}

#[tokio::test]
async fn a_repeated_increment_counts_once() {
    let region = Region::start();
    let path = format!("{ROW}/increment");
    let body = r#"{"field":"n","by":5}"#;
    let first = send(&region, Method::POST, &path, body).await.ok(200);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for _ in 0..3 {
        let again = send(&region, Method::POST, &path, body).await.ok(200);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.json()["n"], 5);
        assert_eq!(again.header("etag"), first.header("etag"));
    }
}

#[tokio::test]
async fn every_kind_of_write_can_be_repeated() {
    let region = Region::start();
    send(&region, Method::PUT, ROW, "1").await.ok(201);
    let again = send(&region, Method::PUT, ROW, "1").await.ok(200);
    assert_eq!(again.header("idempotency-replayed"), "true");

    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    send(&region, Method::DELETE, ROW, "").await.ok(204);
    region.put(ROW, "2").await.ok(201);
    let again = send(&region, Method::DELETE, ROW, "").await.ok(204);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        region.get(ROW).await.ok(200).text(),
        "2",
        "the row written since stays"
    );

    let region = Region::start();
    let body = r#"{"operations":[{"op":"increment","table":"t","key":"k","field":"n","by":1}]}"#;
    let first = send(&region, Method::POST, "/v1/transactions", body)
        .await
        .ok(200);
    let again = send(&region, Method::POST, "/v1/transactions", body)
        .await
        .ok(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(first.json(), again.json());
}

#[tokio::test]
async fn a_replayed_put_of_a_row_removed_since_is_no_error() {
    let region = Region::start();
    send(&region, Method::PUT, ROW, "1").await.ok(201);
    region.delete(ROW).await.ok(204);
    let again = send(&region, Method::PUT, ROW, "1").await.ok(200);
    assert_eq!(again.text(), "null");
    region.get(ROW).await.problem(404, "row-not-found");
}

#[tokio::test]
async fn a_key_is_not_for_another_request() {
    let region = Region::start();
    send(&region, Method::PUT, ROW, "1").await.ok(201);
    let elsewhere = "/v1/tables/t/rows/l";
    for (method, path, body) in [
        (Method::PUT, ROW, "2"),
        (Method::PUT, elsewhere, "1"),
        (Method::DELETE, ROW, "1"),
    ] {
        let refused = send(&region, method, path, body).await;
        refused.problem(422, "idempotency-key-reused");
    }
    let key = "k".repeat(256);
    let refused = region
        .request(Method::PUT, ROW, &[("idempotency-key", &key)], "1")
        .await;
    refused.problem(422, "bad-idempotency-key");
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    region
        .request(Method::PUT, ROW, &twice, "1")
        .await
        .problem(400, "bad-header");
}
