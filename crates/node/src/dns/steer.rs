//! Where a name's client goes: what steering has published, as the name server asks for it.

use crate::steering::Steering;
use meridian_dns::{Chosen, Client, Steer};
use meridian_steer::{Answer, Entry};
use meridian_topology::Topology;

/// Steering, asked for each question.
#[derive(Debug)]
pub(super) struct BySteering {
    steering: Steering,
    /// By region: whether clients can be given an address of it.
    has_address: Vec<bool>,
    /// Whether the client's network counts where its resolver tells it.
    by_subnet: bool,
}

impl BySteering {
    pub(super) fn new(topology: &Topology, steering: Steering) -> Self {
        let regions = topology.regions.iter();
        Self {
            steering,
            has_address: regions.map(|region| !region.addresses.is_empty()).collect(),
            by_subnet: topology.dns.client_subnet,
        }
    }

    fn is_named(&self, region: u8) -> bool {
        self.has_address
            .get(usize::from(region))
            .copied()
            .unwrap_or(false)
    }
}

impl Steer for BySteering {
    fn steer(&self, service: usize, client: &Client, chosen: &mut Chosen) -> u8 {
        let published = self.steering.glance();
        let Some(route) = published.routes.get(service) else {
            return 0;
        };
        let subnet = client.subnet.filter(|_| self.by_subnet);
        let turn = fastrand::u64(..);
        let geo = self.steering.geo();
        let asks = meridian_steer::Client::behind(geo, client.resolver, subnet, turn);
        let asks = route.recognised(asks, client.resolver, turn);
        let mut answer = Answer::default();
        route.table.decide(&asks, &mut answer);
        let named = |regions: &[Entry], most: usize, chosen: &mut Chosen| {
            let named = regions.iter().filter(|entry| self.is_named(entry.region));
            named
                .take(most)
                .for_each(|entry| chosen.push(usize::from(entry.region)));
        };
        named(answer.given(), usize::MAX, chosen);
        if chosen.is_empty() {
            // A region without an address can't be named; the next best can.
            named(answer.entries(), 1, chosen);
        }
        match subnet {
            Some((_, 1..)) => answer.scope_bits(),
            // The answer was made for the resolver, or its client asked not to be told apart
            // (RFC 7871 §7.1.2).
            _ => 0,
        }
    }
}
