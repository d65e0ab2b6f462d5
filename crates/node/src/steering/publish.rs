//! From what is wanted and how the regions are to the tables that answer.
//!
//! Ramps are kept here, one for each region of each route: what a route needs decides whether a
//! region is out for it. They go by this region's own time, so two regions may be a step apart for a
//! moment.

use super::Steering;
use super::load::Loads;
use meridian_model::RegionName;
use meridian_steer::{
    Client, Condition, Desired, Effective, Fullness, Geo, Key, Picture, Ramp, Route, RouteError,
    Spill, Steps, Table,
};
use meridian_topology::{Region, Topology};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;

/// How often loads are looked at.
const LOADS_EVERY: Duration = Duration::from_secs(1);

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
}

impl SteeredRoute {
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

    fn differs_from(&self, other: &Self) -> bool {
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
pub(super) struct Configured {
    pub(super) route: Route,
    /// How a region that was out takes its clients again.
    pub(super) steps: Steps,
    /// From when on a region passes clients on; never without it.
    pub(super) fullness: Option<Fullness>,
}

/// A region of a route, as far as it has a past.
#[derive(Default)]
struct Past {
    ramp: Ramp,
    spill: Spill,
    /// The share that its load leaves it.
    spilled: Option<f32>,
}

/// What is carried from one publication to the next.
pub(super) struct Working {
    picture: Picture,
    capacities: Vec<f32>,
    /// By route and region.
    pasts: BTreeMap<(usize, usize), Past>,
}

impl Working {
    pub(super) fn new(picture: Picture, capacities: Vec<f32>) -> Self {
        Self {
            picture,
            capacities,
            pasts: BTreeMap::new(),
        }
    }

    /// Goes on by another picture of the regions.
    fn see(&mut self, picture: Picture) {
        self.picture = picture;
    }

    /// Goes on by what the regions are asked for.
    fn weigh(&mut self, routes: &[Configured], loads: &Loads, own: &RegionName, now: Duration) {
        for (index, region) in self.picture.regions.iter().enumerate() {
            let capacity = self.capacities[index];
            let Some(load) = loads.of(&region.name, own, now).filter(|_| capacity > 0.0) else {
                continue;
            };
            for (route, configured) in routes.iter().enumerate() {
                let Some(fullness) = &configured.fullness else {
                    continue;
                };
                let past = self.pasts.entry((route, index)).or_default();
                past.spilled = Some(past.spill.step(load as f32, capacity, fullness));
            }
        }
    }

    /// Puts together what answers go by from `now` on.
    pub(super) fn publish(
        &mut self,
        routes: &[Configured],
        desired: &Desired,
        now: Duration,
    ) -> Result<Published, RouteError> {
        // Where only some say what they can carry, nothing tells how the others compare with them.
        if self.capacities.iter().all(|capacity| *capacity > 0.0) {
            for (region, capacity) in self.picture.regions.iter_mut().zip(&self.capacities) {
                region.capacity = *capacity;
            }
        }
        let mut steered = Vec::with_capacity(routes.len());
        for (index, route) in routes.iter().enumerate() {
            steered.push(self.steer(index, route, desired, now)?);
        }
        Ok(Published {
            picture: self.picture.clone(),
            routes: steered,
        })
    }

    fn steer(
        &mut self,
        index: usize,
        configured: &Configured,
        desired: &Desired,
        now: Duration,
    ) -> Result<SteeredRoute, RouteError> {
        let route = &configured.route;
        let effective = desired.effective(route, &self.picture);
        let tiers: Vec<_> = Table::compile(route, &self.picture, &effective)?
            .tiers()
            .collect();
        let mut picture = self.picture.clone();
        for (region, tier) in tiers.into_iter().enumerate() {
            let past = self.pasts.entry((index, region)).or_default();
            let ramped = past.ramp.step(now, Condition::of(tier), &configured.steps);
            picture.regions[region].share = ramped.min(past.spilled.unwrap_or(1.0));
        }
        Ok(SteeredRoute {
            table: Table::compile(route, &picture, &effective)?,
            shares: picture.regions.iter().map(|region| region.share).collect(),
            route: route.clone(),
            effective,
        })
    }

    /// When a ramp's step is over.
    fn due(&self, routes: &[Configured]) -> Option<Duration> {
        let pasts = self.pasts.iter();
        let due = pasts.filter_map(|((route, _), past)| past.ramp.due(&routes[*route].steps));
        due.min()
    }
}

impl Steering {
    /// Follows the regions' health and the time, for as long as it is polled.
    pub async fn run(self, mut pictures: watch::Receiver<Picture>) {
        let mut is_seen = true;
        loop {
            let picture = pictures.borrow_and_update().clone();
            self.working().see(picture);
            let now = self.0.clock.now().elapsed;
            self.look_at_loads(now);
            let wait = self.refresh().map_or(LOADS_EVERY, |due| {
                due.saturating_sub(now)
                    .clamp(Duration::from_millis(10), LOADS_EVERY)
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                seen = pictures.changed(), if is_seen => is_seen = seen.is_ok(),
            }
        }
    }

    /// Loads are taken once a second, each after the last one's shares have taken effect.
    fn look_at_loads(&self, now: Duration) {
        let mut loads = self.loads();
        if !loads.is_due(now, LOADS_EVERY) {
            return;
        }
        loads.sample(now, self.0.load.total());
        let mut working = self.working();
        working.weigh(&self.0.routes, &loads, &self.0.own, now);
    }

    /// Publishes what answers go by from now on. When time alone will change it next.
    pub(super) fn refresh(&self) -> Option<Duration> {
        let mut working = self.working();
        let ledger = self.0.kept.ledger();
        let now = self.0.clock.now().elapsed;
        match working.publish(&self.0.routes, ledger.desired(), now) {
            Ok(published) => {
                let differs = published.differs_from(&self.0.published.load());
                self.0.published.store(published.into());
                if differs {
                    self.0.changed.send_modify(|count| *count += 1);
                }
            }
            // They fitted the regions when this began, and neither changes.
            Err(error) => tracing::error!(%error, "answers stay as they are"),
        }
        working.due(&self.0.routes)
    }

    /// The client of an address or network, recognised by a key of its own where one is given.
    #[must_use]
    pub fn client(&self, address: IpAddr, bits: u8, key: Option<&str>) -> Client {
        let geo: &dyn Geo = self.geo();
        let client = Client::behind(geo, address, Some((address, bits.max(1))), 0);
        match key {
            Some(key) => Client {
                key: Key::of_bytes(key.as_bytes()),
                ..client
            },
            None => client,
        }
    }
}

/// The topology's routes.
pub(super) fn routes(topology: &Topology) -> Vec<Configured> {
    let routes = topology.routes.iter().map(|route| Configured {
        steps: Steps::from(&route.ramp),
        fullness: Fullness::of(route),
        route: Route::of(route, topology),
    });
    routes.collect()
}

/// What each region can carry, in requests a second; 0 where nothing says so.
pub(super) fn capacities(topology: &Topology) -> Vec<f32> {
    let regions = topology.regions.iter();
    let capacity = |region: &Region| region.capacity.unwrap_or(0) as f32;
    regions.map(capacity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_health::{PerService, Status};
    use meridian_model::{Hlc, Micros, OriginId, Version};
    use meridian_steer::{Answer, Registries, Subject, Want, Wish};
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
        working: Working,
        routes: Vec<Configured>,
        desired: Desired,
        topology: Topology,
    }

    impl World {
        fn new() -> Self {
            let topology = Topology::parse(TOPOLOGY, Path::new("a.toml")).unwrap();
            let picture = super::super::unseen(&topology, &RegionName::new("us-east-1"));
            Self {
                working: Working::new(picture, capacities(&topology)),
                routes: routes(&topology),
                desired: Desired::default(),
                topology,
            }
        }

        fn see(&mut self, europe: Status) {
            let own = RegionName::new("us-east-1");
            let mut picture = super::super::unseen(&self.topology, &own);
            for (region, status) in picture.regions.iter_mut().zip([Status::Healthy, europe]) {
                region.health.verdict = PerService::with(|_| Some(status));
                region.health.seen = region.health.verdict;
            }
            self.working.see(picture);
        }

        fn at(&mut self, seconds: u64) -> SteeredRoute {
            let now = Duration::from_secs(seconds);
            let published = self.working.publish(&self.routes, &self.desired, now);
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
        assert_eq!(world.working.due(&world.routes), None);
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
        assert_eq!(
            world.working.due(&world.routes),
            Some(Duration::from_secs(25))
        );
        about(share(&world.at(24)), 0.1);
        about(share(&world.at(25)), 0.25);
        world.see(Status::Degraded);
        assert_eq!(world.at(29).share(1), 0.25);
        world.see(Status::Healthy);
        about(share(&world.at(30)), 0.25);
        about(share(&world.at(34)), 0.5);
        about(share(&world.at(39)), 1.0);
        assert_eq!(world.working.due(&world.routes), None);
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
        let (own, other) = (RegionName::new("us-east-1"), RegionName::new("eu-west-1"));
        let mut loads = Loads::default();
        let mut weigh = |world: &mut World, seconds: u64, load: Option<u32>| {
            let now = Duration::from_secs(seconds);
            loads.told(now, &other, load);
            world.working.weigh(&world.routes, &loads, &own, now);
            world.at(seconds)
        };
        assert_eq!(weigh(&mut world, 1, None).share(1), 1.0);
        let full = weigh(&mut world, 2, Some(160));
        assert_eq!(full.share(1), 0.5);
        assert!((to_europe(&full) - 0.5).abs() < 0.07);
        assert_eq!(
            weigh(&mut world, 3, None).share(1),
            0.5,
            "unknown is as it was"
        );
        let better = weigh(&mut world, 4, Some(40)).share(1);
        assert!(
            (better - 0.5).abs() < 1e-6 || (better - 0.55).abs() < 1e-6,
            "{better}"
        );
        assert_eq!(weigh(&mut world, 5, Some(10)).share(0), 1.0);
    }
}
