//! How much a read is sure to show: `Meridian-Consistency`, and what each level waits for.
//!
//! ```text
//! eventual   nothing
//! session    what the request's token says
//! causal     the same, and there must be one
//! strong     what the token says, and what other regions say that they hold;
//!            afterwards, until enough regions hold what was read
//! ```
//!
//! The reply's token covers all that the read showed, rows that are *not* there included: after the
//! read the tables are asked how far they are, which is no less than it was during it.

use super::json::SESSION;
use super::problem::{Kind, Problem};
use super::session::Session;
use super::state::{ApiState, single};
use crate::dataset::{AskError, DatasetHandle};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use meridian_model::{Answer, Consistency, Question};
use meridian_replicate::{Progress, StrongRead};
use meridian_topology::parse_duration;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) const CONSISTENCY: HeaderName = HeaderName::from_static("meridian-consistency");
const TIMEOUT: HeaderName = HeaderName::from_static("meridian-timeout");
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// A read under way, of one dataset or of several.
pub(crate) struct Read<'a> {
    session: Session,
    parts: Vec<Part<'a>>,
    deadline: Instant,
}

/// A read of one dataset.
struct Part<'a> {
    dataset: &'a DatasetHandle,
    level: Consistency,
    /// Whether the reply waits until enough regions hold what was read.
    must_be_held: bool,
}

/// What the reply to a read carries.
pub(crate) struct Stamp {
    token: HeaderValue,
    level: Consistency,
}

impl Stamp {
    pub(crate) fn on(self, headers: &mut HeaderMap) {
        headers.insert(SESSION, self.token);
        headers.insert(CONSISTENCY, HeaderValue::from_static(self.level.name()));
    }

    pub(crate) fn on_problem(self, problem: Problem) -> Problem {
        let level = HeaderValue::from_static(self.level.name());
        problem
            .header(SESSION, self.token)
            .header(CONSISTENCY, level)
    }
}

impl<'a> Read<'a> {
    /// Waits for what the request's level demands; then the tables can be read.
    pub(crate) async fn begin(
        state: &ApiState,
        headers: &HeaderMap,
        datasets: impl IntoIterator<Item = &'a DatasetHandle>,
    ) -> Result<Self, Problem> {
        let asked = asked_level(headers)?;
        let deadline = Instant::now() + asked_timeout(headers)?;
        let session = Session::read(state, headers)?;
        let mut read = Self {
            session,
            parts: Vec::new(),
            deadline,
        };
        for dataset in datasets {
            let level = asked.unwrap_or(dataset.promises().consistency);
            if level == Consistency::Causal && !headers.contains_key(SESSION) {
                return Err(token_missing());
            }
            let mut part = Part {
                dataset,
                level,
                must_be_held: false,
            };
            if level != Consistency::Eventual {
                read.session.wait(dataset, left(deadline)).await?;
            }
            if level == Consistency::Strong {
                part.must_be_held = strong(dataset, deadline).await?;
            }
            read.parts.push(part);
        }
        Ok(read)
    }

    /// The tables were read; what the reply has to carry.
    pub(crate) async fn end(mut self) -> Result<Stamp, Problem> {
        for part in &self.parts {
            let seen = part.dataset.tables().seen();
            let seen = seen.map_err(|error| Problem::tables(&error))?;
            self.session.note(part.dataset, &seen);
        }
        for part in self.parts.iter().filter(|part| part.must_be_held) {
            let waited = tokio::time::timeout_at(self.deadline, part.dataset.wait_held()).await;
            if !matches!(waited, Ok(Ok(()))) {
                let reason = "what was read is not yet held by as many regions as an acknowledged \
                              write is";
                return Err(unavailable(part.dataset, reason.to_owned()));
            }
        }
        let levels = self.parts.iter().map(|part| part.level);
        Ok(Stamp {
            token: self.session.token(),
            level: levels.min_by_key(|level| rank(*level)).unwrap_or_default(),
        })
    }
}

