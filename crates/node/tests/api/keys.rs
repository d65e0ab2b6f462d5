//! Every key reaches its row, however the path spells it.

use crate::world::World;
use serde_json::{Value, json};

fn encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn keys_of(world: &World, table: &str) -> Vec<String> {
    let rows = world.ask(&format!("GET /v1/tables/{table}/rows?limit=1000"), "").await.json();
    let rows = rows["rows"].as_array().unwrap();
    rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_character_can_be_a_key() {
    let world = World::new();
    let ascii = (0..=0x7f).map(|byte| char::from(byte).to_string());
    let wide = ["é", "日本", "🦀", "\u{10ffff}", "a\0b/c%d e?f#g"].map(str::to_owned);
    let keys: Vec<String> = ascii.chain(wide).collect();
    for key in &keys {
        let path = format!("/v1/tables/t/rows/{}", encoded(key));
        let document = json!({ "key": key }).to_string();
        let put = world.ask(&format!("PUT {path}"), document).await;
        assert_eq!(put.status, 201, "{key:?}: {put:?}");
        let got = world.ask(&format!("GET {path}"), "").await;
        assert_eq!(got.json()["key"], Value::from(key.as_str()), "{key:?}");
    }
    let mut listed = keys_of(&world, "t").await;
    let mut expected = keys;
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn dots_and_slashes_stay_in_the_key() {
    let world = World::new();
    for spelt in ["a%2Fb", "%2e%2e", ".%2F..", "increment", "%25", "a+b", "rows", "a;b=c"] {
        let put = world.ask(&format!("PUT /v1/tables/dots/rows/{spelt}"), "1").await;
        assert_eq!(put.status, 201, "{spelt}: {put:?}");
        let path = format!("POST /v1/tables/objects/rows/{spelt}/increment");
        let increment = world.ask(&path, r#"{"field":"n","by":1}"#).await;
        assert_eq!(increment.status, 200, "{spelt}: {increment:?}");
    }
    let literal = world.ask("GET /v1/tables/dots/rows/..", "").await;
    assert_eq!(literal.status, 200, "{literal:?}");
    let mut expected = ["a/b", "..", "./..", "increment", "%", "a+b", "rows", "a;b=c"];
    expected.sort_unstable();
    for table in ["dots", "objects"] {
        assert_eq!(keys_of(&world, table).await, expected, "{table}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_an_error() {
    let world = World::new();
    for bad in ["%", "%4", "%zz", "%ff", "%C3"] {
        let got = world.ask(&format!("GET /v1/tables/t/rows/{bad}"), "").await;
        got.is_problem(400, "bad-path");
    }
    let long = "k".repeat(1025);
    let got = world.ask(&format!("GET /v1/tables/t/rows/{long}"), "").await;
    got.is_problem(422, "bad-key");
    let put = world.ask(&format!("PUT /v1/tables/t/rows/{long}"), "1").await;
    put.is_problem(422, "bad-key");
    world.ask("GET /v1/tables/no%20table/rows/k", "").await.is_problem(422, "bad-table");
}
