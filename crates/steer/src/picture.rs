//! All that a decision goes by besides the route and the client, as of one moment.

use meridian_health::{Needs, Observer, PerService, RegionHealth, Service, Status};
use meridian_model::{Micros, RegionName};
use meridian_topology::{Place, Topology, round_trip};

/// The regions as one of them sees them. Rebuilt when something changes, never while a client waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Every region of the topology, in its order.
    pub regions: Vec<RegionPicture>,
    /// The region whose picture it is, by index.
    pub own: usize,
    /// Whether verdicts can be trusted to be new. Without a quorum a region goes by its own eyes:
    /// it puts itself first and leaves out peers that it can't reach.
    pub has_quorum: bool,
}

/// One region in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionPicture {
    /// Its name.
    pub name: RegionName,
    /// Where it is.
    pub place: Place,
    /// How it is.
    pub health: RegionHealth,
    /// Measured round trips from here to each region, by index, in milliseconds; where there is none,
    /// published or estimated ones are taken.
    pub round_trips_ms: Vec<Option<f32>>,
    /// The share of its clients that it takes, 0 to 1: less than all while it comes back, and when it
    /// is full. The rest go to the next, unless that is worse off.
    pub share: f32,
    /// What it can carry, in any unit that is the same for all regions.
    pub capacity: f32,
}

impl RegionPicture {
    /// A region all of whose services are well and which takes everybody.
    #[must_use]
    pub fn healthy(name: &str, place: Place) -> Self {
        let well = PerService::with(|_| Some(Status::Healthy));
        let health = RegionHealth {
            verdict: well,
            seen: well,
            maintenance: false,
        };
        Self {
            name: RegionName::new(name),
            place,
            health,
            round_trips_ms: Vec::new(),
            share: 1.0,
            capacity: 1.0,
        }
    }
}

impl Picture {
    /// The regions of a topology before anybody has looked at them.
    #[must_use]
    pub fn unseen(topology: &Topology, own: &RegionName) -> Self {
        let unseen = RegionHealth {
            verdict: PerService::default(),
            seen: PerService::default(),
            maintenance: false,
        };
        let regions = topology.regions.iter().map(|region| RegionPicture {
            health: unseen.clone(),
            ..RegionPicture::healthy(region.name.as_str(), region.place)
        });
        let mut names = topology.regions.iter().map(|region| &region.name);
        Self {
            own: names.position(|name| name == own).unwrap_or(0),
            regions: regions.collect(),
            has_quorum: true,
        }
    }

    /// The regions as an observer has them, each taking all of its clients. What the `api` services
    /// took to answer each other counts as the round trip. An observer whose own region is not among
    /// them, a witness, asks for the first one.
    #[must_use]
    pub fn seen_by(observer: &Observer, regions: &[(RegionName, Place)], wall: Micros) -> Self {
        let region = |(name, place): &(RegionName, Place)| {
            let round_trip_ms = |(to, _): &(RegionName, Place)| {
                let ms = observer.response_ms(name, to, Service::Api);
                ms.map(|ms| ms as f32)
            };
            RegionPicture {
                health: observer.region(name, wall),
                round_trips_ms: regions.iter().map(round_trip_ms).collect(),
                ..RegionPicture::healthy(name.as_str(), *place)
            }
        };
        let mut names = regions.iter().map(|(name, _)| name);
        Self {
            regions: regions.iter().map(region).collect(),
            own: names.position(|name| name == observer.own()).unwrap_or(0),
            has_quorum: observer.has_quorum(),
        }
    }

    /// The region of this name, by index.
    #[must_use]
    pub fn index(&self, name: &RegionName) -> Option<usize> {
        self.regions.iter().position(|region| region.name == *name)
    }

    /// How a region is for whoever has these needs, and what is to blame: by the verdicts, or by this
    /// region's own eyes where there is no quorum.
    #[must_use]
    pub fn status(&self, region: usize, needs: &Needs) -> (Status, Option<Service>) {
        let health = &self.regions[region].health;
        let believed = if self.has_quorum {
            health.verdict
        } else {
            // What it can't see itself it has to take from the last verdict.
            PerService::with(|service| health.seen[service].or(health.verdict[service]))
        };
        needs.status(&believed)
    }

    /// The round trip between two regions: measured, else as measured the other way, else by
    /// published figures or distance.
    #[must_use]
    pub fn round_trip_ms(&self, from: usize, to: usize) -> f32 {
        if from == to {
            return 0.0;
        }
        let measured = |from: usize, to: usize| {
            let measured = self.regions[from].round_trips_ms.get(to);
            measured
                .copied()
                .flatten()
                .filter(|ms| ms.is_finite() && *ms >= 0.0)
        };
        measured(from, to)
            .or_else(|| measured(to, from))
            .unwrap_or_else(|| {
                round_trip(&self.regions[from].place, &self.regions[to].place).ms as f32
            })
    }
}
