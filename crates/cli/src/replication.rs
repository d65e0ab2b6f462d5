//! `meridian replication`: how far each region is behind each other.

use crate::error::{CliError, CliResult};
use crate::output::{self, Format, table};
use crate::reading::{Replication, lag_text, remark};
use crate::status::{get, none_answers};
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};

/// `meridian replication`
#[derive(Debug, Args)]
#[command(
    after_help = "With --output json a list of {\"region\", \"replication\"}, where replication is what the region's\n/v1/replication says, null if it doesn't answer. Exit code 3 if no region answers.\n\nExample:\n  meridian replication --region eu-west-1"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let regions = options.target.all_at_a_glance()?;
    let replies: Vec<CliResult<Value>> = regions
        .iter()
        .map(|api| get(api, "/v1/replication"))
        .collect();
    let named = regions.iter().zip(&replies);
    match format {
        Format::Json => {
            let all = named.map(|(api, reply)| {
                json!({
                    "region": api.name(),
                    "replication": reply.as_ref().ok(),
                    "error": reply.as_ref().err().map(CliError::message),
                })
            });
            output::json(&all.collect::<Vec<_>>())?;
        }
        Format::Text => {
            let rows = named.flat_map(|(api, reply)| rows(api.name(), reply));
            let head = ["region", "behind", "dataset", "by", "stream", "remark"];
            output::line(&table(&head, &rows.collect::<Vec<_>>()))?;
        }
    }
    none_answers(replies.iter())
}

fn rows(region: &str, reply: &CliResult<Value>) -> Vec<Vec<String>> {
    let replication = match reply {
        Ok(reply) => serde_json::from_value::<Replication>(reply.clone()).unwrap_or_default(),
        Err(error) => {
            let blank = String::new;
            let said = error.message().to_owned();
            let state = "no answer".to_owned();
            return vec![vec![
                region.to_owned(),
                blank(),
                blank(),
                blank(),
                state,
                said,
            ]];
        }
    };
    let row = |peer: &crate::reading::PeerReading| {
        vec![
            region.to_owned(),
            peer.region.clone(),
            peer.dataset.clone(),
            lag_text(peer),
            peer.state.clone(),
            remark(peer),
        ]
    };
    replication.peers.iter().map(row).collect()
}
