//! What a step does to the tables that replicate, and whether regions that have it and regions that
//! don't have it yet can work together.
//!
//! A rehearsal in a transaction that is rolled back gives the catalog before and after; all here is a
//! pure function of these. While regions differ, each captures and writes rows with its own columns: a
//! row from elsewhere that lacks a column has there what rows from before the column have, and one
//! that has a column too many waits until the column is there. So what is refused is what would lose
//! something or never end: a column that rows can't do without, another key, another value in each
//! region, texts that the type elsewhere doesn't read.

use crate::catalog::{ColumnFacts, Kind, TableFacts};
use crate::prepare::{Plan, Survey, alters_publication, refusals};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a change stands to regions that don't have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nature {
    /// Rows of regions with it and without it fit each other.
    Additive,
    /// It takes something away or restricts: applications must not need it any more, anywhere.
    Contracting,
    /// It changes rows: it runs in one region and replicates.
    Rows,
}

/// One change of a table that replicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// The table.
    pub table: String,
    /// What becomes of it.
    pub what: String,
    /// How that stands to other regions.
    pub nature: Nature,
    /// What to mind while regions differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why a step can't be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The table.
    pub table: String,
    /// Why.
    pub reason: String,
    /// What to do instead.
    pub hint: String,
}

/// What a step comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What it changes.
    pub changes: Vec<TableChange>,
    /// Why it can't be run, if so.
    pub refusals: Vec<Refusal>,
    /// The tables that it drops: they must be empty everywhere.
    pub dropped: Vec<String>,
    /// Whether the publication is to be altered after it, so that it has the tables that replicate then.
    pub alters_publication: bool,
}

/// What is known of a step that was rehearsed.
pub struct Rehearsed<'r> {
    /// The server before it.
    pub before: &'r Survey,
    /// The server after it.
    pub after: &'r Survey,
    /// By table, how many rows it changed.
    pub rows: &'r BTreeMap<u32, i64>,
    /// The tables that were empty before it.
    pub empty: &'r BTreeSet<u32>,
    /// Whether it changes nothing but rows, as far as its words tell.
    pub leaves_schema_alone: bool,
    /// Whether rows are what it is about.
    pub writes_rows: bool,
}

/// Judges a step.
#[must_use]
pub fn judge(step: &Rehearsed<'_>, plan: &Plan) -> Judgement {
    let mut judgement = Judgement {
        alters_publication: alters_publication(step.after, plan),
        ..Judgement::default()
    };
    let after: BTreeMap<u32, &TableFacts> = of(step.after);
    let before: BTreeMap<u32, &TableFacts> = of(step.before);
    for (oid, old) in &before {
        match after.get(oid) {
            Some(new) => altered(old, new, &mut judgement),
            None => dropped(old, step.empty.contains(oid), &mut judgement),
        }
    }
    for (oid, new) in &after {
        let old = before.get(oid);
        if old.is_none() {
            let name = &new.table.name;
            judgement.change(name, "is made", Nature::Additive, None);
        }
        let was_fine = old.is_none_or(|old| refusals(old, step.before, plan).is_empty());
        if was_fine {
            for finding in refusals(new, step.after, plan) {
                let hint = finding.hint.unwrap_or_else(|| {
                    "see `meridian postgres prepare`, or name the table in `exclude`".to_owned()
                });
                judgement.refuse(&new.table.name, finding.reason, hint);
            }
        }
    }
    rows(step, &after, &mut judgement);
    judgement
}

fn of(survey: &Survey) -> BTreeMap<u32, &TableFacts> {
    survey
        .catalog
        .tables()
        .map(|facts| (facts.oid, facts))
        .collect()
}

fn rows(step: &Rehearsed<'_>, tables: &BTreeMap<u32, &TableFacts>, judgement: &mut Judgement) {
    let is_schema = !judgement.changes.is_empty() || !step.leaves_schema_alone;
    let mut found = false;
    for (oid, count) in step.rows.iter().filter(|(_, count)| **count > 0) {
        let Some(facts) = tables.get(oid) else {
            continue;
        };
        found = true;
        let name = &facts.table.name;
        if is_schema {
            let reason = format!(
                "the step changes tables and {count} rows of this one: tables change in every region, \
                 rows in one, from which they replicate"
            );
            let hint = "give the rows a step of their own, after the tables': a line `-- step`";
            judgement.refuse(name, reason, hint);
        } else {
            judgement.change(
                name,
                format!("has {count} rows written"),
                Nature::Rows,
                None,
            );
        }
    }
    if step.writes_rows && !found && !is_schema {
        judgement.changes.push(TableChange {
            table: "rows".to_owned(),
            what: "may be written".to_owned(),
            nature: Nature::Rows,
            note: None,
        });
    }
}

