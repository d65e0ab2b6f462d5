//! Faults of regions, with the exact text that a person sees.

use super::errors::{DATASET, errors_of, errors_of_region, errors_of_region_name};

#[test]
fn a_mistyped_cloud_region_as_name() {
    assert_eq!(
        errors_of_region_name("us-eats-1"),
        r#"error: meridian.toml:3:8: region "us-eats-1" is not a well-known cloud region and has no `location`
  hint: did you mean "us-east-1"? otherwise add location = { latitude = 48.9, longitude = 2.4 }, or location = "eu-west-3""#
    );
}

#[test]
fn a_region_without_a_place() {
    assert_eq!(
        errors_of_region_name("mars"),
        r#"error: meridian.toml:3:8: region "mars" is not a well-known cloud region and has no `location`
  hint: add location = { latitude = 48.9, longitude = 2.4 }, or location = "eu-west-3""#
    );
}

#[test]
fn a_mistyped_cloud_region_as_location() {
    assert_eq!(
        errors_of_region("location = \"eu-wst-1\""),
        r#"error: meridian.toml:4:12: "eu-wst-1" is not a well-known cloud region
  hint: did you mean "eu-west-1"?"#
    );
}

#[test]
fn an_unknown_cloud_region_as_location() {
    assert_eq!(
        errors_of_region("location = \"mars\""),
        r#"error: meridian.toml:4:12: "mars" is not a well-known cloud region
  hint: give degrees: location = { latitude = 48.9, longitude = 2.4 }"#
    );
}

#[test]
fn degrees_out_of_range() {
    assert_eq!(
        errors_of_region("location = { latitude = 91, longitude = \"x\" }"),
        r#"error: meridian.toml:4:25: `latitude` must be from -90 to 90
  hint: for example latitude = 48.9
error: meridian.toml:4:41: `longitude` must be a number of degrees, not a string
  hint: for example longitude = 2.4"#
    );
}

#[test]
fn a_location_without_longitude() {
    assert_eq!(
        errors_of_region("location = { latitude = nan, longtude = 5.0 }"),
        r#"error: meridian.toml:4:12: location has no `longitude`
  hint: add longitude = 2.4
error: meridian.toml:4:25: `latitude` must be from -90 to 90
  hint: for example latitude = 48.9
error: meridian.toml:4:30: unknown key "longtude" in location
  hint: did you mean "longitude"?"#
    );
}

#[test]
fn addresses_without_port() {
    assert_eq!(
        errors_of_region("api = \"127.0.0.1\"\nlink = \"127.0.0.1:0\""),
        r#"error: meridian.toml:4:7: `api`: "127.0.0.1" is not an address with a port
  hint: write an IP address or a DNS name, a colon and the port, for example "10.0.0.1:7001"
error: meridian.toml:5:8: `link` has port 0, which others cannot know
  hint: give the port that the region listens on"#
    );
}

#[test]
fn addresses_nobody_can_reach() {
    assert_eq!(
        errors_of_region("api = \"0.0.0.0:7000\"\nlink-listen = \"127.0.0.1:1\""),
        r#"error: meridian.toml:4:7: nobody can connect to 0.0.0.0:7000
  hint: put it into `api-listen`, and into `api` the address at which others reach the region
error: meridian.toml:5:15: `link-listen` without `link`
  hint: add `link`, the address at which others reach the region"#
    );
}

#[test]
fn addresses_that_need_protection() {
    assert_eq!(
        errors_of_region(
            "api = \"10.0.0.1:7000\"\nlink = \"127.0.0.1:7001\"\nlink-listen = \"0.0.0.0:7001\""
        ),
        r#"error: meridian.toml:4:7: `api` at 10.0.0.1:7000 is not loopback, and there is no [tls]
  hint: add [tls] with authority, certificate and key (`meridian certs` makes them), or stay on 127.0.0.1
error: meridian.toml:4:7: `api` at 10.0.0.1:7000 is not loopback, and [api] has no `token-file`
  hint: add [api] with token-file = "token", a file with a long random secret, or stay on 127.0.0.1
error: meridian.toml:5:8: `link` at 0.0.0.0:7001 is not loopback, and there is no [tls]
  hint: add [tls] with authority, certificate and key (`meridian certs` makes them), or stay on 127.0.0.1"#
    );
}

#[test]
fn too_many_regions() {
    assert_eq!(
        errors_of(&format!(
            "zone = \"a.test\"\n{}{DATASET}",
            (0..33)
                .map(|i| format!("[[region]]\nname = \"r{i}\"\nlocation = \"us-east-1\"\n"))
                .collect::<String>()
        )),
        r#"error: meridian.toml:98:1: there are 33 regions, more than 32
  hint: keep at most 32"#
    );
}
