//! The decision: a client → regions in order.
//!
//! ```text
//! allowed by residency, less what nobody can vouch for
//!   in the order of the policy, the innermost choices within the outer ones
//!     stably by (tier, passed)
//! ```
//!
//! Nothing is allocated, nothing waits, and the same client of the same table always gets the same
//! answer. Explanations are made from it, not beside it (`crates/steer/src/explain.rs`).

use crate::answer::{Answer, Entry};
use crate::key::Key;
use crate::order::{ascending, draw};
use crate::place::{Geo, Located};
use crate::set::RegionSet;
use crate::table::{Branch, Node, Table};
use crate::tier::Tier;
use meridian_model::mutation::{Mutation, active};
use meridian_topology::{Area, By, Clients, Country, REGIONS_MAX};
use std::net::IpAddr;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// Where it is, if that is known.
    pub located: Option<Located>,
    /// What it is recognised by.
    pub key: Key,
    /// How many bits of its address the key was made of.
    pub key_bits: u8,
}

impl Client {
    /// The client behind a DNS question: its network, if the resolver tells it (RFC 7871), else the
    /// resolver. `turn` is another number for each question.
    #[must_use]
    pub fn behind(
        geo: &dyn Geo,
        resolver: IpAddr,
        network: Option<(IpAddr, u8)>,
        turn: u64,
    ) -> Self {
        match network {
            // A prefix of no bits asks not to be told apart.
            Some((address, bits @ 1..)) => Self {
                located: geo.locate(address),
                key: Key::of_network(address, bits),
                key_bits: bits,
            },
            _ => Self {
                located: geo.locate(resolver),
                key: Key::of_turn(resolver, turn),
                key_bits: 0,
            },
        }
    }

    /// The same client where nobody is to stay with what chance gave it: each question, with a `turn`
    /// of its own, draws again.
    #[must_use]
    pub fn drawn_anew(self, resolver: IpAddr, turn: u64) -> Self {
        Self {
            key: Key::of_turn(resolver, turn),
            key_bits: 0,
            ..self
        }
    }

    fn area(&self) -> Option<Area> {
        self.located.map(|located| located.area)
    }

    fn country(&self) -> Option<Country> {
        self.located.and_then(|located| located.country)
    }

    pub(crate) fn is_of(&self, clients: Clients) -> bool {
        match clients {
            Clients::Country(country) => self.country() == Some(country),
            Clients::Area(area) => self.area() == Some(area),
        }
    }
}

/// Each tier, taken and passed.
const CLASSES: usize = (Tier::Down as usize + 1) * 2;

struct Walk<'a> {
    table: &'a Table,
    client: &'a Client,
    /// The region next to the client.
    anchor: usize,
    order: [(u8, f32); REGIONS_MAX],
    length: usize,
}

impl Table {
    /// Decides where a client goes.
    pub fn decide(&self, client: &Client, answer: &mut Answer) {
        answer.clear(self.scope_bits(client));
        let allowed = self.allowed(client);
        let mut walk = Walk {
            table: self,
            client,
            anchor: self.anchor(client),
            order: [(0, 0.0); REGIONS_MAX],
            length: 0,
        };
        walk.enter(&self.root, 0.0);
        let mut classes = [0u32; CLASSES];
        for (place, (region, _)) in walk.order[..walk.length].iter().enumerate() {
            let index = usize::from(*region);
            let is_kept =
                !active(Mutation::AnswersWithoutTheDown) || self.regions[index].tier != Tier::Down;
            if allowed.contains(index) && is_kept {
                let region = &self.regions[index];
                let passed = region.takes < u64::MAX && client.key.luck(region.salt) > region.takes;
                classes[region.tier as usize * 2 + usize::from(passed)] |= 1 << place;
            }
        }
        for (class, mut places) in classes.into_iter().enumerate() {
            while places != 0 {
                let (region, cost) = walk.order[places.trailing_zeros() as usize];
                places &= places - 1;
                answer.push(Entry {
                    region,
                    tier: self.regions[usize::from(region)].tier,
                    passed: class % 2 == 1,
                    cost,
                });
            }
        }
        answer.give(self.values_max);
    }

