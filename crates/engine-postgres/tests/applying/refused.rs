//! Rows that the server refuses whatever else is there.

use super::*;

#[tokio::test]
async fn a_row_that_is_refused_does_not_keep_the_others_out() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 10));
                  CREATE TABLE x (id int PRIMARY KEY, span int4range, EXCLUDE USING gist (span WITH &&))";
    let mut region = Region::open(&cluster, "d", schema).await;
    region.put("t", "7", 1, &[("id", Some("7")), ("n", Some("7"))]);
    region.settle().await;
    for id in 0..20 {
        let id = id.to_string();
        region.put("t", &id, 2, &[("id", Some(&id)), ("n", Some("1"))]);
    }
    region.put("t", "7", 3, &[("id", Some("7")), ("n", Some("70"))]);
    region.put(
        "t",
        "8",
        3,
        &[("id", Some("8")), ("n", Some("80000000000"))],
    );
    region.put("x", "1", 3, &[("id", Some("1")), ("span", Some("[1,5)"))]);
    region.put("x", "2", 3, &[("id", Some("2")), ("span", Some("[4,9)"))]);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT count(*), sum(n) FROM t").await,
        ["19 25"]
    );
    assert_eq!(region.rows("SELECT id FROM x").await, ["1"]);
    let refused = ["2: rival 1", "7: refused", "8: refused"].map(str::to_owned);
    assert_eq!(region.parked().await, BTreeSet::from(refused));
    let parked = region.applier.parked().await.unwrap();
    assert!(
        parked[0].hindrance.to_string().contains("t_n_check"),
        "{parked:?}"
    );
    region.put("t", "7", 4, &[("id", Some("7")), ("n", Some("2"))]);
    region.put("t", "8", 4, &[("id", Some("8")), ("n", Some("2"))]);
    region.delete("x", "1", 4);
    region.settle().await;
    region.projection.retry_parked();
    region.settle().await;
    assert_eq!(
        region.rows("SELECT count(*), sum(n) FROM t").await,
        ["20 22"]
    );
    assert_eq!(region.rows("SELECT id FROM x").await, ["2"]);
    assert_eq!(region.parked().await, BTreeSet::new());
}

/// What a row is and what the server says of it, in a batch with sound rows of the same table.
async fn refuses(cluster: &Cluster, database: &str, schema: &str, bad: &[(&str, &str)]) {
    let mut region = Region::open(cluster, database, schema).await;
    for id in ["1", "2", "3"] {
        region.put("t", id, 1, &[("id", Some(id)), ("v", Some("ok"))]);
    }
    for (number, (id, value)) in bad.iter().enumerate() {
        let at = 2 + number as u64;
        region.put("t", id, at, &[("id", Some(id)), ("v", Some(value))]);
    }
    region.settle().await;
    assert_eq!(
        region.rows("SELECT count(*) FROM t WHERE v = 'ok'").await,
        ["3"]
    );
    let refused = bad.iter().map(|(id, _)| format!("{id}: refused"));
    assert_eq!(region.parked().await, refused.collect());
    // Nothing is left of them, and nothing of theirs is forgotten.
    let again: Vec<_> = region.applier.parked().await.unwrap();
    assert_eq!(again.len(), bad.len());
    for (number, (id, _)) in bad.iter().enumerate() {
        region.delete("t", id, 100 + number as u64);
    }
    region.settle().await;
    assert_eq!(region.parked().await, BTreeSet::new());
    assert_eq!(region.rows("SELECT count(*) FROM t").await, ["3"]);
}

#[tokio::test]
async fn a_value_that_the_server_cannot_hold_is_refused_and_never_cut() {
    let cluster = Cluster::temporary().unwrap();
    let plain = "CREATE TABLE t (id int PRIMARY KEY, v varchar(3))";
    refuses(&cluster, "narrow", plain, &[("7", "long")]).await;
    let padded = "CREATE TABLE t (id int PRIMARY KEY, v char(3) CHECK (length(v) > 1))";
    refuses(&cluster, "padded", padded, &[("7", "long"), ("8", "x")]).await;
    let domain =
        "CREATE DOMAIN short AS varchar(3); CREATE DOMAIN word AS short CHECK (VALUE <> 'no');
                  CREATE TABLE t (id int PRIMARY KEY, v word)";
    refuses(&cluster, "domain", domain, &[("7", "long"), ("8", "no")]).await;
}

