//! What a client saw, it may replace; what it did not see, it must not.

use crate::support::{Region, put, request, seconds, stream, two};
use meridian_engine_kv::{Action, Precondition, PreconditionKind, Tags};

/// One row in two regions, then two concurrent writes: at a at 10 s, at b at 9 s by its clock. Gives
/// what a client saw at a before b's write arrived.
fn concurrently(a: &mut Region, b: &mut Region, at_a: Action, at_b: Action) -> String {
    a.run(seconds(1), &request("row", put(r#"{"n":0}"#)))
        .expect("a write");
    stream(a, b, seconds(1));
    stream(b, a, seconds(1));
    a.run(seconds(10), &request("row", at_a)).expect("a write");
    b.run(seconds(9), &request("row", at_b)).expect("a write");
    let seen = a.row("row").version.to_string();
    stream(b, a, seconds(11));
    seen
}

fn replace(region: &mut Region, seen: String) -> Result<(), String> {
    let mut replacing = request("row", put(r#"{"n":2}"#));
    replacing.preconditions = vec![Precondition {
        table: "t".into(),
        key: "row".into(),
        kind: PreconditionKind::IfMatch(Tags::Versions(vec![seen])),
    }];
    region.run(seconds(12), &replacing).map(|_| ())
}

fn increment(by: i64) -> Action {
    Action::Increment {
        field: "n".into(),
        by,
    }
}

#[test]
fn a_version_names_one_sum() {
    let (mut a, mut b) = two();
    let seen = concurrently(&mut a, &mut b, put(r#"{"n":1}"#), increment(5));
    assert_eq!(a.row("row").document, r#"{"n":6}"#);
    replace(&mut a, seen).expect_err("the increment was never seen");
    let seen = a.row("row").version.to_string();
    replace(&mut a, seen).expect("now it was");
}

#[test]
fn a_version_names_one_base() {
    let (mut a, mut b) = two();
    let seen = concurrently(
        &mut a,
        &mut b,
        increment(1),
        put(r#"{"owner":"b","n":100}"#),
    );
    assert_eq!(a.row("row").document, r#"{"owner":"b","n":101}"#);
    replace(&mut a, seen).expect_err("b's put was never seen");
}

#[test]
fn a_version_is_the_same_in_every_region() {
    let (mut a, mut b) = two();
    concurrently(&mut a, &mut b, increment(1), put(r#"{"n":100}"#));
    stream(&mut a, &mut b, seconds(11));
    assert_eq!(a.row("row"), b.row("row"));
}
