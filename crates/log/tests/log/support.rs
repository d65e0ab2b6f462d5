//! Entries to log, and logs to put them in.

use meridian_log::{Disk, Log, LogConfig, LogError, MemoryDisk, Reader};
use meridian_model::{Body, Change, Entry, Hlc, Marks, Operation, OriginId, Position, Transaction};

pub const SMALL: LogConfig = LogConfig {
    segment_bytes: 4096,
    tail_cache_bytes: 1024,
    prepare_ahead: false,
};

/// Makes entries that follow each other.
#[derive(Clone, Default)]
pub struct Streams {
    pub marks: Marks,
    hlc: u64,
}

impl Streams {
    pub fn continuing(marks: Marks) -> Self {
        let hlc = marks.iter().map(|(_, mark)| mark.hlc.raw()).max();
        Self {
            marks,
            hlc: hlc.unwrap_or(0),
        }
    }

    pub fn next(&mut self, origin: u64, document_bytes: usize) -> Entry {
        let origin = OriginId(origin);
        self.hlc += 1;
        let body = Body::Transaction(Transaction {
            changes: vec![Change {
                table: "table".into(),
                key: self.hlc.to_string(),
                operation: Operation::Put {
                    document: "x".repeat(document_bytes),
                },
            }],
            ..Transaction::default()
        });
        let hlc = Hlc::from_raw(self.hlc);
        let entry = Entry::following(self.marks.get(origin), origin, hlc, &body);
        self.marks.set(origin, entry.mark());
        entry
    }

    /// `count` entries of origins 1 to 3 in turn.
    pub fn group(&mut self, count: u64, document_bytes: usize) -> Vec<Entry> {
        (0..count)
            .map(|index| self.next(index % 3 + 1, document_bytes))
            .collect()
    }
}

pub fn open(disk: &MemoryDisk, acknowledged: u64) -> Result<Log<MemoryDisk>, LogError> {
    Log::open(disk.clone(), SMALL, Position(acknowledged))
}

/// The error of opening a log that must not open.
pub fn refusal(disk: &MemoryDisk, acknowledged: u64) -> LogError {
    match open(disk, acknowledged) {
        Ok(log) => panic!("a damaged log opened and ends at {}", log.end()),
        Err(error) => {
            assert!(!error.hint().is_empty());
            error
        }
    }
}

/// A log with `frames` frames of three entries each; gives the entries.
pub fn filled(disk: &MemoryDisk, frames: u64, document_bytes: usize) -> Vec<Entry> {
    let mut log = open(disk, 0).unwrap();
    let mut streams = Streams::default();
    let mut all = Vec::new();
    for _ in 0..frames {
        let group = streams.group(3, document_bytes);
        log.commit(&group).unwrap();
        all.extend(group);
    }
    all
}

/// Everything from `from` on, in batches of at most `bytes_max`.
pub fn read_from<D: Disk>(reader: &Reader<D>, from: Position, bytes_max: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next = from;
    loop {
        let batch = reader.read(next, bytes_max).unwrap();
        assert_eq!(batch.next.0, next.0 + batch.entries.len() as u64);
        if batch.entries.is_empty() {
            return entries;
        }
        entries.extend(batch.entries);
        next = batch.next;
    }
}

pub fn read_all<D: Disk>(log: &Log<D>) -> Vec<Entry> {
    read_from(&log.reader(), log.start(), 700)
}

pub fn segment_names(disk: &MemoryDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.sort();
    names
}

/// The offsets of the frames in a file, found by their magic.
pub fn frame_offsets(disk: &MemoryDisk, name: &str) -> Vec<usize> {
    let bytes = disk.contents(name).unwrap();
    bytes
        .windows(4)
        .enumerate()
        .filter(|(_, window)| *window == [0xf5, 0xc1, 0xfe, 0xf9])
        .map(|(offset, _)| offset)
        .collect()
}

/// A small generator, so that a failure can be had again from its seed.
pub fn randomness(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
