//! Increments.

use crate::support::Region;
use axum::body::Body;
use tokio::task::JoinSet;

const PATH: &str = "/v1/tables/t/rows/k/increment";

#[tokio::test]
async fn an_increment_starts_at_nothing_and_adds_up() {
    let region = Region::start();
    let first = region.post(PATH, r#"{"field":"n","by":3}"#).await.ok(200);
    assert_eq!(first.text(), r#"{"n":3}"#);
    let second = region
        .post(PATH, r#" {"by":-5, "field":"n"} "#)
        .await
        .ok(200);
    assert_eq!(second.text(), r#"{"n":-2}"#);
    assert_eq!(
        region.get("/v1/tables/t/rows/k").await.header("etag"),
        second.header("etag")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_are_exact() {
    let region = Region::start();
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let router = region.router.clone();
        tasks.spawn(async move {
            for _ in 0..50 {
                let request = axum::http::Request::post(PATH);
                let request = request.body(Body::from(r#"{"field":"n","by":1}"#)).unwrap();
                let response = tower::Service::call(&mut router.clone(), request)
                    .await
                    .unwrap();
                assert_eq!(response.status(), 200);
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(
        region.get("/v1/tables/t/rows/k").await.ok(200).json()["n"],
        64 * 50
    );
}

#[tokio::test]
async fn what_is_no_increment_is_refused() {
    let region = Region::start();
    for bad in [
        "{}",
        "[]",
        r#"["n",1]"#,
        "1",
        r#"{"field":"n"}"#,
        r#"{"by":1}"#,
        r#"{"field":"n","by":1.5}"#,
        r#"{"field":"n","by":1.0}"#,
        r#"{"field":"n","by":1e2}"#,
        r#"{"field":"n","by":"1"}"#,
        r#"{"field":"n","by":null}"#,
        r#"{"field":"n","by":9223372036854775808}"#,
        r#"{"field":1,"by":1}"#,
        r#"{"field":"n","by":1,"more":2}"#,
        r#"{"field":"n","by":1,"by":1}"#,
    ] {
        region.post(PATH, bad).await.problem(422, "bad-body");
    }
    for bad in ["", "{", r#"{"field":"n","by":1}x"#] {
        region.post(PATH, bad).await.problem(400, "malformed-json");
    }
    let long = format!(r#"{{"field":"{}","by":1}}"#, "f".repeat(70_000));
    region.post(PATH, long).await.problem(413, "too-large");
    region
        .get("/v1/tables/t/rows/k")
        .await
        .problem(404, "row-not-found");
}

#[tokio::test]
async fn what_holds_no_integer_cannot_be_incremented() {
    let region = Region::start();
    let row = "/v1/tables/t/rows/k";
    let body = r#"{"field":"n","by":1}"#;
    for (document, name) in [
        ("[]", "not-an-object"),
        ("\"text\"", "not-an-object"),
        (r#"{"n":"1"}"#, "not-an-integer"),
        (r#"{"n":1.5}"#, "not-an-integer"),
        (r#"{"n":9223372036854775807}"#, "out-of-range"),
    ] {
        assert!(region.put(row, document).await.status.is_success());
        region.post(PATH, body).await.problem(422, name);
        assert_eq!(region.get(row).await.text(), document, "unchanged");
    }
}