/// Where a reply spans datasets with different levels, it names the weakest.
fn rank(level: Consistency) -> u8 {
    match level {
        Consistency::Eventual => 0,
        Consistency::Session => 1,
        Consistency::Causal => 2,
        Consistency::Strong => 3,
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn asked_level(headers: &HeaderMap) -> Result<Option<Consistency>, Problem> {
    let Some(name) = single(headers, CONSISTENCY.as_str())? else {
        return Ok(None);
    };
    Consistency::from_name(name).map(Some).ok_or_else(|| {
        let known = Consistency::ALL.map(Consistency::name).join(", ");
        Problem::new(
            Kind::BadHeader,
            format!("Meridian-Consistency has no level {name:?}"),
        )
        .hint(format!("the levels are {known}"))
    })
}

fn asked_timeout(headers: &HeaderMap) -> Result<Duration, Problem> {
    let Some(text) = single(headers, TIMEOUT.as_str())? else {
        return Ok(TIMEOUT_DEFAULT);
    };
    let timeout = parse_duration(text).ok();
    let timeout = timeout.filter(|it| !it.is_zero() && *it <= TIMEOUT_MAX);
    timeout.ok_or_else(|| {
        let seconds = TIMEOUT_MAX.as_secs();
        Problem::new(
            Kind::BadHeader,
            format!("Meridian-Timeout can't be {text:?}"),
        )
        .hint(format!(
            "more than 0 and at most {seconds}s, for example 500ms"
        ))
    })
}

fn token_missing() -> Problem {
    Problem::new(
        Kind::SessionRequired,
        "a causal read brings a session token, and this one has none",
    )
    .hint(
        "send Meridian-Session with the token of the reply that this read has to follow, your own \
         or another client's; for a first read ask for session",
    )
}

/// Waits until all that was acknowledged before now has been applied here. Tells whether the reply
/// waits too.
async fn strong(dataset: &DatasetHandle, deadline: Instant) -> Result<bool, Problem> {
    let read = loop {
        let Some((epoch, read)) = dataset.strong_read(left(deadline)).await else {
            let reason = "the regions are changing, and not all of them have said so yet";
            return Err(unavailable(dataset, reason.to_owned()));
        };
        // Whoever answers goes by this region's epoch: those who were asked by an earlier one are no
        // quorum of it.
        tokio::select! {
            heard = hear(dataset, read, deadline) => {
                let heard = heard?;
                if dataset.goes_by(epoch) {
                    break heard;
                }
            }
            () = dataset.goes_by_another(epoch) => {}
        }
    };
    if !dataset.wait_for(read.seen(), left(deadline)).await {
        let reason = "this region has not yet applied what others hold".to_owned();
        return Err(unavailable(dataset, reason));
    }
    Ok(read.must_be_held())
}

/// Asks other regions what they hold until enough have answered.
async fn hear(
    dataset: &DatasetHandle,
    mut read: StrongRead,
    deadline: Instant,
) -> Result<StrongRead, Problem> {
    let mut asked = JoinSet::new();
    for peer in read.asked() {
        let dataset = dataset.clone();
        asked.spawn(async move {
            let held = dataset.ask(&peer, Question::Held, left(deadline)).await;
            (peer, held)
        });
    }
    while read.progress() == Progress::Asking {
        match asked.join_next().await {
            Some(Ok((peer, Ok(Answer::Held(held))))) => read.answered(&peer, &held),
            Some(Ok((peer, Ok(_)))) => read.failed(&peer, "it answered another question"),
            Some(Ok((peer, Err(error)))) => read.failed(&peer, AskError::to_string(&error)),
            // Given up with the region, or nobody is left.
            Some(Err(_)) => {}
            None => break,
        }
    }
    if read.progress() != Progress::Heard {
        let reason = format!(
            "{} more must say what they hold: {}",
            regions(read.missing()),
            read.failures().join("; ")
        );
        return Err(unavailable(dataset, reason));
    }
    Ok(read)
}

fn regions(count: usize) -> String {
    match count {
        1 => "1 region".to_owned(),
        count => format!("{count} regions"),
    }
}

fn unavailable(dataset: &DatasetHandle, reason: String) -> Problem {
    Problem::new(Kind::StrongReadUnavailable, reason)
        .hint(
            "send it again, allow it more time with Meridian-Timeout, or read with less \
             consistency; /v1/replication shows which regions are away",
        )
        .member("dataset", dataset.name())
        .retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_timeout_is_a_duration_within_bounds() {
        let read = |value| asked_timeout(&headers(TIMEOUT, value));
        assert_eq!(read("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(read("60s").unwrap(), TIMEOUT_MAX);
        assert_eq!(asked_timeout(&HeaderMap::new()).unwrap(), TIMEOUT_DEFAULT);
        for bad in ["", "0s", "61s", "5", "soon", "-1s"] {
            assert_eq!(read(bad).unwrap_err().kind(), Kind::BadHeader, "{bad}");
        }
    }

    #[test]
    fn a_reply_names_the_weakest_of_its_levels() {
        let mut levels = Consistency::ALL;
        levels.sort_by_key(|level| rank(*level));
        let names = levels.map(Consistency::name);
        assert_eq!(names, ["eventual", "session", "causal", "strong"]);
    }
}
