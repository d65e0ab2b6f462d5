//! `meridian drain`

use super::{Signed, apply, forget, id_of, show_applied, somewhere, stage};
use crate::error::CliResult;
use crate::output::Format;
use crate::target::Target;
use clap::Args;
use serde_json::json;

/// `meridian drain`
#[derive(Debug, Args)]
#[command(
    after_help = "Nobody is sent to a drained region while another one is up; whoever is there already is not cut off. The last healthy region of a route can't be drained. Once a drain is taken back, clients return in steps. With --output json what the region's /v1/shifts says of the change. Exit code 1 if it is not safe, or changes nothing.\n\nExamples:\n  meridian drain eu-west-1 --why \"a disk is changed\"\n  meridian drain eu-west-1 --undo --why \"done\""
)]
pub struct Options {
    /// The region
    #[arg(value_name = "REGION")]
    drained: String,
    /// Why; whoever finds it later reads it
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Take the drain back
    #[arg(long)]
    undo: bool,
    /// For this route only
    #[arg(long, value_name = "ROUTE")]
    name: Option<String>,
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
    let want = if options.undo { "as-usual" } else { "drained" };
    let change = json!({"region": options.drained, "route": options.name, "want": want});
    let staged = stage(&api, &[change], &options.signed.who(), &options.why)?;
    let id = id_of(&staged)?;
    let applied = apply(&api, id, options.force).inspect_err(|_| forget(&api, id))?;
    show_applied(&api, &applied, format)
}