    /// Residency first; of what it allows, peers are left out that only this region could vouch for
    /// and can't, unless nothing else is left.
    pub(crate) fn allowed(&self, client: &Client) -> RegionSet {
        let resident = self.resident(client);
        let reached = resident.without(self.left_out);
        if reached.is_empty() {
            resident
        } else {
            reached
        }
    }

    pub(crate) fn resident(&self, client: &Client) -> RegionSet {
        let mut rules = self.residency.iter();
        let rule = rules.find(|(clients, _)| client.is_of(*clients));
        rule.map_or(self.otherwise, |(_, regions)| *regions)
    }

    fn scope_bits(&self, client: &Client) -> u8 {
        let by_place = self.uses.latency || self.uses.distance || self.uses.area;
        let place_bits = client
            .located
            .map_or(client.key_bits, |located| located.prefix_bits);
        let place_bits = if by_place { place_bits } else { 0 };
        if self.uses.key {
            place_bits.max(client.key_bits)
        } else {
            place_bits
        }
    }

    /// The region next to the client, up or not: from there on the way is measured. This one, if
    /// nobody knows where the client is.
    fn anchor(&self, client: &Client) -> usize {
        let Some(located) = client.located.filter(|_| self.uses.latency) else {
            return self.own;
        };
        let mut nearest = (f32::MIN, self.own);
        for (index, region) in self.regions.iter().enumerate() {
            let nearness = located.spot.nearness(&region.spot);
            if nearness > nearest.0 {
                nearest = (nearness, index);
            }
        }
        nearest.1
    }
}

impl Walk<'_> {
    /// Appends a node's regions, the best first.
    fn enter(&mut self, node: &Node, cost: f32) {
        let (by, choices) = match node {
            Node::Region(region) => {
                self.order[self.length] = (*region as u8, cost);
                self.length += 1;
                return;
            }
            Node::Choices { by, choices } => (*by, choices),
        };
        let mut costs = [0.0; REGIONS_MAX];
        for (index, choice) in choices.iter().enumerate() {
            costs[index] = self.cost(by, index, choice);
        }
        let places = ascending(&costs, choices.len());
        for index in &places[..choices.len()] {
            let index = usize::from(*index);
            self.enter(&choices[index].node, costs[index]);
        }
    }

    fn cost(&self, by: By, index: usize, choice: &Branch) -> f32 {
        match by {
            By::Latency => self.least(choice, |region| self.latency_ms(region)),
            By::Geoproximity => self.least(choice, |region| self.distance_km(region)) * choice.bias,
            By::Geolocation => self.geolocation(index, choice),
            By::Weighted => draw(self.client.key.luck(choice.salt), choice.weight),
            By::Multivalue => draw(self.client.key.luck(choice.salt), 1.0),
            By::Failover => index as f32,
        }
    }

    fn least(&self, choice: &Branch, cost: impl Fn(usize) -> f32) -> f32 {
        if let Node::Region(region) = choice.node {
            return cost(region);
        }
        choice
            .members
            .iter()
            .map(cost)
            .fold(f32::INFINITY, f32::min)
    }

    /// From the region next to the client on; the way there is the same for all.
    fn latency_ms(&self, region: usize) -> f32 {
        self.table.round_trips_ms[self.anchor * self.table.regions.len() + region]
    }

    fn distance_km(&self, region: usize) -> f32 {
        let regions = &self.table.regions;
        let from = match &self.client.located {
            Some(located) => &located.spot,
            None => &regions[self.table.own].spot,
        };
        from.distance_km(&regions[region].spot)
    }

    /// The choice for the client's country, then its area, then the fallbacks, then the rest: each
    /// kind in the order in which they are written.
    fn geolocation(&self, index: usize, choice: &Branch) -> f32 {
        let fits = |clients: &&Clients| self.client.is_of(**clients);
        let country = |clients: &Clients| matches!(clients, Clients::Country(_));
        let mut fitting = choice.clients.iter().filter(fits);
        let kind = match (choice.clients.is_empty(), fitting.next()) {
            (true, _) => 2,
            (false, None) => 3,
            (false, Some(first)) if country(first) || fitting.any(country) => 0,
            (false, Some(_)) => 1,
        };
        (kind * REGIONS_MAX + index) as f32
    }
}
