//! Errors as clients see them: problem details (RFC 9457).
//!
//! The type is a relative reference, `/problems/NAME`, and is what programs should look at; the
//! rest is for people.

use super::hints;
use crate::dataset::{ExecuteError, apart, describe};
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use meridian_engine_kv::{Rejection, TablesError};
use serde_json::{Map, Value};

/// What went wrong, by kind: name, status, title.
macro_rules! kinds {
    ($($kind:ident = ($name:literal, $status:ident, $title:literal),)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($kind),* }

        impl Kind {
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status),* }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$kind),)* _ => None }
            }

            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$kind => $title),* }
            }
        }
    };
}

kinds! {
    BadPath = ("bad-path", BAD_REQUEST, "The path can't be read"),
    BadQuery = ("bad-query", BAD_REQUEST, "The query can't be read"),
    BadHeader = ("bad-header", BAD_REQUEST, "A header can't be read"),
    BadSession = ("bad-session", BAD_REQUEST, "The session token can't be read"),
    SessionRequired = ("session-required", BAD_REQUEST, "A session token is needed"),
    BrokenBody = ("broken-body", BAD_REQUEST, "The body did not arrive"),
    MalformedJson = ("malformed-json", BAD_REQUEST, "The body is not JSON"),
    Unauthorized = ("unauthorized", UNAUTHORIZED, "The token is missing or wrong"),
    UnknownPath = ("unknown-path", NOT_FOUND, "Nothing is at this path"),
    TableNotServed = ("table-not-served", NOT_FOUND, "No dataset takes the table"),
    RowNotFound = ("row-not-found", NOT_FOUND, "The row is not there"),
    MethodNotAllowed = ("method-not-allowed", METHOD_NOT_ALLOWED, "The method is not for this path"),
    BodyTimeout = ("body-timeout", REQUEST_TIMEOUT, "The body took too long"),
    PreconditionFailed = ("precondition-failed", PRECONDITION_FAILED, "The row is in another state"),
    TooLarge = ("too-large", PAYLOAD_TOO_LARGE, "The request is too large"),
    NestingTooDeep = ("nesting-too-deep", UNPROCESSABLE_ENTITY, "The JSON is nested too deeply"),
    BadBody = ("bad-body", UNPROCESSABLE_ENTITY, "The body is not what this path takes"),
    BadTable = ("bad-table", UNPROCESSABLE_ENTITY, "The table's name can't be"),
    BadKey = ("bad-key", UNPROCESSABLE_ENTITY, "The row's key can't be"),
    BadIdempotencyKey = ("bad-idempotency-key", UNPROCESSABLE_ENTITY, "The idempotency key can't be"),
    IdempotencyKeyReused = (
        "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request"
    ),
    EmptyTransaction = ("empty-transaction", UNPROCESSABLE_ENTITY, "The transaction has no operations"),
    SeveralDatasets = ("several-datasets", UNPROCESSABLE_ENTITY, "The transaction spans datasets"),
    NotAnObject = ("not-an-object", UNPROCESSABLE_ENTITY, "The document has no fields"),
    NotAnInteger = ("not-an-integer", UNPROCESSABLE_ENTITY, "The field holds no integer"),
    OutOfRange = ("out-of-range", UNPROCESSABLE_ENTITY, "The field would leave its range"),
    RowDamaged = ("row-damaged", SERVICE_UNAVAILABLE, "The row is damaged in this region"),
    TablesFailed = ("tables-failed", INTERNAL_SERVER_ERROR, "The tables can't be read"),
    LogFailed = ("log-failed", INTERNAL_SERVER_ERROR, "Whether the write happened is unknown"),
    NotVisible = ("not-visible", INTERNAL_SERVER_ERROR, "The write is durable but not visible yet"),
    Internal = ("internal", INTERNAL_SERVER_ERROR, "Something went wrong in the region"),
    DatasetUnavailable = ("dataset-unavailable", SERVICE_UNAVAILABLE, "The dataset could not be opened"),
    DatasetStopped = ("dataset-stopped", SERVICE_UNAVAILABLE, "The dataset takes no writes"),
    NoWriter = ("no-writer", SERVICE_UNAVAILABLE, "No region that takes the write can be reached"),
    OutcomeUnknown = ("outcome-unknown", GATEWAY_TIMEOUT, "Whether the write happened is unknown"),
    ReplyTooLarge = ("reply-too-large", INTERNAL_SERVER_ERROR, "The write is done and can't be shown"),
    NotReady = ("not-ready", SERVICE_UNAVAILABLE, "The region does not serve reads and writes"),
    SessionNotReached = ("session-not-reached", SERVICE_UNAVAILABLE, "This region has not caught up"),
    StrongReadUnavailable = (
        "strong-read-unavailable", SERVICE_UNAVAILABLE, "A strong read is not possible now"
    ),
    TooBusy = ("too-busy", SERVICE_UNAVAILABLE, "The region is busy"),
    ShuttingDown = ("shutting-down", SERVICE_UNAVAILABLE, "The region is shutting down"),
    LogBudget = ("log-budget", INSUFFICIENT_STORAGE, "The log has used up its disk budget"),
    DiskFull = ("disk-full", INSUFFICIENT_STORAGE, "The disk is full"),
    NotASet = ("not-a-set", UNPROCESSABLE_ENTITY, "The field holds no array"),
    RowHasSiblings = ("row-has-siblings", CONFLICT, "The row has siblings"),
    FaultsNotAllowed = ("faults-not-allowed", FORBIDDEN, "Faults are not allowed here"),
    FaultNotFound = ("fault-not-found", NOT_FOUND, "The fault is not at work"),
    FaultOverlaps = ("fault-overlaps", CONFLICT, "Another fault does that already"),
    LetterNotFound = ("dead-letter-not-found", NOT_FOUND, "The dead letter is not there"),
    LetterAgain = ("dead-letter-again", UNPROCESSABLE_ENTITY, "It would be a dead letter again"),
    BadFault = ("bad-fault", UNPROCESSABLE_ENTITY, "The fault can't be"),
    DatasetNotServed = ("dataset-not-served", NOT_FOUND, "The dataset doesn't run here"),
    BackupGone = ("backup-gone", GONE, "What the backup goes on from is gone"),
    RegionEvicted = ("region-evicted", SERVICE_UNAVAILABLE, "The region counts no more"),
    RegionNotServing = ("region-not-serving", SERVICE_UNAVAILABLE, "The region takes no writes now"),
    UnknownRegion = ("unknown-region", NOT_FOUND, "There is no such region"),
    AlreadyMember = ("already-member", CONFLICT, "The region is a member already"),
    NeedsMajority = ("needs-majority", CONFLICT, "A majority of the regions has to decide"),
    LastRegion = ("last-region", CONFLICT, "The last region can't go"),
    MembershipBusy = ("membership-busy", CONFLICT, "Another change of the regions is under way"),
    MembershipRefused = ("membership-refused", CONFLICT, "The regions can't be changed so"),
    AsideNotFound = ("aside-not-found", NOT_FOUND, "Nothing of this id was set aside"),
    AsideDecided = ("aside-decided", CONFLICT, "It was decided already"),
    AsideNotTaken = ("aside-not-taken", CONFLICT, "The dataset doesn't take it as it is"),
    Witness = ("witness", MISDIRECTED_REQUEST, "The region serves no rows"),
    DatasetNotYet = ("dataset-not-yet", SERVICE_UNAVAILABLE, "The dataset doesn't run here yet"),
    ParkedNotFound = ("parked-row-not-found", NOT_FOUND, "The row is not parked"),
    NotConnected = ("not-connected", SERVICE_UNAVAILABLE, "The region is not joined to its server"),
    RouteNotFound = ("route-not-found", NOT_FOUND, "There is no such route"),
    ShiftNotFound = ("shift-not-found", NOT_FOUND, "There is no such drain or shift"),
    BadShift = ("bad-shift", UNPROCESSABLE_ENTITY, "The drain or shift can't be"),
    NothingChanges = ("nothing-changes", CONFLICT, "Nothing would change"),
    LastHealthyRegion = ("last-healthy-region", CONFLICT, "The last healthy region can't be drained"),
    TooMuchAtOnce = ("too-much-at-once", CONFLICT, "Too much capacity would be left at once"),
    ShiftChanged = ("shift-changed", CONFLICT, "Somebody else has changed the same"),
    TakesNoWrites = ("takes-no-writes", CONFLICT, "This region takes no writes of the dataset"),
}

