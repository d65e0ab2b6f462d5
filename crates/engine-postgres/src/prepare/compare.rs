//! What several regions' servers must have in common.

use super::finding::Finding;
use super::judge::{Plan, replicable};
use super::sequence::{AS_OWNER, remainder};
use super::survey::Survey;
use crate::catalog::{TableFacts, TableName};
use std::collections::{BTreeMap, BTreeSet};

/// How many differing lines of a table's shape are told.
const LINES_TOLD: usize = 4;

/// How regions' servers stand to each other, by the names of the regions.
#[must_use]
pub fn compare(surveys: &BTreeMap<String, Survey>, plan: &Plan) -> Vec<Finding> {
    if surveys.len() < 2 {
        return Vec::new();
    }
    let mut found = vec![
        told(surveys, "versions", |survey| {
            (survey.version / 10_000).to_string()
        }),
        encodings(surveys),
        told(surveys, "collations", |survey| survey.collation.clone()),
    ];
    found.extend(shapes(surveys, plan));
    found.extend(remainders(surveys));
    found
}

/// The regions by what they have.
fn grouped(
    surveys: &BTreeMap<String, Survey>,
    what: impl Fn(&Survey) -> String,
) -> BTreeMap<String, Vec<&str>> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (region, survey) in surveys {
        groups.entry(what(survey)).or_default().push(region);
    }
    groups
}

fn said(groups: &BTreeMap<String, Vec<&str>>) -> String {
    let parts: Vec<String> = groups
        .iter()
        .map(|(value, regions)| format!("{value} in {}", regions.join(", ")))
        .collect();
    parts.join("; ")
}

/// What may differ, but is good to know: rows are equal or not by their texts' bytes alone.
fn told(
    surveys: &BTreeMap<String, Survey>,
    check: &str,
    what: impl Fn(&Survey) -> String,
) -> Finding {
    Finding::ok(check, "regions", said(&grouped(surveys, what)))
}

fn encodings(surveys: &BTreeMap<String, Survey>) -> Finding {
    let groups = grouped(surveys, |survey| survey.encoding.clone());
    if groups.len() == 1 {
        return Finding::ok("encodings", "regions", said(&groups));
    }
    let reason = format!(
        "{}: a text of one region may have letters that another can't store",
        said(&groups)
    );
    Finding::refused("encodings", "regions", reason)
        .hint("give all databases one encoding, UTF8 at best")
}

/// Regions that have one database together: what one of them writes into it, the other would take for
/// what applications wrote there.
#[must_use]
pub fn shared(surveys: &BTreeMap<String, Survey>) -> Vec<Finding> {
    let mut places: BTreeMap<(i64, u32), Vec<&str>> = BTreeMap::new();
    for (region, survey) in surveys {
        places.entry(survey.place).or_default().push(region);
    }
    let shared = places.into_values().filter(|regions| regions.len() > 1);
    let refused = |regions: Vec<&str>| {
        let database = &surveys[regions[0]].database;
        let regions = regions.join(" and ");
        let reason = format!("{regions} have one database together, {database}");
        Finding::refused("database", "regions", reason).hint(
            "give each region's url a database of its own, of another server at best; where one url \
             leads to another server in each region, run this in each of them with --region",
        )
    };
    shared.map(refused).collect()
}

fn shapes(surveys: &BTreeMap<String, Survey>, plan: &Plan) -> Vec<Finding> {
    let tables: BTreeMap<&str, BTreeMap<&TableName, &TableFacts>> = surveys
        .iter()
        .map(|(region, survey)| {
            let own = replicable(survey, plan)
                .into_iter()
                .map(|facts| (&facts.table.name, facts))
                .collect();
            (region.as_str(), own)
        })
        .collect();
    let names: BTreeSet<&TableName> = tables.values().flat_map(BTreeMap::keys).copied().collect();
    let mut found: Vec<Finding> = names
        .iter()
        .filter_map(|name| shape(name, &tables))
        .collect();
    if found.is_empty() {
        let reason = format!("{} tables have one shape in all regions", names.len());
        found.push(Finding::ok("tables", "regions", reason));
    }
    found
}

/// What is wrong with one table, if anything is.
fn shape(
    name: &TableName,
    tables: &BTreeMap<&str, BTreeMap<&TableName, &TableFacts>>,
) -> Option<Finding> {
    let (with, without): (Vec<_>, Vec<_>) = tables
        .iter()
        .map(|(region, own)| (*region, own.get(name)))
        .partition(|(_, facts)| facts.is_some());
    if !without.is_empty() {
        let regions: Vec<&str> = without.iter().map(|(region, _)| *region).collect();
        let reason = format!(
            "it isn't there, or can't replicate, in {}",
            regions.join(", ")
        );
        return Some(
            Finding::refused("table", name, reason)
                .hint("create it in every region alike, or exclude it"),
        );
    }
    let mut shapes = with
        .iter()
        .filter_map(|(region, facts)| Some((*region, facts.copied()?)));
    let (first, model) = shapes.next()?;
    let (other, differs) = shapes.find(|(_, facts)| facts.fingerprint() != model.fingerprint())?;
    let lines = |facts: &TableFacts| facts.shape().into_iter().collect::<BTreeSet<String>>();
    let (model_lines, other_lines) = (lines(model), lines(differs));
    let only = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
        let mut lines: Vec<String> = these.difference(those).cloned().collect();
        let more = lines.len().saturating_sub(LINES_TOLD);
        lines.truncate(LINES_TOLD);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        if lines.is_empty() {
            "the same in another order".to_owned()
        } else {
            lines.join(", ")
        }
    };
    let reason = format!(
        "it differs: {first} has {}; {other} has {}",
        only(&model_lines, &other_lines),
        only(&other_lines, &model_lines)
    );
    Some(
        Finding::refused("table", name, reason)
            .hint("alter it so that it is the same in every region"),
    )
}

/// Sequences of two regions that give the same values.
fn remainders(surveys: &BTreeMap<String, Survey>) -> Vec<Finding> {
    let mut taken: BTreeMap<(String, i64), Vec<&str>> = BTreeMap::new();
    let mut unseen = BTreeSet::new();
    for (region, survey) in surveys {
        for sequence in survey.catalog.tables().flat_map(|facts| &facts.sequences) {
            if let Some(remainder) = remainder(sequence) {
                let regions = taken
                    .entry((sequence.name.to_string(), remainder))
                    .or_default();
                if sequence.value.is_none() {
                    unseen.insert(sequence.name.to_string());
                }
                // Several columns may take from one sequence.
                if regions.last() != Some(&region.as_str()) {
                    regions.push(region);
                }
            }
        }
    }
    taken
        .into_iter()
        .filter(|(_, regions)| regions.len() > 1)
        .map(|((sequence, remainder), regions)| {
            let reason = format!(
                "{} give the same values, {remainder} modulo {}",
                regions.join(" and "),
                super::SLOTS
            );
            let hint = match unseen.contains(&sequence) {
                true => AS_OWNER.to_owned(),
                false => format!(
                    "in all but one of them: ALTER SEQUENCE {sequence} INCREMENT BY 1, and run this again for all regions"
                ),
            };
            Finding::refused("sequence", &sequence, reason).hint(hint)
        })
        .collect()
}
