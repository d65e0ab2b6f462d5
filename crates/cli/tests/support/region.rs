//! A region that takes imports and keeps what it is sent.

use super::{Reply, Request, Server, meridian};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// A region that applies a batch once for each idempotency key, like a real one.
#[derive(Clone, Default)]
pub struct Region(pub Arc<Mutex<Applied>>);

#[derive(Default)]
pub struct Applied {
    /// Every request that was accepted, repeated ones too: its key and body.
    pub requests: Vec<(String, String)>,
    pub rows: BTreeMap<String, Value>,
    pub connections: BTreeSet<usize>,
    /// How many times a row was written.
    pub writes: usize,
}

impl Region {
    pub fn accept(&self, request: &Request) -> Option<Reply> {
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, "/v1/transactions");
        let mut applied = self.0.lock().unwrap();
        let key = request.headers["idempotency-key"].clone();
        let is_new = applied.requests.iter().all(|(known, _)| *known != key);
        applied.requests.push((key, request.body.clone()));
        applied.connections.insert(request.connection);
        if is_new {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            for operation in body["operations"].as_array().unwrap() {
                assert_eq!(operation["op"], "put");
                assert_eq!(operation["table"], "t");
                let key = operation["key"].as_str().unwrap().to_owned();
                applied.rows.insert(key, operation["document"].clone());
                applied.writes += 1;
            }
        }
        Some((200, vec![], "{}".to_owned()))
    }

    pub fn serve(&self) -> Server {
        let region = self.clone();
        Server::start(move |request| region.accept(request))
    }

    pub fn keys(&self) -> BTreeSet<String> {
        let applied = self.0.lock().unwrap();
        applied
            .requests
            .iter()
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub fn rows(&self) -> BTreeMap<String, Value> {
        self.0.lock().unwrap().rows.clone()
    }

    pub fn writes(&self) -> usize {
        self.0.lock().unwrap().writes
    }

    pub fn requests(&self) -> usize {
        self.0.lock().unwrap().requests.len()
    }
}

pub fn csv(rows: usize) -> String {
    let mut text = "id,name\n".to_owned();
    for row in 0..rows {
        writeln!(text, "{row},\"name, {row}\"").unwrap();
    }
    text
}

pub fn import(directory: &Path, url: &str, arguments: &[&str]) -> Command {
    let mut command = meridian(directory);
    command
        .args([
            "tables", "import", "t", "t.csv", "--key", "id", "--api", url,
        ])
        .args(arguments);
    command
}

pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}
