//! Faults of `[route.NAME]`, with the exact text that a person sees.

use super::errors::{DATASET, errors_after_base, errors_of};

#[test]
fn names_that_no_service_can_have() {
    assert_eq!(
        errors_after_base("[route.us-east-1]\n[route.ns]\n[route.A_b]\n[route]\nx = 1\n"),
        r#"error: meridian.toml:7:8: "us-east-1" is a name under which services are, not one of a service
  hint: use a label of a-z, 0-9 and '-' that is no region's name, for example [route.app]
error: meridian.toml:8:8: "ns" is the name of the zone's name servers
  hint: use a label of a-z, 0-9 and '-' that is no region's name, for example [route.app]
error: meridian.toml:9:8: "A_b" is not the name of a service
  hint: use a label of a-z, 0-9 and '-' that is no region's name, for example [route.app]
error: meridian.toml:11:1: `route.x` must be a table
  hint: write [route.app] and below it its keys"#
    );
}

#[test]
fn choices_that_lead_nowhere() {
    assert_eq!(
        errors_after_base(
            "[route.app]\npolicy = \"weighted\"\n[[route.app.choice]]\nregion = \"us-east-2\"\n[[route.app.choice]]\nregion = \"us-east-1\"\nbias = 3\n[[route.app.choice]]\nregion = \"us-east-1\"\nweight = -1\n[[route.app.choice]]\nweight = 1\n[[route.app.choice]]\npolicy = \"latency\"\n"
        ),
        r#"error: meridian.toml:10:10: there is no region "us-east-2"
  hint: did you mean "us-east-1"?
error: meridian.toml:13:8: `bias` means nothing to a policy by weighted
  hint: leave it out, or use policy = "geoproximity"
error: meridian.toml:15:10: region "us-east-1" is in two places of the policy
  hint: name each region once
error: meridian.toml:16:10: `weight` must not be negative or beyond 64 bits
  hint: for example weight = 3
error: meridian.toml:17:1: a choice has no `region` and no `policy`
  hint: name a `region`, or a `policy` with choices of its own
error: meridian.toml:20:10: a policy within a policy has no choices
  hint: add [[route.NAME.choice.choice]] below it, or name a `region` instead"#
    );
}

#[test]
fn clients_needs_and_steps() {
    assert_eq!(
        errors_after_base(
            "[route.app]\npolicy = \"geolocation\"\nneeds = []\nuseful = [\"cach\"]\nramp = { percents = [50, 10], each = \"0s\" }\nttl = \"1500ms\"\n[[route.app.residency]]\nclients = [\"Europe\", \"de\"]\n"
        ),
        r#"error: meridian.toml:7:8: a policy by geolocation without choices
  hint: add [[route.NAME.choice]] with a region and whose clients it is for
error: meridian.toml:9:9: `needs` names no service, so every region would always do
  hint: name at least "api"
error: meridian.toml:10:11: there is no service "cach"
  hint: did you mean "cache"?
error: meridian.toml:11:21: the steps of a ramp must rise, and be 20 at most
  hint: for example percents = [10, 25, 50]; after the last step comes all
error: meridian.toml:11:38: `each` is outside its range
  hint: use more than 0 and at most 24h, for example each = "5s"
error: meridian.toml:12:7: `ttl` must be whole seconds, at most a week
  hint: for example ttl = "5s"
error: meridian.toml:13:1: [[route.residency]] has no `regions`
  hint: add regions = ["eu-west-1"]
error: meridian.toml:14:12: "Europe" is no area and no country
  hint: use africa, asia-pacific, europe, latin-america, north-america, or a country's two capital letters (ISO 3166-1)
error: meridian.toml:14:22: "de" is no area and no country
  hint: use africa, asia-pacific, europe, latin-america, north-america, or a country's two capital letters (ISO 3166-1)"#
    );
}

#[test]
fn regions_have_addresses_of_the_same_kinds_or_none() {
    let regions = "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\naddresses = [\"10.0.0.1\", \"2001:db8::1\"]\n[[region]]\nname = \"eu-west-1\"\naddresses = [\"2001:db8::2\"]\n[[region]]\nname = \"ap-northeast-1\"\n";
    assert_eq!(
        errors_of(&format!("{regions}{DATASET}")),
        r#"error: meridian.toml:7:14: the region has no IPv4 address, and others have
  hint: clients ask for one kind of address, and are sent to any region: give all regions with addresses the same kinds"#
    );
}

#[test]
fn a_witness_serves_no_clients_and_addresses_are_one_regions() {
    let regions = "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\naddresses = [\"10.0.0.1\"]\n[[region]]\nname = \"eu-west-1\"\nwitness = true\naddresses = [\"10.0.0.1\"]\n";
    let route =
        "[[route.app.choice]]\nregion = \"eu-west-1\"\n[steering]\nleaving-percent-max = 101\n";
    assert_eq!(
        errors_of(&format!("{regions}{DATASET}{route}")),
        r#"error: meridian.toml:8:14: address 10.0.0.1 is two regions', first on line 4
  hint: give each region addresses of its own
error: meridian.toml:13:10: region "eu-west-1" is a witness, which serves no clients
  hint: leave it out
error: meridian.toml:15:23: `leaving-percent-max` is 101, outside its range
  hint: use 0 to 100"#
    );
}
