//! Requests made by hand, down to the byte, and what a refusal has to have.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a region may take over an answer: it waits 30 s for a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Says these bytes on a connection of their own, and hears what comes until it ends.
pub fn say(address: SocketAddr, words: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    // A region that has refused already may not take the rest.
    let _ = stream.write_all(words);
    hear(&mut stream)
}

/// Hears what comes until the connection ends.
pub fn hear(stream: &mut TcpStream) -> Answer {
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.expect("a stream takes a deadline");
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    let heard = String::from_utf8(heard).expect("text");
    let (head, body) = heard.split_once("\r\n\r\n").unwrap_or((&heard, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no answer: {heard:?}")),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

impl Answer {
    /// The problem, which must have this status, this name and all that helps a person.
    pub fn problem(&self, what: &str, status: u16, name: &str) -> Value {
        assert_eq!(self.status, status, "{what}: {self:?}");
        let kind = "content-type: application/problem+json";
        assert!(self.head.contains(kind), "{what}: {self:?}");
        let problem: Value = serde_json::from_str(&self.body).expect("a problem is JSON");
        assert_eq!(problem["type"], format!("/problems/{name}"), "{what}");
        assert_eq!(problem["status"], status, "{what}");
        for member in ["title", "detail", "hint"] {
            let text = problem[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{what}: no {member}: {problem}");
        }
        problem
    }
}

/// A request under construction.
pub struct Words {
    line: String,
    head: String,
    body: Vec<u8>,
    has_token: bool,
    has_length: bool,
}

impl Words {
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            line: format!("{method} {path} HTTP/1.1\r\nHost: region\r\nConnection: close\r\n"),
            head: String::new(),
            body: Vec::new(),
            has_token: true,
            has_length: true,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Without the API's token.
    pub fn without_token(mut self) -> Self {
        self.has_token = false;
        self
    }

    /// In one chunk, of a body whose length isn't said before.
    pub fn chunked(self) -> Self {
        let length = self.body.len();
        let mut chunked = format!("{length:x}\r\n").into_bytes();
        chunked.extend(&self.body);
        chunked.extend(b"\r\n0\r\n\r\n");
        let mut words = self.header("Transfer-Encoding", "chunked").body(chunked);
        words.has_length = false;
        words
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut head = self.line.clone() + &self.head;
        if self.has_token {
            head += &format!("Authorization: Bearer {}\r\n", super::TOKEN);
        }
        if self.has_length {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}
