//! From what is wanted and how the regions are to the tables that answer.
//!
//! Ramps are kept here, one for each region of each route: what a route needs decides whether a
//! region is out for it. They go by this region's own time, so two regions may be a step apart for a
//! moment.

use crate::decide::Client;
use crate::desired::{Desired, Effective};
use crate::picture::Picture;
use crate::ramp::{Condition, Ramp, Steps};
use crate::route::{Route, RouteError};
use crate::spill::{Fullness, Spill};
use crate::table::Table;
use meridian_model::RegionName;
use meridian_topology::{Region, Topology};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A load is what came in so long.
const LOAD_TAKEN_OVER: Duration = Duration::from_secs(1);

/// What answers go by, at one moment.
#[derive(Clone, Debug)]
pub struct Published {
    /// The regions.
    pub picture: Picture,
    /// The routes, in the topology's order.
    pub routes: Vec<SteeredRoute>,
}

/// A route, ready for decisions.
#[derive(Clone, Debug)]
pub struct SteeredRoute {
    /// What it is.
    pub route: Route,
    /// What people want of its regions.
    pub effective: Effective,
    /// The share of its clients that each region can take: less than all while it comes back, and
    /// when it is full.
    pub shares: Vec<f32>,
    /// Decides.
    pub table: Table,
    sticky: bool,
}

impl SteeredRoute {
    /// The client as this route knows it again, if it does. `turn` is another number for each question.
    #[must_use]
    pub fn recognised(&self, client: Client, resolver: IpAddr, turn: u64) -> Client {
        match self.sticky {
            true => client,
            false => client.drawn_anew(resolver, turn),
        }
    }

    /// The share of its clients that a region takes, by its index: what it can, and no more than
    /// somebody wants.
    #[must_use]
    pub fn share(&self, region: usize) -> f32 {
        let wanted = self.effective.shares.get(region).copied().unwrap_or(1.0);
        self.shares
            .get(region)
            .map_or(wanted, |share| share.min(wanted))
    }
}

impl Published {
    /// The route of this name, and its index.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<(usize, &SteeredRoute)> {
        let mut routes = self.routes.iter().enumerate();
        routes.find(|(_, steered)| steered.route.name == name)
    }

    /// Whether it answers otherwise than another.
    #[must_use]
    pub fn differs_from(&self, other: &Self) -> bool {
        let shares = |published: &Self| {
            let routes = published.routes.iter();
            let shares = routes.map(|it| (it.effective.clone(), it.shares.clone()));
            shares.collect::<Vec<_>>()
        };
        self.picture != other.picture || shares(self) != shares(other)
    }
}

/// A route as it is set up, before anything is known of the regions.
#[derive(Clone, Debug)]
struct Configured {
    route: Route,
    /// How a region that was out takes its clients again.
    steps: Steps,
    /// From when on a region passes clients on; never without it.
    fullness: Option<Fullness>,
    /// For how long an answer is kept.
    ttl: Duration,
    /// Whether a network keeps what chance gave it.
    sticky: bool,
}

/// A region of a route, as far as it has a past.
#[derive(Default)]
struct Past {
    ramp: Ramp,
    spill: Spill,
    /// The share that its load leaves it, and since when.
    spilled: Option<(f32, Duration)>,
}

/// Makes what answers go by, again and again; what it remembers between is how each region stands.
pub struct Publisher {
    routes: Vec<Configured>,
    picture: Picture,
    /// In requests a second; 0 where nothing says so.
    capacities: Vec<f32>,
    /// By route and region.
    pasts: BTreeMap<(usize, usize), Past>,
}

