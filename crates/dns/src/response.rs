//! An answer's octets.
//!
//! The header is written last, when its counts are known; the room for the OPT record is kept free
//! from the beginning, so that an answer which grows too large can always say so.

use crate::query::{HEADER_OCTETS, Header};
use crate::records::{Records, append_with_owner};
use domain::base::Message;
use domain::base::iana::{OptRcode, OptionCode};
use domain::base::opt::{ClientSubnet, ComposeOptData, Cookie};

/// The octets of a datagram that always arrives whole (the DNS flag day 2020's figure, from IPv6's
/// least MTU), which is what is offered and sent at most.
pub const UDP_OCTETS_MAX: u16 = 1232;
/// What a client without EDNS takes in a datagram (RFC 1035 §4.2.1).
const PLAIN_UDP_OCTETS: u16 = 512;
/// The record's octets without options: root, type, class, TTL, length (RFC 6891 §6.1.2).
const OPT_OCTETS: usize = 11;

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
    pub(crate) subnet: Option<ClientSubnet>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) nsid: Option<&'a [u8]>,
}

/// One answer being written.
#[derive(Debug)]
pub(crate) struct Response<'o> {
    octets: &'o mut Vec<u8>,
    /// The end of the question: records begin here.
    records_at: usize,
    counts: [u16; 3],
    octets_max: usize,
    opt: Option<Vec<u8>>,
    pub(crate) authoritative: bool,
    truncated: bool,
}

impl<'o> Response<'o> {
    /// Begins an answer to a question (as asked; empty where it couldn't be read), of at most so many
    /// octets.
    pub(crate) fn new(octets: &'o mut Vec<u8>, question: &[u8], octets_max: usize) -> Self {
        octets.clear();
        octets.resize(HEADER_OCTETS, 0);
        octets.extend_from_slice(question);
        Self {
            records_at: octets.len(),
            octets,
            counts: [0; 3],
            octets_max,
            opt: None,
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

    /// Gives the answer an OPT record.
    pub(crate) fn set_options(&mut self, options: &Options<'_>, rcode: OptRcode) {
        let mut opt = Vec::with_capacity(64);
        opt.push(0);
        opt.extend_from_slice(&41_u16.to_be_bytes());
        opt.extend_from_slice(&UDP_OCTETS_MAX.to_be_bytes());
        let dnssec_ok = if options.dnssec_ok { 0x80 } else { 0 };
        opt.extend([rcode.ext(), 0, dnssec_ok, 0, 0, 0]);
        if let Some(subnet) = options.subnet {
            append_option(&mut opt, OptionCode::CLIENT_SUBNET, &subnet);
        }
        if let Some(cookie) = &options.cookie {
            append_option(&mut opt, OptionCode::COOKIE, cookie);
        }
        if let Some(nsid) = options.nsid {
            append_header(&mut opt, OptionCode::NSID, nsid.len() as u16);
            opt.extend_from_slice(nsid);
        }
        let length = (opt.len() - OPT_OCTETS) as u16;
        opt[OPT_OCTETS - 2..OPT_OCTETS].copy_from_slice(&length.to_be_bytes());
        self.opt = Some(opt);
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
        if self.octets.len() + octets.len() + self.opt_octets() <= self.octets_max {
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

    fn opt_octets(&self) -> usize {
        self.opt.as_ref().map_or(0, Vec::len)
    }

    /// Takes all records out and says that there are some.
    pub(crate) fn truncate(&mut self) {
        self.octets.truncate(self.records_at);
        self.counts = [0; 3];
        self.truncated = true;
    }

    /// Ends the answer. If it is too large, its records go: half a set is worse than none (RFC 2181
    /// §9).
    pub(crate) fn finish(mut self, header: Header, rcode: OptRcode) {
        if self.octets.len() + self.opt_octets() > self.octets_max {
            self.truncate();
        }
        if let Some(opt) = self.opt.take() {
            self.octets.extend_from_slice(&opt);
            self.counts[Section::Additional as usize] += 1;
        }
        let has_question = self.records_at > HEADER_OCTETS;
        let message = Message::from_octets(self.octets.as_mut_slice());
        let mut message = message.expect("a header was written first");
        let to = message.header_mut();
        to.set_id(header.id);
        to.set_qr(true);
        to.set_opcode(header.opcode.into());
        to.set_aa(self.authoritative);
        to.set_tc(self.truncated);
        to.set_rd(header.recursion_desired);
        to.set_cd(header.checking_disabled);
        to.set_rcode(rcode.rcode());
        let counts = [
            u16::from(has_question),
            self.counts[0],
            self.counts[1],
            self.counts[2],
        ];
        for (at, count) in counts.into_iter().enumerate() {
            let at = 4 + 2 * at;
            self.octets[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
    }
}

fn append_option(opt: &mut Vec<u8>, code: OptionCode, option: &impl ComposeOptData) {
    append_header(opt, code, option.compose_len());
    let Ok(()) = option.compose_option(opt);
}

fn append_header(opt: &mut Vec<u8>, code: OptionCode, length: u16) {
    opt.extend_from_slice(&code.to_int().to_be_bytes());
    opt.extend_from_slice(&length.to_be_bytes());
}
