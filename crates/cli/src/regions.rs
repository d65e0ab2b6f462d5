//! `meridian regions`: which regions there are and whether they answer.

use crate::client::{Address, Api};
use crate::config::{load, place};
use crate::error::CliResult;
use crate::output::{self, Format, table};
use crate::system::System;
use crate::target::Target;
use clap::Args;
use meridian_topology::Topology;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// `meridian regions`
#[derive(Debug, Args)]
#[command(
    after_help = "Lists the regions of a running `meridian up`, those of a topology file (--config), or those at\ngiven URLs (--api).\n\nExample:\n  meridian regions --output json"
)]
pub struct Options {
    /// List the regions of this topology file; whether they answer is asked at their API addresses
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    api: Option<String>,
    link: Option<String>,
    reachable: bool,
    #[serde(skip)]
    place: String,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let mut lines = match (&options.config, options.target.data_dir()) {
        (Some(config), _) => of_topology(config, &options.target)?,
        (None, Some(data_dir)) => of_topology(&System::read(&data_dir)?.topology, &options.target)?,
        (None, None) => of_urls(&options.target)?,
    };
    if let Some(wanted) = &options.target.region {
        lines.retain(|line| line.name == *wanted);
    }
    match format {
        Format::Json => output::json(&lines),
        Format::Text => {
            let rows: Vec<_> = lines.iter().map(row).collect();
            let head = ["region", "location", "api", "link", "reachable"];
            output::line(&table(&head, &rows))
        }
    }
}

fn row(line: &Line) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let reachable = if line.reachable { "yes" } else { "no" };
    vec![
        line.name.clone(),
        line.place.clone(),
        or_dash(&line.api),
        or_dash(&line.link),
        reachable.to_owned(),
    ]
}

/// The regions of a topology. An API speaks HTTPS unless it listens on loopback.
fn of_topology(file: &Path, target: &Target) -> CliResult<Vec<Line>> {
    let topology = load(file)?;
    let described = topology.regions.iter().map(|region| {
        let api = region.api.as_ref();
        let url = api.map(|api| {
            let scheme = if api.listen.is_loopback() {
                "http"
            } else {
                "https"
            };
            format!("{scheme}://{}", api.address)
        });
        Line {
            name: region.name.to_string(),
            latitude: Some(region.place.location.latitude),
            longitude: Some(region.place.location.longitude),
            reachable: url
                .as_ref()
                .is_some_and(|url| answers(url, region.name.as_str(), &topology, target)),
            api: url,
            link: region.link.as_ref().map(|link| link.address.to_string()),
            place: place(region),
        }
    });
    Ok(described.collect())
}

/// Whether it says that it lives; for that no token is needed.
fn answers(url: &str, region: &str, topology: &Topology, target: &Target) -> bool {
    let authority = target.authority.as_ref();
    let authority = authority.or_else(|| topology.tls.as_ref().map(|tls| &tls.authority));
    let address = Address {
        url: url.to_owned(),
        region: Some(region.to_owned()),
        token: None,
        authority_pem: authority.and_then(|path| std::fs::read_to_string(path).ok()),
    };
    let api = Api::new(address, PATIENCE);
    api.is_ok_and(|api| is_alive(&api))
}

fn is_alive(api: &Api) -> bool {
    api.get("/livez").is_ok_and(|reply| reply.is_success())
}

fn of_urls(target: &Target) -> CliResult<Vec<Line>> {
    let line = |api: &Api| {
        let said: Option<serde_json::Value> = api
            .get("/v1/status")
            .ok()
            .and_then(|reply| reply.json().ok());
        let said = said.as_ref().and_then(|status| status["region"].as_str());
        Line {
            name: said.unwrap_or(api.name()).to_owned(),
            latitude: None,
            longitude: None,
            api: Some(api.url().to_owned()),
            link: None,
            reachable: said.is_some() || is_alive(api),
            place: "-".to_owned(),
        }
    };
    Ok(target.all_at_a_glance()?.iter().map(line).collect())
}
