//! A client's transaction: folding, preconditions, limits.

mod support;

use meridian_engine_kv::{
    Action, Limits, MemoryStore, Precondition, PreconditionKind, Rejection, Request, Strategies,
    Tags,
};
use meridian_model::Operation;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use support::{Region, delete, increment, operation, put, request};

fn region() -> Region<MemoryStore> {
    Region::new(1, MemoryStore::default())
}

fn operations_of(region: &Region<MemoryStore>, request: &Request) -> Vec<(String, Operation)> {
    let changes = region.execute(request).unwrap().changes;
    changes
        .into_iter()
        .map(|change| (change.key, change.operation))
        .collect()
}

#[test]
fn a_transaction_has_one_change_a_row_in_the_order_of_first_mention() {
    let mut region = region();
    region.put("there", r#"{"n":1}"#);
    let operations = operations_of(
        &region,
        &request(vec![
            increment("sum", "b", 1),
            put("put", r#"{"n":1}"#),
            increment("sum", "a", 2),
            increment("sum", "b", 4),
            delete("there"),
            increment("put", "n", 1),
            increment("there", "n", 8),
            put("gone", "1"),
            delete("gone"),
        ]),
    );
    let put = |document: &str| Operation::Put {
        document: document.to_owned(),
    };
    let by = vec![("a".to_owned(), 2), ("b".to_owned(), 5)];
    assert_eq!(
        operations,
        [
            ("sum".to_owned(), Operation::Increment { by }),
            ("put".to_owned(), put(r#"{"n":2}"#)),
            ("there".to_owned(), put(r#"{"n":8}"#)),
        ]
    );
}

#[test]
fn a_put_keeps_the_clients_text() {
    let text = r#"{ "b": 1.50, "a": 1 }"#;
    let operations = operations_of(&region(), &request(vec![put("k", text)]));
    let document = text.to_owned();
    assert_eq!(operations[0].1, Operation::Put { document });
}

#[test]
fn preconditions_are_checked_against_the_state_before() {
    let mut region = region();
    let version = region.put("k", "1").0.to_string();
    region.put("k2", "1");
    region.delete("k2");
    let check = |kind: PreconditionKind, key: &str| {
        let mut request = request(vec![put(key, "2")]);
        request.preconditions.push(Precondition {
            table: "t".to_owned(),
            key: key.to_owned(),
            kind,
        });
        match region.execute(&request) {
            Ok(_) => true,
            Err(Rejection::PreconditionFailed { version, .. }) => {
                assert_eq!(version.is_some(), key == "k");
                false
            }
            Err(other) => panic!("{other}"),
        }
    };
    let this = || Tags::Versions(vec!["junk".to_owned(), version.clone()]);
    let other = || Tags::Versions(vec!["7-0000000000000001".to_owned()]);
    use PreconditionKind::{IfMatch, IfNoneMatch};
    for (tags, matches) in [(Tags::Any, true), (this(), true), (other(), false)] {
        assert_eq!(check(IfMatch(tags.clone()), "k"), matches, "{tags:?}");
        assert_eq!(check(IfNoneMatch(tags.clone()), "k"), !matches, "{tags:?}");
        for missing in ["k2", "k3"] {
            assert!(!check(IfMatch(tags.clone()), missing));
            assert!(check(IfNoneMatch(tags.clone()), missing));
        }
    }
}

#[test]
fn limits_are_exact() {
    let limits = Limits {
        document_bytes_max: 8,
        transaction_bytes_max: 40,
        key_bytes_max: 4,
        table_bytes_max: 3,
        idempotency_bytes_max: 3,
        operations_max: 3,
        conflicts_max: 1,
    };
    let region = Region::with_limits(1, MemoryStore::default(), limits);
    let rejects = |request: Request| region.execute(&request).err();
    let named = |table: &str, key: &str| request(vec![operation(table, key, Action::Delete)]);
    assert!(matches!(rejects(request(vec![])), Some(Rejection::Empty)));
    assert!(rejects(request(vec![delete("k"); 3])).is_none());
    let error = rejects(request(vec![delete("k"); 4]));
    assert!(matches!(
        error,
        Some(Rejection::TooManyOperations {
            operations: 4,
            max: 3
        })
    ));
    assert!(rejects(named("abc", "éé")).is_none());
    for (table, key) in [("abc", "ééx"), ("abc", "")] {
        let error = rejects(named(table, key));
        assert!(matches!(error, Some(Rejection::BadKey { .. })), "{error:?}");
    }
    for table in ["", "abcd", "a\0b"] {
        let error = rejects(named(table, "k"));
        assert!(
            matches!(error, Some(Rejection::BadTable { .. })),
            "{error:?}"
        );
    }
    assert!(rejects(request(vec![put("k", "12345678")])).is_none());
    let error = rejects(request(vec![put("k", "123456789")]));
    assert!(matches!(
        error,
        Some(Rejection::DocumentTooLarge {
            bytes: 9,
            max: 8,
            ..
        })
    ));
    let error = rejects(request(vec![
        put("k", r#"{"n":9}"#),
        increment("k", "n", 99),
    ]));
    assert!(
        matches!(error, Some(Rejection::DocumentTooLarge { bytes: 9, .. })),
        "{error:?}"
    );
    let full = |key: &str| {
        let keys = ["1234", "1235", key];
        request(keys.map(|key| put(key, "12345678")).to_vec())
    };
    assert!(rejects(full("1236")).is_none(), "39 bytes");
    let error = rejects(request(vec![
        put("1234", "12345678"),
        put("1235", "12345678"),
        increment("1236", "seven-7", 1),
    ]));
    assert!(
        matches!(error, Some(Rejection::TransactionTooLarge { max: 40 })),
        "{error:?}"
    );
    for key in ["", "1234"] {
        let error = rejects(support::with_key(vec![delete("k")], key, 1));
        assert!(
            matches!(error, Some(Rejection::BadIdempotencyKey { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_rejection_names_the_row_and_field() {
    let mut region = region();
    region.put("k", r#"{"n":"x","m":9223372036854775807}"#);
    for (operation, expected) in [
        (increment("k", "n", 1), "holds no integer"),
        (increment("k", "m", 1), "range"),
        (increment("list", "m", 1), "no JSON object"),
    ] {
        let request = request(vec![put("list", "[]"), operation]);
        let message = region.execute(&request).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(r#"in table "t""#), "{message}");
    }
}

/// A row and what was added to each field since the last put, as that must stay in range too.
#[derive(Clone, Default)]
struct ModelRow {
    document: Option<Value>,
    added: BTreeMap<String, i128>,
}

/// The model: operations one after another on JSON values.
fn step(row: &mut ModelRow, action: &Action) -> Result<(), &'static str> {
    match action {
        Action::Put { document } => {
            *row = ModelRow {
                document: serde_json::from_str(document).unwrap(),
                added: BTreeMap::new(),
            };
        }
        Action::Delete => *row = ModelRow::default(),
        Action::Increment { field, by } => {
            let document = row.document.get_or_insert_with(|| json!({}));
            let fields = document.as_object_mut().ok_or("object")?;
            let start = match fields.get(field) {
                None => 0,
                Some(value) => value.as_i64().ok_or("integer")?,
            };
            let added = row.added.entry(field.clone()).or_default();
            *added += i128::from(*by);
            i64::try_from(*added).map_err(|_| "range")?;
            let result = start.checked_add(*by).ok_or("range")?;
            fields.insert(field.clone(), json!(result));
        }
        Action::Members { field, add, remove } => change_members(row, field, add, remove)?,
    }
    Ok(())
}

fn change_members(
    row: &mut ModelRow,
    field: &str,
    add: &[String],
    remove: &[String],
) -> Result<(), &'static str> {
    let empty = json!({});
    let document = row.document.as_ref().unwrap_or(&empty);
    let fields = document.as_object().ok_or("object")?;
    let held = match fields.get(field) {
        None if add.is_empty() => return Ok(()),
        None => &Vec::new(),
        Some(value) => value.as_array().ok_or("set")?,
    };
    let mut members: BTreeSet<String> = held.iter().map(Value::to_string).collect();
    members.extend(add.iter().cloned());
    members.retain(|member| !remove.contains(member));
    let members = members
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap());
    let members: Value = members.collect();
    let document = row.document.get_or_insert_with(|| json!({}));
    document[field] = members;
    Ok(())
}

fn action() -> impl Strategy<Value = Action> {
    let document = prop::sample::select(vec![
        "{}",
        r#"{"a":1}"#,
        r#"{"a":-2,"b":7}"#,
        r#"{"a":"x"}"#,
        r#"{"a":["p","q"],"b":1}"#,
        r#"{"b":["q"]}"#,
        "[1]",
    ]);
    let members = || {
        let all = vec![r#""p""#, r#""q""#, "5"];
        prop::sample::subsequence(all, 0..3)
            .prop_map(|some| some.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let by = prop_oneof![10 => -3i64..4, 1 => Just(i64::MAX)];
    prop_oneof![
        2 => document.prop_map(|document| Action::Put { document: document.to_owned() }),
        1 => Just(Action::Delete),
        4 => (prop::sample::select(vec!["a", "b"]), by)
            .prop_map(|(field, by)| Action::Increment { field: field.to_owned(), by }),
        3 => (prop::sample::select(vec!["a", "b"]), members(), members())
            .prop_map(|(field, add, remove)| Action::Members {
                field: field.to_owned(),
                remove: remove.into_iter().filter(|member| !add.contains(member)).collect(),
                add,
            }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_transaction_comes_to_what_its_operations_do_one_after_another(
        transactions in prop::collection::vec(
            (
                prop::sample::select(meridian_model::Strategy::ALL.to_vec()),
                prop::collection::vec((prop::sample::select(vec!["x", "y"]), action()), 1..8),
            ),
            1..6,
        ),
    ) {
        let mut region = region();
        let mut model: BTreeMap<&str, ModelRow> = BTreeMap::new();
        for (default, transaction) in transactions {
            region.tables.set_strategies(Strategies { default, ..Strategies::default() });
            let operations = transaction.iter().map(|(key, action)| operation("t", key, action.clone()));
            let outcome = region.request(&request(operations.collect()));
            let mut next = model.clone();
            for row in next.values_mut() {
                row.added.clear();
            }
            let stepped = transaction
                .iter()
                .try_for_each(|(key, action)| step(next.entry(*key).or_default(), action));
            match (&outcome, stepped) {
                (Ok(outcome), Ok(())) => {
                    for row in &outcome.rows {
                        let document = row.document.as_deref().map(|text| serde_json::from_str::<Value>(text).unwrap());
                        prop_assert_eq!(&document, &next[row.key.as_str()].document);
                        let there = model.get(row.key.as_str()).is_some_and(|row| row.document.is_some());
                        prop_assert_eq!(row.created, !there && document.is_some());
                        prop_assert_eq!(&region.document(&row.key), &row.document);
                        let shown = region.reader().get("t", &row.key).unwrap();
                        prop_assert_eq!(row.version, shown.map(|row| row.version));
                    }
                    model = next;
                }
                (Err(Rejection::NotAnObject { .. }), Err("object"))
                | (Err(Rejection::NotAnInteger { .. }), Err("integer"))
                | (Err(Rejection::NotASet { .. }), Err("set"))
                | (Err(Rejection::OutOfRange { .. }), Err("range")) => {}
                (outcome, stepped) => prop_assert!(false, "{outcome:?} where the model has {stepped:?}"),
            }
        }
    }
}
