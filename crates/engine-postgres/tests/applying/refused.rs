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
    let refused = ["2: refused", "7: refused", "8: refused"].map(str::to_owned);
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
