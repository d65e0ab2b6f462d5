//! Faults of the file as a whole, with the exact text that a person sees.

use crate::Topology;
use std::path::Path;

pub(super) const DATASET: &str = "[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n";
pub(super) const REGION: &str = "[[region]]\nname = \"us-east-1\"\n";

pub(super) fn errors_of(text: &str) -> String {
    match Topology::parse(text, Path::new("meridian.toml")) {
        Ok(_) => panic!("the topology is valid:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// The errors of a file that has `rest` after a zone, a region and a dataset: `rest` begins on
/// line 7.
pub(super) fn errors_after_base(rest: &str) -> String {
    errors_of(&format!("zone = \"a.test\"\n{REGION}{DATASET}{rest}"))
}

/// The errors of a file whose only region has `keys` from line 4 on.
pub(super) fn errors_of_region(keys: &str) -> String {
    errors_of(&format!("zone = \"a.test\"\n{REGION}{keys}\n{DATASET}"))
}

/// The errors of a file whose region, on line 3, has this name.
pub(super) fn errors_of_region_name(name: &str) -> String {
    errors_of(&format!(
        "zone = \"a.test\"\n[[region]]\nname = {name:?}\n{DATASET}"
    ))
}

#[test]
fn an_empty_file() {
    assert_eq!(
        errors_of(""),
        r#"error: meridian.toml:1:1: the file has no `zone`
  hint: add zone = "meridian.test"
error: meridian.toml:1:1: there is no region
  hint: add at least one [[region]] with a name
error: meridian.toml:1:1: there is no dataset
  hint: add [[dataset]] with name = "main" and engine = "embedded""#
    );
}

#[test]
fn what_is_no_toml() {
    assert_eq!(
        errors_of("zone = a.test\n[[region\n"),
        r#"error: meridian.toml:1:8: this is not TOML: string values must be quoted, expected literal string
  hint: strings stand in quotes, tables in [brackets]; see https://toml.io
error: meridian.toml:2:9: this is not TOML: unclosed array table, expected `]]`
  hint: strings stand in quotes, tables in [brackets]; see https://toml.io"#
    );
}

#[test]
fn a_key_or_table_twice() {
    assert_eq!(
        errors_after_base("[clock]\ndrift-max = \"1s\"\ndrift-max = \"2s\"\n[clock]\n"),
        r#"error: meridian.toml:9:1: `drift-max` is there twice
  hint: a table has each key once: remove one, or give it another name
error: meridian.toml:10:2: `clock` is there twice
  hint: a table has each key once: remove one, or give it another name"#
    );
}

#[test]
fn unknown_keys() {
    assert_eq!(
        errors_of(&format!(
            "zone = \"a.test\"\ncolour = 1\n[[region]]\nnames = \"x\"\nname = \"us-east-1\"\n{DATASET}engin = 1\n[dataset.limits]\ndocument_bytes_max = 5\n[clok]\n"
        )),
        r#"error: meridian.toml:2:1: unknown key "colour" in the file
  hint: the keys here are zone, region, dataset, clock, tls, api, health, route, steering, dns
error: meridian.toml:4:1: unknown key "names" in [[region]]
  hint: did you mean "name"?
error: meridian.toml:9:1: unknown key "engin" in [[dataset]]
  hint: did you mean "engine"?
error: meridian.toml:11:1: unknown key "document_bytes_max" in [dataset.limits]
  hint: did you mean "document-bytes-max"?
error: meridian.toml:12:2: unknown key "clok" in the file
  hint: did you mean "clock"?"#
    );
}

#[test]
fn tables_of_the_wrong_type() {
    assert_eq!(
        errors_of("zone = 5\nregion = 7\ndataset = [1]\nclock = true\ntls = \"x\"\napi = 1.5\n"),
        r#"error: meridian.toml:1:8: `zone` must be a string, not an integer
  hint: for example zone = "meridian.test"
error: meridian.toml:2:10: `region` must be an array of tables, not an integer
  hint: for example [[region]]
error: meridian.toml:3:12: `dataset` must be an array of tables, not an integer
  hint: for example [[dataset]]
error: meridian.toml:4:9: `clock` must be a table, not a boolean
  hint: for example [clock]
error: meridian.toml:5:7: `tls` must be a table, not a string
  hint: for example [tls]
error: meridian.toml:6:7: `api` must be a table, not a float
  hint: for example [api]"#
    );
}

#[test]
fn region_values_of_the_wrong_type() {
    assert_eq!(
        errors_of_region("location = 5\napi = 7000\ndata-dir = \"\"\n[[region]]\nname = 5"),
        r#"error: meridian.toml:4:12: `location` must be a table with latitude and longitude or a cloud region's name, not an integer
  hint: for example location = { latitude = 48.9, longitude = 2.4 }
error: meridian.toml:5:7: `api` must be a string, not an integer
  hint: for example api = "127.0.0.1:7000"
error: meridian.toml:6:12: `data-dir` is empty
  hint: for example data-dir = "/var/lib/meridian"
error: meridian.toml:8:8: `name` must be a string, not an integer
  hint: for example name = "us-east-1""#
    );
}

#[test]
fn dataset_values_of_the_wrong_type() {
    assert_eq!(
        errors_after_base(
            "tables = \"orders\"\ntable.orders = 5\nstrategy = 1\n[dataset.limits]\nkey-bytes-max = true\nconflicts-max = \"9\"\n[clock]\ndrift-max = 500\n"
        ),
        r#"error: meridian.toml:7:10: `tables` must be an array of strings, not a string
  hint: for example tables = ["orders", "inv_*"]
error: meridian.toml:8:7: `table.orders` must be a table
  hint: write [dataset.table.orders] and below it what differs
error: meridian.toml:9:12: `strategy` must be a string, not an integer
  hint: for example strategy = "last-writer-wins"
error: meridian.toml:11:17: `key-bytes-max` must be a size, not a boolean
  hint: for example key-bytes-max = 1024
error: meridian.toml:12:17: `conflicts-max` must be an integer, not a string
  hint: for example conflicts-max = 100000
error: meridian.toml:14:13: `drift-max` must be a duration in a string, not an integer
  hint: for example drift-max = "500ms""#
    );
}

#[test]
fn names_that_break_their_rule() {
    assert_eq!(
        errors_of(&format!(
            "zone = \"A.test\"\n[[region]]\nname = \"US\"\n{}",
            "[[dataset]]\nname = \"a b\"\nengine = \"embedded\"\ntables = [\"a b\", \"*\", \"a*b*\"]\n[dataset.table.\"a/b\"]\n"
        )),
        r#"error: meridian.toml:1:8: zone "A.test" is not a DNS name
  hint: use a DNS name in lower case, for example "meridian.test"
error: meridian.toml:3:8: "US" is not a region name
  hint: use 1 to 40 characters of a-z, 0-9 and '-', with a letter or digit at both ends
error: meridian.toml:5:8: "a b" is not a dataset name
  hint: use 1 to 40 characters of a-z, 0-9 and '-', with a letter or digit at both ends
error: meridian.toml:7:11: "a b" is neither a table name nor a prefix followed by '*'
  hint: use 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'
error: meridian.toml:7:18: the pattern "*" would take every table
  hint: leave `tables` out: the dataset then takes every table that no other dataset names
error: meridian.toml:7:23: "a*b*" is not a table pattern
  hint: use a table name, or the beginning of one followed by a single '*' at the end
error: meridian.toml:8:16: "a/b" is not a table name
  hint: use 1 to 128 characters of A-Z, a-z, 0-9, '_', '.' and '-'"#
    );
}

#[test]
fn incomplete_certificates_and_token() {
    assert_eq!(
        errors_after_base("[tls]\nauthority = \"\"\nkey = 5\n[api]\ntoken-file = \"\"\n"),
        r#"error: meridian.toml:7:1: [tls] has no `certificate`
  hint: add certificate = "certs/{region}.pem"
error: meridian.toml:8:13: `authority` is empty
  hint: for example authority = "certs/authority.pem"
error: meridian.toml:9:7: `key` must be a string, not an integer
  hint: for example key = "certs/{region}.key"
error: meridian.toml:11:14: `token-file` is empty
  hint: for example token-file = "token""#
    );
}

#[test]
fn a_drift_out_of_range() {
    assert_eq!(
        errors_after_base("[clock]\ndrift-max = \"0s\"\n"),
        r#"error: meridian.toml:8:13: `drift-max` is outside its range
  hint: use more than 0 and at most 1h, for example drift-max = "500ms""#
    );
}

#[test]
fn a_malformed_duration() {
    assert_eq!(
        errors_after_base("[clock]\ndrift-max = \"2 days\"\n"),
        r#"error: meridian.toml:8:13: `drift-max`: "2 days" is not a duration
  hint: write a whole number and its unit, for example drift-max = "500ms""#
    );
}