/// An error reply.
#[derive(Debug)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: Kind,
    detail: String,
    hint: Option<String>,
    members: Map<String, Value>,
    headers: HeaderMap,
}

impl Problem {
    /// Of a detail with a hint behind an empty line, as errors have, the hint is told as one.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let text = detail.into();
        let (detail, hint) = apart(&text);
        Self(Box::new(Parts {
            kind,
            detail: detail.to_owned(),
            hint: hint.map(str::to_owned),
            members: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.0.kind == kind
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Says what to do, after what the detail's error says of it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.0.hint = Some(match self.0.hint.take() {
            Some(before) => format!("{before}; {hint}"),
            None => hint,
        });
        self
    }

    pub(crate) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub(crate) fn retry_after(self, seconds: u16) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// Puts words before the detail.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.0.detail = format!("{place}: {}", self.0.detail);
        self
    }

    /// The tables could not be read.
    pub(crate) fn tables(error: &TablesError) -> Self {
        if let Some(row) = error.damaged_row() {
            return Self::new(Kind::RowDamaged, error.to_string())
                .member("table", row.table.as_str())
                .member("key", row.key.as_str())
                .retry_after(1);
        }
        tracing::error!(error = %describe(error), "the tables can't be read");
        let kind = if error.disk_full() {
            Kind::DiskFull
        } else {
            Kind::TablesFailed
        };
        Self::new(kind, error.to_string())
    }

    pub(crate) fn execute(error: ExecuteError) -> Self {
        let detail = error.to_string();
        match error {
            ExecuteError::Rejected(rejection) => Self::rejection(&rejection),
            ExecuteError::Stopped { .. } => Self::new(Kind::DatasetStopped, detail).hint(
                "see the region's log and /v1/status; reads go on, other regions take writes",
            ),
            ExecuteError::Evicted { was_removed, .. } => Self::new(Kind::RegionEvicted, detail)
                .hint(if was_removed {
                    "write to another region; `meridian regions add NAME` lets this one join anew"
                } else {
                    "write to another region; `meridian regions rejoin NAME` lets this one join \
                     anew, and what it alone held is kept"
                }),
            ExecuteError::NotServing { .. } => Self::new(Kind::RegionNotServing, detail)
                .hint("send it to another region, or again a little later")
                .retry_after(1),
            ExecuteError::LogBudget { bytes, bytes_max } => Self::new(Kind::LogBudget, detail)
                .hint("a peer has been away for long: bring it back, or give the log more disk")
                .member("log_bytes", bytes)
                .member("log_bytes_max", bytes_max)
                .retry_after(10),
            ExecuteError::DiskFull { .. } => Self::new(Kind::DiskFull, detail)
                .hint("the write did not happen; make room and send it again")
                .retry_after(10),
            ExecuteError::LogFailed { .. } => Self::new(Kind::LogFailed, detail).hint(
                "the write may or may not have happened: read the row after the region has been \
                 restarted, or send it again there with the same Idempotency-Key",
            ),
            ExecuteError::NotVisible { .. } => Self::new(Kind::NotVisible, detail).hint(
                "the write is durable and will be seen once the region has recovered; \
                 do not send it again without the same Idempotency-Key",
            ),
            ExecuteError::ShuttingDown => Self::new(Kind::ShuttingDown, detail)
                .hint("send it to another region, or again a little later")
                .retry_after(1),
        }
    }

    fn rejection(rejection: &Rejection) -> Self {
        let kind = match rejection {
            Rejection::Empty => Kind::EmptyTransaction,
            Rejection::TooManyOperations { .. }
            | Rejection::TransactionTooLarge { .. }
            | Rejection::DocumentTooLarge { .. } => Kind::TooLarge,
            Rejection::BadTable { .. } => Kind::BadTable,
            Rejection::BadKey { .. } => Kind::BadKey,
            Rejection::BadIdempotencyKey { .. } => Kind::BadIdempotencyKey,
            Rejection::IdempotencyKeyReused { .. } => Kind::IdempotencyKeyReused,
            Rejection::PreconditionFailed { version, .. } => {
                let version = version.map(|version| version.to_string());
                return Self::new(Kind::PreconditionFailed, rejection.to_string())
                    .hint("read the row and decide anew")
                    .member("version", version);
            }
            Rejection::NotAnObject { .. } => Kind::NotAnObject,
            Rejection::NotAnInteger { .. } => Kind::NotAnInteger,
            Rejection::OutOfRange { .. } => Kind::OutOfRange,
            Rejection::NotASet { .. } => Kind::NotASet,
            Rejection::HasSiblings { .. } => Kind::RowHasSiblings,
            Rejection::LetterNotFound { .. } => Kind::LetterNotFound,
            Rejection::LetterAgain { .. } => Kind::LetterAgain,
            Rejection::Tables(error) => return Self::tables(error),
        };
        Self::new(kind, rejection.to_string())
    }

    /// What another region needs to tell its client: the body, and when to try again.
    pub(crate) fn write(&self) -> (Vec<u8>, Option<u16>) {
        let retry_after = self.0.headers.get(header::RETRY_AFTER);
        let seconds = retry_after.and_then(|it| it.to_str().ok()?.parse().ok());
        (self.body(), seconds)
    }

    /// Another region's problem.
    pub(crate) fn read(body: &[u8], retry_after_seconds: Option<u16>) -> Self {
        let mut members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let mut take = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let name = take("type").unwrap_or_default();
        let name = name.strip_prefix("/problems/").unwrap_or_default();
        let (_title, detail, hint) = (take("title"), take("detail"), take("hint"));
        members.remove("status");
        let mut problem = Self::new(
            Kind::from_name(name).unwrap_or(Kind::Internal),
            detail.unwrap_or_else(|| "the region that took the write did not say why".to_owned()),
        );
        problem.0.hint = hint;
        problem.0.members = members;
        match retry_after_seconds {
            Some(seconds) => problem.retry_after(seconds),
            None => problem,
        }
    }

    fn body(&self) -> Vec<u8> {
        let Parts {
            kind,
            detail,
            hint,
            members,
            ..
        } = &*self.0;
        let mut body = Map::new();
        body.insert(
            "type".to_owned(),
            format!("/problems/{}", kind.name()).into(),
        );
        body.insert("title".to_owned(), kind.title().into());
        body.insert("status".to_owned(), kind.status().as_u16().into());
        body.insert("detail".to_owned(), detail.as_str().into());
        let hint = hint.as_deref().unwrap_or_else(|| hints::usual(*kind));
        body.insert("hint".to_owned(), hint.into());
        body.extend(members.clone());
        serde_json::to_vec(&body).expect("a map of JSON values is JSON")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.0.kind.status();
        *response.headers_mut() = self.0.headers;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_problem_has_the_members_of_the_standard_and_its_own() {
        let problem = Problem::rejection(&Rejection::TooManyOperations {
            operations: 3,
            max: 2,
        });
        let body: Value =
            serde_json::from_slice(&problem.at("here").member("n", 7).body()).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "/problems/too-large",
                "title": "The request is too large",
                "status": 413,
                "detail": "here: the transaction has 3 operations, of at most 2",
                "hint": "split it",
                "n": 7,
            })
        );
    }

    #[test]
    fn a_hint_that_an_error_brings_along_is_told_as_one() {
        let full = meridian_engine_kv::StoreError::DiskFull {
            path: "tables".into(),
            source: std::io::Error::other("no space"),
        };
        let reason = describe(&full);
        let problems = [
            Problem::execute(ExecuteError::NotVisible {
                reason: reason.clone(),
            }),
            Problem::execute(ExecuteError::Stopped {
                reason: reason.clone(),
            }),
            Problem::new(Kind::DatasetUnavailable, format!("it is away: {reason}")).hint("wait"),
        ];
        for problem in problems {
            let body: Value = serde_json::from_slice(&problem.body()).unwrap();
            let text = |name: &str| body[name].as_str().unwrap().to_owned();
            assert!(text("detail").ends_with("is full: no space"), "{body}");
            assert!(text("hint").starts_with("make room and restart"), "{body}");
        }
    }

    #[test]
    fn another_regions_problem_is_told_as_it_was() {
        let problem = Problem::new(Kind::LogBudget, "full")
            .hint("wait")
            .member("log_bytes", 7)
            .retry_after(3);
        let (body, seconds) = problem.write();
        let again = Problem::read(&body, seconds);
        assert_eq!(again.body(), body);
        assert_eq!(again.write().1, Some(3));
        let strange = Problem::read(br#"{"type":"/problems/of-a-later-release"}"#, None);
        assert_eq!(strange.kind(), Kind::Internal);
    }

    #[test]
    fn failures_of_the_region_say_what_may_be_assumed() {
        let reason = || "why".to_owned();
        let failures = [
            (ExecuteError::Stopped { reason: reason() }, 503, false),
            (
                ExecuteError::LogBudget {
                    bytes: 2,
                    bytes_max: 1,
                },
                507,
                true,
            ),
            (ExecuteError::DiskFull { reason: reason() }, 507, true),
            (ExecuteError::LogFailed { reason: reason() }, 500, false),
            (ExecuteError::NotVisible { reason: reason() }, 500, false),
            (ExecuteError::ShuttingDown, 503, true),
        ];
        for (error, status, again) in failures {
            let problem = Problem::execute(error);
            assert!(problem.0.hint.is_some(), "{problem:?}");
            let response = problem.into_response();
            assert_eq!(response.status().as_u16(), status);
            let header = response.headers().contains_key(header::RETRY_AFTER);
            assert_eq!(header, again, "{response:?}");
        }
    }
}