impl Publisher {
    /// Of a topology's routes, in one of its regions, before anybody has looked at them.
    #[must_use]
    pub fn new(topology: &Topology, own: &RegionName) -> Self {
        let routes = topology.routes.iter().map(|route| Configured {
            steps: Steps::from(&route.ramp),
            fullness: Fullness::of(route),
            ttl: route.ttl.unwrap_or(topology.dns.ttl),
            sticky: route.sticky,
            route: Route::of(route, topology),
        });
        let regions = topology.regions.iter();
        let capacity = |region: &Region| region.capacity.unwrap_or(0) as f32;
        Self {
            routes: routes.collect(),
            picture: Picture::unseen(topology, own),
            capacities: regions.map(capacity).collect(),
            pasts: BTreeMap::new(),
        }
    }

    /// Goes on with a topology that names more regions, behind those that there are.
    ///
    /// # Errors
    /// [`RouteError`] for a route that doesn't fit the regions; then all stays as it is.
    pub fn grow(&mut self, topology: &Topology) -> Result<(), RouteError> {
        let own = &self.picture.regions[self.picture.own].name;
        let mut grown = Self::new(topology, own);
        grown.picture.has_quorum = self.picture.has_quorum;
        let known = grown.picture.regions.iter_mut();
        for (region, before) in known.zip(&self.picture.regions) {
            region.clone_from(before);
        }
        for configured in &grown.routes {
            Table::compile(&configured.route, &grown.picture, &Effective::default())?;
        }
        grown.pasts = std::mem::take(&mut self.pasts);
        *self = grown;
        Ok(())
    }

    /// Goes on by another picture of the regions. One of fewer was made before the last of them came.
    pub fn see(&mut self, picture: Picture) {
        if picture.regions.len() == self.capacities.len() {
            self.picture = picture;
        }
    }

    /// Goes on by what the regions are asked for in a second: one step each time that the last one's
    /// share has come to be what clients go by. A region whose load isn't known passes nobody on.
    pub fn weigh(&mut self, now: Duration, load_of: impl Fn(&RegionName) -> Option<u32>) {
        for (index, region) in self.picture.regions.iter().enumerate() {
            let capacity = self.capacities[index];
            let load = load_of(&region.name).filter(|_| capacity > 0.0);
            for (route, configured) in self.routes.iter().enumerate() {
                let Some(fullness) = &configured.fullness else {
                    continue;
                };
                let past = self.pasts.entry((route, index)).or_default();
                let Some(load) = load else {
                    (past.spill, past.spilled) = (Spill::default(), None);
                    continue;
                };
                let shown_after = configured.ttl + LOAD_TAKEN_OVER;
                if past.spilled.is_none_or(|(_, at)| now >= at + shown_after) {
                    let share = past.spill.step(load as f32, capacity, fullness);
                    past.spilled = Some((share, now));
                }
            }
        }
    }

    /// Puts together what answers go by from `now` on.
    ///
    /// # Errors
    /// [`RouteError`] for a route that doesn't fit the picture's regions.
    pub fn publish(&mut self, desired: &Desired, now: Duration) -> Result<Published, RouteError> {
        // Where only some say what they can carry, nothing tells how the others compare with them.
        if self.capacities.iter().all(|capacity| *capacity > 0.0) {
            for (region, capacity) in self.picture.regions.iter_mut().zip(&self.capacities) {
                region.capacity = *capacity;
            }
        }
        let routes = 0..self.routes.len();
        let steered = routes.map(|route| self.steer(route, desired, now));
        let routes = steered.collect::<Result<_, _>>()?;
        Ok(Published {
            picture: self.picture.clone(),
            routes,
        })
    }

    fn steer(
        &mut self,
        index: usize,
        desired: &Desired,
        now: Duration,
    ) -> Result<SteeredRoute, RouteError> {
        let configured = &self.routes[index];
        let route = &configured.route;
        let effective = desired.effective(route, &self.picture);
        let tiers: Vec<_> = Table::compile(route, &self.picture, &effective)?
            .tiers()
            .collect();
        let mut picture = self.picture.clone();
        for (region, tier) in tiers.into_iter().enumerate() {
            let past = self.pasts.entry((index, region)).or_default();
            let ramped = past.ramp.step(now, Condition::of(tier), &configured.steps);
            picture.regions[region].share =
                ramped.min(past.spilled.map_or(1.0, |(share, _)| share));
        }
        Ok(SteeredRoute {
            table: Table::compile(route, &picture, &effective)?,
            shares: picture.regions.iter().map(|region| region.share).collect(),
            route: route.clone(),
            sticky: configured.sticky,
            effective,
        })
    }

