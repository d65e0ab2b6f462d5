//! A copy of the tables, taken while they are written to, is what they were.

mod support;

use meridian_engine_kv::{Import, Limits, MemoryStore, Store, Tables, TablesError};
use meridian_model::{
    Answer, Hlc, Micros, OriginId, Position, Question, Record, RowName, Transaction, Vector,
    Version,
};
use meridian_replicate::compare::{Mended, Mending};
use meridian_replicate::{Applying, Engine as _, SnapshotView as _};
use support::{Region, TestStore, dump, kinds, put, with_key};

on_both_stores!(
    a_copy_is_what_the_tables_were_at_that_commit,
    a_copy_goes_on_as_the_original_does,
    an_unfinished_copy_is_no_tables_and_begins_again,
    tables_that_are_there_are_not_replaced,
    letters_that_wait_are_counted_in_the_copy_too,
    a_copy_leaves_out_what_a_row_taken_over_ahead_has_already,
);

/// Rows, a tombstone, increments kept apart, idempotency keys and a conflict.
fn region<S: TestStore>(store: S) -> Region<S> {
    let mut region = Region::new(1, store.clone());
    for key in 0..40 {
        region.put(&format!("k{key:02}"), &format!(r#"{{"n":{key}}}"#));
    }
    region.delete("k03");
    region.increment("k05", "n", 4);
    region.increment("new", "n", 2);
    let request = with_key(vec![put("once", "1")], "key", 9);
    region.request(&request).unwrap();
    let mut other = Region::new(2, MemoryStore::default());
    other.clock = 5;
    let concurrent = other.put("k07", "7");
    region.deliver(&concurrent);
    for kind in ["r", "k", "q", "c", "i", "x"] {
        assert!(kinds(&store).contains(kind), "{kind}");
    }
    region
}

/// What another region needs of a store.
fn needed<S: Store>(store: &S) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = dump(store);
    records.retain(|(key, _)| !b"cm".contains(&key[0]));
    records
}

fn parts<S: Store>(tables: &Tables<S>, bytes_max: usize) -> Vec<Vec<Record>> {
    let view = tables.view();
    let mut parts: Vec<Vec<Record>> = Vec::new();
    loop {
        let last = parts.last().and_then(|part| part.last());
        let after = last.map(|record| record.key.clone());
        let part = view.part(after.as_deref(), bytes_max).unwrap();
        parts.push(part.records);
        if part.is_last {
            return parts;
        }
    }
}

fn copy<S: Store>(parts: &[Vec<Record>], store: S) -> Tables<S> {
    let mut import = Import::begin(store.clone()).unwrap();
    for part in parts {
        import.take(part).unwrap();
    }
    import.finish(Position(77), b"road").unwrap();
    Tables::open(store, Limits::default()).unwrap()
}

fn a_copy_is_what_the_tables_were_at_that_commit<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut original = region(store.clone());
    original
        .stage(&support::request(vec![put("staged", "1")]))
        .unwrap();
    let expected = needed(&store);
    let view = original.tables.view();
    original.commit();
    original.delete("k01");
    original.increment("k05", "n", 100);
    let mut records = Vec::new();
    let mut pieces = 0;
    loop {
        let after = records.last().map(|record: &Record| record.key.clone());
        let part = view.part(after.as_deref(), 300).unwrap();
        assert!(part.records.len() < 20, "parts are bounded");
        records.extend(part.records);
        pieces += 1;
        if part.is_last {
            break;
        }
        original.put("k02", &format!("{pieces}"));
    }
    assert!(pieces > 5);
    let (_other_home, other) = S::fresh();
    let copy = copy(&[records], other.clone());
    assert_eq!(needed(&other), expected);
    assert_eq!(copy.position(), Position(77));
    assert_eq!(copy.road(), Some(&b"road"[..]));
    assert!(
        !kinds(&other).contains('c'),
        "conflicts are each region's own"
    );
}

