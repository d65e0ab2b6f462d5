//! Faults of datasets on PostgreSQL, with the exact text that a person sees.

use super::errors::{REGION, errors_after_base, errors_of};

/// The errors of a file whose one dataset, on PostgreSQL, has `rest` from line 7 on.
fn errors(rest: &str) -> String {
    errors_of(&format!(
        "zone = \"a.test\"\n{REGION}[[dataset]]\nname = \"shop\"\nengine = \"postgres\"\n{rest}"
    ))
}

#[test]
fn what_a_dataset_on_postgresql_lacks() {
    assert_eq!(
        errors(""),
        r#"error: meridian.toml:4:1: [[dataset]] has no `postgres`
  hint: add [dataset.postgres]
error: meridian.toml:4:1: a dataset on PostgreSQL has no `tables`
  hint: name them with their schema, for example tables = ["public.*"]"#
    );
    assert_eq!(
        errors("tables = [\"orders\"]\n[dataset.postgres]\n"),
        r#"error: meridian.toml:7:11: "orders" lacks its schema
  hint: a table of PostgreSQL is called SCHEMA.TABLE, for example "public.orders"
error: meridian.toml:8:1: region "us-east-1" has no server for this dataset
  hint: add [dataset.postgres.region.us-east-1] with url = "postgresql://USER@HOST/DATABASE""#
    );
}

#[test]
fn servers_that_can_not_be() {
    assert_eq!(
        errors(
            "tables = [\"public.*\"]\n[dataset.postgres.region.us-east-2]\nurl = \"postgresql://a:b@c/d\"\n[dataset.postgres.region.us-east-1]\npassword-file = \"p\"\npassword-env = \"P\"\nport = 7\n"
        ),
        r#"error: meridian.toml:8:26: there is no region "us-east-2"
  hint: did you mean "us-east-1"?
error: meridian.toml:9:7: `url` holds a password, and this file is read in every region
  hint: put it into a file or an environment variable: password-file or password-env
error: meridian.toml:10:26: [dataset.postgres.region] has no `url`
  hint: add url = "postgresql://meridian@db.example:5432/shop"
error: meridian.toml:12:16: the password is in a file and in an environment variable
  hint: leave out `password-file` or `password-env`
error: meridian.toml:13:1: unknown key "port" in [dataset.postgres.region]
  hint: the keys here are url, password-file, password-env, root-certificates"#
    );
}

#[test]
fn what_the_server_decides() {
    assert_eq!(
        errors(
            "tables = [\"public.*\"]\nacknowledgement = \"majority\"\nstrategy = \"siblings\"\nwrites = \"home\"\nhome = \"us-east-1\"\n[dataset.postgres.region.us-east-1]\nurl = \"postgresql://a@b/c\"\n[dataset.table.\"public.t\"]\nstrategy = \"add-wins-set\"\ncounters = [\"n\", \"n\", \"\"]\n"
        ),
        r#"error: meridian.toml:8:19: a dataset on PostgreSQL can't have this `acknowledgement`: the server decides about writes as they come
  hint: leave it out, or use acknowledgement = "local"
error: meridian.toml:9:12: a dataset on PostgreSQL can't have this `strategy`: the server decides about writes as they come
  hint: leave it out, or use strategy = "last-writer-wins"
error: meridian.toml:10:10: a dataset on PostgreSQL can't have this `writes`: the server decides about writes as they come
  hint: leave it out, or use writes = "active-active"
error: meridian.toml:15:12: a table of PostgreSQL can't have this strategy
  hint: use strategy = "last-writer-wins"; columns that count can be `counters`
error: meridian.toml:16:18: counter "n" is there twice
  hint: name each column once
error: meridian.toml:16:23: the name of a counter is empty
  hint: name each column once"#
    );
}

#[test]
fn what_is_of_postgresql_elsewhere() {
    assert_eq!(
        errors_after_base("[dataset.postgres]\n[dataset.table.t]\ncounters = [\"n\"]\n"),
        r#"error: meridian.toml:7:1: servers of PostgreSQL in a dataset with another engine
  hint: use engine = "postgres", or leave [dataset.postgres] out
error: meridian.toml:9:12: `counters` in a dataset that isn't on PostgreSQL
  hint: leave it out: of an embedded table each field that is incremented counts"#
    );
}

#[test]
fn one_database_in_two_datasets() {
    let dataset = |name: &str| {
        format!(
            "[[dataset]]\nname = \"{name}\"\nengine = \"postgres\"\ntables = [\"{name}.*\"]\n[dataset.postgres.region.us-east-1]\nurl = \"postgresql://{name}@db/shop\"\n"
        )
    };
    assert_eq!(
        errors_of(&format!(
            "zone = \"a.test\"\n{REGION}{}{}",
            dataset("a"),
            dataset("b")
        )),
        r#"error: meridian.toml:14:26: two datasets have the same database in region "us-east-1"
  hint: put the tables of one database into one dataset"#
    );
}
