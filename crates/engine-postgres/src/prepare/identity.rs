//! What the WAL has to say of old rows.
//!
//! An update leaves out of the new row what is stored out of line and didn't change, and of the old
//! row all but the key. So a table with such columns needs the old row whole, as does one with
//! counters, whose change is the difference of old and new.

use super::finding::Finding;
use crate::catalog::{Identity, TableFacts, TableName};

pub(super) fn check(facts: &TableFacts) -> Option<Finding> {
    let (toastable, counters) = (facts.toastable(), facts.counters());
    let full = !toastable.is_empty() || !counters.is_empty();
    let wanted = if full { "FULL" } else { "DEFAULT" };
    let is_fine = |identity: Identity| match identity {
        Identity::Full => true,
        Identity::Default => !full,
        Identity::Nothing | Identity::Index => false,
    };
    let alter = |name: &TableName| format!("ALTER TABLE {} REPLICA IDENTITY {wanted}", name.sql());
    // Of a partitioned table the partitions' own identities count, and a new one has the default. What
    // the stream describes is the root's.
    let partitions = facts
        .partitions
        .iter()
        .filter(|partition| !is_fine(partition.identity))
        .map(|partition| alter(&partition.name));
    let statements: Vec<String> = (!is_fine(facts.identity))
        .then(|| alter(&facts.table.name))
        .into_iter()
        .chain(partitions)
        .collect();
    if statements.is_empty() {
        return None;
    }
    let reason = if counters.is_empty() && full {
        format!(
            "the WAL must have whole old rows, since values of {} can be stored out of line",
            toastable.join(", ")
        )
    } else if full {
        format!(
            "the WAL must have whole old rows, since {} counts by differences",
            counters.join(", ")
        )
    } else {
        "the WAL must have the primary key of old rows".to_owned()
    };
    Some(Finding::sql(
        "replica identity",
        &facts.table.name,
        reason,
        statements,
    ))
}
