//! What becomes of concurrent writes under each strategy, and while it changes.

mod support;

use meridian_engine_kv::{
    Action, MemoryStore, Precondition, PreconditionKind, Rejection, Request, RowView, Store as _,
    Strategies, Tags,
};
use meridian_model::{Hlc, Micros, Operation, OriginId, Strategy, Vector, Version};
use support::{Logged, Region, change_members, dump, increment, kinds, put, request};

type Memory = Region<MemoryStore>;

fn region(origin: u64, default: Strategy) -> Memory {
    region_on(MemoryStore::default(), origin, default)
}

fn region_on(store: MemoryStore, origin: u64, default: Strategy) -> Memory {
    let mut region = Region::new(origin, store);
    region.tables.set_strategies(Strategies {
        default,
        ..Strategies::default()
    });
    region
}

fn regions(strategy: Strategy) -> [Memory; 2] {
    [region(1, strategy), region(2, strategy)]
}

/// Each hands the other what it doesn't have.
fn exchange([one, other]: &mut [Memory; 2]) {
    let logs = [one.log.clone(), other.log.clone()];
    for (from, to) in logs.iter().zip([&mut *other, &mut *one]) {
        for logged in from {
            if !to.seen.has_seen(logged.0) {
                to.deliver(logged);
            }
        }
    }
    let views = [&*one, &*other].map(|region| {
        let reader = region.reader();
        (reader.get("t", "k").unwrap(), reader.checksum("t").unwrap())
    });
    assert_eq!(views[0], views[1], "they have all the same writes");
}

fn add(region: &mut Memory, member: &str) -> Logged {
    members(region, &[member], &[])
}

fn remove(region: &mut Memory, member: &str) -> Logged {
    members(region, &[], &[member])
}

fn members(region: &mut Memory, add: &[&str], remove: &[&str]) -> Logged {
    let texts = |members: &[&str]| {
        members
            .iter()
            .map(|member| format!("\"{member}\""))
            .collect()
    };
    region.run(vec![change_members("k", "s", texts(add), texts(remove))]);
    region.log.last().unwrap().clone()
}

fn row(region: &Memory) -> RowView {
    region.reader().get("t", "k").unwrap().unwrap()
}

fn documents(region: &Memory) -> Vec<String> {
    let siblings = row(region).siblings.into_iter();
    siblings.map(|sibling| sibling.document).collect()
}

fn if_match(tags: &[String], document: &str) -> Request {
    let precondition = Precondition {
        table: "t".to_owned(),
        key: "k".to_owned(),
        kind: PreconditionKind::IfMatch(Tags::Versions(tags.to_vec())),
    };
    Request {
        preconditions: vec![precondition],
        ..request(vec![put("k", document)])
    }
}

