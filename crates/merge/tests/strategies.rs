//! All kinds of writes on one row, in any causally valid order, against the law that looks at the
//! whole set of them.

use meridian_check::{Committed, ExpectedRow, Law};
use meridian_merge::{
    Base, KeptIncrement, PutKind, Row, Seen, merge_edit, merge_increment, merge_put, shown,
};
use meridian_model::{Change, Edit, Hlc, Members, Operation, OriginId, Vector, Version};
use proptest::prelude::*;
use serde_json::Value;
use std::convert::Infallible;

const REGIONS: usize = 3;

/// One region: the row, the increments kept apart, and what was applied, in its order.
#[derive(Clone, Default)]
struct Replica {
    row: Option<Row>,
    kept: Vec<KeptIncrement>,
    applied: Vec<Committed>,
}

impl Replica {
    fn seen(&self) -> Vector {
        let mut seen = Vector::default();
        for write in &self.applied {
            seen.raise(write.version.origin, write.version.hlc);
        }
        seen
    }

    fn apply(&mut self, write: &Committed) {
        let version = write.version;
        let seen = Seen {
            version,
            dependencies: Some(&write.dependencies),
            absorbed: None,
        };
        let kept = self.kept.clone();
        let kept = || Ok::<_, Infallible>(kept);
        let row = self.row.take();
        let put = |document| Base { version, document };
        let (last, sibling) = (PutKind::LastWriterWins, PutKind::Sibling);
        self.row = Some(match &write.changes[0].operation {
            Operation::Put { document } => {
                merge_put(row, put(Some(document.clone())), last, seen, kept)
                    .unwrap()
                    .row
            }
            Operation::Delete => merge_put(row, put(None), last, seen, kept).unwrap().row,
            Operation::Sibling { document } => {
                merge_put(row, put(document.clone()), sibling, seen, kept)
                    .unwrap()
                    .row
            }
            Operation::Edit(edit) => {
                let merged = merge_edit(row, edit, seen, kept).unwrap();
                self.keep(version, &edit.by);
                merged.row
            }
            Operation::Increment { by } => {
                let by = by.clone();
                self.keep(version, &by);
                merge_increment(row, &KeptIncrement { version, by })
            }
        });
        self.applied.push(write.clone());
    }

    fn keep(&mut self, version: Version, by: &[(String, i64)]) {
        let by = by.to_vec();
        self.kept.push(KeptIncrement { version, by });
    }

    fn shows(&self) -> Option<ExpectedRow> {
        let row = self.row.as_ref()?;
        let mut documents = shown(row)
            .into_iter()
            .map(|shown| serde_json::from_str::<Value>(&shown.document).unwrap());
        Some(ExpectedRow {
            version: row.version,
            document: documents.next()?,
            siblings: documents.collect(),
        })
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let law = Law::of(&self.applied);
        let shows = self.shows();
        prop_assert_eq!(shows.as_ref(), law.rows().values().next());
        let is_there = self.row.as_ref().is_some_and(|row| !row.is_tombstone());
        prop_assert!(is_there || shows.is_none());
        Ok(())
    }
}

fn members() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(prop::sample::select(vec!["\"x\"", "\"y\"", "3"]), 0..3)
        .prop_map(|members| members.into_iter().map(str::to_owned).collect())
}

