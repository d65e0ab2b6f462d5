//! Dead letters: which transactions are, how they are kept, and what can be decided about them.

mod support;

use meridian_engine_kv::{
    LetterCounts, MemoryStore, Order, Rejection, Store, TableReader, Tables, Verdict, View,
};
use meridian_model::{Change, Hlc, IdempotencyKey, Micros, Operation, OriginId, Position};
use meridian_model::{Transaction, Version};
use meridian_replicate::{Applying, Engine};
use support::{Region, TestStore, increment, put, request, with_key};

fn change(table: &str, key: &str, operation: Operation) -> Change {
    Change {
        table: table.to_owned(),
        key: key.to_owned(),
        operation,
    }
}

fn document(text: &str) -> Operation {
    let document = text.to_owned();
    Operation::Put { document }
}

fn plus(by: &[(&str, i64)]) -> Operation {
    let by = by.iter().map(|(field, by)| ((*field).to_owned(), *by));
    Operation::Increment { by: by.collect() }
}

fn transaction(changes: Vec<Change>) -> Transaction {
    Transaction {
        changes,
        ..Transaction::default()
    }
}

fn version(hlc: u64) -> Version {
    Version {
        hlc: Hlc::from_raw(hlc),
        origin: OriginId(9),
    }
}

/// Sets a transaction of another region aside, as a replica would.
fn set_aside<S: Store>(tables: &mut Tables<S>, version: Version, transaction: &Transaction) {
    let reason = tables.objection(transaction).expect("an objection");
    let applying = Applying {
        position: Position(1),
        version,
        transaction,
        captured: None,
        now: Micros(7),
    };
    tables.set_aside(&applying, &reason).unwrap();
}

fn waiting<S: Store>(reader: &TableReader<S>) -> Vec<Version> {
    let page = reader.letters(None, 10).unwrap();
    page.letters
        .into_iter()
        .map(|(version, _)| version)
        .collect()
}

/// A row changed twice: what a client may ask for, and no region commits.
fn twice() -> Transaction {
    transaction(vec![
        change("t", "a", document("{\"n\":1}")),
        change("t", "a", plus(&[("n", 4)])),
    ])
}

#[test]
fn what_no_tables_can_take_is_known_by_the_transaction_alone() {
    let (_, store) = MemoryStore::fresh();
    let tables = Tables::open(store, meridian_engine_kv::Limits::default()).unwrap();
    let long = |bytes| "x".repeat(bytes);
    let with_key = |key: String| Transaction {
        idempotency: Some(IdempotencyKey {
            key,
            fingerprint: 1,
        }),
        ..Transaction::default()
    };
    let one = |table: &str, key: &str| transaction(vec![change(table, key, Operation::Delete)]);
    for (bad, word) in [
        (one("", "k"), "name of a table has 0 bytes"),
        (one(&long(256), "k"), "256 bytes"),
        (one("a\0b", "k"), "NUL"),
        (one("t", ""), "key of a row"),
        (one("t", &long(4097)), "4097 bytes"),
        (with_key(long(4097)), "idempotency key"),
        (twice(), "twice"),
        (
            transaction(vec![change("t", "k", plus(&[("b", 1), ("a", 1)]))]),
            "each once",
        ),
        (
            transaction(vec![change("t", "k", plus(&[("a", 1), ("a", 1)]))]),
            "each once",
        ),
    ] {
        let reason = tables.objection(&bad).unwrap_or_default();
        assert!(reason.contains(word), "{reason:?} lacks {word:?}");
    }
    for good in [
        one(&long(255), &long(4096)),
        with_key(long(4096)),
        transaction(vec![
            change("t", "a", plus(&[("a", 1), ("b", 1)])),
            change("t", "b", document("1")),
            change("u", "a", document("1")),
        ]),
        Transaction::default(),
    ] {
        assert_eq!(tables.objection(&good), None);
    }
}

