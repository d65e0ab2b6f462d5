//! `meridian postgres detach`: lets a region's server go, and leaves nothing behind in it.

use super::access::Access;
use super::standing::{number, standings, until};
use crate::client::{Api, encode};
use crate::config::{load, rendered};
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format};
use crate::system::System;
use crate::target::Target;
use clap::Args;
use meridian_engine_postgres::prepare::{Left, remove};
use meridian_engine_postgres::server::{self, ServerConfig, ServerError};
use meridian_topology::Topology;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The topology that is read where nothing says another.
const TOPOLOGY: &str = "meridian.toml";

/// `meridian postgres detach`
#[derive(Debug, Args)]
#[command(
    after_help = "The region stops capturing and drops the slot, and stays so over restarts until `attach`; then the publication and the schema meridian are dropped in its server, by the role given with --user. Rows stay where they are, here and there. What `prepare` changed in the tables themselves (replica identities, sequences, triggers' conditions) stays too. Exit code 0 if nothing is left, 1 otherwise.\n\nExample:\n  meridian postgres detach --region eu-west-1 --user shop_owner --password-file owner.secret"
)]
pub struct Options {
    /// This dataset only
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// The topology file, which says where the server is [default: that of the running `meridian up`,
    /// or meridian.toml with --api]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    target: Target,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let Some(region) = options.target.region.as_deref() else {
        return Err(CliError::usage("which region is to let its server go?")
            .hint("name it with --region NAME"));
    };
    let file = topology_file(options)?;
    let topology = load(&file)?;
    topology.for_region(region).map_err(rendered)?;
    let api = options.target.one()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failure("start the threads").because(&error))?;
    let mut all = Vec::new();
    for found in standings(&api, options.dataset.as_deref())? {
        let server = server_of((&file, &topology), &found.dataset, region, &options.access)?;
        stop(&api, &found.dataset)?;
        let left = runtime.block_on(async {
            let client = server::connect(&server, "detach")
                .await
                .map_err(|error| refused(&error, region))?;
            remove(&client, &found.dataset)
                .await
                .map_err(|error| refused(&error, region))
        })?;
        all.push((found.dataset, left));
    }
    match format {
        Format::Json => {
            let all = all
                .iter()
                .map(|(dataset, left)| json!({"dataset": dataset, "left": left}));
            output::json(&json!({"region": region, "datasets": all.collect::<Vec<_>>()}))?;
        }
        Format::Text => {
            for (dataset, left) in &all {
                match left.as_slice() {
                    [] => output::line(&format!("{dataset}: detached, nothing is left"))?,
                    left => {
                        output::line(&format!("{dataset}: detached, but these are left:"))?;
                        for Left { what, reason } in left {
                            output::line(&format!("  {what}: {reason}"))?;
                        }
                    }
                }
            }
        }
    }
    if all.iter().any(|(_, left)| !left.is_empty()) {
        return Err(CliError::failure("something is left in the server").hint(
            "run this again as the owner of what is left: --user ROLE --password-file FILE",
        ));
    }
    Ok(())
}

fn stop(api: &Api, dataset: &str) -> CliResult {
    let path = format!("/v1/datasets/{}/postgres/detach", encode(dataset));
    let before: Value = api.send("POST", &path, &[])?.success()?.json()?;
    let mut told = None;
    until(
        api,
        dataset,
        |now| now["state"] == "detached" && now["reason"].is_null(),
        |now| {
            let reason = now["reason"].as_str().map(str::to_owned);
            // Before that it is what was wrong when this was asked for.
            let is_news =
                now["state"] == "detached" || number(now, "tries") > number(&before, "tries");
            if is_news && reason.is_some() && reason != told {
                told = reason;
                output::talk(told.as_deref().unwrap_or_default());
            }
        },
    )
    .map(drop)
}

/// The topology that is named, or that of the system that is asked.
fn topology_file(options: &Options) -> CliResult<PathBuf> {
    match (&options.config, options.target.data_dir()) {
        (Some(file), _) => Ok(file.clone()),
        (None, Some(data_dir)) => Ok(System::read(&data_dir)?.topology),
        (None, None) => Ok(TOPOLOGY.into()),
    }
}

fn server_of(
    (file, topology): (&Path, &Topology),
    dataset: &str,
    region: &str,
    access: &Access,
) -> CliResult<ServerConfig> {
    let found = topology
        .datasets
        .iter()
        .find(|found| found.name.as_str() == dataset);
    let servers = found.and_then(|found| found.postgres());
    let server = servers.and_then(|own| {
        let mut servers = own.servers.iter();
        servers.find(|(name, _)| name.as_str() == region)
    });
    let Some((_, server)) = server else {
        return Err(CliError::usage(format!(
            "{} names no server of dataset {dataset} in {region}",
            file.display()
        ))
        .hint("give the topology that the region runs with: --config FILE"));
    };
    access
        .of(&ServerConfig::from(server))
        .map_err(|error| refused(&error, region))
}

fn refused(error: &ServerError, region: &str) -> CliError {
    let failed = CliError::new(Exit::Failure, error.to_string()).at(region);
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
