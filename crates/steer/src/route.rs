//! A steered name: its policy, what it needs, and where its data may go.

use crate::policy::{Clients, Policy};
use meridian_health::Needs;
use meridian_model::RegionName;

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

/// Which regions may serve whom. It goes before everything else: where it leaves only regions that are
/// down, the answer is those; where it leaves none, there is no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residency {
    /// Clients and the regions that may serve them; the first rule that fits counts.
    pub rules: Vec<(Clients, Vec<RegionName>)>,
    /// Which may serve everybody else, those whose place isn't known among them; all without it.
    pub otherwise: Option<Vec<RegionName>>,
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
