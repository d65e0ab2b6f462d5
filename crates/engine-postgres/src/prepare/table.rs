//! Whether a table can replicate.

use super::finding::Finding;
use super::judge::Plan;
use super::survey::Survey;
use super::{counter, foreign_key, identity, trigger};
use crate::catalog::{Kind, TableFacts, quoted};

pub(super) fn check(facts: &TableFacts, survey: &Survey, plan: &Plan) -> Vec<Finding> {
    let mut found = kind_of(facts);
    found.extend(key_of(facts));
    found.extend(row_security(facts, survey, plan));
    found.extend(trigger::check(facts, &plan.role));
    found.extend(counter::check(facts, &plan.selection));
    if found.is_empty() {
        let tables = &facts.table;
        let key: Vec<&str> = tables
            .key
            .iter()
            .map(|column| tables.columns[*column].name.as_str())
            .collect();
        let reason = format!("replicates by its key ({})", key.join(", "));
        found.push(Finding::ok("table", &tables.name, reason));
        found.extend(identity::check(facts));
        found.extend(privileges(facts, plan));
        found.extend(foreign_key::check(facts));
    }
    found
}

/// Tables whose changes can't be captured or projected at all.
fn kind_of(facts: &TableFacts) -> Vec<Finding> {
    let name = &facts.table.name;
    let refuse = |reason: &str, hint: &str, sql: Option<String>| {
        Finding::refused("table", name, reason).hint(hint).with(sql)
    };
    let mut found = Vec::new();
    if facts.kind == Kind::Foreign || facts.partitions.iter().any(|partition| partition.is_apart) {
        found.push(refuse(
            "it or a partition of it is foreign or unlogged: its changes aren't in the WAL",
            "exclude it, or keep all its rows in ordinary tables",
            None,
        ));
    }
    if facts.is_unlogged {
        found.push(refuse(
            "it is unlogged: its changes aren't in the WAL",
            "exclude it, or make it an ordinary table",
            Some(format!("ALTER TABLE {} SET LOGGED", name.sql())),
        ));
    }
    if facts.inherits {
        found.push(refuse(
            "it inherits or has children: a row is in several tables at once",
            "exclude it; partitions are fine",
            None,
        ));
    }
    if facts.has_rules {
        found.push(refuse(
            "rules rewrite what is done to it, so that what is projected would become something else",
            "drop its rules, or exclude it",
            None,
        ));
    }
    if name.schema.contains('.') || name.name.contains('.') {
        found.push(refuse(
            "there is a dot in its name: in the dataset it would be called like another",
            "rename it, or exclude it",
            None,
        ));
    }
    if !facts.over_generated.is_empty() {
        let constraints = facts.over_generated.join(", ");
        found.push(refuse(
            &format!(
                "constraints are over generated columns, which don't replicate: {constraints}"
            ),
            "drop them, or make the columns ordinary",
            None,
        ));
    }
    found
}

/// A key by which every region knows a row.
fn key_of(facts: &TableFacts) -> Vec<Finding> {
    let table = &facts.table;
    if table.key.is_empty() {
        if !facts.over_generated.is_empty() {
            // The key is over a generated column, which has been told.
            return Vec::new();
        }
        return vec![
            Finding::refused(
                "primary key",
                &table.name,
                "it has no primary key: a row of one region couldn't be found again in another",
            )
            .hint(
                "add one, or exclude the table; where servers have copies of the same rows already, add \
                 it in one and load the others from there: made in each, every copy would get a key of \
                 its own, and all regions all copies",
            )
            .with([format!(
                "ALTER TABLE {} ADD COLUMN meridian_id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
                table.name.sql()
            )]),
        ];
    }
    let mut found = Vec::new();
    if facts.key_is_deferrable {
        found.push(
            Finding::refused(
                "primary key",
                &table.name,
                "it is deferrable: the WAL doesn't name rows by it",
            )
            .hint("make it NOT DEFERRABLE"),
        );
    }
    for column in &table.key {
        let (column, known) = (&table.columns[*column], &facts.columns[*column]);
        if !known.is_text_exact {
            let reason = format!(
                "column {} is {}, whose equal values can be written differently (like 1.0 and 1.00, or a and A): regions would take one row for two",
                column.name, column.type_name
            );
            found.push(
                Finding::refused("primary key", &table.name, reason)
                    .hint("use integer, uuid, text, a date or time, or numeric with a scale"),
            );
        }
    }
    found
}

/// Rows that the role wouldn't see would be taken for deleted.
fn row_security(facts: &TableFacts, survey: &Survey, plan: &Plan) -> Vec<Finding> {
    let bypasses = survey
        .role
        .as_ref()
        .is_some_and(|role| role.bypasses_policies);
    let exempt = bypasses || (facts.privileges.owns && !facts.forces_row_security);
    if !facts.has_row_security || exempt {
        return Vec::new();
    }
    let role = &plan.role;
    vec![
        Finding::refused(
            "row security",
            &facts.table.name,
            format!("policies hide rows of it from {role}"),
        )
        .hint("a superuser lets the role see all rows; or give the role the table's owner's rights")
        .with([format!("ALTER ROLE {} BYPASSRLS", quoted(role))]),
    ]
}

fn privileges(facts: &TableFacts, plan: &Plan) -> Option<Finding> {
    let (may, name, role) = (facts.privileges, &facts.table.name, quoted(&plan.role));
    if may.suffice() {
        return None;
    }
    let schema =
        (!may.schema).then(|| format!("GRANT USAGE ON SCHEMA {} TO {role}", quoted(&name.schema)));
    let table = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {} TO {role}",
        name.sql()
    );
    Some(Finding::sql(
        "privileges",
        name,
        format!("{} may not read and write it", plan.role),
        schema.into_iter().chain([table]),
    ))
}
