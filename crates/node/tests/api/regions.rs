//! Regions that join and leave, as the API of one of them shows it.

use crate::support::{Region, Setting};
use meridian_link::Shaping;
use meridian_model::RegionName;
use meridian_node::dataset::ClockOffset;
use meridian_node::faults::{DiskLevers, Faults};
use meridian_topology::{Promises, Writes};
use serde_json::json;

const JOINED: &str = r#"{"name":"eu-central-1","api":"127.0.0.1:5","link":"127.0.0.1:6"}"#;

#[tokio::test]
async fn a_region_that_joined_is_a_peer_like_those_of_the_topology() {
    let links = Shaping::default();
    let faults = Faults::new(links.clone(), DiskLevers::default(), ClockOffset::default());
    let region = Region::with(Setting {
        faults: Some(faults),
        ..Setting::default()
    });
    let cut = r#"{"kind":"partition","peer":"eu-central-1","for":"30s"}"#;
    let refused = region.post("/v1/faults", cut).await;
    refused.problem(422, "bad-fault");
    let order = r#"{"rows":[{"table":"t","key":"k"}],"repair":true,"prefer":"eu-central-1"}"#;
    let refused = region.post("/v1/integrity/comparisons", order).await;
    refused.problem(422, "bad-body");

    region.post("/v1/regions", JOINED).await.ok(202);
    let joined = RegionName::new("eu-central-1");
    let mut members = region.main().membership_changes();
    let joins = members.wait_for(|it| it.epoch.members.contains_key(&joined));
    drop(joins.await.unwrap());
    region.post("/v1/faults", cut).await.ok(201);
    assert!(links.peer("eu-central-1").is_cut());
    let compared = region.post("/v1/integrity/comparisons", order).await;
    compared.ok(202);
}

#[tokio::test]
async fn nobody_is_removed_while_another_that_stays_is_away() {
    let region = Region::with(Setting {
        founders: &["us-east-1", "eu-west-1", "eu-central-1"],
        ..Setting::default()
    });
    let refused = region.delete("/v1/regions/eu-west-1").await;
    let problem = refused.problem(409, "membership-refused");
    assert!(problem["away"].is_null(), "it counts as there at first");
    let mut members = region.main().membership_changes();
    let away = members.wait_for(|it| it.away.len() == 2);
    drop(away.await.unwrap());
    let refused = region.delete("/v1/regions/eu-west-1").await;
    let problem = refused.problem(409, "membership-refused");
    assert_eq!(problem["away"], json!(["eu-central-1"]), "{problem}");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("regions evict eu-central-1"), "{hint}");
    let said = region.get("/v1/regions").await.ok(200).json();
    let is_away = |at: usize| said["datasets"][0]["members"][at]["away"].clone();
    assert_eq!([0, 1, 2].map(is_away), [true, true, false], "{said}");
}

#[tokio::test]
async fn what_a_person_decided_is_answered_once_the_log_has_it() {
    let disk = DiskLevers::default();
    let region = Region::with(Setting {
        founders: &["us-east-1", "eu-west-1"],
        disk: disk.clone(),
        ..Setting::default()
    });
    let mut members = region.main().membership_changes();
    let away = members.wait_for(|it| it.away.len() == 1);
    drop(away.await.unwrap());
    let evict = "/v1/regions/eu-west-1/evict";
    let decision = r#"{"decided_by":"operator","confirm":"eu-west-1"}"#;
    disk.set_full(true);
    let refused = region.post(evict, decision).await;
    let problem = refused.problem(503, "dataset-stopped");
    let hint = problem["hint"].as_str().unwrap();
    assert!(hint.contains("ask again"), "{problem}");
    assert_eq!(region.main().membership().epoch.number, 0);
    disk.set_full(false);
    region.post(evict, decision).await.ok(202);
    assert_eq!(region.main().membership().epoch.number, 1);
}

#[tokio::test]
async fn the_region_that_takes_the_writes_is_not_removed() {
    let region = Region::with(Setting {
        promises: Promises {
            writes: Writes::Home(RegionName::new("us-east-1")),
            ..Promises::default()
        },
        founders: &["us-east-1", "eu-west-1"],
        ..Setting::default()
    });
    let refused = region.delete("/v1/regions/us-east-1").await;
    let problem = refused.problem(409, "last-region");
    assert!(
        problem["hint"].as_str().unwrap().contains("home"),
        "{problem}"
    );
    // Another is a matter of the members alone.
    let other = region.delete("/v1/regions/eu-west-1").await;
    other.problem(409, "membership-refused");
}

#[tokio::test]
async fn a_misspelt_region_is_told_the_name_that_was_meant() {
    let region = Region::with(Setting {
        founders: &["us-east-1", "eu-west-1"],
        ..Setting::default()
    });
    let evict = r#"{"decided_by":"majority","confirm":"eu-wset-1"}"#;
    let order = r#"{"rows":[{"table":"t","key":"k"}],"repair":true,"prefer":"us-eats-1"}"#;
    for (refused, status, problem, name) in [
        (
            region.delete("/v1/regions/eu-wset-1").await,
            404,
            "unknown-region",
            "eu-west-1",
        ),
        (
            region.post("/v1/regions/eu-wset-1/evict", evict).await,
            404,
            "unknown-region",
            "eu-west-1",
        ),
        (
            region.post("/v1/integrity/comparisons", order).await,
            422,
            "bad-body",
            "us-east-1",
        ),
    ] {
        let problem = refused.problem(status, problem);
        let hint = problem["hint"].as_str().unwrap();
        assert!(
            hint.starts_with(&format!("did you mean \"{name}\"?")),
            "{hint}"
        );
    }
    let refused = region.delete("/v1/regions/elsewhere").await;
    let problem = refused.problem(404, "unknown-region");
    assert_eq!(
        problem["hint"], "the regions are eu-west-1, us-east-1",
        "{problem}"
    );
}