fn dropped(old: &TableFacts, was_empty: bool, judgement: &mut Judgement) {
    let name = &old.table.name;
    judgement.dropped.push(name.to_string());
    if !was_empty {
        let reason = "it is dropped with rows in it, which the regions' logs keep";
        let hint = "empty it in a step before (TRUNCATE, which replicates), then drop it";
        judgement.refuse(name, reason, hint);
        return;
    }
    let note = "applications must not use it any more";
    judgement.change(name, "is dropped", Nature::Contracting, Some(note));
}

fn altered(old: &TableFacts, new: &TableFacts, judgement: &mut Judgement) {
    let name = &old.table.name;
    if old.table.name != new.table.name {
        let reason = format!(
            "it is renamed to {}: regions know its rows by its name",
            new.table.name
        );
        let hint = "make a view of the new name, or a new table";
        judgement.refuse(name, reason, hint);
        return;
    }
    if key(old) != key(new) {
        let reason = format!(
            "its primary key changes from ({}) to ({}): regions know rows by it",
            key(old).join(", "),
            key(new).join(", ")
        );
        let hint = "make a new table with the new key, copy the rows, drop this one";
        judgement.refuse(name, reason, hint);
        return;
    }
    if old.kind != new.kind && new.kind == Kind::Foreign {
        judgement.refuse(name, "it becomes foreign", "exclude it first");
    }
    let numbered = |facts: &TableFacts| -> BTreeMap<i16, usize> {
        let numbers = facts.columns.iter().enumerate();
        numbers.map(|(place, it)| (it.number, place)).collect()
    };
    let (before, after) = (numbered(old), numbered(new));
    for (number, place) in &before {
        match after.get(number) {
            Some(now) => column(old, *place, new, *now, judgement),
            None => column_dropped(old, *place, judgement),
        }
    }
    for (number, place) in &after {
        if !before.contains_key(number) {
            column_added(new, *place, judgement);
        }
    }
    constraints(old, new, judgement);
}

/// The key's columns with their types.
fn key(facts: &TableFacts) -> Vec<String> {
    let column = |place: &usize| &facts.table.columns[*place];
    let columns = facts.table.key.iter().map(column);
    columns
        .map(|column| format!("{} {}", column.name, column.type_name))
        .collect()
}

fn column_added(facts: &TableFacts, place: usize, judgement: &mut Judgement) {
    let (name, column) = (&facts.table.name, &facts.table.columns[place]);
    let known = &facts.columns[place];
    let what = format!("column {} {} is added", column.name, column.type_name);
    if let (Some(default), false) = (&known.default, known.is_default_literal) {
        let reason = format!(
            "column {} is added with DEFAULT {default}, which is another value in each region",
            column.name
        );
        let hint = "add it without one, SET DEFAULT in a second statement (for new rows), and fill \
                    the old rows in a step of their own";
        judgement.refuse(name, reason, hint);
    } else if column.missing.is_none() && !column.is_nullable {
        let reason = format!(
            "column {} is added NOT NULL without DEFAULT: rows that other regions write meanwhile \
             don't have it",
            column.name
        );
        let hint = "give it a DEFAULT, or let it take NULL first and SET NOT NULL in a later step";
        judgement.refuse(name, reason, hint);
    } else {
        judgement.change(name, what, Nature::Additive, None);
    }
}

fn column_dropped(facts: &TableFacts, place: usize, judgement: &mut Judgement) {
    let (name, column) = (&facts.table.name, &facts.table.columns[place]);
    if column.missing.is_none() && !column.is_nullable {
        let reason = format!(
            "column {} is dropped, and takes no NULL: rows of regions that have dropped it don't fit \
             those that have not",
            column.name
        );
        let hint = format!(
            "ALTER COLUMN {} DROP NOT NULL in a step before",
            column.name
        );
        judgement.refuse(name, reason, hint);
        return;
    }
    let note = "applications must not use it any more; a region that has dropped it waits until \
                all have";
    let what = format!("column {} is dropped", column.name);
    judgement.change(name, what, Nature::Contracting, Some(note));
}

fn column(old: &TableFacts, was: usize, new: &TableFacts, is: usize, judgement: &mut Judgement) {
    let name = &old.table.name;
    let (before, after) = (&old.table.columns[was], &new.table.columns[is]);
    if before.name != after.name {
        let note = "a region that has not renamed it waits until it has; applications of each region \
                    use the name that is there";
        let what = format!("column {} is renamed to {}", before.name, after.name);
        judgement.change(name, what, Nature::Contracting, Some(note));
    }
    if before.type_name != after.type_name {
        let what = format!(
            "column {} changes from {} to {}",
            after.name, before.type_name, after.type_name
        );
        if is_wider(&before.type_name, &after.type_name) {
            let note =
                "values that the old type doesn't take reach a region once it has the new one";
            judgement.change(name, what, Nature::Additive, Some(note));
        } else {
            let reason = format!("{what}: what one region writes, another that differs can't read");
            let hint = "add a column of the new type, fill it, let applications use it, drop the old \
                        one";
            judgement.refuse(name, reason, hint);
        }
    }
    if collation(&old.columns[was]) != collation(&new.columns[is]) {
        let what = format!("column {} gets another collation", after.name);
        judgement.change(name, what, Nature::Additive, None);
    }
    match (before.is_nullable, after.is_nullable) {
        (true, false) => {
            let note = "a row with NULL that another region writes before it has this is kept out \
                        and shown as parked";
            let what = format!("column {} takes no NULL any more", after.name);
            judgement.change(name, what, Nature::Contracting, Some(note));
        }
        (false, true) => {
            let note = "a row with NULL reaches a region once it has this";
            let what = format!("column {} takes NULL", after.name);
            judgement.change(name, what, Nature::Additive, Some(note));
        }
        _ => {}
    }
}

