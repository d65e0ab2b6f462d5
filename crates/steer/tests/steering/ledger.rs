//! Ledgers of regions whose messages are lost, repeated and late, and which are restarted from what
//! they had made durable.

use meridian_model::{Hlc, Micros, OriginId, RegionName, Version};
use meridian_steer::{CHANGES_KEPT, Ledger, Subject, Telling, Told, Want, Wish};
use proptest::prelude::*;

fn wish(hlc: u64, origin: u64, region: &str, want: Want) -> Wish {
    Wish {
        subject: Subject::region(region),
        want,
        before: Want::AsUsual,
        version: Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(origin),
        },
        at: Micros(hlc),
        who: "ann".to_owned(),
        why: "maintenance".to_owned(),
    }
}

fn any_wish() -> impl Strategy<Value = Wish> {
    // More versions than are kept, few subjects: cuts happen, and rows stand that are old.
    (1..3 * CHANGES_KEPT as u64, 0u64..2, 0..6u8).prop_map(|(hlc, origin, region)| {
        // Of one region nothing was wanted for long.
        let hlc = if region == 0 { hlc % 40 + 1 } else { hlc };
        // A version names one transaction, so what it wants of a region is always the same.
        let want = match hlc % 3 {
            0 => Want::AsUsual,
            1 => Want::Drained,
            _ => Want::Percent((hlc % 100) as u8),
        };
        wish(hlc, origin, &format!("r{region}"), want)
    })
}

fn of(wishes: &[Wish]) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.merge(wishes.to_vec());
    ledger
}

fn rows(ledger: &Ledger) -> Vec<Wish> {
    ledger.tell(Telling::All, None).wishes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_in_which_ledgers_are_merged_does_not_matter(
        all in prop::collection::vec(any_wish(), 0..700),
        cut in 0..700usize,
        again in 0..700usize,
    ) {
        let (one, other) = all.split_at(cut.min(all.len()));
        let (one, other) = (of(one), of(other));
        let mut there = one.clone();
        there.merge(rows(&other));
        let mut back = other.clone();
        back.merge(rows(&one));
        prop_assert_eq!(&there, &back);
        prop_assert_eq!(&there, &of(&all));
        let repeated: Vec<_> = all[again.min(all.len())..].to_vec();
        prop_assert!(!there.clone().merge(rows(&one)));
        // Rows that were cut come again and are cut again.
        there.merge(repeated);
        prop_assert_eq!(there, back);
    }

    /// What stands is what the same wishes come to where nothing is ever forgotten.
    #[test]
    fn nothing_that_stands_is_forgotten(all in prop::collection::vec(any_wish(), 0..700)) {
        let mut desired = meridian_steer::Desired::default();
        for wish in &all {
            desired.merge(wish.clone());
        }
        // As a restart finds it: of the rows alone.
        let ledger = Ledger::decode(&of(&all).encode()).unwrap();
        prop_assert_eq!(ledger.desired(), &desired);
    }

    /// Any exchange of messages, each lost or not, and two whole rounds in the end.
    #[test]
    fn regions_agree_once_they_hear_each_other(
        steps in prop::collection::vec((0..4usize, 0..4usize, 0..4u8, any::<bool>()), 0..80),
    ) {
        let mut world = World::default();
        for (number, (from, to, what, arrives)) in steps.into_iter().enumerate() {
            match what {
                // More than are told as news.
                0 => (0..6).for_each(|_| world.write(from, number)),
                1 => world.restart(from),
                _ => world.exchange(from, to, arrives),
            }
        }
        for _ in 0..2 {
            for from in 0..4 {
                for to in 0..4 {
                    world.exchange(from, to, true);
                }
            }
        }
        let first = world.durable[0].clone();
        prop_assert!(world.durable.iter().all(|ledger| *ledger == first));
        for version in &world.acknowledged {
            prop_assert!(first.changes().iter().any(|change| change.version == *version));
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Told::decode(&bytes);
        let _ = Ledger::decode(&bytes);
    }
}

/// Four regions. What is in memory is always durable: a ledger is written before it is used.
#[derive(Default)]
struct World {
    durable: [Ledger; 4],
    acknowledged: Vec<Version>,
}

impl World {
    fn write(&mut self, region: usize, number: usize) {
        let ledger = &mut self.durable[region];
        // Clocks are as wrong as they like.
        let now = Micros([5, 9_000_000, 77, 1][region]);
        let version = ledger.next_version(now, OriginId(region as u64)).unwrap();
        let mut row = wish(
            0,
            0,
            &format!("r{}", number % 3),
            Want::Percent((number % 100) as u8),
        );
        row.version = version;
        ledger.merge([row]);
        self.acknowledged.push(version);
    }

    fn restart(&mut self, region: usize) {
        let bytes = self.durable[region].encode();
        self.durable[region] = Ledger::decode(&bytes).unwrap();
    }

    fn exchange(&mut self, from: usize, to: usize, answer_arrives: bool) {
        let mut telling = Telling::News;
        loop {
            let told = self.durable[from].tell(telling, None);
            let told = Told::decode(&told.encode()).unwrap();
            let heard = self.durable[to].hear(told);
            if !answer_arrives {
                return;
            }
            let how = if heard.agrees {
                Telling::Digest
            } else {
                Telling::All
            };
            let answer = self.durable[to].tell(how, None);
            let heard = self.durable[from].hear(answer);
            if heard.agrees || telling == Telling::All {
                return;
            }
            telling = Telling::All;
        }
    }
}

#[test]
fn a_change_is_a_transactions_rows_and_what_stands_of_them() {
    let ledger = of(&[
        wish(1, 7, "a", Want::Drained),
        wish(1, 7, "b", Want::Percent(20)),
        wish(2, 7, "a", Want::AsUsual),
    ]);
    let changes = ledger.changes();
    assert_eq!(changes.len(), 2);
    assert_eq!(
        (changes[0].version.hlc, changes[0].standing),
        (Hlc::from_raw(2), 1)
    );
    assert_eq!(changes[1].wishes.len(), 2);
    assert_eq!(changes[1].standing, 1);
    assert_eq!(changes[1].wishes[0].subject.region, RegionName::new("a"));
}

#[test]
fn a_new_version_is_greater_than_all_whatever_the_clock_says() {
    let ahead = Hlc::at(Micros(4_000_000)).raw();
    let ledger = of(&[wish(ahead, 9, "a", Want::Drained)]);
    let version = ledger.next_version(Micros(5), OriginId(1)).unwrap();
    assert!(version > wish(ahead, 9, "a", Want::Drained).version);
}

#[test]
fn the_format_stays_as_it_is() {
    let told = Told {
        digest: 300,
        wishes: vec![wish(5, 6, "a", Want::Percent(20))],
        load_per_second: Some(9),
    };
    let golden = b"\xac\x02\x01\x01a\x00\x02\x14\x00\x05\x06\x05\x03ann\x0bmaintenance\x01\x09";
    assert_eq!(told.encode(), golden);
    assert_eq!(Told::decode(golden).unwrap(), told);
    for end in 0..golden.len() {
        assert!(Told::decode(&golden[..end]).is_err(), "{end}");
    }
    assert!(Told::decode(&[&golden[..], b"x"].concat()).is_err());
}
