//! What datasets promise, and every fault of it with the exact text that a person sees.

use super::errors::errors_of;
use crate::{Topology, Writes};
use meridian_model::{Acknowledgement, Consistency, RegionName};
use std::path::Path;
use std::time::Duration;

/// A file with two regions and a dataset with these keys, from line 9 on.
fn file(keys: &str) -> String {
    format!(
        "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\n[[region]]\nname = \"eu-west-1\"\n\
         [[dataset]]\nname = \"main\"\nengine = \"embedded\"\n{keys}"
    )
}

fn promises(keys: &str) -> crate::Promises {
    let topology = Topology::parse(&file(keys), Path::new("m.toml"));
    topology.unwrap_or_else(|error| panic!("{error}")).datasets[0]
        .promises
        .clone()
}

#[test]
fn promises_are_read() {
    let found = promises(
        "consistency = \"strong\"\nacknowledgement = \"majority\"\n\
         acknowledgement-timeout = \"500ms\"\nwrites = \"home\"\nhome = \"eu-west-1\"\n",
    );
    assert_eq!(found.consistency, Consistency::Strong);
    assert_eq!(found.acknowledgement, Acknowledgement::Majority);
    assert_eq!(found.acknowledgement_timeout, Duration::from_millis(500));
    let (us, eu) = (RegionName::new("us-east-1"), RegionName::new("eu-west-1"));
    assert_eq!(found.writes, Writes::Home(eu.clone()));
    assert!(found.writes.takes(&eu) && !found.writes.takes(&us));
    let found = promises("read-replicas = [\"eu-west-1\"]\n");
    assert_eq!(found.writes.name(), "active-active");
    assert!(found.writes.takes(&us) && !found.writes.takes(&eu));
}

#[test]
fn words_that_are_none() {
    assert_eq!(
        errors_of(&file(
            "consistency = \"linearizable\"\nacknowledgement = \"one-remotes\"\n\
             acknowledgement-timeout = \"2h\"\nwrites = \"anywhere\"\n"
        )),
        r#"error: meridian.toml:9:15: there is no consistency "linearizable"
  hint: use one of eventual, causal, session, strong
error: meridian.toml:10:19: there is no acknowledgement "one-remotes"
  hint: did you mean "one-remote"?
error: meridian.toml:11:27: `acknowledgement-timeout` is outside its range
  hint: use more than 0 and at most 60s, for example acknowledgement-timeout = "2s"
error: meridian.toml:12:10: there is no writes "anywhere"
  hint: use one of active-active, home"#
    );
}

#[test]
fn homes_and_replicas_that_cannot_be() {
    assert_eq!(
        errors_of(&file("writes = \"home\"\n")),
        r#"error: meridian.toml:6:1: [[dataset]] has no `home`
  hint: add home = "us-east-1""#
    );
    assert_eq!(
        errors_of(&file(
            "writes = \"home\"\nhome = \"eu-west-2\"\nread-replicas = [\"us-east-1\"]\n"
        )),
        r#"error: meridian.toml:10:8: there is no region "eu-west-2"
  hint: did you mean "eu-west-1"?
error: meridian.toml:11:18: `read-replicas` in a dataset that has a home
  hint: leave it out: every region but the home only reads"#
    );
    assert_eq!(
        errors_of(&file(
            "home = \"eu-west-1\"\nread-replicas = [\"us-east-1\", \"eu-west-1\", \"us-east-1\"]\n"
        )),
        r#"error: meridian.toml:9:8: `home` in a dataset whose writes are taken in every region
  hint: add writes = "home", or leave `home` out
error: meridian.toml:10:18: every region that holds tables is a read replica, so nobody takes writes
  hint: leave at least one region out of `read-replicas`
error: meridian.toml:10:44: read replica "us-east-1" is named twice
  hint: name each region once"#
    );
}

#[test]
fn an_acknowledgement_that_one_region_can_never_give() {
    let text = "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\n[[dataset]]\n\
                name = \"main\"\nengine = \"embedded\"\nacknowledgement = \"one-remote\"\n";
    assert_eq!(
        errors_of(text),
        r#"error: meridian.toml:7:19: acknowledgement "one-remote" needs 2 regions, and there is 1
  hint: add a region, or use acknowledgement = "local""#
    );
    let alone = text.replace("one-remote", "majority");
    Topology::parse(&alone, Path::new("m.toml")).expect("one region is most of one");
}
