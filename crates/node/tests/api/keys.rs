//! Keys of every kind, and what is none.

use crate::support::Region;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeSet;

fn path(key: &str) -> String {
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
    format!("/v1/tables/t/rows/{key}")
}

fn keys() -> Vec<String> {
    let each = (0..=0x7f_u8).map(|byte| char::from(byte).to_string());
    let all: String = (0..=0x7f_u8).map(char::from).collect();
    let more = [
        "é",
        "東京",
        "🛫",
        "\u{10ffff}",
        "a/b",
        "..",
        ".",
        "%2F",
        "a%",
        "increment",
        "\0\0",
    ];
    each.chain([all]).chain(more.map(str::to_owned)).collect()
}

#[tokio::test]
async fn every_character_has_a_place_in_a_key() {
    let region = Region::start();
    let keys: BTreeSet<String> = keys().into_iter().collect();
    for key in &keys {
        let document = serde_json::to_string(key).unwrap();
        region.put(&path(key), document).await.ok(201);
    }
    for key in &keys {
        let read = region.get(&path(key)).await.ok(200);
        assert_eq!(read.json(), key.as_str());
    }
    let listed = region
        .get("/v1/tables/t/rows?limit=1000")
        .await
        .ok(200)
        .json();
    let rows = listed["rows"].as_array().unwrap();
    let listed: Vec<&str> = rows
        .iter()
        .map(|row| row["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        listed,
        keys.iter().collect::<Vec<_>>(),
        "in order of their bytes"
    );
    for key in &keys {
        region.delete(&path(key)).await.ok(204);
        region.get(&path(key)).await.problem(404, "row-not-found");
    }
}

#[tokio::test]
async fn a_key_is_decoded_once() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/%252F", "1").await.ok(201);
    region
        .get("/v1/tables/t/rows/%2F")
        .await
        .problem(404, "row-not-found");
    let listed = region.get("/v1/tables/t/rows").await.json();
    assert_eq!(listed["rows"][0]["key"], "%2F");
}

#[tokio::test]
async fn a_plus_in_a_path_is_a_plus() {
    let region = Region::start();
    region.put("/v1/tables/t/rows/a+b", "1").await.ok(201);
    region.get("/v1/tables/t/rows/a%2Bb").await.ok(200);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let region = Region::start();
    for bad in ["%FF", "%C3", "%ed%a0%80", "%zz", "a%4", "%"] {
        let path = format!("/v1/tables/t/rows/{bad}");
        region.get(&path).await.problem(400, "bad-path");
        region.put(&path, "1").await.problem(400, "bad-path");
        region.delete(&path).await.problem(400, "bad-path");
    }
    let longest = path(&"k".repeat(1024));
    region.put(&longest, "1").await.ok(201);
    region.get(&longest).await.ok(200);
    let too_long = path(&"k".repeat(1025));
    region.put(&too_long, "1").await.problem(422, "bad-key");
    region.get(&too_long).await.problem(422, "bad-key");
    region
        .get("/v1/tables/t/rows/")
        .await
        .problem(404, "unknown-path");
}

#[tokio::test]
async fn what_is_no_table_is_refused() {
    let region = Region::start();
    for bad in ["a%20b", "%C3%A9", "a%2Fb", "a%00b", "%2E", &"t".repeat(129)] {
        let path = format!("/v1/tables/{bad}/rows/k");
        region.get(&path).await.problem(422, "bad-table");
        region.put(&path, "1").await.problem(422, "bad-table");
    }
    region
        .get("/v1/tables/%FF/checksum")
        .await
        .problem(400, "bad-path");
}
