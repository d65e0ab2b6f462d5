//! Whether the rows that refer to one can be found, and all refer to one.
//!
//! Where a row goes or changes its key, every server looks for the rows that refer to it: at once in
//! the region that deletes it, and again in each other one. PostgreSQL makes no index for that.
//!
//! Where a foreign key is NOT VALID, rows from before it may have no parent. The server that has them
//! shows them, and each other one has them parked.

use super::finding::Finding;
use super::judge::Plan;
use super::survey::Unread;
use crate::catalog::{Kind, TableFacts, quoted};

/// A parent that doesn't replicate, or not yet, is read all the same: whether rows that are given to this
/// server have one there.
pub(super) fn unread(facts: &TableFacts, parent: &Unread, plan: &Plan) -> Finding {
    let role = quoted(&plan.role);
    let schema = quoted(&parent.name.schema);
    let schema = (!parent.has_schema).then(|| format!("GRANT USAGE ON SCHEMA {schema} TO {role}"));
    let read = format!("GRANT SELECT ON TABLE {} TO {role}", parent.name.sql());
    let reason = format!(
        "{} may not read {}, to which it refers and which doesn't replicate: rows whose parent isn't there \
         are parked",
        plan.role, parent.name
    );
    let sql = schema.into_iter().chain([read]);
    let name = &facts.table.name;
    match parent.is_ours {
        true => Finding::sql("foreign key", name, reason, sql),
        // Whoever owns it has to: what is known to fail would keep the rest from being done.
        false => Finding::advice("foreign key", name, reason).with(sql),
    }
}

pub(super) fn check(facts: &TableFacts) -> Vec<Finding> {
    let name = &facts.table.name;
    // Otherwise the index would keep writers out while it is built; partitions' can't be built so.
    let concurrently = match facts.kind {
        Kind::Partitioned => "",
        Kind::Ordinary | Kind::Foreign => " CONCURRENTLY",
    };
    let keys = || facts.table.references.iter().zip(&facts.actions);
    let unfound = keys().filter(|(_, action)| !action.is_indexed);
    let unfound = unfound.map(|(key, _)| {
        let columns = key.columns.iter();
        let columns = columns.map(|column| facts.table.columns[*column].name.as_str());
        let columns: Vec<&str> = columns.collect();
        let reason = format!(
            "no index begins with {}: whenever a row of {} is deleted, each region's server reads \
             this table from end to end",
            columns.join(", "),
            key.parent
        );
        let quoted: Vec<String> = columns.into_iter().map(quoted).collect();
        Finding::advice("foreign key", name, reason).with([format!(
            "CREATE INDEX{concurrently} ON {} ({})",
            name.sql(),
            quoted.join(", ")
        )])
    });
    let unchecked = keys().filter(|(_, action)| !action.is_valid);
    let unchecked = unchecked.map(|(key, _)| {
        let reason = format!(
            "foreign key {} is not valid: a row from before it that has no parent in {} is shown here \
             and parked in the other regions",
            key.name, key.parent
        );
        Finding::advice("foreign key", name, reason).with([format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {}",
            name.sql(),
            quoted(&key.name)
        )])
    });
    unfound.chain(unchecked).collect()
}
