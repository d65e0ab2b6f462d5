//! Replies that carry documents: written by hand around the documents' own text, which is known
//! to be JSON and need not be read again.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::Response;
use meridian_engine_kv::RowVersion;
use serde::Serialize;
use std::fmt::Display;

pub(crate) const SESSION: HeaderName = HeaderName::from_static("meridian-session");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// JSON text under construction.
#[derive(Default)]
pub(crate) struct Json(Vec<u8>);

impl Json {
    /// Text that is JSON, or a part of it, already.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A string, quoted.
    pub(crate) fn string(&mut self, text: &str) -> &mut Self {
        serde_json::to_writer(&mut self.0, text).expect("memory takes every string");
        self
    }

    /// A string, or null.
    pub(crate) fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.string(text),
            None => self.raw("null"),
        }
    }

    /// A value that serialises by itself.
    pub(crate) fn serialized(&mut self, value: &impl Serialize) -> &mut Self {
        serde_json::to_writer(&mut self.0, value).expect("memory takes plain JSON");
        self
    }

    /// A version, as a string, or null.
    pub(crate) fn version(&mut self, version: Option<impl Display>) -> &mut Self {
        match version {
            // Digits and a dash need no escapes.
            Some(version) => self.raw("\"").raw(&version.to_string()).raw("\""),
            None => self.raw("null"),
        }
    }

    /// A document, or null.
    pub(crate) fn document(&mut self, document: Option<&str>) -> &mut Self {
        self.raw(document.unwrap_or("null"))
    }

    /// Items with commas between them.
    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.raw("[");
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]")
    }

    /// What was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn reply(self) -> Response {
        reply(StatusCode::OK, self.0)
    }
}

/// A JSON reply.
pub(crate) fn reply(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A reply that serialises by itself.
pub(crate) fn serialized(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("replies are plain JSON");
    reply(status, body)
}

/// A version as an entity tag.
pub(crate) fn etag(version: RowVersion) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits and a dash are header text")
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

/// Hexadecimal back to bytes.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
