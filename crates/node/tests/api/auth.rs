//! The bearer token.

use crate::support::{Region, Setting};
use axum::http::Method;

fn region() -> Region {
    Region::with(Setting {
        token: Some("secret".to_owned()),
        ..Setting::default()
    })
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let region = region();
    let paths = [
        "/v1/tables/t/rows/k",
        "/v1/status",
        "/metrics",
        "/openapi.json",
        "/nothing",
    ];
    for path in paths {
        for sent in [
            None,
            Some("Bearer wrong"),
            Some("Bearer secretx"),
            Some("Bearer"),
            Some("Basic secret"),
        ] {
            let headers: Vec<_> = sent
                .map(|sent| ("authorization", sent))
                .into_iter()
                .collect();
            let reply = region.request(Method::GET, path, &headers, "").await;
            reply.problem(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    for path in ["/livez", "/readyz"] {
        region.get(path).await.ok(200);
    }
}

#[tokio::test]
async fn with_the_token_all_is_as_ever() {
    let region = region();
    for sent in ["Bearer secret", "bearer secret"] {
        let headers = [("authorization", sent)];
        region
            .request(Method::GET, "/v1/status", &headers, "")
            .await
            .ok(200);
        let row = "/v1/tables/t/rows/k";
        assert!(
            region
                .request(Method::PUT, row, &headers, "1")
                .await
                .status
                .is_success()
        );
    }
}
