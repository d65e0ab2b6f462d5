//! Many rows at once.

use super::*;
use std::time::Instant;

const ROWS: u32 = 100_000;

#[tokio::test]
async fn a_hundred_thousand_rows_in_one_batch() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE t (id int PRIMARY KEY, balance bigint, filler text)";
    let mut region = Region::open(&cluster, "d", schema).await;
    for (at, what) in [(1, "insert"), (2, "update")] {
        for id in 0..ROWS {
            let document =
                format!(r#"{{"id":"{id}","balance":"{at}","filler":"some text of a row"}}"#);
            region.arrives("t", &id.to_string(), at, Some(document));
        }
        rate(&mut region, what).await;
        let sums = region.rows("SELECT count(*), sum(balance) FROM t").await;
        assert_eq!(sums, [format!("{ROWS} {}", u64::from(ROWS) * at)]);
    }
    for id in 0..ROWS {
        region.delete("t", &id.to_string(), 3);
    }
    rate(&mut region, "delete").await;
    assert_eq!(region.rows("SELECT count(*) FROM t").await, ["0"]);
}

/// One batch, and how fast it was.
#[expect(
    clippy::print_stderr,
    reason = "the figure is for whoever runs the test"
)]
async fn rate(region: &mut Region, what: &str) {
    let began = Instant::now();
    committed(region.project().await);
    let rate = f64::from(ROWS) / began.elapsed().as_secs_f64();
    eprintln!("{what}: {rate:.0} rows/s");
    assert!(rate > 1_000.0, "{what}: {rate:.0} rows/s");
}
