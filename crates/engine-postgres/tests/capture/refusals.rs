//! What can be wrong, and how it is told.

use crate::bench::{Bench, DATABASE, PUBLICATION, SLOT, end, next};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Capture, CaptureError, Event};
use meridian_engine_postgres::local::Stop;
use meridian_engine_postgres::server::ServerConfig;

async fn refused(
    bench: &Bench,
    server: &ServerConfig,
    slot: &str,
    publication: &str,
) -> CaptureError {
    let directory = bench.directory.path();
    match Capture::start(server, slot, publication, Lsn(0), &bench.key, directory).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn what_is_missing_is_told_by_name() {
    let mut bench = Bench::new("").await;
    let server = bench.server.clone();

    let error = refused(&bench, &server, "nowhere", PUBLICATION).await;
    assert!(matches!(&error, CaptureError::SlotMissing { slot } if slot == "nowhere"));
    assert!(!error.is_transient());

    let error = refused(&bench, &server, SLOT, "it's nowhere").await;
    assert!(
        matches!(&error, CaptureError::PublicationMissing { publication } if publication == "it's nowhere")
    );

    let nowhere = bench.cluster.server("nowhere", "clerk");
    let error = refused(&bench, &nowhere, SLOT, PUBLICATION).await;
    assert!(matches!(&error, CaptureError::NoDatabase { database } if database == "nowhere"));

    let elsewhere = bench.cluster.server("postgres", "clerk");
    let error = refused(&bench, &elsewhere, SLOT, PUBLICATION).await;
    assert!(matches!(&error, CaptureError::SlotTaken { reason, .. } if reason.contains(DATABASE)));

    let superuser = bench.superuser().await;
    superuser
        .batch_execute(
            "SELECT pg_create_physical_replication_slot('physical');
             SELECT pg_create_logical_replication_slot('other', 'test_decoding');
             CREATE ROLE visitor LOGIN",
        )
        .await
        .unwrap();
    for slot in ["physical", "other"] {
        let error = refused(&bench, &server, slot, PUBLICATION).await;
        assert!(
            matches!(&error, CaptureError::SlotTaken { .. }),
            "{error:#}"
        );
    }

    let visitor = bench.cluster.server(DATABASE, "visitor");
    let error = refused(&bench, &visitor, SLOT, PUBLICATION).await;
    assert!(
        matches!(&error, CaptureError::NotPermitted { user, .. } if user == "visitor"),
        "{error:#}"
    );

    bench.cluster.stop(Stop::Fast);
    let error = refused(&bench, &server, SLOT, PUBLICATION).await;
    assert!(
        matches!(&error, CaptureError::Unreachable { .. }),
        "{error:#}"
    );
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_slot_that_somebody_reads_is_told_with_the_process() {
    let bench = Bench::new("").await;
    let first = bench.capture(Lsn(0)).await;
    let reader = bench
        .number("SELECT active_pid::bigint FROM pg_replication_slots")
        .await;
    let error = bench.start(Lsn(0)).await.unwrap_err();
    assert!(error.is_transient());
    match error {
        CaptureError::SlotInUse { process, .. } => {
            assert_eq!(process.map(i64::from), Some(reader));
        }
        other => panic!("{other:#}"),
    }
    drop(first);
    bench.capture(Lsn(0)).await;
}

#[tokio::test]
async fn a_publication_that_goes_under_way_ends_the_stream() {
    let bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut capture = bench.capture(Lsn(0)).await;
    let superuser = bench.superuser().await;
    let drop = format!("DROP PUBLICATION {PUBLICATION}");
    superuser.batch_execute(&drop).await.unwrap();
    bench.sql("INSERT INTO t VALUES (1)").await;
    let error = end(&mut capture).await;
    assert!(
        matches!(error, CaptureError::PublicationMissing { .. }),
        "{error:#}"
    );
    assert!(matches!(next(&mut capture).await, Err(CaptureError::Ended)));
}

#[tokio::test]
async fn a_slot_whose_wal_was_thrown_away_is_lost() {
    let mut bench = Bench::with(
        &[("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB")],
        "CREATE TABLE t (id int PRIMARY KEY)",
    )
    .await;
    let mut capture = bench.capture(Lsn(0)).await;
    assert!(bench.captured(&mut capture).await.is_empty());
    drop(capture);
    let superuser = bench.superuser().await;
    let status = format!("SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    bench
        .eventually(async || {
            bench
                .sql("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t")
                .await;
            superuser
                .batch_execute("SELECT pg_switch_wal()")
                .await
                .unwrap();
            superuser.batch_execute("CHECKPOINT").await.unwrap();
            (bench.text(&status).await == "lost").then_some(())
        })
        .await;
    let error = bench.start(Lsn(0)).await.unwrap_err();
    assert!(
        matches!(&error, CaptureError::SlotLost { slot, .. } if slot == SLOT),
        "{error:#}"
    );
    assert!(!error.is_transient());
    assert!(error.hint().contains("attach the region anew"));
}

#[tokio::test]
async fn an_administrator_who_ends_the_session_doesn_t_end_capture_for_good() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut capture = bench.capture(Lsn(0)).await;
    bench.sql("INSERT INTO t VALUES (1)").await;
    let superuser = bench.superuser().await;
    superuser
        .batch_execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
        .await
        .unwrap();
    let mut after = Lsn(0);
    let error = loop {
        match next(&mut capture).await {
            Ok(Event::Transaction(transaction)) => after = transaction.end,
            Ok(Event::Passed(_)) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_transient(), "{error:#}");
    let mut capture = bench.capture(after).await;
    let told = bench.told(&mut capture).await.concat();
    assert_eq!(told.len(), usize::from(after == Lsn(0)));
}
