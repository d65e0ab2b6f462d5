//! What the fuzz targets reach of the API: its parsers, each given the bytes of a request's part.

use super::incoming::{Incoming, page_limit};
use super::increments::Increment;
use super::{documents, preconditions, session, transactions};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::value::RawValue;

/// A `PUT`'s body: what is taken can be read again, and is the client's own text.
pub fn document(bytes: &[u8]) {
    let Ok(text) = documents::text(bytes.to_vec()) else {
        return;
    };
    if let Ok(document) = documents::document(text.clone()) {
        assert!(text.contains(&document));
        serde_json::from_str::<serde_json::Value>(&document).expect("what was taken is JSON");
        serde_json::from_str::<&RawValue>(&document).expect("what was taken is JSON");
        assert_eq!(documents::document(document.clone()).ok(), Some(document));
    }
}

/// The body of a transaction.
pub fn transaction(bytes: &[u8]) {
    if let Ok(text) = documents::text(bytes.to_vec()) {
        let _ = transactions::parse(&text);
    }
}

/// The body of an increment.
pub fn increment(bytes: &[u8]) {
    if let Ok(text) = documents::text(bytes.to_vec()) {
        let _ = documents::object::<Increment>(&text);
    }
}

/// `If-Match` and `If-None-Match`, one value a line.
pub fn preconditions(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(16) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::IF_MATCH, value.clone());
            headers.append(header::IF_NONE_MATCH, value);
        }
    }
    let _ = preconditions::of_row(&headers, "t", "k");
}

/// A session token; one that is understood reads back the same.
pub fn session(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        session::reads_back(text);
    }
}

/// A request's target: table and key in the path, the parameters of a page in the query.
pub fn target(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from(bytes) else {
        return;
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    let incoming = Incoming::new(request);
    let _ = (incoming.table(), incoming.key());
    if let Ok([_, limit]) = incoming.query(["after", "limit"]) {
        let _ = page_limit(limit.as_deref());
    }
}
