//! The tables as an engine: staging, conflicts, collection, idempotency, positions.

mod support;

use meridian_engine_kv::{Limits, Rejection, RowVersion, Tables, TablesError};
use meridian_model::{ConflictKind, Hlc, Micros, Position, Transaction, Vector};
use meridian_replicate::{Applying, Engine};
use std::time::Duration;
use support::{
    Region, TestStore, delete, dump, increment, kinds, operation, put, request, with_key,
};

on_both_stores!(
    rows_are_put_read_and_deleted,
    increments_add_up,
    a_concurrent_write_leaves_a_conflict_record,
    conflicts_are_listed_newest_first_and_trimmed,
    a_conflict_that_belongs_before_those_trimmed_goes_first,
    a_delete_absorbs_the_increments_it_had_seen_and_no_others,
    collecting_increments_changes_no_later_result,
    a_tombstone_is_collected_once_stable_and_only_if_it_stands,
    a_late_causal_write_after_collection_stands,
    an_increment_after_a_collected_delete_counts_once,
    collection_is_bounded_and_goes_on,
    a_collected_region_has_the_checksum_of_one_that_is_not,
    a_retry_is_recognised_staged_and_committed,
    an_idempotency_key_expires_after_a_day,
    the_later_of_two_regions_keys_is_remembered,
    what_is_discarded_is_gone,
    position_and_road_move_with_the_commit,
    a_failed_apply_cannot_be_committed,
    an_unknown_format_is_refused,
);

fn region<S: TestStore>(origin: u64) -> (S::Home, S, Region<S>) {
    let (home, store) = S::fresh();
    (home, store.clone(), Region::new(origin, store))
}

fn rows_are_put_read_and_deleted<S: TestStore>() {
    let (_home, _, mut region) = region::<S>(1);
    let outcome = region.run(vec![put("k", "[1]")]);
    assert!(outcome.rows[0].created && !outcome.replayed);
    assert_eq!(
        outcome.rows[0].version.map(|version| version.latest),
        outcome.version
    );
    let row = region.reader().get("t", "k").unwrap().unwrap();
    assert_eq!(
        (Some(row.version), row.document.as_str()),
        (outcome.version.map(RowVersion::of_write), "[1]")
    );
    let again = region.run(vec![put("k", "[2]")]);
    assert!(!again.rows[0].created && again.version > outcome.version);
    let gone = region.run(vec![delete("k")]);
    assert_eq!(
        (&gone.rows[0].version, &gone.rows[0].document),
        (&None, &None)
    );
    assert_eq!(region.document("k"), None);
    let nothing = region.run(vec![delete("k"), delete("never")]);
    assert_eq!(nothing.version, None);
    assert_eq!(region.log.len(), 3, "a delete of nothing is no transaction");
}

