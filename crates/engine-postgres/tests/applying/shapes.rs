//! Tables and types of all kinds.

use super::*;

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN code AS text CHECK (VALUE <> '');
CREATE TABLE \"Odd \"\"Name\" (\"the key\" int, \"n\" bool, u \"char\", PRIMARY KEY (n, \"the key\", u));
CREATE TABLE ident (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text,
                    up text GENERATED ALWAYS AS (upper(v)) STORED);
CREATE TABLE part (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_old PARTITION OF part FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE part_new PARTITION OF part FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE TABLE deferred (id int PRIMARY KEY, v int UNIQUE DEFERRABLE);
CREATE TABLE types (
    id uuid PRIMARY KEY, i2 smallint, i8 bigint, num numeric, num2 numeric(10,2), f4 real,
    f8 double precision, t text, vc varchar(5), ch char(5), b boolean, by bytea, d date,
    ts timestamp, tz timestamptz, tm time, iv interval, js json, jb jsonb, arr text[],
    nums numeric(6,1)[], mood mood, pair pair, code code, ip inet, mac macaddr, bits bit(4),
    vb varbit, pt point, rng int4range, mr tstzrange, x xml, ts_v tsvector, o oid, c \"char\",
    nm name, mny money)";

#[tokio::test]
async fn tables_of_every_shape() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    let odd = [("the key", Some("1")), ("n", Some("t")), ("u", Some("z"))];
    region.put("Odd \"Name", r#"["t","1","z"]"#, 1, &odd);
    region.put("ident", "7", 1, &[("id", Some("7")), ("v", Some("x"))]);
    for (id, at) in [("1", "2025-05-05"), ("2", "2026-06-06")] {
        let key = format!(r#"["{id}","{at}"]"#);
        region.put(
            "part",
            &key,
            1,
            &[("id", Some(id)), ("at", Some(at)), ("v", Some("a"))],
        );
    }
    for (id, v) in [("1", "1"), ("2", "2")] {
        region.put("deferred", id, 1, &[("id", Some(id)), ("v", Some(v))]);
    }
    assert_eq!(region.settle().await, 1);
    // The key alone: there is nothing to change, and it is there.
    region.put("Odd \"Name", r#"["t","1","z"]"#, 2, &odd);
    region.put("ident", "7", 2, &[("id", Some("7")), ("v", Some("y"))]);
    let (id, at) = ("2", "2026-06-06");
    let key = format!(r#"["{id}","{at}"]"#);
    region.put(
        "part",
        &key,
        2,
        &[("id", Some(id)), ("at", Some(at)), ("v", Some("b"))],
    );
    for (id, v) in [("1", "2"), ("2", "1")] {
        region.put("deferred", id, 2, &[("id", Some(id)), ("v", Some(v))]);
    }
    assert_eq!(region.settle().await, 1);
    assert_eq!(region.rows("SELECT * FROM ident").await, ["7 y Y"]);
    assert_eq!(
        region.rows("SELECT id, v FROM part ORDER BY id").await,
        ["1 a", "2 b"]
    );
    assert_eq!(region.rows("SELECT count(*) FROM part_new").await, ["1"]);
    assert_eq!(
        region.rows("SELECT id, v FROM deferred ORDER BY id").await,
        ["1 2", "2 1"]
    );
    region.delete("Odd \"Name", r#"["t","1","z"]"#, 3);
    region.delete("part", &key, 3);
    region.settle().await;
    assert_eq!(
        region.rows("SELECT * FROM \"Odd \"\"Name\"").await,
        Vec::<String>::new()
    );
    assert_eq!(region.rows("SELECT id FROM part").await, ["1"]);
}

const VALUES: &str = "('8ea7b0c6-0000-4000-8000-000000000001', -5, 9007199254740993, 'NaN', 3.10,
    0.1, '-Infinity', E'a\\n\\t''\"\\\\', 'é', 'ab', false, '\\x00ff', '0044-03-15 BC', 'infinity',
    '2026-01-01 00:00:00.000001+00', '24:00', '-1 mons +2 days -00:00:00.5', '{ \"b\":1, \"a\" : 2}',
    '{\"b\": 1.0, \"a\": null}', '{NULL,\"NULL\",\"a,b\",\"\"}', '{{1.5,2},{3,NULL}}', 'glad',
    '(1,\"a \"\"b\"\"\")', 'k', '10.0.0.1/8', '08:00:2b:01:02:03', '1010', '101', '(1.5,2)', '[1,5)',
    '[2026-01-01 00:00:00+00,)', '<a>&lt;</a>', '''a'':1A', 42, 'z', 'name', '12.34')";

#[tokio::test]
async fn values_of_every_type_arrive_as_they_are() {
    let cluster = Cluster::temporary().unwrap();
    let mut region = Region::open(&cluster, "d", SCHEMA).await;
    region
        .execute(&format!("INSERT INTO types VALUES {VALUES}"))
        .await;
    let columns = "SELECT column_name FROM information_schema.columns \
                   WHERE table_name = 'types' ORDER BY ordinal_position";
    let columns = region.rows(columns).await;
    region
        .execute("SET datestyle = ISO; SET timezone = UTC; SET extra_float_digits = 3")
        .await;
    let messages = region
        .app
        .simple_query("SELECT * FROM types")
        .await
        .unwrap();
    let values: Vec<String> = messages
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|at| row.get(at).unwrap().to_owned())
                    .collect(),
            ),
            _ => None,
        })
        .unwrap();
    let row: Vec<(&str, Option<&str>)> = columns
        .iter()
        .zip(&values)
        .map(|(column, value)| (column.as_str(), Some(value.as_str())))
        .collect();
    let text = "SELECT types::text FROM types";
    let before = region.rows(text).await;
    // The very same values are there already: nothing has to be known of the writer.
    region.put("types", &values[0], 1, &row);
    committed(region.project().await);
    region.execute("DELETE FROM types").await;
    region.put("types", &values[0], 2, &row);
    committed(region.project().await);
    assert_eq!(region.rows(text).await, before);
    let nulls: Vec<(&str, Option<&str>)> = row
        .iter()
        .enumerate()
        .map(|(at, (column, value))| (*column, value.filter(|_| at == 0)))
        .collect();
    region.put("types", &values[0], 3, &nulls);
    committed(region.project().await);
    assert_eq!(
        region
            .rows("SELECT num_nonnulls(t, jb, pair, arr) FROM types")
            .await,
        ["0"]
    );
}
