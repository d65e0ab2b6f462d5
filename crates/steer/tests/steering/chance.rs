//! Weights, shares and who stays where.

use crate::support::{TRIO, client_number, first, order, over, picture, set_status, table};
use meridian_health::Status;
use meridian_steer::{By, Choice, Client, Key, Picture, Policy, Route};
use std::net::{IpAddr, Ipv4Addr};

const WEIGHTS: [u32; 3] = [70, 20, 10];

fn weighted() -> Route {
    let choices = TRIO.iter().zip(WEIGHTS);
    let choices = choices.map(|(name, weight)| Choice::region(name).weighing(weight));
    Route::new("app", Policy::new(By::Weighted, choices.collect()))
}

/// How many clients go to each region.
fn counts(route: &Route, picture: &Picture, clients: impl Iterator<Item = Client>) -> [u32; 3] {
    let table = table(route, picture);
    let mut counts = [0; 3];
    clients.for_each(|client| counts[first(&table, &client)] += 1);
    counts
}

/// Within four and a half standard deviations of a binomial: by chance once in 150,000 times.
fn holds(count: u32, of: u32, share: f64) -> bool {
    let (of, count) = (f64::from(of), f64::from(count));
    (count - of * share).abs() <= 4.5 * (of * share * (1.0 - share)).sqrt()
}

#[test]
fn weights_hold_among_clients() {
    let counts = counts(&weighted(), &picture(&TRIO), (0..50_000).map(client_number));
    for (count, weight) in counts.into_iter().zip(WEIGHTS) {
        assert!(
            holds(count, 50_000, f64::from(weight) / 100.0),
            "{counts:?}"
        );
    }
}

/// A resolver that doesn't say for whom it asks gets answers by weight too, one after the other.
#[test]
fn weights_hold_for_each_resolver() {
    for resolver in 0..40 {
        let resolver = IpAddr::V4(Ipv4Addr::new(192, 0, 2, resolver));
        let clients = (0..4_000).map(|turn| Client {
            key: Key::of_turn(resolver, turn),
            ..client_number(0)
        });
        let counts = counts(&weighted(), &picture(&TRIO), clients);
        for (count, weight) in counts.into_iter().zip(WEIGHTS) {
            assert!(
                holds(count, 4_000, f64::from(weight) / 100.0),
                "{resolver}: {counts:?}"
            );
        }
    }
}

#[test]
fn the_rest_share_by_their_weights_when_a_region_goes() {
    let mut picture = picture(&TRIO);
    set_status(&mut picture, 0, Status::Unhealthy);
    let counts = counts(&weighted(), &picture, (0..30_000).map(client_number));
    assert_eq!(counts[0], 0);
    assert!(holds(counts[1], 30_000, 20.0 / 30.0), "{counts:?}");
}

#[test]
fn a_weight_of_nothing_is_a_last_resort() {
    let choices = vec![
        Choice::region("us-east-1").weighing(0),
        Choice::region("eu-west-1"),
    ];
    let route = Route::new("app", Policy::new(By::Weighted, choices));
    let mut picture = picture(&TRIO);
    let table_before = table(&route, &picture);
    assert!((0..1000).all(|number| first(&table_before, &client_number(number)) == 1));
    set_status(&mut picture, 1, Status::Unhealthy);
    let table_after = table(&route, &picture);
    assert!((0..1000).all(|number| first(&table_after, &client_number(number)) == 0));
}

/// Who isn't on the region that goes stays; and who was comes back to it.
#[test]
fn only_the_clients_of_a_lost_region_move() {
    let well = table(&weighted(), &picture(&TRIO));
    let mut broken = picture(&TRIO);
    set_status(&mut broken, 1, Status::Unhealthy);
    let broken = table(&weighted(), &broken);
    let mut moved = 0;
    for client in (0..5_000).map(client_number) {
        let (before, after) = (first(&well, &client), first(&broken, &client));
        assert!(before == 1 || before == after);
        moved += u32::from(before != after);
    }
    assert!(holds(moved, 5_000, 0.2), "{moved}");
}

/// Regions added, or written in another order, here or in the route, don't shuffle everybody.
#[test]
fn the_order_of_topology_and_route_is_nothing_to_clients() {
    let mut reversed = weighted();
    reversed.policy.choices.reverse();
    let names = |route: &Route, picture: &Picture, client: &Client| {
        let table = table(route, picture);
        picture.regions[first(&table, client)].name.clone()
    };
    let one = picture(&TRIO);
    let other = picture(&["sa-east-1", "ap-northeast-1", "eu-west-1", "us-east-1"]);
    for client in (0..2_000).map(client_number) {
        let here = names(&weighted(), &one, &client);
        assert_eq!(here, names(&weighted(), &other, &client));
        assert_eq!(here, names(&reversed, &one, &client));
    }
}

/// A region that takes a share of its clients: that share stays, the rest goes to the next; a larger
/// share keeps those and adds some.
#[test]
fn a_share_takes_the_same_clients_and_more() {
    let mut picture = picture(&TRIO);
    let mut taken_before: Vec<u64> = Vec::new();
    for share in [0.0, 0.1, 0.25, 0.5, 1.0] {
        picture.regions[0].share = share;
        let table = over(By::Failover, &picture);
        let taken: Vec<_> = (0..10_000)
            .filter(|number| first(&table, &client_number(*number)) == 0)
            .collect();
        assert!(
            holds(taken.len() as u32, 10_000, f64::from(share)),
            "{share}: {}",
            taken.len()
        );
        assert!(taken_before.iter().all(|number| taken.contains(number)));
        let passed = (0..10_000).find(|number| !taken.contains(number));
        if let Some(passed) = passed {
            assert_eq!(order(&table, &client_number(passed)), [1, 2, 0]);
        }
        taken_before = taken;
    }
}

/// Who is lucky with a weight is not for that lucky with a share.
#[test]
fn a_share_is_of_those_whom_the_weights_send() {
    let mut picture = picture(&TRIO);
    picture.regions[0].share = 0.5;
    let counts = counts(&weighted(), &picture, (0..20_000).map(client_number));
    assert!(holds(counts[0], 20_000, 0.35), "{counts:?}");
}

/// A full region is still better than a degraded one, and the last one takes everybody.
#[test]
fn a_share_gives_way_to_health() {
    let mut picture = picture(&TRIO);
    picture.regions[0].share = 0.0;
    set_status(&mut picture, 1, Status::Degraded);
    set_status(&mut picture, 2, Status::Unhealthy);
    let table = over(By::Failover, &picture);
    assert_eq!(order(&table, &client_number(1)), [0, 1, 2]);
}

#[test]
fn multivalue_gives_several_in_an_even_order() {
    let mut picture = picture(&["us-east-1", "eu-west-1", "ap-northeast-1", "sa-east-1"]);
    set_status(&mut picture, 3, Status::Degraded);
    let table = over(By::Multivalue, &picture);
    let mut firsts = [0; 4];
    for number in 0..9_000 {
        let answer = crate::support::answer(&table, &client_number(number));
        assert_eq!(answer.given().len(), 3);
        firsts[answer.first().unwrap()] += 1;
    }
    assert!(
        firsts[..3]
            .iter()
            .all(|count| holds(*count, 9_000, 1.0 / 3.0)),
        "{firsts:?}"
    );
    assert_eq!(firsts[3], 0);
}
