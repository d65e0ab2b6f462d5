use super::*;
use crate::catalog::{Selection, TableName};
use crate::local::{Cluster, Stop};
use crate::server;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

const ROLE: &str = "meridian";

fn plan(place: u16) -> Plan {
    Plan {
        dataset: "my-shop".to_owned(),
        role: ROLE.to_owned(),
        selection: Selection {
            include: vec!["public.*".to_owned()],
            exclude: vec!["public.excluded".to_owned()],
            counters: BTreeMap::from([
                (
                    "public.account".to_owned(),
                    BTreeSet::from(["balance".to_owned()]),
                ),
                (
                    "public.bad_counter".to_owned(),
                    ["checked", "fine", "narrow", "nowhere", "unique", "wide"]
                        .map(str::to_owned)
                        .into(),
                ),
            ]),
        },
        place,
    }
}

/// A database that `owner` owns, in which the role has no rights yet.
async fn database(cluster: &Cluster, name: &str) -> Client {
    cluster.create_role(ROLE).await.unwrap();
    let config = cluster.create_database_of(name, "owner").await.unwrap();
    server::connect(&config, "test").await.unwrap()
}

async fn found(client: &Client, plan: &Plan) -> Vec<Finding> {
    let survey = survey(client, plan).await.unwrap();
    let floors = Floors::of([&survey]);
    findings(&survey, plan, &floors)
}

fn refused<'f>(found: &'f [Finding], subject: &str) -> Vec<&'f Finding> {
    found
        .iter()
        .filter(|finding| finding.subject == subject && finding.status == Status::Refused)
        .collect()
}