fn collation(column: &ColumnFacts) -> Option<&str> {
    column.collation.as_deref()
}

/// Whether every text of the old type is one of the new, and means the same.
fn is_wider(from: &str, to: &str) -> bool {
    const WHOLE: &[&str] = &["smallint", "integer", "bigint", "numeric"];
    let place = |name: &str| WHOLE.iter().position(|it| *it == name);
    if let (Some(from), Some(to)) = (place(from), place(to)) {
        return from < to;
    }
    let length = |name: &str| -> Option<usize> {
        let rest = name.strip_prefix("character varying")?;
        if rest.is_empty() {
            return Some(usize::MAX);
        }
        rest.strip_prefix('(')?.strip_suffix(')')?.parse().ok()
    };
    let length = |name: &str| match name {
        "text" => Some(usize::MAX),
        _ => length(name),
    };
    if let (Some(from), Some(to)) = (length(from), length(to)) {
        return from <= to;
    }
    let decimal = |name: &str| -> Option<(u32, u32)> {
        let (precision, scale) = name
            .strip_prefix("numeric(")?
            .strip_suffix(')')?
            .split_once(',')?;
        Some((precision.parse().ok()?, scale.parse().ok()?))
    };
    if let (Some(from), Some(to)) = (decimal(from), decimal(to)) {
        return from.1 == to.1 && from.0 <= to.0;
    }
    from == "uuid" && to == "text"
}

fn constraints(old: &TableFacts, new: &TableFacts, judgement: &mut Judgement) {
    let were: BTreeSet<String> = old
        .shape()
        .into_iter()
        .filter(|line| !line.starts_with("column ") && !line.starts_with("table "))
        .collect();
    let now: BTreeSet<String> = new
        .shape()
        .into_iter()
        .filter(|line| !line.starts_with("column ") && !line.starts_with("table "))
        .collect();
    let name = &old.table.name;
    for line in now.difference(&were) {
        let note = "rows of regions that don't have it yet may violate it: such are kept out and \
                    shown as parked";
        let what = format!("gets {line}");
        judgement.change(name, what, Nature::Contracting, Some(note));
    }
    for line in were.difference(&now) {
        let note = "rows that violate it reach a region once it has dropped it too";
        let what = format!("loses {line}");
        judgement.change(name, what, Nature::Additive, Some(note));
    }
    let checks = |facts: &TableFacts| -> BTreeSet<String> {
        facts.checks.iter().map(|(name, _)| name.clone()).collect()
    };
    for check in checks(new).difference(&checks(old)) {
        let note = "rows of regions that don't have it yet may violate it: such are kept out and \
                    shown as parked";
        let what = format!("gets check {check}");
        judgement.change(name, what, Nature::Contracting, Some(note));
    }
}

impl Judgement {
    /// Whether it runs in one region only.
    #[must_use]
    pub fn is_of_rows(&self) -> bool {
        !self.changes.is_empty() && self.changes.iter().all(|it| it.nature == Nature::Rows)
    }

    /// The strictest nature among its changes; none where no table that replicates changes.
    #[must_use]
    pub fn nature(&self) -> Option<Nature> {
        self.changes.iter().map(|change| change.nature).max()
    }

    fn change(
        &mut self,
        table: impl ToString,
        what: impl Into<String>,
        nature: Nature,
        note: Option<&str>,
    ) {
        self.changes.push(TableChange {
            table: table.to_string(),
            what: what.into(),
            nature,
            note: note.map(str::to_owned),
        });
    }

    fn refuse(&mut self, table: impl ToString, reason: impl Into<String>, hint: impl Into<String>) {
        self.refusals.push(Refusal {
            table: table.to_string(),
            reason: reason.into(),
            hint: hint.into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_type_reads_every_text_of_the_narrower() {
        for (from, to) in [
            ("smallint", "bigint"),
            ("integer", "numeric"),
            ("character varying(10)", "character varying(20)"),
            ("character varying(10)", "text"),
            ("numeric(8,2)", "numeric(10,2)"),
        ] {
            assert!(is_wider(from, to), "{from} to {to}");
            assert!(!is_wider(to, from), "{to} to {from}");
        }
        for (from, to) in [
            ("integer", "text"),
            ("json", "jsonb"),
            ("date", "timestamp without time zone"),
            ("numeric(8,2)", "numeric(8,3)"),
        ] {
            assert!(!is_wider(from, to), "{from} to {to}");
        }
    }
}
