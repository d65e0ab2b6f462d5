//! `meridian conflicts`: conflicting writes and how they were decided.

use crate::client::{Api, encode};
use crate::error::CliResult;
use crate::output::{self, Format, table, thousands};
use crate::target::Target;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most that a region gives at once.
const PAGE: u64 = 1000;

/// `meridian conflicts`
#[derive(Debug, Args)]
#[command(
    after_help = "A conflict is two writes to a row of which neither had seen the other. Each region records what it\nresolved, newest first; this asks one region. With --output json the records are those of the\nregion's /v1/conflicts.\n\nExample:\n  meridian conflicts --limit 20"
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
    conflicts: Vec<Value>,
    next: Option<String>,
    total: u64,
    kept: u64,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let found = read(&api, options.limit)?;
    if format == Format::Json {
        return output::json(&json!({
            "region": api.name(),
            "conflicts": found.conflicts,
            "total": found.total,
            "kept": found.kept,
        }));
    }
    if !found.conflicts.is_empty() {
        let rows: Vec<_> = found.conflicts.iter().map(row).collect();
        let head = ["resolved at", "row", "type", "strategy", "winner", "loser"];
        output::line(&table(&head, &rows))?;
    }
    output::talk(&format!(
        "{} shown of {} kept, {} ever",
        thousands(found.conflicts.len() as u64),
        thousands(found.kept),
        thousands(found.total)
    ));
    Ok(())
}

/// The newest conflicts, as many as are wanted.
fn read(api: &Api, limit: u64) -> CliResult<Page> {
    let mut all = Page::default();
    let mut after: Option<String> = None;
    loop {
        let left = limit.saturating_sub(all.conflicts.len() as u64);
        let mut path = format!("/v1/conflicts?limit={}", left.clamp(1, PAGE));
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encode(after)));
        }
        let page: Page = api.get(&path)?.json()?;
        (all.total, all.kept) = (page.total, page.kept);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX);
        all.conflicts
            .extend(page.conflicts.into_iter().take(wanted));
        after = page.next;
        if after.is_none() || all.conflicts.len() as u64 >= limit {
            return Ok(all);
        }
    }
}

fn row(conflict: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let resolved = &conflict["resolvedEvent"];
    let events = conflict["conflictingEvents"].as_array();
    let events = events.map_or(&[][..], Vec::as_slice);
    let side = |is_winner: bool| {
        let event = events
            .iter()
            .find(|event| (event["eventId"] == *resolved) == is_winner);
        event.map_or_else(|| "-".to_owned(), |event| text(&event["eventId"]))
    };
    vec![
        text(&conflict["resolvedAt"]),
        text(&conflict["aggregateId"]),
        text(&conflict["conflictType"]),
        text(&conflict["resolutionStrategy"]),
        side(true),
        side(false),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winner_is_the_resolved_event() {
        let conflict = json!({
            "conflictType": "WriteConflict",
            "aggregateId": "orders/1",
            "conflictingEvents": [{"eventId": "1@a"}, {"eventId": "2@b"}],
            "resolutionStrategy": "LastWriterWins",
            "resolvedEvent": "2@b",
            "resolvedAt": "2026-01-01T00:00:00Z",
        });
        assert_eq!(
            row(&conflict)[1..],
            ["orders/1", "WriteConflict", "LastWriterWins", "2@b", "1@a"]
        );
    }
}
