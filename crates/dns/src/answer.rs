//! What a name's answer consists of (RFC 1034 §4.3.2).

use crate::dnssec::{Denied, ZoneKey, deny};
use crate::limit::{Account, Kind, Limited};
use crate::query::{Edns, HEADER_OCTETS, Query};
use crate::records::{FIXED_OCTETS, RecordSet, Records};
use crate::respond::View;
use crate::response::{Response, Section};
use crate::service::{Answers, Client};
use crate::zone::{Found, Node, Zone};
use domain::base::iana::{OptRcode, Rtype};

/// How many CNAMEs are followed: what a resolver would follow anyway.
const CNAMES_MAX: usize = 8;
/// RFC 8482 §4.2: one record that stands for everything.
const ANY_TTL_SECONDS: u32 = 3600;
const ANY_DATA: &[u8] = b"\x07RFC8482\x00";

/// An answer being found.
pub(crate) struct Writer<'a, 'o> {
    view: &'a View,
    query: &'a Query<'a>,
    /// The question's name in lower case.
    name: &'a [u8],
    client: Client,
    /// Whether signatures are wanted.
    signs: bool,
    account: Account<'a>,
    /// As what the answer is counted.
    kind: Kind<'a>,
    /// What becomes of it, once it has been counted.
    limited: Option<Limited>,
    written: Written<'o>,
}

/// What was found.
pub(crate) struct Written<'o> {
    pub(crate) response: Response<'o>,
    pub(crate) rcode: OptRcode,
    /// How many bits of the client's network decided.
    pub(crate) scope: u8,
    /// What becomes of it. One that isn't sent whole has no records.
    pub(crate) limited: Limited,
}

/// A name that is looked up, and where in the answer it stands.
#[derive(Clone, Copy)]
struct Asked<'n> {
    name: &'n [u8],
    at: usize,
}

impl Asked<'_> {
    /// Where the ancestor of this name stands.
    fn ancestor_at(&self, ancestor: &[u8]) -> usize {
        self.at + self.name.len() - ancestor.len()
    }

    /// Whether it is what the client named, and not where a CNAME led.
    fn is_question(&self) -> bool {
        self.at == HEADER_OCTETS
    }
}

enum Step {
    Done(OptRcode),
    Follow(Vec<u8>, usize),
}

impl<'a, 'o> Writer<'a, 'o> {
    pub(crate) fn new(
        view: &'a View,
        query: &'a Query<'a>,
        name: &'a [u8],
        client: Client,
        response: Response<'o>,
        account: Account<'a>,
    ) -> Self {
        Self {
            view,
            query,
            name,
            client,
            signs: query.edns.as_ref().is_some_and(|edns| edns.dnssec_ok),
            account,
            kind: Kind::Records(name),
            limited: None,
            written: Written {
                response,
                rcode: OptRcode::NOERROR,
                scope: 0,
                limited: Limited::Sent,
            },
        }
    }

