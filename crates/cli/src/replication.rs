//! `meridian replication`: how far each region is behind each other.

use crate::error::CliResult;
use crate::everywhere::Everywhere;
use crate::output::{self, Format, table};
use crate::reading::{PeerReading, Replication, lag_text, remark};
use crate::target::Target;
use clap::Args;
use serde_json::Value;

/// `meridian replication`
#[derive(Debug, Args)]
#[command(
    after_help = "With --output json a list of {\"region\", \"replication\"}, where replication is what the region's /v1/replication says, null if it doesn't answer. Exit code 3 if no region answers.\n\nExample:\n  meridian replication --region eu-west-1"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

const HEAD: [&str; 6] = ["region", "behind", "dataset", "by", "stream", "remark"];

pub fn run(options: &Options, format: Format) -> CliResult {
    let said = Everywhere::ask(&options.target, "/v1/replication")?;
    match format {
        Format::Json => said.json("replication", |_, reply| reply.clone())?,
        Format::Text => output::line(&table(&HEAD, &said.rows(HEAD.len(), rows)))?,
    }
    said.none_answers()
}

fn rows(region: &str, reply: &Value) -> Vec<Vec<String>> {
    let replication: Replication = serde_json::from_value(reply.clone()).unwrap_or_default();
    let row = |peer: &PeerReading| {
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
