//! `meridian faults list`

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::everywhere::at_once;
use crate::output::{self, Format, table};
use crate::status::none_answers;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian faults list`
#[derive(Debug, Args)]
#[command(
    after_help = "With --output json a list of {\"region\", \"faults\", \"error\"}, where faults is what the region's /v1/faults says, null where it can't be had.\n\nExample:\n  meridian faults list"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let asked = at_once(options.target.all_at_a_glance()?, |api| {
        let faults = of(&api);
        (api, faults)
    });
    match format {
        Format::Json => {
            let regions: Vec<_> = asked
                .iter()
                .map(|(api, faults)| as_json(api, faults))
                .collect();
            output::json(&regions)?;
        }
        Format::Text => print(&asked)?,
    }
    none_answers(asked.iter().map(|(_, faults)| faults))
}

/// The faults at work in a region.
pub fn of(api: &Api) -> CliResult<Vec<Value>> {
    let mut reply: Value = api.get("/v1/faults")?.json()?;
    match reply["faults"].take() {
        Value::Array(faults) => Ok(faults),
        _ => Err(CliError::failure(format!(
            "{} replied without a list of faults",
            api.place()
        ))),
    }
}

fn as_json(api: &Api, faults: &CliResult<Vec<Value>>) -> Value {
    json!({
        "region": api.name(),
        "faults": faults.as_ref().ok(),
        "error": faults.as_ref().err().map(CliError::message),
    })
}

fn print(asked: &[(Api, CliResult<Vec<Value>>)]) -> CliResult {
    let mut rows = Vec::new();
    for (api, faults) in asked {
        match faults {
            Ok(faults) => rows.extend(faults.iter().map(|fault| row(api, fault))),
            Err(error) => output::talk(error.message()),
        }
    }
    if !rows.is_empty() {
        let head = ["region", "id", "kind", "ends in", "what"];
        output::line(&table(&head, &rows))?;
    } else if asked.iter().any(|(_, faults)| faults.is_ok()) {
        output::talk("no fault is at work");
    }
    Ok(())
}

fn row(api: &Api, fault: &Value) -> Vec<String> {
    let text = |name: &str| fault[name].as_str().unwrap_or("-").to_owned();
    let left = fault["remaining_seconds"].as_f64();
    vec![
        api.name().to_owned(),
        text("id"),
        text("kind"),
        left.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.0} s")),
        text("what"),
    ]
}
