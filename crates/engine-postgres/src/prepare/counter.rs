//! Columns that merge by difference.
//!
//! Each region adds what the others added, so a sum can be what no single region would have written:
//! what must hold for every value can't be promised for it.

use super::finding::Finding;
use crate::catalog::{Column, ColumnFacts, Selection, TableFacts, quoted};

/// What a sum of 128 bits holds.
const DIGITS_MAX: u32 = 38;

pub(super) fn check(facts: &TableFacts, selection: &Selection) -> Vec<Finding> {
    let table = &facts.table;
    let mut found = unknown(facts, selection);
    for (index, (column, known)) in table.columns.iter().zip(&facts.columns).enumerate() {
        if !column.is_counter {
            continue;
        }
        found.extend(type_of(facts, column, known));
        found.extend(constrained(facts, index, column));
    }
    found
}

/// Counters that are no columns.
fn unknown(facts: &TableFacts, selection: &Selection) -> Vec<Finding> {
    let name = facts.table.name.to_string();
    selection
        .counters
        .get(&name)
        .into_iter()
        .flatten()
        .filter(|counter| facts.column(counter).is_none())
        .map(|counter| {
            Finding::refused(
                "counter",
                &name,
                format!("it has no column {counter} that could count, or that is generated"),
            )
            .hint("correct `counters` in the topology")
        })
        .collect()
}

fn type_of(facts: &TableFacts, column: &Column, known: &ColumnFacts) -> Option<Finding> {
    let name = &facts.table.name;
    let refuse = |reason: String| Finding::refused("counter", name, reason);
    if known.is_domain {
        return Some(refuse(format!(
            "counter {} is of domain {}, whose rules a sum of differences may break",
            column.name, column.type_name
        )));
    }
    match known.base_type.as_str() {
        "bigint" => None,
        "numeric" if digits(&column.type_name).is_some_and(|digits| digits <= DIGITS_MAX) => None,
        "integer" | "smallint" => Some(
            refuse(format!(
                "counter {} is {}: a sum of differences may not fit",
                column.name, column.type_name
            ))
            .hint("widen it; the table is rewritten and locked meanwhile")
            .with([format!(
                "ALTER TABLE {} ALTER COLUMN {} TYPE bigint",
                name.sql(),
                quoted(&column.name)
            )]),
        ),
        _ => Some(
            refuse(format!(
                "counter {} is {}: only whole numbers of at most {DIGITS_MAX} digits count",
                column.name, column.type_name
            ))
            .hint("use bigint or numeric(n, 0), n at most 38"),
        ),
    }
}

/// The digits of a `numeric` without fraction.
fn digits(type_name: &str) -> Option<u32> {
    let arguments = type_name.strip_prefix("numeric(")?;
    arguments.strip_suffix(",0)")?.parse().ok()
}

fn constrained(facts: &TableFacts, index: usize, column: &Column) -> Vec<Finding> {
    let table = &facts.table;
    let drop = |constraint: &str| {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {}",
            table.name.sql(),
            quoted(constraint)
        )
    };
    let refuse = |what: String| {
        let reason = format!(
            "counter {} is in {what}, which a sum of differences may break",
            column.name
        );
        Finding::refused("counter", &table.name, reason)
    };
    let checks = facts
        .checks
        .iter()
        .filter(|(_, columns)| columns.contains(&column.name))
        .map(|(name, _)| refuse(format!("the check {name}")).with([drop(name)]));
    let unique = table
        .unique
        .iter()
        .zip(&facts.unique_definitions)
        // Where an index is over expressions, the column is sought in its definition.
        .filter(|(unique, definition)| {
            unique.columns.contains(&index)
                || (unique.is_opaque && mentions(definition, &column.name))
        })
        .map(|(unique, _)| refuse(format!("the unique index {}", unique.name)));
    let references = table
        .references
        .iter()
        .filter(|reference| reference.columns.contains(&index))
        .map(|reference| refuse(format!("the foreign key {}", reference.name)));
    let key = table
        .is_key(index)
        .then(|| refuse("the primary key".to_owned()));
    checks.chain(unique).chain(references).chain(key).collect()
}

/// Whether an index's definition has this name as a word.
fn mentions(definition: &str, name: &str) -> bool {
    definition
        .split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .any(|word| word == name)
}
