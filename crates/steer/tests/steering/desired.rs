//! Drains and shifts: rows, their merging, what is refused, what is ignored.

use crate::support::{TRIO, client_number, first, order, picture, set_status};
use meridian_health::Status;
use meridian_model::{Hlc, Micros, OriginId, Version};
use meridian_steer::{
    By, Desired, Limits, Picture, Policy, Refused, RegionSet, Route, Stage, Subject, Table, Want,
    Wish,
};
use proptest::prelude::*;

fn route() -> Route {
    Route::new("app", Policy::over(By::Failover, &TRIO))
}

fn version(number: u64) -> Version {
    Version {
        hlc: Hlc::from_raw(number),
        origin: OriginId(1),
    }
}

fn wish(region: &str, want: Want, number: u64) -> Wish {
    Wish {
        subject: Subject::region(region),
        want,
        before: Want::AsUsual,
        version: version(number),
        at: Micros(number),
        who: "ada".to_owned(),
        why: "new disks".to_owned(),
    }
}

fn staged(desired: &Desired, region: &str, want: Want) -> Stage {
    let mut stage = Stage::default();
    stage.want(desired, Subject::region(region), want);
    stage
}

/// Stages, checks and applies one change.
fn change(
    desired: &mut Desired,
    picture: &Picture,
    region: &str,
    want: Want,
    number: u64,
) -> Result<(), Refused> {
    let stage = staged(desired, region, want);
    let checked = stage.check(desired, picture, &[route()], Limits::default(), false)?;
    for wish in checked.apply(version(number), Micros(number), "ada", "new disks") {
        assert!(desired.merge(wish));
    }
    Ok(())
}

fn firsts(desired: &Desired, picture: &Picture) -> Vec<usize> {
    let route = route();
    let table = Table::compile(&route, picture, &desired.effective(&route, picture)).unwrap();
    order(&table, &client_number(3))
}

#[test]
fn a_drained_region_is_left_alone_until_it_is_undone() {
    let (mut desired, picture) = (Desired::default(), picture(&TRIO));
    change(&mut desired, &picture, "us-east-1", Want::Drained, 1).unwrap();
    assert_eq!(firsts(&desired, &picture), [1, 2, 0]);
    let stage = Stage::undoing(&desired, version(1));
    let difference = &stage.diff(&desired)[0];
    assert_eq!(
        (difference.from, difference.to),
        (Want::Drained, Want::AsUsual)
    );
    let undone = stage
        .check(&desired, &picture, &[route()], Limits::default(), false)
        .unwrap();
    undone
        .apply(version(2), Micros(2), "bob", "done")
        .into_iter()
        .for_each(|wish| {
            desired.merge(wish);
        });
    assert_eq!(firsts(&desired, &picture), [0, 1, 2]);
    assert!(
        Stage::undoing(&desired, version(1))
            .diff(&desired)
            .is_empty(),
        "undone once"
    );
    assert_eq!(
        desired.wish(&Subject::region("us-east-1")).unwrap().who,
        "bob"
    );
}

#[test]
fn a_drained_region_serves_before_one_that_is_down() {
    let (mut desired, mut picture) = (Desired::default(), picture(&TRIO));
    change(&mut desired, &picture, "us-east-1", Want::Drained, 1).unwrap();
    set_status(&mut picture, 1, Status::Unhealthy);
    set_status(&mut picture, 2, Status::Unhealthy);
    assert_eq!(firsts(&desired, &picture), [0, 1, 2]);
}

#[test]
fn the_last_healthy_region_cannot_be_drained() {
    let (mut desired, mut picture) = (Desired::default(), picture(&TRIO));
    change(&mut desired, &picture, "us-east-1", Want::Drained, 1).unwrap();
    set_status(&mut picture, 1, Status::Degraded);
    let stage = staged(&desired, "ap-northeast-1", Want::Drained);
    for force in [false, true] {
        let refused = stage
            .check(&desired, &picture, &[route()], Limits::default(), force)
            .unwrap_err();
        assert!(
            matches!(&refused, Refused::LastHealthy { region, .. } if region.as_str() == "ap-northeast-1"),
            "{refused}"
        );
    }
}

/// Two people drain two of two regions at once, each unaware of the other: the newer one is ignored,
/// wherever the rows come first.
#[test]
fn of_drains_that_together_leave_nothing_the_newest_is_ignored() {
    let mut picture = picture(&TRIO);
    set_status(&mut picture, 2, Status::Unhealthy);
    let drains = [
        wish("us-east-1", Want::Drained, 5),
        wish("eu-west-1", Want::Drained, 6),
    ];
    for order in [[0, 1], [1, 0]] {
        let mut desired = Desired::default();
        order.into_iter().for_each(|index: usize| {
            desired.merge(drains[index].clone());
        });
        let effective = desired.effective(&route(), &picture);
        assert_eq!(effective.ignored, RegionSet::EMPTY.with(1));
        assert_eq!(firsts(&desired, &picture), [1, 0, 2]);
    }
}

