//! Witnesses, and every fault of them with the exact text that a person sees.

use super::errors::errors_of;
use crate::Topology;
use std::path::Path;

/// A file with two regions and a third that has `keys`, line 9, and a dataset with `promises`.
fn file(keys: &str, promises: &str) -> String {
    format!(
        "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\n[[region]]\nname = \"eu-west-1\"\n\
         [[region]]\nname = \"eu-west-3\"\n\n{keys}\n[[dataset]]\nname = \"main\"\n\
         engine = \"embedded\"\n{promises}"
    )
}

fn witnesses(text: &str) -> Vec<String> {
    let topology = Topology::parse(text, Path::new("m.toml"));
    let topology = topology.unwrap_or_else(|error| panic!("{error}"));
    let names = topology.witnesses().map(|region| region.name.to_string());
    names.collect()
}

#[test]
fn a_witness_is_read_and_survives_on_this_machine() {
    assert_eq!(witnesses(&file("witness = true", "")), ["eu-west-3"]);
    assert!(witnesses(&file("witness = false", "")).is_empty());
    assert!(witnesses(&file("", "")).is_empty());
    let topology = Topology::parse(&file("witness = true", ""), Path::new("m.toml")).unwrap();
    let here = topology.on_this_machine(7000).unwrap();
    assert_eq!(here.witnesses().count(), 1);
}

#[test]
fn a_witness_counts_for_an_acknowledgement() {
    let two = "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\n[[region]]\n\
               name = \"eu-west-1\"\nwitness = true\n[[dataset]]\nname = \"main\"\n\
               engine = \"embedded\"\nacknowledgement = \"one-remote\"\n";
    assert_eq!(witnesses(two), ["eu-west-1"]);
}

#[test]
fn a_word_that_is_no_flag() {
    assert_eq!(
        errors_of(&file("witness = \"yes\"", "")),
        r#"error: meridian.toml:9:11: `witness` must be true or false, not a string
  hint: for example witness = true"#
    );
}

#[test]
fn a_witness_as_home_or_replica() {
    assert_eq!(
        errors_of(&file(
            "witness = true",
            "writes = \"home\"\nhome = \"eu-west-3\"\n"
        )),
        r#"error: meridian.toml:14:8: home "eu-west-3" is a witness, which holds no tables
  hint: name a region that is none"#
    );
    assert_eq!(
        errors_of(&file("witness = true", "read-replicas = [\"eu-west-3\"]\n")),
        r#"error: meridian.toml:13:18: read replica "eu-west-3" is a witness, which holds no tables
  hint: leave it out: a witness takes no writes anyway"#
    );
}

#[test]
fn nobody_left_to_hold_tables_or_to_take_writes() {
    let alone = "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\nwitness = true\n\
                 [[dataset]]\nname = \"main\"\nengine = \"embedded\"\n";
    assert_eq!(
        errors_of(alone),
        r#"error: meridian.toml:2:1: every region is a witness, so none holds tables
  hint: leave `witness` out of at least one region; two without it and one with it survive the loss of any one"#
    );
    assert_eq!(
        errors_of(&file(
            "witness = true",
            "read-replicas = [\"us-east-1\", \"eu-west-1\"]\n"
        )),
        r#"error: meridian.toml:13:18: every region that holds tables is a read replica, so nobody takes writes
  hint: leave at least one region out of `read-replicas`"#
    );
}
