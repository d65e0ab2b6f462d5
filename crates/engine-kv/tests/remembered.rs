//! What the tables remember of rows written lately: it saves reads and changes nothing.

mod support;

use meridian_engine_kv::MemoryStore;
use meridian_model::{Answer, Micros, Question, RowName, Vector};
use meridian_replicate::Engine;
use meridian_replicate::compare::{Mended, Mending};
use proptest::prelude::*;
use support::{Region, delete, dump, increment, put, request};

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Increment(u8),
    /// Another region writes without having seen more than it was told, and that comes here.
    Elsewhere(u8, bool),
    Commit,
    Discard,
    /// The other region is told of everything, and what that makes superfluous is collected.
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..2).prop_map(Step::Put),
        2 => (0u8..2).prop_map(Step::Delete),
        3 => (0u8..2).prop_map(Step::Increment),
        3 => (0u8..2, any::<bool>()).prop_map(|(key, is_put)| Step::Elsewhere(key, is_put)),
        3 => Just(Step::Commit),
        2 => Just(Step::Discard),
        1 => Just(Step::Collect),
    ]
}

struct World {
    store: MemoryStore,
    here: Region<MemoryStore>,
    there: Region<MemoryStore>,
    anew_store: MemoryStore,
    /// Has all that `here` has, and is opened before each transaction.
    anew: Region<MemoryStore>,
    copied: usize,
}

impl World {
    fn new() -> Self {
        let (store, anew_store) = (MemoryStore::default(), MemoryStore::default());
        Self {
            here: Region::new(1, store.clone()),
            store,
            there: Region::new(2, MemoryStore::default()),
            anew: Region::new(1, anew_store.clone()),
            anew_store,
            copied: 0,
        }
    }

    fn is_equal(&self) -> bool {
        dump(&self.store) == dump(&self.anew_store)
    }

    fn commit(&mut self) {
        self.here.commit();
        for logged in &self.here.log[self.copied..] {
            self.anew.restart(self.anew_store.clone());
            self.anew.deliver(logged);
        }
        self.anew.commit();
        self.copied = self.here.log.len();
    }

    fn tell(&mut self) {
        let told = self.there.seen.get(self.here.origin);
        for logged in &self.here.log {
            if logged.0.origin == self.here.origin && logged.0.hlc > told {
                self.there.deliver(logged);
            }
        }
    }

    fn step(&mut self, step: &Step, number: usize) {
        let document = format!(r#"{{"n":{number}}}"#);
        let key = |key: &u8| key.to_string();
        let operation = match step {
            Step::Put(at) => put(&key(at), &document),
            Step::Delete(at) => delete(&key(at)),
            Step::Increment(at) => increment(&key(at), "n", 1),
            Step::Elsewhere(at, is_put) => {
                let before = self.there.log.len();
                match is_put {
                    true => self.there.run(vec![put(&key(at), &document)]),
                    false => self.there.run(vec![delete(&key(at))]),
                };
                for logged in &self.there.log[before..] {
                    self.here.apply(logged.clone());
                }
                return self.commit();
            }
            Step::Commit => return self.commit(),
            Step::Discard => {
                self.here.tables.discard();
                return self.here.log.truncate(self.copied);
            }
            Step::Collect => {
                self.commit();
                self.tell();
                let stable = self.here.seen.clone();
                self.anew.restart(self.anew_store.clone());
                self.here.collect(&stable, Micros(8));
                self.anew.collect(&stable, Micros(8));
                return;
            }
        };
        self.here.stage(&request(vec![operation])).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn rows_are_those_of_tables_that_remember_nothing(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for (number, step) in steps.iter().enumerate() {
            world.step(step, number);
            prop_assert!(world.copied < world.here.log.len() || world.is_equal());
        }
    }
}

#[test]
fn a_row_taken_over_from_another_region_is_what_a_put_replaces() {
    let mut here = Region::new(1, MemoryStore::default());
    let mut there = Region::new(2, MemoryStore::default());
    there.deliver(&here.put("n", r#"{"n":1}"#));
    let (added, _) = there.increment("n", "n", 5);
    let name = RowName {
        table: "t".to_owned(),
        key: "n".to_owned(),
    };
    let question = Question::Fetch {
        names: vec![name.clone()],
        covering: Vector::default(),
    };
    let answer = there.reader().snapshot().answer(&there.seen, &question);
    let Some(Answer::Fetched(mut fetched)) = answer.unwrap() else {
        panic!("no row");
    };
    let held = here.reader().snapshot().look(std::slice::from_ref(&name));
    let mending = Mending {
        name,
        expected: held.unwrap()[0].state,
        as_of: fetched.as_of,
        ahead: true,
        row: fetched.rows.pop().unwrap(),
    };
    assert_eq!(here.tables.mend(&mending).unwrap(), Mended::Staged);
    here.commit();
    // It has not seen what was added, so that stays on top.
    here.put("n", r#"{"n":2}"#);
    assert!(!here.seen.has_seen(added));
    assert_eq!(here.document("n").as_deref(), Some(r#"{"n":7}"#));
}
