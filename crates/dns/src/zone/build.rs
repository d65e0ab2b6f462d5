//! Names out of zones' records, with everything checked that would answer wrongly later.

use super::{Glue, Names, Particulars, Zone, entry};
use crate::dnssec::ZoneKey;
use crate::owner::{Owner, suffixes};
use crate::records::{Record, RecordSet, Signature};
use crate::service::Steered;
use domain::base::Rtype;
use std::cmp::Reverse;
use std::collections::HashSet;

/// A zone as it is given.
#[derive(Debug)]
pub struct ZoneSource {
    /// Its name.
    pub apex: Owner,
    /// Its records, SOA and NS included.
    pub records: Vec<Record>,
    /// Its names whose addresses depend on who asks.
    pub steered: Vec<(Owner, Steered)>,
    /// What it is signed with; unsigned without.
    pub key: Option<ZoneKey>,
}

/// What is wrong with a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZoneFault {
    /// Two zones of one name.
    #[error("the zone {0} is there twice")]
    Twice(Owner),
    /// No SOA at the apex, or several.
    #[error("the zone {0} needs exactly one SOA record at its name")]
    Soa(Owner),
    /// No NS at the apex.
    #[error("the zone {0} needs an NS record at its name")]
    NameServer(Owner),
    /// A record of another zone.
    #[error("{owner} isn't within the zone {apex}")]
    Outside {
        /// Whose record it is.
        owner: Owner,
        /// The zone.
        apex: Owner,
    },
    /// CNAME beside anything (RFC 1034 §3.6.2, RFC 2181 §10.1).
    #[error("{0} has a CNAME record and something else: a CNAME stands alone")]
    CnameAndMore(Owner),
    /// Times to live that differ in a set (RFC 2181 §5.2).
    #[error("the {rtype} records of {owner} have different times to live")]
    TimesToLive {
        /// Whose records they are.
        owner: Owner,
        /// Their type.
        rtype: Rtype,
    },
    /// Something below a cut that is no address.
    #[error("{owner} lies in the zone {cut}, which is delegated: only addresses may stand there")]
    BelowCut {
        /// The name.
        owner: Owner,
        /// Where the zone is delegated.
        cut: Owner,
    },
    /// A name server inside the zone that it serves, without an address.
    #[error("the name server {server} of {cut} has no address here, so nobody could find it")]
    NoGlue {
        /// The server.
        server: Owner,
        /// The zone that it serves.
        cut: Owner,
    },
    /// A steered name with records of its own.
    #[error("{0} is steered and has records of its own")]
    SteeredAndMore(Owner),
}

impl ZoneFault {
    /// The name that it is about.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        match self {
            Self::Twice(owner)
            | Self::Soa(owner)
            | Self::NameServer(owner)
            | Self::CnameAndMore(owner)
            | Self::SteeredAndMore(owner)
            | Self::Outside { owner, .. }
            | Self::TimesToLive { owner, .. }
            | Self::BelowCut { owner, .. } => owner,
            Self::NoGlue { cut, .. } => cut,
        }
    }
}

impl Names {
    /// All names of these zones.
    ///
    /// # Errors
    ///
    /// Every [`ZoneFault`] that was found.
    pub fn build(mut sources: Vec<ZoneSource>) -> Result<Self, Vec<ZoneFault>> {
        let mut names = Self::default();
        let mut faults = Vec::new();
        // Children before parents: what a parent has at and below a child's apex, the child knows
        // better.
        sources.sort_by_key(|source| Reverse(suffixes(source.apex.octets()).count()));
        for source in sources {
            if names.zones.iter().any(|zone| zone.apex == source.apex) {
                faults.push(ZoneFault::Twice(source.apex));
                continue;
            }
            names.add(source, &mut faults);
        }
        names.entries.shrink_to_fit();
        if faults.is_empty() {
            Ok(names)
        } else {
            Err(faults)
        }
    }

