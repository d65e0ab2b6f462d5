//! What one region answers its clients, held against what it knows.
//!
//! The rules of `docs/concepts/steering.md`, a second time: an answer is never empty, and is within
//! residency; no region stands in it behind a worse one; without a quorum a region comes first itself
//! and leaves out peers that it can't reach; who comes back takes its clients in steps.

use super::regions::{
    PRESET, RAMP, RAMP_STEP_MS, ROUTES, clients, index, may_answer, ms, topology,
};
use meridian_health::{Observer, Service, Status};
use meridian_model::{Micros, RegionName};
use meridian_steer::{Answer, Client, Desired, Picture, Published, Publisher, SteeredRoute, Want};
use meridian_topology::{Area, Place};
use std::time::Duration;

/// From what is known of a region, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    OwnAlone,
    Healthy,
    Degraded,
    Drained,
    Down,
}

/// A region's answers.
pub(crate) struct Front {
    own: usize,
    publisher: Publisher,
    pub(crate) published: Option<Published>,
    places: Vec<(RegionName, Place)>,
    clients: Vec<(Client, Option<Area>)>,
    /// Until when it waits for other observers before it looks at the regions.
    patient_until_ms: u64,
    has_begun: bool,
    /// By route and region, when it was out last.
    out_ms: Vec<Vec<Option<u64>>>,
    pub(crate) answered: u64,
}

impl Front {
    pub(crate) fn new(own: usize, regions: usize, now_ms: u64) -> Self {
        let topology = topology(regions);
        let places = topology.regions.iter();
        let name = topology.regions[own].name.clone();
        Self {
            own,
            publisher: Publisher::new(topology, &name),
            published: None,
            places: places
                .map(|region| (region.name.clone(), region.place))
                .collect(),
            clients: clients(regions),
            patient_until_ms: now_ms + ms(PRESET.cadence().vote_expiry()),
            has_begun: false,
            out_ms: vec![vec![None; regions]; ROUTES.len()],
            answered: 0,
        }
    }

    /// When it changes by time alone.
    pub(crate) fn due_ms(&self) -> u64 {
        let step_ms = self.publisher.due().map_or(u64::MAX, ms);
        if self.has_begun {
            step_ms
        } else {
            step_ms.min(self.patient_until_ms)
        }
    }

    /// Goes on by what the observer knows, as `crates/node/src/health/pictures.rs` lets it: not before
    /// enough others were heard, or time enough for that is over.
    pub(crate) fn look(
        &mut self,
        observer: &Observer,
        desired: &Desired,
        wall: Micros,
        now_ms: u64,
    ) -> Result<(), String> {
        self.has_begun |= observer.has_quorum() || now_ms >= self.patient_until_ms;
        if self.has_begun {
            let picture = Picture::seen_by(observer, &self.places, wall);
            self.publisher.see(picture);
        }
        let published = self
            .publisher
            .publish(desired, Duration::from_millis(now_ms))
            .map_err(|error| error.to_string())?;
        self.check(&published, desired, now_ms)?;
        self.published = Some(published);
        Ok(())
    }

    fn check(
        &mut self,
        published: &Published,
        desired: &Desired,
        now_ms: u64,
    ) -> Result<(), String> {
        for (number, route) in published.routes.iter().enumerate() {
            let ranks = ranks(&published.picture, desired, ROUTES[number].1);
            self.check_shares(number, route, &ranks, now_ms)?;
            for (client, area) in &self.clients {
                let allowed = self.allowed(&published.picture, route, *area, &ranks);
                let mut answer = Answer::default();
                route.table.decide(client, &mut answer);
                self.answered += 1;
                check_answer(&answer, &allowed, &ranks).map_err(|what| {
                    let name = &route.route.name;
                    format!("{name} for a client of {area:?}: {what}")
                })?;
            }
        }
        Ok(())
    }

    /// What an answer may name: within residency, and without a quorum no peer that is down to this
    /// region's own eyes, unless nothing else is left.
    fn allowed(
        &self,
        picture: &Picture,
        route: &SteeredRoute,
        area: Option<Area>,
        ranks: &[Rank],
    ) -> Vec<usize> {
        let all = 0..ranks.len();
        let name = &route.route.name;
        let resident: Vec<_> = all
            .filter(|region| may_answer(name, area, *region))
            .collect();
        if picture.has_quorum {
            return resident;
        }
        let is_reached = |region: &usize| *region == self.own || ranks[*region] != Rank::Down;
        let reached: Vec<_> = resident.iter().copied().filter(is_reached).collect();
        if reached.is_empty() {
            resident
        } else {
            reached
        }
    }

