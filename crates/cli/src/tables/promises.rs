//! What a read is to show, and what a write was promised.

use crate::client::{Api, CallError, Reply};
use crate::error::{CliError, CliResult, Exit};
use clap::{Args, ValueEnum};
use serde::Deserialize;

/// How much a read is sure to show.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Level {
    /// What the region has
    Eventual,
    /// All that --session says, if it is given
    Session,
    /// All that --session says, which must be given
    Causal,
    /// All that was acknowledged before
    Strong,
}

/// The options of a read.
#[derive(Debug, Args)]
pub struct Reading {
    /// How much the read is sure to show [default: the dataset's]
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Level>,
    #[command(flatten)]
    seen: Seen,
}

/// What the caller has seen.
#[derive(Debug, Args)]
pub struct Seen {
    /// What you have seen: `session` of an earlier reply, with --output json
    #[arg(long, value_name = "TOKEN")]
    session: Option<String>,
}

impl Seen {
    fn headers(&self) -> Vec<(&str, &str)> {
        let token = self.session.as_deref();
        token
            .map(|it| ("meridian-session", it))
            .into_iter()
            .collect()
    }
}

impl Reading {
    /// Reads a resource, whatever its status.
    pub fn get(&self, api: &Api, path: &str) -> Result<Reply, CallError> {
        let mut headers = self.seen.headers();
        if let Some(level) = self.consistency {
            let name = match level {
                Level::Eventual => "eventual",
                Level::Session => "session",
                Level::Causal => "causal",
                Level::Strong => "strong",
            };
            headers.push(("meridian-consistency", name));
        }
        api.call("GET", path, &headers, &[])
    }
}

/// Writes; gives the reply of a write that is done.
pub fn write(
    api: &Api,
    method: &str,
    path: &str,
    seen: &Seen,
    more: &[(&str, &str)],
    body: &[u8],
) -> CliResult<Reply> {
    let headers = [&seen.headers(), more].concat();
    let reply = match headers.as_slice() {
        [] => api.send(method, path, body)?,
        headers => api.call(method, path, headers, body)?,
    };
    reply.success()
}

/// Why a write was answered 202.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Accepted {
    reason: String,
    hint: Option<String>,
}

/// An error if the write is done, but fewer regions than promised are known to hold it.
pub fn confirmed(api: &Api, reply: &Reply) -> CliResult {
    if reply.status != 202 {
        return Ok(());
    }
    let accepted: Accepted = serde_json::from_slice(&reply.body).unwrap_or_default();
    let message = format!(
        "{} did the write, and it is not confirmed: {}",
        api.place(),
        accepted.reason
    );
    let error = CliError::new(Exit::Unconfirmed, message);
    Err(match accepted.hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}
