//! The law of collection: a region that collects as soon as it may can't be told from one that
//! never does.

mod support;

use meridian_engine_kv::{Action, MemoryStore, RowOperation, Strategies};
use meridian_model::{Captured, Hlc, Micros, OriginId, Strategy, Vector, Version};
use proptest::prelude::{Strategy as PropStrategy, *};
use support::{Logged, Region, change_members, delete, increment, put, request};

const REGIONS: usize = 3;

/// A region twice: one that collects, one that doesn't.
struct Twins {
    collecting: Region<MemoryStore>,
    hoarding: Region<MemoryStore>,
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, u64, RowOperation),
    Deliver(usize, usize),
    Collect(usize),
    /// All hear of everything, and of that.
    Settle,
    Strategy(usize, Strategy),
}

fn row_operation() -> impl PropStrategy<Value = RowOperation> {
    let key = || prop::sample::select(vec!["j", "k"]);
    let document = prop::sample::select(vec![
        r#"{ "n": 1000 }"#,
        r#"{"a":1,"n":5}"#,
        r#"{"a":2}"#,
        r#"{"b":1,"s":["x"]}"#,
        "{}",
    ]);
    let members = || {
        let all = vec!["\"x\"".to_owned(), "\"y\"".to_owned()];
        prop::sample::subsequence(all, 0..3)
    };
    prop_oneof![
        4 => (key(), document).prop_map(|(key, document)| put(key, document)),
        2 => key().prop_map(delete),
        3 => (key(), -9..10i64).prop_map(|(key, by)| increment(key, "n", by)),
        2 => (key(), members(), members()).prop_map(|(key, add, mut remove)| {
            remove.retain(|member| !add.contains(member));
            change_members(key, "s", add, remove)
        }),
    ]
}

fn steps() -> impl PropStrategy<Value = Vec<Step>> {
    let region = || 0..REGIONS;
    let skew = || prop_oneof![3 => Just(0u64), 1 => 0..40u64];
    let step = prop_oneof![
        7 => (region(), skew(), row_operation())
            .prop_map(|(region, skew, operation)| Step::Write(region, skew, operation)),
        8 => (region(), region()).prop_map(|(from, to)| Step::Deliver(from, to)),
        3 => region().prop_map(Step::Collect),
        1 => Just(Step::Settle),
        1 => (region(), prop::sample::select(Strategy::ALL.to_vec()))
            .prop_map(|(region, strategy)| Step::Strategy(region, strategy)),
    ];
    prop::collection::vec(step, 1..120)
}

impl Twins {
    fn new(origin: u64) -> Self {
        Self {
            collecting: Region::new(origin, MemoryStore::default()),
            hoarding: Region::new(origin, MemoryStore::default()),
        }
    }

    fn write(&mut self, skew: u64, operation: RowOperation) -> Result<(), TestCaseError> {
        let clock = self.collecting.next_version().hlc.raw() + skew;
        let request = request(vec![operation]);
        let mut outcomes = Vec::new();
        for region in [&mut self.collecting, &mut self.hoarding] {
            region.clock = clock;
            // Siblings may be in the way of an increment.
            outcomes.push(region.request(&request).map_err(|error| error.to_string()));
        }
        prop_assert_eq!(&outcomes[0], &outcomes[1]);
        Ok(())
    }

    fn deliver(&mut self, logged: &Logged) {
        self.collecting.deliver(logged);
        self.hoarding.deliver(logged);
    }

    /// The first entry of this region's log that `to` doesn't hold.
    fn next_for(&self, to: &Self) -> Option<Logged> {
        let held = |logged: &&Logged| to.collecting.seen.has_seen(logged.0);
        self.collecting
            .log
            .iter()
            .find(|logged| !held(logged))
            .cloned()
    }

