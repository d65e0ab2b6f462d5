//! What a transaction did to rows, case by case.

use crate::bench::Bench;
use meridian_engine_postgres::Lsn;

/// Statements that each run in a transaction of their own, and what each is captured as.
async fn each(setup: &str, cases: &[(&str, &[&str])]) {
    let mut bench = Bench::with(&[("max_prepared_transactions", "5")], setup).await;
    let mut capture = bench.capture(Lsn(0)).await;
    for (statements, expected) in cases {
        bench.sql(statements).await;
        let told = bench.told(&mut capture).await;
        assert_eq!(told.concat(), *expected, "{statements}");
    }
}

#[tokio::test]
async fn inserts_updates_deletes_and_key_changes() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, name text, gone int, n int);
                 ALTER TABLE t DROP COLUMN gone;
                 CREATE TABLE pair (a int, b text, v text, twice int GENERATED ALWAYS AS (a * 2) STORED,
                                    PRIMARY KEY (b, a));
                 CREATE TABLE whole (id int PRIMARY KEY, name text);
                 ALTER TABLE whole REPLICA IDENTITY FULL;
                 CREATE SCHEMA \"Other's\";
                 CREATE TABLE \"Other's\".\"Ta\"\"ble\" (\"Id\" int PRIMARY KEY);";
    each(
        setup,
        &[
            (
                "INSERT INTO t VALUES (1, 'a', 7), (2, NULL, 0)",
                &["insert t (1, a, 7)", "insert t (2, null, 0)"],
            ),
            ("UPDATE t SET name = 'é\"''\\' WHERE id = 1", &["update t to (1, é\"'\\, 7)"]),
            (
                "UPDATE t SET id = 9 WHERE id = 2",
                &["update t (2, null, null) to (9, null, 0)"],
            ),
            ("DELETE FROM t WHERE id = 9", &["delete t (9, null, null)"]),
            (
                "INSERT INTO pair VALUES (1, 'x', 'v'); UPDATE pair SET a = 2; DELETE FROM pair",
                &[
                    "insert pair (1, x, v)",
                    "update pair (1, x, null) to (2, x, v)",
                    "delete pair (2, x, null)",
                ],
            ),
            (
                "INSERT INTO whole VALUES (1, 'a'); UPDATE whole SET name = NULL; DELETE FROM whole",
                &[
                    "insert whole (1, a)",
                    "update whole (1, a) to (1, null)",
                    "delete whole (1, null)",
                ],
            ),
            (
                "INSERT INTO \"Other's\".\"Ta\"\"ble\" VALUES (1)",
                &["insert Other's.Ta\"ble (1)"],
            ),
            // No row was touched, or nothing that is published.
            ("UPDATE t SET n = 1 WHERE id = 77", &[]),
            ("CREATE TEMPORARY TABLE mine (id int); INSERT INTO mine VALUES (1)", &[]),
        ],
    )
    .await;
}

