//! What holds for every path: the description, the token, errors, health and metrics.

use crate::world::{Reply, World};
use serde_json::Value;
use std::collections::BTreeSet;

/// Metrics that dashboards and alerts are built on.
const METRICS: [&str; 16] = [
    "meridian_transactions_total{dataset=\"main\",source=\"local\"} 1",
    "meridian_transactions_total{dataset=\"main\",source=\"remote\"} 0",
    "meridian_commits_total{dataset=\"main\"}",
    "meridian_log_bytes{dataset=\"main\"}",
    "meridian_log_budget_bytes{dataset=\"main\"} 1073741824",
    "meridian_replication_lag_seconds{dataset=\"main\",peer=\"eu-west-1\"}",
    "meridian_replication_lag_transactions{dataset=\"main\",peer=\"eu-west-1\"}",
    "meridian_replication_connected{dataset=\"main\",peer=\"eu-west-1\"} 0",
    "meridian_visible_delay_seconds{dataset=\"main\",peer=\"eu-west-1\",quantile=\"0.99\"}",
    "meridian_conflicts_total{dataset=\"main\"} 0",
    "meridian_clock_ahead_seconds{dataset=\"main\",peer=\"eu-west-1\"}",
    "meridian_clock_drift_alert{dataset=\"main\",peer=\"eu-west-1\"} 0",
    "meridian_dataset_stopped{dataset=\"damaged\"} 1",
    "process_resident_memory_bytes",
    "meridian_http_requests_total{route=\"/v1/tables/{table}/rows/{key}\",status=\"2xx\"} 1",
    "meridian_http_request_duration_seconds_count{route=\"/v1/tables/{table}/rows/{key}\"} 1",
];

fn concrete(path: &str) -> String {
    path.replace("{table}", "t").replace("{key}", "k")
}

fn allowed(reply: &Reply) -> BTreeSet<String> {
    let methods = reply
        .header("allow")
        .split(',')
        .map(|method| method.trim().to_lowercase());
    methods.filter(|method| method != "head").collect()
}

#[tokio::test]
async fn every_path_takes_the_methods_that_are_described() {
    let world = World::new();
    let reply = world.ask("GET /openapi.json", "").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let description = reply.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 13);
    for (path, methods) in paths {
        let refused = world.ask(&format!("PATCH {}", concrete(path)), "").await;
        refused.is_problem(405, "method-not-allowed");
        let described: BTreeSet<String> = methods.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed(&refused), described, "{path}");
    }
}

#[tokio::test]
async fn every_reference_of_the_description_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("$ref", Value::String(to)) => drop(found.insert(to.clone())),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let description = serde_json::to_value(meridian_node::api::openapi()).unwrap();
    let mut found = BTreeSet::new();
    references(&description, &mut found);
    assert!(found.contains("#/components/schemas/Problem"), "{found:?}");
    for to in found {
        assert!(description.pointer(&to[1..]).is_some(), "{to}");
    }
    assert_eq!(
        description["components"]["securitySchemes"]["token"]["scheme"],
        "bearer"
    );
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let world = World::new();
    for path in [
        "/",
        "/v1",
        "/v1/tables/t/rows/a/b",
        "/v1/tables/t/rows/",
        "//",
        "/v2/tables",
    ] {
        world
            .ask(&format!("GET {path}"), "")
            .await
            .is_problem(404, "unknown-path");
    }
}

#[tokio::test]
async fn whoever_has_no_token_gets_nothing_but_health() {
    let world = World::with_token(Some("a long random word"));
    let refused = [
        None,
        Some("Bearer"),
        Some("Bearer a long random wor"),
        Some("Basic a long random word"),
    ];
    for path in [
        "/v1/tables/t/rows/k",
        "/v1/status",
        "/metrics",
        "/openapi.json",
    ] {
        for sent in refused {
            let line = format!("GET {path}");
            let reply = match sent {
                None => world.ask(&line, "").await,
                Some(sent) => world.ask_with(&line, [("authorization", sent)], "").await,
            };
            reply.is_problem(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), "Bearer");
        }
    }
    assert_eq!(world.ask("GET /livez", "").await.status, 200);
    assert_eq!(world.ask("GET /readyz", "").await.status, 503);
    for token in ["Bearer a long random word", "bearer a long random word"] {
        let reply = world
            .ask_with("GET /v1/status", [("authorization", token)], "")
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn a_dataset_that_could_not_be_opened_holds_up_no_other() {
    let world = World::new();
    for line in [
        "GET /v1/tables/broken/rows/k",
        "PUT /v1/tables/broken/rows/k",
    ] {
        let reply = world.ask(line, "1").await;
        reply.is_problem(503, "dataset-unavailable");
        assert!(
            reply.json()["detail"]
                .as_str()
                .unwrap()
                .contains("a segment is damaged")
        );
    }
    assert_eq!(
        world.ask("PUT /v1/tables/whole/rows/k", "1").await.status,
        201
    );
    let ready = world.ask("GET /readyz", "").await;
    ready.is_problem(503, "not-ready");
    assert_eq!(ready.json()["datasets"].as_array().unwrap().len(), 1);
    let status = world.ask("GET /v1/status", "").await.json();
    let states = status["datasets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dataset| &dataset["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["failed", "running"]);
    assert_eq!(World::healthy().ask("GET /readyz", "").await.status, 200);
}

#[tokio::test]
async fn metrics_have_their_names() {
    let world = World::new();
    world.ask("PUT /v1/tables/t/rows/k", "1").await;
    // The counts are published at the dataset's next tick.
    let mut page = String::new();
    while !page.contains(METRICS[0]) {
        tokio::task::yield_now().await;
        let reply = world.ask("GET /metrics", "").await;
        assert_eq!(reply.status, 200);
        page = String::from_utf8(reply.body.to_vec()).unwrap();
    }
    for name in METRICS {
        assert!(
            page.lines().any(|line| line.starts_with(name)),
            "{name}:\n{page}"
        );
    }
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let world = World::new();
    let plain = world.ask("GET /metrics", "").await;
    assert_eq!(
        plain.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let plain = String::from_utf8(plain.body.to_vec()).unwrap();
    assert!(
        plain.contains("# TYPE meridian_commits_total counter\n"),
        "{plain}"
    );
    assert!(!plain.contains("# EOF"));
    let accept = [(
        "accept",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    )];
    let open = world.ask_with("GET /metrics", accept, "").await;
    assert!(
        open.header("content-type")
            .starts_with("application/openmetrics-text; version=1.0.0")
    );
    let open = String::from_utf8(open.body.to_vec()).unwrap();
    assert!(open.contains("# TYPE meridian_commits counter\n"), "{open}");
    assert!(open.ends_with("# EOF\n"));
}