    fn add(&mut self, source: ZoneSource, faults: &mut Vec<ZoneFault>) {
        let ZoneSource {
            apex,
            records,
            steered,
            key,
        } = source;
        let sets = Sets::of(&apex, records, faults);
        let Some(denial) = check_apex(&apex, &sets, faults) else {
            return;
        };
        let cuts = cuts_of(&apex, &sets);
        self.zones.push(Zone {
            apex: apex.clone(),
            denial,
            key,
        });
        let mut owners = Vec::new();
        for of_owner in sets.by_owner() {
            let owner = &of_owner[0].owner;
            self.add_owner(of_owner, &sets, &cuts, faults);
            owners.push(owner.octets());
        }
        let mut of_steered = Vec::new();
        for (owner, steered) in steered {
            if !owner.is_within(&apex) {
                faults.push(ZoneFault::Outside {
                    owner,
                    apex: apex.clone(),
                });
            } else if self.has(owner.octets()) {
                faults.push(ZoneFault::SteeredAndMore(owner));
            } else {
                let particulars = Particulars {
                    steered: Some(steered),
                    ..Particulars::default()
                };
                self.insert(owner.octets(), Some(particulars), &[]);
                of_steered.push(owner);
            }
        }
        owners.extend(of_steered.iter().map(Owner::octets));
        self.fill_gaps(&apex, &owners, &cuts);
    }

    /// Adds a name with its records.
    fn add_owner(
        &mut self,
        records: &[Record],
        all: &Sets,
        cuts: &HashSet<Owner>,
        faults: &mut Vec<ZoneFault>,
    ) {
        let owner = &records[0].owner;
        let cut = cut_above(cuts, owner.octets());
        let of_types = records.chunk_by(|a, b| a.rtype == b.rtype);
        let mut sets: Vec<_> = of_types
            .map(|records| set_of(records, cut, faults))
            .collect();
        let is_alone = |set: &RecordSet| set.records().count == 1 && sets.len() == 1;
        let mut aliases = sets
            .iter()
            .filter(|set| set.records().rtype == Rtype::CNAME);
        if !aliases.all(is_alone) {
            faults.push(ZoneFault::CnameAndMore(owner.clone()));
        }
        let zone = self.zones.last().expect("names are added to a zone");
        if *owner == zone.apex {
            sets.extend(zone.key.as_ref().map(ZoneKey::record_set));
        }
        let particulars = cut.map(|cut| Particulars {
            cut: Some(cut.clone()),
            glue: (cut == owner).then(|| glue_of(cut, all, faults)),
            steered: None,
        });
        self.insert(owner.octets(), particulars, &sets);
    }

    /// Adds empty entries for names that only have others below them (RFC 4592 §2.2.2): they are there.
    fn fill_gaps(&mut self, apex: &Owner, owners: &[&[u8]], cuts: &HashSet<Owner>) {
        for owner in owners {
            for name in suffixes(owner).take_while(|name| *name != apex.octets()) {
                if !self.has(name) {
                    let cut = cut_above(cuts, name).cloned();
                    let particulars = cut.is_some().then(|| Particulars {
                        cut,
                        ..Particulars::default()
                    });
                    self.insert(name, particulars, &[]);
                }
            }
        }
    }

    /// Whether the zone that was begun last has the name already.
    fn has(&self, name: &[u8]) -> bool {
        let node = self.get(name);
        node.is_some_and(|node| node.entry.zone as usize == self.zones.len() - 1)
    }

    /// Adds a name to the zone that was begun last, unless it belongs to a zone below.
    fn insert(&mut self, name: &[u8], particulars: Option<Particulars>, sets: &[RecordSet]) {
        let zone = self.zones.len() - 1;
        let (below, of) = self.zones.split_at(zone);
        if below
            .iter()
            .any(|zone| suffixes(name).any(|suffix| suffix == zone.apex.octets()))
        {
            return;
        }
        let mut signatures = 0;
        if of[0].key.is_some() {
            signatures = self.signatures.len() + 1;
            let places = sets.iter().map(|_| Signature::new());
            self.signatures.extend(places);
        }
        let particulars = particulars.map_or(0, |particulars| {
            self.particulars.push(particulars);
            self.particulars.len()
        });
        self.index.insert(name, self.entries.len());
        entry::append(
            &mut self.entries,
            name,
            [zone, particulars, signatures],
            sets,
        );
    }
}

