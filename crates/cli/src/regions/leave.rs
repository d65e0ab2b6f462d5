//! `meridian regions remove` and `evict`.

use super::follow::{Change, Joiner, WATCH, Waiting, counts_nowhere};
use super::reading::to_be_asked;
use super::wish::Wish;
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::output::Format;
use crate::target::Target;
use clap::Args;
use serde_json::json;
use std::path::Path;

/// `meridian regions remove`
#[derive(Debug, Args)]
#[command(
    after_help = "The region takes no more writes of clients and goes once every other region has what it holds, so nothing is lost; it has to be reachable. So have the others: while one of them is away it is refused. One that is gone for good is evicted instead.\n\nExample:\n  meridian regions remove eu-central-1"
)]
pub struct Remove {
    /// The region's name
    name: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    target: Target,
}

/// `meridian regions evict`
#[derive(Debug, Args)]
#[command(
    after_help = "For a region that is gone, or away for too long: the others wait for it no more. A majority of the regions decides. What it alone held is not lost: it is set aside when it returns (`meridian regions rejoin`). With --operator-decides you decide in place of a majority that can't be had, as with two regions of which one is gone: make sure first that the evicted region takes no writes.\n\nExample:\n  meridian regions evict eu-central-1"
)]
pub struct Evict {
    /// The region's name
    name: String,
    /// Decide this yourself, where no majority of the regions can be reached
    #[arg(long)]
    operator_decides: bool,
    /// You have made sure that the region takes no writes
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    target: Target,
}

pub fn remove(options: &Remove, format: Format) -> CliResult {
    let asked = other_than(&options.name, &options.target)?;
    Wish::delete(path(&options.name)).send(&asked, &options.waiting)?;
    let change = Change {
        done: format!("region {} has left", options.name),
        region: &options.name,
        asked: &asked,
        joiner: Joiner::None,
        meanwhile: WATCH.to_owned(),
        next: after_removal(&options.name, options.target.data_dir().as_deref()),
    };
    change.follow(&options.waiting, counts_nowhere, format)
}

pub fn evict(options: &Evict, format: Format) -> CliResult {
    if options.operator_decides && !options.yes {
        let name = &options.name;
        return Err(CliError::usage(format!(
            "--operator-decides takes your word for it that {name} takes no writes"
        ))
        .hint("make sure of that first, then say so with --yes"));
    }
    let asked = other_than(&options.name, &options.target)?;
    let decided_by = if options.operator_decides {
        "operator"
    } else {
        "majority"
    };
    let body = json!({ "decided_by": decided_by, "confirm": options.name });
    Wish::post(format!("{}/evict", path(&options.name)), &body).send(&asked, &options.waiting)?;
    let change = Change {
        done: format!("region {} is evicted", options.name),
        region: &options.name,
        asked: &asked,
        joiner: Joiner::None,
        meanwhile: WATCH.to_owned(),
        next: format!("when it is back: meridian regions rejoin {}", options.name),
    };
    change.follow(&options.waiting, counts_nowhere, format)
}

/// What is left to do once a region has left; `up` does it for the regions of its data directory.
fn after_removal(name: &str, data_dir: Option<&Path>) -> String {
    match data_dir {
        Some(data_dir) => format!(
            "nothing; `meridian up` stops its process, and its data stays in {}",
            data_dir.join(name).display()
        ),
        None => format!(
            "`meridian postgres detach --region {name}` where it has a PostgreSQL server, which keeps WAL \
             for its slot; then stop its process, and take it out of the topology files"
        ),
    }
}

fn path(name: &str) -> String {
    format!("/v1/regions/{}", encode(name))
}

/// A region to ask that isn't the one that goes, and that answers.
fn other_than(name: &str, target: &Target) -> CliResult<Api> {
    let asked = to_be_asked(target, name)?;
    let is_named = target.region.is_some() || !target.api.is_empty();
    if !is_named && asked.name() == name {
        return Err(CliError::usage(format!(
            "region {name} is the only one that `meridian up` runs"
        ))
        .hint("the last region can't go"));
    }
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_up_does_by_itself_nobody_is_asked_for() {
        let by_hand = after_removal("eu-west-1", None);
        assert!(by_hand.contains("stop its process"), "{by_hand}");
        let under_up = after_removal("eu-west-1", Some(Path::new(".meridian")));
        assert!(!under_up.contains("topology"), "{under_up}");
        assert!(under_up.contains(".meridian/eu-west-1"), "{under_up}");
    }
}
