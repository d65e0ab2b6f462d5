//! Comparisons between three regions at rest: exact counts, whatever the order of answers.

use meridian_engine_kv::damage::{self, Damage};
use meridian_engine_kv::{Limits, MemoryStore, Tables};
use meridian_model::{
    Change, Hlc, Micros, Operation, OriginId, Position, RegionName, RowName, Span, Transaction,
    Vector, Version,
};
use meridian_replicate::compare::{Comparison, Mended, Plan, Reply, Report, Scope, Step};
use meridian_replicate::{Applying, Engine as _};
use std::collections::BTreeMap;

const ORIGIN: OriginId = OriginId(1);
const REGIONS: [&str; 3] = ["a", "b", "c"];

struct Regions {
    stores: BTreeMap<RegionName, MemoryStore>,
    applied: Vector,
}

fn row(index: usize) -> RowName {
    RowName {
        table: "t".to_owned(),
        key: format!("row-{index:06}"),
    }
}

impl Regions {
    fn with_rows(count: usize) -> Self {
        let changes = (0..count).map(|index| Change {
            table: "t".to_owned(),
            key: row(index).key,
            operation: Operation::Put {
                document: index.to_string(),
            },
        });
        let transaction = Transaction {
            dependencies: Vector::default(),
            changes: changes.collect(),
            idempotency: None,
        };
        let version = Version {
            hlc: Hlc::from_raw(5),
            origin: ORIGIN,
        };
        let stores = REGIONS.map(|region| {
            let store = MemoryStore::default();
            let mut tables = Tables::open(store.clone(), Limits::default()).unwrap();
            let applying = Applying {
                position: Position(0),
                version,
                transaction: &transaction,
                captured: None,
                now: Micros(0),
            };
            tables.apply(&applying).unwrap();
            tables.commit(Position(1), None).unwrap();
            (RegionName::new(region), store)
        });
        Self {
            stores: stores.into(),
            applied: [(ORIGIN, version.hlc)].into_iter().collect(),
        }
    }

    fn damage(&self, region: &str, index: usize, kind: &Damage) {
        let store = &self.stores[&RegionName::new(region)];
        assert!(damage::damage(store, &row(index), kind).unwrap());
    }

    /// Lets a region compare; `own_last` says in which order the answers come.
    fn compare(&self, own: &str, repair: bool, own_last: bool) -> (Report, usize) {
        let own = RegionName::new(own);
        let peers = self.stores.keys().filter(|region| **region != own);
        let mut comparison = Comparison::new(Plan {
            peers: peers.cloned().collect(),
            own: own.clone(),
            regions: self.stores.len(),
            scope: Scope::Spans(vec![Span::default()]),
            repair,
            prefer: None,
        });
        let snapshot = |region: &RegionName| {
            let tables = Tables::open(self.stores[region].clone(), Limits::default()).unwrap();
            tables.reader().snapshot()
        };
        let mut questions_asked = 0;
        loop {
            let reply = match comparison.due() {
                Step::Done => return (comparison.report().clone(), questions_asked),
                Step::Section {
                    span,
                    rows_max,
                    leaf_rows,
                } => Reply::Section(snapshot(&own).section(&span, rows_max, leaf_rows).unwrap()),
                Step::Ask(questions) => {
                    questions_asked += questions.len();
                    let mut answers: Vec<_> = questions
                        .into_iter()
                        .map(|(region, question)| {
                            let answer = snapshot(&region).answer(&self.applied, &question);
                            (region, Ok(answer.unwrap().unwrap()))
                        })
                        .collect();
                    answers.sort_by_key(|(region, _)| (*region == own) == own_last);
                    Reply::Answers(answers)
                }
                Step::Mend(mendings) => {
                    let store = self.stores[&own].clone();
                    let mut tables = Tables::open(store, Limits::default()).unwrap();
                    let mended = mendings.iter().map(|mending| tables.mend(mending).unwrap());
                    let mended: Vec<Mended> = mended.collect();
                    tables.commit(tables.position(), None).unwrap();
                    Reply::Mended(mended)
                }
            };
            comparison.take(reply);
        }
    }