#[tokio::test]
async fn a_label_that_the_server_lacks_is_refused_where_indexes_have_to_be_asked_too() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TYPE mood AS ENUM ('ok', 'bad');
                  CREATE TABLE t (id int PRIMARY KEY, v mood);
                  CREATE UNIQUE INDEX ON t (v) WHERE v = 'bad'";
    refuses(&cluster, "mood", schema, &[("7", "new"), ("8", "other")]).await;
}

#[tokio::test]
async fn a_text_that_the_encoding_lacks_is_refused_in_the_key_too() {
    let cluster = Cluster::temporary().unwrap();
    let admin = cluster.connect("postgres", "postgres").await.unwrap();
    let make = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    admin.batch_execute(make).await.unwrap();
    let schema = "CREATE TABLE t (id text PRIMARY KEY, v text);
                  CREATE UNIQUE INDEX ON t (v) WHERE v <> 'ok'";
    refuses(
        &cluster,
        "latin",
        schema,
        &[("7", "\u{2192}"), ("\u{4e2d}", "\u{e9}")],
    )
    .await;
}

#[tokio::test]
async fn what_a_deferred_constraint_or_a_trigger_refuses_is_found_by_itself() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE x (id int PRIMARY KEY, v text);
                  CREATE TABLE t (id int PRIMARY KEY, v text);
                  CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      RAISE EXCEPTION 'not this one' USING ERRCODE = 'UE001'; END $$;
                  CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.v = 'no')
                      EXECUTE FUNCTION no();
                  CREATE CONSTRAINT TRIGGER late AFTER INSERT ON x DEFERRABLE INITIALLY DEFERRED
                      FOR EACH ROW WHEN (NEW.v = 'no') EXECUTE FUNCTION no()";
    let mut region = Region::open(&cluster, "late", schema).await;
    region.put("x", "1", 1, &[("id", Some("1")), ("v", Some("yes"))]);
    region.put("x", "2", 1, &[("id", Some("2")), ("v", Some("no"))]);
    region.put("x", "3", 1, &[("id", Some("3")), ("v", Some("yes"))]);
    region.put("t", "5", 1, &[("id", Some("5")), ("v", Some("no"))]);
    region.put("t", "6", 1, &[("id", Some("6")), ("v", Some("yes"))]);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id FROM x ORDER BY id").await,
        ["1", "3"]
    );
    assert_eq!(region.rows("SELECT id FROM t").await, ["6"]);
    let refused = ["2: refused", "5: refused"].map(str::to_owned);
    assert_eq!(region.parked().await, BTreeSet::from(refused));
}

#[tokio::test]
async fn a_row_that_the_server_does_not_let_go_keeps_nothing_else_out() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v text);
                  CREATE SCHEMA apart;
                  CREATE TABLE apart.child (id int PRIMARY KEY, t int REFERENCES t)";
    let mut region = Region::open(&cluster, "d", schema).await;
    for id in ["1", "2", "3"] {
        region.put("t", id, 1, &[("id", Some(id)), ("v", Some("ok"))]);
    }
    region.settle().await;
    region
        .execute("INSERT INTO apart.child VALUES (1, 1)")
        .await;
    region.delete("t", "1", 2);
    region.delete("t", "2", 2);
    region.put("t", "4", 2, &[("id", Some("4")), ("v", Some("ok"))]);
    region.settle().await;
    let ids = "SELECT id FROM t ORDER BY id";
    assert_eq!(region.rows(ids).await, ["1", "3", "4"]);
    let refused = BTreeSet::from(["1: refused".to_owned()]);
    assert_eq!(region.parked().await, refused);
    region.execute("DELETE FROM apart.child").await;
    region.projection.retry_parked();
    region.settle().await;
    assert_eq!(region.rows(ids).await, ["3", "4"]);
    assert_eq!(region.parked().await, BTreeSet::new());
}
