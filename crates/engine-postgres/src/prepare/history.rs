//! What `meridian.columns` has to say ([`crate::catalog::History`]).

use super::finding::Finding;
use super::judge::{Plan, replicable};
use super::survey::Survey;
use crate::catalog::{COLUMNS_TABLE_SQL, Catalog, History, TableFacts, quoted};
use std::collections::{BTreeMap, BTreeSet};

/// Notes the columns that a server has, and what became of those that it had. `all` are the surveys of
/// all regions, if all could be asked: a column that none of them has is gone.
#[must_use]
pub fn note_columns(
    survey: &Survey,
    plan: &Plan,
    all: Option<&BTreeMap<String, Survey>>,
) -> Finding {
    let mut statements = Vec::new();
    if survey.history.is_none() {
        statements.push(COLUMNS_TABLE_SQL.to_owned());
        let role = quoted(&plan.role);
        statements.push(format!("GRANT SELECT ON TABLE meridian.columns TO {role}"));
    }
    let known = survey.history.clone().unwrap_or_default();
    statements.extend(note_present(survey, plan, &known));
    statements.extend(note_former(survey, &known, all));
    statements.extend(note_gone_elsewhere(&known, all));
    if statements.is_empty() {
        return Finding::ok("columns", "meridian.columns", "what columns were is noted");
    }
    let reason = "rows from before a column is renamed or dropped are read by what is noted here";
    Finding::sql("columns", "meridian.columns", reason, statements)
}

fn note_present(survey: &Survey, plan: &Plan, known: &History) -> Option<String> {
    let mut rows = Vec::new();
    for facts in replicable(survey, plan) {
        let table = facts.table.name.to_string();
        let columns = facts.table.columns.iter().zip(&facts.columns);
        let columns = columns.map(|(column, facts)| (column.name.as_str(), facts.number));
        for (name, number) in columns.chain([("", 0)]) {
            let is_noted = known.of(&table, name).is_some_and(|noted| {
                noted.relation == facts.oid && noted.number == number && noted.became.is_none()
            });
            if !is_noted {
                rows.push(format!(
                    "({}, {}, {}, {number})",
                    text(&table),
                    text(name),
                    facts.oid
                ));
            }
        }
    }
    (!rows.is_empty()).then(|| {
        format!(
            "INSERT INTO meridian.columns (\"table\", name, relation, number) VALUES {} \
             ON CONFLICT (\"table\", name) DO UPDATE SET relation = excluded.relation, \
             number = excluded.number, became = NULL",
            rows.join(", ")
        )
    })
}

fn note_former(
    survey: &Survey,
    known: &History,
    all: Option<&BTreeMap<String, Survey>>,
) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, column, noted) in known.all() {
        let facts = of(&survey.catalog, table);
        if facts.is_some_and(|facts| has(facts, column)) {
            continue;
        }
        let same = facts.filter(|facts| facts.oid == noted.relation);
        let renamed = same.and_then(|facts| {
            let place = facts
                .columns
                .iter()
                .position(|it| it.number == noted.number)?;
            Some(facts.table.columns[place].name.clone())
        });
        let is_gone = || {
            all.is_some_and(|all| {
                let mut catalogs = all.values().map(|survey| &survey.catalog);
                let is_in =
                    |catalog: &Catalog| of(catalog, table).is_some_and(|facts| has(facts, column));
                !catalogs.any(is_in)
            })
        };
        let became = renamed.or_else(|| is_gone().then(String::new));
        if became.is_some() && became != noted.became {
            statements.push(format!(
                "UPDATE meridian.columns SET became = {} WHERE \"table\" = {} AND name = {}",
                text(&became.unwrap_or_default()),
                text(table),
                text(column)
            ));
        }
    }
    statements
}

/// Tables that other servers had and that none has any more: a server that came later may be given their
/// rows.
fn note_gone_elsewhere(known: &History, all: Option<&BTreeMap<String, Survey>>) -> Option<String> {
    let all = all?;
    let is_anywhere = |table: &str| all.values().any(|it| of(&it.catalog, table).is_some());
    let noted = all.values().filter_map(|it| it.history.as_ref());
    let noted = noted.flat_map(History::all);
    let gone: BTreeSet<&str> = noted
        .filter(|(_, column, _)| column.is_empty())
        .map(|(table, ..)| table)
        .filter(|table| known.of(table, "").is_none() && !is_anywhere(table))
        .collect();
    let rows: Vec<_> = gone
        .iter()
        .map(|table| format!("({}, '', 0, 0, '')", text(table)))
        .collect();
    (!rows.is_empty()).then(|| {
        format!(
            "INSERT INTO meridian.columns (\"table\", name, relation, number, became) VALUES {}",
            rows.join(", ")
        )
    })
}

fn of<'c>(catalog: &'c Catalog, table: &str) -> Option<&'c TableFacts> {
    let mut tables = catalog.tables();
    tables.find(|facts| facts.table.name.to_string() == table)
}

/// Whether a table has a column; each has the one without a name.
fn has(facts: &TableFacts, column: &str) -> bool {
    column.is_empty() || facts.table.columns.iter().any(|it| it.name == column)
}

fn text(text: &str) -> String {
    let quotes = text.replace('\'', "''");
    if quotes.contains('\\') {
        return format!("E'{}'", quotes.replace('\\', "\\\\"));
    }
    format!("'{quotes}'")
}
