//! The laws, against a model that holds every write ever made and computes the row from the set.

use meridian_merge::{
    Base, KeptIncrement, Merged, PutKind, Row, Seen, merge_increment, merge_put, render,
    replaces_plain,
};
use meridian_model::{Hlc, OriginId, Vector, Version};
use proptest::prelude::*;
use std::convert::Infallible;

#[derive(Clone, Debug)]
enum Kind {
    Put(i64),
    Delete,
    Increment(i64),
}

#[derive(Clone, Debug)]
struct Write {
    version: Version,
    dependencies: Vector,
    kind: Kind,
}

impl Write {
    fn had_seen(&self, other: Version) -> bool {
        Seen {
            version: self.version,
            dependencies: Some(&self.dependencies),
            absorbed: None,
        }
        .includes(other)
    }
}

/// One region: the row, the increments kept apart, and what was applied.
#[derive(Clone, Default)]
struct Replica {
    row: Option<Row>,
    kept: Vec<KeptIncrement>,
    applied: Vec<Write>,
    conflicts: usize,
}

impl Replica {
    fn seen(&self) -> Vector {
        let mut seen = Vector::default();
        for write in &self.applied {
            seen.raise(write.version.origin, write.version.hlc);
        }
        seen
    }

    fn apply(&mut self, write: &Write) {
        let seen = Seen {
            version: write.version,
            dependencies: Some(&write.dependencies),
            absorbed: None,
        };
        let base = |document| Base {
            version: write.version,
            document,
        };
        let put = match &write.kind {
            Kind::Put(n) => Some(base(Some(format!(r#"{{"n":{n}}}"#)))),
            Kind::Delete => Some(base(None)),
            Kind::Increment(_) => None,
        };
        if let Some(put) = put {
            let kept = self.kept.clone();
            let (row, kind) = (self.row.take(), PutKind::LastWriterWins);
            let plain = row.as_ref().and_then(Row::plain);
            let replaces = plain.is_some_and(|plain| replaces_plain(plain, write.version, seen));
            let unread = replaces.then(|| Merged::of(put.clone()));
            let merged = merge_put(row, put, kind, seen, || Ok::<_, Infallible>(kept)).unwrap();
            assert!(unread.is_none_or(|unread| unread == merged), "{merged:?}");
            self.conflicts += merged.conflicts.len();
            self.row = Some(merged.row);
        } else if let Kind::Increment(by) = write.kind {
            let increment = KeptIncrement {
                version: write.version,
                by: vec![("n".into(), by)],
            };
            self.row = Some(merge_increment(self.row.take(), &increment));
            self.kept.push(increment);
        }
        self.applied.push(write.clone());
    }

    /// What the law says, from the set of writes alone.
    fn by_the_law(&self) -> Option<String> {
        let base = self
            .applied
            .iter()
            .filter(|write| !matches!(write.kind, Kind::Increment(_)))
            .max_by_key(|write| write.version);
        let unseen: Vec<i64> = self
            .applied
            .iter()
            .filter(|write| !base.is_some_and(|base| base.had_seen(write.version)))
            .filter_map(|write| {
                if let Kind::Increment(by) = write.kind {
                    Some(by)
                } else {
                    None
                }
            })
            .collect();
        let start = match base.map(|base| &base.kind) {
            Some(Kind::Put(n)) => Some(*n),
            _ => None,
        };
        if start.is_none() && unseen.is_empty() {
            return None;
        }
        Some(format!(
            r#"{{"n":{}}}"#,
            start.unwrap_or(0) + unseen.iter().sum::<i64>()
        ))
    }

    fn document(&self) -> Option<String> {
        self.row
            .as_ref()
            .and_then(|row| render(row).map(std::borrow::Cow::into_owned))
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (-100i64..100).prop_map(Kind::Put),
        Just(Kind::Delete),
        (-100i64..100).prop_map(Kind::Increment),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        region: usize,
        kind: Kind,
        skew: u64,
    },
    Deliver {
        from: usize,
        to: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, kind(), 0..50u64).prop_map(|(region, kind, skew)| Step::Write {
            region,
            kind,
            skew
        }),
        (0..3usize, 0..3usize).prop_map(|(from, to)| Step::Deliver { from, to }),
    ]
}

/// Hands `to` the first write of `from`'s that it doesn't have: in `from`'s order, so causally.
fn deliver(replicas: &mut [Replica], from: usize, to: usize) -> bool {
    let held: Vec<Version> = replicas[to]
        .applied
        .iter()
        .map(|write| write.version)
        .collect();
    let next = replicas[from]
        .applied
        .iter()
        .find(|write| !held.contains(&write.version))
        .cloned();
    let Some(write) = next else { return false };
    replicas[to].apply(&write);
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn rows_are_what_the_law_says_and_converge(steps in prop::collection::vec(step(), 1..60)) {
        let mut replicas = vec![Replica::default(); 3];
        let mut clocks = [0u64; 3];
        for step in steps {
            match step {
                Step::Write { region, kind, skew } => {
                    let seen = replicas[region].seen();
                    let floor = seen.iter().map(|(_, hlc)| hlc.raw()).max().unwrap_or(0);
                    clocks[region] = clocks[region].max(floor) + 1 + skew;
                    let origin = OriginId(region as u64 + 1);
                    let mut dependencies = seen;
                    dependencies.remove(origin);
                    let version = Version { hlc: Hlc::from_raw(clocks[region]), origin };
                    replicas[region].apply(&Write { version, dependencies, kind });
                }
                Step::Deliver { from, to } => { deliver(&mut replicas, from, to); }
            }
            for replica in &replicas {
                prop_assert_eq!(replica.document(), replica.by_the_law());
            }
        }
        while (0..3).any(|from| (0..3).any(|to| deliver(&mut replicas, from, to))) {}
        prop_assert_eq!(&replicas[0].row, &replicas[1].row);
        prop_assert_eq!(&replicas[0].row, &replicas[2].row);
    }
}

#[test]
fn a_write_that_had_seen_the_standing_one_is_no_conflict_and_a_concurrent_one_is() {
    let (a, b) = (OriginId(1), OriginId(2));
    let put = |origin, hlc, dependencies: Vector| Write {
        version: Version {
            hlc: Hlc::from_raw(hlc),
            origin,
        },
        dependencies,
        kind: Kind::Put(1),
    };
    let first = put(a, 10, Vector::default());
    let informed = put(b, 20, [(a, Hlc::from_raw(10))].into_iter().collect());
    let blind = put(b, 20, Vector::default());

    let mut replica = Replica::default();
    replica.apply(&first);
    let mut other = replica.clone();
    replica.apply(&informed);
    assert_eq!(replica.conflicts, 0);
    other.apply(&blind);
    assert_eq!(other.conflicts, 1);
}

#[test]
fn increments_that_a_delete_had_not_seen_recreate_the_row() {
    let version = |origin, hlc| Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(origin),
    };
    let increment = Write {
        version: version(1, 10),
        dependencies: Vector::default(),
        kind: Kind::Increment(4),
    };
    let delete = Write {
        version: version(2, 99),
        dependencies: Vector::default(),
        kind: Kind::Delete,
    };
    let mut replica = Replica::default();
    replica.apply(&increment);
    replica.apply(&delete);
    assert_eq!(replica.document().as_deref(), Some(r#"{"n":4}"#));
}
