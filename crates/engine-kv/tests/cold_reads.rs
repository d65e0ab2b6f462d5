//! What a read of one row costs where nothing of its table is in the cache.

use meridian_engine_kv::{FjallStore, Store, View, Writes};
use std::fs;
use std::path::Path;

const ROWS: u64 = 400_000;
const ROWS_AT_ONCE: u64 = 10_000;
/// No table is so large before it is merged with others.
const MERGED_BYTES: u64 = 4 << 20;
/// Merging goes on beside the writing.
const ROUNDS_MAX: usize = 100;
/// Some blocks: of the filter, of the index and of the data.
const READ_BYTES_MAX: u64 = 64 << 10;

fn key(number: u64) -> Vec<u8> {
    format!("row {number:010}").into_bytes()
}

/// Written once: it is in the table that was merged, not in those that came later.
const OLD: u64 = ROWS / 2;

fn write_all_but(store: &FjallStore, left_out: Option<u64>) {
    for first in (0..ROWS).step_by(ROWS_AT_ONCE as usize) {
        let mut writes = Writes::new();
        for number in first..first + ROWS_AT_ONCE {
            writes.insert(key(number), Some(b"small".to_vec()));
        }
        if let Some(number) = left_out {
            writes.remove(&key(number));
        }
        store.commit(writes).unwrap();
    }
}

/// The sizes of the store's tables.
fn tables(path: &Path) -> Vec<u64> {
    let mut sizes = Vec::new();
    for entry in fs::read_dir(path.join("keyspaces/1/tables")).unwrap() {
        // It may be gone again.
        sizes.extend(entry.unwrap().metadata().map(|it| it.len()));
    }
    sizes
}

/// What this thread has read from files so far, cached by the system or not.
fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_row_is_read_without_reading_its_tables_whole_filter() {
    let directory = tempfile::tempdir().unwrap();
    let store = FjallStore::open(directory.path()).unwrap();
    write_all_but(&store, None);
    // What is written again has to be merged: merged tables are large, and have large filters.
    let is_merged = || {
        tables(directory.path())
            .iter()
            .any(|size| *size >= MERGED_BYTES)
    };
    for _ in 0..ROUNDS_MAX {
        if is_merged() {
            break;
        }
        write_all_but(&store, Some(OLD));
    }
    assert!(is_merged(), "{:?}", tables(directory.path()));
    drop(store);
    let store = FjallStore::open(directory.path()).unwrap();
    let view = store.view();
    let before = bytes_read();
    assert!(view.get(&key(OLD)).unwrap().is_some());
    let read = bytes_read() - before;
    assert!(read < READ_BYTES_MAX, "{read} bytes for one row");
}