#[tokio::test]
async fn truncates_and_what_they_reach() {
    let setup = "CREATE TABLE a (id int PRIMARY KEY);
                 CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
                 CREATE TABLE c (id int PRIMARY KEY);";
    each(
        setup,
        &[
            ("TRUNCATE c", &["truncate c"]),
            ("TRUNCATE a CASCADE", &["truncate a b"]),
            (
                "INSERT INTO c VALUES (1); TRUNCATE a, b, c RESTART IDENTITY; INSERT INTO c VALUES (2)",
                &["insert c (1)", "truncate a b c", "insert c (2)"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn savepoints_rollbacks_and_prepared_transactions() {
    each(
        "CREATE TABLE t (id int PRIMARY KEY)",
        &[
            (
                "BEGIN; INSERT INTO t VALUES (1);
                 SAVEPOINT s; INSERT INTO t VALUES (2); ROLLBACK TO s;
                 SAVEPOINT r; INSERT INTO t VALUES (3); RELEASE r; COMMIT",
                &["insert t (1)", "insert t (3)"],
            ),
            ("BEGIN; INSERT INTO t VALUES (4); ROLLBACK", &[]),
            (
                "BEGIN; INSERT INTO t VALUES (5); PREPARE TRANSACTION 'five'",
                &[],
            ),
            (
                "BEGIN; INSERT INTO t VALUES (6); PREPARE TRANSACTION 'six'",
                &[],
            ),
            ("INSERT INTO t VALUES (7)", &["insert t (7)"]),
            ("COMMIT PREPARED 'six'", &["insert t (6)"]),
            ("ROLLBACK PREPARED 'five'", &[]),
            ("INSERT INTO t VALUES (5)", &["insert t (5)"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn large_values_that_an_update_left_alone() {
    let setup = "CREATE TABLE short (id int PRIMARY KEY, body text, n int);
                 ALTER TABLE short ALTER body SET STORAGE EXTERNAL;
                 CREATE TABLE whole (LIKE short INCLUDING ALL);
                 ALTER TABLE whole REPLICA IDENTITY FULL;";
    each(
        setup,
        &[
            (
                "INSERT INTO short VALUES (1, repeat('x', 9000), 0)",
                &["insert short (1, 9000 bytes, 0)"],
            ),
            (
                "UPDATE short SET n = 1",
                &["update short to (1, unchanged, 1)"],
            ),
            (
                "UPDATE short SET id = 2",
                &["update short (1, null, null) to (2, unchanged, 1)"],
            ),
            (
                "UPDATE short SET body = repeat('y', 8000)",
                &["update short to (2, 8000 bytes, 1)"],
            ),
            ("DELETE FROM short", &["delete short (2, null, null)"]),
            (
                "INSERT INTO whole VALUES (1, repeat('x', 9000), 0); UPDATE whole SET n = 1",
                &[
                    "insert whole (1, 9000 bytes, 0)",
                    "update whole (1, 9000 bytes, 0) to (1, 9000 bytes, 1)",
                ],
            ),
            (
                "UPDATE whole SET body = NULL",
                &["update whole (1, 9000 bytes, 1) to (1, null, 1)"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn partitioned_tables_are_their_root() {
    let setup = "CREATE TABLE sale (day date, id int, n int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
                 CREATE TABLE sale_1 PARTITION OF sale FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
                 CREATE TABLE sale_2 (n int, id int NOT NULL, day date NOT NULL);
                 ALTER TABLE sale ATTACH PARTITION sale_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');";
    each(
        setup,
        &[
            (
                "INSERT INTO sale VALUES ('2026-01-05', 1, 10), ('2026-02-05', 2, 20)",
                &[
                    "insert sale (2026-01-05, 1, 10)",
                    "insert sale (2026-02-05, 2, 20)",
                ],
            ),
            (
                "UPDATE sale SET n = 21 WHERE id = 2",
                &["update sale to (2026-02-05, 2, 21)"],
            ),
            // From one partition to the other.
            (
                "UPDATE sale SET day = '2026-02-06' WHERE id = 1",
                &[
                    "delete sale (2026-01-05, 1, null)",
                    "insert sale (2026-02-06, 1, 10)",
                ],
            ),
            (
                "INSERT INTO sale_1 VALUES ('2026-01-07', 3, 30)",
                &["insert sale (2026-01-07, 3, 30)"],
            ),
            ("TRUNCATE sale", &["truncate sale"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_table_that_changes_its_columns_under_way() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY, a text)").await;
    let mut capture = bench.capture(Lsn(0)).await;
    bench.sql("INSERT INTO t VALUES (1, 'a')").await;
    bench
        .sql("BEGIN; INSERT INTO t VALUES (2, 'b'); ALTER TABLE t ADD b int DEFAULT 7; INSERT INTO t VALUES (3, 'c', 8); COMMIT")
        .await;
    bench
        .sql("ALTER TABLE t DROP a; INSERT INTO t VALUES (4, 9)")
        .await;
    bench
        .sql("ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (5, 9)")
        .await;
    assert_eq!(
        bench.told(&mut capture).await,
        [
            vec!["insert t (1, a)"],
            vec!["insert t (2, b)", "insert t (3, c, 8)"],
            vec!["insert t (4, 9)"],
            vec!["insert u (5, 9)"],
        ]
    );
}

#[tokio::test]
async fn transactions_come_in_the_order_of_their_commits() {
    let mut bench = Bench::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let mut capture = bench.capture(Lsn(0)).await;
    let other = bench.superuser().await;
    bench.sql("BEGIN; INSERT INTO t VALUES (1)").await;
    other
        .batch_execute("INSERT INTO t VALUES (2)")
        .await
        .unwrap();
    bench.sql("COMMIT").await;
    let before = bench
        .number("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
        .await;
    let captured = bench.captured(&mut capture).await;
    let told: Vec<_> = captured.iter().map(crate::bench::told).collect();
    assert_eq!(told, [["insert t (2)"], ["insert t (1)"]]);
    let [first, second] = captured.as_slice() else {
        panic!("{captured:?}");
    };
    assert!(
        second.xid.precedes(first.xid),
        "the later commit is the older transaction's"
    );
    assert!(first.end < second.end);
    let committed_at = i64::try_from(second.committed_at.0).unwrap();
    assert!(
        (before - 60_000_000..=before).contains(&committed_at),
        "{committed_at} {before}"
    );
    let xmin = bench.text("SELECT xmin::text FROM t WHERE id = 1").await;
    assert_eq!(xmin, second.xid.0.to_string());
}
