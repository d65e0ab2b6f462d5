//! The tables of a moment, made anew from a backup, are those that a region had.

use meridian_backup::{BackupError, BackupSet, Block, Content, FoldError, Source, Writer, fold};
use meridian_engine_kv::{MemoryStore, TableReader};
use meridian_model::{
    Body, Change, Decision, Entry, Hlc, Mark, Micros, Operation, OriginId, Position, RegionName,
    SnapshotHead, SnapshotPart, Transaction, Version,
};

const ORIGIN: OriginId = OriginId(1);
const SECOND: u64 = 1_000_000;

/// A log being written, and its backup.
struct Taking {
    set: BackupSet,
    entries: Vec<Entry>,
    mark: Mark,
}

fn block(origin: OriginId, content: Content) -> Vec<u8> {
    block_as_of(100, origin, content)
}

fn block_as_of(second: u64, origin: OriginId, content: Content) -> Vec<u8> {
    let source = Source {
        dataset: "main".to_owned(),
        region: RegionName::new("a"),
        origin,
    };
    let taken_at = Micros(second * SECOND);
    let block = Block {
        source,
        taken_at,
        content,
    };
    block.encode()
}

fn put(key: &str, document: &str) -> Change {
    Change {
        table: "t".to_owned(),
        key: key.to_owned(),
        operation: Operation::Put {
            document: document.to_owned(),
        },
    }
}

fn transaction(changes: Vec<Change>) -> Transaction {
    Transaction {
        changes,
        ..Transaction::default()
    }
}

impl Taking {
    /// Begins with a snapshot of empty tables.
    fn begin(directory: &std::path::Path) -> Self {
        Self::begin_as_of(directory, 100)
    }

    fn begin_as_of(directory: &std::path::Path, second: u64) -> Self {
        let mut set = BackupSet::open_or_begin(directory, "main").unwrap();
        let mut writer = Writer::snapshot(&mut set).unwrap();
        let part = SnapshotPart {
            head: Some(SnapshotHead::default()),
            ..SnapshotPart::default()
        };
        writer
            .take(&block_as_of(second, ORIGIN, Content::Snapshot(part)))
            .unwrap();
        writer.finish().unwrap();
        Self {
            set,
            entries: Vec::new(),
            mark: Mark::default(),
        }
    }

    /// Logs something, as of a second; gives its version.
    fn log(&mut self, second: u64, body: &Body) -> Version {
        let hlc = Hlc::at(Micros(second * SECOND));
        let entry = Entry::following(self.mark, ORIGIN, hlc, body);
        self.mark = entry.mark();
        let version = entry.version();
        self.entries.push(entry);
        version
    }

    fn entries(&self) -> Content {
        Content::Entries {
            first: Position(0),
            entries: self.entries.clone(),
            is_last: true,
        }
    }

    fn end(mut self) -> BackupSet {
        let content = self.entries();
        let mut writer = Writer::entries(&mut self.set).unwrap().unwrap();
        writer.take(&block(ORIGIN, content)).unwrap();
        writer.finish().unwrap();
        self.set
    }
}

fn tables_at(set: &BackupSet, second: u64) -> TableReader<MemoryStore> {
    let at = Micros(second * SECOND);
    fold(set, at, MemoryStore::default()).unwrap().tables
}

fn document(tables: &TableReader<MemoryStore>, key: &str) -> Option<String> {
    tables.get("t", key).unwrap().map(|row| row.document)
}

#[test]
fn dead_letters_and_what_was_decided_about_them_are_those_of_the_region() {
    let directory = tempfile::tempdir().unwrap();
    let mut taking = Taking::begin(directory.path());
    taking.log(1, &Body::Transaction(transaction(vec![put("good", "1")])));
    // No tables take a transaction that changes a row twice.
    let bad = transaction(vec![put("bad", "1"), put("bad", "2")]);
    let letter = taking.log(2, &Body::Transaction(bad));
    let transaction = transaction(vec![put("bad", "3")]);
    taking.log(
        4,
        &Body::Decision(Decision {
            letter,
            transaction,
        }),
    );
    let set = taking.end();
    let waiting = tables_at(&set, 3);
    assert_eq!(document(&waiting, "good").as_deref(), Some("1"));
    assert_eq!(document(&waiting, "bad"), None, "it is set aside");
    assert_eq!(waiting.letter_counts().unwrap().waiting, 1);
    let decided = tables_at(&set, 5);
    assert_eq!(document(&decided, "bad").as_deref(), Some("3"));
    assert_eq!(decided.letter_counts().unwrap().waiting, 0);
}

