//! What the fuzz targets reach of this crate beyond its public face.

use crate::certs::{Identity, IdentityPaths, Pem};
use crate::preamble::{Hello, Verdict};
use bytes::BytesMut;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// Reads the first words of a connection: a hello and a verdict; what is understood reads back.
pub fn preamble(bytes: &[u8]) {
    if let Some(Ok(hello)) = at_once(Hello::read(&mut &bytes[..])) {
        let mut again = BytesMut::new();
        hello.encode(&mut again);
        let read = at_once(Hello::read(&mut &again[..]));
        assert!(matches!(read, Some(Ok(read)) if read == hello));
    }
    if let Some(Ok(verdict)) = at_once(Verdict::read(&mut &bytes[..])) {
        verdict.encode(&mut BytesMut::new());
    }
}

/// A hello and a verdict, as they are sent.
#[must_use]
pub fn preambles() -> Vec<Vec<u8>> {
    let mut hello = BytesMut::new();
    let region = "eu-west-1".to_owned();
    let versions = crate::SPOKEN;
    Hello { versions, region }.encode(&mut hello);
    let mut accepted = BytesMut::new();
    Verdict::Accepted { version: 1 }.encode(&mut accepted);
    let mut refused = BytesMut::new();
    let reason = crate::Rejection::from_code(2);
    let detail = "of another topology".to_owned();
    Verdict::Refused { reason, detail }.encode(&mut refused);
    [hello, accepted, refused]
        .map(|bytes| bytes.to_vec())
        .into()
}

/// Loads an identity from three files.
pub fn identity(certificate: &[u8], key: &[u8], authority: &[u8]) {
    let paths = IdentityPaths::in_directory(Path::new("fuzz"), "eu-west-1");
    let pem = Pem {
        certificate: certificate.to_vec(),
        key: key.to_vec(),
        authority: authority.to_vec(),
    };
    // A fixed time, within the year for which the corpus' first certificate was issued.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let _ = Identity::from_pem("eu-west-1", &paths, &pem, now);
}

/// What a future that never waits comes to.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
