//! `meridian tables members`: members of a set, added and removed.

use super::rows::{row_path, written};
use crate::error::{CliError, CliResult};
use crate::output::Format;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian tables members`
#[derive(Debug, Args)]
#[command(
    after_help = "An addition that a removal elsewhere had not seen survives it. A value that is not JSON is a text.\n\nExample:\n  meridian tables members carts 7 --field items --add tea --add 5 --remove milk"
)]
pub struct Members {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    key: String,
    /// The field that is a set
    #[arg(long, value_name = "FIELD")]
    field: String,
    /// A member to add; may be given several times
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    add: Vec<String>,
    /// A member to remove; may be given several times
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    remove: Vec<String>,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Members, format: Format) -> CliResult {
    if options.add.is_empty() && options.remove.is_empty() {
        return Err(
            CliError::usage("there is nothing to add and nothing to remove")
                .hint("give --add VALUE, --remove VALUE or both"),
        );
    }
    let values = |texts: &[String]| texts.iter().map(|text| value(text)).collect::<Vec<_>>();
    let body = json!({
        "field": options.field,
        "add": values(&options.add),
        "remove": values(&options.remove),
    });
    let api = options.target.one()?;
    let path = format!("{}/members", row_path(&options.table, &options.key));
    let reply = api.send("POST", &path, body.to_string().as_bytes())?;
    let reply = reply.success()?;
    written(&api, &options.key, &reply, format)
}

/// What a person means by a member: JSON, or a text without its quotes.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
