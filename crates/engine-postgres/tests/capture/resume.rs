//! Each transaction once, whoever dies.

use crate::bench::{Bench, end, next, told};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Capture, CaptureError, Event};
use meridian_engine_postgres::local::Stop;

/// What an agent keeps on disk: the ids captured, and how far.
#[derive(Default)]
struct Kept {
    rows: Vec<String>,
    end: Lsn,
}

impl Kept {
    /// Takes so many transactions. What is kept goes together with its position, and is confirmed
    /// only now and then, as after a crash before the next status.
    async fn take(&mut self, capture: &mut Capture, transactions: usize) {
        for number in 0..transactions {
            self.one(capture).await;
            if number % 3 == 0 {
                capture.confirm(self.end);
            }
        }
    }

    async fn one(&mut self, capture: &mut Capture) {
        loop {
            if let Event::Transaction(transaction) = next(capture).await.unwrap() {
                self.rows.extend(told(&transaction));
                self.end = transaction.end;
                return;
            }
        }
    }
}

async fn write(bench: &Bench, ids: std::ops::Range<u32>) {
    for id in ids {
        let insert = format!("INSERT INTO t VALUES ({id}), (-{id})");
        bench.sql(&insert).await;
    }
}

fn rows(ids: std::ops::Range<u32>) -> Vec<String> {
    ids.flat_map(|id| [format!("insert t ({id})"), format!("insert t (-{id})")])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_captures_each_transaction_once() {
    let bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut kept = Kept::default();
    write(&bench, 1..40).await;
    for transactions in [1, 7, 0, 11, 2] {
        let mut capture = bench.capture(kept.end).await;
        kept.take(&mut capture, transactions).await;
        // Events that were captured and not taken are lost with it.
    }
    let mut capture = bench.capture(kept.end).await;
    kept.take(&mut capture, 39 - 21).await;
    assert_eq!(kept.rows, rows(1..40));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_under_way_loses_and_repeats_nothing() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut kept = Kept::default();
    let mut written = 1;
    for how in [Stop::Immediate, Stop::Fast, Stop::Immediate] {
        write(&bench, written..written + 10).await;
        written += 10;
        let mut capture = bench.capture(kept.end).await;
        kept.take(&mut capture, 4).await;
        let rest = tokio::spawn(async move { end(&mut capture).await });
        // A transaction under way dies with the server.
        bench.sql("BEGIN; INSERT INTO t VALUES (1000000)").await;
        tokio::task::block_in_place(|| bench.cluster.restart(how)).unwrap();
        let error = rest.await.unwrap();
        assert!(error.is_transient(), "{how:?}: {error:#}");
        match how {
            Stop::Fast => assert!(
                matches!(error, CaptureError::ShuttingDown { .. }),
                "{error:#}"
            ),
            Stop::Immediate => {}
        }
        bench.clerk = bench.cluster.connect("shop", "clerk").await.unwrap();
        // `rest` confirmed what it took and kept none of it: the slot may be ahead of us now, as
        // it must never be of a real agent.
        let ahead = bench
            .text("SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
            .await;
        if ahead.parse::<Lsn>().unwrap() > kept.end {
            kept.rows = rows(1..written);
            kept.end = ahead.parse().unwrap();
        }
    }
    let mut capture = bench.capture(kept.end).await;
    write(&bench, written..written + 5).await;
    let missing = rows(1..written + 5).len() - kept.rows.len();
    kept.take(&mut capture, missing / 2).await;
    assert_eq!(kept.rows, rows(1..written + 5));
}
