//! Over which states a row is written.

use super::*;
use std::time::{Duration, Instant};

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

fn row<'a>(id: &'a str, v: &'a str) -> [(&'static str, Option<&'a str>); 2] {
    [("id", Some(id)), ("v", Some(v))]
}

async fn region() -> (Cluster, Region) {
    let cluster = Cluster::temporary().unwrap();
    let region = Region::open(&cluster, "d", SCHEMA).await;
    (cluster, region)
}

/// A trigger calls this for each row that is inserted.
async fn before_inserts(region: &Region, call: &str) {
    let trigger = format!(
        "CREATE FUNCTION calls() RETURNS trigger LANGUAGE plpgsql AS
         $$BEGIN PERFORM {call}; RETURN NEW; END$$;
         CREATE TRIGGER calls BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION calls()"
    );
    region.execute(&trigger).await;
}

async fn t(region: &Region) -> Vec<String> {
    region.rows("SELECT id, v FROM t ORDER BY id").await
}

#[tokio::test]
async fn what_the_projection_wrote_it_may_overwrite() {
    let (_cluster, mut region) = region().await;
    assert_eq!(region.applier.position().await.unwrap(), None);
    region.put("t", "1", 1, &row("1", "a"));
    region.put("t", "2", 2, &row("2", "b"));
    let xid = committed(region.project().await);
    let writers = region.rows("SELECT DISTINCT xmin FROM t").await;
    assert_eq!(writers, [xid.0.to_string()]);
    assert_eq!(t(&region).await, ["1 a", "2 b"]);
    // Nothing of that is captured.
    region.put("t", "1", 3, &row("1", "it's \"new\""));
    region.delete("t", "2", 4);
    region.delete("t", "3", 4);
    committed(region.project().await);
    assert_eq!(t(&region).await, ["1 it's \"new\""]);
    let position = region.applier.position().await.unwrap().unwrap();
    assert_eq!(position.position, Position(5));
}

#[tokio::test]
async fn a_local_row_is_overwritten_once_its_writer_is_captured() {
    let (_cluster, mut region) = region().await;
    region
        .execute("INSERT INTO t VALUES (1, 'local'), (2, 'local'), (3, 'same')")
        .await;
    for (key, v) in [("1", "x"), ("3", "same")] {
        region.put("t", key, 1, &row(key, v));
    }
    region.delete("t", "2", 2);
    let found = unsure(region.project().await);
    assert_eq!(
        found
            .iter()
            .map(|(row, _)| row.key.as_str())
            .collect::<Vec<_>>(),
        ["2", "1"]
    );
    assert_eq!(t(&region).await, ["1 local", "2 local", "3 same"]);
    assert_eq!(region.project().await, None, "capture has yet to pass");
    // It changes again before capture passes, in a savepoint.
    region
        .execute("BEGIN; SAVEPOINT s; UPDATE t SET v = 'again' WHERE id = 1; RELEASE s; COMMIT")
        .await;
    region.capture().await;
    assert_eq!(
        unsure(region.project().await).len(),
        1,
        "that is another writer"
    );
    region.capture().await;
    committed(region.project().await);
    assert_eq!(t(&region).await, ["1 x", "3 same"]);
}

/// A local transfer and another region's take the same from a row: with the other's second row alone a
/// reader would see half of it.
#[tokio::test]
async fn a_counter_that_is_by_chance_what_it_should_be_is_no_known_state() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE purses (id int PRIMARY KEY, balance bigint)";
    let mut region = Region::open(&cluster, "d", schema).await;
    let purse = |id, balance| [("id", Some(id)), ("balance", Some(balance))];
    for key in ["1", "2", "3"] {
        region.put("purses", key, 1, &purse(key, "10"));
    }
    region.settle().await;
    region
        .execute(
            "BEGIN; UPDATE purses SET balance = 8 WHERE id = 1; \
             UPDATE purses SET balance = 12 WHERE id = 3; COMMIT",
        )
        .await;
    region.put("purses", "1", 2, &purse("1", "8"));
    region.put("purses", "2", 2, &purse("2", "12"));
    let found = unsure(region.project().await);
    assert_eq!(found.len(), 1, "{found:?}");
    let total = "SELECT sum(balance) FROM purses";
    assert_eq!(region.rows(total).await, ["30"]);
    region.capture().await;
    region.put("purses", "1", 3, &purse("1", "6"));
    region.put("purses", "3", 3, &purse("3", "12"));
    region.settle().await;
    assert_eq!(region.rows(total).await, ["30"]);
}

