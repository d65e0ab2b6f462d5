//! What the projection wrote is known, and nothing else is taken for it.

use crate::bench::{Bench, told};
use meridian_engine_postgres::tag::{self, Tag, TagKey};
use meridian_engine_postgres::{Lsn, Xid};
use meridian_model::{Hlc, OriginId, Position};

const EMIT: &str = "SELECT pg_logical_emit_message(true, 'meridian', $1::bytea)::text";

fn a_tag() -> Tag {
    Tag {
        position: Position(12),
        seen: [(OriginId(3), Hlc::from_raw(99))].into_iter().collect(),
    }
}

/// Writes a row with a message that was signed with the key for the transaction, or for another.
async fn write(bench: &Bench, id: u32, key: &TagKey, for_another: bool) -> Vec<u8> {
    bench.sql("BEGIN").await;
    let xid = bench
        .number("SELECT (pg_current_xact_id()::text::bigint) & 4294967295")
        .await;
    let xid = Xid(u32::try_from(xid).unwrap().wrapping_add(for_another.into()));
    let content = tag::seal(key, &a_tag()).in_transaction(xid);
    bench.clerk.query_one(EMIT, &[&content]).await.unwrap();
    bench
        .sql(&format!("SAVEPOINT s; INSERT INTO t VALUES ({id}); COMMIT"))
        .await;
    content
}

#[tokio::test]
async fn tags_good_forged_and_copied() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut capture = bench.capture(Lsn(0)).await;
    let good = write(&bench, 1, &bench.key, false).await;
    write(&bench, 2, &TagKey::random(), false).await;
    write(&bench, 3, &bench.key, true).await;
    bench.sql("BEGIN").await;
    bench.clerk.query_one(EMIT, &[&good]).await.unwrap();
    bench.sql("INSERT INTO t VALUES (4); COMMIT").await;
    bench.sql("BEGIN; SELECT pg_logical_emit_message(true, 'meridian', 'x'); INSERT INTO t VALUES (5); COMMIT").await;
    bench.sql("BEGIN; SELECT pg_logical_emit_message(true, 'other', 'x'); INSERT INTO t VALUES (6); COMMIT").await;
    // Outside of transactions a tag is nothing.
    let stray = EMIT.replace("true", "false");
    bench.clerk.query_one(&stray, &[&good]).await.unwrap();
    bench.sql("INSERT INTO t VALUES (7)").await;
    let captured = bench.captured(&mut capture).await;
    let rows: Vec<_> = captured.iter().flat_map(told).collect();
    let expected: Vec<_> = (1..=7).map(|id| format!("insert t ({id})")).collect();
    assert_eq!(rows, expected);
    assert_eq!(captured[0].tag, Some(a_tag()));
    assert!(captured[1..].iter().all(|captured| captured.tag.is_none()));
    assert_eq!(capture.forged(), 4);
}

#[tokio::test]
async fn a_tag_without_changes_is_told_and_a_heartbeat_is_not() {
    let mut bench = Bench::new("").await;
    let mut capture = bench.capture(Lsn(0)).await;
    bench.sql("BEGIN").await;
    let xid = bench
        .number("SELECT (pg_current_xact_id()::text::bigint) & 4294967295")
        .await;
    let content = tag::seal(&bench.key, &a_tag()).in_transaction(Xid(u32::try_from(xid).unwrap()));
    bench.clerk.query_one(EMIT, &[&content]).await.unwrap();
    bench.sql("COMMIT").await;
    for is_transactional in [true, false] {
        let heartbeat = format!(
            "SELECT pg_logical_emit_message({is_transactional}, '{}', '')",
            tag::HEARTBEAT_PREFIX
        );
        bench.sql(&heartbeat).await;
    }
    let captured = bench.captured(&mut capture).await;
    assert_eq!(captured.len(), 1, "{captured:?}");
    assert_eq!(captured[0].tag, Some(a_tag()));
    assert!(captured[0].changes.is_empty());
}