    /// When a ramp's step is over.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let pasts = self.pasts.iter();
        let due = pasts.filter_map(|((route, _), past)| past.ramp.due(&self.routes[*route].steps));
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Key, Registries, Subject, Want, Wish};
    use meridian_health::{PerService, Status};
    use meridian_model::{Hlc, Micros, OriginId, Version};
    use std::path::Path;

    const TOPOLOGY: &str = r#"
        zone = "a.test"
        [[region]]
        name = "us-east-1"
        capacity = 100
        [[region]]
        name = "eu-west-1"
        capacity = 100
        [[dataset]]
        name = "main"
        engine = "embedded"
    "#;

    struct World {
        publisher: Publisher,
        desired: Desired,
        topology: Topology,
    }

    impl World {
        fn new() -> Self {
            let topology = Topology::parse(TOPOLOGY, Path::new("a.toml")).unwrap();
            Self {
                publisher: Publisher::new(&topology, &RegionName::new("us-east-1")),
                desired: Desired::default(),
                topology,
            }
        }

        fn see(&mut self, europe: Status) {
            let own = RegionName::new("us-east-1");
            let mut picture = Picture::unseen(&self.topology, &own);
            for (region, status) in picture.regions.iter_mut().zip([Status::Healthy, europe]) {
                region.health.verdict = PerService::with(|_| Some(status));
                region.health.seen = region.health.verdict;
            }
            self.publisher.see(picture);
        }

        fn at(&mut self, seconds: u64) -> SteeredRoute {
            let now = Duration::from_secs(seconds);
            let published = self.publisher.publish(&self.desired, now);
            published.unwrap().routes.remove(0)
        }
    }

    /// The share of a thousand European clients that a route sends to Europe.
    fn to_europe(route: &SteeredRoute) -> f32 {
        let mut given = 0;
        for client in 0..1000u32 {
            let mut answer = Answer::default();
            let address = "193.0.6.139".parse().unwrap();
            let client = Client {
                key: Key::of_bytes(&client.to_le_bytes()),
                ..Client::behind(&Registries::default(), address, Some((address, 24)), 0)
            };
            route.table.decide(&client, &mut answer);
            given += u32::from(answer.first() == Some(1));
        }
        given as f32 / 1000.0
    }

    #[test]
    fn before_anybody_has_looked_everybody_goes_to_the_nearest() {
        let mut world = World::new();
        assert_eq!(to_europe(&world.at(0)), 1.0);
        assert_eq!(world.publisher.due(), None);
    }

    #[test]
    fn a_region_more_changes_nothing_for_those_that_there_are() {
        let mut world = World::new();
        for (status, seconds) in [(Status::Healthy, 0), (Status::Unhealthy, 10)] {
            world.see(status);
            world.at(seconds);
        }
        world.see(Status::Healthy);
        assert_eq!(world.at(20).share(1), 0.1, "it comes back in steps");
        let more = "[[region]]\nname = \"ap-northeast-1\"\ncapacity = 100\n[[dataset]]";
        let more = TOPOLOGY.replace("[[dataset]]", more);
        let grown = Topology::parse(&more, Path::new("a.toml")).unwrap();
        world.publisher.grow(&grown).unwrap();
        // Of a picture that was made before.
        world.see(Status::Unhealthy);
        assert_eq!(world.at(21).share(1), 0.1);
        world.topology = grown;
        world.see(Status::Healthy);
        let route = world.at(25);
        assert_eq!((route.share(1), route.shares.len()), (0.25, 3));
        // One that doesn't fit leaves all as it is.
        let mut unfit = world.topology.clone();
        unfit.regions.truncate(1);
        unfit.routes[0].policy.choices = vec![meridian_topology::Choice::region("nowhere")];
        assert!(world.publisher.grow(&unfit).is_err());
        assert_eq!(world.at(26).shares.len(), 3);
    }

    #[test]
    fn a_region_that_returns_takes_its_clients_in_steps_and_each_is_passed_in_health() {
        let mut world = World::new();
        world.see(Status::Healthy);
        assert_eq!(to_europe(&world.at(0)), 1.0);
        world.see(Status::Unhealthy);
        assert_eq!(to_europe(&world.at(10)), 0.0);
        world.see(Status::Healthy);
        let share = |route: &SteeredRoute| (route.share(1), to_europe(route));
        let about = |(share, measured): (f32, f32), expected: f32| {
            assert_eq!(share, expected);
            assert!((measured - expected).abs() < 0.07, "{measured}");
        };
        about(share(&world.at(20)), 0.1);
        assert_eq!(world.publisher.due(), Some(Duration::from_secs(25)));
        about(share(&world.at(24)), 0.1);
        about(share(&world.at(25)), 0.25);
        world.see(Status::Degraded);
        assert_eq!(world.at(29).share(1), 0.25);
        world.see(Status::Healthy);
        about(share(&world.at(30)), 0.25);
        about(share(&world.at(34)), 0.5);
        about(share(&world.at(39)), 1.0);
        assert_eq!(world.publisher.due(), None);
    }

    #[test]
    fn a_drain_counts_at_once_and_its_end_in_steps() {
        let mut world = World::new();
        world.see(Status::Healthy);
        let mut wish = Wish {
            subject: Subject::region("eu-west-1"),
            want: Want::Drained,
            before: Want::AsUsual,
            version: Version {
                hlc: Hlc::from_raw(1),
                origin: OriginId(1),
            },
            at: Micros(1),
            who: "ann".to_owned(),
            why: "a disk is changed".to_owned(),
        };
        world.desired.merge(wish.clone());
        assert_eq!(to_europe(&world.at(1)), 0.0);
        (wish.want, wish.version.hlc) = (Want::AsUsual, Hlc::from_raw(2));
        world.desired.merge(wish);
        assert_eq!(world.at(2).share(1), 0.1);
    }

    #[test]
    fn a_full_region_passes_clients_on_as_far_as_its_load_is_known() {
        let mut world = World::new();
        world.see(Status::Healthy);
        let weigh = |world: &mut World, seconds: u64, load: Option<u32>| {
            let of_europe = |region: &RegionName| load.filter(|_| region.as_str() == "eu-west-1");
            world
                .publisher
                .weigh(Duration::from_secs(seconds), of_europe);
            world.at(seconds)
        };
        assert_eq!(weigh(&mut world, 1, None).share(1), 1.0);
        let full = weigh(&mut world, 2, Some(160));
        assert_eq!(full.share(1), 0.5);
        assert!((to_europe(&full) - 0.5).abs() < 0.07);
        // Answers given before are kept for 5 s, so the load is still as high.
        for second in 3..8 {
            assert_eq!(weigh(&mut world, second, Some(150)).share(1), 0.5);
        }
        assert_eq!(weigh(&mut world, 8, Some(80)).share(1), 0.5);
        let better = weigh(&mut world, 14, Some(40)).share(1);
        assert!((better - 0.55).abs() < 1e-6, "{better}");
        let unknown = weigh(&mut world, 15, None);
        assert_eq!((unknown.share(0), unknown.share(1)), (1.0, 1.0));
        assert_eq!(weigh(&mut world, 16, Some(160)).share(1), 0.5);
    }
}
