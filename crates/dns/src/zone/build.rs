//! Names out of zones' records, with everything checked that would answer wrongly later.

use super::index::Index;
use super::{Glue, Names, Particulars, Zone, entry};
use crate::dnssec::ZoneKey;
use crate::owner::{Owner, parent, suffixes};
use crate::records::{Record, RecordSet, Signature};
use crate::service::Steered;
use domain::base::Rtype;
use std::collections::{HashMap, HashSet};

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

/// A name's entry while zones are put together.
#[derive(Default)]
struct Draft {
    zone: usize,
    sets: Vec<RecordSet>,
    particulars: Option<Box<Particulars>>,
}

impl Draft {
    fn particulars(&mut self) -> &mut Particulars {
        self.particulars.get_or_insert_default()
    }

    fn cut(&self) -> Option<&Owner> {
        self.particulars.as_ref()?.cut.as_ref()
    }
}

type Drafts = HashMap<Owner, Draft>;

impl Names {
    /// All names of these zones.
    ///
    /// # Errors
    ///
    /// Every [`ZoneFault`] that was found.
    pub fn build(mut sources: Vec<ZoneSource>) -> Result<Self, Vec<ZoneFault>> {
        let mut drafts = Drafts::new();
        let mut zones: Vec<Zone> = Vec::new();
        let mut faults = Vec::new();
        // Parents before children: a child's apex takes the place that its parent has at the cut.
        sources.sort_by_key(|source| suffixes(source.apex.octets()).count());
        for source in sources {
            if zones.iter().any(|zone| zone.apex == source.apex) {
                faults.push(ZoneFault::Twice(source.apex));
                continue;
            }
            zones.extend(add(source, zones.len(), &mut drafts, &mut faults));
        }
        if faults.is_empty() {
            Ok(pack(drafts, zones))
        } else {
            Err(faults)
        }
    }
}

/// Adds a zone's names; its parent's, at and below its apex, make room.
fn add(
    source: ZoneSource,
    number: usize,
    all: &mut Drafts,
    faults: &mut Vec<ZoneFault>,
) -> Option<Zone> {
    let ZoneSource {
        apex,
        records,
        steered,
        key,
    } = source;
    let sets = Sets::of(&apex, records, faults);
    let denial = check_apex(&apex, &sets, faults)?;
    let cuts = cuts_of(&apex, &sets);
    let mut drafts = Drafts::new();
    for records in sets.iter() {
        add_set(records, &cuts, &mut drafts, faults);
    }
    for (owner, steered) in steered {
        if !owner.is_within(&apex) {
            faults.push(ZoneFault::Outside {
                owner,
                apex: apex.clone(),
            });
            continue;
        }
        let draft = drafts.entry(owner.clone()).or_default();
        if !draft.sets.is_empty() || draft.particulars.is_some() {
            faults.push(ZoneFault::SteeredAndMore(owner));
            continue;
        }
        draft.particulars().steered = Some(steered);
    }
    if let Some(key) = &key {
        let draft = drafts.entry(apex.clone()).or_default();
        draft.sets.push(key.record_set());
    }
    for cut in &cuts {
        let glue = glue_of(cut, &sets, faults);
        drafts.entry(cut.clone()).or_default().particulars().glue = Some(glue);
    }
    for (owner, draft) in &drafts {
        let mut sets = draft.sets.iter().map(RecordSet::records);
        if sets.any(|set| set.rtype == Rtype::CNAME && (set.count > 1 || draft.sets.len() > 1)) {
            faults.push(ZoneFault::CnameAndMore(owner.clone()));
        }
    }
    fill_gaps(&apex, &mut drafts);
    // What the zone above has at and below its cut, this one knows better.
    all.retain(|owner, _| !owner.is_within(&apex));
    all.extend(drafts.into_iter().map(|(owner, draft)| {
        let zone = number;
        (owner, Draft { zone, ..draft })
    }));
    Some(Zone {
        apex,
        denial,
        key,
        signatures: Box::default(),
    })
}

/// Adds the records of one owner and type.
fn add_set(
    records: &[Record],
    cuts: &HashSet<Owner>,
    drafts: &mut Drafts,
    faults: &mut Vec<ZoneFault>,
) {
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
    let cut = cut_above(cuts, owner);
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
    let draft = drafts.entry(owner.clone()).or_default();
    if let Some(cut) = cut {
        draft.particulars().cut = Some(cut.clone());
    }
    draft.sets.push(RecordSet::new(*rtype, *ttl_seconds, data));
}

/// Puts all names into one piece of memory.
fn pack(drafts: Drafts, mut zones: Vec<Zone>) -> Names {
    let mut index = Index::with_capacity(drafts.len());
    let mut entries = Vec::new();
    let mut all_particulars = Vec::new();
    let mut set_counts = vec![0; zones.len()];
    for (name, draft) in drafts {
        let particulars = draft.particulars.map_or(0, |particulars| {
            all_particulars.push(*particulars);
            all_particulars.len()
        });
        index.insert(name.octets(), entries.len());
        entry::append(
            &mut entries,
            &name,
            draft.zone,
            particulars,
            set_counts[draft.zone],
            &draft.sets,
        );
        set_counts[draft.zone] += draft.sets.len();
    }
    for (zone, sets) in zones.iter_mut().zip(set_counts) {
        if zone.key.is_some() {
            zone.signatures = (0..sets).map(|_| Signature::new()).collect();
        }
    }
    Names {
        index,
        entries: entries.into(),
        particulars: all_particulars,
        zones,
    }
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

    fn iter(&self) -> impl Iterator<Item = &[Record]> {
        self.0.chunk_by(|a, b| Self::key(a) == Self::key(b))
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
    let servers = sets.iter().map(|records| &records[0]);
    let cuts = servers.filter(|first| first.rtype == Rtype::NS && first.owner != *apex);
    cuts.map(|first| first.owner.clone()).collect()
}

/// The highest cut at or above a name.
fn cut_above<'c>(cuts: &'c HashSet<Owner>, owner: &Owner) -> Option<&'c Owner> {
    let above = suffixes(owner.octets()).filter_map(|name| cuts.get(name));
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

/// Empty entries for names that only have others below them (RFC 4592 §2.2.2): they are there.
fn fill_gaps(apex: &Owner, drafts: &mut Drafts) {
    let owners: Vec<Owner> = drafts.keys().cloned().collect();
    for owner in owners {
        let cut = drafts[&owner].cut().cloned();
        let mut name = owner.octets();
        while let Some(above) = parent(name).filter(|_| name != apex.octets()) {
            if !drafts.contains_key(above) {
                let above =
                    Owner::of(&domain::base::Name::from_slice(above).expect("a suffix of a name"));
                let mut draft = Draft::default();
                if let Some(cut) = cut.as_ref().filter(|cut| above.is_within(cut)) {
                    draft.particulars().cut = Some(cut.clone());
                }
                drafts.insert(above, draft);
            }
            name = above;
        }
    }
}
