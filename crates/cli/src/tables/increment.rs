//! `meridian tables increment`: a field grows by an amount, whatever other regions add meanwhile.

use super::promises::{self, Seen};
use super::rows::{row_path, tell_session};
use crate::client::Reply;
use crate::error::CliResult;
use crate::output::{self, Format};
use crate::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// `meridian tables increment`
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the row's document as it is then; with --output json also key and version. What regions add at the same time adds up. A row or field that isn't there starts at 0. Exit code 6 if the write is done, but not confirmed by as many regions as the dataset promises: don't repeat it.\n\nExamples:\n  meridian tables increment pages home views\n  meridian tables increment stock tea left -3"
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
    let reply = promises::write(&api, "POST", &path, &options.seen, &[], body.as_bytes())?;
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

fn document(reply: &Reply) -> CliResult<Box<RawValue>> {
    if reply.status == 202 {
        return Ok(reply.read::<Unconfirmed>()?.reply);
    }
    reply.read()
}
