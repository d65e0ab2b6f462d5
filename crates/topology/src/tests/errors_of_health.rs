//! Faults of `[health]` and of probes, with the exact text that a person sees.

use super::errors::{errors_after_base, errors_of_region};

#[test]
fn a_preset_that_is_none() {
    assert_eq!(
        errors_after_base("[health]\npreset = \"fst\"\n"),
        r#"error: meridian.toml:8:10: there is no preset "fst"
  hint: did you mean "fast"?"#
    );
}

#[test]
fn windows_of_maintenance() {
    assert_eq!(
        errors_after_base(
            "[[health.maintenance]]\nregion = \"eu-west-1\"\nservice = \"databse\"\nfrom = 2026-12-01\n[[health.maintenance]]\nregion = \"us-east-1\"\nfrom = 2026-12-01T04:00:00Z\nuntil = 2026-12-01T04:00:00Z\n"
        ),
        r#"error: meridian.toml:7:1: [[health.maintenance]] has no `until`
  hint: add until = 2026-12-01T04:00:00Z
error: meridian.toml:8:10: there is no region "eu-west-1"
  hint: the regions are us-east-1
error: meridian.toml:9:11: there is no service "databse"
  hint: did you mean "database"?
error: meridian.toml:10:8: `from`: "2026-12-01" is no date and time with an offset
  hint: for example from = 2026-12-01T02:00:00Z
error: meridian.toml:14:9: the maintenance ends before it begins
  hint: give an `until` that is later than `from`"#
    );
}

#[test]
fn a_probe_of_an_unknown_kind_or_service() {
    assert_eq!(
        errors_of_region(
            "[region.service.databse]\nprobe = \"postgresql\"\nfoo = 1\n[region.service.cache]\naddress = 5"
        ),
        r#"error: meridian.toml:4:17: there is no service "databse"
  hint: did you mean "database"?
error: meridian.toml:5:9: there is no probe "postgresql"
  hint: did you mean "postgres"?
error: meridian.toml:7:17: [region.service] has no `probe`
  hint: add probe = "http""#
    );
}

#[test]
fn keys_of_another_kind_of_probe() {
    assert_eq!(
        errors_of_region(
            "[region.service.cache]\nprobe = \"tcp\"\naddress = \"0.0.0.0:1\"\nurl = \"x\"\ntimeout = \"2m\"\nby = \"everybody\""
        ),
        r#"error: meridian.toml:6:11: `address`: nobody can connect to "0.0.0.0:1"
  hint: write an IP address or a DNS name, a colon and the port, for example "10.0.0.1:6379"
error: meridian.toml:7:1: unknown key "url" in [region.service]
  hint: the keys here are probe, by, timeout, address
error: meridian.toml:8:11: `timeout` is outside its range
  hint: use more than 0 and at most 60s, for example timeout = "500ms"
error: meridian.toml:9:6: there is no by "everybody"
  hint: use one of own, all"#
    );
}

#[test]
fn a_url_that_cannot_be_probed() {
    for bad in [
        "ftp://a/",
        "http://",
        "http://u@a/",
        "http://a/#x",
        "http://a:0/",
        "http://a b/",
        "a",
    ] {
        let keys = format!("[region.service.api]\nprobe = \"http\"\nurl = {bad:?}");
        let errors = errors_of_region(&keys);
        assert!(
            errors.contains("is not a URL that can be probed"),
            "{bad}: {errors}"
        );
    }
    assert_eq!(
        errors_of_region(
            "[region.service.api]\nprobe = \"http\"\nurl = \"http://a/\"\nstatus = [99, \"x\"]\ncertificate-days-min = 7"
        ),
        r#"error: meridian.toml:7:11: `status` is 99, outside its range
  hint: use 100 to 599
error: meridian.toml:7:15: `status` must be an array of integers, not a string
  hint: for example status = [200, 204]
error: meridian.toml:8:24: `certificate-days-min` of a URL without TLS
  hint: use an https:// URL, or leave it out"#
    );
}

#[test]
fn a_command_and_a_name_that_are_none() {
    assert_eq!(
        errors_of_region(
            "[region.service.api]\nprobe = \"command\"\ncommand = []\n[region.service.storage]\nprobe = \"dns\"\naddress = \"10.0.0.2:53\"\nname = \"a..b\""
        ),
        r#"error: meridian.toml:6:11: `command` names no program
  hint: for example command = ["/usr/local/bin/check", "--quick"]
error: meridian.toml:10:8: "a..b" is not a DNS name
  hint: for example name = "storage.example.com""#
    );
}

#[test]
fn addresses_of_a_region() {
    assert_eq!(
        errors_of_region(
            "addresses = [\"203.0.113.7:80\", \"10.0.0.1\", \"10.0.0.1\", \"::\"]\ndns-listen = [\"203.0.113.7\"]\ncapacity = 0"
        ),
        r#"error: meridian.toml:4:14: "203.0.113.7:80" is not an IP address
  hint: give addresses without port, for example addresses = ["203.0.113.7"]
error: meridian.toml:4:44: address 10.0.0.1 is there twice
  hint: give addresses without port, for example addresses = ["203.0.113.7"]
error: meridian.toml:4:56: nobody can connect to ::
  hint: give addresses without port, for example addresses = ["203.0.113.7"]
error: meridian.toml:5:14: `dns-listen` without `dns`
  hint: add `dns`, the address at which the region's name server is asked
error: meridian.toml:5:15: `dns-listen`: "203.0.113.7" is not an IP address with a port
  hint: for example dns-listen = ["203.0.113.7:53", "[2001:db8::7]:53"]
error: meridian.toml:6:12: `capacity` is 0, outside its range
  hint: use 1 to 1000000000"#
    );
}

#[test]
fn a_name_server_by_name_has_to_listen_somewhere() {
    assert_eq!(
        errors_of_region("dns = \"ns.example.com:53\""),
        r#"error: meridian.toml:4:7: `dns` is a name, and there is no `dns-listen`
  hint: say with dns-listen = ["203.0.113.7:53"] at which addresses it listens"#
    );
}
