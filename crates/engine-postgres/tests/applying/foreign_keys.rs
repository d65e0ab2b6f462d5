//! Parents and children.

use super::*;

const SCHEMA: &str = "
CREATE TABLE p (id int PRIMARY KEY, code text UNIQUE);
CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE);
CREATE TABLE g (id int PRIMARY KEY, c int NOT NULL REFERENCES c, n text);
CREATE TABLE s (id int PRIMARY KEY, up int REFERENCES s);
CREATE TABLE o (id int PRIMARY KEY, w int);
CREATE TABLE w (id int PRIMARY KEY, o int REFERENCES o DEFERRABLE);
ALTER TABLE o ADD FOREIGN KEY (w) REFERENCES w DEFERRABLE INITIALLY IMMEDIATE";

async fn region(cluster: &Cluster) -> Region {
    Region::open(cluster, "d", SCHEMA).await
}

impl Region {
    fn parent(&mut self, id: &str, at: u64) {
        let code = format!("code {id}");
        self.put("p", id, at, &[("id", Some(id)), ("code", Some(&code))]);
    }

    fn child(&mut self, id: &str, parent: &str, at: u64) {
        self.put("c", id, at, &[("id", Some(id)), ("p", Some(parent))]);
    }

    fn grandchild(&mut self, id: &str, child: &str, at: u64) {
        self.put(
            "g",
            id,
            at,
            &[("id", Some(id)), ("c", Some(child)), ("n", None)],
        );
    }
}

#[tokio::test]
async fn a_child_without_parent_waits_for_it() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = region(&cluster).await;
    region.grandchild("1", "1", 1);
    region.child("1", "7", 2);
    region.child("2", "8", 3);
    region.parent("8", 4);
    region.settle().await;
    assert_eq!(region.rows("SELECT id, p FROM c").await, ["2 8"]);
    assert_eq!(
        region.parked().await,
        BTreeSet::from(["1: orphan".to_owned()])
    );
    assert_eq!(region.applier.parked().await.unwrap().len(), 2);
    region.parent("7", 1);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id, p FROM c ORDER BY id").await,
        ["1 7", "2 8"]
    );
    assert_eq!(region.rows("SELECT id, c FROM g").await, ["1 1"]);
    assert_eq!(region.parked().await, BTreeSet::new());
}

/// As the check of a foreign key is planned where no index helps it.
#[tokio::test]
async fn nothing_is_compiled_for_a_foreign_key_without_an_index() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = region(&cluster).await;
    region
        .execute(
            "CREATE TABLE plans (line text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$DECLARE line text; BEGIN
               FOR line IN EXPLAIN SELECT 1 FROM ONLY public.s x WHERE up = OLD.id FOR KEY SHARE OF x
               LOOP INSERT INTO public.plans VALUES (line); END LOOP;
               RETURN OLD; END$$;
             CREATE TRIGGER note BEFORE DELETE ON s FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
    region.put("s", "1", 1, &[("id", Some("1")), ("up", None)]);
    region.settle().await;
    region.delete("s", "1", 2);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM s").await, [""; 0]);
    let plan = region.rows("SELECT line FROM plans").await;
    assert!(
        plan.iter().any(|line| line.contains("Seq Scan")),
        "{plan:?}"
    );
    assert!(plan.iter().all(|line| !line.contains("JIT")), "{plan:?}");
}

#[tokio::test]
async fn a_parent_that_goes_parks_its_children_and_no_cascade_fires() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = region(&cluster).await;
    // A cascade would be seen here.
    region
        .execute(
            "CREATE TABLE gone (id int);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN IF pg_trigger_depth() > 1 THEN INSERT INTO public.gone VALUES (OLD.id); END IF;
               RETURN OLD; END$$;
             CREATE TRIGGER note BEFORE DELETE ON c FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
    region.parent("1", 1);
    region.parent("2", 1);
    for id in ["1", "2", "3"] {
        region.child(id, "1", 2);
    }
    region.grandchild("1", "1", 3);
    region.settle().await;
    // Child 2 goes with the parent, child 3 moves away in the same moment, child 1 stays behind.
    region.delete("p", "1", 5);
    region.delete("c", "2", 5);
    region.child("3", "2", 5);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM p").await, ["2"]);
    assert_eq!(region.rows("SELECT id, p FROM c").await, ["3 2"]);
    assert_eq!(
        region.applier.parked().await.unwrap().len(),
        2,
        "child and grandchild"
    );
    assert_eq!(
        region.rows("SELECT id FROM gone").await,
        Vec::<String>::new()
    );
    region.parent("1", 9);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id, p FROM c ORDER BY id").await,
        ["1 1", "3 2"]
    );
    assert_eq!(region.rows("SELECT id FROM g").await, ["1"]);
    // All of them at once.
    for (table, id) in [("p", "1"), ("c", "1"), ("g", "1")] {
        region.delete(table, id, 10);
    }
    assert_eq!(region.settle().await, 1);
    assert_eq!(region.parked().await, BTreeSet::new());
}