fn a_letter_is_kept_whole_until_it_is_settled<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store.clone());
    set_aside(&mut region.tables, version(5), &twice());
    set_aside(&mut region.tables, version(6), &twice());
    // A letter that comes again, as it does when the log is replayed, is the same one.
    set_aside(&mut region.tables, version(5), &twice());
    region.commit();
    let reader = region.reader();
    assert_eq!(waiting(&reader), [version(6), version(5)], "newest first");
    let (letter, kept) = reader.letter(version(5)).unwrap().expect("the letter");
    assert_eq!(kept, twice());
    assert_eq!((letter.changes, letter.bytes), (2, 4 + 7 + 9));
    assert_eq!(region.document("a"), None, "nothing of it shows");

    let page = reader.letters(None, 1).unwrap();
    assert_eq!(page.next, Some(version(6)));
    let page = reader.letters(page.next, 1).unwrap();
    assert_eq!(page.letters[0].0, version(5));
    assert_eq!(page.next, None);

    region.tables.settle(version(5)).unwrap();
    region.tables.settle(version(5)).unwrap();
    region.commit();
    assert_eq!(waiting(&reader), [version(6)]);
    assert_eq!(reader.letter(version(5)).unwrap(), None);
    let counts = LetterCounts {
        total: 2,
        waiting: 1,
    };
    assert_eq!(reader.letter_counts().unwrap(), counts);
    region.restart(store.clone());
    assert_eq!(region.tables.letter_counts(), counts);
    region.tables.settle(version(6)).unwrap();
    region.tables.discard();
    assert_eq!(region.tables.letter_counts(), counts, "it never was");
    region.tables.settle(version(6)).unwrap();
    region.commit();
    let left = |prefix: u8| {
        let mut records = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            records += 1;
            std::ops::ControlFlow::Continue(())
        };
        let view = store.view();
        view.visit(&[prefix], &[prefix + 1], Order::Ascending, &mut count)
            .unwrap();
        records
    };
    assert_eq!((left(b'd'), left(b'e')), (0, 0));
}

fn a_decision_comes_to_puts_and_deletes<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    region.put("b", "{\"n\":10}");
    set_aside(&mut region.tables, version(5), &twice());
    region.commit();
    let decide = |verdict: &Verdict| region.tables.decide(version(50), version(5), verdict);

    let retried = decide(&Verdict::Retry).unwrap();
    assert!(retried.settles);
    assert_eq!(
        retried.executed.changes,
        [change("t", "a", document("{\"n\":5}"))],
        "what the client asked for, each row once"
    );
    let edit = Verdict::Edit(request(vec![increment("b", "n", 5), put("c", "1")]));
    let edited = decide(&edit).unwrap();
    assert_eq!(
        edited.executed.changes,
        [
            change("t", "b", document("{\"n\":15}")),
            change("t", "c", document("1")),
        ],
        "an increment would count twice where two regions decide at once"
    );
    let dropped = decide(&Verdict::Drop).unwrap();
    assert!(dropped.settles && dropped.executed.changes.is_empty());

    let gone = region
        .tables
        .decide(version(50), version(4), &Verdict::Drop);
    assert!(
        matches!(gone, Err(Rejection::LetterNotFound { .. })),
        "{gone:?}"
    );
    let empty = decide(&Verdict::Edit(request(Vec::new())));
    assert!(matches!(empty, Err(Rejection::Empty)), "{empty:?}");
}

fn a_retry_that_would_be_a_letter_again_says_so<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    let bad = transaction(vec![change("a\0b", "k", document("1"))]);
    set_aside(&mut region.tables, version(5), &bad);
    region.commit();
    let again = region
        .tables
        .decide(version(50), version(5), &Verdict::Retry);
    let Err(Rejection::LetterAgain { letter, reason }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(letter, version(5));
    assert!(reason.contains("NUL"), "{reason}");
}

fn an_edit_that_is_sent_again_changes_nothing_again<S: TestStore>() {
    let (_home, store) = S::fresh();
    let mut region = Region::new(1, store);
    set_aside(&mut region.tables, version(5), &twice());
    region.commit();
    let edit = Verdict::Edit(with_key(vec![put("c", "1")], "key", 1));
    let first = region
        .tables
        .decide(version(50), version(5), &edit)
        .unwrap();
    region.tables.settle(version(5)).unwrap();
    let made = Transaction {
        changes: first.executed.changes,
        idempotency: first.executed.idempotency,
        ..Transaction::default()
    };
    region.deliver(&(version(50), made));
    let second = region
        .tables
        .decide(version(60), version(5), &edit)
        .unwrap();
    assert!(!second.settles && second.executed.reply.replayed);
    assert_eq!(second.executed.reply.version, Some(version(50)));
}

on_both_stores!(
    a_letter_is_kept_whole_until_it_is_settled,
    a_decision_comes_to_puts_and_deletes,
    a_retry_that_would_be_a_letter_again_says_so,
    an_edit_that_is_sent_again_changes_nothing_again,
);
