//! The same decision in words.

use crate::answer::Answer;
use crate::decide::Client;
use crate::table::{Node, Table};
use crate::tier::Tier;
use meridian_model::RegionName;
use meridian_topology::{Area, By};
use serde::Serialize;

/// Why a client is sent where it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The client's area, if it is known.
    pub area: Option<Area>,
    /// The policy's name; of nested ones the outermost's.
    pub policy: &'static str,
    /// For how many bits of the client's address this holds.
    pub scope_bits: u8,
    /// The regions in order.
    pub regions: Vec<Explained>,
    /// The others of the route, and why not.
    pub left_out: Vec<LeftOut>,
}

/// A region in the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// Its name.
    pub region: RegionName,
    /// Whether the client is given it.
    pub given: bool,
    /// Its tier.
    pub tier: Tier,
    /// Why it stands where it does.
    pub reason: String,
}

/// A region that isn't in the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Its name.
    pub region: RegionName,
    /// Why.
    pub reason: &'static str,
}

impl Table {
    /// Decides, and says why.
    #[must_use]
    pub fn explain(&self, client: &Client) -> Explanation {
        let mut answer = Answer::default();
        self.decide(client, &mut answer);
        let given = answer.given().len();
        let entries = answer.entries().iter().enumerate();
        let regions = entries.map(|(place, entry)| {
            let region = &self.regions[usize::from(entry.region)];
            let blamed = region.blamed.map(|service| format!(": {service}"));
            let tier = format!("{}{}", in_words(entry.tier), blamed.unwrap_or_default());
            let passed = if entry.passed {
                ", takes only a part of its clients and not this one"
            } else {
                ""
            };
            let cost = self.cost_in_words(usize::from(entry.region), entry.cost);
            Explained {
                region: region.name.clone(),
                given: place < given,
                tier: entry.tier,
                reason: format!("{tier}{passed}, {cost}"),
            }
        });
        Explanation {
            area: client.located.map(|located| located.area),
            policy: self.root.by().as_str(),
            scope_bits: answer.scope_bits(),
            regions: regions.collect(),
            left_out: self.left_out_in_words(client),
        }
    }

    fn left_out_in_words(&self, client: &Client) -> Vec<LeftOut> {
        let (allowed, resident) = (self.allowed(client), self.resident(client));
        let others = self
            .root
            .regions()
            .filter(|region| !allowed.contains(*region));
        let others = others.map(|region| LeftOut {
            region: self.regions[region].name.clone(),
            reason: if resident.contains(region) {
                "not reached from here, and no majority says otherwise"
            } else {
                "residency doesn't allow it for this client"
            },
        });
        others.collect()
    }

    fn cost_in_words(&self, region: usize, cost: f32) -> String {
        match self.root.by_of(region) {
            By::Latency => format!("{cost:.0} ms from the region next to the client"),
            By::Geoproximity => format!("{cost:.0} km away, bias counted in"),
            By::Geolocation => {
                let kinds = ["its country's", "its area's", "the fallback", "for others"];
                let kind = cost as usize / meridian_topology::REGIONS_MAX;
                kinds[kind.min(kinds.len() - 1)].to_owned()
            }
            By::Weighted => format!("drew {cost:.3}, the least wins"),
            By::Failover => format!("number {} in order", cost as usize + 1),
            By::Multivalue => "in an order of chance".to_owned(),
        }
    }
}

fn in_words(tier: Tier) -> &'static str {
    match tier {
        Tier::Own => "this region first, as no majority is heard",
        Tier::Healthy => "healthy",
        Tier::Degraded => "degraded or not known yet",
        Tier::Drained => "drained",
        Tier::Down => "down",
    }
}

impl Node {
    fn by(&self) -> By {
        match self {
            Self::Region(_) => By::Failover,
            Self::Choices { by, .. } => *by,
        }
    }

    /// The policy that a region's cost is of: the innermost one.
    fn by_of(&self, region: usize) -> By {
        let Self::Choices { by, choices } = self else {
            return By::Failover;
        };
        let mut choices = choices.iter();
        let choice = choices.find(|choice| choice.members.contains(region));
        match choice.map(|choice| &choice.node) {
            Some(node @ Self::Choices { .. }) => node.by_of(region),
            _ => *by,
        }
    }

    fn regions(&self) -> Box<dyn Iterator<Item = usize> + '_> {
        match self {
            Self::Region(region) => Box::new(std::iter::once(*region)),
            Self::Choices { choices, .. } => {
                Box::new(choices.iter().flat_map(|choice| choice.members.iter()))
            }
        }
    }
}
