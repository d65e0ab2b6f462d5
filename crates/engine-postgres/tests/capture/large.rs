//! A transaction larger than the memory that it may take.

use crate::bench::{Bench, next};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Changes, Datum, Event, RowChange};

const ROWS: u32 = 300_000;
const GROWTH_KIB_MAX: u64 = 64 << 10;

/// A line of `/proc/self/status`, in KiB.
fn memory_kib(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status
        .lines()
        .find_map(|text| text.strip_prefix(line))
        .unwrap();
    let number = found
        .trim_start_matches(':')
        .trim()
        .split(' ')
        .next()
        .unwrap();
    number.parse().unwrap()
}

#[tokio::test]
async fn a_transaction_of_300_000_rows_takes_bounded_memory() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY, body text)").await;
    let before = memory_kib("VmRSS");
    let mut capture = bench.capture(Lsn(0)).await;
    let insert = format!(
        "INSERT INTO t SELECT id, repeat(md5(id::text), 8) FROM generate_series(1, {ROWS}) AS id"
    );
    bench.sql(&insert).await;
    let changes = loop {
        if let Event::Transaction(transaction) = next(&mut capture).await.unwrap() {
            break transaction.changes;
        }
    };
    assert!(matches!(changes, Changes::Spooled(_)));
    assert_eq!(changes.len(), usize::try_from(ROWS).unwrap());
    let mut expected = 0;
    for chunk in changes.chunks() {
        for change in chunk.unwrap().iter() {
            let RowChange::Insert { new, .. } = change else {
                panic!("{change:?}");
            };
            expected += 1;
            assert_eq!(new[0], Datum::Text(expected.to_string()));
            assert!(matches!(&new[1], Datum::Text(body) if body.len() == 256));
        }
    }
    assert_eq!(expected, ROWS);
    let growth = memory_kib("VmHWM").saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "memory grew by {growth} KiB");
    let left = std::fs::read_dir(bench.directory.path()).unwrap().count();
    assert_eq!(left, 0, "the file has no name");
    // What came behind it isn't lost.
    assert!(bench.captured(&mut capture).await.is_empty());
}
