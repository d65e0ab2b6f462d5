//! What a region replied, or that it didn't.

use crate::error::{CliError, CliResult, Exit, chain};
use crate::failure;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use ureq::Body;
use ureq::http::Response;

/// The largest body that is read. A page of rows is bounded by the region far below this.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A region that gave no whole reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{region} does not answer: {reason}")]
pub struct CallError {
    /// The region's name or URL.
    pub region: String,
    /// The URL of its API.
    pub url: String,
    /// The method and path.
    pub what: String,
    /// What the system or the library says.
    pub reason: String,
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let place = if error.region == error.url {
            error.url.clone()
        } else {
            format!("region {} at {}", error.region, error.url)
        };
        let hint = if error.reason.contains("peer certificate") {
            "name the authority to trust with --authority FILE, and the region at that URL with --region NAME"
        } else {
            "`meridian status` shows which regions answer; `meridian up` starts them"
        };
        Self::new(
            Exit::Unreachable,
            format!("{place} does not answer {}: {}", error.what, error.reason),
        )
        .hint(hint)
    }
}

/// Problem details (RFC 9457), as far as a person is told of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: Option<String>,
    detail: Option<String>,
    hint: Option<String>,
}

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The row's version, where there is one.
    pub version: Option<String>,
    /// What the region says that its client has seen.
    pub session: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    place: String,
    what: String,
}

impl Reply {
    pub(super) fn of(
        mut response: Response<Body>,
        place: String,
        what: &str,
    ) -> Result<Self, ureq::Error> {
        let etag = response.headers().get("etag");
        let version = etag
            .and_then(|etag| etag.to_str().ok())
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let session = response.headers().get("meridian-session");
        let session = session.and_then(|token| Some(token.to_str().ok()?.to_owned()));
        Ok(Self {
            session,
            status: response.status().as_u16(),
            version,
            body: response
                .body_mut()
                .with_config()
                .limit(BODY_BYTES_MAX)
                .read_to_vec()?,
            place,
            what: what.to_owned(),
        })
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The reply if its status is one of success, else the region's reason as an error.
    pub fn success(self) -> CliResult<Self> {
        if self.is_success() {
            return Ok(self);
        }
        Err(self.refusal())
    }

    /// The problem's type, which is for programs; empty if the body is none.
    pub fn problem(&self) -> String {
        serde_json::from_slice::<Problem>(&self.body)
            .unwrap_or_default()
            .kind
    }

    /// The problem, whole; none if the body is something else.
    pub fn problem_details(&self) -> Option<Map<String, Value>> {
        failure::problem_of(&self.body)
    }

    /// The body of a successful reply, read as JSON.
    pub fn json<T: DeserializeOwned>(self) -> CliResult<T> {
        self.success()?.read()
    }

    /// The body, whatever the status, read as JSON.
    pub fn read<T: DeserializeOwned>(&self) -> CliResult<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            CliError::failure(format!(
                "{} replied to {} with something else than was expected",
                self.place, self.what
            ))
            .because(&error)
            .hint("the region may be of another version than this program")
        })
    }

    /// The region's reason for not doing it, as an error.
    pub fn refusal(&self) -> CliError {
        let problem: Problem = serde_json::from_slice(&self.body).unwrap_or_default();
        let reason = match (problem.title, problem.detail) {
            (Some(title), Some(detail)) if !detail.contains(&title) => {
                format!("{title}: {detail}")
            }
            (_, Some(text)) | (Some(text), None) => text,
            (None, None) => String::from_utf8_lossy(&self.body[..self.body.len().min(400)])
                .trim()
                .to_owned(),
        };
        let reason = match reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let error = CliError::failure(format!(
            "{} refused {} ({}){reason}",
            self.place, self.what, self.status
        ))
        .of_region(self.problem_details());
        match (problem.hint, self.status) {
            (Some(hint), _) => error.hint(hint),
            (None, 401 | 403) => error.hint("send the API's token with --token-file FILE"),
            (None, _) => error,
        }
    }
}

/// What a person wants to know of a call that failed.
pub(super) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connection refused".to_owned()
        }
        ureq::Error::Io(error) => chain(error),
        ureq::Error::Timeout(_) => "no reply in time".to_owned(),
        other => chain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            version: None,
            session: None,
            body: body.into(),
            place: "region eu-west-1".to_owned(),
            what: "GET /v1/status".to_owned(),
        }
    }

    #[test]
    fn a_refusal_says_the_regions_reason() {
        let body = r#"{"title":"Log is full","detail":"4GiB used","hint":"wait"}"#;
        assert_eq!(
            reply(507, body).success().unwrap_err().to_string(),
            "error: region eu-west-1 refused GET /v1/status (507): Log is full: 4GiB used\n\nhint: wait"
        );
    }

    #[test]
    fn a_body_that_is_no_problem_is_quoted() {
        let error = reply(502, "bad gateway\n").refusal().to_string();
        assert!(error.ends_with("(502): bad gateway"), "{error}");
        let error = reply(502, "").refusal().to_string();
        assert!(error.ends_with("(502)"), "{error}");
    }

    #[test]
    fn a_missing_token_is_hinted_at() {
        let error = reply(401, "{}").refusal().to_string();
        assert!(error.contains("--token-file"), "{error}");
    }
}
