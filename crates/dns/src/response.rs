//! An answer's octets.
//!
//! The header is written last, when its counts are known; the room for the OPT record is kept free
//! from the beginning, so that an answer which grows too large can always say so.

use crate::query::{HEADER_OCTETS, Header};
use crate::records::{Records, append_with_owner};
use domain::base::iana::{ExtendedErrorCode, OptRcode, OptionCode, Rtype};
use domain::base::opt::{ClientSubnet, ComposeOptData, Cookie};

/// The octets of a datagram that always arrives whole (the DNS flag day 2020's figure, from IPv6's
/// least MTU), which is what is offered and sent at most.
pub const UDP_OCTETS_MAX: u16 = 1232;
/// What a client without EDNS takes in a datagram (RFC 1035 §4.2.1).
const PLAIN_UDP_OCTETS: u16 = 512;
/// The record's octets without options: root, type, class, TTL, length (RFC 6891 §6.1.2).
const OPT_OCTETS: usize = 11;
/// An option's octets before its data: code and length (RFC 6891 §6.1.2).
const OPTION_HEADER_OCTETS: usize = 4;
/// The data of an extended error that has no text (RFC 8914 §2).
const ERROR_OCTETS: u16 = 2;

/// Where in an answer records stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

/// What the OPT record of an answer says.
#[derive(Debug, Default)]
pub(crate) struct Options<'a> {
    pub(crate) dnssec_ok: bool,
    pub(crate) compact_ok: bool,
    pub(crate) subnet: Option<ClientSubnet>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) nsid: Option<&'a [u8]>,
    pub(crate) error: Option<ExtendedErrorCode>,
}

impl Options<'_> {
    /// The octets of the OPT record that says this.
    pub(crate) fn octets(&self) -> usize {
        let subnet = self.subnet.as_ref().map(ClientSubnet::compose_len);
        let cookie = self.cookie.as_ref().map(Cookie::compose_len);
        let nsid = self.nsid.map(|nsid| nsid.len() as u16);
        let error = self.error.map(|_| ERROR_OCTETS);
        let options = [subnet, cookie, nsid, error].into_iter().flatten();
        let lengths = options.map(|length| OPTION_HEADER_OCTETS + usize::from(length));
        OPT_OCTETS + lengths.sum::<usize>()
    }

    fn append(&self, to: &mut Vec<u8>, rcode: OptRcode) {
        to.push(0);
        to.extend(Rtype::OPT.to_int().to_be_bytes());
        to.extend(UDP_OCTETS_MAX.to_be_bytes());
        let flags = u8::from(self.dnssec_ok) << 7 | u8::from(self.compact_ok) << 6;
        to.extend([rcode.ext(), 0, flags, 0]);
        to.extend(((self.octets() - OPT_OCTETS) as u16).to_be_bytes());
        if let Some(subnet) = &self.subnet {
            append_option(to, OptionCode::CLIENT_SUBNET, subnet);
        }
        if let Some(cookie) = &self.cookie {
            append_option(to, OptionCode::COOKIE, cookie);
        }
        if let Some(nsid) = self.nsid {
            append_header(to, OptionCode::NSID, nsid.len() as u16);
            to.extend_from_slice(nsid);
        }
        if let Some(error) = self.error {
            append_header(to, OptionCode::EXTENDED_ERROR, ERROR_OCTETS);
            to.extend(error.to_int().to_be_bytes());
        }
    }
}

/// One answer being written.
#[derive(Debug)]
pub(crate) struct Response<'o> {
    octets: &'o mut Vec<u8>,
    /// The end of the question: records begin here.
    records_at: usize,
    counts: [u16; 3],
    /// Without the OPT record.
    octets_max: usize,
    pub(crate) authoritative: bool,
    truncated: bool,
}

