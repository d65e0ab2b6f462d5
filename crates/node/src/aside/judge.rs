//! Whether a transaction set aside may be written again by itself: pure.

use super::shelf::{Record, RowName};
use meridian_engine_kv::{Precondition, PreconditionKind, Tags};
use meridian_model::{OriginId, Version};
use std::collections::BTreeMap;

/// A row as it is now: the greatest version of any write to it, and the name of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowNow {
    pub(super) latest: Version,
    pub(super) tag: String,
}

/// Why one isn't written again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed(pub(super) RowName);

/// Judges a transaction of `origin` by what its rows are now. `rewritten` says which rows earlier
/// ones of the shelf have written again, and as what. Returns what has to hold when it commits.
pub(super) fn judge(
    record: &Record,
    origin: OriginId,
    now: &BTreeMap<RowName, Option<RowNow>>,
    rewritten: &BTreeMap<RowName, Version>,
) -> Result<Vec<Precondition>, Changed> {
    let mut preconditions = Vec::new();
    for row in record.rows() {
        let again = rewritten.get(&row);
        let kind = match now.get(&row).and_then(Option::as_ref) {
            Some(there)
                if again == Some(&there.latest) || had_seen(record, origin, there.latest) =>
            {
                PreconditionKind::IfMatch(Tags::Versions(vec![there.tag.clone()]))
            }
            Some(_) => return Err(Changed(row)),
            // It was there, and somebody has removed it since.
            None if record.before.contains(&row) => return Err(Changed(row)),
            None => PreconditionKind::IfNoneMatch(Tags::Any),
        };
        let (table, key) = row;
        preconditions.push(Precondition { table, key, kind });
    }
    Ok(preconditions)
}

/// Whether a write was among what the transaction had seen when it committed.
fn had_seen(record: &Record, origin: OriginId, version: Version) -> bool {
    if version.origin == origin {
        version.hlc < record.hlc
    } else {
        record.transaction.dependencies.has_seen(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Change, Hlc, Operation, Sequence, Transaction};

    const EVICTED: OriginId = OriginId(1);
    const OTHER: OriginId = OriginId(2);
    const ANEW: OriginId = OriginId(3);

    fn version(hlc: u64, origin: OriginId) -> Version {
        Version {
            hlc: Hlc::from_raw(hlc),
            origin,
        }
    }

    fn row(key: &str) -> RowName {
        ("t".to_owned(), key.to_owned())
    }

    /// A transaction at 50 that had seen the other origin up to 40.
    fn record(keys: &[&str]) -> Record {
        let change = |key: &&str| Change {
            table: "t".to_owned(),
            key: (*key).to_owned(),
            operation: Operation::Delete,
        };
        Record {
            sequence: Sequence(9),
            hlc: Hlc::from_raw(50),
            transaction: Transaction {
                dependencies: [(OTHER, Hlc::from_raw(40))].into_iter().collect(),
                changes: keys.iter().map(change).collect(),
                idempotency: None,
            },
            before: Vec::new(),
        }
    }

    fn now(rows: &[(&str, Version)]) -> BTreeMap<RowName, Option<RowNow>> {
        let rows = rows.iter().map(|(key, latest)| {
            let tag = latest.to_string();
            let latest = *latest;
            (row(key), Some(RowNow { latest, tag }))
        });
        rows.collect()
    }

    fn judged(
        record: &Record,
        now: &BTreeMap<RowName, Option<RowNow>>,
        rewritten: &[(&str, Version)],
    ) -> Result<usize, Changed> {
        let rewritten = rewritten.iter().map(|(key, version)| (row(key), *version));
        judge(record, EVICTED, now, &rewritten.collect()).map(|found| found.len())
    }

    #[test]
    fn a_row_is_unchanged_in_a_version_that_it_had_seen() {
        for seen in [version(40, OTHER), version(49, EVICTED)] {
            assert_eq!(judged(&record(&["k"]), &now(&[("k", seen)]), &[]), Ok(1));
        }
        for unseen in [version(41, OTHER), version(50, EVICTED), version(7, ANEW)] {
            let found = judged(&record(&["k"]), &now(&[("k", unseen)]), &[]);
            assert_eq!(found, Err(Changed(row("k"))), "{unseen}");
        }
    }

    #[test]
    fn a_row_that_an_earlier_one_wrote_again_is_unchanged() {
        let again = version(70, ANEW);
        let now = now(&[("k", again)]);
        assert_eq!(judged(&record(&["k"]), &now, &[("k", again)]), Ok(1));
        let older = version(60, ANEW);
        let found = judged(&record(&["k"]), &now, &[("k", older)]);
        assert_eq!(found, Err(Changed(row("k"))), "somebody wrote after that");
    }

    #[test]
    fn a_row_that_is_not_there_was_new_or_has_been_removed() {
        let mut record = record(&["k"]);
        assert_eq!(judged(&record, &now(&[]), &[]), Ok(1));
        record.before.push(row("k"));
        assert_eq!(judged(&record, &now(&[]), &[]), Err(Changed(row("k"))));
    }

    #[test]
    fn one_changed_row_holds_the_whole_transaction_back() {
        let now = now(&[("k", version(40, OTHER)), ("l", version(41, OTHER))]);
        let found = judged(&record(&["k", "l"]), &now, &[]);
        assert_eq!(found, Err(Changed(row("l"))));
    }
}
