//! Many rows at once.

use super::*;
use std::time::Instant;

const ROWS: u32 = 100_000;

#[tokio::test]
async fn a_hundred_thousand_rows_in_one_batch() {
    let cluster = Cluster::temporary().unwrap();
    // The planner thinks that the table is empty, and no plan is made twice.
    let schema = "CREATE TABLE t (id int PRIMARY KEY, balance bigint, filler text); ANALYZE t";
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

/// As many rows with a unique index and a foreign key, and among them some that collide.
#[tokio::test]
async fn many_rows_are_planned_without_comparing_each_with_each() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE p (id int PRIMARY KEY);
                  CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, u text UNIQUE)";
    let mut region = Region::open(&cluster, "d", schema).await;
    for id in 0..ROWS / 2 {
        let key = id.to_string();
        region.arrives("p", &key, 1, Some(format!(r#"{{"id":"{id}"}}"#)));
        // The last refers to nobody, and each thousandth wants its successor's value.
        let (parent, value) = (id + 1, id - u32::from(id % 1_000 == 1));
        let document = format!(r#"{{"id":"{id}","p":"{parent}","u":"{value}"}}"#);
        region.arrives("c", &key, u64::from(id), Some(document));
    }
    rate(&mut region, "planned insert").await;
    let out = u64::from(ROWS / 2 / 1_000) + 1;
    assert_eq!(region.projection.parked().count() as u64, out);
    let count = u64::from(ROWS / 2) - out;
    assert_eq!(
        region.rows("SELECT count(*) FROM c").await,
        [count.to_string()]
    );
}
