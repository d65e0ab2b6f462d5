//! `meridian dead-letters list`

use crate::client::{Api, encode};
use crate::error::CliResult;
use crate::output::{self, Format, table, thousands};
use crate::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most that a region gives at once.
const PAGE: u64 = 1000;

/// `meridian dead-letters list`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks one region; all that have converged say the same. Newest first. With --output json\n{\"region\", \"dead_letters\", \"total\", \"waiting\"}, the letters as in the region's /v1/dead-letters.\n\nExample:\n  meridian dead-letters list --limit 20"
)]
pub struct Options {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    #[command(flatten)]
    target: Target,
}

/// What a region says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    dead_letters: Vec<Value>,
    next: Option<String>,
    total: u64,
    waiting: u64,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let found = read(&api, options.limit)?;
    if format == Format::Json {
        return output::json(&json!({
            "region": api.name(),
            "dead_letters": found.dead_letters,
            "total": found.total,
            "waiting": found.waiting,
        }));
    }
    if !found.dead_letters.is_empty() {
        let rows: Vec<_> = found.dead_letters.iter().map(row).collect();
        let head = ["id", "dataset", "region", "committed at", "rows", "reason"];
        output::line(&table(&head, &rows))?;
    }
    output::talk(&format!(
        "{} shown of {} waiting, {} ever",
        thousands(found.dead_letters.len() as u64),
        thousands(found.waiting),
        thousands(found.total)
    ));
    Ok(())
}

/// The newest letters, as many as are wanted.
fn read(api: &Api, limit: u64) -> CliResult<Page> {
    let mut all = Page::default();
    let mut after: Option<String> = None;
    loop {
        let left = limit.saturating_sub(all.dead_letters.len() as u64);
        let mut path = format!("/v1/dead-letters?limit={}", left.clamp(1, PAGE));
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encode(after)));
        }
        let page: Page = api.get(&path)?.json()?;
        (all.total, all.waiting) = (page.total, page.waiting);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        let letters = page.dead_letters.into_iter().take(wanted);
        all.dead_letters.extend(letters);
        after = page.next;
        if after.is_none() || all.dead_letters.len() as u64 >= limit {
            return Ok(all);
        }
    }
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