fn a_copy_goes_on_as_the_original_does<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut original = region(store);
    let (_other_home, other) = S::fresh();
    let copied = copy(&parts(&original.tables, 300), other.clone());
    let mut copied = Region {
        tables: copied,
        log: original.log.clone(),
        origin: OriginId(3),
        seen: original.seen.clone(),
        clock: 0,
    };
    let logged = original.increment("k05", "n", 1);
    copied.deliver(&logged);
    let logged = original.put("k03", "3");
    copied.deliver(&logged);
    let retried = copied.execute(&with_key(vec![put("once", "1")], "key", 9));
    assert!(retried.unwrap().changes.is_empty(), "the key is remembered");
    let all = [(OriginId(1), Hlc::MAX), (OriginId(2), Hlc::MAX)];
    for region in [&mut original, &mut copied] {
        region.collect(&all.into_iter().collect(), Micros(9));
    }
    assert!(!kinds(&other).contains(['k', 'q']), "{}", kinds(&other));
    let checksum = |region: &Region<S>| region.reader().checksum("t").unwrap();
    assert_eq!(checksum(&original), checksum(&copied));
}

fn an_unfinished_copy_is_no_tables_and_begins_again<S: TestStore>() {
    let (_home, store) = S::fresh();
    let original = region(store);
    let parts = parts(&original.tables, 300);
    let (_other_home, other) = S::fresh();
    assert!(Import::is_needed(&other).unwrap());
    let mut import = Import::begin(other.clone()).unwrap();
    import.take(&parts[0]).unwrap();
    import.take(&parts[1]).unwrap();
    drop(import);
    let opened = Tables::open(other.clone(), Limits::default());
    assert!(matches!(opened, Err(TablesError::Unfinished)));
    assert!(Import::is_needed(&other).unwrap());
    let begun = Import::begin(other.clone()).unwrap();
    assert!(needed(&other).is_empty(), "what was taken is gone");
    begun.finish(Position(1), b"").unwrap();
    assert!(!Import::is_needed(&other).unwrap());
}

fn tables_that_are_there_are_not_replaced<S: TestStore>() {
    let (_home, store) = S::fresh();
    drop(region(store.clone()));
    assert!(!Import::is_needed(&store).unwrap());
    let begun = Import::begin(store.clone()).map(|_| ());
    assert!(matches!(begun, Err(TablesError::Occupied)));
    assert!(!needed(&store).is_empty());
}

fn letters_that_wait_are_counted_in_the_copy_too<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut original = region(store);
    for hlc in [500, 501] {
        let version = Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(9),
        };
        let applying = Applying {
            position: Position(1),
            version,
            transaction: &Transaction::default(),
            captured: None,
            now: Micros(7),
        };
        original.tables.set_aside(&applying, "for a test").unwrap();
    }
    original.commit();
    let counts = original.tables.letter_counts();
    assert_eq!((counts.total, counts.waiting), (2, 2));
    let (_other_home, other) = S::fresh();
    let copied = copy(&parts(&original.tables, 300), other);
    assert_eq!(copied.letter_counts(), counts);
    assert_eq!(copied.reader().letter_counts().unwrap(), counts);
}

