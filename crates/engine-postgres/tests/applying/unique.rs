//! Unique values that two rows want.

use super::*;

const SCHEMA: &str = "
CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE, b text UNIQUE);
CREATE TABLE d (id int PRIMARY KEY, v int UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE e (id int PRIMARY KEY, mail text);
CREATE UNIQUE INDEX e_mail ON e (lower(mail)) WHERE id < 100";

fn row<'a>(id: &'a str, a: &'a str, b: Option<&'a str>) -> [(&'static str, Option<&'a str>); 3] {
    [("id", Some(id)), ("a", Some(a)), ("b", b)]
}

#[tokio::test]
async fn the_newer_row_has_the_value_and_the_older_returns_when_it_goes() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    // 1 and 2 want the same a; 2 and 3 the same b: 3 stays because 2 is out.
    region.put("t", "2", 20, &row("2", "x", Some("y")));
    region.settle().await;
    region.put("t", "3", 10, &row("3", "z", Some("y")));
    region.settle().await;
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["3: rival 2".to_owned()])
    );
    region.put("t", "1", 30, &row("1", "x", None));
    region.settle().await;
    let ids = "SELECT id FROM t ORDER BY id";
    assert_eq!(region.rows(ids).await, ["1", "3"]);
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["2: rival 1".to_owned()])
    );
    region.delete("t", "1", 40);
    region.settle().await;
    assert_eq!(region.rows(ids).await, ["2"]);
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["3: rival 2".to_owned()])
    );
    // After a restart of the agent.
    let parked = region.applier.parked().await.unwrap();
    region.applier.position().await.unwrap();
    region.projection = Projection::new(region.applier.wal_position().await.unwrap(), parked);
    region.put("t", "2", 50, &row("2", "x", Some("other")));
    region.settle().await;
    assert_eq!(region.rows(ids).await, ["2", "3"]);
    assert_eq!(region.parked().await, BTreeSet::new());
}

#[tokio::test]
async fn values_swapped_in_one_batch_arrive() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    for (id, a) in [("1", "x"), ("2", "y"), ("3", "z")] {
        region.put("t", id, 1, &row(id, a, None));
    }
    region.settle().await;
    for (id, a) in [("1", "y"), ("2", "z"), ("3", "x")] {
        region.put("t", id, 2, &row(id, a, None));
    }
    assert_eq!(region.settle().await, 1);
    assert_eq!(
        region.rows("SELECT id, a FROM t ORDER BY id").await,
        ["1 y", "2 z", "3 x"]
    );
    assert_eq!(region.parked().await, BTreeSet::new());
}

#[tokio::test]
async fn expressions_and_partial_indexes_collide_as_the_server_says() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    for (id, mail, at) in [
        ("1", "A@b", 1),
        ("2", "a@B", 2),
        ("100", "a@b", 3),
        ("3", "c", 4),
    ] {
        region.put("e", id, at, &[("id", Some(id)), ("mail", Some(mail))]);
        region.settle().await;
    }
    assert_eq!(
        region.rows("SELECT id FROM e ORDER BY id").await,
        ["2", "3", "100"]
    );
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["1: rival 2".to_owned()])
    );
}

#[tokio::test]
async fn a_local_rival_is_left_alone_until_it_is_captured() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    region.execute("INSERT INTO t VALUES (1, 'x', NULL)").await;
    region.put("t", "2", 20, &row("2", "x", None));
    let Some(Outcome::Involved { rows }) = region.project().await else {
        panic!("its rival's version isn't known");
    };
    assert_eq!(rows, [name("t", "1")]);
    // The tables have it by then, older; its writer is captured after a probe.
    region.arrives(
        "t",
        "1",
        10,
        Some(r#"{"id":"1","a":"x","b":null}"#.to_owned()),
    );
    unsure(region.project().await);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM t").await, ["2"]);
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["1: rival 2".to_owned()])
    );
}

#[tokio::test]
async fn a_constraint_that_is_checked_at_the_end_says_no_in_time() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    for (id, at) in [("1", 10), ("2", 20), ("3", 15)] {
        region.put("d", id, at, &[("id", Some(id)), ("v", Some("7"))]);
        region.settle().await;
    }
    assert_eq!(region.rows("SELECT id FROM d").await, ["2"]);
    let out = ["1: rival 2", "3: rival 2"].map(str::to_owned);
    assert_eq!(region.parked().await, BTreeSet::from(out));
}

/// Notes a mark whose horizon is now.
async fn horizon(region: &Region) {
    let mark = "INSERT INTO meridian.position (dataset, seen) VALUES ('shop#mark', \
                jsonb_build_object('horizon', (pg_current_xact_id()::xid)::text)) \
                ON CONFLICT (dataset) DO UPDATE SET seen = excluded.seen";
    region.execute(mark).await;
}

