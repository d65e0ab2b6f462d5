//! What any reader may see at any time: whole transactions, causes before effects, and a source
//! that never goes back.

use crate::Violation;
use crate::workload::{CHAIN, GROUPS, group_members};
use serde_json::Value;

/// Reads documents, all from one snapshot.
pub trait Reader {
    /// The row's document.
    fn document(&self, table: &str, key: &str) -> Option<Value>;
}

impl<F: Fn(&str, &str) -> Option<Value>> Reader for F {
    fn document(&self, table: &str, key: &str) -> Option<Value> {
        self(table, key)
    }
}

/// Watches one region through its snapshots, restarts of the region included.
#[derive(Clone, Debug)]
pub struct SnapshotChecker {
    region: String,
    source_seen: i64,
}

impl SnapshotChecker {
    /// A watcher of one region.
    #[must_use]
    pub fn new(region: &str) -> Self {
        Self {
            region: region.to_owned(),
            source_seen: 0,
        }
    }

    /// Judges one snapshot.
    ///
    /// # Errors
    /// The first promise that it breaks.
    pub fn check(&mut self, snapshot: &impl Reader) -> Result<(), Violation> {
        for group in ["group-0", "group-1", "group-2"] {
            self.check_group(snapshot, group)?;
        }
        let source = number(snapshot.document(CHAIN, "source"));
        if source < self.source_seen {
            let (region, before) = (self.region.clone(), self.source_seen);
            return Err(Violation::NotMonotonic {
                region,
                before,
                now: source,
            });
        }
        self.source_seen = source;
        for key in ["derived-0", "derived-1"] {
            let derived = number(snapshot.document(CHAIN, key));
            if derived > source {
                let region = self.region.clone();
                return Err(Violation::NotCausal {
                    region,
                    derived,
                    source_seen: source,
                });
            }
        }
        Ok(())
    }

    fn check_group(&self, snapshot: &impl Reader, group: &str) -> Result<(), Violation> {
        let seen = group_members(group).map(|key| snapshot.document(GROUPS, &key));
        if seen.iter().all(|document| *document == seen[0]) {
            return Ok(());
        }
        Err(Violation::NotAtomic {
            region: self.region.clone(),
            group: group.to_owned(),
            seen: format!("{seen:?}"),
        })
    }
}

fn number(document: Option<Value>) -> i64 {
    document
        .and_then(|document| document.get("n")?.as_i64())
        .unwrap_or(0)
}
