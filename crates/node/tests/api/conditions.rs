//! `If-Match` and `If-None-Match`.

use crate::support::{Region, Reply};
use axum::http::Method;

const ROW: &str = "/v1/tables/t/rows/k";

async fn send(region: &Region, method: Method, header: &str, value: &str) -> Reply {
    region.request(method, ROW, &[(header, value)], "2").await
}

#[tokio::test]
async fn a_read_of_a_known_version_is_not_repeated() {
    let region = Region::start();
    let tag = region.put(ROW, "1").await.ok(201).header("etag").to_owned();
    for known in [
        tag.as_str(),
        "*",
        &format!("W/{tag}"),
        &format!("\"x\", {tag}"),
    ] {
        let reply = send(&region, Method::GET, "if-none-match", known)
            .await
            .ok(304);
        assert_eq!(reply.header("etag"), tag);
        assert!(reply.body.is_empty());
    }
    send(&region, Method::GET, "if-none-match", "\"x\"")
        .await
        .ok(200);
    send(&region, Method::GET, "if-match", &tag).await.ok(200);
    let problem = send(&region, Method::GET, "if-match", "\"x\"").await;
    let problem = problem.problem(412, "precondition-failed");
    assert_eq!(problem["version"], tag.trim_matches('"'));
}

#[tokio::test]
async fn a_write_happens_only_in_the_state_that_it_demands() {
    let region = Region::start();
    for method in [Method::PUT, Method::DELETE] {
        let refused = send(&region, method, "if-match", "*").await;
        let problem = refused.problem(412, "precondition-failed");
        assert!(problem["version"].is_null(), "{problem}");
    }
    let first = send(&region, Method::PUT, "if-none-match", "*")
        .await
        .ok(201);
    let first = first.header("etag").to_owned();
    let refused = send(&region, Method::PUT, "if-none-match", "*").await;
    let problem = refused.problem(412, "precondition-failed");
    assert_eq!(problem["version"], first.trim_matches('"'));
    let second = send(&region, Method::PUT, "if-match", &format!("\"x\", {first}"))
        .await
        .ok(200);
    let second = second.header("etag").to_owned();
    for stale in [first.as_str(), &format!("W/{second}")] {
        let refused = send(&region, Method::DELETE, "if-match", stale).await;
        refused.problem(412, "precondition-failed");
    }
    send(&region, Method::DELETE, "if-match", &second)
        .await
        .ok(204);
}

#[tokio::test]
async fn an_increment_may_be_conditional_and_a_transaction_may_not() {
    let region = Region::start();
    let send = async |path: &str, body: &'static str| {
        region
            .request(Method::POST, path, &[("if-match", "\"x\"")], body)
            .await
    };
    let path = format!("{ROW}/increment");
    let refused = send(&path, r#"{"field":"n","by":1}"#).await;
    refused.problem(412, "precondition-failed");
    let refused = send("/v1/transactions", r#"{"operations":[]}"#).await;
    refused.problem(400, "bad-header");
}

#[tokio::test]
async fn what_is_no_entity_tag_is_refused() {
    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let refused = send(&region, method, "if-match", "1-00ff").await;
        refused.problem(400, "bad-header");
    }
}
