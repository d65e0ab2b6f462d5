//! Triggers that would fire on what Meridian writes.
//!
//! A trigger has run in the region where the application wrote, and its effects replicate as rows. If
//! it ran again in each other region, it would rewrite what is projected or write a second time, and
//! that would replicate in turn. A trigger that only fires for other roles is fine:
//! `WHEN (CURRENT_USER <> 'meridian')` excludes the role that Meridian connects as.

use super::finding::Finding;
use crate::catalog::{TableFacts, Trigger, quoted};

/// The triggers of a table that would fire on what this role writes.
#[must_use]
pub fn check(facts: &TableFacts, role: &str) -> Vec<Finding> {
    facts
        .triggers
        .iter()
        .filter(|trigger| fires(trigger, role))
        .map(|trigger| {
            let on = if trigger.table == facts.table.name {
                String::new()
            } else {
                format!(" of partition {}", trigger.table)
            };
            Finding::refused(
                "trigger",
                &facts.table.name,
                format!(
                    "trigger {}{on} would fire again on what {role} writes for other regions",
                    trigger.name
                ),
            )
            .hint(format!(
                "let it fire for other roles only, as below, or drop it; the application must then not connect as {role}"
            ))
            .with(excluding(trigger, role))
        })
        .collect()
}

/// Whether it fires for the role. A condition with alternatives isn't looked into.
fn fires(trigger: &Trigger, role: &str) -> bool {
    let excludes = trigger.definition.contains(&condition(role, "::name"))
        && !trigger.definition.contains(" OR ");
    trigger.enabled != 'R' && !excludes
}

/// As the server writes it, with the cast; as a person does, without.
fn condition(role: &str, cast: &str) -> String {
    format!("CURRENT_USER <> '{}'{cast}", role.replace('\'', "''"))
}

/// The same trigger with the condition that leaves out the role.
fn excluding(trigger: &Trigger, role: &str) -> Vec<String> {
    let condition = condition(role, "");
    let Some((front, action)) = trigger.definition.rsplit_once(" EXECUTE FUNCTION ") else {
        return Vec::new();
    };
    let front = match front.split_once(" WHEN (") {
        // The server closes the condition with a parenthesis of its own.
        Some((event, when)) => {
            let when = when.strip_suffix(')').unwrap_or(when);
            format!("{event} WHEN ({condition} AND ({when}))")
        }
        None => format!("{front} WHEN ({condition})"),
    };
    let create = format!("{front} EXECUTE FUNCTION {action}");
    let drop = format!(
        "DROP TRIGGER {} ON {}",
        quoted(&trigger.name),
        trigger.table.sql()
    );
    // Whoever runs them one by one would be without the trigger in between.
    let mut statements = vec!["BEGIN".to_owned(), drop, create, "COMMIT".to_owned()];
    if trigger.enabled == 'A' {
        statements.insert(
            3,
            format!(
                "ALTER TABLE {} ENABLE ALWAYS TRIGGER {}",
                trigger.table.sql(),
                quoted(&trigger.name)
            ),
        );
    }
    statements
}
