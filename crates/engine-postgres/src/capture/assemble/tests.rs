use super::super::pgoutput::encode::encode;
use super::super::{Datum, Relation, RelationColumn, RowChange};
use super::*;
use crate::catalog::TableName;
use meridian_model::Position;
use tempfile::TempDir;

struct Bench {
    assembler: Assembler,
    key: TagKey,
    forged: Arc<AtomicU64>,
    directory: TempDir,
}

fn bench(after: u64, held_bytes_max: usize) -> Bench {
    bench_from(after, after, held_bytes_max)
}

fn bench_from(after: u64, from: u64, held_bytes_max: usize) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let key = TagKey::random();
    let forged = Arc::new(AtomicU64::new(0));
    let assembler = Assembler::new(Settings {
        after: Lsn(after),
        from: Lsn(from),
        key: key.clone(),
        spool_directory: directory.path().to_owned(),
        held_bytes_max,
        forged: Arc::clone(&forged),
    });
    Bench {
        assembler,
        key,
        forged,
        directory,
    }
}

impl Bench {
    fn send(&mut self, message: &Message) -> Result<Option<Event>, CaptureError> {
        self.assembler.message(encode(message).into())
    }

    fn all(&mut self, messages: &[Message]) -> Vec<Event> {
        messages
            .iter()
            .filter_map(|message| self.send(message).unwrap())
            .collect()
    }
}

fn begin(commit: u64) -> Message {
    Message::Begin {
        commit: Lsn(commit),
        committed_at: Micros(1_000_000_000_000_000),
        xid: Xid(u32::try_from(commit).unwrap()),
    }
}

fn commit(end: u64) -> Message {
    Message::Commit {
        commit: Lsn(end - 10),
        end: Lsn(end),
        committed_at: Micros(1_000_000_000_000_000),
    }
}

fn relation(name: &str) -> Message {
    Message::Relation(Relation {
        oid: 7,
        name: TableName {
            schema: "public".to_owned(),
            name: name.to_owned(),
        },
        replica_identity: 'd',
        columns: vec![RelationColumn {
            name: "id".to_owned(),
            is_identity: true,
            type_oid: 23,
            type_modifier: -1,
        }],
    })
}

fn insert(id: u32) -> Message {
    Message::Insert {
        relation: 7,
        new: vec![Datum::Text(id.to_string())],
    }
}

fn logical(is_transactional: bool, at: u64, content: Vec<u8>) -> Message {
    Message::Logical {
        is_transactional,
        at: Lsn(at),
        prefix: tag::PREFIX.to_owned(),
        content,
    }
}

