//! `meridian dead-letters retry`, `edit` and `drop`

use crate::client::{Api, Reply, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::PathBuf;

/// A dead letter, in a region.
#[derive(Debug, Args)]
#[command(
    after_help = "The decision is a transaction of its own: when this returns it is durable in the region, and the letter disappears from the others as the transaction reaches them. Exit code 1 if the letter isn't there (any more).\n\nExample:\n  meridian dead-letters drop 7234881012-00000000000000fe"
)]
pub struct Letter {
    /// The letter's id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub target: Target,
}

/// `meridian dead-letters edit`
#[derive(Debug, Args)]
#[command(
    after_help = "FILE holds {\"operations\": [...]}, as `meridian dead-letters show` prints it and POST /v1/transactions takes it; - reads stdin. The operations are done on the rows as they are now, and the letter goes, in one transaction.\n\nExample:\n  meridian dead-letters edit 7234881012-00000000000000fe operations.json"
)]
pub struct Edit {
    #[command(flatten)]
    letter: Letter,
    /// The file with the operations
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub fn retry(letter: &Letter, format: Format) -> CliResult {
    let (api, reply) = letter.decide("POST", "/retry", &[])?;
    said(&api, letter, reply, "made anew", format)
}

pub fn edit(edit: &Edit, format: Format) -> CliResult {
    let body = read(&edit.file)?;
    let (api, reply) = edit.letter.decide("POST", "/edit", &body)?;
    said(&api, &edit.letter, reply, "replaced", format)
}

pub fn remove(letter: &Letter, format: Format) -> CliResult {
    let (api, reply) = letter.decide("DELETE", "", &[])?;
    said(&api, letter, reply, "dropped", format)
}

impl Letter {
    fn decide(&self, method: &str, verb: &str, body: &[u8]) -> CliResult<(Api, Reply)> {
        let api = self.target.one()?;
        let path = format!("/v1/dead-letters/{}{verb}", encode(&self.id));
        let reply = api.send(method, &path, body)?.success()?;
        Ok((api, reply))
    }
}

/// Tells what became of the letter; with JSON also the rows that were written.
fn said(api: &Api, letter: &Letter, reply: Reply, what: &str, format: Format) -> CliResult {
    if format == Format::Text {
        output::talk(&format!("dead letter {} is {what}", letter.id));
        return Ok(());
    }
    let rows: Value = match reply.body.is_empty() {
        true => Value::Null,
        false => reply.json()?,
    };
    output::json(&json!({"region": api.name(), "id": letter.id, "transaction": rows}))
}

fn read(file: &PathBuf) -> CliResult<Vec<u8>> {
    let unreadable = |error: std::io::Error| {
        CliError::usage(format!("read the operations in {}", file.display())).because(&error)
    };
    if file.as_os_str() != "-" {
        return fs::read(file).map_err(unreadable);
    }
    let mut text = Vec::new();
    let mut stdin = std::io::stdin().lock();
    stdin.read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}
