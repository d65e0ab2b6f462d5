//! `meridian shift list` and `history`

use super::{route_of, said};
use crate::error::CliResult;
use crate::output::{self, Format, table};
use crate::target::Target;
use clap::Args;
use serde_json::Value;

/// `meridian shift list`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the first region that answers, or that of --region. With --output json what its /v1/shifts says.\n\nExample:\n  meridian shift list"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

/// `meridian shift history`
#[derive(Debug, Args)]
#[command(
    after_help = "The newest first. STANDS says of how many lines of a change nothing newer was wanted. The last 200 changes are remembered, and those that stand. With --output json a list, as in the region's /v1/shifts.\n\nExample:\n  meridian shift history --limit 5"
)]
pub struct HistoryOptions {
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let reply: Value = options.target.first_that_answers("/v1/shifts")?.1.json()?;
    if format == Format::Json {
        return output::json(&reply);
    }
    let wishes = list_of(&reply, "wishes");
    if wishes.is_empty() {
        output::talk("nothing special is wanted of any region");
    } else {
        let rows: Vec<_> = wishes.iter().map(wish).collect();
        let head = ["region", "route", "wanted", "since", "who", "why"];
        output::line(&table(&head, &rows))?;
    }
    for wish in &wishes {
        for route in list_of(wish, "ignored_by") {
            let region = wish["region"].as_str().unwrap_or("-");
            let route = route.as_str().unwrap_or("-");
            output::talk(&format!(
                "{region} goes on serving {route}: nothing healthy would be left"
            ));
        }
    }
    for staged in list_of(&reply, "staged") {
        let (id, who, why) = (
            said(&staged, "id"),
            said(&staged, "who"),
            said(&staged, "why"),
        );
        output::talk(&format!("staged and not in effect: {id}, by {who}: {why}"));
    }
    Ok(())
}

fn wish(wish: &Value) -> Vec<String> {
    vec![
        said(wish, "region"),
        route_of(wish),
        said(wish, "want"),
        said(wish, "at"),
        said(wish, "who"),
        said(wish, "why"),
    ]
}

pub fn history(options: &HistoryOptions, format: Format) -> CliResult {
    let reply: Value = options.target.first_that_answers("/v1/shifts")?.1.json()?;
    let mut changes = list_of(&reply, "changes");
    changes.truncate(options.limit);
    if format == Format::Json {
        return output::json(&changes);
    }
    if changes.is_empty() {
        output::talk("nothing was ever changed");
        return Ok(());
    }
    let rows: Vec<_> = changes.iter().map(change).collect();
    let head = ["version", "at", "stands", "what", "who", "why"];
    output::line(&table(&head, &rows))
}

fn change(change: &Value) -> Vec<String> {
    let lines = list_of(change, "differences");
    let what: Vec<_> = lines.iter().map(line).collect();
    let standing = change["standing"].as_u64().unwrap_or_default();
    vec![
        said(change, "version"),
        said(change, "at"),
        format!("{standing} of {}", lines.len()),
        what.join(", "),
        said(change, "who"),
        said(change, "why"),
    ]
}

fn line(line: &Value) -> String {
    let route = match line["route"].as_str() {
        Some(route) => format!("/{route}"),
        None => String::new(),
    };
    let (region, from, to) = (said(line, "region"), said(line, "from"), said(line, "to"));
    format!("{region}{route} {from} -> {to}")
}

fn list_of(of: &Value, name: &str) -> Vec<Value> {
    of[name].as_array().cloned().unwrap_or_default()
}
