//! `meridian postgres status`: how each region stands with its server.

use crate::error::{CliError, CliResult};
use crate::output::{self, Format, table};
use crate::status::{get, none_answers};
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian postgres status`
#[derive(Debug, Args)]
#[command(
    after_help = "With --output json a list of {\"region\", \"datasets\": [{\"dataset\", \"postgres\"}]}, where postgres is\nwhat the region's /v1/status says of the dataset's server. Exit code 3 if no region answers.\n\nExample:\n  meridian postgres status --data-dir .meridian"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let regions = options.target.all_at_a_glance()?;
    let replies: Vec<CliResult<Value>> = regions.iter().map(|api| get(api, "/v1/status")).collect();
    let named = regions.iter().zip(&replies);
    match format {
        Format::Json => {
            let all = named.map(|(api, reply)| {
                json!({
                    "region": api.name(),
                    "datasets": reply.as_ref().ok().map(|reply| servers(reply).collect::<Vec<_>>()),
                    "error": reply.as_ref().err().map(CliError::message),
                })
            });
            output::json(&all.collect::<Vec<_>>())?;
        }
        Format::Text => {
            let rows = named.flat_map(|(api, reply)| match reply {
                Ok(reply) => rows(api.name(), reply),
                Err(error) => vec![vec![api.name().to_owned(), error.message().to_owned()]],
            });
            let rows: Vec<Vec<String>> = rows.map(filled).collect();
            output::line(&table(&HEAD, &rows))?;
            for (api, reply) in regions.iter().zip(&replies) {
                let servers = reply.iter().flat_map(servers);
                for server in servers.filter(|server| server["postgres"]["reason"].is_string()) {
                    let (reason, hint) =
                        (&server["postgres"]["reason"], &server["postgres"]["hint"]);
                    let hint = hint.as_str().map(|hint| format!("\nhint: {hint}"));
                    output::line(&format!(
                        "{}: {}{}",
                        api.name(),
                        reason.as_str().unwrap_or_default(),
                        hint.unwrap_or_default()
                    ))?;
                }
            }
        }
    }
    none_answers(replies.iter())
}

const HEAD: [&str; 8] = [
    "region", "state", "dataset", "captured", "behind", "WAL held", "to write", "parked",
];

fn servers(reply: &Value) -> impl Iterator<Item = Value> {
    let datasets = reply["datasets"].as_array();
    let datasets = datasets.into_iter().flatten();
    let servers = datasets.filter(|dataset| dataset["postgres"].is_object());
    servers.map(|dataset| json!({"dataset": dataset["dataset"], "postgres": dataset["postgres"]}))
}

fn rows(region: &str, reply: &Value) -> Vec<Vec<String>> {
    let row = |server: Value| {
        let postgres = &server["postgres"];
        let said = |name: &str| postgres[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| postgres[name].as_u64().unwrap_or_default();
        vec![
            region.to_owned(),
            said("state"),
            server["dataset"].as_str().unwrap_or("-").to_owned(),
            said("captured"),
            format!("{} bytes", number("lag_bytes")),
            format!("{} bytes", number("held_bytes")),
            format!("{} rows", number("rows_dirty")),
            format!("{} rows", number("rows_parked")),
        ]
    };
    servers(reply).map(row).collect()
}

fn filled(mut row: Vec<String>) -> Vec<String> {
    row.resize(HEAD.len(), String::new());
    row
}
