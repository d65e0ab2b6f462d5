//! `meridian postgres status`: how each region stands with its server, and with the other regions.

use crate::error::CliResult;
use crate::everywhere::Everywhere;
use crate::output::{self, Format, table};
use crate::reading::{PeerReading, Replication, bytes_text, lag_text};
use crate::target::Target;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `meridian postgres status`
#[derive(Debug, Args)]
#[command(
    after_help = "With --output json a list of {\"region\", \"datasets\": [{\"dataset\", \"postgres\", \"peers\"}]}, where postgres is what the region's /v1/status says of the dataset's server, and peers what its /v1/replication says of the other regions. Exit code 3 if no region answers.\n\nExample:\n  meridian postgres status --data-dir .meridian"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

const HEAD: [&str; 9] = [
    "region", "state", "dataset", "captured", "behind", "WAL held", "to write", "parked", "peers",
];

/// How a region stands with the others, by region.
type Peers = BTreeMap<String, Vec<PeerReading>>;

pub fn run(options: &Options, format: Format) -> CliResult {
    let said = Everywhere::ask(&options.target, "/v1/status")?;
    let peers = peers(&Everywhere::ask(&options.target, "/v1/replication")?);
    match format {
        Format::Json => said.json("datasets", |region, reply| {
            let servers = servers(reply).map(|(dataset, postgres)| {
                let peers: Vec<_> = peers_of(&peers, region, dataset).collect();
                json!({"dataset": dataset, "postgres": postgres, "peers": peers})
            });
            servers.collect()
        })?,
        Format::Text => {
            let rows = said.rows(HEAD.len(), |region, reply| rows(region, reply, &peers));
            output::line(&table(&HEAD, &rows))?;
            for (region, reply) in said.answers() {
                for trouble in servers(reply).flat_map(|(_, postgres)| troubles(postgres)) {
                    output::line(&format!("{region}: {trouble}"))?;
                }
            }
        }
    }
    said.none_answers()
}

fn peers(said: &Everywhere) -> Peers {
    let answers = said.answers().map(|(region, reply)| {
        let read: Replication = serde_json::from_value(reply.clone()).unwrap_or_default();
        (region.to_owned(), read.peers)
    });
    answers.collect()
}

fn peers_of<'a>(
    peers: &'a Peers,
    region: &str,
    dataset: &'a str,
) -> impl Iterator<Item = &'a PeerReading> {
    let peers = peers.get(region).into_iter().flatten();
    peers.filter(move |peer| peer.dataset == dataset)
}

/// The datasets with a server, each with how it stands.
pub fn servers(reply: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let datasets = reply["datasets"].as_array().into_iter().flatten();
    let servers = datasets.filter(|dataset| dataset["postgres"].is_object());
    servers.map(|it| (it["dataset"].as_str().unwrap_or("-"), &it["postgres"]))
}

fn rows(region: &str, reply: &Value, peers: &Peers) -> Vec<Vec<String>> {
    let row = |(dataset, postgres): (&str, &Value)| {
        let said = |name: &str| postgres[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| postgres[name].as_u64().unwrap_or_default();
        let seconds = |name: &str| postgres[name].as_f64().unwrap_or_default();
        let late = |text: String, seconds: f64| match seconds > 0.0 {
            true => format!("{text}, {seconds:.1} s"),
            false => text,
        };
        // Of a server that hasn't been attached to since the region started nothing is known.
        let is_known = postgres["written"]
            .as_str()
            .is_some_and(|at| !at.is_empty());
        let known = |text: String| if is_known { text } else { "-".to_owned() };
        let peers = peers_of(peers, region, dataset);
        let peers = peers.map(|peer| format!("{}: {}", peer.region, lag_text(peer)));
        vec![
            region.to_owned(),
            said("state"),
            dataset.to_owned(),
            known(said("captured")),
            known(late(
                bytes_text(number("lag_bytes")),
                seconds("lag_seconds"),
            )),
            known(bytes_text(number("held_bytes"))),
            known(late(
                format!("{} rows", number("rows_dirty")),
                seconds("write_lag_seconds"),
            )),
            known(match number("rows_refused") {
                0 => format!("{} rows", number("rows_parked")),
                refused => format!("{} rows, {refused} refused", number("rows_parked")),
            }),
            peers.collect::<Vec<_>>().join("; "),
        ]
    };
    servers(reply).map(row).collect()
}

/// What a person should know of a server: why it doesn't run, and what it refuses.
fn troubles(postgres: &Value) -> Vec<String> {
    let text = |name: &str| postgres[name].as_str();
    let mut troubles = Vec::new();
    if let Some(reason) = text("reason") {
        let hint = text("hint").map(|hint| format!("\nhint: {hint}"));
        troubles.push(format!("{reason}{}", hint.unwrap_or_default()));
    }
    let notices = postgres["notices"].as_array().into_iter().flatten();
    troubles.extend(notices.filter_map(|notice| {
        let notice = notice.as_str()?;
        Some(format!("{notice}\nhint: see `meridian postgres prepare`"))
    }));
    if let (Some(first), Some(count)) = (text("refused"), postgres["rows_refused"].as_u64()) {
        troubles.push(format!(
            "the server refuses {count} row{}, which wait while all others go on; the first: \
             {first}\nhint: make its tables like those of the other regions, or see `meridian \
             postgres parked list`",
            if count == 1 { "" } else { "s" }
        ));
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_said_though_all_runs() {
        let postgres = json!({"state": "running", "rows_refused": 1, "refused": "public.t/7: no"});
        let troubles = troubles(&postgres);
        assert_eq!(troubles.len(), 1);
        assert!(
            troubles[0].contains("public.t/7: no\nhint: "),
            "{troubles:?}"
        );
    }

    #[test]
    fn a_row_has_lag_in_bytes_seconds_and_transactions() {
        let reply = json!({"datasets": [{"dataset": "shop", "postgres": {
            "state": "running", "captured": "0/1", "written": "0/2", "lag_bytes": 2048, "lag_seconds": 1.25,
            "held_bytes": 0, "rows_dirty": 3, "write_lag_seconds": 0.0, "rows_parked": 2,
            "rows_refused": 1}}]});
        let peer = PeerReading {
            region: "eu-west-1".to_owned(),
            dataset: "shop".to_owned(),
            lag_seconds: Some(0.5),
            lag_transactions: Some(7),
            ..PeerReading::default()
        };
        let peers = Peers::from([("us-east-1".to_owned(), vec![peer])]);
        let listed = rows("us-east-1", &reply, &peers);
        let expected = [
            "us-east-1",
            "running",
            "shop",
            "0/1",
            "2.0 KiB, 1.2 s",
            "0 B",
            "3 rows",
            "2 rows, 1 refused",
            "eu-west-1: 0.50 s, 7 transactions",
        ];
        assert_eq!(listed, [expected]);
        let unreached = json!({"datasets": [{"dataset": "shop", "postgres": {
            "state": "connecting", "captured": "", "written": "", "lag_bytes": 0,
            "lag_seconds": 0.0, "held_bytes": 0, "rows_dirty": 0, "rows_parked": 0}}]});
        let [row] = &rows("us-east-1", &unreached, &peers)[..] else {
            panic!("one server");
        };
        assert_eq!(row[3..8], ["-"; 5]);
    }
}
