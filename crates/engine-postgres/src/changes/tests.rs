use super::*;
use crate::catalog::Column;

struct Schema {
    table: Arc<Table>,
    strategy: Strategy,
}

impl Tables for Schema {
    fn table(&self, name: &TableName) -> Option<Arc<Table>> {
        (*name == self.table.name).then(|| self.table.clone())
    }

    fn strategy(&self, _: &TableName) -> Strategy {
        self.strategy
    }
}

fn name() -> TableName {
    TableName {
        schema: "public".into(),
        name: "t".into(),
    }
}

/// Columns k (the key), a and n, where n may be a counter.
fn schema(strategy: Strategy, counter: bool) -> Schema {
    let column = |name: &str, is_counter| Column {
        name: name.into(),
        type_name: "text".into(),
        is_nullable: true,
        is_counter,
        is_identity_always: false,
        missing: None,
    };
    let table = Table {
        name: name(),
        columns: vec![column("k", false), column("a", false), column("n", counter)],
        key: vec![0],
        unique: Vec::new(),
        references: Vec::new(),
        former: std::collections::BTreeMap::new(),
    };
    Schema {
        table: Arc::new(table),
        strategy,
    }
}

/// The stream's columns stand in another order than the table's.
fn relation(replica_identity: char) -> Arc<Relation> {
    let column = |name: &str| RelationColumn {
        name: name.into(),
        is_identity: name == "k",
        type_oid: 25,
        type_modifier: -1,
    };
    Arc::new(Relation {
        oid: 1,
        name: name(),
        replica_identity,
        columns: vec![column("n"), column("k"), column("a")],
    })
}

fn text(text: &str) -> Datum {
    Datum::Text(text.into())
}

fn row(k: &str, a: &str, n: &str) -> Tuple {
    vec![text(n), text(k), text(a)]
}

fn insert(k: &str, a: &str, n: &str) -> RowChange {
    RowChange::Insert {
        relation: relation('f'),
        new: row(k, a, n),
    }
}

fn update(old: (&str, &str, &str), new: (&str, &str, &str)) -> RowChange {
    RowChange::Update {
        relation: relation('f'),
        old: Some(row(old.0, old.1, old.2)),
        new: row(new.0, new.1, new.2),
    }
}

fn delete(k: &str) -> RowChange {
    RowChange::Delete {
        relation: relation('d'),
        old: vec![Datum::Null, text(k), Datum::Null],
    }
}

fn fold(
    schema: &Schema,
    changes: Vec<RowChange>,
) -> Result<Vec<(String, Operation)>, ChangesError> {
    let mut fold = Fold::default();
    for change in changes {
        fold.take(change, schema, |_| vec!["old".into(), "1".into()])?;
    }
    let changes = fold.changes(schema)?.into_iter();
    Ok(changes
        .map(|change| (change.key, change.operation))
        .collect())
}

fn put(document: &str) -> Operation {
    Operation::Put {
        document: document.into(),
    }
}