#[test]
fn too_much_at_once_needs_force() {
    let (desired, mut picture) = (Desired::default(), picture(&TRIO));
    picture.regions[0].capacity = 4.0;
    let stage = staged(&desired, "us-east-1", Want::Drained);
    let refused = stage
        .check(&desired, &picture, &[route()], Limits::default(), false)
        .unwrap_err();
    let told = refused.to_string();
    assert!(
        told.starts_with("67 % of the capacity in use of route \"app\""),
        "{told}"
    );
    assert!(
        stage
            .check(&desired, &picture, &[route()], Limits::default(), true)
            .is_ok()
    );
    // A part of it is little enough.
    let shift = staged(&desired, "us-east-1", Want::Percent(50));
    assert!(
        shift
            .check(&desired, &picture, &[route()], Limits::default(), false)
            .is_ok()
    );
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let (mut desired, picture) = (Desired::default(), picture(&TRIO));
    let stage = staged(&desired, "us-east-1", Want::Drained);
    desired.merge(Wish {
        who: "bob".to_owned(),
        ..wish("us-east-1", Want::Percent(10), 3)
    });
    let refused = stage
        .check(&desired, &picture, &[route()], Limits::default(), true)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "bob has changed us-east-1 meanwhile: new disks"
    );
    let unknown = staged(&desired, "eu-west-9", Want::Drained);
    let refused = unknown.check(&desired, &picture, &[route()], Limits::default(), true);
    assert!(matches!(refused, Err(Refused::UnknownRegion(_))));
    let nothing = staged(&desired, "eu-west-1", Want::AsUsual);
    let refused = nothing.check(&desired, &picture, &[route()], Limits::default(), true);
    assert_eq!(refused, Err(Refused::Nothing));
    let more = staged(&desired, "eu-west-1", Want::Percent(101));
    let refused = more.check(&desired, &picture, &[route()], Limits::default(), true);
    assert_eq!(refused, Err(Refused::MoreThanAll(101)));
}

#[test]
fn a_shift_of_one_route_is_for_it_alone() {
    let picture = picture(&TRIO);
    let mut desired = Desired::default();
    let mut shift = wish("us-east-1", Want::Percent(25), 1);
    shift.subject.route = Some("app".to_owned());
    desired.merge(shift);
    let taken = |route: &Route| {
        let table = Table::compile(route, &picture, &desired.effective(route, &picture)).unwrap();
        (0..4_000)
            .filter(|number| first(&table, &client_number(*number)) == 0)
            .count()
    };
    assert!((900..1_100).contains(&taken(&route())));
    let other = Route {
        name: "other".to_owned(),
        ..route()
    };
    assert_eq!(taken(&other), 4_000);
}

#[test]
fn a_row_reads_back_as_it_was_written() {
    let row = wish("us-east-1", Want::Percent(25), 7);
    let json = serde_json::to_string(&row).unwrap();
    let expected = r#"{"subject":{"region":"us-east-1","route":null},"want":{"percent":25},"before":"as-usual","version":{"hlc":7,"origin":1},"at":7,"who":"ada","why":"new disks"}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Wish>(&json).unwrap(), row);
    assert_eq!(row.subject.key(), "us-east-1");
}

fn any_wish() -> impl Strategy<Value = Wish> {
    (0..3usize, 0..4u8, 1..20u64).prop_map(|(region, want, number)| {
        let want = match want {
            0 => Want::AsUsual,
            1 => Want::Percent(number as u8),
            _ => Want::Drained,
        };
        // A version is one write's: what it says follows from it.
        wish(
            TRIO[region],
            want,
            number * 12 + region as u64 * 4 + u64::from(number as u8 % 4),
        )
    })
}

proptest! {
    #[test]
    fn rows_merge_to_the_same_in_any_order_and_twice(
        wishes in prop::collection::vec(any_wish(), 0..12),
        seed in any::<u64>(),
    ) {
        let mut seen = std::collections::BTreeMap::new();
        let wishes: Vec<_> = wishes.into_iter().filter(|wish| seen.insert(wish.version, ()).is_none()).collect();
        let mut shuffled = wishes.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let merged = |wishes: &[Wish]| {
            let mut desired = Desired::default();
            wishes.iter().for_each(|wish| {
                desired.merge(wish.clone());
            });
            desired
        };
        let twice = [shuffled.clone(), wishes.clone()].concat();
        prop_assert_eq!(merged(&wishes), merged(&shuffled));
        prop_assert_eq!(merged(&wishes), merged(&twice));
    }

    /// Whatever is drained: a healthy region is left, if there was one.
    #[test]
    fn drains_leave_a_healthy_region(
        wishes in prop::collection::vec(any_wish(), 0..12),
        down in prop::collection::vec(any::<bool>(), 3),
    ) {
        let mut picture = picture(&TRIO);
        for (region, down) in down.iter().enumerate() {
            if *down {
                set_status(&mut picture, region, Status::Unhealthy);
            }
        }
        let mut desired = Desired::default();
        wishes.into_iter().for_each(|wish| {
            desired.merge(wish);
        });
        let effective = desired.effective(&route(), &picture);
        let healthy: RegionSet = (0..3).filter(|region| !down[*region]).collect();
        let left = healthy.without(effective.drained);
        prop_assert_eq!(left.is_empty(), healthy.is_empty());
    }
}

/// A share of the route's own doesn't send clients to a region that is drained.
#[test]
fn of_a_wish_for_all_routes_and_one_for_the_route_the_stricter_counts() {
    use Want::{AsUsual, Drained, Percent};
    for (all, own, drained, share) in [
        (Drained, Percent(100), true, 1.0),
        (Drained, Percent(25), true, 1.0),
        (Percent(50), Drained, true, 1.0),
        (Percent(50), Percent(25), false, 0.25),
        (Percent(25), Percent(50), false, 0.25),
        (Drained, AsUsual, true, 1.0),
        (AsUsual, Percent(25), false, 0.25),
        (AsUsual, AsUsual, false, 1.0),
    ] {
        let mut of_route = wish("us-east-1", own, 2);
        of_route.subject.route = Some("app".to_owned());
        let mut desired = Desired::default();
        desired.merge(wish("us-east-1", all, 1));
        desired.merge(of_route);
        let effective = desired.effective(&route(), &picture(&TRIO));
        let found = (effective.drained.contains(0), effective.shares[0]);
        assert_eq!(
            found,
            (drained, share),
            "{all} for all, {own} for the route"
        );
    }
}
