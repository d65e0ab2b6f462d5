//! `meridian config check`: a topology looked over, all its errors at once.

use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format, table};
use clap::{Args, Subcommand};
use meridian_topology::{Dataset, Endpoint, Region, Topology, format_size};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// `meridian config`
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  meridian config check meridian.toml")]
pub enum Verb {
    /// Say what a topology file means, or everything that is wrong with it
    Check(Check),
}

/// `meridian config check`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  meridian config check meridian.toml")]
pub struct Check {
    /// The topology file
    #[arg(default_value = "meridian.toml", value_name = "FILE")]
    file: PathBuf,
}

pub fn run(verb: &Verb, format: Format) -> CliResult {
    let Verb::Check(check) = verb;
    let topology = load(&check.file)?;
    topology.check_files(None).map_err(rendered)?;
    match format {
        Format::Json => output::json(&as_json(&topology)),
        Format::Text => {
            output::line(&regions_table(&topology))?;
            output::line("")?;
            output::line(&datasets_table(&topology))?;
            output::line("")?;
            output::line(&format!("{} is good", check.file.display()))?;
            if topology.tls.is_none() && topology.regions.len() > 1 {
                output::talk(
                    "note: `meridian up` makes its own certificates; `meridian serve` needs [tls], \
                     see `meridian certs`",
                );
            }
            Ok(())
        }
    }
}

/// Reads a topology; its errors are errors of configuration.
pub fn load(file: &Path) -> CliResult<Topology> {
    meridian_topology::load(file).map_err(rendered)
}

/// An error of the topology, which renders itself.
pub fn rendered(error: impl std::error::Error) -> CliError {
    CliError::rendered(Exit::Usage, error.to_string())
}

/// A region's place in degrees.
pub fn place(region: &Region) -> String {
    let at = region.place.location;
    format!("{:.2}, {:.2}", at.latitude, at.longitude)
}

fn address(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(|| "-".to_owned(), |endpoint| endpoint.address.to_string())
}

fn regions_table(topology: &Topology) -> String {
    let rows: Vec<_> = topology
        .regions
        .iter()
        .map(|region| {
            vec![
                region.name.to_string(),
                place(region),
                address(region.api.as_ref()),
                address(region.link.as_ref()),
            ]
        })
        .collect();
    table(&["region", "location", "api", "link"], &rows)
}

fn datasets_table(topology: &Topology) -> String {
    let rows: Vec<_> = topology
        .datasets
        .iter()
        .map(|dataset| {
            let tables = dataset.tables.as_ref().map_or_else(
                || "all others".to_owned(),
                |tables| {
                    let names: Vec<_> = tables.iter().map(ToString::to_string).collect();
                    names.join(" ")
                },
            );
            vec![
                dataset.name.to_string(),
                dataset.engine.name().to_owned(),
                strategies(dataset),
                format_size(dataset.limits.log_bytes_max),
                tables,
            ]
        })
        .collect();
    table(
        &["dataset", "engine", "strategy", "log at most", "tables"],
        &rows,
    )
}

/// The dataset's strategy, and those of tables that have another.
fn strategies(dataset: &Dataset) -> String {
    let of_table = |(table, strategy)| format!(", {table}: {strategy}");
    let others: String = other_strategies(dataset).map(of_table).collect();
    format!("{}{others}", dataset.strategy.name())
}

fn other_strategies(dataset: &Dataset) -> impl Iterator<Item = (&str, &'static str)> {
    let rules = dataset.table_rules.iter();
    rules
        .filter(|(_, rules)| rules.strategy != dataset.strategy)
        .map(|(table, rules)| (table.as_str(), rules.strategy.name()))
}

fn as_json(topology: &Topology) -> Value {
    let regions: Vec<_> = topology
        .regions
        .iter()
        .map(|region| {
            json!({
                "name": region.name.as_str(),
                "latitude": region.place.location.latitude,
                "longitude": region.place.location.longitude,
                "api": region.api.as_ref().map(|at| at.address.to_string()),
                "link": region.link.as_ref().map(|at| at.address.to_string()),
            })
        })
        .collect();
    let datasets: Vec<_> = topology
        .datasets
        .iter()
        .map(|dataset| {
            let tables = dataset.tables.as_ref();
            json!({
                "name": dataset.name.as_str(),
                "engine": dataset.engine.name(),
                "strategy": dataset.strategy.name(),
                "table_strategies": other_strategies(dataset).collect::<BTreeMap<_, _>>(),
                "log_bytes_max": dataset.limits.log_bytes_max,
                "tables": tables.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>()),
            })
        })
        .collect();
    json!({ "zone": topology.zone, "regions": regions, "datasets": datasets, "tls": topology.tls.is_some() })
}
