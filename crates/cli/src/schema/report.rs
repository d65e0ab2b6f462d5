//! What a migration does and did, for people and for programs.

use super::plan::{Judgements, Migration, is_of_rows};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use meridian_engine_postgres::migrate::Nature;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Prints the steps: what each changes, and where it was and is done. `had` is what regions had
/// before.
pub fn print(
    migration: &Migration<'_>,
    judgements: &Judgements,
    had: &[(String, Vec<usize>)],
    format: Format,
    dataset: &str,
) -> CliResult {
    let steps = 0..migration.script.steps.len();
    match format {
        Format::Json => {
            let steps = steps.map(|step| as_json(step, migration, judgements, had));
            output::json(&json!({
                "migration": migration.name,
                "dataset": dataset,
                "checksum": migration.script.checksum,
                "steps": steps.collect::<Vec<_>>(),
            }))
        }
        Format::Text => {
            output::line(&format!("{} in dataset {dataset}", migration.name))?;
            for step in steps {
                for line in lines(step, migration, judgements, had) {
                    output::line(&line)?;
                }
            }
            Ok(())
        }
    }
}

/// Why it can't be run, all reasons at once.
pub fn refusal(migration: &Migration<'_>, judgements: &Judgements) -> Option<CliError> {
    let mut reasons = Vec::new();
    let mut hint = None;
    for (step, judgement) in judgements {
        for refused in &judgement.refusals {
            reasons.push(format!(
                "step {}, {}: {}",
                step + 1,
                refused.table,
                refused.reason
            ));
            hint = hint.or_else(|| Some(refused.hint.clone()));
        }
    }
    let hint = hint?;
    let begun = migration.has.iter().any(|(_, steps)| !steps.is_empty());
    let what = match begun {
        true => "it goes no further",
        false => "nothing was done",
    };
    Some(
        CliError::failure(format!(
            "{} can't be run region by region ({what})\n{}",
            migration.name,
            reasons.join("\n")
        ))
        .hint(hint),
    )
}

/// By region, how a step stands there.
fn standing<'m>(
    step: usize,
    migration: &'m Migration<'_>,
    judgements: &Judgements,
    had: &[(String, Vec<usize>)],
) -> BTreeMap<&'m str, &'static str> {
    let is_of_rows = is_of_rows(&migration.script.steps[step], judgements.get(&step));
    let before = |region: &str| {
        let mut regions = had.iter();
        regions.any(|(name, steps)| name == region && steps.contains(&step))
    };
    let pending = migration.regions_for(step, is_of_rows);
    let regions = migration.has.iter().map(|(region, steps)| {
        let said = if before(region) {
            "done before"
        } else if steps.contains(&step) {
            "done"
        } else if pending.contains(region) {
            "to do"
        } else {
            "replicates"
        };
        (region.as_str(), said)
    });
    regions.collect()
}

fn as_json(
    step: usize,
    migration: &Migration<'_>,
    judgements: &Judgements,
    had: &[(String, Vec<usize>)],
) -> Value {
    let script = &migration.script.steps[step];
    let judged = judgements.get(&step);
    json!({
        "step": step + 1,
        "title": script.title,
        "in_transaction": script.is_transactional(),
        "nature": judged.and_then(|judged| judged.nature()),
        "changes": judged.map(|judged| &judged.changes),
        "refusals": judged.map(|judged| &judged.refusals),
        "statements": script.statements.iter().map(|it| &it.sql).collect::<Vec<_>>(),
        "regions": standing(step, migration, judgements, had),
    })
}

fn lines(
    step: usize,
    migration: &Migration<'_>,
    judgements: &Judgements,
    had: &[(String, Vec<usize>)],
) -> Vec<String> {
    let script = &migration.script.steps[step];
    let title = script.title.as_ref().map(|title| format!(": {title}"));
    let apart = match script.is_transactional() {
        true => "",
        false => ", outside of a transaction",
    };
    let mut lines = vec![format!(
        "step {}{}{apart}",
        step + 1,
        title.unwrap_or_default()
    )];
    if let Some(judged) = judgements.get(&step) {
        for change in &judged.changes {
            let nature = match change.nature {
                Nature::Additive => "+",
                Nature::Contracting => "-",
                Nature::Rows => "~",
            };
            lines.push(format!("  {nature} {} {}", change.table, change.what));
            lines.extend(
                change
                    .note
                    .as_ref()
                    .map(|note| format!("      note: {note}")),
            );
        }
        for refused in &judged.refusals {
            lines.push(format!("  ✗ {}: {}", refused.table, refused.reason));
            lines.push(format!("      hint: {}", refused.hint));
        }
    }
    let regions = standing(step, migration, judgements, had);
    let regions: Vec<_> = migration
        .has
        .iter()
        .filter_map(|(region, _)| Some(format!("{region} {}", regions.get(region.as_str())?)))
        .collect();
    lines.push(format!("  {}", regions.join(", ")));
    lines
}
