//! `meridian dead-letters show`

use super::decide::Letter;
use crate::client::encode;
use crate::error::CliResult;
use crate::output::{self, Format};
use clap::Args;
use serde_json::{Value, json};

/// `meridian dead-letters show`
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the operations that it would do, as `edit` takes them, and says on stderr why they can't be done. With --output json all that the region knows of it. Exit code 1 if it isn't there (any more).\n\nExample:\n  meridian dead-letters show 7234881012-00000000000000fe > operations.json"
)]
pub struct Options {
    #[command(flatten)]
    letter: Letter,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.letter.target.one()?;
    let path = format!("/v1/dead-letters/{}", encode(&options.letter.id));
    let letter: Value = api.get(&path)?.json()?;
    if format == Format::Json {
        return output::json(&letter);
    }
    output::json(&json!({"operations": letter["operations"]}))?;
    let text = |name: &str| letter[name].as_str().unwrap_or("-");
    output::talk(&format!(
        "committed in {} at {}: {}",
        text("region"),
        text("committed_at"),
        text("reason")
    ));
    Ok(())
}
