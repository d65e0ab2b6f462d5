//! Names out of zones' records, with everything checked that would answer wrongly later.

use super::{Glue, Names, Node, Zone};
use crate::dnssec::ZoneKey;
use crate::owner::{Owner, parent, suffixes};
use crate::records::{Record, RecordSet};
use crate::service::Steered;
use domain::base::Rtype;
use std::collections::{BTreeMap, HashMap};

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

type Sets = BTreeMap<(Owner, u16), Vec<Record>>;

impl Names {
    /// All names of these zones.
    ///
    /// # Errors
    ///
    /// Every [`ZoneFault`] that was found.
    pub fn build(sources: Vec<ZoneSource>) -> Result<Self, Vec<ZoneFault>> {
        let mut names = Self::default();
        let mut faults = Vec::new();
        // Parents before children: a child's apex takes the node that its parent has at the cut.
        let mut sources = sources;
        sources.sort_by_key(|source| suffixes(source.apex.octets()).count());
        for source in sources {
            if names.zones.iter().any(|zone| zone.apex == source.apex) {
                faults.push(ZoneFault::Twice(source.apex));
                continue;
            }
            names.add(source, &mut faults);
        }
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
        let sets = in_sets(&apex, records, faults);
        let Some(denial) = check_apex(&apex, &sets, faults) else {
            return;
        };
        let mut nodes: HashMap<Owner, Node> = HashMap::new();
        let cuts = cuts_of(&apex, &sets);
        let zone = self.zones.len();
        for ((owner, rtype), records) in &sets {
            let rtype = Rtype::from_int(*rtype);
            if records
                .iter()
                .any(|record| record.ttl_seconds != records[0].ttl_seconds)
            {
                faults.push(ZoneFault::TimesToLive {
                    owner: owner.clone(),
                    rtype,
                });
            }
            let cut = cut_above(&cuts, owner);
            if let Some(cut) = &cut
                && cut != owner
                && !matches!(rtype, Rtype::A | Rtype::AAAA)
            {
                faults.push(ZoneFault::BelowCut {
                    owner: owner.clone(),
                    cut: cut.clone(),
                });
            }
            let data = records.iter().map(|record| record.data.clone()).collect();
            let node = nodes.entry(owner.clone()).or_default();
            node.cut = cut;
            node.sets
                .push(RecordSet::new(rtype, records[0].ttl_seconds, data));
        }
        for (owner, steered) in steered {
            if !owner.is_within(&apex) {
                faults.push(ZoneFault::Outside {
                    owner,
                    apex: apex.clone(),
                });
                continue;
            }
            let node = nodes.entry(owner.clone()).or_default();
            if !node.sets.is_empty() || node.steered.is_some() {
                faults.push(ZoneFault::SteeredAndMore(owner));
                continue;
            }
            node.steered = Some(steered.into());
        }
        if let Some(key) = &key {
            let node = nodes.entry(apex.clone()).or_default();
            node.sets.push(key.record_set());
        }
        for cut in &cuts {
            let glue = glue_of(cut, &sets, faults);
            nodes.entry(cut.clone()).or_default().glue = Some(glue.into());
        }
        for (owner, node) in &nodes {
            if node
                .set(Rtype::CNAME)
                .is_some_and(|set| set.count() > 1 || node.sets.len() > 1)
            {
                faults.push(ZoneFault::CnameAndMore(owner.clone()));
            }
        }
        fill_gaps(&apex, &mut nodes);
        // What the zone above has at and below its cut, this one knows better.
        self.nodes.retain(|owner, _| !owner.is_within(&apex));
        for (owner, mut node) in nodes {
            node.zone = zone;
            self.nodes.insert(owner, node);
        }
        self.zones.push(Zone { apex, denial, key });
    }
}

/// The records by owner and type.
fn in_sets(apex: &Owner, records: Vec<Record>, faults: &mut Vec<ZoneFault>) -> Sets {
    let mut sets = Sets::new();
    for record in records {
        if !record.owner.is_within(apex) {
            faults.push(ZoneFault::Outside {
                owner: record.owner,
                apex: apex.clone(),
            });
            continue;
        }
        let at = (record.owner.clone(), record.rtype.to_int());
        sets.entry(at).or_default().push(record);
    }
    sets
}

/// The SOA for denials, if the apex has what it needs.
fn check_apex(apex: &Owner, sets: &Sets, faults: &mut Vec<ZoneFault>) -> Option<RecordSet> {
    if !sets.contains_key(&(apex.clone(), Rtype::NS.to_int())) {
        faults.push(ZoneFault::NameServer(apex.clone()));
    }
    let soa = sets
        .get(&(apex.clone(), Rtype::SOA.to_int()))
        .map(Vec::as_slice);
    let Some([soa]) = soa else {
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
fn cuts_of(apex: &Owner, sets: &Sets) -> Vec<Owner> {
    let servers = sets
        .keys()
        .filter(|(_, rtype)| *rtype == Rtype::NS.to_int());
    let cuts = servers
        .map(|(owner, _)| owner)
        .filter(|owner| *owner != apex);
    cuts.cloned().collect()
}

/// The highest cut at or above a name.
fn cut_above(cuts: &[Owner], owner: &Owner) -> Option<Owner> {
    let above = cuts.iter().filter(|cut| owner.is_within(cut));
    above.min_by_key(|cut| cut.octets().len()).cloned()
}

/// The addresses of a cut's servers that lie inside it.
fn glue_of(cut: &Owner, sets: &Sets, faults: &mut Vec<ZoneFault>) -> Glue {
    let mut glue = Glue::default();
    for record in &sets[&(cut.clone(), Rtype::NS.to_int())] {
        let server =
            Owner::of(&domain::base::Name::from_slice(&record.data).expect("NS names a name"));
        if !server.is_within(cut) {
            continue;
        }
        let types = [Rtype::A, Rtype::AAAA].map(|rtype| rtype.to_int());
        let of = types
            .iter()
            .filter_map(|rtype| sets.get(&(server.clone(), *rtype)));
        let addresses: Vec<&Record> = of.flatten().collect();
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

/// Empty nodes for names that only have others below them (RFC 4592 §2.2.2): they are there.
fn fill_gaps(apex: &Owner, nodes: &mut HashMap<Owner, Node>) {
    let owners: Vec<Owner> = nodes.keys().cloned().collect();
    for owner in owners {
        let cut = nodes[&owner].cut.clone();
        let mut name = owner.octets();
        while let Some(above) = parent(name).filter(|_| name != apex.octets()) {
            if !nodes.contains_key(above) {
                let above =
                    Owner::of(&domain::base::Name::from_slice(above).expect("a suffix of a name"));
                let cut = cut.clone().filter(|cut| above.is_within(cut));
                nodes.insert(
                    above,
                    Node {
                        cut,
                        ..Node::default()
                    },
                );
            }
            name = above;
        }
    }
}
