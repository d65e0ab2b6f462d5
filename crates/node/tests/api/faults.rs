//! Faults over the API: only where they are allowed, only what can be, each with its end.

use crate::support::{Region, Setting};
use axum::http::Method;
use meridian_link::Shaping;
use meridian_node::dataset::ClockOffset;
use meridian_node::faults::{DiskLevers, Faults};
use serde_json::Value;

fn region() -> (Region, Shaping) {
    let links = Shaping::default();
    let faults = Faults::new(links.clone(), DiskLevers::default(), ClockOffset::default());
    let setting = Setting {
        faults: Some(faults),
        ..Setting::default()
    };
    (Region::with(setting), links)
}

#[tokio::test]
async fn without_the_flag_nothing_is_done_and_the_hint_says_how() {
    let region = Region::start();
    for (method, path) in [
        (Method::POST, "/v1/faults"),
        (Method::GET, "/v1/faults"),
        (Method::DELETE, "/v1/faults/1"),
    ] {
        let body = r#"{"kind":"full-disk","for":"1s"}"#;
        let reply = region.request(method, path, &[], body).await;
        let problem = reply.problem(403, "faults-not-allowed");
        let hint = problem["hint"].as_str().unwrap();
        assert!(hint.contains("--allow-faults"), "{problem}");
    }
    let status = region.get("/v1/status").await.ok(200).json();
    assert!(status.get("faults").is_none(), "{status}");
    let metrics = region.get("/metrics").await.ok(200);
    assert!(!metrics.text().contains("faults_active"));
}

#[tokio::test]
async fn a_fault_is_shown_everywhere_until_it_is_lifted() {
    let (region, links) = region();
    let body = r#"{"kind":"partition","peer":"eu-west-1","direction":"inbound","for":"30s"}"#;
    let begun = region.post("/v1/faults", body).await.ok(201).json();
    assert_eq!(begun["kind"], "partition");
    assert_eq!(begun["what"], "nothing comes in from eu-west-1");
    assert!(begun["until"].as_str().unwrap().ends_with('Z'), "{begun}");
    assert!(links.peer("eu-west-1").is_cut());
    let remaining = begun["remaining_seconds"].as_f64().unwrap();
    assert!((29.0..=30.0).contains(&remaining), "{begun}");

    let listed = region.get("/v1/faults").await.ok(200).json();
    assert_eq!(listed["faults"][0]["id"], begun["id"]);
    let status = region.get("/v1/status").await.ok(200).json();
    assert_eq!(status["faults"][0]["id"], begun["id"]);
    let gauge = |count| format!("meridian_faults_active{{kind=\"partition\"}} {count}");
    let metrics = region.get("/metrics").await.ok(200);
    assert!(metrics.text().contains(&gauge(1)), "{}", metrics.text());

    let path = format!("/v1/faults/{}", begun["id"].as_str().unwrap());
    region.delete(&path).await.ok(204);
    region.delete(&path).await.problem(404, "fault-not-found");
    assert!(!links.peer("eu-west-1").is_cut());
    let listed = region.get("/v1/faults").await.ok(200).json();
    assert_eq!(listed["faults"], Value::Array(Vec::new()));
    let metrics = region.get("/metrics").await.ok(200);
    assert!(metrics.text().contains(&gauge(0)));
}

#[tokio::test]
async fn a_second_fault_on_the_same_lever_is_refused_with_the_first_ones_id() {
    let (region, _) = region();
    let body = r#"{"kind":"loss","peers":["eu-west-1"],"share":0.5,"for":"1m"}"#;
    let begun = region.post("/v1/faults", body).await.ok(201).json();
    let problem = region.post("/v1/faults", body).await;
    let problem = problem.problem(409, "fault-overlaps");
    assert_eq!(problem["fault"], begun["id"]);
    let other = r#"{"kind":"latency","peer":"eu-west-1","added_ms":5,"for":"1m"}"#;
    region.post("/v1/faults", other).await.ok(201);
}

#[tokio::test]
async fn what_can_not_be_is_refused_with_what_can() {
    let (region, links) = region();
    for (body, word) in [
        (r#"{"for":"1s"}"#, "partition, latency"),
        (r#"{"kind":"earthquake","for":"1s"}"#, "partition, latency"),
        (r#"{"kind":"full-disk"}"#, "10s"),
        (r#"{"kind":"full-disk","for":"10"}"#, "10s"),
        (r#"{"kind":"full-disk","for":"0s"}"#, "10s"),
        (r#"{"kind":"full-disk","for":"61m"}"#, "1h"),
        (
            r#"{"kind":"full-disk","for":"1s","share":1}"#,
            "take it out",
        ),
        (r#"{"kind":"crash","for":"1s"}"#, "take it out"),
        (r#"{"kind":"partition","for":"1s"}"#, "eu-west-1"),
        (
            r#"{"kind":"partition","peer":"mars","for":"1s"}"#,
            "eu-west-1",
        ),
        (
            r#"{"kind":"partition","peer":"us-east-1","for":"1s"}"#,
            "eu-west-1",
        ),
        (
            r#"{"kind":"partition","peer":"eu-west-1","direction":"up","for":"1s"}"#,
            "inbound",
        ),
        (
            r#"{"kind":"loss","peer":"eu-west-1","share":1.5,"for":"1s"}"#,
            "0.1",
        ),
        (r#"{"kind":"loss","peer":"eu-west-1","for":"1s"}"#, "0.1"),
        (
            r#"{"kind":"latency","peer":"eu-west-1","for":"1s"}"#,
            "added_ms",
        ),
        (
            r#"{"kind":"latency","peer":"eu-west-1","added_ms":1e9,"for":"1s"}"#,
            "added_ms",
        ),
        (
            r#"{"kind":"slow-disk","added_ms":-1,"for":"1s"}"#,
            "added_ms",
        ),
        (
            r#"{"kind":"clock-offset","offset_ms":0,"for":"1s"}"#,
            "slow",
        ),
        (
            r#"{"kind":"clock-offset","offset_ms":-9223372036854775808,"for":"1s"}"#,
            "slow",
        ),
    ] {
        let problem = region.post("/v1/faults", body).await;
        let problem = problem.problem(422, "bad-fault");
        let hint = problem["hint"].as_str().unwrap_or_default();
        assert!(hint.contains(word), "{body}: {problem}");
    }
    region
        .post("/v1/faults", r#"{"kind":"full-disk","for":"1s","x":1}"#)
        .await
        .problem(422, "bad-body");
    region
        .post("/v1/faults", "[]")
        .await
        .problem(422, "bad-body");
    region
        .post("/v1/faults", "{")
        .await
        .problem(400, "malformed-json");
    assert!(!links.peer("eu-west-1").is_cut());
    let listed = region.get("/v1/faults").await.ok(200).json();
    assert_eq!(listed["faults"], Value::Array(Vec::new()));
}
