//! What a name's answers go by.

use crate::area::{Area, Country};
use meridian_model::RegionName;

/// How to choose among regions, or among groups of them with policies of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// By what.
    pub by: By,
    /// What is chosen from. No region is in two places of one policy.
    pub choices: Vec<Choice>,
}

/// What a choice is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The least time on the way: from the client to the region next to it, as distance tells, and
    /// from there on as measured between regions.
    Latency,
    /// Where the client is: the choice that names its country, else its area, else the fallback.
    Geolocation,
    /// The least distance, made longer or shorter by each choice's bias.
    Geoproximity,
    /// Chance, by weight, the same for the same client.
    Weighted,
    /// The order in which they are written.
    Failover,
    /// Several at once, in an order of chance.
    Multivalue,
}

impl By {
    /// Every way to choose.
    pub const ALL: [Self; 6] = [
        Self::Latency,
        Self::Geolocation,
        Self::Geoproximity,
        Self::Weighted,
        Self::Failover,
        Self::Multivalue,
    ];

    /// The name, as in the topology.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Geolocation => "geolocation",
            Self::Geoproximity => "geoproximity",
            Self::Weighted => "weighted",
            Self::Failover => "failover",
            Self::Multivalue => "multivalue",
        }
    }
}

/// Something to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What it leads to.
    pub to: To,
    /// For `Weighted`: its share is this over the sum of all. A choice of weight 0 is a last resort.
    pub weight: u32,
    /// For `Geoproximity`, −99 to 99: from that many percent farther away than it is, so to speak, to
    /// as many percent nearer.
    pub bias: i8,
    /// For `Geolocation`: whose clients it is for. The fallback is one that names nobody.
    pub clients: Vec<Clients>,
}

/// Where a choice leads.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// To a region.
    Region(RegionName),
    /// To further choices.
    Policy(Box<Policy>),
}

/// Clients by where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Of a country; known only with a database that says so.
    Country(Country),
    /// Of an area.
    Area(Area),
}

impl Choice {
    /// A region, without anything special.
    #[must_use]
    pub fn region(name: &str) -> Self {
        Self::new(To::Region(RegionName::new(name)))
    }

    /// A group.
    #[must_use]
    pub fn policy(policy: Policy) -> Self {
        Self::new(To::Policy(Box::new(policy)))
    }

    fn new(to: To) -> Self {
        Self {
            to,
            weight: 1,
            bias: 0,
            clients: Vec::new(),
        }
    }

    /// With a weight.
    #[must_use]
    pub fn weighing(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    /// With a bias.
    #[must_use]
    pub fn biased(self, bias: i8) -> Self {
        Self { bias, ..self }
    }

    /// For some clients.
    #[must_use]
    pub fn serving(self, clients: &[Clients]) -> Self {
        let clients = clients.to_vec();
        Self { clients, ..self }
    }
}

impl Policy {
    /// A policy over choices.
    #[must_use]
    pub fn new(by: By, choices: Vec<Choice>) -> Self {
        Self { by, choices }
    }

    /// A policy over regions.
    #[must_use]
    pub fn over(by: By, regions: &[&str]) -> Self {
        Self::new(
            by,
            regions.iter().map(|name| Choice::region(name)).collect(),
        )
    }
    /// Every region that it may choose, in the order in which they are written.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionName> {
        let regions = self.choices.iter().flat_map(|choice| match &choice.to {
            To::Region(name) => vec![name.clone()],
            To::Policy(policy) => policy.regions(),
        });
        regions.collect()
    }
}
