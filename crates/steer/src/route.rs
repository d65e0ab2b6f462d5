//! A steered name: its policy, what it needs, and where its data may go.

use crate::ramp::Steps;
use crate::spill::Fullness;
use crate::stage::Limits;
use meridian_health::Needs;
use meridian_model::RegionName;
use meridian_topology::{self as topology, Choice, Policy, Residency, Topology};

/// How a name is steered.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The name.
    pub name: String,
    /// How regions are chosen.
    pub policy: Policy,
    /// Which services it needs in a region.
    pub needs: Needs,
    /// Where it may be answered from.
    pub residency: Residency,
    /// At most so many regions are given at once where the policy is multivalue.
    pub values_max: usize,
}

impl Route {
    /// A name with a policy, usual needs and no residency.
    #[must_use]
    pub fn new(name: &str, policy: Policy) -> Self {
        Self {
            name: name.to_owned(),
            policy,
            needs: Needs::default(),
            residency: Residency::default(),
            values_max: 8,
        }
    }

    /// A route as the topology has it. One that names no regions chooses among all that hold tables.
    #[must_use]
    pub fn of(route: &topology::Route, topology: &Topology) -> Self {
        let mut policy = route.policy.clone();
        if policy.choices.is_empty() {
            let regions = topology.regions.iter().filter(|region| !region.witness);
            policy.choices = regions
                .map(|region| Choice::region(region.name.as_str()))
                .collect();
        }
        Self {
            name: route.name.clone(),
            policy,
            needs: route.needs,
            residency: route.residency.clone(),
            values_max: route.values_max,
        }
    }
}

impl From<&topology::Ramp> for Steps {
    fn from(ramp: &topology::Ramp) -> Self {
        Self {
            shares: ramp
                .percents
                .iter()
                .map(|percent| share(*percent))
                .collect(),
            each: ramp.each,
        }
    }
}

impl Fullness {
    /// That of a route; `None` where its regions keep their clients however many they are.
    #[must_use]
    pub fn of(route: &topology::Route) -> Option<Self> {
        route.full_percent.map(|percent| Self {
            full: share(percent),
            ..Self::default()
        })
    }
}

impl From<&topology::Steering> for Limits {
    fn from(steering: &topology::Steering) -> Self {
        Self {
            leaving_max: share(steering.leaving_percent_max),
        }
    }
}

fn share(percent: u8) -> f32 {
    f32::from(percent) / 100.0
}

/// What is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// It names a region that isn't there.
    #[error("route {route:?} names the region {region}, which is not in the topology")]
    UnknownRegion {
        /// The route.
        route: String,
        /// The region.
        region: RegionName,
    },
    /// A region is in its policy twice.
    #[error("route {route:?} has the region {region} in two places of its policy")]
    RegionTwice {
        /// The route.
        route: String,
        /// The region.
        region: RegionName,
    },
    /// Nothing to choose from.
    #[error("route {route:?} has a policy without choices")]
    NoChoices {
        /// The route.
        route: String,
    },
    /// A bias that has no meaning.
    #[error("route {route:?} has a bias of {bias}; it may be -99 to 99")]
    Bias {
        /// The route.
        route: String,
        /// The bias.
        bias: i8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn a_route_of_the_topology_means_the_same_here() {
        let text = r#"
            zone = "a.test"
            [[region]]
            name = "us-east-1"
            [[region]]
            name = "eu-west-1"
            [[region]]
            name = "eu-west-3"
            witness = true
            [[dataset]]
            name = "main"
            engine = "embedded"
            [route.shop]
            policy = "multivalue"
            values-max = 2
            needs = ["api"]
            useful = []
            full-percent = 60
            ramp = { percents = [20, 50], each = "3s" }
            [steering]
            leaving-percent-max = 34
        "#;
        let topology = Topology::parse(text, Path::new("meridian.toml")).unwrap();
        let written = &topology.routes[0];
        let route = Route::of(written, &topology);
        let names: Vec<_> = route
            .policy
            .regions()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["us-east-1", "eu-west-1"], "no witness");
        assert_eq!(route.values_max, 2);
        assert_eq!(
            route.needs,
            Needs::of(&[meridian_health::Service::Api], &[])
        );
        let steps = Steps::from(&written.ramp);
        assert_eq!(
            (steps.shares, steps.each),
            (vec![0.2, 0.5], Duration::from_secs(3))
        );
        assert_eq!(Fullness::of(written).unwrap().full, 0.6);
        assert_eq!(Limits::from(&topology.steering).leaving_max, 0.34);
    }

    #[test]
    fn the_defaults_are_the_same_here_and_in_the_topology() {
        let route = topology::Route::app();
        assert_eq!(Steps::from(&route.ramp), Steps::default());
        assert_eq!(Fullness::of(&route), Some(Fullness::default()));
        assert_eq!(
            Limits::from(&topology::Steering::default()),
            Limits::default()
        );
        assert_eq!(
            route.values_max,
            Route::new("app", route.policy.clone()).values_max
        );
    }
}
