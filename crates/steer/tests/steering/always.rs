//! What holds of every answer, stated a second time over what went in.

use crate::any::{Any, any_system};
use crate::support::{answer, client_number, first, order, over, picture, set_status, table};
use meridian_health::{PerService, Service, Status};
use meridian_steer::{Answer, By, Clients, Policy, RegionPicture, RegionSet, Route, Table, Tier};
use proptest::prelude::*;

impl Any {
    fn decide(&self) -> Answer {
        let table = Table::compile(&self.route, &self.picture, &self.effective).unwrap();
        answer(&table, &self.client)
    }

    /// Whether residency lets the client go there, and the policy knows the region.
    fn may_serve(&self, region: &RegionPicture) -> bool {
        let area = self
            .client
            .located
            .map(|located| Clients::Area(located.area));
        let residency = &self.route.residency;
        let rule = residency
            .rules
            .iter()
            .find(|(clients, _)| Some(*clients) == area);
        let allowed = match (rule, &residency.otherwise) {
            (Some((_, regions)), _) => regions.contains(&region.name),
            (None, Some(regions)) => regions.contains(&region.name),
            (None, None) => true,
        };
        allowed && self.route.policy.regions().contains(&region.name)
    }

    fn status(&self, region: &RegionPicture) -> Status {
        let health = &region.health;
        let believed = if self.picture.has_quorum {
            health.verdict
        } else {
            health.seen
        };
        believed[Service::Database].unwrap()
    }

    /// How bad it is to be sent there, from 0.
    fn badness(&self, index: usize) -> usize {
        let region = &self.picture.regions[index];
        let drained = self.effective.drained.contains(index) || region.health.maintenance;
        match self.status(region) {
            Status::Unhealthy => 4,
            _ if drained => 3,
            _ if !self.picture.has_quorum && index == self.picture.own => 0,
            Status::Healthy => 1,
            _ => 2,
        }
    }

    fn is_out_of_reach(&self, index: usize) -> bool {
        let is_peer = index != self.picture.own;
        !self.picture.has_quorum && is_peer && self.badness(index) == 4
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn everybody_whom_residency_allows_a_region_gets_an_answer(any in any_system()) {
        let regions = any.picture.regions.iter().enumerate();
        let allowed: Vec<_> = regions
            .filter(|(_, region)| any.may_serve(region))
            .map(|(index, _)| index)
            .collect();
        let mut expected: Vec<_> = allowed
            .iter()
            .copied()
            .filter(|index| !any.is_out_of_reach(*index))
            .collect();
        if expected.is_empty() {
            expected = allowed;
        }
        let answer = any.decide();
        let mut named: Vec<_> = answer.entries().iter().map(|entry| usize::from(entry.region)).collect();
        named.sort_unstable();
        prop_assert_eq!(&named, &expected);
        prop_assert_eq!(answer.first().is_none(), expected.is_empty());
    }

    #[test]
    fn nobody_is_sent_to_a_worse_region_while_a_better_one_is_there(any in any_system()) {
        let answer = any.decide();
        let badness = answer.entries().iter().map(|entry| any.badness(usize::from(entry.region)));
        let badness: Vec<_> = badness.collect();
        prop_assert!(badness.is_sorted(), "{:?}", badness);
        for (entry, badness) in answer.entries().iter().zip(badness) {
            prop_assert_eq!(entry.tier as usize, badness);
        }
    }

    #[test]
    fn what_is_given_is_the_best_and_of_one_kind(any in any_system()) {
        let answer = any.decide();
        let given = answer.given();
        prop_assert_eq!(given, &answer.entries()[..given.len()]);
        prop_assert!(given.iter().all(|entry| (entry.tier, entry.passed) == (given[0].tier, given[0].passed)));
        let most = if any.route.policy.by == By::Multivalue { any.route.values_max } else { 1 };
        prop_assert!(given.len() <= most && (given.is_empty() == answer.entries().is_empty()));
    }

    #[test]
    fn the_same_client_gets_the_same_answer(any in any_system()) {
        let (once, again) = (any.decide(), any.decide());
        prop_assert_eq!(once.entries(), again.entries());
    }

    /// A region without a majority puts itself first, if it is up and may.
    #[test]
    fn a_region_that_hears_no_majority_puts_itself_first(mut any in any_system()) {
        any.picture.has_quorum = false;
        let own = any.picture.own;
        let others = any.effective.drained.without(RegionSet::EMPTY.with(own));
        any.effective.drained = others;
        let region = &mut any.picture.regions[own];
        region.health.maintenance = false;
        region.health.seen = PerService::with(|_| Some(Status::Degraded));
        let may = any.may_serve(&any.picture.regions[own]);
        prop_assert_eq!(any.decide().first() == Some(own), may);
    }

    /// A client that one region doesn't take goes to another that is as well off, if there is one.
    #[test]
    fn the_passed_stand_behind_their_equals(any in any_system()) {
        let answer = any.decide();
        for pair in answer.entries().windows(2) {
            prop_assert!((pair[0].tier, pair[0].passed) <= (pair[1].tier, pair[1].passed));
        }
    }
}

#[test]
fn the_survivor_of_a_double_loss_answers_with_itself_alone() {
    for own in 0..3 {
        for by in [
            By::Latency,
            By::Geoproximity,
            By::Weighted,
            By::Failover,
            By::Multivalue,
        ] {
            let mut picture = picture(&["us-east-1", "eu-west-1", "ap-northeast-1"]);
            (picture.own, picture.has_quorum) = (own, false);
            for peer in (0..3).filter(|peer| *peer != own) {
                // The verdicts are from before; only its own eyes tell.
                let old = picture.regions[peer].health.verdict;
                set_status(&mut picture, peer, Status::Unhealthy);
                picture.regions[peer].health.verdict = old;
            }
            let table = over(by, &picture);
            for number in 0..50 {
                assert_eq!(order(&table, &client_number(number)), [own]);
            }
        }
    }
}

#[test]
fn with_everything_down_the_answer_is_as_ever() {
    let mut picture = picture(&["us-east-1", "eu-west-1", "ap-northeast-1"]);
    let before = over(By::Failover, &picture);
    (0..3).for_each(|region| set_status(&mut picture, region, Status::Unhealthy));
    let after = over(By::Failover, &picture);
    let client = client_number(1);
    assert_eq!(order(&before, &client), order(&after, &client));
    assert!(
        answer(&after, &client)
            .entries()
            .iter()
            .all(|entry| entry.tier == Tier::Down)
    );
}

/// A failed service takes along only the routes that need it.
#[test]
fn a_failed_service_is_routed_around_by_those_who_need_it() {
    let mut picture = picture(&["us-east-1", "eu-west-1"]);
    picture.regions[0].health.verdict[Service::Database] = Some(Status::Unhealthy);
    let shop = Route::new(
        "shop",
        Policy::over(By::Failover, &["us-east-1", "eu-west-1"]),
    );
    let needs = meridian_health::Needs::of(&[Service::Api, Service::Storage], &[]);
    let downloads = Route {
        needs,
        ..shop.clone()
    };
    let client = client_number(7);
    assert_eq!(first(&table(&shop, &picture), &client), 1);
    assert_eq!(first(&table(&downloads, &picture), &client), 0);
}
