use super::*;
use crate::local::Cluster;
use crate::server;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

const SCHEMA: &str = "
CREATE SCHEMA shop;
CREATE DOMAIN shop.code AS text CHECK (VALUE <> '');
CREATE TYPE shop.size AS ENUM ('s', 'l');
CREATE COLLATION shop.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE shop.customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code shop.code NOT NULL UNIQUE,
    name text,
    balance bigint NOT NULL DEFAULT 0 CHECK (balance > -5),
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
    size shop.size
);
ALTER TABLE shop.customer DROP COLUMN name CASCADE, ADD COLUMN name varchar(40) COLLATE \"C\";
CREATE TABLE shop.\"Order Line\" (
    customer bigint REFERENCES shop.customer ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    number smallint,
    price numeric(10, 2),
    ratio numeric,
    place text COLLATE shop.loose UNIQUE,
    note text,
    PRIMARY KEY (number, customer)
);
CREATE UNIQUE INDEX line_note ON shop.\"Order Line\" (lower(note)) WHERE price > 0;
ALTER TABLE shop.\"Order Line\" REPLICA IDENTITY FULL;
CREATE TABLE shop.event (at timestamptz, id serial, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE shop.event_old PARTITION OF shop.event FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE FUNCTION shop.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER stamp BEFORE INSERT ON shop.event FOR EACH ROW EXECUTE FUNCTION shop.nothing();
CREATE UNLOGGED TABLE shop.cache (k text);
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
";

async fn loaded(client: &Client) -> Catalog {
    let selection = Selection {
        include: vec!["shop.*".to_owned()],
        exclude: vec![],
        counters: BTreeMap::from([(
            "shop.customer".to_owned(),
            BTreeSet::from(["balance".to_owned()]),
        )]),
    };
    Catalog::load(client, &selection).await.unwrap()
}

fn named(name: &str) -> TableName {
    TableName {
        schema: "shop".to_owned(),
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_catalog_says_what_the_tables_are() {
    let cluster = Cluster::temporary().unwrap();
    let config = cluster.create_database("shop").await.unwrap();
    let client = server::connect(&config, "test").await.unwrap();
    client.batch_execute(SCHEMA).await.unwrap();
    let catalog = loaded(&client).await;
    let names: Vec<&str> = catalog
        .parents_first()
        .into_iter()
        .map(|name| name.name.as_str())
        .collect();
    assert_eq!(names, ["cache", "customer", "Order Line", "event"]);

    let customer = catalog.table(&named("customer")).unwrap();
    assert_eq!(
        customer.shape(),
        [
            "table shop.customer",
            "column id bigint not null",
            "column code shop.code not null",
            "column balance bigint not null counter",
            "column size shop.size",
            "column name character varying(40) collate C",
            "primary key (id)",
            "unique (code)",
        ]
    );
    assert!(customer.table.columns[0].is_identity_always);
    assert_eq!(customer.columns[1].base_type, "text");
    assert!(customer.columns[1].is_domain);
    assert_eq!(customer.toastable(), ["code", "name"]);
    assert_eq!(
        customer.checks,
        [(
            "customer_balance_check".to_owned(),
            vec!["balance".to_owned()]
        )]
    );
    assert_eq!(customer.sequences[0].name, named("customer_id_seq"));
    assert_eq!(
        (customer.sequences[0].value, customer.sequences[0].is_called),
        (Some(1), false)
    );

    let line = catalog.table(&named("Order Line")).unwrap();
    assert_eq!(line.table.key, [1, 0]);
    assert_eq!(line.identity, Identity::Full);
    let exact: Vec<bool> = line
        .columns
        .iter()
        .map(|column| column.is_text_exact)
        .collect();
    assert_eq!(exact, [true, true, true, false, false, true]);
    let reference = &line.table.references[0];
    assert_eq!(
        (reference.parent.clone(), reference.parent_columns.clone()),
        (named("customer"), vec!["id".to_owned()])
    );
    assert!(reference.is_deferrable && line.actions[0].is_deferred);
    assert_eq!(line.actions[0].on_delete, 'c');
    let unique: Vec<(usize, bool)> = line
        .table
        .unique
        .iter()
        .map(|unique| (unique.columns.len(), unique.is_opaque))
        .collect();
    assert_eq!(unique, [(1, true), (0, true)]);

    let event = catalog.table(&named("event")).unwrap();
    assert_eq!(event.kind, Kind::Partitioned);
    assert_eq!(event.partitions[0].name, named("event_old"));
    assert_eq!(event.triggers.len(), 1, "a partition's copy is its root's");
    assert_eq!(event.sequences[0].column, "id");
    assert!(catalog.table(&named("cache")).unwrap().is_unlogged);
}

#[tokio::test]
async fn fingerprints_differ_where_rows_of_one_do_not_fit_the_other() {
    let cluster = Cluster::temporary().unwrap();
    let config = cluster.create_database("shop").await.unwrap();
    let client = server::connect(&config, "test").await.unwrap();
    client
        .batch_execute("CREATE SCHEMA shop; CREATE TABLE shop.t (a int PRIMARY KEY, b text, c int)")
        .await
        .unwrap();
    let mut before = fingerprint(&client).await;
    for (change, changes) in [
        (
            "ALTER TABLE shop.t RENAME CONSTRAINT t_pkey TO other",
            false,
        ),
        ("ALTER TABLE shop.t ALTER c SET DEFAULT 7", false),
        ("ALTER TABLE shop.t ALTER b SET NOT NULL", true),
        ("ALTER TABLE shop.t ALTER c TYPE bigint", true),
        ("CREATE UNIQUE INDEX one ON shop.t (b)", true),
        ("ALTER INDEX shop.one RENAME TO two", false),
        ("CREATE UNIQUE INDEX three ON shop.t (b) WHERE c > 1", true),
        ("ALTER INDEX shop.three RENAME TO four", false),
        (
            "ALTER TABLE shop.t ADD FOREIGN KEY (c) REFERENCES shop.t",
            true,
        ),
        ("ALTER TABLE shop.t DROP COLUMN b", true),
    ] {
        client.batch_execute(change).await.unwrap();
        let after = fingerprint(&client).await;
        assert_eq!(after != before, changes, "{change}");
        before = after;
    }
}

async fn fingerprint(client: &Client) -> Fingerprint {
    loaded(client)
        .await
        .table(&named("t"))
        .unwrap()
        .fingerprint()
}