/// The records of one owner and type.
fn set_of(records: &[Record], cut: Option<&Owner>, faults: &mut Vec<ZoneFault>) -> RecordSet {
    let Record {
        owner,
        rtype,
        ttl_seconds,
        ..
    } = &records[0];
    if records
        .iter()
        .any(|record| record.ttl_seconds != *ttl_seconds)
    {
        faults.push(ZoneFault::TimesToLive {
            owner: owner.clone(),
            rtype: *rtype,
        });
    }
    if let Some(cut) = cut
        && cut != owner
        && !matches!(*rtype, Rtype::A | Rtype::AAAA)
    {
        faults.push(ZoneFault::BelowCut {
            owner: owner.clone(),
            cut: cut.clone(),
        });
    }
    let data = records.iter().map(|record| record.data.clone()).collect();
    RecordSet::new(*rtype, *ttl_seconds, data)
}

/// A zone's records by owner and type.
struct Sets(Vec<Record>);

impl Sets {
    fn of(apex: &Owner, mut records: Vec<Record>, faults: &mut Vec<ZoneFault>) -> Self {
        records.retain(|record| {
            let is_within = record.owner.is_within(apex);
            if !is_within {
                faults.push(ZoneFault::Outside {
                    owner: record.owner.clone(),
                    apex: apex.clone(),
                });
            }
            is_within
        });
        records.sort_by(|a, b| Self::key(a).cmp(&Self::key(b)));
        Self(records)
    }

    fn key(record: &Record) -> (&Owner, u16) {
        (&record.owner, record.rtype.to_int())
    }

    fn by_owner(&self) -> impl Iterator<Item = &[Record]> {
        self.0.chunk_by(|a, b| a.owner == b.owner)
    }

    /// The records of an owner and type, if any.
    fn get(&self, owner: &Owner, rtype: Rtype) -> &[Record] {
        let key = (owner, rtype.to_int());
        let from = self.0.partition_point(|record| Self::key(record) < key);
        let behind = &self.0[from..];
        &behind[..behind.partition_point(|record| Self::key(record) == key)]
    }
}

/// The SOA for denials, if the apex has what it needs.
fn check_apex(apex: &Owner, sets: &Sets, faults: &mut Vec<ZoneFault>) -> Option<RecordSet> {
    if sets.get(apex, Rtype::NS).is_empty() {
        faults.push(ZoneFault::NameServer(apex.clone()));
    }
    let [soa] = sets.get(apex, Rtype::SOA) else {
        faults.push(ZoneFault::Soa(apex.clone()));
        return None;
    };
    // MINIMUM is the last of an SOA's fields (RFC 1035 §3.3.13).
    let minimum = soa
        .data
        .last_chunk::<4>()
        .map_or(0, |octets| u32::from_be_bytes(*octets));
    let ttl_seconds = soa.ttl_seconds.min(minimum);
    Some(RecordSet::new(
        Rtype::SOA,
        ttl_seconds,
        vec![soa.data.clone()],
    ))
}

/// Where child zones begin.
fn cuts_of(apex: &Owner, sets: &Sets) -> HashSet<Owner> {
    let servers = sets.0.iter().filter(|record| record.rtype == Rtype::NS);
    let cuts = servers.filter(|server| server.owner != *apex);
    cuts.map(|server| server.owner.clone()).collect()
}

/// The highest cut at or above a name.
fn cut_above<'c>(cuts: &'c HashSet<Owner>, name: &[u8]) -> Option<&'c Owner> {
    let above = suffixes(name).filter_map(|name| cuts.get(name));
    above.last()
}

/// The addresses of a cut's servers that lie inside it.
fn glue_of(cut: &Owner, sets: &Sets, faults: &mut Vec<ZoneFault>) -> Glue {
    let mut glue = Glue::default();
    for record in sets.get(cut, Rtype::NS) {
        let server =
            Owner::of(&domain::base::Name::from_slice(&record.data).expect("NS names a name"));
        if !server.is_within(cut) {
            continue;
        }
        let of = [Rtype::A, Rtype::AAAA].map(|rtype| sets.get(&server, rtype));
        let addresses = of.concat();
        if addresses.is_empty() {
            faults.push(ZoneFault::NoGlue {
                server,
                cut: cut.clone(),
            });
            continue;
        }
        for address in addresses {
            let mut one = Vec::new();
            crate::records::append_record(
                &mut one,
                address.rtype,
                address.ttl_seconds,
                &address.data,
            );
            glue.octets.extend_from_slice(server.octets());
            glue.octets.extend_from_slice(&one[2..]);
            glue.count += 1;
        }
    }
    glue
}