/// The table's name and the ids inserted, in order.
fn inserted(changes: &Changes) -> Vec<(String, String)> {
    let chunks: Vec<_> = changes.chunks().map(Result::unwrap).collect();
    let all = chunks.iter().flat_map(|chunk| chunk.iter());
    all.map(|change| match change {
        RowChange::Insert { relation, new } => match new.as_slice() {
            [Datum::Text(id)] => (relation.name.name.clone(), id.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    })
    .collect()
}

fn transaction(event: &Event) -> &CapturedTransaction {
    match event {
        Event::Transaction(transaction) => transaction,
        Event::Passed(_) => panic!("{event:?}"),
    }
}

fn row(table: &str, id: u32) -> (String, String) {
    (table.to_owned(), id.to_string())
}

#[test]
fn a_transaction_is_told_when_its_commit_has_come() {
    let mut bench = bench(0, 1 << 20);
    assert!(
        bench
            .all(&[begin(90), relation("t"), insert(1), insert(2)])
            .is_empty()
    );
    let events = bench.all(&[commit(100)]);
    let told = transaction(&events[0]);
    assert_eq!((told.end, told.xid, &told.tag), (Lsn(100), Xid(90), &None));
    assert_eq!(told.committed_at, Micros(1_000_000_000_000_000));
    assert_eq!(inserted(&told.changes), [row("t", 1), row("t", 2)]);
    // The relation is still known.
    let events = bench.all(&[begin(110), insert(3), commit(120)]);
    assert_eq!(inserted(&transaction(&events[0]).changes), [row("t", 3)]);
}

#[test]
fn positions_are_told_once_in_order_and_not_within_transactions() {
    let mut bench = bench(50, 1 << 20);
    assert_eq!(bench.assembler.passed(Lsn(50)), None, "known before");
    assert_eq!(
        bench.assembler.passed(Lsn(60)),
        Some(Event::Passed(Lsn(60)))
    );
    assert_eq!(bench.assembler.passed(Lsn(60)), None);
    let heartbeat = logical(false, 70, Vec::new());
    assert_eq!(bench.all(&[heartbeat]), [Event::Passed(Lsn(70))]);
    bench.all(&[begin(90), relation("t"), insert(1)]);
    assert_eq!(bench.assembler.passed(Lsn(85)), None);
    assert_eq!(transaction(&bench.all(&[commit(100)])[0]).end, Lsn(100));
    assert_eq!(bench.assembler.passed(Lsn(100)), None);
    // Nothing of it was published.
    assert_eq!(
        bench.all(&[begin(110), commit(120)]),
        [Event::Passed(Lsn(120))]
    );
}

#[test]
fn what_was_captured_before_is_not_told_again() {
    let mut bench = bench(100, 1 << 20);
    assert!(
        bench
            .all(&[begin(90), relation("t"), insert(1), commit(100)])
            .is_empty()
    );
    let events = bench.all(&[begin(100), insert(2), commit(110)]);
    assert_eq!(inserted(&transaction(&events[0]).changes), [row("t", 2)]);
    assert!(bench.all(&[begin(120), insert(3)]).is_empty());
    let error = bench.send(&commit(110)).unwrap_err();
    assert!(matches!(
        error,
        CaptureError::Repeated {
            end: Lsn(110),
            told: Lsn(110)
        }
    ));
}

#[test]
fn a_tag_is_known_by_key_and_transaction() {
    let mut bench = bench(0, 1 << 20);
    let tag = Tag {
        position: Position(3),
        seen: [].into_iter().collect(),
    };
    let signed =
        |xid: u32, key: &TagKey| logical(true, 80, tag::seal(key, &tag).in_transaction(Xid(xid)));
    let ours = signed(90, &bench.key);
    let copied = signed(90, &bench.key);
    let theirs = signed(130, &TagKey::random());
    let events = bench.all(&[
        begin(90),
        ours,
        commit(100),
        begin(110),
        copied,
        relation("t"),
        insert(1),
    ]);
    assert_eq!(transaction(&events[0]).tag, Some(tag.clone()));
    assert!(transaction(&events[0]).changes.is_empty());
    let events = bench.all(&[commit(120), begin(130), theirs, insert(2), commit(140)]);
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| transaction(event).tag.is_none()));
    assert_eq!(bench.forged.load(Ordering::Relaxed), 2);
    // Another's message of another prefix is none of ours.
    let other = Message::Logical {
        is_transactional: true,
        at: Lsn(150),
        prefix: "meridian2".to_owned(),
        content: tag::seal(&bench.key, &tag).in_transaction(Xid(160)),
    };
    let events = bench.all(&[begin(160), other, insert(3), commit(170)]);
    assert_eq!(transaction(&events[0]).tag, None);
    assert_eq!(bench.forged.load(Ordering::Relaxed), 2);
}

