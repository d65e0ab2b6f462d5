//! Whether the rows that refer to one can be found, and all refer to one.
//!
//! Where a row goes or changes its key, every server looks for the rows that refer to it: at once in
//! the region that deletes it, and again in each other one. PostgreSQL makes no index for that.
//!
//! Where a foreign key is NOT VALID, rows from before it may have no parent. The server that has them
//! shows them, and each other one has them parked.

use super::finding::Finding;
use crate::catalog::{Kind, TableFacts, quoted};

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
