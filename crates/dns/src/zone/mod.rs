//! The names that are served, and finding one.
//!
//! All zones are in one index from names to entries, so a name that is there costs one look; one that
//! is not costs one for each of its ancestors up to the closest that is there (RFC 4592 §3.3.1's
//! closest encloser), which tells the zone, whether a cut stands above it, and whether a wildcard
//! beside it answers.
//!
//! All entries are in one piece of memory, each name with its records right behind it. That is small,
//! one allocation, and a look-up waits for memory as rarely as can be.
//!
//! Invariants, which [`build`](Names::build) holds or says where they don't:
//! - every name between a record's owner and its zone's apex has an entry, if an empty one;
//! - a zone has one SOA and at least one NS record at its apex;
//! - where there is a CNAME there is nothing else, and no cut has data below it but addresses;
//! - all records of a set have one time to live (RFC 2181 §5.2).

mod build;
mod entry;
mod index;
mod text;

pub use build::{ZoneFault, ZoneSource};
pub use text::{TextFault, parse_records};

use crate::dnssec::ZoneKey;
use crate::owner::{Owner, suffixes};
use crate::records::{RecordSet, Records, Signature};
use crate::service::Steered;
use domain::base::iana::Rtype;
use entry::Entry;
use index::Index;

/// All names of all zones.
#[derive(Debug)]
pub struct Names {
    index: Index,
    entries: Box<[u8]>,
    particulars: Vec<Particulars>,
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
    /// A place for the signature of each set; none where it isn't signed.
    signatures: Box<[Signature]>,
}

/// What few names have.
#[derive(Debug, Default)]
struct Particulars {
    /// The cut that the name is at or below; its answers are referrals.
    cut: Option<Owner>,
    /// Addresses that depend on who asks.
    steered: Option<Steered>,
    /// The glue of a cut: records with owners written out.
    glue: Option<Glue>,
}

/// What a name has.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    zone: &'a Zone,
    entry: Entry<'a>,
    particulars: Option<&'a Particulars>,
}

/// Addresses of a child zone's servers inside the child (RFC 1034 §4.2.1).
#[derive(Debug, Default)]
pub struct Glue {
    pub(crate) octets: Vec<u8>,
    pub(crate) count: u16,
}

impl<'a> Node<'a> {
    /// Its record sets, in the order of their types.
    pub fn sets(&self) -> impl Iterator<Item = Records<'a>> + use<'a> {
        self.entry.sets(&self.zone.signatures)
    }

    /// The records of a type.
    #[must_use]
    pub fn set(&self, rtype: Rtype) -> Option<Records<'a>> {
        self.sets().find(|set| set.rtype == rtype)
    }

    /// The types that the name has.
    pub fn types(&self) -> impl Iterator<Item = Rtype> + use<'a> {
        let steered = self.steered().into_iter().flat_map(Steered::types);
        self.sets().map(|set| set.rtype).chain(steered)
    }

    /// The addresses that depend on who asks.
    pub(crate) fn steered(&self) -> Option<&'a Steered> {
        self.particulars?.steered.as_ref()
    }

    /// The addresses of servers, for a name at which another zone begins.
    pub(crate) fn glue(&self) -> Option<&'a Glue> {
        self.particulars?.glue.as_ref()
    }

    fn cut(&self) -> Option<&'a Owner> {
        self.particulars?.cut.as_ref()
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
        node: Node<'a>,
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
        node: Node<'a>,
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
        if let Some(node) = self.get(name) {
            return self.at(node, false);
        }
        let Some((encloser, node)) = self.closest_encloser(name) else {
            return Found::Elsewhere;
        };
        if node.cut().is_some() {
            return self.at(node, false);
        }
        match self.get(&wildcard_of(encloser)) {
            Some(wildcard) => self.at(wildcard, true),
            None => Found::Absent { zone: node.zone },
        }
    }

    fn get(&self, name: &[u8]) -> Option<Node<'_>> {
        let places = self.index.places(name);
        let mut entries = places.map(|place| Entry::read(&self.entries[place..]));
        let entry = entries.find(|entry| entry.name == name)?;
        let particulars = entry.particulars.checked_sub(1);
        Some(Node {
            zone: &self.zones[entry.zone as usize],
            entry,
            particulars: particulars.map(|number| &self.particulars[number as usize]),
        })
    }

    fn closest_encloser<'n>(&self, name: &'n [u8]) -> Option<(&'n [u8], Node<'_>)> {
        suffixes(name).find_map(|suffix| Some((suffix, self.get(suffix)?)))
    }

    fn at<'a>(&'a self, node: Node<'a>, by_wildcard: bool) -> Found<'a> {
        let zone = node.zone;
        match node.cut() {
            None => Found::Here {
                zone,
                node,
                by_wildcard,
            },
            Some(cut) => Found::Below {
                zone,
                cut,
                node: self.get(cut.octets()).expect("a cut has an entry"),
            },
        }
    }

    /// The node of a name at which another zone begins, as the zone above it has it: the type DS is
    /// asked there (RFC 4035 §3.1.4.1).
    #[must_use]
    pub fn cut(&self, name: &[u8]) -> Option<(&Zone, Node<'_>)> {
        let node = self.get(name)?;
        let at_cut = node.cut().is_some_and(|cut| cut.octets() == name);
        at_cut.then_some((node.zone, node))
    }

    /// The zones that are served.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// How many names there are, empty ones between others included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing is served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }
}

/// The wildcard's name beside a name.
fn wildcard_of(encloser: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(encloser.len() + 2);
    name.extend_from_slice(b"\x01*");
    name.extend_from_slice(encloser);
    name
}