    /// What every member had applied when it committed the latest entry that is applied here.
    fn stable(&self) -> Vector {
        let knows = |member: OriginId| {
            let latest = self
                .collecting
                .log
                .iter()
                .rev()
                .find(|(version, _)| version.origin == member);
            let mut knows = latest.map(|(_, transaction)| transaction.dependencies.clone());
            if let (Some(knows), Some((version, _))) = (&mut knows, latest) {
                knows.raise(member, version.hlc);
            }
            knows.unwrap_or_default()
        };
        let mut members: Vec<Vector> = (1..=REGIONS as u64).map(OriginId).map(knows).collect();
        members[usize::try_from(self.collecting.origin.0).unwrap() - 1] =
            self.collecting.seen.clone();
        let least = |origin| members.iter().map(|member| member.get(origin)).min();
        (1..=REGIONS as u64)
            .map(OriginId)
            .map(|origin| (origin, least(origin).unwrap_or(Hlc::ZERO)))
            .collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (one, other) = (self.collecting.reader(), self.hoarding.reader());
        for key in ["j", "k"] {
            prop_assert_eq!(one.get("t", key).unwrap(), other.get("t", key).unwrap());
        }
        prop_assert_eq!(one.checksum("t").unwrap(), other.checksum("t").unwrap());
        let conflicts = one.conflicts(None, 1_000).unwrap();
        prop_assert_eq!(conflicts, other.conflicts(None, 1_000).unwrap());
        Ok(())
    }
}

fn exchange(regions: &mut [Twins]) {
    for (from, to) in (0..REGIONS).flat_map(|from| (0..REGIONS).map(move |to| (from, to))) {
        while let Some(logged) = regions[from].next_for(&regions[to]) {
            regions[to].deliver(&logged);
        }
    }
}

fn settle(regions: &mut [Twins]) -> Result<(), TestCaseError> {
    exchange(regions);
    exchange(regions);
    for region in &mut *regions {
        region.write(0, put("elsewhere", "1"))?;
    }
    exchange(regions);
    exchange(regions);
    Ok(())
}

fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut regions: Vec<Twins> = (1..=REGIONS as u64).map(Twins::new).collect();
    for step in steps {
        match step {
            Step::Write(region, skew, operation) => regions[region].write(skew, operation)?,
            Step::Strategy(region, default) => {
                let twins = &mut regions[region];
                for region in [&mut twins.collecting, &mut twins.hoarding] {
                    region.tables.set_strategies(Strategies {
                        default,
                        ..Strategies::default()
                    });
                }
            }
            Step::Deliver(from, to) => {
                if let Some(logged) = regions[from].next_for(&regions[to]) {
                    regions[to].deliver(&logged);
                }
            }
            Step::Settle => settle(&mut regions)?,
            Step::Collect(region) => {
                let stable = regions[region].stable();
                regions[region].collecting.collect(&stable, Micros(8));
            }
        }
        for twins in &regions {
            twins.check()?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn collecting_is_never_seen(steps in steps()) {
        play(steps)?;
    }
}

/// A removal that leaves a deleted row without members is the row's last change, and names it with
/// whatever comes from a region that has not seen it.
#[test]
fn a_deleted_row_keeps_the_version_of_a_removal_that_is_still_on_its_way() {
    let member = |add: &[&str], remove: &[&str]| {
        let texts = |members: &[&str]| members.iter().map(|m| format!("\"{m}\"")).collect();
        change_members("j", "s", texts(add), texts(remove))
    };
    let steps = vec![
        Step::Write(0, 0, put("j", "{}")),
        Step::Write(0, 11, delete("j")),
        Step::Write(1, 0, member(&["x"], &[])),
        Step::Settle,
        Step::Write(2, 0, member(&[], &["x"])),
        Step::Collect(2),
        Step::Write(0, 0, member(&["y"], &[])),
        Step::Deliver(0, 2),
    ];
    play(steps).expect("what is collected is not missed");
}

/// The removal of a field that the document hasn't got shows in neither its text nor its name, since
/// it is forgotten in one region before another.
#[test]
fn a_removal_of_a_field_that_is_not_there_does_not_show() {
    let spaced = r#"{ "n": 1000 }"#;
    for other in [Strategy::LastWriterWins, Strategy::Siblings] {
        let steps = vec![
            Step::Strategy(1, other),
            Step::Write(1, 0, put("k", r#"{"b":1}"#)),
            Step::Strategy(1, Strategy::RegisterPerField),
            Step::Write(2, 1, put("k", spaced)),
            Step::Write(1, 5, put("k", "{}")),
            Step::Settle,
            Step::Collect(0),
        ];
        play(steps).expect("what is collected is not missed");
    }
}

/// Two regions with a row and an increment of it, which one of them has collected and one hasn't; with
/// whose these are.
fn divided() -> (Region<MemoryStore>, [Region<MemoryStore>; 2]) {
    let mut author = Region::new(1, MemoryStore::default());
    let mut regions = [2, 3].map(|origin| Region::new(origin, MemoryStore::default()));
    let written = [author.put("k", r#"{"n":1}"#), author.increment("k", "n", 5)];
    for region in &mut regions {
        written.iter().for_each(|logged| region.deliver(logged));
    }
    regions[0].collect(&author.seen, Micros(8));
    (author, regions)
}

fn put_by_a_joiner(seen: Vector) -> Logged {
    let mut joiner = Region::new(4, MemoryStore::default());
    (joiner.clock, joiner.seen) = (100, seen);
    joiner.put("k", r#"{"n":10}"#)
}

fn shown(regions: &[Region<MemoryStore>; 2]) -> [String; 2] {
    let documents = regions.each_ref().map(|region| region.document("k"));
    documents.map(Option::unwrap_or_default)
}

/// Why who joins has to have seen what the others had collected before it writes.
#[test]
fn a_write_that_had_not_seen_what_was_collected_leaves_rows_that_differ() {
    let (author, mut regions) = divided();
    let blind = put_by_a_joiner(Vector::default());
    regions.iter_mut().for_each(|region| region.deliver(&blind));
    assert_eq!(shown(&regions), [r#"{"n":10}"#, r#"{"n":15}"#]);
    // What has seen it replaces it everywhere.
    let (version, mut transaction) = put_by_a_joiner(author.seen);
    let version = Version {
        hlc: Hlc::from_raw(version.hlc.raw() + 100),
        ..version
    };
    transaction.dependencies.raise(version.origin, blind.0.hlc);
    for region in &mut regions {
        region.deliver(&(version, transaction.clone()));
    }
    assert_eq!(shown(&regions), [r#"{"n":10}"#; 2]);
}

/// Where its engine can't have seen it, it absorbs it.
#[test]
fn what_a_write_absorbs_counts_nowhere_whether_it_was_collected_or_not() {
    for operation in [put("k", r#"{"n":10}"#), delete("k")] {
        let (mut author, mut regions) = divided();
        let mut joiner = Region::new(4, MemoryStore::default());
        joiner.clock = 100;
        if matches!(operation.action, Action::Delete) {
            joiner.put("k", "{}");
        }
        joiner.run(vec![operation]);
        let (version, transaction) = joiner.log.last().unwrap().clone();
        let captured = Captured {
            transaction,
            absorbed: author.seen.clone(),
            ..Captured::default()
        };
        for region in &mut regions {
            region.deliver_captured(version, &captured);
        }
        let [one, other] = shown(&regions);
        assert!(["", r#"{"n":10}"#].contains(&one.as_str()), "{one}");
        assert_eq!(one, other);
        // What comes later counts beside it.
        let later = author.increment("k", "n", 2);
        regions.iter_mut().for_each(|region| region.deliver(&later));
        let [one, other] = shown(&regions);
        assert!(
            [r#"{"n":2}"#, r#"{"n":12}"#].contains(&one.as_str()),
            "{one}"
        );
        assert_eq!(one, other);
    }
}
