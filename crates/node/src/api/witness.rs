//! What a witness answers to clients: where to go.
//!
//! It holds no tables, so whatever is about rows is misdirected to it, and nothing of it is passed
//! on: a client that found its way here would otherwise go on coming, and be served from afar.

use super::problem::{Kind, Problem};
use super::state::ApiState;
use meridian_model::RegionName;
use meridian_replicate::OwnStanding;
use serde_json::json;
use std::collections::BTreeSet;

/// What routes about rows begin with.
const ABOUT_ROWS: [&str; 6] = [
    "/v1/tables",
    "/v1/transactions",
    "/v1/conflicts",
    "/v1/dead-letters",
    "/v1/datasets",
    "/v1/integrity",
];

/// Why a request for this route can't be answered here, if so.
pub(crate) fn misdirected(state: &ApiState, route: &str) -> Option<Problem> {
    let is_about_rows = ABOUT_ROWS.iter().any(|path| route.starts_with(path));
    (is_about_rows && is_witness(state)).then(|| problem(state))
}

/// Whether this region holds no tables.
pub(crate) fn is_witness(state: &ApiState) -> bool {
    let api = state.api();
    api.known.is_witness(&api.region)
}

fn problem(state: &ApiState) -> Problem {
    let api = state.api();
    let mut regions = members(state);
    regions.retain(|region| !api.known.is_witness(region));
    let named: Vec<_> = regions
        .iter()
        .map(|region| {
            let address = api.known.address(region);
            json!({ "region": region.as_str(), "api": address.map(|address| address.api) })
        })
        .collect();
    let names: Vec<_> = regions.iter().map(RegionName::as_str).collect();
    let detail = format!("region {} is a witness and holds no tables", api.region);
    Problem::new(Kind::Witness, detail)
        .hint(format!("send it to one of {}", names.join(", ")))
        .member("regions", named)
}

/// Who counts here; before that is known, whoever the topology names.
fn members(state: &ApiState) -> BTreeSet<RegionName> {
    let mut found = BTreeSet::new();
    for dataset in state.running() {
        let membership = dataset.membership();
        if !matches!(membership.standing, OwnStanding::Evicted { .. }) {
            let voters = membership.epoch.voters();
            found.extend(voters.map(|(region, _)| region.clone()));
        }
    }
    if found.is_empty() {
        let regions = state.api().topology.regions.iter();
        found.extend(regions.map(|region| region.name.clone()));
    }
    found
}
