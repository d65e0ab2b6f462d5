//! The door's own way to a row answers as the router does.

use crate::support::{Region, Setting};
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use meridian_node::api::{ApiState, Door};
use tower::Service as _;

/// Method, path, headers, body.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);

const ASKED: &[Asked<'_>] = &[
    ("PUT", "/v1/tables/t/rows/k", &[], "{\"a\":1}"),
    ("PUT", "/v1/tables/t/rows/k", &[], " {\"a\":2} "),
    ("GET", "/v1/tables/t/rows/k", &[], ""),
    ("HEAD", "/v1/tables/t/rows/k", &[], ""),
    ("GET", "/v1/tables/t/rows/k?x=1", &[], ""),
    ("GET", "/v1/tables/t/rows/other", &[], ""),
    ("PUT", "/v1/tables/t/rows/k", &[("if-none-match", "*")], "1"),
    (
        "PUT",
        "/v1/tables/t/rows/k",
        &[("if-match", "nonsense")],
        "1",
    ),
    (
        "PUT",
        "/v1/tables/t/rows/k",
        &[("idempotency-key", "once")],
        "5",
    ),
    (
        "PUT",
        "/v1/tables/t/rows/k",
        &[("idempotency-key", "once")],
        "5",
    ),
    (
        "PUT",
        "/v1/tables/t/rows/k",
        &[("idempotency-key", "once")],
        "6",
    ),
    (
        "PUT",
        "/v1/tables/t/rows/k",
        &[("meridian-session", "zz")],
        "1",
    ),
    ("PUT", "/v1/tables/t/rows/k", &[], "{"),
    ("PUT", "/v1/tables/t/rows/a%2Fb", &[], "null"),
    ("GET", "/v1/tables/t/rows/a%2Fb", &[], ""),
    ("GET", "/v1/tables/t/rows/%zz", &[], ""),
    ("GET", "/v1/tables/t/rows/%ff", &[], ""),
    ("GET", "/v1/tables/other/rows/k", &[], ""),
    ("GET", "/v1/tables/t/rows/", &[], ""),
    ("GET", "/v1/tables/t/rows/k/", &[], ""),
    ("GET", "/v1/tables//rows/k", &[], ""),
    ("POST", "/v1/tables/t/rows/k", &[], ""),
    ("PATCH", "/v1/tables/t/rows/k", &[], "1"),
    ("DELETE", "/v1/tables/t/rows/k", &[], ""),
    ("DELETE", "/v1/tables/t/rows/k", &[], ""),
    ("GET", "/v1/tables/t/rows/k", &[], ""),
    ("GET", "/livez", &[], ""),
    ("GET", "/nowhere", &[], ""),
];

fn request((method, path, headers, body): Asked<'_>, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// What a client can tell two replies apart by, but for what is the region's own: versions, tokens.
async fn seen(response: Response<Body>) -> (StatusCode, Vec<(String, String)>, String) {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut body = String::from_utf8(body.to_vec()).unwrap();
    if parts.status == StatusCode::PRECONDITION_FAILED {
        body.truncate(body.find("\"version\"").unwrap());
    }
    (parts.status, header_texts(&parts.headers), body)
}

fn header_texts(headers: &HeaderMap) -> Vec<(String, String)> {
    // The router names the length itself; otherwise the connection does, by the body's.
    let headers = headers.iter().filter(|(name, _)| *name != CONTENT_LENGTH);
    let own = ["etag", "meridian-session"];
    let text = |name: &str, value: &str| {
        let value = if own.contains(&name) { "" } else { value };
        (name.to_owned(), value.to_owned())
    };
    let mut texts: Vec<_> = headers
        .map(|(name, value)| text(name.as_str(), value.to_str().unwrap()))
        .collect();
    texts.sort();
    texts
}

async fn compare(token: Option<&str>, sent: Option<&str>) -> Vec<StatusCode> {
    let start = || {
        Region::with(Setting {
            token: token.map(str::to_owned),
            other: Some("is broken"),
            ..Setting::default()
        })
    };
    let (routed, entered) = (start(), start());
    let door = Door::new(ApiState::new(entered.api.clone()));
    let mut statuses = Vec::new();
    for asked in ASKED {
        let by_router = routed.router.clone().call(request(*asked, sent)).await;
        let by_router = seen(by_router.unwrap()).await;
        let by_door = seen(door.answer(request(*asked, sent)).await).await;
        assert_eq!(by_router, by_door, "{asked:?}");
        statuses.push(by_door.0);
    }
    statuses
}

#[tokio::test]
async fn a_row_is_the_same_through_the_door_and_through_the_router() {
    let statuses = compare(None, None).await;
    assert_eq!(statuses[..3], [201, 200, 200]);
    assert!(statuses.contains(&StatusCode::METHOD_NOT_ALLOWED));
}

#[tokio::test]
async fn the_door_asks_for_the_token() {
    let statuses = compare(Some("secret"), None).await;
    let refused = statuses
        .iter()
        .filter(|status| **status == StatusCode::UNAUTHORIZED);
    assert_eq!(refused.count(), ASKED.len() - 1, "all but /livez");
    let statuses = compare(Some("secret"), Some("secret")).await;
    assert_eq!(statuses[..3], [201, 200, 200]);
}

#[tokio::test]
async fn what_goes_through_the_door_is_counted() {
    let region = Region::start();
    let door = Door::new(ApiState::new(region.api.clone()));
    for asked in &ASKED[..3] {
        door.answer(request(*asked, None)).await;
    }
    let metrics = door
        .answer(request(("GET", "/metrics", &[], ""), None))
        .await;
    let metrics = to_bytes(metrics.into_body(), usize::MAX).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let counted = "route=\"/v1/tables/{table}/rows/{key}\",status=\"2xx\"} 3";
    assert!(metrics.contains(counted), "{metrics}");
}