    fn check_shares(
        &mut self,
        number: usize,
        route: &SteeredRoute,
        ranks: &[Rank],
        now_ms: u64,
    ) -> Result<(), String> {
        for (region, rank) in ranks.iter().enumerate() {
            let out_ms = &mut self.out_ms[number][region];
            if *rank >= Rank::Drained {
                *out_ms = Some(now_ms);
                continue;
            }
            let Some(out_ms) = *out_ms else { continue };
            let passed = usize::try_from((now_ms - out_ms) / RAMP_STEP_MS).unwrap_or(usize::MAX);
            let most = RAMP.get(passed).copied().unwrap_or(1.0);
            let share = route.share(region);
            if share > most {
                let after_ms = now_ms - out_ms;
                return Err(format!(
                    "{} takes {share} of its clients {after_ms} ms after it was out",
                    super::regions::NAMES[region]
                ));
            }
        }
        Ok(())
    }

    /// Whether every region takes all of its clients, and each client is answered with what is nearest
    /// to it.
    pub(crate) fn is_as_usual(&self) -> Result<(), String> {
        let published = self.published.as_ref().ok_or("answers nobody")?;
        for route in &published.routes {
            let mut shares = (0..self.places.len()).map(|region| route.share(region));
            if let Some(region) = shares.position(|share| share < 1.0) {
                let name = super::regions::NAMES[region];
                return Err(format!("{name} doesn't take all of its clients"));
            }
        }
        let by_latency = &published.routes[0].table;
        for (beside, (client, _)) in self.clients[..self.places.len()].iter().enumerate() {
            let mut answer = Answer::default();
            by_latency.decide(client, &mut answer);
            if answer.first() != Some(beside) {
                let name = super::regions::NAMES[beside];
                return Err(format!("clients beside {name} are not sent there"));
            }
        }
        Ok(())
    }

    /// A client whose first answer is this region although residency lets it have one of the others.
    pub(crate) fn sends_to(&self, region: usize, others: &[usize]) -> Option<String> {
        let published = self.published.as_ref()?;
        for route in &published.routes {
            let name = &route.route.name;
            for (client, area) in &self.clients {
                let mut answer = Answer::default();
                route.table.decide(client, &mut answer);
                let may = |other: &usize| may_answer(name, *area, *other);
                if answer.first() == Some(region) && others.iter().any(may) {
                    return Some(format!("{name} for a client of {area:?}"));
                }
            }
        }
        None
    }
}

fn check_answer(answer: &Answer, allowed: &[usize], ranks: &[Rank]) -> Result<(), String> {
    let named: Vec<_> = answer
        .entries()
        .iter()
        .map(|entry| usize::from(entry.region))
        .collect();
    if named.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    let mut sorted = named.clone();
    sorted.sort_unstable();
    if sorted != allowed {
        return Err(format!("answered with {named:?} of {allowed:?}"));
    }
    match named
        .windows(2)
        .find(|pair| ranks[pair[0]] > ranks[pair[1]])
    {
        Some(pair) => Err(format!("{pair:?} in this order, by {ranks:?}")),
        None => Ok(()),
    }
}

/// How every region ranks for a route with these needs.
fn ranks(picture: &Picture, desired: &Desired, needs: &[Service]) -> Vec<Rank> {
    let conditions: Vec<_> = (0..picture.regions.len())
        .map(|region| condition(picture, region, needs))
        .collect();
    let best = conditions.iter().copied().min().unwrap_or(Rank::Down);
    let alone = |region: usize| {
        let others = conditions.iter().enumerate();
        others
            .filter(|(other, rank)| *other != region && **rank <= best.max(Rank::Healthy))
            .count()
            == 0
    };
    let up = conditions
        .iter()
        .filter(|rank| **rank != Rank::Down)
        .count();
    let is_drained = |region: usize| {
        let wanted = desired
            .wishes()
            .any(|wish| index(&wish.subject.region) == region && wish.want == Want::Drained);
        // The last of the best isn't drained: of the healthy, or where none is, of those that are up.
        let is_last = match best {
            Rank::Healthy => conditions[region] == Rank::Healthy && alone(region),
            _ => conditions[region] == Rank::Degraded && up == 1,
        };
        wanted && !is_last
    };
    let rank = |region: usize| match conditions[region] {
        Rank::Down => Rank::Down,
        _ if is_drained(region) => Rank::Drained,
        _ if !picture.has_quorum && region == picture.own => Rank::OwnAlone,
        condition => condition,
    };
    (0..conditions.len()).map(rank).collect()
}

/// Whether what is needed is there: by the verdicts, or by the region's own eyes without a quorum.
fn condition(picture: &Picture, region: usize, needs: &[Service]) -> Rank {
    let health = &picture.regions[region].health;
    let believed = needs.iter().filter_map(|service| {
        let seen = health.seen[*service].filter(|_| !picture.has_quorum);
        seen.or(health.verdict[*service])
    });
    let known: Vec<_> = believed
        .filter(|status| *status != Status::Unknown)
        .collect();
    if known.contains(&Status::Unhealthy) {
        Rank::Down
    } else if known.is_empty() || known.contains(&Status::Degraded) {
        Rank::Degraded
    } else {
        Rank::Healthy
    }
}
