//! What is asked about drains and shifts, read with care.

use super::problem::{Kind, Problem};
use super::route::unknown_route;
use meridian_model::RegionName;
use meridian_steer::{Published, Subject, Want};
use meridian_topology::did_you_mean;
use serde::Deserialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

const WHO_CHARACTERS_MAX: usize = 100;
const WHY_CHARACTERS_MAX: usize = 500;

/// Drains and shifts that are to be staged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageRequest {
    /// What is wanted; each region and route at most once.
    pub(super) changes: Vec<ChangeRequest>,
    /// Who wants it.
    pub(super) who: String,
    /// Why.
    pub(super) why: String,
}

/// What is wanted of a region.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRequest {
    /// The region.
    region: String,
    /// For which route; for all of them if it is left out.
    route: Option<String>,
    /// `as-usual`, `drained`, or the share of its clients that it is to take, from `0%` to `100%`.
    want: String,
}

/// How a stage is put into effect.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplyRequest {
    /// Even if more of the capacity in use is left at once than is allowed otherwise.
    #[serde(default)]
    pub(super) force: bool,
}

/// How a change is taken back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoRequest {
    /// Who takes it back.
    pub(super) who: String,
    /// Why; `undo VERSION` if it is left out.
    pub(super) why: Option<String>,
    /// Even if more of the capacity in use is left at once than is allowed otherwise.
    #[serde(default)]
    pub(super) force: bool,
}

/// The changes, of regions and routes that there are.
pub(super) fn wants(
    asked: &StageRequest,
    published: &Published,
) -> Result<Vec<(Subject, Want)>, Problem> {
    if asked.changes.is_empty() {
        return Err(bad(
            "the request names no change",
            "changes has one entry for each region",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut wants = Vec::new();
    for change in &asked.changes {
        let subject = Subject {
            region: region(&change.region, published)?,
            route: route(change.route.as_deref(), published)?,
        };
        let want = change.want.parse::<Want>().map_err(|error| {
            bad(
                format!(
                    "{:?} is nothing that can be wanted of a region",
                    change.want
                ),
                error.to_string(),
            )
        })?;
        if !seen.insert(subject.clone()) {
            let detail = format!("{} is there more than once", subject.key());
            return Err(bad(
                detail,
                "each region and route may change once in a stage",
            ));
        }
        wants.push((subject, want));
    }
    Ok(wants)
}

fn region(name: &str, published: &Published) -> Result<RegionName, Problem> {
    let regions = &published.picture.regions;
    let names: Vec<_> = regions.iter().map(|region| region.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(RegionName::new(name));
    }
    Err(bad(
        format!("there is no region {name:?} in the topology"),
        did_you_mean(name, "regions", names),
    ))
}

fn route(name: Option<&str>, published: &Published) -> Result<Option<String>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let routes = published.routes.iter();
    let names: Vec<_> = routes.map(|it| it.route.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(Some(name.to_owned()));
    }
    Err(unknown_route(name, &names))
}

/// Who and why, both of them said.
pub(super) fn signed<'a>(who: &'a str, why: &'a str) -> Result<(&'a str, &'a str), Problem> {
    let said = |name: &str, text: &'a str, characters_max: usize| {
        let text = text.trim();
        let characters = text.chars().count();
        let is_line = !text.chars().any(char::is_control);
        if is_line && (1..=characters_max).contains(&characters) {
            return Ok(text);
        }
        Err(bad(
            format!("{name} is a line of 1 to {characters_max} characters"),
            "whoever finds the change later reads who wanted it and why",
        ))
    };
    Ok((
        said("who", who, WHO_CHARACTERS_MAX)?,
        said("why", why, WHY_CHARACTERS_MAX)?,
    ))
}

fn bad(detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(Kind::BadShift, detail).hint(hint)
}