impl<'o> Response<'o> {
    /// Begins an answer to a question (as asked; empty where it couldn't be read), of at most so many
    /// octets without its OPT record.
    pub(crate) fn new(octets: &'o mut Vec<u8>, question: &[u8], octets_max: usize) -> Self {
        octets.clear();
        octets.resize(HEADER_OCTETS, 0);
        octets.extend_from_slice(question);
        Self {
            records_at: octets.len(),
            octets,
            counts: [0; 3],
            octets_max,
            authoritative: false,
            truncated: false,
        }
    }

    /// What a datagram may hold, by what the client said it takes.
    pub(crate) fn udp_octets_max(offered: Option<u16>) -> usize {
        let offered = offered.map_or(PLAIN_UDP_OCTETS, |offered| {
            offered.clamp(PLAIN_UDP_OCTETS, UDP_OCTETS_MAX)
        });
        usize::from(offered)
    }

    /// Where the next record will stand.
    pub(crate) fn position(&self) -> usize {
        self.octets.len()
    }

    /// Appends records whose owner's name stands at this offset.
    pub(crate) fn append(&mut self, section: Section, set: Records<'_>, owner_at: usize) {
        if owner_at == HEADER_OCTETS {
            self.octets.extend_from_slice(set.octets);
        } else {
            append_with_owner(self.octets, set.octets, owner_at);
        }
        self.grown(section, set.count);
    }

    /// Appends one record that was compiled for the question's name.
    pub(crate) fn append_record(&mut self, section: Section, octets: &[u8], owner_at: usize) {
        append_with_owner(self.octets, octets, owner_at);
        self.grown(section, 1);
    }

    /// Appends records that stand with their owners. If they don't fit, they are left out: they only
    /// help.
    pub(crate) fn append_help(&mut self, octets: &[u8], count: u16) {
        if self.octets.len() + octets.len() <= self.octets_max {
            self.octets.extend_from_slice(octets);
            self.grown(Section::Additional, count);
        } else {
            // Glue that a resolver can't do without (RFC 9471 §3.1).
            self.truncated = true;
        }
    }

    fn grown(&mut self, section: Section, count: u16) {
        self.counts[section as usize] += count;
    }

    /// Takes all records out and says that there are some.
    pub(crate) fn truncate(&mut self) {
        self.octets.truncate(self.records_at);
        self.counts = [0; 3];
        self.truncated = true;
    }

    /// Ends the answer, with an OPT record where there are options. If it is too large, its records go:
    /// half a set is worse than none (RFC 2181 §9).
    pub(crate) fn finish(mut self, header: Header, rcode: OptRcode, options: Option<&Options<'_>>) {
        if self.octets.len() > self.octets_max {
            self.truncate();
        }
        if let Some(options) = options {
            options.append(self.octets, rcode);
            self.counts[Section::Additional as usize] += 1;
        }
        let mut to = domain::base::Header::new();
        to.set_id(header.id);
        to.set_qr(true);
        to.set_opcode(header.opcode.into());
        to.set_aa(self.authoritative);
        to.set_tc(self.truncated);
        to.set_rd(header.recursion_desired);
        to.set_cd(header.checking_disabled);
        to.set_rcode(rcode.rcode());
        let (head, counts) = self.octets[..HEADER_OCTETS].split_at_mut(4);
        head.copy_from_slice(to.as_slice());
        let has_question = u16::from(self.records_at > HEADER_OCTETS);
        let [answers, authorities, additional] = self.counts;
        let all = [has_question, answers, authorities, additional];
        for (to, count) in counts.chunks_exact_mut(2).zip(all) {
            to.copy_from_slice(&count.to_be_bytes());
        }
    }
}

fn append_option(to: &mut Vec<u8>, code: OptionCode, option: &impl ComposeOptData) {
    append_header(to, code, option.compose_len());
    let Ok(()) = option.compose_option(to);
}

fn append_header(to: &mut Vec<u8>, code: OptionCode, length: u16) {
    to.extend(code.to_int().to_be_bytes());
    to.extend(length.to_be_bytes());
}
