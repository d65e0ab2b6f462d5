//! `meridian dead-letters list`

use crate::error::CliResult;
use crate::output::{self, Format, table, thousands};
use crate::pages;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian dead-letters list`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks one region; all that have converged say the same. Newest first. With --output json {\"region\", \"dead_letters\", \"total\", \"waiting\", \"refused_rows\"}, the letters as in the region's /v1/dead-letters.\n\nExample:\n  meridian dead-letters list --limit 20"
)]
pub struct Options {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let found = pages::read(&api, "/v1/dead-letters", "dead_letters", options.limit)?;
    let (total, waiting) = (found.figure("total"), found.figure("waiting"));
    let refused = found.figure("refused_rows");
    if format == Format::Json {
        return output::json(&json!({
            "region": api.name(),
            "dead_letters": found.entries,
            "total": total,
            "waiting": waiting,
            "refused_rows": refused,
        }));
    }
    if !found.entries.is_empty() {
        let rows: Vec<_> = found.entries.iter().map(row).collect();
        let head = ["id", "dataset", "region", "committed at", "rows", "reason"];
        output::line(&table(&head, &rows))?;
    }
    output::talk(&format!(
        "{} shown of {} waiting, {} ever",
        thousands(found.entries.len() as u64),
        thousands(waiting),
        thousands(total)
    ));
    if refused > 0 {
        let rows = thousands(refused);
        output::talk(&format!(
            "{rows} rows that PostgreSQL servers refuse wait too: `meridian postgres parked list`"
        ));
    }
    Ok(())
}

fn row(letter: &Value) -> Vec<String> {
    let text = |name: &str| letter[name].as_str().unwrap_or("-").to_owned();
    vec![
        text("id"),
        text("dataset"),
        text("region"),
        text("committed_at"),
        letter["changes"].to_string(),
        text("reason"),
    ]
}
