//! `meridian faults lift`

use super::list;
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::everywhere::at_once;
use crate::output::{self, Format};
use crate::status::none_answers;
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian faults lift`
#[derive(Debug, Args)]
#[command(
    after_help = "Looks for the fault in every region, or in that of --region. With --output json a list of the lifted, {\"region\", \"id\"}. Exit code 1 if the fault is not at work.\n\nExamples:\n  meridian faults lift 5ad30d1c\n  meridian faults lift --all"
)]
pub struct Options {
    /// The fault's id
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// End all faults of all regions, or of that of --region
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    if options.id.is_none() && !options.all {
        return Err(CliError::usage("which fault is to be lifted?")
            .hint("name it, `meridian faults list` shows those at work, or lift them with --all"));
    }
    let asked = everywhere(&options.target, options.id.as_deref())?;
    let mut lifted = Vec::new();
    for (api, found) in &asked {
        match found {
            Ok(ids) => lifted.extend(ids.iter().map(|id| (api.name(), id))),
            Err(error) => output::talk(error.message()),
        }
    }
    none_answers(asked.iter().map(|(_, found)| found))?;
    if lifted.is_empty()
        && let Some(id) = &options.id
    {
        return Err(
            CliError::failure(format!("no fault {id:?} is at work")).hint(
                "a fault ends by itself at its time; `meridian faults list` shows those at work",
            ),
        );
    }
    match format {
        Format::Json => {
            let lifted = lifted.iter();
            let list: Vec<Value> = lifted
                .map(|(region, id)| json!({"region": region, "id": id}))
                .collect();
            output::json(&list)
        }
        Format::Text => {
            for (region, id) in &lifted {
                output::talk(&format!("{region}: fault {id} is lifted"));
            }
            Ok(())
        }
    }
}

/// Lifts the fault in the regions meant, or all of theirs; which of them were there.
fn everywhere(target: &Target, id: Option<&str>) -> CliResult<Vec<(Api, CliResult<Vec<String>>)>> {
    let asked = at_once(target.all_at_a_glance()?, |api| {
        let found = lift(&api, id);
        (api, found)
    });
    Ok(asked)
}

/// Lifts the fault in this region, or all of them; which of them were there.
fn lift(api: &Api, id: Option<&str>) -> CliResult<Vec<String>> {
    let ids = match id {
        Some(id) => vec![id.to_owned()],
        None => {
            let faults = list::of(api)?;
            let ids = faults.iter().filter_map(|fault| fault["id"].as_str());
            ids.map(str::to_owned).collect()
        }
    };
    let mut lifted = Vec::new();
    for id in ids {
        let reply = api.send("DELETE", &format!("/v1/faults/{}", encode(&id)), &[])?;
        // One that has just ended by itself, or is another region's.
        if reply.status == 404 && reply.problem() == "/problems/fault-not-found" {
            continue;
        }
        reply.success()?;
        lifted.push(id);
    }
    Ok(lifted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_region::regions_asked_at_once;

    #[test]
    fn a_region_that_hangs_keeps_no_other_from_being_asked() {
        let target = Target {
            api: regions_asked_at_once([(); 3].map(|()| json!({}))),
            ..Target::default()
        };
        let asked = everywhere(&target, Some("5ad30d1c")).unwrap();
        assert!(asked.iter().all(|(_, found)| found.is_ok()), "{asked:?}");
    }
}
