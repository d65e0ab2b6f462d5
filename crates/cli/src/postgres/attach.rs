//! `meridian postgres attach`: joins a region and its server, and says which side is right where
//! nothing else tells.

use super::side::Side;
use super::standing::{number, standings, until};
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, thousands};
use crate::target::Target;
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};

/// `meridian postgres attach`
#[derive(Debug, Args)]
#[command(
    after_help = "Compares the server's rows with those of the other regions. What only one side has goes to the other;\nrows of which nothing tells which side is right are listed, and nothing is written, until --take says\nit. A dataset that is attached already is left alone. Exit code 0 once it is attached, 1 if rows\ndiffer or it can't be.\n\nExamples:\n  meridian postgres attach --region eu-west-1\n  meridian postgres attach --region eu-west-1 --take regions"
)]
pub struct Options {
    /// This dataset only
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Which side is right about rows that differ: the server's rows go to all regions, or the other
    /// regions' are written into the server
    #[arg(long, value_name = "SIDE")]
    take: Option<Side>,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let mut all = Vec::new();
    for found in standings(&api, options.dataset.as_deref())? {
        let postgres = attach(&api, &found.dataset, options.take)?;
        all.push((found.dataset, postgres));
    }
    match format {
        Format::Json => {
            let all = all
                .iter()
                .map(|(dataset, postgres)| json!({"dataset": dataset, "postgres": postgres}));
            output::json(&json!({"region": api.name(), "datasets": all.collect::<Vec<_>>()}))?;
        }
        Format::Text => {
            for (dataset, postgres) in &all {
                print(dataset, postgres)?;
            }
        }
    }
    let stuck = all.iter().find(|(_, postgres)| !is_running(postgres));
    stuck.map_or(Ok(()), |(dataset, postgres)| {
        let reason = postgres["reason"].as_str().unwrap_or("it is not attached");
        let failed = CliError::failure(format!("dataset {dataset}: {reason}")).at(api.name());
        Err(match postgres["hint"].as_str() {
            Some(hint) => failed.hint(hint),
            None => failed,
        })
    })
}

fn attach(api: &Api, dataset: &str, take: Option<Side>) -> CliResult<Value> {
    let body = json!({"take": take.map(Side::name)}).to_string();
    let path = format!("/v1/datasets/{}/postgres/attach", encode(dataset));
    let before: Value = api.send("POST", &path, body.as_bytes())?.json()?;
    let tries = number(&before, "tries");
    let is_done = |now: &Value| {
        is_running(now) || (number(now, "tries") > tries && now["state"] != "attaching")
    };
    let bar = ProgressBar::new_spinner();
    let postgres = until(api, dataset, is_done, |now| {
        let rows = thousands(number(now, "rows_compared"));
        bar.set_message(format!("{dataset}: {rows} rows compared"));
        bar.tick();
    });
    bar.finish_and_clear();
    postgres
}

fn is_running(postgres: &Value) -> bool {
    postgres["state"] == "running"
}

fn print(dataset: &str, postgres: &Value) -> CliResult {
    let state = postgres["state"].as_str().unwrap_or("-");
    output::line(&format!("{dataset}: {state}"))?;
    for table in postgres["differing"].as_array().into_iter().flatten() {
        let keys = table["keys"].as_array().into_iter().flatten();
        let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
        let rows = number(table, "rows");
        let more = if rows > keys.len() as u64 {
            ", …"
        } else {
            ""
        };
        output::line(&format!(
            "  {} differs in {} rows: {}{more}",
            table["table"].as_str().unwrap_or_default(),
            thousands(rows),
            keys.join(", ")
        ))?;
    }
    let met = &postgres["met"];
    if is_running(postgres) && met.is_object() {
        if let Some(reason) = met["reason"].as_str() {
            output::line(&format!("  compared, since {reason}"))?;
        }
        output::line(&format!(
            "  {} rows compared, {} taken from the server, {} to be written into it",
            thousands(number(met, "rows_compared")),
            thousands(number(met, "rows_taken")),
            thousands(number(met, "rows_to_write"))
        ))?;
    }
    Ok(())
}
