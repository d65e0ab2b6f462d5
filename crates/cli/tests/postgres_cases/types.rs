//! Values of every type come through as they were written, in columns, in arrays and in keys.

use crate::system::{System, describe};
use std::fmt::Write as _;

/// Types with values that are likely to be mistaken.
const TYPES: &[(&str, &[&str])] = &[
    ("bool", &["t", "f"]),
    ("bytea", &["\\x", "\\x00ff5c27", "a\\\\b"]),
    ("\"char\"", &["a", "", "\\351"]),
    ("name", &["x", "", "it's \"so\""]),
    (
        "int8",
        &["9223372036854775807", "-9223372036854775808", "0"],
    ),
    ("int2", &["32767", "-32768"]),
    ("int4", &["2147483647", "-2147483648"]),
    ("int2vector", &["1 2 3", ""]),
    ("oidvector", &["1 2 3", "4294967295"]),
    (
        "text",
        &[
            "",
            " ",
            "NULL",
            "null",
            "\\N",
            "a'b\"c\\d\ne\tf",
            "{x,y}",
            "(1,2)",
            "é🦀",
        ],
    ),
    ("oid", &["0", "4294967295"]),
    ("tid", &["(0,1)", "(4294967295,65535)"]),
    ("xid", &["3", "4294967295"]),
    ("cid", &["0", "4294967295"]),
    ("xid8", &["3", "18446744073709551615"]),
    (
        "json",
        &[
            "{\"b\": 1,  \"a\": [null, 1.0, 1.00], \"a\": \"\\u00e9\"}",
            "null",
            " [ ] ",
        ],
    ),
    (
        "jsonb",
        &[
            "{\"b\": 1,  \"a\": [null, 1.0, 1.00]}",
            "null",
            "\"\"",
            "1e400",
        ],
    ),
    ("jsonpath", &["$.a[*] ? (@.b > 1)", "$"]),
    ("xml", &["<a b=\"c\">d&amp;</a>", "text <b/> more"]),
    ("point", &["(1.5,-0)", "(1e300,0.1)"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("path", &["((0,0),(1,1),(2,0))", "[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("line", &["{1,2,3}"]),
    ("circle", &["<(1,2),3>"]),
    (
        "float4",
        &["0.1", "-0", "NaN", "Infinity", "1e-45", "3.4028235e38"],
    ),
    (
        "float8",
        &[
            "0.1",
            "-0",
            "NaN",
            "-Infinity",
            "5e-324",
            "1.7976931348623157e308",
            "0.30000000000000004",
        ],
    ),
    (
        "numeric",
        &[
            "1.00",
            "1",
            "NaN",
            "Infinity",
            "-0.000",
            "123456789012345678901234567890.123456789",
        ],
    ),
    ("numeric(10,2)", &["1.005", "-99999999.99"]),
    ("money", &["1234.56", "-92233720368547758.08"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("inet", &["10.0.0.1", "10.0.0.1/8", "::1/64"]),
    ("cidr", &["10.0.0.0/8", "::/0"]),
    ("aclitem", &["clerk=r/clerk"]),
    ("bpchar", &["a  ", ""]),
    ("char(4)", &["a", "abcd"]),
    ("varchar", &["a  ", ""]),
    ("varchar(3)", &["abc"]),
    (
        "date",
        &[
            "0044-03-15 BC",
            "infinity",
            "-infinity",
            "5874897-12-31",
            "2024-02-29",
        ],
    ),
    ("time", &["24:00:00", "00:00:00.000001"]),
    ("timetz", &["23:59:59.999999+15:59:59", "00:00-08"]),
    (
        "timestamp",
        &["4713-01-01 00:00:00 BC", "infinity", "2024-12-31 23:59:60"],
    ),
    (
        "timestamptz",
        &[
            "1800-01-01 00:00:00+00",
            "-infinity",
            "2024-07-01 12:00:00.000001+05:30",
        ],
    ),
    ("timestamp(0)", &["2024-01-01 00:00:00.5"]),
    (
        "interval",
        &[
            "1 year -2 mons +3 days -04:05:06.789",
            "-1 days +00:00:00.000001",
            "00:00:00",
        ],
    ),
    ("interval day to second", &["3 days 04:05:06"]),
    ("bit(5)", &["10101"]),
    ("varbit", &["", "1"]),
    ("refcursor", &["c"]),
    ("regproc", &["pg_catalog.now"]),
    ("regprocedure", &["abs(integer)"]),
    ("regoper", &["pg_catalog.||/"]),
    ("regoperator", &["+(integer,integer)"]),
    ("regclass", &["public.barrier", "pg_class"]),
    ("regcollation", &["\"C\""]),
    ("regtype", &["integer", "public.mood"]),
    ("regrole", &["clerk"]),
    ("regnamespace", &["public"]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    (
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ],
    ),
    ("pg_lsn", &["16/B374D848", "0/0"]),
    ("tsvector", &["a:1A,2 'b c':3", ""]),
    ("tsquery", &["'a' & !( 'b' | 'c':*A )"]),
    ("txid_snapshot", &["10:20:10,14,15"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("int4range", &["[1,5)", "empty", "(,)"]),
    ("int8range", &["(1,5]"]),
    ("numrange", &["[1.0,2.00)", "(,1]"]),
    ("tsrange", &["[2024-01-01,infinity)"]),
    ("tstzrange", &["[2024-01-01 00:00+02,2024-01-02 00:00+02)"]),
    ("daterange", &["[2024-01-01,2024-01-31]"]),
    ("int4multirange", &["{[1,3),[5,7)}", "{}"]),
    ("int8multirange", &["{[1,3)}"]),
    ("nummultirange", &["{[1.0,1.50)}"]),
    ("tsmultirange", &["{[2024-01-01,2024-01-02)}"]),
    (
        "tstzmultirange",
        &["{[2024-01-01 00:00+02,2024-01-02 00:00+02)}"],
    ),
    ("datemultirange", &["{[2024-01-01,2024-01-31]}"]),
    ("public.mood", &["sad", "it's ok"]),
    ("public.few", &["3"]),
    (
        "public.pair",
        &["(1,\"a,\"\"b\"\"\\\\\",1.00)", "(,,)", "(,\"\",)"],
    ),
    (
        "public.nest",
        &["(\"(1,x,2.0)\",\"{\"\"(2,y,3.0)\"\"}\",sad)"],
    ),
    ("public.pairs", &["{\"(1,a,1.0)\",NULL}"]),
    ("public.words", &["[a,\"b,c\")"]),
];

/// Types that nobody can write a value of.
const UNWRITABLE: &[&str] = &[
    "gtsvector",
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
];

const OWN_TYPES: &str = "\
    CREATE TYPE public.mood AS ENUM ('sad', 'it''s ok'); \
    CREATE DOMAIN public.few AS int CHECK (VALUE < 10); \
    CREATE TYPE public.pair AS (a int, b text, c numeric); \
    CREATE TYPE public.nest AS (p public.pair, q public.pair[], m public.mood); \
    CREATE DOMAIN public.pairs AS public.pair[]; \
    CREATE TYPE public.words AS RANGE (subtype = text);";

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The values of a column and of its array in row `row`.
fn values(name: &str, texts: &[&str], row: usize) -> (String, String) {
    let value = |turn: usize| format!("{}::{name}", literal(texts[turn % texts.len()]));
    // There is no way to write an array of a domain over arrays.
    let array = match name {
        "public.pairs" => "NULL".to_owned(),
        _ => format!("ARRAY[{}, NULL, {}]", value(row), value(row + 1)),
    };
    (value(row), array)
}

#[test]
fn every_built_in_type_in_columns_and_arrays() {
    let columns = TYPES
        .iter()
        .enumerate()
        .map(|(number, (name, _))| format!(", c{number} {name}, a{number} {name}[]"));
    let columns: String = columns.collect();
    let system = System::start(&format!(
        "{OWN_TYPES} CREATE TABLE public.types (id int PRIMARY KEY{columns});"
    ));
    let named: Vec<String> = TYPES.iter().map(|(name, _)| literal(name)).collect();
    let unwritable: Vec<String> = UNWRITABLE.iter().map(|name| literal(name)).collect();
    let missing = format!(
        "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace \
         AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typname <> ALL (ARRAY[{}]) \
         AND oid <> ALL (ARRAY[{}]::regtype[]::oid[]) ORDER BY 1",
        unwritable.join(", "),
        named.join(", ")
    );
    assert_eq!(system.ask(0, &missing), "", "types without a value here");

    let rows = TYPES
        .iter()
        .map(|(_, texts)| texts.len())
        .max()
        .expect("some");
    let mut expected = String::new();
    for row in 0..rows {
        let of_row = TYPES.iter().map(|(name, texts)| values(name, texts, row));
        let (mut insert, mut text) = (format!("{row}"), format!("SELECT '{row}'"));
        for (value, array) in of_row {
            write!(insert, ", {value}, {array}").expect("a string takes all");
            write!(text, " || format('|%s|%s', {value}, {array})").expect("the same");
        }
        let insert = format!("INSERT INTO public.types VALUES ({insert})");
        let told = system.try_sql(row % 3, &insert);
        told.unwrap_or_else(|error| panic!("row {row}: {}", describe(&error)));
        expected += &system.ask(0, &text);
        expected.push('\n');
    }
    let all = (0..TYPES.len()).map(|number| format!(" || format('|%s|%s', c{number}, a{number})"));
    let all: String = all.collect();
    let all = format!("SELECT id::text{all} FROM public.types WHERE id < 100 ORDER BY id");
    system.expect(&all, expected.trim_end());
    let version = |region| system.version(region, "types", "3");
    let before = version(1);
    // Every value changes its row, and NULL is NULL.
    system.sql(1, "INSERT INTO public.types (id) VALUES (100)");
    system.sql(2, "UPDATE public.types SET id = id + 1000 WHERE id = 0");
    system.expect(
        "SELECT count(*) FROM public.types t, jsonb_each(to_jsonb(t)) e WHERE t.id = 100 AND e.value = 'null'",
        &(TYPES.len() * 2).to_string(),
    );
    system.expect(
        "SELECT id FROM public.types ORDER BY id DESC LIMIT 2",
        "1000\n100",
    );
    // Nobody took what was projected for a change of its own.
    assert_eq!(
        (version(0), version(1), version(2)),
        (before.clone(), before.clone(), before)
    );
}

/// Types of which a key may be.
const KEYS: &[&str] = &[
    "bool",
    "bytea",
    "\"char\"",
    "name",
    "int8",
    "int2",
    "int4",
    "text",
    "oid",
    "xid8",
    "numeric(10,2)",
    "macaddr",
    "inet",
    "cidr",
    "char(4)",
    "varchar(3)",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "uuid",
    "pg_lsn",
    "public.mood",
    "public.few",
    "varbit",
    "money",
];

#[test]
fn keys_of_every_type_that_may_be_one() {
    let tables = KEYS.iter().enumerate().map(|(number, name)| {
        format!("CREATE TABLE public.k{number} (k {name} PRIMARY KEY, v text);")
    });
    let tables: String = tables.collect();
    let system = System::start(&format!("{OWN_TYPES}{tables}"));
    let mut counts = Vec::new();
    for (number, name) in KEYS.iter().enumerate() {
        let texts = TYPES
            .iter()
            .find(|(known, _)| known == name)
            .expect("a type")
            .1;
        let rows: Vec<_> = texts
            .iter()
            .map(|text| format!("({}::{name}, '-')", literal(text)))
            .collect();
        system.sql(
            0,
            &format!("INSERT INTO public.k{number} VALUES {}", rows.join(", ")),
        );
        counts.push(texts.len());
    }
    system.barrier();
    for (number, name) in KEYS.iter().enumerate() {
        let texts = TYPES
            .iter()
            .find(|(known, _)| known == name)
            .expect("a type")
            .1;
        let first = format!("{}::{name}", literal(texts[0]));
        system.sql(
            1,
            &format!("UPDATE public.k{number} SET v = 'b' WHERE k = {first}"),
        );
    }
    let count = |number: usize| {
        format!("SELECT count(*) || ' ' || count(*) FILTER (WHERE v = 'b') FROM public.k{number}")
    };
    let last = KEYS.len() - 1;
    system.wait_for(2, &count(last), &format!("{} 1", counts[last]));
    for (number, found) in counts.iter().enumerate() {
        assert_eq!(
            system.ask(2, &count(number)),
            format!("{found} 1"),
            "{}",
            KEYS[number]
        );
        system.sql(2, &format!("DELETE FROM public.k{number} WHERE v = 'b'"));
    }
    system.settle();
    for (number, found) in counts.iter().enumerate() {
        assert_eq!(
            system.ask(0, &count(number)),
            format!("{} 0", found - 1),
            "{}",
            KEYS[number]
        );
    }
}