const GOOD: &str = "
CREATE TABLE public.account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text, balance bigint NOT NULL);
CREATE TABLE public.tiny (id int PRIMARY KEY, at timestamptz);
CREATE TABLE public.event (id int, at date, note text, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE public.event_1 PARTITION OF public.event FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
CREATE TABLE public.excluded (note text);
INSERT INTO public.account (owner, balance) VALUES ('a', 1), ('b', 2), ('c', 3);
";

#[tokio::test]
async fn a_prepared_server_is_all_that_the_role_needs() {
    let cluster = Cluster::temporary().unwrap();
    let owner = database(&cluster, "shop").await;
    owner.batch_execute(GOOD).await.unwrap();
    let before = found(&owner, &plan(3)).await;
    assert!(
        before
            .iter()
            .all(|finding| finding.status != Status::Refused),
        "{before:#?}"
    );
    let identity: Vec<&Finding> = before
        .iter()
        .filter(|finding| finding.check == "replica identity")
        .collect();
    let altered: Vec<&str> = identity
        .iter()
        .flat_map(|finding| finding.sql.iter().map(String::as_str))
        .collect();
    assert_eq!(
        altered,
        [
            "ALTER TABLE \"public\".\"account\" REPLICA IDENTITY FULL",
            "ALTER TABLE \"public\".\"event\" REPLICA IDENTITY FULL",
            "ALTER TABLE \"public\".\"event_1\" REPLICA IDENTITY FULL",
        ]
    );
    assert!(apply(&owner, &before).await.unwrap() > 0);
    let after = found(&owner, &plan(3)).await;
    assert!(
        after.iter().all(|finding| finding.status == Status::Ok),
        "{after:#?}"
    );
    assert_eq!(apply(&owner, &after).await.unwrap(), 0);

    let role = server::connect(&cluster.server("shop", ROLE), "test")
        .await
        .unwrap();
    let as_role = found(&role, &plan(3)).await;
    assert!(
        as_role.iter().all(|finding| finding.status == Status::Ok),
        "{as_role:#?}"
    );
    role.batch_execute(
        "SELECT pg_create_logical_replication_slot('meridian_my_shop', 'pgoutput');
         INSERT INTO meridian.position VALUES ('my-shop', 7, '{}')
            ON CONFLICT (dataset) DO UPDATE SET position = 8;
         UPDATE public.account SET balance = balance + 1;
         INSERT INTO public.event VALUES (1, '2026-01-01', 'x');
         DELETE FROM public.tiny",
    )
    .await
    .unwrap();
    let changes = role
        .query(
            "SELECT lsn::text FROM pg_logical_slot_peek_binary_changes('meridian_my_shop', NULL, \
             NULL, 'proto_version', '1', 'publication_names', 'meridian_my_shop')",
            &[],
        )
        .await
        .unwrap();
    assert!(changes.len() >= 6, "{}", changes.len());
    let slot = found(&owner, &plan(3)).await;
    assert!(slot.iter().all(|finding| finding.status == Status::Ok));

    // A table that comes later is added to the publication; one that goes is no trouble.
    owner
        .batch_execute("CREATE TABLE public.later (id int PRIMARY KEY); DROP TABLE public.tiny")
        .await
        .unwrap();
    let later = found(&owner, &plan(3)).await;
    let publication = later
        .iter()
        .find(|finding| finding.check == "publication")
        .unwrap();
    assert_eq!(publication.status, Status::Sql);
    assert!(publication.sql[0].contains("\"later\""));
    apply(&owner, &later).await.unwrap();
    let after = found(&owner, &plan(3)).await;
    assert!(after.iter().all(|finding| finding.status == Status::Ok));
}

#[tokio::test]
async fn what_cannot_replicate_is_refused_with_the_reason_and_stays_out() {
    let cluster = Cluster::temporary().unwrap();
    let owner = database(&cluster, "shop").await;
    owner
        .batch_execute(
            "
CREATE TABLE public.fine (id int PRIMARY KEY);
CREATE TABLE public.keyless (id int);
CREATE TABLE public.loose_key (id numeric PRIMARY KEY);
CREATE TABLE public.float_key (id int, part float8, PRIMARY KEY (id, part));
CREATE TABLE public.late_key (id int PRIMARY KEY DEFERRABLE);
CREATE UNLOGGED TABLE public.unlogged (id int PRIMARY KEY);
CREATE TABLE public.parent (id int PRIMARY KEY);
CREATE TABLE public.child (note text) INHERITS (public.parent);
CREATE TABLE public.ruled (id int PRIMARY KEY);
CREATE RULE quiet AS ON DELETE TO public.ruled DO INSTEAD NOTHING;
CREATE TABLE public.hidden (id int PRIMARY KEY);
ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY;
CREATE TABLE public.\"do.t\" (id int PRIMARY KEY);
CREATE TABLE public.bad_counter (id int PRIMARY KEY, checked bigint CHECK (checked > 0),
    narrow int, \"unique\" bigint UNIQUE, wide numeric(39, 0), fine numeric(38, 0));
CREATE TABLE public.generated (id int, twice int GENERATED ALWAYS AS (id * 2) STORED PRIMARY KEY);
CREATE TABLE public.full (id smallint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (INCREMENT BY -1));
",
        )
        .await
        .unwrap();
    let found = found(&owner, &plan(0)).await;
    for (table, checks) in [
        ("fine", &[][..]),
        ("keyless", &["primary key"][..]),
        ("loose_key", &["primary key"]),
        ("float_key", &["primary key"]),
        ("late_key", &["primary key"]),
        ("unlogged", &["table"]),
        ("parent", &["table"]),
        ("child", &["table", "primary key"]),
        ("ruled", &["table"]),
        ("hidden", &["row security"]),
        ("do.t", &["table"]),
        ("bad_counter", &["counter"; 5]),
        ("generated", &["table"]),
        ("full_id_seq", &["sequence"]),
    ] {
        let refused = refused(&found, &format!("public.{table}"));
        let named: Vec<&str> = refused
            .iter()
            .map(|finding| finding.check.as_str())
            .collect();
        assert_eq!(named, checks, "{table}: {refused:#?}");
        assert!(
            refused
                .iter()
                .all(|finding| finding.hint.is_some() || finding.check == "counter")
        );
    }
    let survey = survey(&owner, &plan(0)).await.unwrap();
    let names: Vec<&str> = replicable(&survey, &plan(0))
        .into_iter()
        .map(|facts| facts.table.name.name.as_str())
        .collect();
    assert_eq!(names, ["fine", "full"]);
    apply(&owner, &found).await.unwrap();
    let published: Vec<TableName> = super::survey(&owner, &plan(0))
        .await
        .unwrap()
        .publication
        .unwrap()
        .tables;
    assert_eq!(published.len(), 2);
}

#[tokio::test]
async fn a_trigger_is_refused_until_it_leaves_the_role_out() {
    let cluster = Cluster::temporary().unwrap();
    let owner = database(&cluster, "shop").await;
    owner
        .batch_execute(
            "
CREATE TABLE public.t (id int PRIMARY KEY, n int);
CREATE FUNCTION public.bump() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN NEW.n := NEW.n + 1; RETURN NEW; END';
CREATE TRIGGER plain BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.bump();
CREATE TRIGGER picky BEFORE UPDATE ON public.t FOR EACH ROW
    WHEN (NEW.n > 1) EXECUTE FUNCTION public.bump();
ALTER TABLE public.t ENABLE ALWAYS TRIGGER picky;
CREATE TRIGGER off BEFORE DELETE ON public.t FOR EACH ROW EXECUTE FUNCTION public.bump();
ALTER TABLE public.t DISABLE TRIGGER off;
",
        )
        .await
        .unwrap();
    let before = found(&owner, &plan(0)).await;
    let refused = refused(&before, "public.t");
    assert_eq!(refused.len(), 2, "{refused:#?}");
    for finding in refused {
        for statement in &finding.sql {
            owner.batch_execute(statement).await.unwrap();
        }
    }
    let after = found(&owner, &plan(0)).await;
    let still = super::tests::refused(&after, "public.t");
    assert!(still.is_empty(), "{still:#?}");
    apply(&owner, &after).await.unwrap();
    let role = server::connect(&cluster.server("shop", ROLE), "test")
        .await
        .unwrap();
    role.batch_execute("INSERT INTO public.t VALUES (1, 5)")
        .await
        .unwrap();
    owner
        .batch_execute("INSERT INTO public.t VALUES (2, 5); UPDATE public.t SET n = n")
        .await
        .unwrap();
    let rows = owner
        .query("SELECT n FROM public.t ORDER BY id", &[])
        .await
        .unwrap();
    let told: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, [6, 7], "the triggers fire for others as before");
}

#[tokio::test]
async fn sequences_of_regions_give_different_values() {
    let cluster = Cluster::temporary().unwrap();
    let regions = ["a", "b", "c"].map(str::to_owned);
    let mut clients = BTreeMap::new();
    for region in &regions {
        let client = database(&cluster, region).await;
        client
            .batch_execute("CREATE TABLE public.t (id serial PRIMARY KEY, note text)")
            .await
            .unwrap();
        clients.insert(region.clone(), client);
    }
    // The rows of `a` came to `c` without its sequence knowing.
    let insert = "INSERT INTO public.t (note) SELECT 'x' FROM generate_series(1, 100)";
    clients["a"].batch_execute(insert).await.unwrap();
    clients["c"]
        .batch_execute("INSERT INTO public.t VALUES (150, 'y')")
        .await
        .unwrap();

    let surveys = surveyed(&clients).await;
    let order: Vec<String> = regions.to_vec();
    let chosen = places(&order, &surveys);
    assert_eq!(chosen.values().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let floors = Floors::of(surveys.values());
    for (region, client) in &clients {
        let plan = plan(chosen[region]);
        let found = findings(&surveys[region], &plan, &floors);
        apply(client, &found).await.unwrap();
    }
    let mut given = BTreeSet::new();
    for client in clients.values() {
        client.batch_execute(insert).await.unwrap();
        for row in client
            .query("SELECT id FROM public.t WHERE id > 150", &[])
            .await
            .unwrap()
        {
            assert!(given.insert(row.get::<_, i32>(0)), "given twice");
        }
    }
    assert_eq!(given.len(), 300);

    // Begun anew, they still give each its own.
    given.clear();
    for client in clients.values() {
        let anew = format!("TRUNCATE public.t RESTART IDENTITY; {insert}");
        client.batch_execute(&anew).await.unwrap();
        for row in client.query("SELECT id FROM public.t", &[]).await.unwrap() {
            assert!(
                given.insert(row.get::<_, i32>(0)),
                "given twice after a restart"
            );
        }
    }
    assert_eq!((given.len(), given.first()), (300, Some(&1)));

    // Each keeps its share, in whatever order the regions come now; a new one gets another.
    let surveys = surveyed(&clients).await;
    assert!(
        compare(&surveys, &plan(0))
            .iter()
            .all(|finding| finding.status == Status::Ok)
    );
    let mut as_role = BTreeMap::new();
    for region in &regions {
        let config = cluster.server(region, ROLE);
        let client = server::connect(&config, "test").await.unwrap();
        as_role.insert(region.clone(), client);
    }
    let unseen = surveyed(&as_role).await;
    assert!(unseen.values().all(|survey| {
        let facts = survey.catalog.tables().next().unwrap();
        facts.sequences[0].value.is_none()
    }));
    assert_eq!(places(&order, &unseen), chosen);
    assert!(
        compare(&unseen, &plan(0))
            .iter()
            .all(|finding| finding.status == Status::Ok)
    );
    let order = ["new", "c", "b", "a"].map(str::to_owned);
    let chosen = places(&order, &surveys);
    let chosen: Vec<u16> = order.iter().map(|region| chosen[region]).collect();
    assert_eq!(chosen, [3, 2, 1, 0]);

    // Two with the same share are found out.
    clients["b"]
        .batch_execute("SELECT setval('public.t_id_seq', 3200, false)")
        .await
        .unwrap();
    let compared = compare(&surveyed(&clients).await, &plan(0));
    assert_eq!(refused(&compared, "public.t_id_seq").len(), 1);
    clients["c"]
        .batch_execute("ALTER SEQUENCE public.t_id_seq START WITH 1")
        .await
        .unwrap();
    let compared = compare(&surveyed(&as_role).await, &plan(0));
    let [alike] = refused(&compared, "public.t_id_seq")[..] else {
        panic!("b and c begin with the same value: {compared:#?}")
    };
    assert!(alike.hint.as_ref().unwrap().contains("--user"), "{alike:?}");
}

#[tokio::test]
async fn a_foreign_key_that_no_index_finds_or_that_is_not_valid_is_advised_about() {
    let cluster = Cluster::temporary().unwrap();
    let owner = database(&cluster, "shop").await;
    let schema = "
        CREATE TABLE public.users (id int PRIMARY KEY, a int, b int, UNIQUE (a, b));
        CREATE TABLE public.good (id int PRIMARY KEY REFERENCES public.users, b int, a int,
            FOREIGN KEY (a, b) REFERENCES public.users (a, b));
        CREATE INDEX ON public.good (b, a, id);
        CREATE TABLE public.poor (id int PRIMARY KEY, owner int REFERENCES public.users,
            a int, b int, FOREIGN KEY (a, b) REFERENCES public.users (a, b));
        CREATE INDEX ON public.poor (id, owner);
        CREATE INDEX ON public.poor (owner) WHERE id > 7;
        CREATE INDEX ON public.poor (a) INCLUDE (b);
        CREATE TABLE public.parted (id int PRIMARY KEY, owner int REFERENCES public.users)
            PARTITION BY RANGE (id);
        CREATE TABLE public.late (id int PRIMARY KEY);
        ALTER TABLE public.late ADD CONSTRAINT who FOREIGN KEY (id) REFERENCES public.users NOT VALID";
    owner.batch_execute(schema).await.unwrap();
    let before = found(&owner, &plan(0)).await;
    let is_advice = |finding: &&Finding| finding.status == Status::Advice;
    let advised: Vec<&Finding> = before.iter().filter(is_advice).collect();
    let sql: Vec<&String> = advised.iter().flat_map(|it| &it.sql).collect();
    assert_eq!(
        sql,
        [
            r#"ALTER TABLE "public"."late" VALIDATE CONSTRAINT "who""#,
            r#"CREATE INDEX ON "public"."parted" ("owner")"#,
            r#"CREATE INDEX CONCURRENTLY ON "public"."poor" ("a", "b")"#,
            r#"CREATE INDEX CONCURRENTLY ON "public"."poor" ("owner")"#,
        ]
    );
    for statement in sql {
        owner.batch_execute(statement).await.unwrap();
    }
    let after = found(&owner, &plan(0)).await;
    assert!(!after.iter().any(|finding| is_advice(&finding)));
    assert_eq!(after.len() + 4, before.len());
    apply(&owner, &before).await.unwrap();
}

/// The child replicates; whether its rows have their parent is looked up where they are given.
#[tokio::test]
async fn a_parent_that_does_not_replicate_is_to_be_read() {
    let cluster = Cluster::temporary().unwrap();
    let owner = database(&cluster, "shop").await;
    let schema = "
        CREATE SCHEMA other;
        CREATE TABLE other.apart (id int PRIMARY KEY);
        CREATE TABLE public.excluded (id int PRIMARY KEY);
        CREATE TABLE public.parent (id int PRIMARY KEY, up int REFERENCES public.parent);
        CREATE INDEX ON public.parent (up);
        CREATE TABLE public.child (id int PRIMARY KEY REFERENCES public.excluded
            REFERENCES other.apart REFERENCES public.parent)";
    owner.batch_execute(schema).await.unwrap();
    let before = found(&owner, &plan(0)).await;
    let keys = before.iter().filter(|it| it.check == "foreign key");
    let sql: Vec<&String> = keys.flat_map(|finding| &finding.sql).collect();
    assert_eq!(
        sql,
        [
            r#"GRANT USAGE ON SCHEMA "other" TO "meridian""#,
            r#"GRANT SELECT ON TABLE "other"."apart" TO "meridian""#,
            r#"GRANT SELECT ON TABLE "public"."excluded" TO "meridian""#,
        ]
    );
    apply(&owner, &before).await.unwrap();
    let after = found(&owner, &plan(0)).await;
    assert!(after.iter().all(|it| it.status == Status::Ok), "{after:#?}");

    // What the owner can't grant keeps nothing else from being done.
    let superuser = server::connect(&cluster.superuser("shop"), "test").await;
    let theirs = "CREATE SCHEMA theirs; CREATE TABLE theirs.country (id int PRIMARY KEY); \
                  GRANT USAGE ON SCHEMA theirs TO owner; \
                  GRANT REFERENCES ON theirs.country TO owner";
    superuser.unwrap().batch_execute(theirs).await.unwrap();
    let later = "CREATE TABLE public.later (id int PRIMARY KEY REFERENCES theirs.country)";
    owner.batch_execute(later).await.unwrap();
    let before = found(&owner, &plan(0)).await;
    let is_key = |it: &&Finding| it.check == "foreign key";
    let [key] = before.iter().filter(is_key).collect::<Vec<_>>()[..] else {
        panic!("{before:#?}");
    };
    assert_eq!((key.status, key.sql.len()), (Status::Advice, 2), "{key:?}");
    apply(&owner, &before).await.unwrap();
    let after = found(&owner, &plan(0)).await;
    let mut open = after.iter().filter(|it| it.status != Status::Ok);
    assert!(open.all(|it| it.check == "foreign key"), "{after:#?}");
}

#[tokio::test]
async fn a_sequence_that_went_back_behind_its_column_is_set_above_it() {
    let cluster = Cluster::temporary().unwrap();
    let client = database(&cluster, "shop").await;
    let tables = "CREATE TABLE public.t (id serial PRIMARY KEY, note text); \
                  CREATE TABLE public.u (id int PRIMARY KEY, number bigserial UNIQUE, free serial)";
    client.batch_execute(tables).await.unwrap();
    let plan = plan(1);
    apply(&client, &found(&client, &plan).await).await.unwrap();
    let of = |found: &[Finding], subject: &str| {
        let mut found = found.iter();
        let one = found.find(|it| it.check == "sequence" && it.subject == subject);
        one.unwrap().clone()
    };
    // Other regions' values, however great, are not in its way.
    let given = "INSERT INTO public.t VALUES (33, 'own'), (6402, 'other'); SELECT setval('public.t_id_seq', 33)";
    client.batch_execute(given).await.unwrap();
    let before = found(&client, &plan).await;
    assert_eq!(of(&before, "public.t_id_seq").status, Status::Ok);

    // It was given rows from after the backup.
    let back = "INSERT INTO public.t VALUES (65, 'own'), (129, 'own'); \
                INSERT INTO public.u VALUES (1, 97, 97)";
    client.batch_execute(back).await.unwrap();
    let after = found(&client, &plan).await;
    let behind = of(&after, "public.t_id_seq");
    assert_eq!(behind.status, Status::Sql, "{behind:?}");
    assert!(behind.reason.contains("up to 129"), "{behind:?}");
    let other = of(&after, "public.u_number_seq");
    assert_eq!(other.status, Status::Sql, "unique too: {other:?}");
    let free = of(&after, "public.u_free_seq");
    assert_eq!(free.status, Status::Ok, "not unique: {free:?}");

    apply(&client, &after).await.unwrap();
    let insert = "INSERT INTO public.t (note) VALUES ('new') RETURNING id";
    let id: i32 = client.query_one(insert, &[]).await.unwrap().get(0);
    assert_eq!(id, 161);
    let insert = "INSERT INTO public.u VALUES (2) RETURNING number";
    let number: i64 = client.query_one(insert, &[]).await.unwrap().get(0);
    assert_eq!(number, 129);
    let settled = found(&client, &plan).await;
    assert_eq!(of(&settled, "public.t_id_seq").status, Status::Ok);

    // There is nothing above.
    let last = "INSERT INTO public.t VALUES (2147483617, 'last')";
    client.batch_execute(last).await.unwrap();
    let full = found(&client, &plan).await;
    assert_eq!(refused(&full, "public.t_id_seq").len(), 1);
}

async fn surveyed(clients: &BTreeMap<String, Client>) -> BTreeMap<String, Survey> {
    let mut surveys = BTreeMap::new();
    for (region, client) in clients {
        let survey = survey(client, &plan(0)).await.unwrap();
        surveys.insert(region.clone(), survey);
    }
    surveys
}

#[tokio::test]
async fn regions_that_differ_are_told_where() {
    let cluster = Cluster::temporary().unwrap();
    let mut clients = BTreeMap::new();
    for (region, schema) in [
        (
            "a",
            "CREATE TABLE public.same (id int PRIMARY KEY);
             CREATE TABLE public.t (id int PRIMARY KEY, n int NOT NULL);
             CREATE TABLE public.only_a (id int PRIMARY KEY)",
        ),
        (
            "b",
            "CREATE TABLE public.same (id int PRIMARY KEY);
             CREATE TABLE public.t (id int PRIMARY KEY, n bigint NOT NULL)",
        ),
    ] {
        let client = database(&cluster, region).await;
        client.batch_execute(schema).await.unwrap();
        clients.insert(region.to_owned(), client);
    }
    let mut surveys = surveyed(&clients).await;
    assert!(shared(&surveys).is_empty(), "two databases of one server");
    let mut doubled = surveys.clone();
    doubled.insert("c".to_owned(), surveys["a"].clone());
    let [together] = &shared(&doubled)[..] else {
        panic!("a and c");
    };
    assert!(
        together.reason.starts_with("a and c have one database"),
        "{}",
        together.reason
    );
    let compared = compare(&surveys, &plan(0));
    assert!(refused(&compared, "public.same").is_empty());
    let [only] = refused(&compared, "public.only_a")[..] else {
        panic!("{compared:#?}")
    };
    assert!(only.reason.ends_with("in b"), "{}", only.reason);
    let [differs] = refused(&compared, "public.t")[..] else {
        panic!("{compared:#?}")
    };
    assert!(
        differs.reason.contains("a has column n integer not null")
            && differs.reason.contains("b has column n bigint not null"),
        "{}",
        differs.reason
    );
    surveys.get_mut("b").unwrap().encoding = "LATIN1".to_owned();
    assert_eq!(refused(&compare(&surveys, &plan(0)), "regions").len(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_be_captured_is_told() {
    let mut cluster = Cluster::temporary_with(&[("max_replication_slots", "1")]).unwrap();
    let owner = database(&cluster, "shop").await;
    let checks = |found: &[Finding]| -> Vec<String> {
        refused(found, "server")
            .iter()
            .map(|finding| finding.check.clone())
            .collect()
    };
    assert!(checks(&found(&owner, &plan(0)).await).is_empty());
    let root = cluster.connect("shop", "postgres").await.unwrap();
    root.batch_execute(
        "SELECT pg_create_physical_replication_slot('standby');
         ALTER ROLE meridian NOREPLICATION",
    )
    .await
    .unwrap();
    let taken = found(&owner, &plan(0)).await;
    assert_eq!(checks(&taken), ["replication slot"]);
    let replication = taken
        .iter()
        .find(|finding| finding.check == "replication")
        .unwrap();
    assert_eq!(replication.status, Status::Sql);
    let error = apply(&owner, &taken).await.unwrap_err();
    assert_eq!(error.finding.check, "replication", "{error}");
    assert!(error.hint().unwrap().contains("--user"));

    root.batch_execute("SELECT pg_drop_replication_slot('standby')")
        .await
        .unwrap();
    cluster.set_parameter("wal_level", "replica");
    cluster.restart(Stop::Fast).unwrap();
    let owner = server::connect(&cluster.server("shop", "owner"), "test")
        .await
        .unwrap();
    assert_eq!(checks(&found(&owner, &plan(0)).await), ["wal_level"]);
}
