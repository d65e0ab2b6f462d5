//! How a region's datasets stand with their servers, asked until something has come of it.

use crate::client::Api;
use crate::error::{CliError, CliResult};
use crate::status::get;
use serde_json::Value;
use std::thread;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);

/// A dataset on PostgreSQL, and how it stands with the region's server.
pub(super) struct Standing {
    pub(super) dataset: String,
    pub(super) postgres: Value,
}

/// The region's datasets on PostgreSQL: the one of this name, or all.
pub(super) fn standings(api: &Api, dataset: Option<&str>) -> CliResult<Vec<Standing>> {
    let reply = get(api, "/v1/status")?;
    let datasets = reply["datasets"].as_array().into_iter().flatten();
    let found = datasets.filter(|found| found["postgres"].is_object());
    let found = found.map(|found| Standing {
        dataset: found["dataset"].as_str().unwrap_or_default().to_owned(),
        postgres: found["postgres"].clone(),
    });
    let all: Vec<Standing> = found
        .filter(|found| dataset.is_none_or(|wanted| wanted == found.dataset))
        .collect();
    if all.is_empty() {
        let what = dataset.map_or_else(
            || "no dataset on PostgreSQL runs there".to_owned(),
            |name| format!("no dataset {name:?} on PostgreSQL runs there"),
        );
        return Err(CliError::failure(what)
            .at(api.name())
            .hint("`meridian postgres status` lists them"));
    }
    Ok(all)
}

/// Waits until a dataset stands so; each look is told to `progress`.
pub(super) fn until(
    api: &Api,
    dataset: &str,
    is_so: impl Fn(&Value) -> bool,
    mut progress: impl FnMut(&Value),
) -> CliResult<Value> {
    loop {
        let found = standings(api, Some(dataset))?;
        let postgres = found.into_iter().next().map(|found| found.postgres);
        let postgres = postgres.unwrap_or_default();
        progress(&postgres);
        if is_so(&postgres) {
            return Ok(postgres);
        }
        thread::sleep(POLL);
    }
}

/// A number of a status.
pub(super) fn number(postgres: &Value, name: &str) -> u64 {
    postgres[name].as_u64().unwrap_or_default()
}