#[tokio::test]
async fn rows_below_the_horizon_may_be_overwritten_frozen_and_rewritten_ones_too() {
    let (_cluster, mut region) = region().await;
    region
        .execute("INSERT INTO t SELECT i, 'old' FROM generate_series(1, 5) i")
        .await;
    region.horizon_moves().await;
    region.put("t", "1", 1, &row("1", "x"));
    unsure(region.project().await);
    region.capture().await;
    committed(region.project().await);
    region.put("t", "5", 1, &row("5", "x"));
    committed(region.project().await);
    // Vacuum gives rows no new writer, `ALTER TABLE` does.
    region.execute("UPDATE t SET v = 'new' WHERE id < 4").await;
    region.execute("VACUUM FREEZE t").await;
    region.put("t", "2", 2, &row("2", "x"));
    unsure(region.project().await);
    region.capture().await;
    committed(region.project().await);
    region.execute("VACUUM FULL t").await;
    region.put("t", "3", 3, &row("3", "x"));
    unsure(region.project().await);
    region.capture().await;
    committed(region.project().await);
    region
        .execute("ALTER TABLE t ALTER v TYPE varchar(9)")
        .await;
    region.put("t", "4", 4, &row("4", "x"));
    unsure(region.project().await);
    region.capture().await;
    committed(region.project().await);
    assert_eq!(t(&region).await, ["1 new", "2 x", "3 x", "4 x", "5 x"]);
}

#[tokio::test]
async fn who_holds_a_lock_is_waited_for_and_a_hot_row_is_held() {
    let (cluster, mut region) = region().await;
    region.put("t", "1", 1, &row("1", "a"));
    region.settle().await;
    region
        .execute("BEGIN; SELECT FROM t WHERE id = 1 FOR UPDATE")
        .await;
    region.put("t", "1", 2, &row("1", "b"));
    assert_eq!(region.project().await, Some(Outcome::Locked));
    region.execute("COMMIT").await;
    committed(region.project().await);
    // Somebody writes it before every try.
    region.put("t", "1", 3, &row("1", "c"));
    for _ in 0..3 {
        region.execute("UPDATE t SET v = 'hot' WHERE id = 1").await;
        unsure(region.project().await);
        region.capture().await;
    }
    unsure(region.project().await);
    let other = cluster.connect("d", "postgres").await.unwrap();
    other.batch_execute("SET lock_timeout = 50").await.unwrap();
    let refused = other
        .batch_execute("UPDATE t SET v = 'hot'")
        .await
        .unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "55P03", "its lock is held");
    region.capture().await;
    committed(region.project().await);
    assert_eq!(t(&region).await, ["1 c"]);
    other.batch_execute("UPDATE t SET v = 'hot'").await.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_told_apart_and_the_batch_comes_again() {
    let (cluster, mut region) = region().await;
    region.put("t", "1", 1, &row("1", "a"));
    region.settle().await;
    region
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = 'd' AND pid <> pg_backend_pid()",
        )
        .await;
    region.put("t", "1", 2, &row("1", "b"));
    assert_eq!(region.project().await, Some(Outcome::Unknown));
    // A session that is left behind is waited for.
    region
        .execute("SELECT pg_advisory_lock(hashtext('meridian'), hashtext('shop'))")
        .await;
    region.applier = applier(&cluster.superuser("d")).await;
    assert!(region.applier.position().await.is_err());
    region.execute("SELECT pg_advisory_unlock_all()").await;
    assert!(region.applier.position().await.unwrap().is_some());
    region.settle().await;
    assert_eq!(t(&region).await, ["1 b"]);
}