#[tokio::test]
async fn rows_that_refer_to_each_other_arrive_together() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = region(&cluster).await;
    region.put("s", "1", 1, &[("id", Some("1")), ("up", Some("2"))]);
    region.put("s", "2", 1, &[("id", Some("2")), ("up", Some("3"))]);
    region.put("s", "3", 1, &[("id", Some("3")), ("up", Some("3"))]);
    region.put("o", "1", 1, &[("id", Some("1")), ("w", Some("1"))]);
    region.put("w", "1", 1, &[("id", Some("1")), ("o", Some("1"))]);
    assert_eq!(region.settle().await, 1);
    region.put("s", "3", 2, &[("id", Some("3")), ("up", Some("4"))]);
    region.put("s", "4", 2, &[("id", Some("4")), ("up", None)]);
    assert_eq!(region.settle().await, 1);
    assert_eq!(
        region.rows("SELECT id, up FROM s ORDER BY id").await,
        ["1 2", "2 3", "3 4", "4 -"]
    );
    for id in ["1", "2", "3", "4"] {
        region.delete("s", id, 3);
    }
    region.delete("o", "1", 3);
    region.delete("w", "1", 3);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM s").await, Vec::<String>::new());
    assert_eq!(region.rows("SELECT id FROM o").await, Vec::<String>::new());
    assert_eq!(region.parked().await, BTreeSet::new());
}

#[tokio::test]
async fn a_parent_that_loses_its_unique_value_takes_its_children_along() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = region(&cluster).await;
    region.put("p", "1", 1, &[("id", Some("1")), ("code", Some("x"))]);
    region.child("1", "1", 2);
    region.settle().await;
    region.put("p", "2", 3, &[("id", Some("2")), ("code", Some("x"))]);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM p").await, ["2"]);
    let out = ["1: orphan".to_owned(), "1: rival 2".to_owned()];
    assert_eq!(region.parked().await, BTreeSet::from(out));
    // A swap of values of parents moves their children out and in.
    region.put("p", "2", 4, &[("id", Some("2")), ("code", Some("y"))]);
    region.settle().await;
    region.put("p", "2", 5, &[("id", Some("2")), ("code", Some("x"))]);
    region.put("p", "1", 5, &[("id", Some("1")), ("code", Some("y"))]);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id, code FROM p ORDER BY id").await,
        ["1 y", "2 x"]
    );
    assert_eq!(region.rows("SELECT id, p FROM c").await, ["1 1"]);
    assert_eq!(region.parked().await, BTreeSet::new());
}

#[tokio::test]
async fn a_parent_is_found_as_the_foreign_key_finds_it() {
    let cluster = Cluster::temporary().unwrap();
    let schema = "CREATE EXTENSION citext;
        CREATE TABLE p (id int PRIMARY KEY, mail citext UNIQUE);
        CREATE TABLE c (id int PRIMARY KEY, mail citext REFERENCES p (mail))";
    let mut region = Region::open(&cluster, "d", schema).await;
    let row = |id, mail| [("id", Some(id)), ("mail", Some(mail))];
    region.put("p", "1", 1, &row("1", "Bob"));
    region.settle().await;
    region.put("p", "2", 1, &row("2", "Eve"));
    region.put("c", "1", 2, &row("1", "bob"));
    region.put("c", "2", 2, &row("2", "eve"));
    region.put("c", "3", 2, &row("3", "nobody"));
    region.settle().await;
    assert_eq!(
        region.rows("SELECT id FROM c ORDER BY id").await,
        ["1", "2"]
    );
    let orphan = BTreeSet::from(["3: orphan".to_owned()]);
    assert_eq!(region.parked().await, orphan);
    region.delete("p", "1", 3);
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM c").await, ["2"]);
}

#[tokio::test]
async fn a_foreign_key_that_is_not_enforced_parks_nothing() {
    let cluster = Cluster::temporary().unwrap();
    let admin = cluster.connect("postgres", "postgres").await.unwrap();
    let version = "SELECT current_setting('server_version_num')::int";
    let version: i32 = admin.query_one(version, &[]).await.unwrap().get(0);
    if version < 180_000 {
        // All are.
        return;
    }
    let schema = "CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p NOT ENFORCED, v int UNIQUE)";
    let mut region = Region::open(&cluster, "d", schema).await;
    let row = |id, v| [("id", Some(id)), ("p", Some("1")), ("v", Some(v))];
    region.put("p", "1", 1, &[("id", Some("1"))]);
    region.put("c", "1", 1, &row("1", "1"));
    region.settle().await;
    region.delete("p", "1", 2);
    region.put("c", "2", 2, &row("2", "1"));
    region.settle().await;
    assert_eq!(region.rows("SELECT id FROM c").await, ["2"]);
    let rival = BTreeSet::from(["1: rival 2".to_owned()]);
    assert_eq!(region.parked().await, rival);
}