fn document() -> impl Strategy<Value = String> {
    let array = members().prop_map(|members| format!("[{}]", members.join(",")));
    prop_oneof![
        1 => Just("[7]".to_owned()),
        8 => (0..99i64, prop::option::of(0..99i64), prop::option::of(array)).prop_map(|(n, m, s)| {
            let m = m.map_or_else(String::new, |m| format!(r#","m":{m}"#));
            let s = s.map_or_else(String::new, |s| format!(r#","s":{s}"#));
            format!(r#"{{"n":{n}{m}{s}}}"#)
        }),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let number = || prop::option::of((0..99i64).prop_map(|n| n.to_string()));
    let array = members().prop_map(|members| format!("[{}]", members.join(",")));
    let members = (members(), members()).prop_map(|(add, mut remove)| {
        remove.retain(|member| !add.contains(member));
        Members { add, remove }
    });
    (
        prop::option::of(number()),
        prop::option::of(number()),
        prop::option::of(prop::option::of(array)),
        prop::option::of(-9..9i64),
        prop::option::of(members),
    )
        .prop_map(|(n, m, s, by, members)| {
            let by = by.filter(|_| n.is_none());
            let set = [("m", m), ("n", n), ("s", s)];
            let set = set.into_iter();
            Edit {
                set: set
                    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                    .collect(),
                by: by.map(|by| ("n".to_owned(), by)).into_iter().collect(),
                members: members
                    .map(|members| ("s".to_owned(), members))
                    .into_iter()
                    .collect(),
            }
        })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => document().prop_map(|document| Operation::Put { document }),
        1 => Just(Operation::Delete),
        2 => (-9..9i64).prop_map(|by| Operation::Increment { by: vec![("n".to_owned(), by)] }),
        3 => prop::option::weighted(0.8, document())
            .prop_map(|document| Operation::Sibling { document }),
        6 => edit().prop_map(Operation::Edit),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Operation, u64),
    Deliver(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let region = || 0..REGIONS;
    prop_oneof![
        (region(), operation(), 0..50u64)
            .prop_map(|(region, operation, skew)| Step::Write(region, operation, skew)),
        (region(), region()).prop_map(|(from, to)| Step::Deliver(from, to)),
    ]
}

/// Hands `to` the first write of `from`'s that it doesn't have: in `from`'s order, so causally.
fn deliver(replicas: &mut [Replica], from: usize, to: usize) -> bool {
    let seen = replicas[to].seen();
    let mut applied = replicas[from].applied.iter();
    let next = applied.find(|write| !seen.has_seen(write.version)).cloned();
    let Some(write) = next else { return false };
    replicas[to].apply(&write);
    true
}

fn write(replica: &mut Replica, region: usize, operation: Operation, skew: u64) {
    let mut dependencies = replica.seen();
    let floor = dependencies.iter().map(|(_, hlc)| hlc.raw()).max();
    let origin = OriginId(region as u64 + 1);
    dependencies.remove(origin);
    let change = Change {
        table: "t".to_owned(),
        key: "k".to_owned(),
        operation,
    };
    replica.apply(&Committed {
        version: Version {
            hlc: Hlc::from_raw(floor.unwrap_or(0) + 1 + skew),
            origin,
        },
        dependencies,
        absorbed: Vector::default(),
        changes: vec![change],
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn rows_are_what_the_law_says_and_converge(steps in prop::collection::vec(step(), 1..50)) {
        let mut replicas = vec![Replica::default(); REGIONS];
        for step in steps {
            match step {
                Step::Write(region, operation, skew) => {
                    write(&mut replicas[region], region, operation, skew);
                }
                Step::Deliver(from, to) => { deliver(&mut replicas, from, to); }
            }
            for replica in &replicas {
                replica.check()?;
            }
        }
        while (0..REGIONS).any(|from| (0..REGIONS).any(|to| deliver(&mut replicas, from, to))) {}
        for replica in &replicas {
            replica.check()?;
            prop_assert_eq!(&replicas[0].row, &replica.row);
            let names = replica.row.as_ref().map(Row::named);
            prop_assert_eq!(replicas[0].row.as_ref().map(Row::named), names);
        }
    }

    #[test]
    fn a_name_names_one_content(steps in prop::collection::vec(step(), 1..50)) {
        let mut replicas = vec![Replica::default(); REGIONS];
        let mut named = std::collections::HashMap::new();
        for step in steps {
            match step {
                Step::Write(region, operation, skew) => {
                    write(&mut replicas[region], region, operation, skew);
                }
                Step::Deliver(from, to) => { deliver(&mut replicas, from, to); }
            }
            for row in replicas.iter().filter_map(|replica| replica.row.as_ref()) {
                let shown = shown(row);
                let documents: Vec<String> =
                    shown.iter().map(|shown| shown.document.to_string()).collect();
                for shown in &shown {
                    let one = vec![shown.document.to_string()];
                    let before = named.entry(shown.version.to_string()).or_insert_with(|| one.clone());
                    prop_assert_eq!(&*before, &one);
                }
                let name = row.named().to_string();
                let before = named.entry(name).or_insert_with(|| documents.clone());
                prop_assert_eq!(&*before, &documents);
            }
        }
    }
}