/// What an earlier session has been sent may come late: nobody else writes before it has ended.
#[tokio::test]
async fn one_session_writes_at_a_time() {
    let (cluster, mut region) = region().await;
    let mut next = applier(&cluster.superuser("d")).await;
    assert!(next.position().await.is_err(), "the first is still open");
    region.put("t", "1", 1, &row("1", "a"));
    committed(region.project().await);
    region.applier = applier(&cluster.superuser("d")).await;
    assert!(next.position().await.unwrap().is_some());
    assert!(region.applier.position().await.is_err());
}

/// A session that has lost its lock has it again with its next batch, unless somebody else has it: then
/// that is written nowhere.
#[tokio::test]
async fn a_trigger_that_gives_up_locks_lets_nobody_in_for_long() {
    let (cluster, mut region) = region().await;
    region
        .execute(
            "CREATE FUNCTION frees() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN
                 PERFORM pg_advisory_unlock_all();
                 IF NEW.v = 'slow' THEN PERFORM pg_sleep(4); END IF;
                 RETURN NULL;
             END$$;
             CREATE CONSTRAINT TRIGGER frees AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION frees()",
        )
        .await;
    let mut next = applier(&cluster.superuser("d")).await;
    region.put("t", "1", 1, &row("1", "a"));
    region.settle().await;
    region.put("t", "1", 2, &row("1", "slow"));
    region.capture().await;
    // Nobody gets in before it is committed.
    let comes_in = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        next.position().await.map(drop)
    };
    let (_, came_in) = tokio::join!(region.project(), comes_in);
    assert!(came_in.is_err(), "the batch is still under way");
    region.settle().await;
    region.put("t", "2", 2, &row("2", "a"));
    region.settle().await;
    let busy = next.position().await.unwrap_err().to_string();
    assert!(
        busy.contains("still open in the server (process "),
        "{busy}"
    );
    assert!(busy.contains(", idle"), "{busy}");
    region.put("t", "1", 3, &row("1", "frees"));
    region.settle().await;
    assert!(next.position().await.unwrap().is_some());
    region.put("t", "2", 3, &row("2", "b"));
    let refused = region.try_to_project().await.expect("a batch").unwrap_err();
    assert!(matches!(refused, ApplyError::Busy { .. }), "{refused}");
    assert_eq!(t(&region).await, ["1 frees", "2 a"]);
}

/// A statement that takes long goes on when the region is gone; its session doesn't.
#[tokio::test]
async fn a_session_in_the_middle_of_a_statement_ends_with_its_region() {
    let (cluster, mut region) = region().await;
    before_inserts(&region, "pg_sleep(600)").await;
    region.put("t", "7", 1, &row("7", "a"));
    let gone = tokio::time::timeout(Duration::from_millis(500), region.project()).await;
    assert!(gone.is_err(), "it takes long");
    region.applier = applier(&cluster.superuser("d")).await;
    let since = Instant::now();
    while let Err(busy) = region.applier.position().await {
        assert!(since.elapsed() < Duration::from_secs(60), "{busy}");
    }
}

#[tokio::test]
async fn a_lock_that_a_trigger_waits_for_is_one_too() {
    let (cluster, mut region) = region().await;
    before_inserts(&region, "pg_advisory_xact_lock(NEW.id)").await;
    let other = cluster.connect("d", "postgres").await.unwrap();
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(7)";
    other.batch_execute(lock).await.unwrap();
    region.put("t", "7", 1, &row("7", "a"));
    assert_eq!(region.project().await, Some(Outcome::Locked));
    other.batch_execute("COMMIT").await.unwrap();
    committed(region.project().await);
}