    pub(crate) fn write(mut self) -> Written<'o> {
        let mut step = self.look_up(Asked {
            name: self.name,
            at: HEADER_OCTETS,
        });
        for _ in 0..CNAMES_MAX {
            let Step::Follow(name, at) = &step else { break };
            if self.is_kept_back() {
                break;
            }
            step = self.look_up(Asked { name, at: *at });
        }
        // A longer chain is a loop, most likely; what was found of it is the answer.
        if let Step::Done(rcode) = step {
            self.written.rcode = rcode;
        }
        self.written.limited = self.count();
        self.written
    }

    /// What becomes of the answer. It is counted before its first record is written, when it is known
    /// of which kind it is: signing costs far more than everything else, and a flood
    /// shall not have it.
    fn count(&mut self) -> Limited {
        *self
            .limited
            .get_or_insert_with(|| self.account.count(self.kind))
    }

    /// Whether nothing is to be written, since the answer isn't sent whole.
    fn is_kept_back(&mut self) -> bool {
        self.count() != Limited::Sent
    }

    fn look_up(&mut self, asked: Asked<'_>) -> Step {
        let names = &self.view.names;
        if self.query.rtype == Rtype::DS
            && let Some((zone, node)) = names.cut(asked.name)
        {
            self.written.response.authoritative = true;
            return Step::Done(self.records(zone, node, asked, false));
        }
        match names.find(asked.name) {
            Found::Here {
                zone,
                node,
                by_wildcard,
            } => {
                self.written.response.authoritative = true;
                if by_wildcard && asked.is_question() {
                    self.kind = Kind::Endless(zone.apex.octets());
                }
                match self.alias(zone, node) {
                    Some(alias) => self.follow(zone, alias, asked, by_wildcard),
                    None => Step::Done(self.records(zone, node, asked, by_wildcard)),
                }
            }
            Found::Below { zone, cut, node } => {
                if asked.is_question() {
                    self.kind = Kind::Records(cut.octets());
                }
                self.refer(zone, cut.octets(), node, asked);
                Step::Done(OptRcode::NOERROR)
            }
            Found::Absent { zone } => {
                self.written.response.authoritative = true;
                Step::Done(self.absent(zone, asked))
            }
            // Where a CNAME leads out of what is served, the resolver goes on.
            Found::Elsewhere if !asked.is_question() => Step::Done(OptRcode::NOERROR),
            Found::Elsewhere => {
                self.kind = Kind::Error;
                Step::Done(OptRcode::REFUSED)
            }
        }
    }

    /// The CNAME to follow, unless it is itself what was asked for.
    fn alias(&self, zone: &Zone, node: Node<'a>) -> Option<Records<'a>> {
        match self.query.rtype {
            Rtype::CNAME | Rtype::ANY => None,
            // RFC 4034 §4: the two types that stand beside a CNAME.
            Rtype::NSEC | Rtype::RRSIG if zone.key.is_some() => None,
            _ => node.set(Rtype::CNAME),
        }
    }

    fn follow(
        &mut self,
        zone: &Zone,
        alias: Records<'_>,
        asked: Asked<'_>,
        by_wildcard: bool,
    ) -> Step {
        let at = self.written.response.position() + FIXED_OCTETS;
        self.set(zone, Section::Answer, alias, asked, !by_wildcard);
        let target = alias.data().next().unwrap_or_default();
        Step::Follow(target.to_vec(), at)
    }

    /// The records of the type that was asked for, or their denial.
    fn records(
        &mut self,
        zone: &'a Zone,
        node: Node<'_>,
        asked: Asked<'_>,
        by_wildcard: bool,
    ) -> OptRcode {
        let rtype = self.query.rtype;
        if rtype == Rtype::ANY && node.types().next().is_some() {
            let any = RecordSet::new(Rtype::HINFO, ANY_TTL_SECONDS, vec![ANY_DATA.to_vec()]);
            self.set(zone, Section::Answer, any.records(), asked, false);
            return OptRcode::NOERROR;
        }
        if let Some(set) = node.set(rtype) {
            self.set(zone, Section::Answer, set, asked, !by_wildcard);
            return OptRcode::NOERROR;
        }
        if let Some(steered) = node.steered() {
            let (answers, scope) = steered.answer(rtype, &self.client, &*self.view.steer);
            self.written.scope = self.written.scope.max(scope);
            match &answers {
                Answers::Compiled(set) => {
                    self.set(zone, Section::Answer, *set, asked, !by_wildcard)
                }
                Answers::Together(set) => {
                    self.set(zone, Section::Answer, set.records(), asked, false);
                }
                Answers::Nothing => {}
            }
            if !matches!(answers, Answers::Nothing) {
                return OptRcode::NOERROR;
            }
        }
        if self.proves(zone) {
            let types = Denied::Types(&mut node.types());
            self.prove(zone, asked, types);
            return OptRcode::NOERROR;
        }
        let mut others = node.types().filter(|there| *there != rtype);
        self.deny(zone, asked, Denied::Types(&mut others));
        OptRcode::NOERROR
    }

    /// What becomes of a name that isn't there (RFC 9824 §3.1: where it is signed, it is one without
    /// types; §5.1: with its own code nevertheless, for who understands that).
    fn absent(&mut self, zone: &'a Zone, asked: Asked<'_>) -> OptRcode {
        if self.signs && self.proves(zone) {
            self.prove(zone, asked, Denied::Name);
            return OptRcode::NOERROR;
        }
        self.deny(zone, asked, Denied::Name);
        let knows = |edns: &Edns| edns.compact_ok;
        match self.key(zone) {
            Some(_) if !self.query.edns.as_ref().is_some_and(knows) => OptRcode::NOERROR,
            _ => OptRcode::NXDOMAIN,
        }
    }

    /// Whether one of the two types was asked for that every name of a signed zone has, by what a
    /// denial says.
    fn proves(&self, zone: &Zone) -> bool {
        zone.key.is_some() && matches!(self.query.rtype, Rtype::NSEC | Rtype::RRSIG)
    }

    /// The record that would deny other types, asked for by itself, or what signs it.
    fn prove(&mut self, zone: &'a Zone, asked: Asked<'_>, denied: Denied<'_>) {
        if asked.is_question() {
            self.kind = Kind::Endless(zone.apex.octets());
        }
        if self.is_kept_back() {
            return;
        }
        let nsec = deny(asked.name, zone.denial.records().ttl_seconds, denied);
        match (self.query.rtype, &zone.key) {
            (Rtype::RRSIG, Some(key)) => {
                // Like ANY (RFC 8482): some of them will do, and these there always are.
                let signature = key.sign(asked.name, nsec.records());
                let response = &mut self.written.response;
                response.append_record(Section::Answer, &signature, asked.at);
            }
            _ => self.set(zone, Section::Answer, nsec.records(), asked, false),
        }
    }

    /// That something isn't there, and for how long that may be believed (RFC 2308 §2).
    fn deny(&mut self, zone: &'a Zone, asked: Asked<'_>, denied: Denied<'_>) {
        if asked.is_question() {
            self.kind = Kind::Endless(zone.apex.octets());
        }
        if self.is_kept_back() {
            return;
        }
        let apex = Asked {
            name: zone.apex.octets(),
            at: asked.ancestor_at(zone.apex.octets()),
        };
        self.set(zone, Section::Authority, zone.denial.records(), apex, true);
        if self.key(zone).is_some() {
            let nsec = deny(asked.name, zone.denial.records().ttl_seconds, denied);
            self.set(zone, Section::Authority, nsec.records(), asked, false);
        }
    }

    /// To the servers of a zone below (RFC 1034 §4.2.1).
    fn refer(&mut self, zone: &Zone, cut: &[u8], node: Node<'_>, asked: Asked<'_>) {
        if self.is_kept_back() {
            return;
        }
        let below = Asked {
            name: cut,
            at: asked.ancestor_at(cut),
        };
        let response = &mut self.written.response;
        if let Some(servers) = node.set(Rtype::NS) {
            response.append(Section::Authority, servers, below.at);
        }
        if let Some(signer) = node.set(Rtype::DS) {
            self.set(zone, Section::Authority, signer, below, true);
        } else if self.key(zone).is_some() {
            let nsec = deny(
                cut,
                zone.denial.records().ttl_seconds,
                Denied::Types(&mut [Rtype::NS].into_iter()),
            );
            self.set(zone, Section::Authority, nsec.records(), below, false);
        }
        if let Some(glue) = node.glue() {
            self.written.response.append_help(&glue.octets, glue.count);
        }
    }

    /// Appends a set and, where it is wanted, its signature; `is_own` where the set is always this
    /// name's, so that the signature can be kept with it.
    fn set(
        &mut self,
        zone: &Zone,
        section: Section,
        set: Records<'_>,
        of: Asked<'_>,
        is_own: bool,
    ) {
        if self.is_kept_back() {
            return;
        }
        let response = &mut self.written.response;
        response.append(section, set, of.at);
        let Some(key) = zone.key.as_ref().filter(|_| self.signs) else {
            return;
        };
        match set.signature.filter(|_| is_own) {
            Some(kept) => {
                let signature = kept.get_or_init(|| key.sign(of.name, set).into());
                response.append_record(section, signature, of.at);
            }
            None => response.append_record(section, &key.sign(of.name, set), of.at),
        }
    }

    /// What to sign with, if that is wanted.
    fn key<'z>(&self, zone: &'z Zone) -> Option<&'z ZoneKey> {
        zone.key.as_ref().filter(|_| self.signs)
    }
}
