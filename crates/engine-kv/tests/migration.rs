//! Tables that a release before 0.2 wrote are taken over: format 1, as bytes, for ever.

mod support;

use meridian_engine_kv::{FjallStore, Limits, MemoryStore, Store, Tables, TablesError};
use meridian_model::{Hlc, OriginId, Position, Version};
use meridian_replicate::Engine;
use support::TestStore;

/// Row `k` of table `t`, put by origin 9 at 300: `{"n":1}`. And what stood beside it.
const RECORDS: [(&[u8], &[u8]); 4] = [
    (b"mformat", &[1, 1]),
    (b"mapplied", &[1, 5]),
    // One region, `a`, whose incarnation is 9; no reports. No version byte.
    (b"mroad", &[1, 5, 1, 1, b'a', 9, 0]),
    (
        b"rt\0k",
        &[
            1, 0xac, 2, 9, 1, 0xac, 2, 9, 1, 7, b'{', b'"', b'n', b'"', b':', b'1', b'}', 0, 0,
        ],
    ),
];

fn earlier<S: TestStore>() -> (S::Home, S) {
    let (home, store) = S::fresh();
    let writes = RECORDS.map(|(key, value)| (key.to_vec(), Some(value.to_vec())));
    store.commit(writes.into_iter().collect()).unwrap();
    (home, store)
}

fn rows_and_position_are_taken_over<S: TestStore>() {
    let (_home, store) = earlier::<S>();
    let tables = Tables::open(store.clone(), Limits::default()).unwrap();
    assert_eq!(tables.position(), Position(5));
    let row = tables.reader().get("t", "k").unwrap().unwrap();
    assert_eq!(row.document, r#"{"n":1}"#);
    let version = Version {
        hlc: Hlc::from_raw(300),
        origin: OriginId(9),
    };
    assert_eq!(row.version.latest, version);
    assert_eq!(
        tables.road(),
        Some(&[1, 1, 1, b'a', 9, 0][..]),
        "with a version byte"
    );
    let again = Tables::open(store, Limits::default()).unwrap();
    assert_eq!(
        again.road(),
        tables.road(),
        "a second start changes nothing"
    );
}

fn earlier_releases_refuse_what_was_taken_over<S: TestStore>() {
    let (_home, store) = earlier::<S>();
    drop(Tables::open(store.clone(), Limits::default()).unwrap());
    let format = store.get(b"mformat").unwrap().unwrap();
    assert_eq!(
        format.as_ref(),
        [1, 2],
        "in the encoding that every release reads"
    );
}

#[test]
fn on_disk() {
    rows_and_position_are_taken_over::<FjallStore>();
    earlier_releases_refuse_what_was_taken_over::<FjallStore>();
}

#[test]
fn in_memory() {
    rows_and_position_are_taken_over::<MemoryStore>();
    earlier_releases_refuse_what_was_taken_over::<MemoryStore>();
}

#[test]
fn a_later_format_is_left_alone() {
    let (_home, store) = earlier::<MemoryStore>();
    let format = (b"mformat".to_vec(), Some(vec![1, 3]));
    store.commit([format].into_iter().collect()).unwrap();
    let error = Tables::open(store, Limits::default()).unwrap_err();
    assert!(matches!(error, TablesError::UnknownFormat { found: 3, .. }));
}
