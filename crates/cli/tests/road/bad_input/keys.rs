//! Keys of every byte there is, which are no bad input at all.

use super::raw::{Words, say};
use crate::system::System;

/// A key as a path has it.
fn path(key: &str) -> String {
    let encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("/v1/tables/rows/rows/{encoded}")
}

/// Each region takes some of them; all show them.
pub fn write(system: &System) {
    let ascii = (0..=0x7f_u8).map(|byte| char::from(byte).to_string());
    let more = ["é", "東京", "\u{10ffff}", "a/b", "..", "%2F", "\0\0"];
    let keys: Vec<_> = ascii.chain(more.map(str::to_owned)).collect();
    for (index, key) in keys.iter().enumerate() {
        let document = serde_json::to_string(key).expect("a text is JSON");
        let words = Words::new("PUT", &path(key)).body(document);
        let answer = say(system.api(index % 3), &words.bytes());
        assert_eq!(answer.status, 201, "{key:?}: {answer:?}");
    }
    for region in 0..3 {
        for key in &keys {
            let words = Words::new("GET", &path(key)).bytes();
            let is_there = || {
                let answer = say(system.api(region), &words);
                answer.status == 200
                    && serde_json::from_str(&answer.body).ok().as_ref() == Some(key)
            };
            system.until(&format!("key {key:?} is there"), is_there);
        }
    }
}