#[test]
fn a_run_that_was_cut_short_covers_no_more_than_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let mut taking = Taking::begin_as_of(directory.path(), 1);
    for second in 10..=20 {
        let body = Body::Transaction(transaction(vec![put("k", &second.to_string())]));
        taking.log(second, &body);
    }
    let rest = taking.entries.split_off(5);
    let content = Content::Entries {
        first: Position(0),
        entries: taking.entries.clone(),
        is_last: false,
    };
    let mut writer = Writer::entries(&mut taking.set).unwrap().unwrap();
    writer.take(&block(ORIGIN, content)).unwrap();
    writer.finish().unwrap();
    assert_eq!(
        document(&tables_at(&taking.set, 13), "k").as_deref(),
        Some("13")
    );
    for second in [15, 20, 100] {
        let at = Micros(second * SECOND);
        let folded = fold(&taking.set, at, MemoryStore::default());
        assert!(
            matches!(folded, Err(FoldError::NotCovered { .. })),
            "{second}"
        );
    }
    // The next run goes on where that one ended.
    let mut writer = Writer::entries(&mut taking.set).unwrap().unwrap();
    let content = Content::Entries {
        first: Position(5),
        entries: rest,
        is_last: true,
    };
    writer.take(&block(ORIGIN, content)).unwrap();
    writer.finish().unwrap();
    for (second, there) in [(15, "15"), (100, "20")] {
        let tables = tables_at(&taking.set, second);
        assert_eq!(document(&tables, "k").as_deref(), Some(there));
    }
}

#[test]
fn a_run_reads_what_is_there_once_however_many_files_it_adds() {
    let directory = tempfile::tempdir().unwrap();
    let mut taking = Taking::begin(directory.path());
    let part = |first: u64, entries: &[Entry]| Content::Entries {
        first: Position(first),
        entries: entries.to_vec(),
        is_last: false,
    };
    for (first, key) in ["a", "b"].into_iter().enumerate() {
        let first = first as u64;
        taking.log(
            first + 1,
            &Body::Transaction(transaction(vec![put(key, "1")])),
        );
        let last = taking.entries.split_off(0);
        let mut writer = Writer::entries(&mut taking.set).unwrap().unwrap();
        writer.take(&block(ORIGIN, part(first, &last))).unwrap();
        writer.finish().unwrap();
        // It has no need of it any more; the next run has.
        let _ = std::fs::remove_file(directory.path().join("000001-snapshot.backup"));
    }
    drop(taking);
    let mut set = BackupSet::open_or_begin(directory.path(), "main").unwrap();
    let again = Writer::entries(&mut set).err();
    assert!(matches!(again, Some(BackupError::File { .. })), "{again:?}");
}

#[test]
fn what_a_clock_that_is_ahead_has_dated_is_covered_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut taking = Taking::begin(directory.path());
    // The wall clock shows 100 when this is taken; it was set back, or a peer's is ahead.
    taking.log(
        105,
        &Body::Transaction(transaction(vec![put("k", "ahead")])),
    );
    let set = taking.end();
    let [covered] = set.manifest().coverage()[..] else {
        panic!("one chain");
    };
    let tables = fold(&set, covered.until, MemoryStore::default()).unwrap();
    assert_eq!(document(&tables.tables, "k").as_deref(), Some("ahead"));
}

#[test]
fn two_runs_at_once_are_told_from_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let taking = Taking::begin(directory.path());
    let second = BackupSet::open_or_begin(directory.path(), "main");
    assert!(
        matches!(second, Err(BackupError::InUse { .. })),
        "{second:?}"
    );
    BackupSet::open(directory.path()).expect("reading goes on");
    drop(taking);
    BackupSet::open_or_begin(directory.path(), "main").expect("nobody writes any more");
}

#[test]
fn entries_of_another_incarnation_are_told_from_a_defect() {
    let directory = tempfile::tempdir().unwrap();
    let mut taking = Taking::begin(directory.path());
    // In another log something else stands at the position where this backup ends.
    taking.log(1, &Body::Transaction(transaction(vec![put("k", "1")])));
    taking.entries.clear();
    taking.log(2, &Body::Transaction(transaction(vec![put("k", "2")])));
    let content = taking.entries();
    let mut writer = Writer::entries(&mut taking.set).unwrap().unwrap();
    let taken = writer.take(&block(OriginId(2), content));
    assert!(matches!(taken, Err(BackupError::AnotherLog)), "{taken:?}");
}
