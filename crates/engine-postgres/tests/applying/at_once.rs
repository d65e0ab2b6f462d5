//! Batches that are sent at once, and when they are not.

use super::*;
use std::time::Duration;

/// What writes to `t` was asked of the server last is noted.
const SCHEMA: &str = "CREATE TABLE t (id text PRIMARY KEY, v text);
    CREATE TABLE parents (id int PRIMARY KEY, v text);
    CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents);
    CREATE TABLE keys (a int, b text, PRIMARY KEY (a, b));
    CREATE SCHEMA tests;
    CREATE TABLE tests.asked (number serial, query text);
    CREATE FUNCTION tests.note() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO tests.asked (query) VALUES (current_query()); RETURN NULL; END$$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON t EXECUTE FUNCTION tests.note();
    CREATE TRIGGER note AFTER DELETE ON parents EXECUTE FUNCTION tests.note()";

async fn region() -> (Cluster, Region) {
    let cluster = Cluster::temporary().unwrap();
    let region = Region::open(&cluster, "d", SCHEMA).await;
    (cluster, region)
}

/// Whether the last batch was sent at once.
async fn went_at_once(region: &Region) -> bool {
    let asked = "SELECT query LIKE 'WITH u AS %' FROM tests.asked ORDER BY number DESC LIMIT 1";
    region.rows(asked).await == ["t"]
}

fn put(region: &mut Region, key: &str, at: u64, v: Option<&str>) {
    region.put("t", key, at, &[("id", Some(key)), ("v", v)]);
}

#[tokio::test]
async fn every_text_arrives_as_it_is() {
    let (_cluster, mut region) = region().await;
    let texts = [
        "",
        " ",
        "NULL",
        "null",
        "it's",
        "''",
        "\\",
        "\\'",
        "\\\\'; DROP TABLE t; --",
        "\"",
        "\"}', '{",
        "{a,b}",
        "a,b",
        "$1",
        "line\nand\rreturn\ttab",
        "\u{1}\u{7f}",
        "ü 漢字 🦀",
        "E'\\x41'",
        "%s",
    ];
    let rows = "SELECT id FROM t WHERE id IS NOT DISTINCT FROM v ORDER BY id COLLATE \"C\"";
    for (round, at) in [1, 2].into_iter().enumerate() {
        for text in texts {
            put(&mut region, text, at, Some(text));
        }
        put(&mut region, "none", at, None);
        committed(region.project().await);
        assert!(
            went_at_once(&region).await,
            "inserted, then changed: {round}"
        );
        let mut expected = texts.map(str::to_owned);
        expected.sort();
        assert_eq!(region.rows(rows).await, expected);
        assert_eq!(region.rows("SELECT count(*) FROM t").await, ["20"]);
    }
}

#[tokio::test]
async fn rows_that_come_change_and_go_are_sent_at_once() {
    let (_cluster, mut region) = region().await;
    for key in ["1", "2", "3"] {
        put(&mut region, key, 1, Some("a"));
        region.put("parents", key, 1, &[("id", Some(key)), ("v", Some("p"))]);
    }
    region.put(
        "children",
        "9",
        1,
        &[("id", Some("9")), ("parent", Some("3"))],
    );
    region.put(
        "keys",
        r#"["1","x"]"#,
        1,
        &[("a", Some("1")), ("b", Some("x"))],
    );
    let xid = committed(region.project().await);
    assert!(went_at_once(&region).await);
    let writers = region.rows(
        "SELECT DISTINCT xmin FROM (SELECT xmin FROM t UNION ALL \
                               SELECT xmin FROM children UNION ALL SELECT xmin FROM keys) all_of",
    );
    assert_eq!(writers.await, [xid.0.to_string()]);
    put(&mut region, "1", 2, Some("b"));
    region.delete("t", "2", 2);
    region.delete("t", "absent", 2);
    region.delete("children", "9", 2);
    put(&mut region, "4", 2, Some("d"));
    committed(region.project().await);
    assert!(went_at_once(&region).await);
    assert_eq!(
        region.rows("SELECT id, v FROM t ORDER BY id").await,
        ["1 b", "3 a", "4 d"]
    );
    assert!(region.rows("SELECT FROM children").await.is_empty());
    // A row that may have children is looked at before it goes, and so are very many rows.
    region.delete("parents", "1", 3);
    committed(region.project().await);
    assert!(!went_at_once(&region).await);
    assert_eq!(
        region.rows("SELECT id FROM parents ORDER BY id").await,
        ["2", "3"]
    );
    for key in 100..250 {
        put(&mut region, &key.to_string(), 4, Some("many"));
    }
    committed(region.project().await);
    assert!(!went_at_once(&region).await);
    put(&mut region, "1", 5, Some("c"));
    committed(region.project().await);
    assert!(went_at_once(&region).await);
}

