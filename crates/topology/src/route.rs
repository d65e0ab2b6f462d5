//! `[route.NAME]`: a service that clients ask for by name, and how they are spread over the regions.

use crate::policy::{By, Clients, Policy};
use meridian_health::Needs;
use meridian_model::RegionName;
use std::time::Duration;

/// The name under which every region's own names are: `SERVICE.global.ZONE` is the steered one.
pub const GLOBAL: &str = "global";
/// The label of the zone's name servers, `ns.REGION.ZONE`, which no service can have.
pub const NAME_SERVER: &str = "ns";

/// How a service is steered.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name: a DNS label.
    pub name: String,
    /// How regions are chosen. Without choices: among all that hold tables.
    pub policy: Policy,
    /// Which services of a region it needs.
    pub needs: Needs,
    /// Where it may be answered from.
    pub residency: Residency,
    /// At most so many regions are given at once where the policy is multivalue.
    pub values_max: usize,
    /// Whether the same client gets the same region where chance decides.
    pub sticky: bool,
    /// How a region that was out takes its clients again.
    pub ramp: Ramp,
    /// The percentage of its capacity from which a region passes clients on; `None`: never.
    pub full_percent: Option<u8>,
    /// For how long its answers may be kept, if not as long as the zone's.
    pub ttl: Option<Duration>,
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

/// The steps in which a region comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramp {
    /// The percentage of its clients that it takes in each, before it takes all.
    pub percents: Vec<u8>,
    /// How long it has to be well in each.
    pub each: Duration,
}

impl Default for Ramp {
    fn default() -> Self {
        Self {
            percents: vec![10, 25, 50],
            each: Duration::from_secs(5),
        }
    }
}

/// What holds for drains and shifts of all routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    /// How much of the capacity in use may be left at once without force, in percent.
    pub leaving_percent_max: u8,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            leaving_percent_max: 50,
        }
    }
}

impl Route {
    /// A service of this name that goes to the nearest healthy region.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            policy: Policy::new(By::Latency, Vec::new()),
            needs: Needs::default(),
            residency: Residency::default(),
            values_max: 8,
            sticky: true,
            ramp: Ramp::default(),
            full_percent: Some(80),
            ttl: None,
        }
    }

    /// The service of a topology that names none.
    #[must_use]
    pub fn app() -> Self {
        Self::new("app")
    }
}
