//! All judgements on one server.

use super::finding::{Finding, Status};
use super::sequence::{self, Floors};
use super::survey::Survey;
use super::{foreign_key, objects, role, server, table};
use crate::catalog::{Catalog, Selection, TableFacts};

/// What a server is to be prepared for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The dataset's name.
    pub dataset: String,
    /// The role that Meridian connects as at run time.
    pub role: String,
    /// Its tables.
    pub selection: Selection,
    /// The region's place among the regions, from 0 and below [`super::SLOTS`]: which share of each
    /// sequence's values it takes.
    pub place: u16,
}

/// How the server stands to what is planned. `floors` are the values that other regions are known
/// to have given out.
#[must_use]
pub fn findings(survey: &Survey, plan: &Plan, floors: &Floors) -> Vec<Finding> {
    let mut found = server::check(survey, plan);
    found.extend(role::check(survey, plan));
    if survey.catalog.tables().next().is_none() {
        let patterns = plan.selection.include.join(", ");
        found.push(Finding::ok(
            "tables",
            "server",
            format!("no table of this database matches {patterns}: nothing replicates yet"),
        ));
    }
    for facts in survey.catalog.tables() {
        found.extend(table::check(facts, survey, plan));
    }
    let tables = replicable(survey, plan);
    for facts in &tables {
        found.extend(sequence::check(facts, survey, plan, floors));
        let unread = survey.unread_parents.get(&facts.table.name);
        let unread = unread.into_iter().flatten();
        // Those that replicate are granted with the rest.
        let apart = unread.filter(|parent| tables.iter().all(|it| it.table.name != parent.name));
        found.extend(apart.map(|parent| foreign_key::unread(facts, parent, plan)));
    }
    found.extend(objects::check(survey, plan, &tables));
    found
}

/// Why a table can't replicate, if so.
#[must_use]
pub fn refusals(facts: &TableFacts, survey: &Survey, plan: &Plan) -> Vec<Finding> {
    let mut found = table::check(facts, survey, plan);
    found.retain(|finding| finding.status == Status::Refused);
    found
}

/// The tables for which nothing is refused, parents first.
#[must_use]
pub fn replicable<'s>(survey: &'s Survey, plan: &Plan) -> Vec<&'s TableFacts> {
    parents_first(&survey.catalog)
        .filter(|facts| refusals(facts, survey, plan).is_empty())
        .collect()
}

fn parents_first(catalog: &Catalog) -> impl Iterator<Item = &TableFacts> {
    catalog
        .parents_first()
        .into_iter()
        .filter_map(|name| catalog.table(name))
}