fn a_copy_leaves_out_what_a_row_taken_over_ahead_has_already<S: TestStore>() {
    let (_peer_home, peer_store) = S::fresh();
    let mut peer = Region::new(2, peer_store);
    let increments: Vec<_> = [1, 20, 300].map(|by| peer.increment("n", "n", by)).into();
    let (_home, store) = S::fresh();
    let mut original = Region::new(1, store.clone());
    original.deliver(&increments[0]);
    let name = RowName {
        table: "t".to_owned(),
        key: "n".to_owned(),
    };
    // The peer's row, which has two increments that have yet to come here.
    let question = Question::Fetch {
        names: vec![name.clone()],
        covering: Vector::default(),
    };
    let as_of = [(OriginId(2), increments[1].0.hlc)].into_iter().collect();
    let mut before = Region::new(2, MemoryStore::default());
    increments[..2].iter().for_each(|it| before.deliver(it));
    let answer = before.reader().snapshot().answer(&as_of, &question);
    let Some(Answer::Fetched(mut fetched)) = answer.unwrap() else {
        panic!("no row");
    };
    let copies = original
        .reader()
        .snapshot()
        .look(std::slice::from_ref(&name));
    let mending = Mending {
        name,
        expected: copies.unwrap()[0].state,
        as_of: fetched.as_of,
        ahead: true,
        row: fetched.rows.pop().unwrap(),
    };
    assert_eq!(original.tables.mend(&mending).unwrap(), Mended::Staged);
    original.commit();
    assert!(kinds(&store).contains('a'), "{}", kinds(&store));
    let (_other_home, other) = S::fresh();
    let mut copied = Region {
        tables: copy(&parts(&original.tables, 300), other),
        log: original.log.clone(),
        origin: OriginId(3),
        seen: original.seen.clone(),
        clock: 0,
    };
    for region in [&mut original, &mut copied] {
        increments[1..].iter().for_each(|it| region.deliver(it));
        assert_eq!(region.document("n").as_deref(), Some(r#"{"n":321}"#));
    }
}

#[test]
fn a_crash_in_the_middle_leaves_no_tables_and_one_after_the_end_leaves_all() {
    let original_store = MemoryStore::default();
    let original = region(original_store.clone());
    let parts = parts(&original.tables, 300);
    for keep in 0..parts.len() as u64 + 3 {
        let store = MemoryStore::default();
        let mut import = Import::begin(store.clone()).unwrap();
        for part in &parts {
            import.take(part).unwrap();
        }
        store.crash(keep);
        assert!(Import::is_needed(&store).unwrap(), "{keep} commits kept");
        let store = MemoryStore::default();
        copy(&parts, store.clone());
        store.crash(keep);
        assert_eq!(needed(&store), needed(&original_store));
        Tables::open(store, Limits::default()).unwrap();
    }
}

#[test]
fn a_damaged_record_is_neither_given_nor_taken() {
    let original_store = MemoryStore::default();
    let original = region(original_store.clone());
    let good = parts(&original.tables, usize::MAX).concat();
    let kinds: std::collections::BTreeSet<u8> = good.iter().map(|record| record.key[0]).collect();
    assert_eq!(kinds.len(), 5);
    for kind in kinds {
        let index = good
            .iter()
            .position(|record| record.key[0] == kind)
            .unwrap();
        let mut bad = good.clone();
        let mut value = bad[index].value.to_vec();
        match value.last_mut() {
            Some(byte) => *byte ^= 1,
            None => value.push(0),
        }
        bad[index].value = value.clone().into();
        let store = MemoryStore::default();
        let mut import = Import::begin(store.clone()).unwrap();
        let taken = import.take(&bad);
        assert!(
            matches!(
                taken,
                Err(TablesError::Damaged { .. } | TablesError::DamagedRow { .. })
            ),
            "{}",
            char::from(kind)
        );
        assert!(needed(&store).is_empty());
        let store = original_store.clone();
        let before = store.get(&good[index].key).unwrap().unwrap().to_vec();
        let put = |value: Vec<u8>| {
            let write = (good[index].key.to_vec(), Some(value));
            store.commit([write].into_iter().collect()).unwrap();
        };
        put(value);
        let given = original.tables.view().part(None, usize::MAX);
        assert!(given.is_err(), "{}", char::from(kind));
        put(before);
    }
    let mut import = Import::begin(MemoryStore::default()).unwrap();
    import.take(&good[3..5]).unwrap();
    assert!(
        import.take(&good[4..6]).is_err(),
        "a record that came twice"
    );
    assert!(import.take(&good[..2]).is_err(), "one that comes too late");
    import.take(&good[5..]).unwrap();
}