fn increments_add_up<S: TestStore>() {
    let (_home, _, mut region) = region::<S>(1);
    let outcome = region.run(vec![increment("k", "n", 4)]);
    assert!(outcome.rows[0].created);
    region.increment("k", "n", -1);
    assert_eq!(region.document("k").as_deref(), Some(r#"{"n":3}"#));
    region.put("k", r#"{"n":10}"#);
    let outcome = region.run(vec![increment("k", "n", 5)]);
    assert_eq!(outcome.rows[0].document, region.document("k"));
    assert_eq!(region.document("k").as_deref(), Some(r#"{"n":15}"#));
}

fn a_concurrent_write_leaves_a_conflict_record<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(3);
    let (_home_there, _, mut there) = region::<S>(2);
    let mine = here.put("k", "1");
    let theirs = there.delete_of_an_earlier("k");
    here.deliver(&theirs.0);
    assert_eq!(
        here.reader().conflict_counts().unwrap().total,
        1,
        "their put"
    );
    here.deliver(&theirs.1);
    let page = here.reader().conflicts(None, 10).unwrap();
    assert_eq!(page.next, None);
    let [(_, newest), (_, oldest)] = &page.conflicts[..] else {
        panic!("two conflicts, not {page:?}");
    };
    assert_eq!(oldest.kind, ConflictKind::UpdateUpdate);
    assert_eq!(newest.kind, ConflictKind::UpdateDelete);
    assert_eq!(newest.winner.version, theirs.1.0, "the later one stands");
    assert_eq!(newest.loser.version, mine.0);
    assert_eq!(newest.loser.document.as_deref(), Some("1"));
    assert_eq!((newest.table.as_str(), newest.key.as_str()), ("t", "k"));
    assert_eq!(newest.resolved_at, Micros(7));
    let calm = here.put("k", "2");
    there.deliver(&mine);
    there.deliver(&calm);
    assert_eq!(
        there.reader().conflict_counts().unwrap().total,
        1,
        "an informed put is none"
    );
    assert_eq!(there.document("k").as_deref(), Some("2"));
}

impl<S: TestStore> Region<S> {
    fn delete_of_an_earlier(&mut self, key: &str) -> (support::Logged, support::Logged) {
        let first = self.put(key, "0");
        (first, self.delete(key))
    }

    /// Two puts of which neither had seen the other.
    fn meet(&mut self, other: &mut Self, key: &str) {
        let theirs = other.put(key, "1");
        self.put(key, "2");
        self.deliver(&theirs);
    }
}

fn keeping_two_conflicts<S: TestStore>() -> (S::Home, Region<S>) {
    let (home, store) = S::fresh();
    let limits = Limits {
        conflicts_max: 2,
        ..Limits::default()
    };
    (home, Region::with_limits(1, store, limits))
}

fn conflicts_are_listed_newest_first_and_trimmed<S: TestStore>() {
    let (_home, mut here) = keeping_two_conflicts::<S>();
    let (_home_there, _, mut there) = region::<S>(2);
    for key in ["a", "b", "c", "d"] {
        here.meet(&mut there, key);
    }
    let listed = |here: &Region<S>| {
        let mut after = None;
        let mut listed = String::new();
        loop {
            let page = here.reader().conflicts(after, 1).unwrap();
            listed.extend(
                page.conflicts
                    .iter()
                    .map(|(_, conflict)| conflict.key.clone()),
            );
            after = page.next;
            if after.is_none() {
                return listed;
            }
        }
    };
    assert_eq!(listed(&here), "dcba");
    here.collect(&Vector::default(), Micros(8));
    assert_eq!(listed(&here), "dc");
    here.meet(&mut there, "e");
    here.collect(&Vector::default(), Micros(9));
    assert_eq!(listed(&here), "ed");
    let counts = here.reader().conflict_counts().unwrap();
    assert_eq!((counts.total, counts.kept), (5, 2));
}

/// A large transaction's parts stand before what was applied while they were held.
fn a_conflict_that_belongs_before_those_trimmed_goes_first<S: TestStore>() {
    let (_home, mut here) = keeping_two_conflicts::<S>();
    let (_home_there, _, mut there) = region::<S>(2);
    for key in ["a", "b", "c"] {
        here.meet(&mut there, key);
    }
    here.collect(&Vector::default(), Micros(8));
    let (version, transaction) = there.put("part", "1");
    here.put("part", "2");
    let part = Applying {
        position: Position(0),
        version,
        transaction: &transaction,
        captured: None,
        now: Micros(9),
    };
    here.tables.apply(&part).unwrap();
    here.commit();
    let listed = |here: &Region<S>| {
        let listed = here.reader().conflicts(None, 10).unwrap().conflicts;
        let keys: Vec<_> = listed.into_iter().map(|(_, it)| it.key).collect();
        keys.join(" ")
    };
    assert_eq!(listed(&here), "c b part");
    here.collect(&Vector::default(), Micros(9));
    assert_eq!(listed(&here), "c b");
}

fn a_delete_absorbs_the_increments_it_had_seen_and_no_others<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    let first = here.increment("k", "n", 1);
    there.deliver(&first);
    let unseen = here.increment("k", "n", 20);
    there.clock = 1_000;
    let gone = there.delete("k");
    assert_eq!(there.document("k"), None);
    here.deliver(&gone);
    there.deliver(&unseen);
    assert_eq!(here.document("k").as_deref(), Some(r#"{"n":20}"#));
    assert_eq!(
        there.reader().checksum("t").unwrap(),
        here.reader().checksum("t").unwrap()
    );
}

fn collecting_increments_changes_no_later_result<S: TestStore>() {
    let (_home, store, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    for by in [1, 20] {
        let logged = here.increment("k", "n", by);
        there.deliver(&logged);
    }
    let stable = here.seen.clone();
    let unstable = here.increment("k", "n", 300);
    here.collect(&stable, Micros(8));
    assert_eq!(kinds(&store), "kqr", "one increment is still kept");
    assert_eq!(here.document("k").as_deref(), Some(r#"{"n":321}"#));
    there.clock = 1_000;
    let written = there.put("k", r#"{"n":7}"#);
    here.deliver(&written);
    there.deliver(&unstable);
    assert_eq!(here.document("k").as_deref(), Some(r#"{"n":307}"#));
    assert_eq!(there.document("k"), here.document("k"));
    let everything = here.seen.clone();
    here.collect(&everything, Micros(9));
    assert_eq!(kinds(&store), "r");
    here.put("k", "{}");
    assert_eq!(
        here.document("k").as_deref(),
        Some("{}"),
        "a put absorbs the collected sums"
    );
}

fn a_tombstone_is_collected_once_stable_and_only_if_it_stands<S: TestStore>() {
    let (_home, store, mut region) = region::<S>(1);
    region.put("a", "1");
    region.put("b", "1");
    let before = region.seen.clone();
    region.delete("a");
    region.delete("b");
    region.put("b", "2");
    region.collect(&before, Micros(8));
    assert_eq!(kinds(&store), "qqrr", "not yet stable");
    let stable = region.seen.clone();
    region.collect(&stable, Micros(9));
    assert_eq!(kinds(&store), "r");
    assert_eq!(region.document("b").as_deref(), Some("2"));
}

fn a_late_causal_write_after_collection_stands<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    for logged in [here.put("k", "1"), here.delete("k")] {
        there.deliver(&logged);
    }
    let stable = here.seen.clone();
    let late = there.put("k", "2");
    here.collect(&stable, Micros(8));
    here.deliver(&late);
    assert_eq!(here.document("k").as_deref(), Some("2"));
    assert_eq!(
        there.reader().checksum("t").unwrap(),
        here.reader().checksum("t").unwrap()
    );
    assert_eq!(here.reader().conflict_counts().unwrap().total, 0);
}

fn an_increment_after_a_collected_delete_counts_once<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    let absorbed = there.increment("k", "n", 4);
    here.deliver(&absorbed);
    let gone = here.delete("k");
    there.deliver(&gone);
    // Stable for the delete's origin only: the increment it absorbed is still kept.
    let stable: Vector = [(here.origin, gone.0.hlc)].into_iter().collect();
    here.collect(&stable, Micros(8));
    for logged in [there.increment("k", "n", 1), there.put("k", r#"{"n":50}"#)] {
        here.deliver(&logged);
    }
    assert_eq!(here.document("k").as_deref(), Some(r#"{"n":50}"#));
    assert_eq!(there.document("k"), here.document("k"));
}

fn collection_is_bounded_and_goes_on<S: TestStore>() {
    let (_home, store, mut region) = region::<S>(1);
    for batch in 0..2 {
        let keys = (0..6_000).map(|key| format!("{batch}-{key}"));
        let (puts, deletes): (Vec<_>, Vec<_>) =
            keys.map(|key| (put(&key, "1"), delete(&key))).unzip();
        region.run(puts);
        region.run(deletes);
    }
    let stable = region.seen.clone();
    region.collect(&stable, Micros(8));
    assert_eq!(
        kinds(&store).len(),
        2 * 2_000,
        "rows and records of what is left"
    );
    region.collect(&stable, Micros(8));
    assert_eq!(kinds(&store), "");
}

fn a_collected_region_has_the_checksum_of_one_that_is_not<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    here.put("a", r#"{"n":1}"#);
    here.increment("a", "n", 2);
    here.put("b", "1");
    here.delete("b");
    here.increment("c", "n", 2);
    for logged in here.log.clone() {
        there.deliver(&logged);
    }
    let before = here.reader().checksum("t").unwrap();
    let stable = here.seen.clone();
    here.collect(&stable, Micros(8));
    assert_eq!(here.reader().checksum("t").unwrap(), before);
    assert_eq!(there.reader().checksum("t").unwrap(), before);
    assert_eq!(before.rows, 2);
    here.put("c", r#"{"n":2}"#);
    let other = here.reader().checksum("t").unwrap();
    assert_ne!(
        other.checksum, before.checksum,
        "the same document in another version"
    );
    assert_eq!(here.reader().checksum("none").unwrap().rows, 0);
}

fn a_retry_is_recognised_staged_and_committed<S: TestStore>() {
    let (_home, _, mut region) = region::<S>(1);
    region.put("k", r#"{"n":0}"#);
    let request = with_key(vec![increment("k", "n", 1)], "once", 5);
    let first = region.stage(&request).unwrap();
    let staged = region.stage(&request).unwrap();
    region.commit();
    region.put("other", "1");
    let committed = region.request(&request).unwrap();
    for replay in [&staged, &committed] {
        assert!(replay.replayed);
        assert_eq!(replay.version, first.version);
        assert_eq!(replay.rows[0].document.as_deref(), Some(r#"{"n":1}"#));
    }
    assert_eq!(region.log.len(), 3);
    let reused = region.execute(&with_key(vec![delete("k")], "once", 6));
    assert!(matches!(reused, Err(Rejection::IdempotencyKeyReused { key }) if key == "once"));
}

fn an_idempotency_key_expires_after_a_day<S: TestStore>() {
    let (_home, store, mut region) = region::<S>(1);
    let day = Duration::from_hours(24);
    region.clock = Hlc::at(Micros(1_000)).raw();
    let request = with_key(vec![increment("k", "n", 1)], "once", 5);
    region.request(&request).unwrap();
    region.collect(&Vector::default(), Micros(1_000).plus(day));
    assert!(region.execute(&request).unwrap().reply.replayed, "not yet");
    region.collect(&Vector::default(), Micros(1_001).plus(day));
    assert!(!region.execute(&request).unwrap().reply.replayed);
    assert_eq!(kinds(&store), "kqr");
}

fn the_later_of_two_regions_keys_is_remembered<S: TestStore>() {
    let (_home, _, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    here.clock = 100;
    let later = with_key(vec![put("k", "1")], "key", 1);
    let earlier = with_key(vec![put("k", "2")], "key", 2);
    here.request(&later).unwrap();
    there.request(&earlier).unwrap();
    let (from_here, from_there) = (here.log[0].clone(), there.log[0].clone());
    here.deliver(&from_there);
    there.deliver(&from_here);
    for region in [&here, &there] {
        assert!(region.execute(&later).unwrap().reply.replayed);
        let reused = region.execute(&earlier);
        assert!(matches!(
            reused,
            Err(Rejection::IdempotencyKeyReused { .. })
        ));
    }
}

fn what_is_discarded_is_gone<S: TestStore>() {
    let (_home, store, mut here) = region::<S>(1);
    let (_home_there, _, mut there) = region::<S>(2);
    let theirs = there.put("k", "1");
    here.put("k", "2");
    here.delete("k");
    here.put("later", "1");
    here.delete("later");
    let before = dump(&store);
    here.apply(theirs);
    here.stage(&request(vec![put("new", "1")])).unwrap();
    assert_eq!(here.document("new"), None, "staged is not visible");
    let seen = here.seen.clone();
    here.tables.collect(&seen, Micros(8)).unwrap();
    here.tables.discard();
    here.tables.commit(Position(4), None).unwrap();
    assert_eq!(dump(&store), before);
    let fresh = here.execute(&request(vec![put("new", "1")])).unwrap();
    assert!(fresh.reply.rows[0].created);
    here.collect(&seen, Micros(8));
    assert_eq!(
        kinds(&store),
        "",
        "what was not committed is collected again"
    );
}

fn position_and_road_move_with_the_commit<S: TestStore>() {
    let (_home, store, mut region) = region::<S>(1);
    assert_eq!(
        (region.tables.position(), region.tables.road()),
        (Position(0), None)
    );
    region.tables.commit(Position(3), Some(vec![1, 2])).unwrap();
    region.tables.commit(Position(4), None).unwrap();
    assert_eq!(region.tables.road(), Some(&[1, 2][..]));
    region.tables.persist().unwrap();
    let tables = Tables::open(store, Limits::default()).unwrap();
    assert_eq!(
        (tables.position(), tables.road()),
        (Position(4), Some(&[1, 2][..]))
    );
}

fn a_failed_apply_cannot_be_committed<S: TestStore>() {
    let (_home, _, mut region) = region::<S>(1);
    let mut transaction = Transaction {
        changes: region
            .execute(&request(vec![put("a", "1"), put("b", "1")]))
            .unwrap()
            .changes,
        ..Transaction::default()
    };
    transaction.changes[1].table = "with\0nul".to_owned();
    let applying = Applying {
        position: Position(0),
        version: region.next_version(),
        transaction: &transaction,
        captured: None,
        now: Micros(7),
    };
    assert!(region.tables.apply(&applying).is_err());
    assert!(region.tables.commit(Position(1), None).is_err());
    region.tables.discard();
    region.tables.commit(Position(1), None).unwrap();
    assert_eq!(region.document("a"), None);
}

fn an_unknown_format_is_refused<S: TestStore>() {
    let (_home, store, _region) = region::<S>(1);
    let format = (b"mformat".to_vec(), Some(vec![1, 9]));
    store.commit([format].into_iter().collect()).unwrap();
    let error = Tables::open(store, Limits::default()).unwrap_err();
    assert!(
        matches!(error, TablesError::UnknownFormat { found: 9, known: 2 }),
        "{error}"
    );
}

#[test]
fn a_row_in_another_table_is_another_row() {
    let (_home, _, mut region) = region::<meridian_engine_kv::MemoryStore>(1);
    let action = |document: &str| meridian_engine_kv::Action::Put {
        document: document.to_owned(),
    };
    region.run(vec![
        operation("t", "k", action("1")),
        operation("t2", "k", action("2")),
    ]);
    assert_eq!(region.document("k").as_deref(), Some("1"));
    assert_eq!(
        region.reader().get("t2", "k").unwrap().unwrap().document,
        "2"
    );
}
