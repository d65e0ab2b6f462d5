//! Faults of datasets, with the exact text that a person sees.

use super::errors::{REGION, errors_after_base, errors_of};

#[test]
fn duplicates_among_regions_and_datasets() {
    assert_eq!(
        errors_of(
            "zone = \"a.test\"\n[[region]]\nname = \"us-east-1\"\napi = \"127.0.0.1:1\"\nlink = \"127.0.0.1:1\"\n[[region]]\nname = \"us-east-1\"\nlink = \"127.0.0.1:1\"\n[[dataset]]\nname = \"main\"\nengine = \"embedded\"\ntables = [\"a\"]\n[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n"
        ),
        r#"error: meridian.toml:5:8: address 127.0.0.1:1 is used twice, first on line 4
  hint: every `api` and every `link` needs an address and port of its own
error: meridian.toml:7:8: region "us-east-1" is declared twice, first on line 3
  hint: give each region its own name
error: meridian.toml:8:8: address 127.0.0.1:1 is used twice, first on line 4
  hint: every `api` and every `link` needs an address and port of its own
error: meridian.toml:14:8: dataset "main" is declared twice, first on line 10
  hint: give each dataset its own name"#
    );
}

#[test]
fn engines_this_build_lacks() {
    assert_eq!(
        errors_of(&format!(
            "zone = \"a.test\"\n{REGION}[[dataset]]\nname = \"a\"\nengine = \"redis\"\n[[dataset]]\nname = \"b\"\nengine = \"embeded\"\ntables = [\"t\"]\n[[dataset]]\nname = \"c\"\ntables = [\"u\"]\n"
        )),
        r#"error: meridian.toml:6:10: this build does not support engine "redis"
  hint: use engine = "embedded", which needs nothing else, or "postgres"
error: meridian.toml:9:10: unknown engine "embeded"
  hint: did you mean "embedded"?
error: meridian.toml:11:1: [[dataset]] has no `engine`
  hint: add engine = "embedded""#
    );
}

#[test]
fn strategies_this_build_lacks() {
    assert_eq!(
        errors_after_base(
            "strategy = \"newest\"\n[dataset.table.orders]\nstrategy = \"last-write-wins\"\n"
        ),
        r#"error: meridian.toml:7:12: this build has no strategy "newest"
  hint: the strategies are last-writer-wins, register-per-field, add-wins-set, siblings
error: meridian.toml:9:12: this build has no strategy "last-write-wins"
  hint: did you mean "last-writer-wins"?"#
    );
}

#[test]
fn tables_in_two_datasets() {
    assert_eq!(
        errors_after_base(
            "tables = [\"inv_*\", \"inv_1\"]\n[[dataset]]\nname = \"b\"\nengine = \"embedded\"\ntables = [\"in*\"]\n[[dataset]]\nname = \"c\"\nengine = \"embedded\"\n[[dataset]]\nname = \"d\"\nengine = \"embedded\"\n[dataset.table.inv_2]\n[[dataset]]\nname = \"e\"\nengine = \"embedded\"\ntables = []\n"
        ),
        r#"error: meridian.toml:7:20: "inv_1" overlaps "inv_*" on line 7
  hint: name each table once, in one dataset
error: meridian.toml:11:11: "in*" overlaps "inv_*" on line 7
  hint: name each table once, in one dataset
error: meridian.toml:15:1: a second dataset without `tables`, the first is on line 12
  hint: only one can take the tables that no other names: add `tables` to the others
error: meridian.toml:18:16: table "inv_2" has rules in a dataset that does not take it
  hint: add it to this dataset's `tables`, or move the rules to the dataset that takes it
error: meridian.toml:22:10: `tables` is empty, so the dataset would take no table
  hint: name tables, or leave `tables` out to take every table that no other dataset names"#
    );
}

#[test]
fn limits_out_of_range() {
    assert_eq!(
        errors_after_base(
            "[dataset.limits]\ndocument-bytes-max = \"9MiB\"\nkey-bytes-max = -1\ntransaction-bytes-max = \"4 parsecs\"\nlog-bytes-max = \"99999999999GiB\"\nconflicts-max = 0\nlog-reserve-bytes = 1.5\n"
        ),
        r#"error: meridian.toml:8:22: `document-bytes-max` is 9MiB, outside its range
  hint: use 1B to 8MiB
error: meridian.toml:9:17: `key-bytes-max` must not be negative or beyond 64 bits
  hint: for example key-bytes-max = 1024
error: meridian.toml:10:25: `transaction-bytes-max`: "4 parsecs" is not a size
  hint: write a whole number and its unit, for example transaction-bytes-max = "4MiB"
error: meridian.toml:11:17: `log-bytes-max`: "99999999999GiB" is too large for a size
  hint: write a whole number and its unit, for example log-bytes-max = "4GiB"
error: meridian.toml:12:17: `conflicts-max` is 0, outside its range
  hint: use 1 to 1000000000
error: meridian.toml:13:21: `log-reserve-bytes` must be a size, not a float
  hint: for example log-reserve-bytes = "256MiB""#
    );
}

#[test]
fn limits_that_leave_no_room() {
    assert_eq!(
        errors_after_base(
            "[dataset.limits]\ntransaction-bytes-max = \"1KiB\"\nlog-bytes-max = \"256MiB\"\n"
        ),
        r#"error: meridian.toml:8:25: `transaction-bytes-max` (1KiB) is below `document-bytes-max` (1MiB)
  hint: raise `transaction-bytes-max` or lower `document-bytes-max`
error: meridian.toml:9:17: `log-bytes-max` (256MiB) leaves no room for a transaction (1KiB) beside `log-reserve-bytes` (256MiB)
  hint: raise `log-bytes-max` or lower `log-reserve-bytes`"#
    );
}

#[test]
fn a_reserve_below_a_transaction() {
    assert_eq!(
        errors_after_base("[dataset.limits]\nlog-reserve-bytes = \"1MiB\"\n"),
        r#"error: meridian.toml:8:21: `log-reserve-bytes` (1MiB) is below `transaction-bytes-max` (4MiB)
  hint: raise `log-reserve-bytes` or lower `transaction-bytes-max`"#
    );
}

#[test]
fn what_can_not_become_of_dead_letters() {
    assert_eq!(
        errors_of(&format!(
            "zone = \"a.test\"\n{REGION}[[dataset]]\nname = \"a\"\nengine = \"embedded\"\ndead-letters = \"burn\"\n"
        )),
        r#"error: meridian.toml:7:16: "burn" is not what can become of a dead letter
  hint: use dead-letters = "set-aside", or "stop" to stop applying at it"#
    );
}

#[test]
fn an_eviction_that_would_follow_a_restart() {
    assert_eq!(
        errors_after_base("[dataset.limits]\nevict-after = \"3s\"\n"),
        r#"error: meridian.toml:8:15: `evict-after` is too short: a restart would be taken for a loss
  hint: give at least 10s; days are usual, since coming back means copying everything"#
    );
}
