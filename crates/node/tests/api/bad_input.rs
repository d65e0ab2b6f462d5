//! Bodies that are not what they should be.

use crate::support::Region;
use axum::body::Body;
use bytes::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

const ROW: &str = "/v1/tables/t/rows/k";

#[tokio::test]
async fn malformed_json_is_refused_with_its_place() {
    let region = Region::start();
    let problem = region
        .put(ROW, "{\n \"a\": ]}")
        .await
        .problem(400, "malformed-json");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&2.into(), &7.into())
    );
    for bad in [
        "",
        " ",
        "{",
        "[1,]",
        "1 2",
        "nul",
        "\"\\ud800\"",
        "'a'",
        "NaN",
    ] {
        region.put(ROW, bad).await.problem(400, "malformed-json");
    }
    region
        .put(ROW, &b"\"\xff\""[..])
        .await
        .problem(400, "malformed-json");
    region.get(ROW).await.problem(404, "row-not-found");
}

#[tokio::test]
async fn deep_nesting_is_refused_everywhere() {
    let region = Region::start();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    region
        .put(ROW, deep.clone())
        .await
        .problem(422, "nesting-too-deep");
    let operation = r#"{"op":"put","table":"t","key":"k","document":"#;
    let transaction = format!(r#"{{"operations":[{operation}{deep}}}]}}"#);
    let refused = region.post("/v1/transactions", transaction).await;
    refused.problem(422, "nesting-too-deep");
    for path in ["/v1/transactions", "/v1/tables/t/rows/k/increment"] {
        let refused = region.post(path, deep.clone()).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        let half = region.post(path, "[".repeat(10_000)).await;
        assert!(half.status.is_client_error(), "{half:?}");
    }
    region.put(ROW, "1").await.ok(201);
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let region = Region::start();
    let document = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let mebibyte = 1 << 20;
    region.put(ROW, document(mebibyte)).await.ok(201);
    let problem = region
        .put(ROW, document(mebibyte + 1))
        .await
        .problem(413, "too-large");
    assert_eq!(problem["bytes_max"], mebibyte);
    region
        .post("/v1/transactions", vec![b' '; 20 << 20])
        .await
        .problem(413, "too-large");
    let operation = |key: usize| {
        let document = document(mebibyte);
        format!(r#"{{"op":"put","table":"t","key":"{key}","document":{document}}}"#)
    };
    let operations: Vec<String> = (0..5).map(operation).collect();
    let five = format!(r#"{{"operations":[{}]}}"#, operations.join(","));
    assert!(five.len() < 8 << 20);
    region
        .post("/v1/transactions", five)
        .await
        .problem(413, "too-large");
    region
        .get("/v1/tables/t/rows/0")
        .await
        .problem(404, "row-not-found");
}

/// A body of unknown length without an end.
struct Endless;

impl axum::body::HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let data = Bytes::from_static(&[b' '; 4096]);
        Poll::Ready(Some(Ok(hyper::body::Frame::data(data))))
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_up_to_the_limit() {
    let region = Region::start();
    region
        .put(ROW, Body::new(Endless))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn a_transaction_of_too_many_operations_is_refused() {
    let region = Region::start();
    let operation = r#"{"op":"delete","table":"t","key":"k"}"#;
    let operations = vec![operation; 10_001].join(",");
    let body = format!(r#"{{"operations":[{operations}]}}"#);
    region
        .post("/v1/transactions", body)
        .await
        .problem(413, "too-large");
}
