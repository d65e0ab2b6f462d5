//! A request's path, query and body, read with care.
//!
//! A reply may be due before the body has arrived. A client that is still sending would then see
//! its connection reset instead of the reply, so what is left of a body is read and thrown away in
//! the background, up to a bound.

use super::problem::{Kind, Problem};
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use meridian_model::RowName;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::time::Duration;

const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Of a body that nobody wants, at most this much is read.
const DISCARDED_BYTES_MAX: usize = 64 << 20;

/// A request under way.
pub(crate) struct Incoming {
    pub(crate) parts: Parts,
    body: Option<Body>,
}

impl Incoming {
    pub(crate) fn new(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        Self {
            parts,
            body: Some(body),
        }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// How many bytes the body has, as far as the client says; `unknown` where it doesn't.
    pub(crate) fn body_bytes(&self, unknown: usize) -> usize {
        let length = self.body.as_ref().and_then(|body| body.size_hint().exact());
        length.map_or(unknown, |length| {
            usize::try_from(length).unwrap_or(usize::MAX)
        })
    }

    /// Reads the body; a larger one than `bytes_max` is refused without reading it.
    pub(crate) async fn read_body(&mut self, bytes_max: usize) -> Result<Vec<u8>, Problem> {
        let expected = self.body_bytes(0);
        if expected > bytes_max {
            return Err(too_large(bytes_max));
        }
        let Some(body) = &mut self.body else {
            return Ok(Vec::new());
        };
        let collected = tokio::time::timeout(BODY_TIMEOUT, collect(body, expected, bytes_max));
        let Ok(collected) = collected.await else {
            // Whoever took so long isn't listened to any longer; the connection ends with the reply.
            self.body = None;
            let seconds = BODY_TIMEOUT.as_secs();
            let detail = format!("the body took longer than {seconds} s");
            return Err(Problem::new(Kind::BodyTimeout, detail));
        };
        let bytes = collected?;
        self.body = None;
        Ok(bytes)
    }

    /// The path's segments after `/v1/tables` (or another such word), as they came: table, `rows`
    /// or so, key.
    fn segment(&self, index: usize) -> &str {
        self.parts
            .uri
            .path()
            .split('/')
            .nth(index + 3)
            .unwrap_or_default()
    }

    /// The table that the path names.
    pub(crate) fn table(&self) -> Result<Cow<'_, str>, Problem> {
        decode("table", self.segment(0))
    }

    /// The dataset that the path names.
    pub(crate) fn dataset(&self) -> Result<Cow<'_, str>, Problem> {
        decode("dataset", self.segment(0))
    }

    /// The row's key that the path names.
    pub(crate) fn key(&self) -> Result<Cow<'_, str>, Problem> {
        decode("key", self.segment(2))
    }

    /// The row that the path names by table and key alone, behind `/v1/…/`.
    pub(crate) fn row(&self) -> Result<RowName, Problem> {
        Ok(RowName {
            table: self.table()?.into_owned(),
            key: decode("key", self.segment(1))?.into_owned(),
        })
    }

    /// The id that the path names, behind `/v1/…/`.
    pub(crate) fn id(&self) -> Result<Cow<'_, str>, Problem> {
        decode("id", self.segment(0))
    }

    /// The id that the path names, of a request that has no query.
    pub(crate) fn id_alone(&self) -> Result<Cow<'_, str>, Problem> {
        let [] = self.query([])?;
        self.id()
    }

    /// The query's parameters of these names; any other is an error.
    pub(crate) fn query<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[Option<String>; N], Problem> {
        parse_query(self.parts.uri.query().unwrap_or_default(), names)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else {
            return;
        };
        // A client that waits for "100 Continue" sends nothing unless it is asked to.
        if body.is_end_stream() || self.parts.headers.contains_key(header::EXPECT) {
            return;
        }
        tokio::spawn(tokio::time::timeout(BODY_TIMEOUT, async move {
            let mut left = DISCARDED_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        }));
    }
}

async fn collect(body: &mut Body, expected: usize, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let mut collected = Vec::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(
                Kind::BrokenBody,
                format!("the body did not arrive in full: {error}"),
            )
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if collected.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        collected.extend_from_slice(data);
    }
    Ok(collected)
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(
        Kind::TooLarge,
        format!("the body has more than {bytes_max} bytes"),
    )
    .hint("split it, or raise the dataset's limits in the topology")
    .member("bytes_max", bytes_max)
}

fn decode<'a>(what: &str, text: &'a str) -> Result<Cow<'a, str>, Problem> {
    if !escapes_are_whole(text) {
        let detail =
            format!("the {what} in the path has a % that no two hexadecimal digits follow");
        return Err(Problem::new(Kind::BadPath, detail).hint("write % itself as %25"));
    }
    percent_decode_str(text).decode_utf8().map_err(|_| {
        Problem::new(
            Kind::BadPath,
            format!("the {what} in the path is not UTF-8"),
        )
        .hint("percent-encode the bytes of its UTF-8 form")
    })
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
}

fn parse_query<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut found = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(at) = names.iter().position(|known| *known == name) else {
            let known = names.join(", ");
            return Err(
                Problem::new(Kind::BadQuery, format!("there is no parameter {name:?}"))
                    .hint(format!("the parameters are: {known}")),
            );
        };
        let value = value.replace('+', " ");
        let text = escapes_are_whole(&value)
            .then(|| percent_decode_str(&value).decode_utf8().ok())
            .flatten();
        let Some(text) = text else {
            let detail = format!("the value of parameter {name:?} is not percent-encoded UTF-8");
            return Err(Problem::new(Kind::BadQuery, detail));
        };
        if found[at].replace(text.into_owned()).is_some() {
            let detail = format!("parameter {name:?} is there more than once");
            return Err(Problem::new(Kind::BadQuery, detail));
        }
    }
    Ok(found)
}

/// A page's size out of the query.
pub(crate) fn page_limit(text: Option<&str>) -> Result<usize, Problem> {
    const DEFAULT: usize = 100;
    const MAX: usize = 1000;
    let Some(text) = text else { return Ok(DEFAULT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX).contains(limit));
    limit.ok_or_else(|| {
        Problem::new(
            Kind::BadQuery,
            format!("limit is a number from 1 to {MAX}, not {text:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_escape_is_an_error() {
        for good in ["", "a", "%41", "%25%00z"] {
            assert!(escapes_are_whole(good), "{good}");
        }
        for bad in ["%", "%4", "a%4g", "%%41", "%é1"] {
            assert!(!escapes_are_whole(bad), "{bad}");
        }
    }

    #[test]
    fn a_query_gives_each_parameter_once() {
        let parsed = parse_query("limit=5&after=a%2Bb+c%00", ["after", "limit"]);
        assert_eq!(
            parsed.unwrap(),
            [Some("a+b c\0".to_owned()), Some("5".to_owned())]
        );
        for bad in ["x=1", "after=%ff", "after=a&after=b", "after=%zz"] {
            let problem = parse_query(bad, ["after", "limit"]).unwrap_err();
            assert_eq!(problem.kind(), Kind::BadQuery, "{bad}");
        }
    }

    #[test]
    fn a_page_has_1_to_1000_rows() {
        assert_eq!(page_limit(None).unwrap(), 100);
        assert_eq!(page_limit(Some("1000")).unwrap(), 1000);
        for bad in ["0", "1001", "-1", "x", "", "1e3"] {
            assert_eq!(
                page_limit(Some(bad)).unwrap_err().kind(),
                Kind::BadQuery,
                "{bad}"
            );
        }
    }
}