/// The transactions that are named as having let rows in.
const LET_IN: &str = "SELECT seen::text FROM meridian.position WHERE dataset = 'shop#let-in'";

#[tokio::test]
async fn a_row_that_is_written_again_to_make_room_has_its_writer_named() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    region.put("t", "1", 20, &row("1", "x", None));
    region.settle().await;
    let writer = "SELECT xmin::text FROM t WHERE id = 1";
    let before = region.rows(writer).await;
    horizon(&region).await;
    // Nothing touches row 1, whose value this one wants.
    region.put("t", "2", 10, &row("2", "x", None));
    region.settle().await;
    assert_eq!(region.parked().await.len(), 1);
    let after = region.rows(writer).await;
    assert_ne!(before, after);
    let named: Vec<String> = serde_json::from_str(&region.rows(LET_IN).await.remove(0)).unwrap();
    assert_eq!(named, after);
}

#[tokio::test]
async fn the_transactions_that_let_rows_in_since_the_mark_are_named_in_the_server() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    horizon(&region).await;
    let mut named = Vec::new();
    for round in [1_u64, 11, 21] {
        region.put("t", "1", round + 2, &row("1", "x", None));
        region.put("t", "2", round, &row("2", "x", None));
        region.settle().await;
        assert_eq!(region.parked().await.len(), 1);
        region.delete("t", "1", round + 3);
        region.settle().await;
        assert_eq!(region.parked().await, BTreeSet::new());
        let writer = region.rows("SELECT xmin::text FROM t").await.remove(0);
        if round == 21 {
            named.clear();
        }
        named.insert(0, writer);
        let listed: Vec<String> =
            serde_json::from_str(&region.rows(LET_IN).await.remove(0)).unwrap();
        assert_eq!(listed, named, "round {round}");
        region.delete("t", "2", round + 4);
        region.settle().await;
        if round == 11 {
            // What was let in before the next mark needs no name any more.
            horizon(&region).await;
        }
    }
}

/// Rows of a table whose values collide two by two: in turn, and within one batch.
async fn collide(region: &mut Region, table: &str, column: &str, values: [[&str; 2]; 2]) {
    let [[old, new], [one, other]] = values;
    region.put(table, "1", 20, &[("id", Some("1")), (column, Some(new))]);
    region.settle().await;
    region.put(table, "2", 10, &[("id", Some("2")), (column, Some(old))]);
    region.settle().await;
    region.put(table, "3", 5, &[("id", Some("3")), (column, Some(one))]);
    region.put(table, "4", 6, &[("id", Some("4")), (column, Some(other))]);
    region.settle().await;
    let ids = format!("SELECT id FROM {table} ORDER BY id");
    assert_eq!(region.rows(&ids).await, ["1", "4"], "{table}");
    let parked = ["2: rival 1", "3: rival 4"].map(str::to_owned);
    assert_eq!(region.parked().await, BTreeSet::from(parked), "{table}");
    region.execute(&format!("TRUNCATE {table}")).await;
    for (id, at) in [("1", 30), ("2", 30), ("3", 30), ("4", 30)] {
        region.delete(table, id, at);
    }
    region.settle().await;
}

#[tokio::test]
async fn what_a_type_or_a_collation_of_its_own_makes_equal_collides() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE EXTENSION citext;
        CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE TABLE typed (id int PRIMARY KEY, v citext UNIQUE);
        CREATE TABLE collated (id int PRIMARY KEY, v text COLLATE ci UNIQUE);
        CREATE TABLE indexed (id int PRIMARY KEY, v text);
        CREATE UNIQUE INDEX ON indexed (v COLLATE ci)";
    let mut region = Region::open(&cluster, "d", schema).await;
    for table in ["typed", "collated", "indexed"] {
        let values = [["Bob", "bob"], ["EVE", "Eve"]];
        collide(&mut region, table, "v", values).await;
    }
}

#[tokio::test]
async fn what_an_index_of_one_partition_keeps_apart_collides() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
        CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (0) TO (100);
        CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (100) TO (200);
        CREATE UNIQUE INDEX ON t_low (v)";
    let mut region = Region::open(&cluster, "d", schema).await;
    for id in ["100", "101"] {
        region.put("t", id, 1, &[("id", Some(id)), ("v", Some("x"))]);
    }
    region.settle().await;
    let values = [["x", "x"], ["y", "y"]];
    region.execute("TRUNCATE t_high").await;
    collide(&mut region, "t", "v", values).await;
}
