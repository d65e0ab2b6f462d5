//! Positions, confirmations, and callers that take their time.

use crate::bench::{Bench, SLOT, next};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Event, identify};
use std::time::{Duration, Instant};

const CONFIRMED: &str =
    "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'meridian_shop'";

#[tokio::test]
async fn the_server_forgets_what_was_confirmed_and_nothing_else() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let at_first = bench.lsn(CONFIRMED).await;
    let mut capture = bench.capture(Lsn(0)).await;
    assert_eq!(capture.slot_confirmed(), at_first);
    bench.sql("INSERT INTO t VALUES (1)").await;
    bench.sql("INSERT INTO t VALUES (2)").await;
    let captured = bench.captured(&mut capture).await;
    // The server has heard of us since.
    let heard = format!(
        "SELECT count(*) FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid \
         WHERE s.slot_name = '{SLOT}' AND r.reply_time > now()"
    );
    let superuser = bench.superuser().await;
    superuser.batch_execute("BEGIN").await.unwrap();
    bench
        .eventually(async || {
            let row = superuser.query_one(&heard, &[]).await.unwrap();
            (row.get::<_, i64>(0) == 1).then_some(())
        })
        .await;
    assert_eq!(bench.lsn(CONFIRMED).await, at_first);
    capture.confirm(captured[0].end);
    capture.confirm(at_first);
    let confirmed = captured[0].end;
    bench
        .eventually(async || (bench.lsn(CONFIRMED).await == confirmed).then_some(()))
        .await;
}

#[tokio::test]
async fn an_idle_database_passes_what_others_write() {
    let bench = Bench::new("").await;
    let mut capture = bench.capture(Lsn(0)).await;
    let other = bench.cluster.connect("postgres", "postgres").await.unwrap();
    let mut passed = Lsn(0);
    for round in 0..3 {
        let write = format!("CREATE TABLE t{round} (id int); INSERT INTO t{round} VALUES (1)");
        other.batch_execute(&write).await.unwrap();
        let written: String = other
            .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
            .await
            .unwrap()
            .get(0);
        let written: Lsn = written.parse().unwrap();
        while passed < written {
            match next(&mut capture).await.unwrap() {
                Event::Passed(position) => {
                    assert!(position > passed);
                    passed = position;
                    capture.confirm(position);
                }
                Event::Transaction(transaction) => panic!("{transaction:?}"),
            }
        }
    }
    // What the slot holds back moves on with it.
    bench
        .eventually(async || (bench.lsn(CONFIRMED).await >= passed).then_some(()))
        .await;
}

#[tokio::test]
async fn a_server_says_who_it_is() {
    let bench = Bench::new("").await;
    let place = identify(&bench.server).await.unwrap();
    let superuser = bench.superuser().await;
    let query = "SELECT system_identifier::text FROM pg_control_system()";
    let system: String = superuser.query_one(query, &[]).await.unwrap().get(0);
    assert_eq!(place.identity.system.to_string(), system);
    assert_eq!(place.identity.timeline, 1);
    let capture = bench.capture(Lsn(0)).await;
    assert_eq!(capture.identity(), place.identity);
    assert!(capture.end_at_start() >= place.end);
}

#[tokio::test]
async fn a_caller_that_takes_nothing_isn_t_taken_for_dead() {
    let setup = "CREATE TABLE t (id int, body text); ALTER TABLE t REPLICA IDENTITY FULL";
    let mut bench = Bench::with(&[("wal_sender_timeout", "2s")], setup).await;
    let mut capture = bench.capture(Lsn(0)).await;
    // More than waits on our side, and than sockets take.
    let rounds = 60;
    for round in 0..rounds {
        let insert = format!(
            "INSERT INTO t SELECT {round}, repeat('x', 1000) FROM generate_series(1, 1000)"
        );
        bench.sql(&insert).await;
    }
    let superuser = bench.superuser().await;
    let begin = Instant::now();
    bench
        .eventually(async || {
            let alive = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' \
                         OR state = 'catchup'";
            let row = superuser.query_one(alive, &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), 1, "after {:?}", begin.elapsed());
            (begin.elapsed() > Duration::from_secs(6)).then_some(())
        })
        .await;
    let captured = bench.captured(&mut capture).await;
    assert_eq!(captured.len(), rounds);
    assert!(
        captured
            .iter()
            .all(|transaction| transaction.changes.len() == 1000)
    );
}
