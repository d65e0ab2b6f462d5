//! Tables that stand still at damaged rows, in several regions at once.

use crate::support::{Region, request, seconds, stream, two};
use meridian_engine_kv::Action;
use meridian_engine_kv::damage::{Damage, damage};
use meridian_model::{Fetched, RowName, Vector};
use meridian_replicate::compare::{Mended, Mending};

fn named(key: &str) -> RowName {
    RowName {
        table: "t".to_owned(),
        key: key.to_owned(),
    }
}

fn add(region: &mut Region, at: u64, key: &str) {
    let by = Action::Increment {
        field: "n".into(),
        by: 1,
    };
    region.run(seconds(at), &request(key, by)).expect("a write");
}

fn strike(region: &Region, key: &str) {
    assert!(damage(&region.store, &named(key), &Damage::Flip).expect("it is written"));
}

/// What `sponsor` gives of a row to one that holds `covering`, its own tables standing still.
fn given(sponsor: &mut Region, key: &str, covering: &Vector) -> Option<Fetched> {
    let standstill = sponsor.machine().standstill()?;
    if !standstill.as_of.covers(covering) {
        return None;
    }
    let snapshot = sponsor.machine().engine().reader().snapshot();
    let rows = snapshot.ahead(&[named(key)], |each| standstill.follow(each));
    Some(Fetched {
        as_of: standstill.as_of,
        rows: rows.ok()?,
    })
}

fn mend(region: &mut Region, key: &str, mut fetched: Fetched) {
    let snapshot = region.machine().engine().reader().snapshot();
    let copies = snapshot.look(&[named(key)]).expect("readable tables");
    let mending = Mending {
        name: named(key),
        expected: copies[0].state,
        as_of: fetched.as_of,
        ahead: true,
        row: fetched.rows.pop().expect("the row"),
    };
    let unblocked = region
        .machine()
        .unblock(|tables| Ok(tables.mend(&mending)? == Mended::Staged));
    unblocked.expect("it waits for this row");
}

fn catch_up(region: &mut Region) {
    let now = region.now(seconds(5));
    while region.machine().is_catching_up() {
        region.machine().catch_up(now);
    }
}

#[test]
fn regions_that_stand_still_at_different_rows_mend_each_other() {
    let (mut a, mut b) = two();
    for key in ["x", "y"] {
        add(&mut a, 1, key);
    }
    stream(&mut a, &mut b, seconds(2));
    stream(&mut b, &mut a, seconds(2));
    strike(&a, "x");
    strike(&b, "y");
    // Each has applied what the other has not, and stands at what the other has applied.
    for (region, own, other) in [(&mut a, "v", "y"), (&mut b, "w", "x")] {
        add(region, 3, own);
        add(region, 3, other);
    }
    stream(&mut a, &mut b, seconds(4));
    stream(&mut b, &mut a, seconds(4));
    assert_eq!(a.machine().blocked_by(), Some(&named("x")));
    assert_eq!(b.machine().blocked_by(), Some(&named("y")));
    let covering = a.machine().marks().vector();
    assert_eq!(given(&mut b, "y", &covering), None, "it is damaged there");
    let x = given(&mut b, "x", &covering).expect("a good copy");
    mend(&mut a, "x", x);
    let covering = b.machine().marks().vector();
    catch_up(&mut a);
    assert!(a.machine().follows());
    let snapshot = a.machine().engine().reader().snapshot();
    let as_of = a.machine().applied();
    assert!(as_of.covers(&covering));
    let rows = snapshot.fetch(&[named("y")], usize::MAX).expect("the row");
    mend(&mut b, "y", Fetched { as_of, rows });
    catch_up(&mut b);
    for key in ["x", "y", "v", "w"] {
        assert_eq!(a.row(key).document, b.row(key).document);
        let expected = if "xy".contains(key) { 2 } else { 1 };
        assert_eq!(a.row(key).document, format!(r#"{{"n":{expected}}}"#));
        assert_eq!(a.row(key).version, b.row(key).version);
    }
}
