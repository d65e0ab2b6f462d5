//! Where clients go, and drains and shifts, over the API.

use crate::support::{Region, Reply};
use serde_json::{Value, json};

/// Stages what is wanted; the stage.
async fn stage(region: &Region, changes: Value) -> Value {
    let body = json!({"changes": changes, "who": "ann", "why": "a disk is changed"});
    let reply = region.post("/v1/shifts", body.to_string()).await;
    reply.ok(201).json()
}

async fn apply(region: &Region, stage: &Value, force: bool) -> Reply {
    let path = format!("/v1/shifts/{}/apply", stage["id"].as_str().unwrap());
    region
        .post(&path, json!({"force": force}).to_string())
        .await
}

async fn apply_at_once(region: &Region, changes: Value, force: bool) -> Reply {
    let stage = stage(region, changes).await;
    apply(region, &stage, force).await
}

/// The regions in the answer to a client, each with its tier.
async fn answer(region: &Region) -> Vec<(String, String)> {
    let reply = region
        .get("/v1/route?client=193.0.6.139")
        .await
        .ok(200)
        .json();
    let regions = reply["regions"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    regions
        .map(|it| (text(&it["region"]), text(&it["tier"])))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_route_says_who_is_given_and_why() {
    let region = Region::start();
    let reply = region
        .get("/v1/route?client=193.0.6.139&name=app")
        .await
        .ok(200)
        .json();
    assert_eq!(reply["policy"], "latency");
    assert_eq!(reply["area"], "europe");
    assert_eq!(reply["answered_by"], "us-east-1");
    assert_eq!(reply["regions"][0]["region"], "eu-west-1");
    assert_eq!(reply["regions"][0]["given"], true);
    assert_eq!(reply["regions"][1]["given"], false);
    let reason = reply["regions"][1]["reason"].as_str().unwrap();
    assert!(
        reason.contains("ms from the region next to the client"),
        "{reason}"
    );
    let network = region
        .get("/v1/route?client=8.8.0.0%2F16")
        .await
        .ok(200)
        .json();
    assert_eq!(network["regions"][0]["region"], "us-east-1");
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_with_a_hint() {
    let region = Region::start();
    region.get("/v1/route").await.problem(400, "bad-query");
    region
        .get("/v1/route?client=nobody")
        .await
        .problem(400, "bad-query");
    let problem = region
        .get("/v1/route?client=8.8.8.8&name=ap")
        .await
        .problem(404, "route-not-found");
    assert!(
        problem["hint"].as_str().unwrap().contains("\"app\""),
        "{problem}"
    );
    region
        .get("/v1/shifts/0")
        .await
        .problem(404, "shift-not-found");
    region
        .delete("/v1/shifts/0")
        .await
        .problem(404, "shift-not-found");
    region
        .post("/v1/shifts/0/apply", "{}")
        .await
        .problem(404, "shift-not-found");
    let undo = r#"{"who":"ann"}"#;
    region
        .post("/v1/shifts/7-00000000000000fe/undo", undo)
        .await
        .problem(404, "shift-not-found");
    for (changes, who, why) in [
        (json!([]), "ann", "why"),
        (json!([{"region": "mars", "want": "drained"}]), "ann", "why"),
        (
            json!([{"region": "us-east-1", "want": "gone"}]),
            "ann",
            "why",
        ),
        (
            json!([{"region": "us-east-1", "want": "101%"}]),
            "ann",
            "why",
        ),
        (
            json!([{"region": "us-east-1", "want": "drained"}, {"region": "us-east-1", "want": "5%"}]),
            "ann",
            "why",
        ),
        (
            json!([{"region": "us-east-1", "want": "drained"}]),
            "",
            "why",
        ),
        (
            json!([{"region": "us-east-1", "want": "drained"}]),
            "ann",
            " ",
        ),
        (
            json!([{"region": "us-east-1", "want": "drained"}]),
            "ann",
            "two\nlines",
        ),
        (
            json!([{"region": "us-east-1", "want": "drained"}]),
            &"a".repeat(101),
            "why",
        ),
    ] {
        let body = json!({"changes": changes, "who": who, "why": why}).to_string();
        region
            .post("/v1/shifts", body)
            .await
            .problem(422, "bad-shift");
    }
    let unknown = json!({"changes": [{"region": "us-east-1", "route": "apq", "want": "5%"}], "who": "a", "why": "b"});
    region
        .post("/v1/shifts", unknown.to_string())
        .await
        .problem(404, "route-not-found");
}

#[tokio::test]
async fn a_drain_is_staged_shown_applied_and_undone() {
    let region = Region::start();
    let before = answer(&region).await;
    let staged = stage(&region, json!([{"region": "eu-west-1", "want": "drained"}])).await;
    let lines =
        json!([{"region": "eu-west-1", "route": null, "from": "as-usual", "to": "drained"}]);
    assert_eq!(staged["differences"], lines);
    assert_eq!(staged["refusal"], Value::Null);
    let path = format!("/v1/shifts/{}", staged["id"].as_str().unwrap());
    assert_eq!(region.get(&path).await.ok(200).json(), staged);
    assert_eq!(answer(&region).await, before, "nothing has happened yet");

    let applied = apply(&region, &staged, false).await.ok(200).json();
    assert_eq!(applied["differences"], lines);
    assert_eq!(applied["who"], "ann");
    let drained = pairs(&[("us-east-1", "degraded"), ("eu-west-1", "drained")]);
    assert_eq!(answer(&region).await, drained);
    let listed = region.get("/v1/shifts").await.ok(200).json();
    assert_eq!(listed["wishes"][0]["want"], "drained");
    assert_eq!(listed["wishes"][0]["why"], "a disk is changed");
    assert_eq!(
        listed["staged"],
        json!([]),
        "what was applied is staged no more"
    );
    assert_eq!(listed["changes"][0]["standing"], 1);

    let version = applied["version"].as_str().unwrap();
    let shown = region.get(&format!("/v1/shifts/{version}")).await.ok(200);
    assert_eq!(shown.json(), applied);
    let undo = format!("/v1/shifts/{version}/undo");
    let undone = region.post(&undo, r#"{"who":"ben"}"#).await.ok(200).json();
    assert_eq!(undone["why"], format!("undo {version}"));
    assert_eq!(answer(&region).await.len(), 2);
    assert!(
        answer(&region)
            .await
            .iter()
            .all(|(_, tier)| tier == "degraded")
    );
    region
        .post(&undo, r#"{"who":"ben"}"#)
        .await
        .problem(409, "nothing-changes");
    let listed = region.get("/v1/shifts").await.ok(200).json();
    assert_eq!(listed["wishes"], json!([]));
    let standing: Vec<_> = listed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["standing"].clone())
        .collect();
    assert_eq!(standing, [json!(1), json!(0)]);
}

#[tokio::test]
async fn the_last_region_cannot_be_drained_by_force_either() {
    let region = Region::start();
    let both = json!([
        {"region": "us-east-1", "want": "drained"},
        {"region": "eu-west-1", "want": "drained"}
    ]);
    let staged = stage(&region, both).await;
    assert_eq!(staged["refusal"]["type"], "/problems/last-healthy-region");
    assert_eq!(staged["refusal"]["can_be_forced"], false);
    for force in [false, true] {
        apply(&region, &staged, force)
            .await
            .problem(409, "last-healthy-region");
    }
    let one = json!([{"region": "us-east-1", "want": "drained"}]);
    apply_at_once(&region, one, false).await.ok(200);
    let other = json!([{"region": "eu-west-1", "want": "drained"}]);
    apply_at_once(&region, other, true)
        .await
        .problem(409, "last-healthy-region");
}

#[tokio::test]
async fn leaving_more_than_half_takes_force() {
    let region = Region::start();
    let most = json!([
        {"region": "us-east-1", "want": "drained"},
        {"region": "eu-west-1", "want": "50%"}
    ]);
    let staged = stage(&region, most).await;
    assert_eq!(staged["refusal"]["can_be_forced"], true);
    let problem = apply(&region, &staged, false)
        .await
        .problem(409, "too-much-at-once");
    assert_eq!(problem["leaving_percent"], 75.0);
    apply(&region, &staged, true).await.ok(200);
}

#[tokio::test]
async fn who_staged_before_another_changed_the_same_has_to_look_again() {
    let region = Region::start();
    let want = |want: &str| json!([{"region": "eu-west-1", "want": want}]);
    let mine = stage(&region, want("25%")).await;
    apply_at_once(&region, want("50%"), false).await.ok(200);
    let problem = apply(&region, &mine, true)
        .await
        .problem(409, "shift-changed");
    assert_eq!(problem["who"], "ann");
    let path = format!("/v1/shifts/{}", mine["id"].as_str().unwrap());
    region.delete(&path).await.ok(204);
    region.get(&path).await.problem(404, "shift-not-found");
}

#[tokio::test]
async fn a_share_holds_for_each_client_by_its_key() {
    let region = Region::start();
    let shift = json!([{"region": "eu-west-1", "route": "app", "want": "25%"}]);
    apply_at_once(&region, shift, false).await.ok(200);
    let mut given = 0;
    for client in 0..400 {
        let path = format!("/v1/route?client=193.0.6.139&key=user-{client}");
        let reply = region.get(&path).await.ok(200).json();
        assert_eq!(
            region.get(&path).await.json(),
            reply,
            "the same client, the same answer"
        );
        given += usize::from(reply["regions"][0]["region"] == "eu-west-1");
        assert_eq!(reply["regions"].as_array().unwrap().len(), 2);
    }
    // Five standard deviations around 100.
    assert!((57..=143).contains(&given), "{given}");
    let shown = region.get("/v1/route?client=193.0.6.139").await.json();
    let mut regions = shown["regions"].as_array().unwrap().iter();
    let share = regions.find(|it| it["region"] == "eu-west-1").unwrap()["share"].as_f64();
    assert_eq!(share, Some(0.25));
}
