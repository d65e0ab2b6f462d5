//! Faults of `[dns]`, with the exact text that a person sees.

use super::errors::{errors_after_base, errors_of_region_name};

#[test]
fn settings_that_are_none() {
    assert_eq!(
        errors_after_base(
            "[dns]\nttl = \"8d\"\nname-servers = [\"ns1\"]\nhostmaster = \"nobody\"\nthreads = 0\nclient-subnet = 1\n"
        ),
        r#"error: meridian.toml:8:7: `ttl`: "8d" is not a duration
  hint: write a whole number and its unit, for example ttl = "5s"
error: meridian.toml:9:17: "ns1" is not the name of a name server
  hint: give whole names, for example "ns1.example.com"
error: meridian.toml:10:14: "nobody" is not a mail address
  hint: for example hostmaster = "dns@example.com"
error: meridian.toml:11:11: `threads` is 0, outside its range
  hint: use 1 to 64
error: meridian.toml:12:17: `client-subnet` must be true or false, not an integer
  hint: for example client-subnet = true"#
    );
}

#[test]
fn records_that_are_none() {
    assert_eq!(
        errors_after_base(
            "[dns.records]\n\"a b\" = \"A 10.0.0.1\"\nwww = [\"A\", 5, \"$INCLUDE x\", \"TXT a\\nb\"]\n"
        ),
        r#"error: meridian.toml:8:1: "a b" is not a name below the zone
  hint: give names without the zone, or "@" for the zone itself
error: meridian.toml:9:8: "www" has what is no record
  hint: write [TTL] TYPE DATA as in a zone file, for example "MX 10 mail.example.com."
error: meridian.toml:9:13: "www" has what is no record
  hint: write [TTL] TYPE DATA as in a zone file, for example "MX 10 mail.example.com."
error: meridian.toml:9:16: "www" has what is no record
  hint: write [TTL] TYPE DATA as in a zone file, for example "MX 10 mail.example.com."
error: meridian.toml:9:30: "www" has what is no record
  hint: write [TTL] TYPE DATA as in a zone file, for example "MX 10 mail.example.com.""#
    );
}

#[test]
fn a_record_whose_name_has_a_dot_stands_in_quotes() {
    assert_eq!(
        errors_after_base("[dns.records]\n_x._tcp.app = \"SRV 1 2 443 app\"\n"),
        r#"error: meridian.toml:8:1: "_x._tcp.app" has a dot, so it has to stand in quotes
  hint: write "_x._tcp.app" = …; without quotes TOML makes a table of it"#
    );
}

#[test]
fn no_region_is_called_global() {
    assert_eq!(
        errors_of_region_name("global"),
        r#"error: meridian.toml:3:8: "global" is where the names of services are, so no region can have it
  hint: use 1 to 40 characters of a-z, 0-9 and '-', with a letter or digit at both ends"#
    );
}