#[test]
fn a_large_transaction_is_read_from_a_file_as_it_would_be_from_memory() {
    let run = |held_bytes_max| {
        let mut bench = bench(0, held_bytes_max);
        bench.all(&[begin(50), relation("t"), insert(0), commit(60)]);
        // The relation changes its name under way, before and after the file begins.
        let mut messages = vec![begin(90), insert(1), relation("u")];
        messages.extend((2..5_000).map(insert));
        messages.push(relation("v"));
        messages.extend((5_000..20_000).map(insert));
        messages.push(commit(100));
        messages.extend([begin(110), insert(7), commit(120)]);
        let events = bench.all(&messages);
        let rows: Vec<_> = events
            .iter()
            .map(|event| inserted(&transaction(event).changes))
            .collect();
        (rows, transaction(&events[0]).changes.clone(), bench)
    };
    let (held, changes, _bench) = run(usize::MAX);
    assert!(matches!(changes, Changes::Held(_)));
    let (spooled, changes, bench) = run(100_000);
    assert!(matches!(changes, Changes::Spooled(_)));
    assert_eq!(held, spooled);
    assert_eq!(held[0][1..3], [row("u", 2), row("u", 3)]);
    assert_eq!(held[1], [row("v", 7)]);
    assert_eq!(changes.len(), 19_999);
    // Chunks are bounded, and a second reader begins at the beginning.
    let lengths: Vec<_> = changes.chunks().map(|chunk| chunk.unwrap().len()).collect();
    assert!(
        lengths.len() > 2 && lengths.iter().all(|length| *length < 10_000),
        "{lengths:?}"
    );
    assert_eq!(inserted(&changes), held[0]);
    // The file has no name that could be left behind.
    assert_eq!(
        std::fs::read_dir(bench.directory.path()).unwrap().count(),
        0
    );
}

#[test]
fn descriptions_of_relations_are_neither_heavy_nor_an_end() {
    // As rows their names would be tens of thousands of columns.
    let described: Vec<_> = (0..40_000).map(|_| relation("putative")).collect();
    let mut bench = bench(0, 100_000);
    bench.all(&[begin(90)]);
    bench.all(&described[..100]);
    assert!(matches!(
        &bench.assembler.open.as_ref().unwrap().body,
        Body::Held { .. }
    ));
    bench.all(&described);
    let events = bench.all(&[insert(1), commit(100)]);
    let changes = &transaction(&events[0]).changes;
    assert!(matches!(changes, Changes::Spooled(_)));
    assert_eq!(inserted(changes), [row("putative", 1)]);
}

#[test]
fn a_directory_that_takes_no_file_is_told() {
    let mut bench = bench(0, 0);
    std::fs::remove_dir(bench.directory.path()).unwrap();
    bench.send(&begin(90)).unwrap();
    let error = bench.send(&relation("t")).unwrap_err();
    assert!(error.is_transient());
    assert!(
        format!("{error:#}").contains("is the disk full?"),
        "{error:#}"
    );
}

#[test]
fn messages_out_of_place_are_errors() {
    let place = |messages: &[Message]| {
        let mut bench = bench(0, 1 << 20);
        let (last, before) = messages.split_last().unwrap();
        bench.all(before);
        bench.send(last).unwrap_err().to_string()
    };
    assert!(place(&[commit(20)]).contains("a commit without a transaction"));
    assert!(place(&[begin(10), begin(20)]).contains("begins within another"));
    assert!(place(&[relation("t"), insert(1)]).contains("outside of a transaction"));
    assert!(place(&[begin(10), insert(1), commit(20)]).contains("not described before"));
}

#[test]
fn a_transaction_of_which_a_part_was_captured_comes_again_and_none_before_it() {
    let mut bench = bench_from(199, 0, 1 << 20);
    let mut told = bench.all(&[relation("t"), begin(90), insert(1), commit(100)]);
    told.extend(bench.all(&[begin(190), insert(2), commit(200)]));
    told.extend(bench.all(&[begin(290), insert(3), commit(300)]));
    let ends: Vec<_> = told
        .iter()
        .map(|event| match event {
            Event::Transaction(transaction) => transaction.end,
            Event::Passed(at) => panic!("passed {at}"),
        })
        .collect();
    assert_eq!(ends, [Lsn(200), Lsn(300)]);
}