    fn records(&self, region: &str) -> Vec<(RowName, Vec<u8>)> {
        let store = &self.stores[&RegionName::new(region)];
        let names = damage::rows(store).unwrap().into_iter();
        names
            .map(|name| {
                let record = damage::record(store, &name).unwrap().unwrap();
                (name, record)
            })
            .collect()
    }
}

#[test]
fn what_is_alike_costs_a_question_for_each_section_and_peer() {
    let regions = Regions::with_rows(20_000);
    let (report, questions) = regions.compare("a", true, false);
    assert!(report.is_clean() && report.found == 0, "{report:?}");
    assert_eq!(report.rows, 20_000);
    assert_eq!(questions, 4, "two sections, two peers");
}

#[test]
fn every_damaged_row_is_found_and_mended_and_no_other_in_any_order_of_answers() {
    for own_last in [false, true] {
        let regions = Regions::with_rows(20_000);
        let before = regions.records("b");
        for index in (0..20_000).step_by(61) {
            let kind = [Damage::Flip, Damage::Rewrite, Damage::Drop][index % 3].clone();
            regions.damage("b", index, &kind);
        }
        let damaged = 20_000usize.div_ceil(61) as u64;
        let (seen, _) = regions.compare("a", true, own_last);
        assert_eq!((seen.found, seen.theirs), (damaged, damaged));
        assert_eq!(seen.peers[&RegionName::new("b")].differences, damaged);
        assert_eq!(seen.peers[&RegionName::new("c")].differences, 0);
        let (found, _) = regions.compare("b", false, own_last);
        assert_eq!((found.found, found.unmended), (damaged, damaged));
        let (mended, _) = regions.compare("b", true, own_last);
        assert_eq!((mended.found, mended.mended), (damaged, damaged));
        assert!(mended.is_clean());
        assert!(regions.records("b") == before, "the records differ");
        assert!(regions.records("a") == before && regions.records("c") == before);
    }
}

#[test]
fn a_region_that_lost_all_its_rows_gets_them_back() {
    let regions = Regions::with_rows(9_000);
    for index in 0..9_000 {
        regions.damage("c", index, &Damage::Drop);
    }
    let (report, _) = regions.compare("c", true, true);
    assert_eq!((report.found, report.mended), (9_000, 9_000));
    assert!(regions.records("c") == regions.records("a"));
}

#[test]
fn rows_that_only_one_region_has_go() {
    let regions = Regions::with_rows(10);
    let store = &regions.stores[&RegionName::new("a")];
    for other in ["b", "c"] {
        regions.damage(other, 3, &Damage::Drop);
    }
    let (report, _) = regions.compare("a", true, false);
    assert_eq!((report.found, report.mended), (1, 1));
    assert_eq!(damage::record(store, &row(3)).unwrap(), None);
}

#[test]
fn a_mending_that_comes_too_late_or_from_before_what_was_collected_changes_nothing() {
    let regions = Regions::with_rows(3);
    let store = regions.stores[&RegionName::new("a")].clone();
    let mut tables = Tables::open(store, Limits::default()).unwrap();
    let snapshot = tables.reader().snapshot();
    let state = snapshot.look(&[row(0)]).unwrap()[0].state;
    let mending = |expected| meridian_replicate::compare::Mending {
        name: row(0),
        expected,
        as_of: regions.applied.clone(),
        ahead: false,
        row: snapshot.fetch(&[row(0)], 1).unwrap().remove(0),
    };
    assert_eq!(tables.mend(&mending(state ^ 1)).unwrap(), Mended::MovedOn);
    assert_eq!(tables.mend(&mending(state)).unwrap(), Mended::Staged);
    tables.discard();
    let later = [(ORIGIN, Hlc::from_raw(6))].into_iter().collect();
    tables.collect(&later, Micros(0)).unwrap();
    tables.commit(tables.position(), None).unwrap();
    assert_eq!(
        tables.mend(&mending(state)).unwrap(),
        Mended::MovedOn,
        "a delete may have come and gone"
    );
    // Where a region begins to count, nothing is stable until it has reported.
    tables.collect(&Vector::default(), Micros(0)).unwrap();
    tables.commit(tables.position(), None).unwrap();
    assert_eq!(
        tables.mend(&mending(state)).unwrap(),
        Mended::MovedOn,
        "what was collected stays so"
    );
}
