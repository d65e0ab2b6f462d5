//! Crashes: the tables come back at some commit, and replaying the log from there leads to the
//! same state as if nothing had happened.

mod support;

use meridian_engine_kv::{
    FjallStore, JournalDamage, Limits, MemoryStore, StoreError, Tables, TablesError,
};
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

/// Where a journal's batches begin, and where the last one ends. (Nothing else in these journals looks
/// like the end of one.)
fn batches(journal: &[u8]) -> Vec<usize> {
    let mut begins = vec![0];
    let trailers = journal.windows(4).enumerate();
    begins.extend(
        trailers
            .filter(|(_, bytes)| *bytes == b"FJL\x03")
            .map(|(at, _)| at + 4),
    );
    begins
}

/// Opens a copy of the store in `path` whose journal was changed; replays the log there, and returns what
/// was found damaged, the position at which the tables came back, and the kept file.
fn reopened(
    region: &Region<FjallStore>,
    states: &[Vec<(Vec<u8>, Vec<u8>)>],
    target: &Path,
) -> (Option<JournalDamage>, u64) {
    let store = FjallStore::open(target).unwrap();
    let damage = store.journal_damage().cloned();
    store.journal_damage_told().unwrap();
    let position = Tables::open(store.clone(), Limits::default())
        .unwrap()
        .position()
        .0;
    assert_eq!(
        dump(&store),
        states[usize::try_from(position).unwrap()],
        "not the state after a commit"
    );
    let mut replaying = Region::new(1, store.clone());
    replaying.log.clone_from(&region.log);
    replaying.restart(store.clone());
    assert_eq!(&dump(&store), states.last().unwrap());
    (damage, position)
}

#[test]
fn a_journal_damaged_before_whole_batches_is_told_from_a_torn_one() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tables");
    let store = FjallStore::open(&path).unwrap();
    let mut region = Region::new(1, store.clone());
    let states = fill(&mut region, &store, 40);
    region.tables.persist().unwrap();
    let begins = batches(&fs::read(path.join("0.jnl")).unwrap());
    let last = begins.len() - 2;
    // In a batch: the length of the first item's key, of its value, the number of items, the batch's
    // number, its own kind, a byte of the first key.
    for (field, bit) in [
        (13 + 11, 0x10),
        (13 + 18, 0x40),
        (2, 1),
        (12, 0x40),
        (0, 2),
        (13 + 21, 1),
    ] {
        for batch in [last / 2, last] {
            let target = home.path().join(format!("{field}-{batch}"));
            copy(&path, &target, |mut bytes| {
                bytes[begins[batch] + field] ^= bit;
                bytes
            });
            let journal = target.join("0.jnl");
            let struck = fs::read(&journal).unwrap();
            let (damage, position) = reopened(&region, &states, &target);
            let Some(damage) = damage else {
                // A batch's number is under no checksum; the last one may be any that is higher.
                assert_eq!(
                    batch, last,
                    "damage at {field} of batch {batch} was overlooked"
                );
                continue;
            };
            assert_ne!(batch, last, "at {field} a torn tail was taken for damage");
            assert_eq!(damage.file, journal);
            assert!(damage.offset <= begins[batch] as u64, "{damage:?}");
            assert!(position > 0 && position < 40, "{position}");
            assert_eq!(damage.kept, [target.join("0.jnl.damaged")]);
            assert!(
                fs::read(&damage.kept[0]).unwrap() == struck,
                "it is not kept as it was"
            );
            let again = FjallStore::open(&target).unwrap();
            assert_eq!(again.journal_damage(), None, "it is said once");
        }
    }
}

#[test]
fn damage_in_an_earlier_file_of_the_journal_leaves_no_gap() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("tables");
    let store = FjallStore::open(&path).unwrap();
    let mut region = Region::new(1, store.clone());
    let states = fill(&mut region, &store, 40);
    region.tables.persist().unwrap();
    let whole = fs::read(path.join("0.jnl")).unwrap();
    let begins = batches(&whole);
    let (struck, second) = (begins[begins.len() / 4], begins[begins.len() / 2]);
    let end = *begins.last().unwrap();
    // What was flushed of it is on the way still: the first file has been closed, the second begun.
    for damaged_at in [Some(struck + 13 + 11), Some(second - 20), None] {
        let target = home.path().join(format!("{damaged_at:?}"));
        copy(&path, &target, |bytes| bytes);
        let mut first = whole[..second].to_vec();
        if let Some(at) = damaged_at {
            first[at] ^= 0x10;
        }
        first.resize(second + 100_000, 0);
        fs::write(target.join("0.jnl"), first).unwrap();
        fs::write(target.join("1.jnl"), &whole[second..end]).unwrap();
        let (damage, position) = reopened(&region, &states, &target);
        match damage {
            None => assert_eq!((damaged_at, position), (None, 40)),
            Some(damage) => {
                let names = ["0.jnl.damaged", "1.jnl.damaged"].map(|name| target.join(name));
                assert_eq!(damage.kept, names);
                assert!(position < 20, "{position}");
            }
        }
    }
}
