//! `meridian route explain`

use crate::client::encode;
use crate::error::CliResult;
use crate::output::{self, Format, table};
use crate::shift::percent;
use crate::target::Target;
use clap::Args;
use serde_json::Value;

/// `meridian route explain`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks one region: that of --region, else the first that answers. Regions may see each other otherwise for a moment. The regions that the client is given are marked; the next ones are where it goes once these are worse off. With --output json what the region's /v1/route says.\n\nExamples:\n  meridian route explain --client 203.0.113.7\n  meridian route explain --client 2001:db8::/56 --name app --region eu-west-1"
)]
pub struct Options {
    /// The client's address, or its network
    #[arg(long, value_name = "IP")]
    client: String,
    /// The route; may be left out where there is one
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What the client is recognised by where chance decides [default: its network]
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let mut path = format!("/v1/route?client={}", encode(&options.client));
    for (parameter, value) in [("name", &options.name), ("key", &options.key)] {
        if let Some(value) = value {
            path += &format!("&{parameter}={}", encode(value));
        }
    }
    let reply: Value = options.target.first_that_answers(&path)?.1.json()?;
    if format == Format::Json {
        return output::json(&reply);
    }
    output::line(&summary(&reply))?;
    let regions = reply["regions"].as_array().cloned().unwrap_or_default();
    let left_out = reply["left_out"].as_array().cloned().unwrap_or_default();
    let rows: Vec<_> = regions.iter().chain(&left_out).map(row).collect();
    output::line(&table(&["", "region", "tier", "takes", "why"], &rows))
}

fn summary(reply: &Value) -> String {
    let text = |name: &str| reply[name].as_str();
    let place = [text("country"), text("area")];
    let place: Vec<_> = place.into_iter().flatten().collect();
    let place = if place.is_empty() {
        "nobody knows where".to_owned()
    } else {
        place.join(", ")
    };
    let alone = match reply["quorum"].as_bool() {
        Some(false) => ", which hears no majority",
        _ => "",
    };
    format!(
        "{} for {} ({place}) by {}; asked of {}{alone}; holds for {} bits of the address",
        text("name").unwrap_or("-"),
        text("client").unwrap_or("-"),
        text("policy").unwrap_or("-"),
        text("answered_by").unwrap_or("-"),
        reply["scope_bits"],
    )
}

fn row(region: &Value) -> Vec<String> {
    let text = |name: &str| region[name].as_str().unwrap_or("-").to_owned();
    let mark = if region["given"] == true { "*" } else { "" };
    let share = region["share"].as_f64();
    let share = share.filter(|_| is_up_for_clients(region));
    let share = share.map_or_else(|| "-".to_owned(), percent);
    let tier = region["tier"].as_str().unwrap_or("left out").to_owned();
    vec![mark.to_owned(), text("region"), tier, share, text("reason")]
}

/// Whether clients are sent there at all while another region is up: the share of one that is out is
/// that of its return.
fn is_up_for_clients(region: &Value) -> bool {
    !matches!(region["tier"].as_str(), Some("drained" | "down"))
}
