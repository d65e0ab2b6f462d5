//! Levels of consistency, in a region alone.

use crate::support::{Region, Reply};
use axum::http::Method;
use meridian_model::{Hlc, Vector};
use std::collections::BTreeMap;
use std::time::Duration;

const ROW: &str = "/v1/tables/t/rows/k";
const LEVEL: &str = "meridian-consistency";
const SESSION: &str = "meridian-session";
const TIMEOUT: &str = "meridian-timeout";

async fn get(region: &Region, path: &str, headers: &[(&str, &str)]) -> Reply {
    region.request(Method::GET, path, headers, "").await
}

/// A token of what the region will have seen an hour from now.
fn far_ahead(region: &Region) -> String {
    let mut seen = Vector::clone(&region.main().applied());
    let origin = region.main().status().origin;
    let later = seen.get(origin).time().plus(Duration::from_secs(3600));
    seen.raise(origin, Hlc::at(later));
    let seen: BTreeMap<&str, &Vector> = [("main", &seen)].into_iter().collect();
    let bytes = postcard::to_stdvec(&seen).unwrap();
    let bytes = std::iter::once(&1).chain(&bytes);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn every_read_says_its_level() {
    let region = Region::start();
    let session = region.put(ROW, "1").await.header(SESSION).to_owned();
    let missing = "/v1/tables/t/rows/missing";
    let paths = [
        (ROW, 200),
        (missing, 404),
        ("/v1/tables", 200),
        ("/v1/tables/t/rows", 200),
        ("/v1/tables/t/checksum", 200),
        ("/v1/conflicts", 200),
    ];
    for (path, status) in paths {
        let reply = get(&region, path, &[]).await;
        assert_eq!(reply.header(LEVEL), "session", "the default");
        for level in ["eventual", "session", "causal", "strong"] {
            let reply = get(&region, path, &[(LEVEL, level), (SESSION, &session)]).await;
            assert_eq!(reply.status.as_u16(), status, "{path} {level}");
            assert_eq!(reply.header(LEVEL), level);
            assert!(!reply.header(SESSION).is_empty());
        }
    }
    let known = region.put(ROW, "2").await.header("etag").to_owned();
    let unchanged = get(
        &region,
        ROW,
        &[(LEVEL, "strong"), ("if-none-match", &known)],
    )
    .await;
    assert_eq!(
        (unchanged.status.as_u16(), unchanged.header(LEVEL)),
        (304, "strong")
    );
    let changed = get(&region, ROW, &[(LEVEL, "strong"), ("if-match", "\"1-1\"")]).await;
    changed.problem(412, "precondition-failed");
    assert_eq!(changed.header(LEVEL), "strong");
}

#[tokio::test]
async fn levels_and_timeouts_that_are_none_are_refused() {
    let region = Region::start();
    let problem = get(&region, ROW, &[(LEVEL, "linearizable")]).await;
    let problem = problem.problem(400, "bad-header");
    let hint = problem["hint"].as_str().unwrap();
    assert_eq!(hint, "the levels are eventual, causal, session, strong");
    let twice = [(LEVEL, "strong"), (LEVEL, "session")];
    get(&region, ROW, &twice).await.problem(400, "bad-header");
    let soon = get(&region, ROW, &[(TIMEOUT, "soon")]).await;
    assert!(soon.problem(400, "bad-header")["hint"].is_string());
}

#[tokio::test]
async fn a_causal_read_needs_a_token() {
    let region = Region::start();
    let token = region.put(ROW, "1").await.header(SESSION).to_owned();
    let refused = get(&region, ROW, &[(LEVEL, "causal")]).await;
    assert!(refused.problem(400, "session-required")["hint"].is_string());
    let causal = [(LEVEL, "causal"), (SESSION, token.as_str())];
    get(&region, ROW, &causal).await.ok(200);
}

#[tokio::test]
async fn only_an_eventual_read_leaves_its_token_unheeded_and_it_keeps_it() {
    let region = Region::start();
    region.put(ROW, "1").await.ok(201);
    let ahead = far_ahead(&region);
    for level in ["session", "causal", "strong"] {
        let headers = [(LEVEL, level), (SESSION, ahead.as_str()), (TIMEOUT, "50ms")];
        let reply = get(&region, ROW, &headers).await;
        reply.problem(503, "session-not-reached");
    }
    let eventual = [(LEVEL, "eventual"), (SESSION, ahead.as_str())];
    let reply = get(&region, ROW, &eventual).await.ok(200);
    let kept = [(SESSION, reply.header(SESSION)), (TIMEOUT, "50ms")];
    let next = get(&region, ROW, &kept).await;
    next.problem(503, "session-not-reached");
}
