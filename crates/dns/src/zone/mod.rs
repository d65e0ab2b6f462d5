//! The names that are served, and finding one.
//!
//! All zones are in one map from name to node, so a name that is there costs one look; one that is
//! not costs one for each of its ancestors up to the closest that is there (RFC 4592 §3.3.1's closest
//! encloser), which tells the zone, whether a cut stands above it, and whether a wildcard beside it
//! answers.
//!
//! Invariants, which [`build`](Names::build) holds or says where they don't:
//! - every name between a record's owner and its zone's apex has a node, if an empty one;
//! - a zone has one SOA and at least one NS record at its apex;
//! - where there is a CNAME there is nothing else, and no cut has data below it but addresses;
//! - all records of a set have one time to live (RFC 2181 §5.2).

mod build;
mod text;

pub use build::{ZoneFault, ZoneSource};
pub use text::{TextFault, parse_records};

use crate::dnssec::ZoneKey;
use crate::owner::{Owner, suffixes};
use crate::records::RecordSet;
use crate::service::Steered;
use domain::base::iana::Rtype;
use std::collections::HashMap;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// All names of all zones.
#[derive(Debug, Default)]
pub struct Names {
    nodes: HashMap<Owner, Node, Xxh3DefaultBuilder>,
    zones: Vec<Zone>,
}

/// What a whole zone has.
#[derive(Debug)]
pub struct Zone {
    /// The zone's name.
    pub apex: Owner,
    /// The SOA record as it stands under a denial: with the time that a denial may be kept (RFC 2308
    /// §5: the lesser of its own and its MINIMUM).
    pub denial: RecordSet,
    /// What it is signed with.
    pub key: Option<ZoneKey>,
}

/// What a name has. The map is as long as its entries are, and a question touches it in one place: what
/// few names have is kept elsewhere.
#[derive(Debug, Default)]
pub struct Node {
    zone: usize,
    /// The cut that this name is at or below; its answers are referrals.
    cut: Option<Owner>,
    /// Record sets, in the order of their types.
    pub(crate) sets: Vec<RecordSet>,
    /// A name whose addresses depend on who asks.
    pub(crate) steered: Option<Box<Steered>>,
    /// The glue of a cut: records with owners written out.
    pub(crate) glue: Option<Box<Glue>>,
}

/// Addresses of a child zone's servers inside the child (RFC 1034 §4.2.1).
#[derive(Debug, Default)]
pub struct Glue {
    pub(crate) octets: Vec<u8>,
    pub(crate) count: u16,
}

impl Node {
    /// The records of a type.
    #[must_use]
    pub fn set(&self, rtype: Rtype) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.rtype() == rtype)
    }

    /// The types that the name has.
    pub fn types(&self) -> impl Iterator<Item = Rtype> {
        let steered = self.steered.iter().flat_map(|steered| steered.types());
        self.sets.iter().map(RecordSet::rtype).chain(steered)
    }
}

/// What there is of a name.
#[derive(Debug)]
pub enum Found<'a> {
    /// The name, or a wildcard that stands for it.
    Here {
        /// Its zone.
        zone: &'a Zone,
        /// What it has.
        node: &'a Node,
        /// Whether a wildcard stands for it.
        by_wildcard: bool,
    },
    /// A zone that others serve holds it.
    Below {
        /// The zone that delegates.
        zone: &'a Zone,
        /// The name at which it does.
        cut: &'a Owner,
        /// That name's node.
        node: &'a Node,
    },
    /// No such name in this zone.
    Absent {
        /// The zone.
        zone: &'a Zone,
    },
    /// No zone here has it.
    Elsewhere,
}

impl Names {
    /// What there is of a name, given as octets in lower case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Found<'_> {
        if let Some(node) = self.nodes.get(name) {
            return self.at(node, false);
        }
        let Some((encloser, node)) = self.closest_encloser(name) else {
            return Found::Elsewhere;
        };
        if node.cut.is_some() {
            return self.at(node, false);
        }
        match self.nodes.get(&wildcard_of(encloser)[..]) {
            Some(wildcard) => self.at(wildcard, true),
            None => Found::Absent {
                zone: &self.zones[node.zone],
            },
        }
    }

    fn closest_encloser<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], &Node)> {
        suffixes(name).find_map(|suffix| Some((suffix, self.nodes.get(suffix)?)))
    }

    fn at<'a>(&'a self, node: &'a Node, by_wildcard: bool) -> Found<'a> {
        let zone = &self.zones[node.zone];
        match &node.cut {
            None => Found::Here {
                zone,
                node,
                by_wildcard,
            },
            Some(cut) => Found::Below {
                zone,
                cut,
                node: &self.nodes[cut],
            },
        }
    }

    /// The node of a name at which another zone begins, as the zone above it has it: the type DS is
    /// asked there (RFC 4035 §3.1.4.1).
    #[must_use]
    pub fn cut(&self, name: &[u8]) -> Option<(&Zone, &Node)> {
        let node = self.nodes.get(name)?;
        let at_cut = node.cut.as_ref().is_some_and(|cut| cut.octets() == name);
        at_cut.then(|| (&self.zones[node.zone], node))
    }

    /// The zones that are served.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// How many names there are, empty ones between others included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// The wildcard's name beside a name.
fn wildcard_of(encloser: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encloser.len() + 2);
    name.extend_from_slice(b"\x01*");
    name.extend_from_slice(encloser);
    name
}