#[tokio::test]
async fn a_row_that_was_left_out_is_told_and_nothing_of_the_batch_is_written() {
    let (_cluster, mut region) = region().await;
    region
        .execute("INSERT INTO t VALUES ('1', 'local'), ('2', 'local')")
        .await;
    put(&mut region, "1", 1, Some("theirs"));
    region.delete("t", "2", 1);
    put(&mut region, "3", 1, Some("theirs"));
    let found = unsure(region.project().await);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|(_, writer)| writer.is_some()));
    assert_eq!(
        region.rows("SELECT id, v FROM t ORDER BY id").await,
        ["1 local", "2 local"]
    );
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id, v FROM t ORDER BY id").await,
        ["1 theirs", "3 theirs"]
    );
    assert!(!went_at_once(&region).await, "it failed a moment ago");
    for at in 2..60 {
        put(&mut region, "1", at, Some(&at.to_string()));
        committed(region.project().await);
    }
    assert!(went_at_once(&region).await);
    assert_eq!(
        region.rows("SELECT id, v FROM t ORDER BY id").await,
        ["1 59", "3 theirs"]
    );
}

/// What a trigger says breaks an answer into pieces, as a reader's buffer does that is full, and so does an
/// error: the third waits until somebody has taken one.
#[tokio::test]
async fn an_answer_may_come_in_pieces() {
    let (cluster, mut region) = region().await;
    region
        .execute(
            "CREATE FUNCTION tests.refuses() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN RAISE WARNING 'a piece'; RAISE 'no'; END$$;
             CREATE TRIGGER refuses BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tests.refuses()",
        )
        .await;
    for turn in 1..6 {
        // A new one tries it at once.
        region.applier = applier(&cluster.superuser("d")).await;
        region.applier.position().await.unwrap();
        put(&mut region, "1", turn, Some("bad"));
        let settled = tokio::time::timeout(Duration::from_secs(20), region.settle()).await;
        settled.expect("it comes to rest");
    }
    assert!(region.rows("SELECT id FROM t").await.is_empty());
}

/// Neither a lock that somebody holds nor a statement that the server doesn't take in this form is the
/// end of it.
#[tokio::test]
async fn what_does_not_go_at_once_goes_in_turns() {
    let (cluster, mut region) = region().await;
    put(&mut region, "1", 1, Some("a"));
    region.settle().await;
    let other = cluster.connect("d", "postgres").await.unwrap();
    other
        .batch_execute("BEGIN; SELECT FROM t WHERE id = '1' FOR UPDATE")
        .await
        .unwrap();
    put(&mut region, "1", 2, Some("b"));
    region.capture().await;
    assert_eq!(region.project().await, Some(Outcome::Locked));
    other.batch_execute("COMMIT").await.unwrap();
    region.settle().await;
    assert_eq!(region.rows("SELECT id, v FROM t").await, ["1 b"]);
    // Where a rule rewrites it, a statement can't be part of another.
    region
        .execute(
            "CREATE TABLE notes (id text); \
             CREATE RULE noted AS ON DELETE TO t DO ALSO INSERT INTO notes VALUES (old.id)",
        )
        .await;
    region.applier = applier(&cluster.superuser("d")).await;
    region.delete("t", "1", 3);
    region.settle().await;
    assert!(region.rows("SELECT id FROM t").await.is_empty());
    assert_eq!(region.rows("SELECT id FROM notes").await, ["1"]);
}
