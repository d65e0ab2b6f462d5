//! Session tokens.

use crate::support::{Region, Reply};
use axum::http::Method;
use meridian_model::{Hlc, Vector};
use std::collections::BTreeMap;
use std::time::Duration;

const ROW: &str = "/v1/tables/t/rows/k";
const SESSION: &str = "meridian-session";

fn token(dataset: &str, seen: &Vector) -> String {
    let seen: BTreeMap<&str, &Vector> = [(dataset, seen)].into_iter().collect();
    let bytes = postcard::to_stdvec(&seen).unwrap();
    std::iter::once(&1)
        .chain(&bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn dataset_in(reply: &Reply, dataset: &str) -> Vector {
    let text = reply.header(SESSION);
    let digits = (2..text.len()).step_by(2);
    let bytes: Vec<u8> = digits
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect();
    let seen: BTreeMap<String, Vector> = postcard::from_bytes(&bytes).unwrap();
    seen.get(dataset).cloned().unwrap_or_default()
}

async fn get(region: &Region, token: &str) -> Reply {
    region
        .request(Method::GET, ROW, &[(SESSION, token)], "")
        .await
}

/// What the region will have seen when it has run on for `ahead`.
fn ahead_of(region: &Region, ahead: Duration) -> Vector {
    let mut seen = Vector::clone(&region.main().applied());
    let origin = region.main().status().origin;
    let later = seen.get(origin).time().plus(ahead);
    seen.raise(origin, Hlc::at(later));
    seen
}

#[tokio::test]
async fn every_reply_carries_a_token_that_any_request_may_bring_back() {
    let region = Region::start();
    let mut session = region.put(ROW, "{}").await.header(SESSION).to_owned();
    let paths = [
        ROW,
        "/v1/tables",
        "/v1/tables/t/rows",
        "/v1/tables/t/checksum",
        "/v1/conflicts",
    ];
    for path in paths {
        let reply = region
            .request(Method::GET, path, &[(SESSION, &session)], "")
            .await
            .ok(200);
        session = reply.header(SESSION).to_owned();
    }
    let missing = "/v1/tables/t/rows/missing";
    let reply = region
        .request(Method::GET, missing, &[(SESSION, &session)], "")
        .await;
    reply.problem(404, "row-not-found");
    reply.header(SESSION);
    let increment = format!("{ROW}/increment");
    let transaction = r#"{"operations":[{"op":"delete","table":"t","key":"k"}]}"#;
    for (method, path, body) in [
        (Method::POST, increment.as_str(), r#"{"field":"n","by":1}"#),
        (Method::POST, "/v1/transactions", transaction),
        (Method::PUT, ROW, "1"),
        (Method::DELETE, ROW, ""),
    ] {
        let reply = region
            .request(method, path, &[(SESSION, &session)], body)
            .await;
        assert!(reply.status.is_success(), "{reply:?}");
        session = reply.header(SESSION).to_owned();
    }
}

#[tokio::test]
async fn a_token_covers_what_was_written() {
    let region = Region::start();
    for _ in 0..20 {
        let written = region.put(ROW, "1").await;
        let version = written.header("etag").trim_matches('"').parse().unwrap();
        assert!(dataset_in(&written, "main").has_seen(version));
        let read = region.get(ROW).await;
        assert!(dataset_in(&read, "main").has_seen(version));
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let region = Region::start();
    let good = token("main", &Vector::default());
    get(&region, &good).await.problem(404, "row-not-found");
    for bad in [
        "",
        "x",
        "0",
        "00",
        "01",
        &good[1..],
        &format!("{good}00"),
        &"01".repeat(9000),
    ] {
        get(&region, bad).await.problem(400, "bad-session");
        let written = region
            .request(Method::PUT, ROW, &[(SESSION, bad)], "1")
            .await;
        written.problem(400, "bad-session");
    }
}

#[tokio::test]
async fn what_was_seen_of_another_dataset_is_carried_along() {
    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    let ahead = ahead_of(&region, Duration::from_secs(3600));
    let reply = get(&region, &token("other", &ahead)).await.ok(200);
    assert_eq!(dataset_in(&reply, "other"), ahead);
    assert!(dataset_in(&reply, "main").covers(&region.main().applied()));
    let reply = get(&region, &token("unknown", &ahead)).await.ok(200);
    assert_eq!(
        dataset_in(&reply, "unknown"),
        Vector::default(),
        "of no dataset here"
    );
}

#[tokio::test]
async fn a_region_that_is_behind_says_so_after_a_while() {
    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    let ahead = token("main", &ahead_of(&region, Duration::from_secs(3600)));
    let headers = [(SESSION, ahead.as_str())];
    let write = region.request(Method::PUT, ROW, &headers, "2");
    let (read, written) = tokio::join!(get(&region, &ahead), write);
    for reply in [read, written] {
        let problem = reply.problem(503, "session-not-reached");
        assert_eq!(problem["dataset"], "main");
        assert_eq!(reply.header("retry-after"), "1");
    }
    assert_eq!(region.get(ROW).await.text(), "1", "nothing was written");
}

#[tokio::test]
async fn a_region_that_catches_up_answers() {
    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    let seen = ahead_of(&region, Duration::from_millis(200));
    let token = token("main", &seen);
    let reading = async {
        let reply = get(&region, &token).await.ok(200);
        assert!(region.main().applied().covers(&seen));
        reply
    };
    let writing = async {
        loop {
            region.put(ROW, "2").await.ok(200);
        }
    };
    tokio::select! {
        reply = reading => assert_eq!(reply.text(), "2"),
        () = writing => {}
    }
}
