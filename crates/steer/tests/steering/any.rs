//! Any system at all: up to seven regions in any condition, any policy, any residency, any client.

use crate::support::{client_number, picture, set_status};
use meridian_health::Status;
use meridian_steer::{
    Area, By, Choice, Client, Clients, Effective, Geo, Picture, Policy, RegionSet, Registries,
    Residency, Route,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::net::{IpAddr, Ipv4Addr};

const NAMES: [&str; 7] = [
    "us-east-1",
    "eu-west-1",
    "ap-northeast-1",
    "sa-east-1",
    "af-south-1",
    "us-west-2",
    "eu-central-1",
];

#[derive(Clone, Debug)]
pub struct Any {
    pub route: Route,
    pub picture: Picture,
    pub effective: Effective,
    pub client: Client,
}

pub fn any_system() -> impl Strategy<Value = Any> {
    (1..=NAMES.len()).prop_flat_map(|regions| {
        let parts = (
            any_route(regions),
            any_picture(regions),
            any_effective(regions),
            any_client(),
        );
        parts.prop_map(|(route, picture, effective, client)| Any {
            route,
            picture,
            effective,
            client,
        })
    })
}

fn any_status() -> impl Strategy<Value = Status> {
    select(vec![
        Status::Unknown,
        Status::Healthy,
        Status::Degraded,
        Status::Unhealthy,
    ])
}

fn any_picture(regions: usize) -> impl Strategy<Value = Picture> {
    let conditions = (
        any_status(),
        any_status(),
        prop::bool::weighted(0.1),
        select(vec![0.0, 0.4, 1.0]),
    );
    let conditions = prop::collection::vec(conditions, regions);
    (conditions, 0..regions, any::<bool>()).prop_map(move |(conditions, own, has_quorum)| {
        let mut picture = picture(&NAMES[..regions]);
        (picture.own, picture.has_quorum) = (own, has_quorum);
        for (region, (verdict, seen, maintenance, share)) in conditions.into_iter().enumerate() {
            set_status(&mut picture, region, seen);
            let seen = picture.regions[region].health.seen;
            set_status(&mut picture, region, verdict);
            let region = &mut picture.regions[region];
            region.health.seen = seen;
            region.health.maintenance = maintenance;
            region.share = share;
        }
        picture
    })
}

fn any_effective(regions: usize) -> impl Strategy<Value = Effective> {
    let drained = prop::collection::vec(prop::bool::weighted(0.3), regions);
    drained.prop_map(|drained| Effective {
        drained: (0..drained.len())
            .filter(|region| drained[*region])
            .collect(),
        ignored: RegionSet::EMPTY,
        shares: Vec::new(),
    })
}

fn any_by() -> impl Strategy<Value = By> {
    select(vec![
        By::Latency,
        By::Geolocation,
        By::Geoproximity,
        By::Weighted,
        By::Failover,
        By::Multivalue,
    ])
}

fn any_clients() -> impl Strategy<Value = Clients> {
    select(Area::ALL.to_vec()).prop_map(Clients::Area)
}

/// A policy over some of the regions, a part of them in a group of their own.
fn any_policy(regions: usize) -> impl Strategy<Value = Policy> {
    let chosen = subsequence(NAMES[..regions].to_vec(), 1..=regions).prop_shuffle();
    let special = (
        0..5u32,
        -99..=99i8,
        prop::collection::vec(any_clients(), 0..2),
    );
    let special = prop::collection::vec(special, regions);
    (chosen, special, any_by(), any_by(), 0..=regions).prop_map(
        |(names, special, outer, inner, split)| {
            let choices = names
                .iter()
                .zip(special)
                .map(|(name, (weight, bias, clients))| {
                    Choice::region(name)
                        .weighing(weight)
                        .biased(bias)
                        .serving(&clients)
                });
            let mut choices: Vec<_> = choices.collect();
            let group = choices.split_off(split.min(choices.len()));
            if !group.is_empty() {
                choices.push(Choice::policy(Policy::new(inner, group)));
            }
            Policy::new(outer, choices)
        },
    )
}

fn any_residency(regions: usize) -> impl Strategy<Value = Residency> {
    let some = move || {
        let names = subsequence(NAMES[..regions].to_vec(), 0..=regions);
        names.prop_map(|names| {
            names
                .into_iter()
                .map(meridian_model::RegionName::new)
                .collect()
        })
    };
    let rules = prop::collection::vec((any_clients(), some()), 0..3);
    (rules, prop::option::of(some())).prop_map(|(rules, otherwise)| Residency { rules, otherwise })
}

fn any_route(regions: usize) -> impl Strategy<Value = Route> {
    (any_policy(regions), any_residency(regions), 1..4usize).prop_map(
        |(policy, residency, values_max)| Route {
            residency,
            values_max,
            ..Route::new("app", policy)
        },
    )
}

fn any_client() -> impl Strategy<Value = Client> {
    (any::<u64>(), any::<u32>()).prop_map(|(number, address)| Client {
        located: Registries::default().locate(IpAddr::V4(Ipv4Addr::from_bits(address))),
        ..client_number(number)
    })
}