#[test]
fn concurrent_writes_of_different_fields_both_stand() {
    let mut both = regions(Strategy::RegisterPerField);
    both[0].put("k", r#"{"a":1,"b":1,"c":1}"#);
    exchange(&mut both);
    both[0].put("k", r#"{"a":2,"b":1}"#);
    both[1].put("k", r#"{"a":1,"b":3,"c":1,"d":4}"#);
    exchange(&mut both);
    assert_eq!(
        both[0].document("k").as_deref(),
        Some(r#"{"a":2,"b":3,"d":4}"#)
    );
    assert_eq!(both[0].reader().conflict_counts().unwrap().total, 0);
}

#[test]
fn of_concurrent_writes_of_one_field_the_later_stands_and_the_other_is_recorded() {
    let mut both = regions(Strategy::RegisterPerField);
    both[0].put("k", r#"{"a":1,"b":1}"#);
    exchange(&mut both);
    both[0].put("k", r#"{"a":2,"b":1}"#);
    both[1].clock = 90;
    both[1].put("k", r#"{"a":3,"b":1}"#);
    exchange(&mut both);
    assert_eq!(row(&both[0]).document, r#"{"a":3,"b":1}"#);
    for region in &both {
        let page = region.reader().conflicts(None, 9).unwrap();
        let [(_, conflict)] = &page.conflicts[..] else {
            panic!("{page:?}");
        };
        assert_eq!(conflict.strategy, Strategy::RegisterPerField);
        assert_eq!(conflict.field.as_deref(), Some("a"));
        assert_eq!(conflict.winner.document.as_deref(), Some("3"));
        assert_eq!(conflict.loser.document.as_deref(), Some("2"));
    }
}

#[test]
fn fields_and_increments_and_deletes_come_together() {
    let mut both = regions(Strategy::RegisterPerField);
    both[0].put("k", r#"{"a":1,"n":10}"#);
    exchange(&mut both);
    both[0].increment("k", "n", 5);
    both[1].put("k", r#"{"a":2,"n":100}"#);
    exchange(&mut both);
    assert_eq!(
        row(&both[0]).document,
        r#"{"a":2,"n":105}"#,
        "the put had not seen it"
    );
    both[0].delete("k");
    both[1].clock = 90;
    both[1].put("k", r#"{"a":3,"n":105}"#);
    exchange(&mut both);
    assert_eq!(
        row(&both[0]).document,
        r#"{"a":3}"#,
        "only what was written stands"
    );
    both[0].delete("k");
    exchange(&mut both);
    assert_eq!(both[1].document("k"), None);
}

#[test]
fn a_put_that_changes_nothing_writes_nothing() {
    let mut region = region(1, Strategy::RegisterPerField);
    region.put("k", r#"{"a":1}"#);
    let executed = region
        .execute(&request(vec![put("k", "{\"a\": 1}")]))
        .unwrap();
    assert_eq!(executed.changes, []);
    assert_eq!(executed.reply.rows[0].version, Some(row(&region).version));
    let whole = region.execute(&request(vec![put("k", "[1]")])).unwrap();
    assert!(matches!(whole.changes[0].operation, Operation::Put { .. }));
}

#[test]
fn an_addition_that_a_removal_had_not_seen_survives_it() {
    let mut both = regions(Strategy::AddWinsSet);
    members(&mut both[0], &["x", "y"], &[]);
    exchange(&mut both);
    add(&mut both[0], "x");
    both[1].clock = 90;
    members(&mut both[1], &["z"], &["x", "y"]);
    exchange(&mut both);
    assert_eq!(row(&both[0]).document, r#"{"s":["x","z"]}"#);
    remove(&mut both[0], "x");
    remove(&mut both[0], "z");
    exchange(&mut both);
    assert_eq!(
        row(&both[1]).document,
        r#"{"s":[]}"#,
        "the last one leaves the row"
    );
    assert_eq!(both[0].reader().conflict_counts().unwrap().total, 0);
}

#[test]
fn arrays_that_are_put_are_members_added_and_removed() {
    let mut both = regions(Strategy::AddWinsSet);
    both[0].put("k", r#"{"s":["b","a"],"n":1}"#);
    exchange(&mut both);
    both[0].put("k", r#"{"s":["a","b","c"],"n":1}"#);
    both[1].put("k", r#"{"s":["b","d"],"n":2}"#);
    exchange(&mut both);
    assert_eq!(row(&both[0]).document, r#"{"n":2,"s":["b","c","d"]}"#);
}

#[test]
fn additions_survive_a_delete_that_had_not_seen_them() {
    let stores = [MemoryStore::default(), MemoryStore::default()];
    let mut both = [1, 2].map(|origin| {
        region_on(
            stores[origin as usize - 1].clone(),
            origin,
            Strategy::AddWinsSet,
        )
    });
    add(&mut both[0], "old");
    exchange(&mut both);
    add(&mut both[0], "new");
    both[1].clock = 90;
    both[1].delete("k");
    exchange(&mut both);
    assert_eq!(row(&both[1]).document, r#"{"s":["new"]}"#);
    remove(&mut both[0], "new");
    exchange(&mut both);
    assert_eq!(
        both[1].document("k"),
        None,
        "the delete is all that is left"
    );
    let stable: Vector = [(OriginId(1), Hlc::MAX), (OriginId(2), Hlc::MAX)]
        .into_iter()
        .collect();
    let removal_only: Vector = [(OriginId(1), Hlc::MAX)].into_iter().collect();
    for (region, store) in both.iter_mut().zip(&stores) {
        // Not yet: an older put may come that had not seen the delete.
        region.collect(&removal_only, Micros(8));
        assert!(kinds(store).contains('r'));
        region.collect(&stable, Micros(8));
        assert_eq!(kinds(store), "");
    }
}

#[test]
fn members_are_removed_from_an_array_that_was_put_before() {
    let mut both = regions(Strategy::LastWriterWins);
    both[0].put("k", r#"{"s":["x",{"b":1,"a":2},"y"]}"#);
    exchange(&mut both);
    let object = r#"{"a":2,"b":1}"#.to_owned();
    both[0].run(vec![change_members("k", "s", vec![], vec![object])]);
    both[1].put("k", r#"{"s":["x","z"]}"#);
    assert_eq!(row(&both[0]).document, r#"{"s":["x","y"]}"#);
    exchange(&mut both);
    assert_eq!(
        row(&both[0]).document,
        r#"{"s":["x","z"]}"#,
        "another array by now"
    );
}

#[test]
fn what_is_no_set_takes_no_members() {
    let mut region = region(1, Strategy::AddWinsSet);
    region.put("k", r#"{"s":5}"#);
    region.put("list", "[]");
    for (key, expected) in [("k", "no array"), ("list", "no JSON object")] {
        let request = request(vec![change_members(key, "s", vec!["1".to_owned()], vec![])]);
        let message = region.execute(&request).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn concurrent_puts_are_siblings_until_one_that_names_them_all() {
    let mut both = regions(Strategy::Siblings);
    both[0].put("k", "1");
    exchange(&mut both);
    both[0].put("k", "2");
    both[1].clock = 90;
    both[1].put("k", "3");
    exchange(&mut both);
    assert_eq!(documents(&both[0]), ["3", "2"], "newest first");
    let view = row(&both[0]);
    assert_eq!(view.document, "3");
    let versions: Vec<String> = view
        .siblings
        .iter()
        .map(|sibling| sibling.version.to_string())
        .collect();
    for some in [&versions[..1], &versions[1..]] {
        let refused = both[0].execute(&if_match(some, "4"));
        assert!(matches!(refused, Err(Rejection::PreconditionFailed { .. })));
    }
    both[0]
        .execute(&if_match(&[view.version.to_string()], "4"))
        .unwrap();
    both[0].request(&if_match(&versions, "4")).unwrap();
    exchange(&mut both);
    assert_eq!(row(&both[1]).document, "4");
    assert_eq!(documents(&both[1]), [""; 0]);
    let page = both[1].reader().conflicts(None, 9).unwrap();
    let strategies: Vec<_> = page
        .conflicts
        .iter()
        .map(|(_, conflict)| conflict.strategy)
        .collect();
    assert_eq!(strategies, [Strategy::Siblings]);
}

#[test]
fn a_put_without_preconditions_replaces_what_its_origin_had_seen_and_nothing_else() {
    let mut both = regions(Strategy::Siblings);
    both[0].put("k", "1");
    both[1].put("k", "2");
    exchange(&mut both);
    both[0].put("k", "3");
    both[1].clock = 90;
    both[1].put("k", "4");
    exchange(&mut both);
    assert_eq!(documents(&both[0]), ["4", "3"]);
}

#[test]
fn a_delete_concurrent_with_a_put_keeps_the_put() {
    for (deleter, putter) in [(0, 1), (1, 0)] {
        let mut both = regions(Strategy::Siblings);
        both[0].put("k", "1");
        exchange(&mut both);
        both[deleter].clock = 50;
        both[deleter].delete("k");
        both[putter].put("k", r#"{"n":2}"#);
        exchange(&mut both);
        let view = row(&both[0]);
        assert_eq!(
            (view.document.as_str(), view.siblings.len()),
            (r#"{"n":2}"#, 0)
        );
        both[0].increment("k", "n", 1);
        exchange(&mut both);
        assert_eq!(row(&both[1]).document, r#"{"n":3}"#);
        both[1].delete("k");
        exchange(&mut both);
        assert_eq!(both[0].document("k"), None);
    }
}

#[test]
fn increments_count_on_the_newest_sibling_and_wait_for_the_choice() {
    let mut both = regions(Strategy::Siblings);
    both[0].put("k", r#"{"n":1}"#);
    exchange(&mut both);
    both[0].put("k", r#"{"n":10}"#);
    both[0].increment("k", "n", 2);
    both[1].clock = 90;
    both[1].put("k", r#"{"n":20}"#);
    both[1].increment("k", "n", 3);
    exchange(&mut both);
    assert_eq!(
        documents(&both[0]),
        [r#"{"n":25}"#, r#"{"n":10}"#],
        "2 unseen and 3 of its own"
    );
    let refused = both[0].execute(&request(vec![increment("k", "n", 1)]));
    assert!(matches!(refused, Err(Rejection::HasSiblings { .. })));
    both[0].put("k", r#"{"n":35}"#);
    both[1].deliver(&both[0].log.last().unwrap().clone());
    assert_eq!(row(&both[1]).document, r#"{"n":35}"#);
}

#[test]
fn a_strategy_changes_in_one_region_after_the_other() {
    let mut both = regions(Strategy::LastWriterWins);
    both[0].put("k", r#"{"a":1,"b":1}"#);
    exchange(&mut both);
    for strategy in [
        Strategy::RegisterPerField,
        Strategy::Siblings,
        Strategy::AddWinsSet,
        Strategy::LastWriterWins,
    ] {
        both[0].tables.set_strategies(Strategies {
            default: strategy,
            ..Strategies::default()
        });
        both[0].put("k", r#"{"a":2,"b":1,"s":["x"]}"#);
        both[1].put("k", r#"{"a":1,"b":3}"#);
        exchange(&mut both);
        both[1].tables.set_strategies(Strategies {
            default: strategy,
            ..Strategies::default()
        });
        both[1].put("k", r#"{"a":1,"b":1}"#);
        exchange(&mut both);
        assert_eq!(row(&both[0]).document, r#"{"a":1,"b":1}"#, "{strategy:?}");
        assert_eq!(documents(&both[0]), [""; 0], "{strategy:?}");
    }
}

#[test]
fn a_table_has_its_own_strategy_or_the_datasets() {
    let mut region = region(1, Strategy::Siblings);
    region.tables.set_strategies(Strategies {
        default: Strategy::Siblings,
        tables: [("u".to_owned(), Strategy::LastWriterWins)].into(),
    });
    let put = |table| {
        let document = "1".to_owned();
        support::operation(table, "k", Action::Put { document })
    };
    let executed = region.execute(&request(vec![put("t"), put("u")])).unwrap();
    let versions = executed
        .changes
        .iter()
        .map(|change| change.operation.wire_version_min());
    assert_eq!(versions.collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_change_of_fields_may_not_be_larger_than_a_transaction() {
    let limits = meridian_engine_kv::Limits {
        transaction_bytes_max: 100,
        ..meridian_engine_kv::Limits::default()
    };
    let mut region = Region::with_limits(1, MemoryStore::default(), limits);
    region.tables.set_strategies(Strategies {
        default: Strategy::RegisterPerField,
        ..Strategies::default()
    });
    let long = format!(r#"{{"{}":1}}"#, "f".repeat(60));
    for key in ["one", "two"] {
        region.run(vec![put(key, &long)]);
    }
    region.execute(&request(vec![put("one", "{}")])).unwrap();
    let refused = region.execute(&request(vec![put("one", "{}"), put("two", "{}")]));
    assert!(matches!(
        refused,
        Err(Rejection::TransactionTooLarge { max: 100 })
    ));
}

#[test]
fn the_removal_of_a_field_is_forgotten_once_nobody_can_contradict_it() {
    let store = MemoryStore::default();
    let mut region = region_on(store.clone(), 1, Strategy::RegisterPerField);
    for document in [r#"{"a":1,"b":1,"c":1}"#, r#"{"a":1}"#] {
        region.put("k", document);
    }
    let before = row(&region);
    let bytes = || -> usize { dump(&store).iter().map(|(_, value)| value.len()).sum() };
    let larger = bytes();
    let stable: Vector = [(OriginId(1), Hlc::MAX)].into_iter().collect();
    region.collect(&stable, Micros(8));
    assert!(bytes() < larger);
    assert_eq!(row(&region), before);
}

#[test]
fn the_removal_of_a_field_is_kept_above_a_delete_that_somebody_may_not_have_seen() {
    let mut three = [1, 2, 3].map(|origin| region(origin, Strategy::RegisterPerField));
    let first = three[0].put("k", r#"{"a":1,"b":1}"#);
    three[1].deliver(&first);
    three[2].deliver(&first);
    let delete = three[1].delete("k");
    three[0].clock = 50;
    let removal = three[0].put("k", r#"{"b":2}"#);
    three[0].deliver(&delete);
    three[2].deliver(&removal);
    let addition = three[2].put("k", r#"{"a":7,"b":2}"#);
    let stable: Vector = [(OriginId(1), Hlc::MAX)].into_iter().collect();
    three[0].collect(&stable, Micros(8));
    let conflicts = |region: &Memory| region.reader().conflict_counts().unwrap().total;
    let before = conflicts(&three[0]);
    three[0].deliver(&addition);
    // It had seen the removal; that it hadn't seen the delete beneath doesn't matter.
    assert_eq!(conflicts(&three[0]), before);
    assert_eq!(row(&three[0]).document, r#"{"a":7,"b":2}"#);
}

#[test]
fn a_delete_that_was_forgotten_in_one_region_alone_is_no_part_of_a_name() {
    let mut both = regions(Strategy::LastWriterWins);
    both[0].put("k", "1");
    both[0].delete("k");
    exchange(&mut both);
    let stable: Vector = [(OriginId(1), Hlc::MAX)].into_iter().collect();
    both[0].collect(&stable, Micros(8));
    both[0].increment("k", "n", 1);
    both[1].increment("k", "n", 1);
    exchange(&mut both);
}

#[test]
fn rows_and_conflicts_of_earlier_releases_still_read() {
    let store = MemoryStore::default();
    // Version 5-1; a base of the same with the document 7; no sums; not counted.
    let row_1 = [&[1, 5, 1, 1, 5, 1, 1, 1][..], b"7", &[0, 0]].concat();
    // The same, incremented: the field n by 3.
    let counted_1 = [&[1, 5, 1, 1, 5, 1, 1, 2][..], b"{}", &[1, 1], b"n", &[6, 1]].concat();
    let conflict_1 = [
        &[1, 1][..],
        b"t",
        &[1],
        b"k",
        &[0, 5, 1, 1, 1],
        b"7",
        &[4, 2, 1, 1],
        b"6",
        &[9],
    ]
    .concat();
    let conflict_at = [&b"c"[..], &0u64.to_be_bytes(), &0u32.to_be_bytes()].concat();
    let records = [
        (b"rt\0k".to_vec(), row_1),
        (b"rt\0n".to_vec(), counted_1),
        (conflict_at, conflict_1),
    ];
    let records = records.into_iter().map(|(key, value)| (key, Some(value)));
    store.commit(records.collect()).unwrap();
    let region = Region::new(9, store);
    assert_eq!(region.document("k").as_deref(), Some("7"));
    assert_eq!(region.document("n").as_deref(), Some(r#"{"n":3}"#));
    let page = region.reader().conflicts(None, 9).unwrap();
    let (_, conflict) = &page.conflicts[0];
    assert_eq!(
        (conflict.strategy, &conflict.field),
        (Strategy::LastWriterWins, &None)
    );
    let version = |hlc, origin| Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(origin),
    };
    assert_eq!(conflict.winner.version, version(5, 1));
    assert_eq!(conflict.loser.version, version(4, 2));
}
