//! `meridian tables increment`: a field grows by an amount, whatever other regions add meanwhile.

use super::promises::{self, Seen};
use super::rows::{row_path, tell_session};
use crate::client::Reply;
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format};
use crate::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// `meridian tables increment`
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the row's document as it is then; with --output json also key and version. What regions add at the same time adds up. A row or field that isn't there starts at 0. Exit code 6 if the write is done, but not confirmed by as many regions as the dataset promises: don't repeat it. Where no reply comes, nobody knows whether it is done: the hint names the key to repeat it with, so that it counts once.\n\nExamples:\n  meridian tables increment pages home views\n  meridian tables increment stock tea left -3"
)]
pub struct Increment {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    key: String,
    /// The field of the row's document
    #[arg(value_name = "FIELD")]
    field: String,
    /// How much to add, negative to take away
    #[arg(value_name = "BY", default_value_t = 1, allow_hyphen_values = true)]
    by: i64,
    /// Counts once however often it is sent with this key [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    target: Target,
}

/// What a write is answered that is not confirmed.
#[derive(Deserialize)]
struct Unconfirmed {
    reply: Box<RawValue>,
}

pub fn run(options: &Increment, format: Format) -> CliResult {
    let api = options.target.one()?;
    let path = format!("{}/increment", row_path(&options.table, &options.key));
    let body = json!({ "field": options.field, "by": options.by }).to_string();
    let given = options.idempotency_key.clone();
    let key = given.unwrap_or_else(|| format!("increment-{:032x}", fastrand::u128(..)));
    let once = [("idempotency-key", key.as_str())];
    let reply = promises::write(&api, "POST", &path, &options.seen, &once, body.as_bytes())
        .map_err(|error| repeated_with(&key, error))?;
    let document = document(&reply)?;
    match format {
        Format::Text => output::line(document.get())?,
        Format::Json => {
            let mut row =
                json!({ "key": options.key, "version": reply.version, "document": document });
            tell_session(&mut row, reply.session.clone());
            output::json(&row)?;
        }
    }
    promises::confirmed(&api, &reply)
}

/// What to do where nobody knows what became of it, besides what the error says.
fn repeated_with(key: &str, error: CliError) -> CliError {
    let status = error
        .problem()
        .and_then(|problem| problem.get("status")?.as_u64());
    let is_known = error.exit() != Exit::Unreachable && status.is_none_or(|status| status < 500);
    if is_known {
        return error;
    }
    let repeat = format!(
        "repeat it with --idempotency-key {key} and it counts once, whatever became of this one"
    );
    let hint = match error.hint_text() {
        Some(hint) => format!("{hint}; {repeat}"),
        None => repeat,
    };
    error.hint(hint)
}

fn document(reply: &Reply) -> CliResult<Box<RawValue>> {
    if reply.status == 202 {
        return Ok(reply.read::<Unconfirmed>()?.reply);
    }
    reply.read()
}
