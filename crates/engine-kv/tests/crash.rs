//! Crashes: the tables come back at some commit, and replaying the log from there leads to the
//! same state as if nothing had happened.

mod support;

use meridian_engine_kv::{FjallStore, Limits, MemoryStore, StoreError, Tables, TablesError};
use meridian_model::{Micros, Position};
use meridian_replicate::Engine;
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use support::{Region, delete, dump, increment, put, request, with_key};

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Increment(u8, i64),
    Foreign(u8, i64),
    Commit,
    Persist,
    Crash(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..3u8).prop_map(Step::Put),
        1 => (0..3u8).prop_map(Step::Delete),
        3 => (0..3u8, -5..6i64).prop_map(|(key, by)| Step::Increment(key, by)),
        2 => (0..3u8, -5..6i64).prop_map(|(key, by)| Step::Foreign(key, by)),
        3 => Just(Step::Commit),
        1 => Just(Step::Persist),
        1 => any::<u64>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn replay_after_a_crash_leads_to_the_same_state(steps in steps()) {
        let stores = [MemoryStore::default(), MemoryStore::default()];
        let mut crashing = Region::new(1, stores[0].clone());
        let mut steady = Region::new(1, stores[1].clone());
        let mut foreign = Region::new(2, MemoryStore::default());
        for step in steps {
            let local = match step {
                Step::Put(key) => Some(put(&key.to_string(), r#"{"n":1}"#)),
                Step::Delete(key) => Some(delete(&key.to_string())),
                Step::Increment(key, by) => Some(increment(&key.to_string(), "n", by)),
                Step::Foreign(key, by) => {
                    let logged = foreign.increment(&key.to_string(), "n", by);
                    crashing.apply(logged.clone());
                    steady.apply(logged);
                    None
                }
                Step::Commit => {
                    crashing.commit();
                    steady.commit();
                    None
                }
                Step::Persist => {
                    crashing.tables.persist().unwrap();
                    None
                }
                Step::Crash(keep) => {
                    stores[0].crash(keep);
                    crashing.restart(stores[0].clone());
                    steady.commit();
                    None
                }
            };
            if let Some(operation) = local {
                let request = with_key(vec![operation], &crashing.log.len().to_string(), 1);
                let outcome = crashing.stage(&request).unwrap();
                prop_assert_eq!(outcome, steady.stage(&request).unwrap());
            }
        }
        crashing.commit();
        steady.commit();
        prop_assert_eq!(dump(&stores[0]), dump(&stores[1]));
        for region in [&mut crashing, &mut steady] {
            let stable = region.seen.clone();
            region.collect(&stable, Micros(8));
        }
        prop_assert_eq!(dump(&stores[0]), dump(&stores[1]));
    }
}

/// What the tables' rows are after each commit, by position.
fn fill(
    region: &mut Region<FjallStore>,
    store: &FjallStore,
    commits: u64,
) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut states = vec![dump(store)];
    for commit in 0..commits {
        let text = format!(r#"{{"n":{commit},"text":"{}"}}"#, "x".repeat(3_000));
        region
            .request(&request(vec![
                put(&(commit % 7).to_string(), &text),
                increment("sum", "n", 1),
            ]))
            .unwrap();
        states.push(dump(store));
    }
    states
}

fn copy(from: &Path, to: &Path, journal: impl Fn(Vec<u8>) -> Vec<u8> + Copy) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target, journal);
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            let bytes = journal(fs::read(&path).unwrap());
            fs::write(target, bytes).unwrap();
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

#[test]
fn a_store_closed_without_a_sync_opens_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tables");
    let store = FjallStore::open(&path).unwrap();
    let mut region = Region::new(1, store.clone());
    let states = fill(&mut region, &store, 5);
    drop((region, store));
    let store = FjallStore::open(&path).unwrap();
    assert_eq!(&dump(&store), states.last().unwrap());
    let tables = Tables::open(store.clone(), Limits::default()).unwrap();
    assert_eq!(tables.position(), Position(5));
}

#[test]
fn a_journal_that_lost_its_end_opens_at_some_commit() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tables");
    let store = FjallStore::open(&path).unwrap();
    let mut region = Region::new(1, store.clone());
    let states = fill(&mut region, &store, 40);
    region.tables.persist().unwrap();
    let mut positions = Vec::new();
    for cut in (0..13).map(|part| part * 10_007) {
        for zeroes in [false, true] {
            let target = home.path().join(format!("{cut}-{zeroes}"));
            copy(&path, &target, |mut bytes| {
                bytes.truncate(cut);
                bytes.resize(cut + if zeroes { 200_000 } else { 0 }, 0);
                bytes
            });
            let store = FjallStore::open(&target).unwrap();
            let position = Tables::open(store.clone(), Limits::default())
                .unwrap()
                .position()
                .0;
            assert_eq!(
                dump(&store),
                states[usize::try_from(position).unwrap()],
                "cut at {cut}"
            );
            positions.push(position);
            let mut replaying = Region::new(1, store.clone());
            replaying.log.clone_from(&region.log);
            replaying.restart(store.clone());
            assert_eq!(
                &dump(&store),
                states.last().unwrap(),
                "replayed after a cut at {cut}"
            );
        }
    }
    assert!(positions.is_sorted() && positions.contains(&0) && *positions.last().unwrap() > 30);
}

#[test]
fn a_store_in_use_or_damaged_says_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tables");
    let store = FjallStore::open(&path).unwrap();
    let error = FjallStore::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let mut region = Region::new(1, store.clone());
    // Enough for tables on disk, not only a journal.
    for round in 0..30 {
        let text = |key: u32| format!(r#"{{"n":{round}{key},"text":"{}"}}"#, "xyz".repeat(300));
        region.run(
            (0..1_000)
                .map(|key| put(&format!("{round}-{key}"), &text(key)))
                .collect(),
        );
    }
    drop((region, store));
    let mut damaged = 0;
    damage(&path, &mut damaged);
    assert!(damaged > 0, "no table file was damaged");
    let read = FjallStore::open(&path)
        .map_err(TablesError::from)
        .and_then(|store| {
            let tables = Tables::open(store, Limits::default())?;
            tables.reader().checksum("t")
        });
    let error = read.unwrap_err();
    assert!(
        matches!(error, TablesError::Store(StoreError::Corrupt { .. })),
        "{error:?}"
    );
    assert!(error.to_string().contains("hint:"), "{error}");
}

/// Turns a byte in the middle of each table file.
fn damage(path: &Path, damaged: &mut usize) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let in_tables = path.parent().unwrap().ends_with("tables/1/tables")
            || path
                .components()
                .filter(|part| part.as_os_str() == "tables")
                .count()
                > 1;
        if path.is_dir() {
            damage(&path, damaged);
        } else if in_tables {
            let mut bytes = fs::read(&path).unwrap();
            if bytes.len() > 4_096 {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x40;
                fs::write(&path, bytes).unwrap();
                *damaged += 1;
            }
        }
    }
}
