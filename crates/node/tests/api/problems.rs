//! What is refused whatever the request holds, and why.

use crate::support::{Region, Setting};
use axum::http::Method;
use meridian_node::faults::DiskLevers;
use serde_json::Value;
use std::time::Duration;

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn unknown_paths_are_named() {
    let region = Region::start();
    for path in [
        "/",
        "/v1",
        "/v1/tables/",
        "/v1/tables/t",
        "/v1/healthy",
        "/v1/fault",
        "/v1/dead-letter",
        "/v1/tables/t/rows/a/b",
    ] {
        let problem = region.get(path).await.problem(404, "unknown-path");
        assert!(
            problem["detail"].as_str().unwrap().contains(path),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_with_those_it_takes() {
    let region = Region::start();
    for (method, path, allowed) in [
        (
            Method::POST,
            "/v1/tables/t/rows/k",
            vec!["GET", "HEAD", "PUT", "DELETE"],
        ),
        (Method::GET, "/v1/transactions", vec!["POST"]),
        (Method::DELETE, "/v1/tables/t/rows", vec!["GET", "HEAD"]),
        (Method::PATCH, "/readyz", vec!["GET", "HEAD"]),
    ] {
        let reply = region.request(method, path, &[], "").await;
        reply.problem(405, "method-not-allowed");
        let mut allow: Vec<&str> = reply.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        let mut allowed = allowed;
        allowed.sort_unstable();
        assert_eq!(allow, allowed, "{path}");
    }
}

#[tokio::test]
async fn a_dataset_that_failed_leaves_the_others_alone() {
    let region = Region::with(Setting {
        other: Some("the log is damaged"),
        ..Setting::default()
    });
    for (method, path) in [
        (Method::GET, "/v1/tables/other/rows/k"),
        (Method::PUT, "/v1/tables/other/rows/k"),
        (Method::DELETE, "/v1/tables/other/rows/k"),
        (Method::GET, "/v1/tables/other/rows"),
        (Method::GET, "/v1/tables/other/checksum"),
    ] {
        let problem = region.request(method, path, &[], "1").await;
        let problem = problem.problem(503, "dataset-unavailable");
        assert_eq!(problem["dataset"], "other");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("the log is damaged")
        );
    }
    region.put("/v1/tables/t/rows/k", "1").await.ok(201);
    let tables = region.get("/v1/tables").await.ok(200).json();
    assert_eq!(tables["datasets"][1]["error"], "the log is damaged");
    region.get("/livez").await.ok(200);
    let problem = region.get("/readyz").await.problem(503, "not-ready");
    assert!(
        problem["datasets"][0]
            .as_str()
            .unwrap()
            .contains("the log is damaged")
    );
}

#[tokio::test]
async fn a_region_that_serves_is_ready() {
    let region = Region::start();
    for path in ["/livez", "/readyz"] {
        let reply = region.get(path).await.ok(200);
        assert!(reply.header("content-type").starts_with("text/plain"));
    }
}

#[tokio::test]
async fn a_log_beyond_its_budget_takes_no_writes() {
    let region = Region::with(Setting {
        log_bytes_max: 1,
        ..Setting::default()
    });
    let refused = region.put("/v1/tables/t/rows/k", "1").await;
    let problem = refused.problem(507, "log-budget");
    assert_eq!(problem["log_bytes_max"], 1);
    refused.header("retry-after");
    region
        .get("/v1/tables/t/rows/k")
        .await
        .problem(404, "row-not-found");
    let dataset = status_of_main(&region).await;
    assert_eq!(dataset["state"], "full", "{dataset}");
    assert!(dataset["hint"].as_str().unwrap().contains("peer"));
    // So it is in every region, and all go on serving.
    region.get("/readyz").await.ok(200);
}

async fn status_of_main(region: &Region) -> Value {
    let status = region.get("/v1/status").await.ok(200).json();
    status["datasets"][0].clone()
}

async fn all_are(region: &Region, state: &str) -> bool {
    let status = region.get("/v1/status").await.ok(200).json();
    let mut datasets = status["datasets"].as_array().unwrap().iter();
    datasets.all(|dataset| dataset["state"] == state)
}

#[tokio::test]
async fn a_disk_without_room_is_told_by_status_and_readiness_until_there_is_some() {
    let disk = DiskLevers::default();
    let region = Region::with(Setting {
        disk: disk.clone(),
        ..Setting::default()
    });
    region.put("/v1/tables/t/rows/k", "1").await.ok(201);
    for (is_full, state, ready) in [(true, "full", 503), (false, "running", 200)] {
        disk.set_full(is_full);
        let told = async {
            // Each dataset looks by itself.
            while !all_are(&region, state).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
        let reply = region.get("/readyz").await.ok(ready);
        region.get("/v1/tables/t/rows/k").await.ok(200);
        let written = region.put("/v1/tables/t/rows/k", "2").await;
        if is_full {
            let problem = reply.problem(503, "not-ready");
            let why = problem["datasets"][0].as_str().unwrap();
            assert!(why.starts_with("main: takes no writes: "), "{problem}");
            written.problem(507, "disk-full");
            let dataset = status_of_main(&region).await;
            assert!(dataset["hint"].as_str().unwrap().contains("room"));
        } else {
            written.ok(200);
        }
    }
}

#[tokio::test]
async fn what_to_do_about_a_dataset_that_does_not_open_stands_apart_and_once() {
    let region = Region::with(Setting {
        other: Some("the tables were removed\n\nhint: evict the region"),
        ..Setting::default()
    });
    let problem = region.get("/v1/tables/other/rows/k").await;
    let problem = problem.problem(503, "dataset-unavailable");
    assert_eq!(problem["hint"], "evict the region", "{problem}");
    let regions = region.get("/v1/regions").await.ok(200).json();
    let other = &regions["datasets"][1];
    let why = "could not be opened: the tables were removed";
    assert_eq!(other["progress"], why, "{other}");
    assert_eq!(other["hint"], "evict the region", "{other}");
    let tables = region.get("/v1/tables").await.ok(200).json();
    let error = &tables["datasets"][1]["error"];
    assert_eq!(error, "the tables were removed");
}
