//! Names whose addresses depend on who asks.
//!
//! Which regions a client is sent to is decided elsewhere ([`Steer`]); here its answer becomes
//! records. Each region's addresses are compiled once, so an answer that names one region is a copy.

use crate::records::{RecordSet, Records};
use domain::base::iana::Rtype;
use std::fmt::Debug;
use std::net::IpAddr;

/// The regions that an answer names at most.
pub const CHOSEN_MAX: usize = 32;

/// Who asks, as far as an answer may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where the question came from: a resolver, mostly.
    pub resolver: IpAddr,
    /// The network of the client behind it, and the bits of it that are known (RFC 7871).
    pub subnet: Option<(IpAddr, u8)>,
}

/// Regions by their index in the topology, best first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chosen {
    regions: [u16; CHOSEN_MAX],
    length: usize,
}

impl Chosen {
    /// Adds a region behind those that are there; beyond [`CHOSEN_MAX`] they are left out.
    pub fn push(&mut self, region: usize) {
        if self.length < CHOSEN_MAX {
            self.regions[self.length] = region as u16;
            self.length += 1;
        }
    }

    /// The regions.
    pub fn regions(&self) -> impl Iterator<Item = usize> {
        self.regions[..self.length]
            .iter()
            .map(|region| usize::from(*region))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// Decides where a client goes.
///
/// It is asked for each question, so it neither waits nor allocates.
pub trait Steer: Send + Sync + Debug {
    /// Adds the regions whose addresses the client is given for a service. Returns how many leading
    /// bits of the client's network decided it (RFC 7871's scope; 0: all clients get this answer).
    fn steer(&self, service: usize, client: &Client, chosen: &mut Chosen) -> u8;
}

/// A steered name.
#[derive(Debug)]
pub struct Steered {
    service: usize,
    ttl_seconds: u32,
    /// By region.
    v4: Vec<RecordSet>,
    v6: Vec<RecordSet>,
}

/// The records that an answer has.
#[derive(Debug)]
pub enum Answers<'a> {
    /// None of this type.
    Nothing,
    /// One region's, compiled before.
    Compiled(Records<'a>),
    /// Those of several.
    Together(RecordSet),
}

impl Steered {
    /// The name of a service that has these addresses in each region, by the regions' index.
    #[must_use]
    pub fn new(service: usize, ttl_seconds: u32, regions: &[Vec<IpAddr>]) -> Self {
        let compile = |rtype| {
            let sets = regions
                .iter()
                .map(|addresses| RecordSet::of_addresses(rtype, ttl_seconds, addresses));
            sets.collect()
        };
        Self {
            service,
            ttl_seconds,
            v4: compile(Rtype::A),
            v6: compile(Rtype::AAAA),
        }
    }

    /// The types that some region has addresses of.
    pub fn types(&self) -> impl Iterator<Item = Rtype> {
        let any = |sets: &[RecordSet]| sets.iter().any(|set| set.records().count > 0);
        let types = [(Rtype::A, any(&self.v4)), (Rtype::AAAA, any(&self.v6))];
        types
            .into_iter()
            .filter_map(|(rtype, there)| there.then_some(rtype))
    }

    /// The records of a type for a client, and how much of its network decided about them.
    pub fn answer(&self, rtype: Rtype, client: &Client, steer: &dyn Steer) -> (Answers<'_>, u8) {
        let sets = match rtype {
            Rtype::A => &self.v4,
            Rtype::AAAA => &self.v6,
            _ => return (Answers::Nothing, 0),
        };
        let mut chosen = Chosen::default();
        let scope = steer.steer(self.service, client, &mut chosen);
        let mut of_type = chosen
            .regions()
            .filter_map(|region| Some(sets.get(region)?.records()))
            .filter(|set| set.count > 0);
        let answers = match (of_type.next(), of_type.next()) {
            (None, _) => Answers::Nothing,
            (Some(one), None) => Answers::Compiled(one),
            (Some(one), Some(two)) => {
                let sets = [one, two].into_iter().chain(of_type);
                let data = sets.flat_map(|set| set.data());
                let data = data.map(<[u8]>::to_vec).collect();
                Answers::Together(RecordSet::new(rtype, self.ttl_seconds, data))
            }
        };
        (answers, scope)
    }
}
