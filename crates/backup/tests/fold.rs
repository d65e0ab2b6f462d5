//! The tables of a moment, made anew from a backup, are those that a region had.

use meridian_backup::{BackupError, BackupSet, Block, Content, Source, Writer, fold};
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
    let source = Source {
        dataset: "main".to_owned(),
        region: RegionName::new("a"),
        origin,
    };
    let taken_at = Micros(100 * SECOND);
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
        let mut set = BackupSet::open_or_begin(directory, "main").unwrap();
        let mut writer = Writer::snapshot(&mut set).unwrap();
        let part = SnapshotPart {
            head: Some(SnapshotHead::default()),
            ..SnapshotPart::default()
        };
        writer
            .take(&block(ORIGIN, Content::Snapshot(part)))
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
