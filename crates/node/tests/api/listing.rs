//! Tables as a whole, and how the region stands.

use crate::support::{Region, Setting};
use serde_json::{Value, json};

async fn fill(region: &Region, keys: std::ops::Range<u32>) {
    for key in keys {
        let path = format!("/v1/tables/t/rows/{key:03}");
        region.put(&path, format!("{{\"n\":{key}}}")).await.ok(201);
    }
}

#[tokio::test]
async fn pages_follow_one_another_to_the_end() {
    let region = Region::start();
    fill(&region, 0..7).await;
    let mut path = "/v1/tables/t/rows?limit=3".to_owned();
    let mut sizes = Vec::new();
    let mut rows: Vec<Value> = Vec::new();
    loop {
        let page = region.get(&path).await.ok(200).json();
        let listed = page["rows"].as_array().unwrap().clone();
        sizes.push(listed.len());
        rows.extend(listed);
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/v1/tables/t/rows?limit=3&after={next}");
    }
    assert_eq!(sizes, [3, 3, 1]);
    for (number, row) in rows.iter().enumerate() {
        let key = format!("{number:03}");
        assert_eq!(
            (&row["key"], &row["document"]["n"]),
            (&json!(key), &json!(number))
        );
        let tag = region
            .get(&format!("/v1/tables/t/rows/{key}"))
            .await
            .header("etag")
            .to_owned();
        assert_eq!(row["version"], tag.trim_matches('"'));
    }
}

#[tokio::test]
async fn a_page_of_an_unknown_table_is_empty() {
    let region = Region::start();
    let page = region.get("/v1/tables/nothing/rows").await.ok(200);
    assert_eq!(page.json(), json!({"rows": [], "next": null}));
}

#[tokio::test]
async fn a_page_is_bounded_in_bytes() {
    let region = Region::start();
    let document = format!("\"{}\"", "x".repeat(1_000_000));
    for key in 0..6 {
        region
            .put(&format!("/v1/tables/t/rows/{key}"), document.clone())
            .await
            .ok(201);
    }
    let page = region.get("/v1/tables/t/rows").await.ok(200).json();
    assert_eq!(page["rows"].as_array().unwrap().len(), 4);
    assert_eq!(page["next"], "3");
}

#[tokio::test]
async fn a_bad_query_is_refused() {
    let region = Region::start();
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=",
        "more=1",
        "after=%FF",
        "limit=1&limit=2",
    ] {
        let path = format!("/v1/tables/t/rows?{bad}");
        region.get(&path).await.problem(400, "bad-query");
    }
    let long = format!("/v1/tables/t/rows?after={}", "k".repeat(1025));
    region.get(&long).await.problem(422, "bad-key");
    for path in [
        "/v1/status?x",
        "/v1/tables?x=1",
        "/v1/tables/t/checksum?x=1",
    ] {
        region.get(path).await.problem(400, "bad-query");
    }
}

#[tokio::test]
async fn a_checksum_tells_states_apart() {
    let region = Region::start();
    let checksum = async || region.get("/v1/tables/t/checksum").await.ok(200).json();
    let empty = checksum().await;
    assert_eq!(empty["rows"], 0);
    fill(&region, 0..3).await;
    let three = checksum().await;
    assert_eq!(three["rows"], 3);
    assert_eq!(three["checksum"].as_str().unwrap().len(), 32);
    assert_eq!(checksum().await, three, "nothing changed");
    region.put("/v1/tables/t/rows/000", "0").await.ok(200);
    assert_ne!(checksum().await["checksum"], three["checksum"]);
}

#[tokio::test]
async fn tables_are_listed_by_dataset() {
    let region = Region::start();
    for table in ["b", "a", "other"] {
        region
            .put(&format!("/v1/tables/{table}/rows/k"), "1")
            .await
            .ok(201);
    }
    let listed = region.get("/v1/tables").await.ok(200);
    listed.header("meridian-session");
    assert_eq!(
        listed.json(),
        json!({"datasets": [
            {"dataset": "main", "tables": ["a", "b"], "declared": []},
            {"dataset": "other", "tables": ["other"], "declared": ["stock"]},
        ]})
    );
}

#[tokio::test]
async fn without_conflicts_the_list_is_empty() {
    let region = Region::start();
    let empty = json!({"conflicts": [], "next": null, "total": 0, "kept": 0});
    for path in [
        "/v1/conflicts",
        "/v1/conflicts?after=main:1-0",
        "/v1/conflicts?after=other:&limit=5",
    ] {
        assert_eq!(region.get(path).await.ok(200).json(), empty);
    }
    region
        .get("/v1/conflicts?after=x")
        .await
        .problem(400, "bad-query");
}

#[tokio::test]
async fn the_status_shows_what_happened() {
    let region = Region::with(Setting {
        other: Some("a bit flipped"),
        ..Setting::default()
    });
    fill(&region, 0..3).await;
    let status = loop {
        // What a dataset says of itself is at most a tick old.
        let status = region.get("/v1/status").await.ok(200).json();
        if status["datasets"][0]["transactions_local"] == 3 {
            break status;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&status["region"], &status["zone"]),
        (&json!("us-east-1"), &json!("meridian.test"))
    );
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert!(status["memory_bytes"].is_null() || status["memory_bytes"].as_u64().unwrap() > 1 << 20);
    let main = &status["datasets"][0];
    assert_eq!(
        (&main["dataset"], &main["state"]),
        (&json!("main"), &json!("running"))
    );
    assert_eq!(main["tables"], json!(["t"]));
    assert_eq!(main["origin"], main["members"]["us-east-1"]);
    assert!(main["position"].as_u64().unwrap() >= 4);
    let other = &status["datasets"][1];
    assert_eq!(
        (&other["state"], &other["reason"]),
        (&json!("failed"), &json!("a bit flipped"))
    );
    assert_eq!(
        status["rejected_diallers"],
        json!({"counts": {}, "last": null})
    );
    let replication = region.get("/v1/replication").await.ok(200).json();
    assert_eq!(replication, json!({"region": "us-east-1", "peers": []}));
}
