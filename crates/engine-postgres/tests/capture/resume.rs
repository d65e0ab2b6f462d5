//! Each transaction once, whoever dies.

use crate::bench::{Bench, next, told};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Capture, CaptureError, CapturedTransaction, Event};
use meridian_engine_postgres::local::Stop;

/// What an agent keeps on disk: the rows captured, and how far.
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
                self.keep(&transaction);
                return;
            }
        }
    }

    fn keep(&mut self, transaction: &CapturedTransaction) {
        self.rows.extend(told(transaction));
        self.end = transaction.end;
    }

    /// Takes and confirms everything until the stream ends.
    async fn all(&mut self, capture: &mut Capture) -> CaptureError {
        loop {
            match next(capture).await {
                Ok(Event::Transaction(transaction)) => {
                    self.keep(&transaction);
                    capture.confirm(self.end);
                }
                Ok(Event::Passed(position)) => capture.confirm(position),
                Err(error) => return error,
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
        let agent = tokio::spawn(async move {
            let error = kept.all(&mut capture).await;
            (kept, error)
        });
        // A transaction under way dies with the server.
        bench.sql("BEGIN; INSERT INTO t VALUES (1000000)").await;
        tokio::task::block_in_place(|| bench.cluster.restart(how)).unwrap();
        let (told, error) = agent.await.unwrap();
        kept = told;
        assert!(error.is_transient(), "{how:?}: {error:#}");
        if how == Stop::Fast {
            assert!(
                matches!(error, CaptureError::ShuttingDown { .. }),
                "{error:#}"
            );
        }
        bench.clerk = bench.cluster.connect("shop", "clerk").await.unwrap();
    }
    let mut capture = bench.capture(kept.end).await;
    write(&bench, written..written + 5).await;
    let missing = rows(1..written + 5).len() - kept.rows.len();
    kept.take(&mut capture, missing / 2).await;
    assert_eq!(kept.rows, rows(1..written + 5));
}
