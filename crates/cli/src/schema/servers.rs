//! The servers that a migration runs in, each with a session.

use crate::config::load;
use crate::error::{CliError, CliResult, Exit};
use crate::postgres::access::Access;
use crate::system::{DATA_DIR, System};
use meridian_engine_postgres::migrate::{self, MigrateError};
use meridian_engine_postgres::prepare::Plan;
use meridian_engine_postgres::server::{self, ServerConfig, ServerError};
use meridian_topology::{Dataset, Topology};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_postgres::Client;

/// One region's server.
pub struct Server {
    /// The region.
    pub region: String,
    /// What it is prepared for.
    pub plan: Plan,
    /// How it is reached, as whoever runs the migration.
    pub config: ServerConfig,
    /// The session that runs it.
    pub client: Client,
}

/// The topology: the one named, else that of the `up` in the data directory, else `meridian.toml`.
pub fn topology(config: Option<&Path>, data_dir: Option<&Path>) -> CliResult<Topology> {
    let file = match (config, data_dir) {
        (Some(file), _) => file.to_owned(),
        (None, Some(directory)) => System::read(directory)?.topology,
        (None, None) => match System::read(Path::new(DATA_DIR)) {
            Ok(system) => system.topology,
            Err(error) if error.exit() == Exit::Unreachable => {
                let file = PathBuf::from("meridian.toml");
                if !file.exists() {
                    return Err(error.hint(
                        "start one with `meridian up --postgres`, or name it with --data-dir DIR, or \
                         the topology with --config FILE",
                    ));
                }
                file
            }
            Err(error) => return Err(error),
        },
    };
    load(&file)
}

/// The dataset that is meant.
pub fn dataset<'t>(topology: &'t Topology, name: Option<&str>) -> CliResult<&'t Dataset> {
    let on_postgres = || {
        let datasets = topology.datasets.iter();
        datasets.filter(|dataset| dataset.postgres().is_some())
    };
    let names: Vec<&str> = on_postgres().map(|it| it.name.as_str()).collect();
    let names = names.join(", ");
    let mut meant = on_postgres().filter(|it| name.is_none_or(|name| it.name.as_str() == name));
    match (meant.next(), meant.next()) {
        (Some(dataset), None) => Ok(dataset),
        (Some(_), Some(_)) => Err(CliError::usage("several datasets are on PostgreSQL")
            .hint(format!("name one with --dataset: {names}"))),
        (None, _) if names.is_empty() => {
            Err(CliError::usage("the topology has no dataset on PostgreSQL")
                .hint("give a dataset engine = \"postgres\", or run `meridian up --postgres`"))
        }
        (None, _) => Err(CliError::usage(format!(
            "the topology has no dataset {:?} on PostgreSQL",
            name.unwrap_or_default()
        ))
        .hint(format!("it has {names}"))),
    }
}

/// A session in each region's server, in the order of the topology; all of them, or an error.
pub async fn connect(
    topology: &Topology,
    dataset: &Dataset,
    access: &Access,
    lock_timeout: Duration,
) -> CliResult<Vec<Server>> {
    let mut servers = Vec::new();
    for region in &topology.regions {
        let postgres = dataset.postgres();
        let Some(own) = postgres.and_then(|postgres| postgres.servers.get(&region.name)) else {
            continue;
        };
        let name = region.name.to_string();
        let own = ServerConfig::from(own);
        let fault = |error: ServerError| refused(&error, &name, Exit::Usage);
        let plan = Plan::of(dataset, &own, 0).map_err(fault)?;
        let config = access.of(&own).map_err(fault)?;
        let client = server::connect(&config, "schema apply")
            .await
            .map_err(|error| refused(&error, &name, Exit::Unreachable))?;
        migrate::begin_session(&client, lock_timeout)
            .await
            .map_err(|error| failed(&error, &name))?;
        servers.push(Server {
            region: name,
            plan,
            config,
            client,
        });
    }
    Ok(servers)
}

fn refused(error: &ServerError, region: &str, exit: Exit) -> CliError {
    let failed = CliError::new(exit, error.to_string()).at(region);
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}

/// A migration's error, in a region.
pub fn failed(error: &MigrateError, region: &str) -> CliError {
    let failed = CliError::failure(error.to_string()).at(region);
    match error.hint() {
        Some(hint) => failed.hint(hint),
        None => failed,
    }
}