#[test]
fn a_row_that_changed_is_put_whole() {
    let schema = schema(Strategy::LastWriterWins, false);
    let changes = vec![
        insert("1", "x", "0"),
        update(("1", "x", "0"), ("1", "y", "0")),
        update(("2", "x", "0"), ("2", "z", "7")),
    ];
    let expected = vec![
        ("1".into(), put(r#"{"k":"1","a":"y","n":"0"}"#)),
        ("2".into(), put(r#"{"k":"2","a":"z","n":"7"}"#)),
    ];
    assert_eq!(fold(&schema, changes), Ok(expected));
}

#[test]
fn a_key_that_changed_is_a_delete_and_a_put() {
    let schema = schema(Strategy::LastWriterWins, false);
    let changes = vec![update(("1", "x", "0"), ("2", "x", "0"))];
    let expected = vec![
        ("1".into(), Operation::Delete),
        ("2".into(), put(r#"{"k":"2","a":"x","n":"0"}"#)),
    ];
    assert_eq!(fold(&schema, changes), Ok(expected));
}

#[test]
fn only_the_differences_of_counters_count() {
    let schema = schema(Strategy::LastWriterWins, true);
    let changes = vec![
        update(("1", "x", "10"), ("1", "x", "7")),
        update(("1", "x", "7"), ("1", "x", "12")),
        update(("2", "x", "1"), ("2", "y", "4")),
        insert("3", "x", "5"),
        update(("3", "x", "5"), ("3", "x", "6")),
    ];
    let by = |by| vec![("n".to_owned(), by)];
    let edit = Edit {
        set: vec![("a".into(), Some("\"y\"".into()))],
        by: by(3),
        members: Vec::new(),
    };
    let expected = vec![
        ("1".into(), Operation::Increment { by: by(2) }),
        ("2".into(), Operation::Edit(edit)),
        ("3".into(), put(r#"{"k":"3","a":"x","n":6}"#)),
    ];
    assert_eq!(fold(&schema, changes), Ok(expected));
}

#[test]
fn a_register_is_told_where_it_changed() {
    let schema = schema(Strategy::RegisterPerField, false);
    let changes = vec![update(("1", "x", "0"), ("1", "x", "1"))];
    let edit = Edit {
        set: vec![("n".into(), Some("\"1\"".into()))],
        ..Edit::default()
    };
    assert_eq!(
        fold(&schema, changes),
        Ok(vec![("1".into(), Operation::Edit(edit))])
    );
}

#[test]
fn a_row_that_went_and_came_is_new() {
    let schema = schema(Strategy::LastWriterWins, true);
    let changes = vec![delete("1"), insert("1", "x", "3"), delete("2")];
    let expected = vec![
        ("1".into(), put(r#"{"k":"1","a":"x","n":3}"#)),
        ("2".into(), Operation::Delete),
    ];
    assert_eq!(fold(&schema, changes), Ok(expected));
}

#[test]
fn emptying_a_table_deletes_what_it_shows_and_what_came_before() {
    let schema = schema(Strategy::LastWriterWins, false);
    let changes = vec![
        insert("9", "x", "3"),
        RowChange::Truncate {
            relations: vec![relation('d')],
        },
        insert("1", "x", "3"),
    ];
    let expected = vec![
        ("9".into(), Operation::Delete),
        ("old".into(), Operation::Delete),
        ("1".into(), put(r#"{"k":"1","a":"x","n":"3"}"#)),
    ];
    assert_eq!(fold(&schema, changes), Ok(expected));
}

#[test]
fn a_large_value_that_was_left_alone_is_what_it_was() {
    let schema = schema(Strategy::LastWriterWins, false);
    let new = vec![text("1"), text("1"), Datum::Unchanged];
    let change = |identity, old| RowChange::Update {
        relation: relation(identity),
        old,
        new: new.clone(),
    };
    let full = change('f', Some(row("1", "large", "0")));
    let expected = vec![("1".into(), put(r#"{"k":"1","a":"large","n":"1"}"#))];
    assert_eq!(fold(&schema, vec![full]), Ok(expected));
    let error = fold(&schema, vec![change('d', None)]).expect_err("nobody knows it");
    assert!(
        error.to_string().contains("replica identity is not FULL"),
        "{error}"
    );
}

#[test]
fn a_table_that_was_altered_is_told() {
    let mut schema = schema(Strategy::LastWriterWins, false);
    let table = Arc::make_mut(&mut schema.table);
    table.columns[1].name = "b".into();
    table.columns[1].is_nullable = false;
    let error = fold(&schema, vec![insert("1", "x", "0")]).expect_err("it was altered");
    assert_eq!(
        error.to_string(),
        "table public.t was changed: column b is gone"
    );
    let table = Arc::make_mut(&mut schema.table);
    table.columns.remove(1);
    let error = fold(&schema, vec![insert("1", "x", "0")]).expect_err("it was altered");
    assert_eq!(
        error.to_string(),
        "table public.t was changed: rows have a column a, which it doesn't have"
    );
}

#[test]
fn a_row_from_before_the_table_was_altered_is_read_as_what_it_is_now() {
    let mut schema = schema(Strategy::LastWriterWins, false);
    let table = Arc::make_mut(&mut schema.table);
    table.columns[1].name = "b".into();
    table.columns[1].is_nullable = false;
    table.former = [("a".into(), Became::Column("b".into()))].into();
    let renamed = fold(&schema, vec![insert("1", "x", "0")]);
    let expected = vec![("1".into(), put(r#"{"k":"1","b":"x","n":"0"}"#))];
    assert_eq!(renamed, Ok(expected));
    // Dropped, and another one added with a default.
    let table = Arc::make_mut(&mut schema.table);
    table.columns[1].missing = Some("7".into());
    table.former = [("a".into(), Became::Gone)].into();
    let added = fold(&schema, vec![insert("1", "x", "0")]);
    let expected = vec![("1".into(), put(r#"{"k":"1","b":"7","n":"0"}"#))];
    assert_eq!(added, Ok(expected));
}

#[test]
fn a_table_that_does_not_replicate_is_left_out() {
    let mut schema = schema(Strategy::LastWriterWins, false);
    Arc::make_mut(&mut schema.table).name.name = "other".into();
    assert_eq!(fold(&schema, vec![insert("1", "x", "0")]), Ok(Vec::new()));
}

#[test]
fn a_change_that_does_not_tell_the_key_of_the_row_is_refused() {
    let schema = schema(Strategy::LastWriterWins, false);
    let mut by_index = (*relation('i')).clone();
    for column in &mut by_index.columns {
        column.is_identity = column.name == "a";
    }
    let relation = Arc::new(by_index);
    let (old, new) = (
        vec![Datum::Null, Datum::Null, text("x")],
        row("2", "x", "0"),
    );
    let changes = [
        RowChange::Update {
            relation: relation.clone(),
            old: None,
            new,
        },
        RowChange::Delete { relation, old },
    ];
    for change in changes {
        let error = fold(&schema, vec![change]).expect_err("which row?");
        assert!(error.to_string().contains("what column k was"), "{error}");
    }
}

/// With the old row go only the columns of the identity, which is a partition's own: what is described
/// is that of the whole table.
#[test]
fn a_large_value_that_is_told_nowhere_is_not_taken_for_none() {
    let schema = schema(Strategy::LastWriterWins, false);
    let change = RowChange::Update {
        relation: relation('f'),
        old: Some(vec![Datum::Null, text("1"), Datum::Null]),
        new: vec![text("0"), text("2"), Datum::Unchanged],
    };
    let error = fold(&schema, vec![change]).expect_err("what was it?");
    assert!(error.to_string().contains("what column a was"), "{error}");
}

#[test]
fn a_counter_beyond_64_bits_counts_and_a_leap_is_a_put() {
    let (large, larger) = ("18446744073709551616", "18446744073709551621");
    let whole = |n: &str| put(&format!(r#"{{"k":"1","a":"x","n":{n}}}"#));
    let by = |amount| Operation::Increment {
        by: vec![("n".into(), amount)],
    };
    let (least, most) = (i64::MIN.to_string(), i64::MAX.to_string());
    for strategy in [Strategy::LastWriterWins, Strategy::RegisterPerField] {
        let schema = schema(strategy, true);
        for (from, to, became) in [
            (large, larger, by(5)),
            (larger, large, by(-5)),
            ("0", large, whole(large)),
            (least.as_str(), most.as_str(), whole(&most)),
            ("7", "NaN", whole(r#""NaN""#)),
            ("NaN", "7", whole("7")),
        ] {
            let folded = fold(&schema, vec![update(("1", "x", from), ("1", "x", to))]);
            let (_, operation) = folded.unwrap().remove(0);
            let edit = |it: &Operation| match it {
                Operation::Increment { by } => by.clone(),
                Operation::Edit(edit) if edit.set.is_empty() => edit.by.clone(),
                _ => Vec::new(),
            };
            let is_as_said = match &became {
                Operation::Increment { by } => edit(&operation) == *by,
                put => operation == *put,
            };
            assert!(is_as_said, "{from} to {to}: {operation:?}");
        }
        let fraction = fold(&schema, vec![update(("1", "x", "1"), ("1", "x", "1.5"))]);
        let is_refused = matches!(fraction, Err(ChangesError::Counter { .. }));
        assert!(is_refused, "{fraction:?}");
    }
}
