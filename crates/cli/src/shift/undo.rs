//! `meridian shift undo`

use super::{Signed, show_applied, somewhere};
use crate::client::encode;
use crate::error::CliResult;
use crate::output::Format;
use crate::target::Target;
use clap::Args;
use serde_json::json;

/// `meridian shift undo`
#[derive(Debug, Args)]
#[command(
    after_help = "What somebody has changed since stays as it is. An undo is a change of its own, and can be undone. With --output json what the region says of it.\n\nExample:\n  meridian shift undo 7234881012-00000000000000fe"
)]
pub struct Options {
    /// The change's version, as `meridian shift history` shows it
    #[arg(value_name = "VERSION")]
    version: String,
    /// Why [default: undo VERSION]
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    signed: Signed,
    /// Even if more of the capacity in use is left at once than is allowed otherwise
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = somewhere(&options.target)?;
    let path = format!("/v1/shifts/{}/undo", encode(&options.version));
    let body = json!({"who": options.signed.who(), "why": options.why, "force": options.force});
    let applied = api
        .send("POST", &path, body.to_string().as_bytes())?
        .json()?;
    show_applied(&api, &applied, format)
}
