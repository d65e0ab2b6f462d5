//! Values of every type come as the text that everybody reads the same.

use crate::bench::Bench;
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::capture::{Changes, Datum, RowChange};
use meridian_engine_postgres::server::connect;

/// Every built-in type that a column can have, with a value as SQL.
const VALUES: &[(&str, &str)] = &[
    ("boolean", "true"),
    ("smallint", "-32768"),
    ("integer", "2147483647"),
    ("bigint", "-9223372036854775808"),
    (
        "numeric",
        "-12345678901234567890.123456789012345678901234567890",
    ),
    ("numeric", "'NaN'"),
    ("numeric(12, 3)", "1.5"),
    ("real", "0.1"),
    ("real", "'-Infinity'"),
    ("double precision", "0.1::float8 + 0.2::float8"),
    ("double precision", "'NaN'"),
    ("money", "-1234567.89::numeric"),
    (
        "text",
        "E'tab\\t newline\\n quote'' back\\\\ \u{1F600} null'",
    ),
    ("varchar(20)", "'trailing  '"),
    ("char(5)", "'ab'"),
    ("\"char\"", "'x'"),
    ("name", "'A Name'"),
    ("bytea", "'\\x00ff5c27'"),
    ("timestamp", "'2026-02-03 04:05:06.789012'"),
    ("timestamptz", "'2026-07-03 04:05:06.789012+02'"),
    ("timestamptz", "'infinity'"),
    ("timestamp", "'0044-03-15 12:00:00 BC'"),
    ("date", "'2026-02-03'"),
    ("time", "'04:05:06.789'"),
    ("timetz", "'04:05:06.789+05:30'"),
    ("interval", "'-1 year -2 mons +3 days 04:05:06.7'"),
    ("inet", "'192.168.0.1/24'"),
    ("cidr", "'2001:db8::/32'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'"),
    ("bit(4)", "B'0101'"),
    ("bit varying", "B'1'"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"),
    ("json", "'{\"b\": 1,  \"a\" : [null, 1e400]}'"),
    ("jsonb", "'{\"b\": 1,  \"a\" : [null, \"\\u00e9\"]}'"),
    ("jsonpath", "'$.a[*] ? (@ > 1)'"),
    ("xml", "'<a b=\"1\">x</a>'"),
    ("point", "'(1.5,-2)'"),
    ("line", "'{1,2,3}'"),
    ("lseg", "'[(0,0),(1,1)]'"),
    ("box", "'(1,1),(0,0)'"),
    ("path", "'[(0,0),(1,1)]'"),
    ("polygon", "'((0,0),(1,1),(1,0))'"),
    ("circle", "'<(0,0),1>'"),
    ("tsvector", "'fat:1A cat:2'"),
    ("tsquery", "'fat & !cat'"),
    ("pg_lsn", "'16/B374D848'"),
    ("txid_snapshot", "'10:20:10,14'"),
    ("pg_snapshot", "'10:20:10,14'"),
    ("xid", "'744'"),
    ("xid8", "'5000000000'"),
    ("cid", "'3'"),
    ("tid", "'(1,2)'"),
    ("oid", "4294967295"),
    ("oidvector", "'1 2 3'"),
    ("int2vector", "'1 2 3'"),
    ("regclass", "'public.named'"),
    ("regtype", "'public.mood'"),
    ("regproc", "'pg_catalog.now'"),
    ("regprocedure", "'pg_catalog.abs(integer)'"),
    ("regoper", "'pg_catalog.|/'"),
    ("regoperator", "'pg_catalog.+(integer,integer)'"),
    ("regrole", "'clerk'"),
    ("regnamespace", "'public'"),
    ("regconfig", "'english'"),
    ("regdictionary", "'simple'"),
    ("regcollation", "'\"C\"'"),
    ("int4range", "'[1,5)'"),
    ("int8range", "'empty'"),
    ("numrange", "'(1.5,)'"),
    ("tsrange", "'[2026-01-01,2026-01-02)'"),
    ("tstzrange", "'[2026-01-01 00:00+01,)'"),
    ("daterange", "'[2026-01-01,2026-01-05]'"),
    ("int4multirange", "'{[1,3),[7,9)}'"),
    (
        "tstzmultirange",
        "'{[2026-01-01 00:00+01,2026-01-02 00:00+01)}'",
    ),
    ("aclitem", "'clerk=r/clerk'"),
    ("refcursor", "'cursor'"),
    ("integer[]", "'{1,NULL,3}'"),
    ("text[]", "ARRAY['a,b', '\"', 'NULL', '', NULL, '\\']"),
    ("integer[][]", "'[0:1][2:3]={{1,2},{3,4}}'"),
    ("timestamptz[]", "'{2026-07-03 04:05:06+02}'"),
    ("bytea[]", "ARRAY['\\x00ff'::bytea]"),
    ("mood", "'it''s ok'"),
    ("mood[]", "'{\"it''s ok\",sad}'"),
    ("positive", "7"),
    ("pair", "ROW(1, 'a \"b\", (c)', '2026-02-03 04:05:06+02')"),
    ("pair[]", "ARRAY[ROW(1, NULL, NULL)::pair]"),
    ("text", "NULL"),
    ("text", "''"),
];

const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE TYPE pair AS (n integer, s text, at timestamptz);
    CREATE TABLE named (id int PRIMARY KEY);";

#[tokio::test]
async fn values_of_every_built_in_type() {
    let columns: Vec<_> = VALUES
        .iter()
        .enumerate()
        .map(|(number, (type_name, _))| format!("c{number} {type_name}"))
        .collect();
    let table = format!(
        "CREATE TABLE t (id int PRIMARY KEY, {})",
        columns.join(", ")
    );
    let bench = Bench::new(&format!("{TYPES} {table}")).await;
    let superuser = bench.superuser().await;
    // Whatever database and role prefer.
    superuser
        .batch_execute(
            "ALTER DATABASE shop SET datestyle = 'German'; ALTER ROLE clerk SET timezone = 'Asia/Tokyo';
             ALTER ROLE clerk SET bytea_output = 'escape'; ALTER DATABASE shop SET intervalstyle = 'iso_8601';
             ALTER DATABASE shop SET extra_float_digits = -5; ALTER ROLE clerk SET client_encoding = 'LATIN1'",
        )
        .await
        .unwrap();
    let mut capture = bench.capture(Lsn(0)).await;
    let values: Vec<_> = VALUES.iter().map(|(_, value)| *value).collect();
    let insert = format!("INSERT INTO t VALUES (1, {})", values.join(", "));
    bench.sql(&insert).await;
    let mut bench = bench;
    let captured = bench.captured(&mut capture).await;
    let Changes::Held(changes) = &captured[0].changes else {
        panic!("{captured:?}");
    };
    let [RowChange::Insert { new, .. }] = changes.as_slice() else {
        panic!("{changes:?}");
    };

    // What a session of ours reads is the same text, by the types' own output functions.
    let ours = connect(&bench.server, "test").await.unwrap();
    let read: Vec<_> = (0..VALUES.len())
        .map(|number| {
            format!("CASE WHEN NOT (c{number} IS NULL) THEN pg_catalog.format('%s', c{number}) END")
        })
        .collect();
    let query = format!("SELECT {} FROM public.t", read.join(", "));
    let row = ours.query_one(&query, &[]).await.unwrap();
    for (number, (type_name, value)) in VALUES.iter().enumerate() {
        let read = match row.get::<_, Option<String>>(number) {
            None => Datum::Null,
            Some(text) => Datum::Text(text),
        };
        assert_eq!(new[number + 1], read, "{type_name} {value}");
    }

    // And so is what was there before the row is written again from its texts.
    let texts: Vec<_> = new
        .iter()
        .map(|datum| match datum {
            Datum::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Datum::Null | Datum::Unchanged => "NULL".to_owned(),
        })
        .collect();
    let again = format!(
        "DELETE FROM public.t; INSERT INTO public.t VALUES ({})",
        texts.join(", ")
    );
    ours.batch_execute(&again).await.unwrap();
    let captured = bench.captured(&mut capture).await;
    let Changes::Held(changes) = &captured[0].changes else {
        panic!("{captured:?}");
    };
    let Some(RowChange::Insert { new: rewritten, .. }) = changes.last() else {
        panic!("{changes:?}");
    };
    assert_eq!(rewritten, new);
    for (column, text) in [
        ("boolean", "t"),
        ("bytea", "\\x00ff5c27"),
        ("timestamptz", "2026-07-03 02:05:06.789012+00"),
        ("interval", "-1 years -2 mons +3 days 04:05:06.7"),
        ("double precision", "0.30000000000000004"),
        ("regclass", "public.named"),
        ("mood", "it's ok"),
    ] {
        let number = VALUES
            .iter()
            .position(|(type_name, _)| *type_name == column)
            .unwrap();
        assert_eq!(new[number + 1], Datum::Text(text.to_owned()), "{column}");
    }
}
