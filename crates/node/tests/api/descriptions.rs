//! What the API says of itself: its description and its metrics.

use crate::support::Region;
use axum::http::Method;
use serde_json::Value;

#[tokio::test]
async fn the_description_has_every_method_of_every_path_and_no_other() {
    let region = Region::start();
    let description = region.get("/openapi.json").await.ok(200).json();
    let paths = description["paths"].as_object().unwrap();
    for (path, methods) in paths {
        let uri = path
            .replace("{table}", "t")
            .replace("{key}", "k")
            .replace("{id}", "1");
        for method in [
            Method::GET,
            Method::PUT,
            Method::POST,
            Method::DELETE,
            Method::PATCH,
            Method::OPTIONS,
        ] {
            let described = methods.get(method.as_str().to_lowercase()).is_some();
            let reply = region.request(method.clone(), &uri, &[], "").await;
            assert_ne!(reply.json_type(), "/problems/unknown-path", "{path}");
            assert_eq!(reply.status != 405, described, "{method} {path}: {reply:?}");
        }
    }
}

#[tokio::test]
async fn the_description_refers_to_nothing_that_is_not_in_it() {
    let region = Region::start();
    let description = region.get("/openapi.json").await.ok(200).json();
    let mut references = 0;
    visit(&description, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(description.pointer(pointer).is_some(), "{reference}");
        }
    });
    assert!(references > 20);
    assert!(description["components"]["schemas"]["Problem"]["properties"]["type"].is_object());
    let row = &description["paths"]["/v1/tables/{table}/rows/{key}"];
    for status in [
        "200", "201", "400", "401", "404", "408", "412", "413", "422", "500", "503", "507",
    ] {
        assert!(row["put"]["responses"][status].is_object(), "{status}");
    }
}

fn visit(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        Value::Object(members) => members.values().for_each(|member| visit(member, look)),
        _ => {}
    }
}

impl crate::support::Reply {
    fn json_type(&self) -> String {
        let body: Option<Value> = serde_json::from_slice(&self.body).ok();
        let kind = body.as_ref().and_then(|body| body["type"].as_str());
        kind.unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn the_metrics_are_there_in_both_formats() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/k", "1").await.ok(201);
    region
        .get("/v1/tables/t/rows/none")
        .await
        .problem(404, "row-not-found");
    region.get("/nowhere").await.problem(404, "unknown-path");
    let page = region.get("/metrics").await.ok(200);
    assert_eq!(
        page.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = page.text();
    for name in [
        "meridian_transactions_total{dataset=\"main\",source=\"local\"}",
        "meridian_transactions_total{dataset=\"main\",source=\"remote\"} 0",
        "meridian_commits_total{dataset=\"main\"}",
        "meridian_conflicts_total{dataset=\"main\"} 0",
        "meridian_log_bytes{dataset=\"main\"}",
        "meridian_log_budget_bytes{dataset=\"main\"} 1073741824",
        "meridian_dataset_stopped{dataset=\"other\"} 0",
        "# TYPE meridian_transactions_total counter",
        "# TYPE meridian_replication_lag_seconds gauge",
        "# TYPE meridian_replication_lag_transactions gauge",
        "# TYPE meridian_replication_connected gauge",
        "# TYPE meridian_clock_ahead_seconds gauge",
        "# TYPE meridian_visible_delay_seconds gauge",
        "# TYPE process_resident_memory_bytes gauge",
        "meridian_http_requests_total{route=\"/v1/tables/{table}/rows/{key}\",status=\"2xx\"} 1",
        "meridian_http_requests_total{route=\"/v1/tables/{table}/rows/{key}\",status=\"4xx\"} 1",
        "meridian_http_requests_total{route=\"other\",status=\"4xx\"} 1",
        "meridian_http_request_duration_seconds_bucket",
    ] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    assert!(!text.contains("# EOF"));
    let accept = [(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )];
    let page = region
        .request(Method::GET, "/metrics", &accept, "")
        .await
        .ok(200);
    assert!(
        page.header("content-type")
            .starts_with("application/openmetrics-text")
    );
    assert!(page.text().contains("# TYPE meridian_transactions counter"));
    assert!(page.text().ends_with("# EOF\n"));
}
