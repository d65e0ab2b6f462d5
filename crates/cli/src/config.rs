//! `meridian config check`: a topology looked over, all its errors at once.

use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format, table};
use clap::{Args, Subcommand};
use meridian_health::PerService;
use meridian_topology::{Dataset, Endpoint, GLOBAL, Policy, Region, To, Topology, format_size};
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
    check_zone(&topology)?;
    match format {
        Format::Json => output::json(&as_json(&topology)),
        Format::Text => {
            output::line(&regions_table(&topology))?;
            output::line("")?;
            output::line(&datasets_table(&topology))?;
            output::line("")?;
            output::line(&routes_table(&topology))?;
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

/// Looks over the zone that the topology describes.
pub fn check_zone(topology: &Topology) -> CliResult {
    meridian_node::dns::check_zone_records(topology).map_err(rendered)
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
                name(region),
                place(region),
                address(region.api.as_ref()),
                address(region.link.as_ref()),
            ]
        })
        .collect();
    table(&["region", "location", "api", "link"], &rows)
}

/// A region's name, and what is special about it.
fn name(region: &Region) -> String {
    match region.witness {
        true => format!("{} (witness)", region.name),
        false => region.name.to_string(),
    }
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

fn routes_table(topology: &Topology) -> String {
    let rows = topology.routes.iter().map(|route| {
        let regions = route.policy.regions();
        let regions: Vec<_> = regions.iter().map(ToString::to_string).collect();
        vec![
            format!("{}.{GLOBAL}.{}", route.name, topology.zone),
            policy(&route.policy),
            match regions.is_empty() {
                true => "all".to_owned(),
                false => regions.join(" "),
            },
            services(&route.needs.required).join(" "),
        ]
    });
    table(
        &["name", "policy", "regions", "needs"],
        &rows.collect::<Vec<_>>(),
    )
}

/// A policy's name, and those of policies within it.
fn policy(policy: &Policy) -> String {
    let nested = policy.choices.iter().filter_map(|choice| match &choice.to {
        To::Region(_) => None,
        To::Policy(nested) => Some(self::policy(nested)),
    });
    let mut nested: Vec<_> = nested.collect();
    nested.dedup();
    match nested.is_empty() {
        true => policy.by.as_str().to_owned(),
        false => format!("{} of {}", policy.by.as_str(), nested.join(", ")),
    }
}

fn services(named: &PerService<bool>) -> Vec<&'static str> {
    let named = named.iter().filter(|(_, is_in)| **is_in);
    named.map(|(service, _)| service.as_str()).collect()
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
                "witness": region.witness,
                "addresses": region.addresses,
                "dns": region.dns.as_ref().map(|at| at.address.to_string()),
                "capacity": region.capacity,
                "probes": region.services.iter().map(|(service, probe)| {
                    (service.as_str(), json!({
                        "probe": probe.kind.as_str(),
                        "endpoint": probe.kind.endpoint(),
                        "by": probe.by.as_str(),
                    }))
                }).collect::<BTreeMap<_, _>>(),
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
    let routes = topology.routes.iter().map(|route| {
        json!({
            "name": route.name,
            "policy": policy(&route.policy),
            "regions": route.policy.regions(),
            "needs": services(&route.needs.required),
            "useful": services(&route.needs.useful),
        })
    });
    json!({
        "zone": topology.zone,
        "regions": regions,
        "datasets": datasets,
        "tls": topology.tls.is_some(),
        "health": {
            "preset": topology.health.preset.as_str(),
            "maintenance_windows": topology.health.maintenance.len(),
        },
        "routes": routes.collect::<Vec<_>>(),
        "dns": {
            "static_records": topology.dns.records.len(),
            "signed": topology.dns.dnssec_key_file.is_some(),
        },
    })
}
