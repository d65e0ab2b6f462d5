//! What a client asks: a datagram or a TCP message, read once and checked whole.
//!
//! Reading ends in one of three ways. A message that nobody may answer (too short for a header, or
//! itself an answer: two servers would talk for ever) is dropped. One that breaks the format or asks
//! for what no authoritative server does gets an error with the reason. The rest is a [`Query`].
//!
//! A question whose name is compressed is refused, since nothing stands before it that it could point
//! to. What comes behind the question is read through [`domain`], which bounds compression pointers.

use crate::owner::{LABEL_OCTETS_MAX, NAME_OCTETS_MAX};
use domain::base::iana::{Class, ExtendedErrorCode, Opcode, OptRcode, OptionCode, Rtype};
use domain::base::message::Message;
use domain::base::opt::{ClientSubnet, Cookie, Opt, UnknownOptData};
use domain::base::record::ParsedRecord;
use domain::dep::octseq::Parser;

/// The octets of a message's header.
pub const HEADER_OCTETS: usize = 12;

/// One question, and what its EDNS options say.
#[derive(Debug)]
pub struct Query<'a> {
    /// What the header says; of its flags RD and CD are given back.
    pub header: Header,
    /// The question as it was asked, in the client's upper and lower case, type and class included.
    pub question: &'a [u8],
    /// The name as it was asked.
    name: &'a [u8],
    /// The type.
    pub rtype: Rtype,
    /// What the OPT record says; `None` without one.
    pub edns: Option<Edns>,
}

/// The parts of a header that an answer repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The id.
    pub id: u16,
    /// The kind of message.
    pub opcode: u8,
    /// Whether recursion was desired (RFC 1035 §4.1.1: copied into the answer).
    pub recursion_desired: bool,
    /// Whether checking was disabled (RFC 4035 §3.1.6: copied into the answer).
    pub checking_disabled: bool,
}

/// A name of a question in lower case, without an allocation.
#[derive(Clone, Copy)]
pub struct QueryName {
    octets: [u8; NAME_OCTETS_MAX],
    length: u8,
}

impl QueryName {
    fn of(octets: &[u8]) -> Self {
        let mut name = Self {
            octets: [0; NAME_OCTETS_MAX],
            length: octets.len() as u8,
        };
        // Lengths of labels are at most 63, below 'A': lowering all octets alike leaves them be.
        for (to, from) in name.octets.iter_mut().zip(octets) {
            *to = from.to_ascii_lowercase();
        }
        name
    }

    /// The name's wire form.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

impl std::fmt::Debug for QueryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.octets()))
    }
}

/// What an OPT record says (RFC 6891), as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edns {
    /// The octets of a datagram that the client takes.
    pub udp_octets_max: u16,
    /// Whether signatures are wanted (the DO bit, RFC 3225).
    pub dnssec_ok: bool,
    /// Whether a missing name may have its own code beside a denial that says that it is there without
    /// types (the CO bit, RFC 9824 §5.1).
    pub compact_ok: bool,
    /// The network of the client behind a resolver (RFC 7871).
    pub subnet: Option<ClientSubnet>,
    /// The client's cookie and, after the first exchange, ours (RFC 7873).
    pub cookie: Option<Cookie>,
    /// Whether the server's name is asked for (RFC 5001).
    pub wants_nsid: bool,
}

/// Why a message is no query to be looked up.
#[derive(Debug)]
pub enum Rejected<'a> {
    /// No answer at all.
    Dropped,
    /// An answer of this code; with the question where it could be read, and with an OPT record where
    /// the query had one.
    Refused {
        /// What of the header to repeat.
        header: Header,
        /// The question, where one was read.
        question: &'a [u8],
        /// The code.
        rcode: OptRcode,
        /// Whether the query had an OPT record.
        with_opt: bool,
        /// What the code leaves open (RFC 8914).
        error: Option<ExtendedErrorCode>,
    },
}

impl<'a> Query<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for everything that isn't one well-formed question of class IN.
    pub fn read(octets: &'a [u8]) -> Result<Self, Rejected<'a>> {
        let message = Message::from_slice(octets).map_err(|_| Rejected::Dropped)?;
        if message.header().qr() {
            return Err(Rejected::Dropped);
        }
        let header = Header::of(message);
        let refuse = |rcode, question, with_opt| Rejected::Refused {
            header,
            question,
            rcode,
            with_opt,
            error: None,
        };
        if message.header().opcode() != Opcode::QUERY {
            return Err(refuse(OptRcode::NOTIMP, &[], false));
        }
        let counts = message.header_counts();
        // RFC 9619 §4: exactly one question, and what a query brings beside it is additional.
        if counts.qdcount() != 1 || counts.ancount() != 0 || counts.nscount() != 0 {
            return Err(refuse(OptRcode::FORMERR, &[], false));
        }
        let malformed = |question| refuse(OptRcode::FORMERR, question, false);
        let Some((name, rtype, class)) = read_question(&octets[HEADER_OCTETS..]) else {
            return Err(malformed(&[]));
        };
        let end = HEADER_OCTETS + name.len() + 4;
        let question = &octets[HEADER_OCTETS..end];
        let edns = match read_additional(message, end) {
            Ok(edns) => edns,
            Err(Fault::Form { with_opt }) => {
                return Err(refuse(OptRcode::FORMERR, question, with_opt));
            }
            Err(Fault::Version) => return Err(refuse(OptRcode::BADVERS, question, true)),
        };
        if !matches!(class, Class::IN | Class::ANY) {
            return Err(refuse(OptRcode::REFUSED, question, edns.is_some()));
        }
        if matches!(rtype, Rtype::AXFR | Rtype::IXFR) {
            return Err(refuse(OptRcode::REFUSED, question, edns.is_some()));
        }
        if is_never_asked(rtype) {
            return Err(Rejected::Refused {
                header,
                question,
                rcode: OptRcode::FORMERR,
                with_opt: edns.is_some(),
                error: Some(ExtendedErrorCode::INVALID_QUERY_TYPE),
            });
        }
        Ok(Self {
            header,
            question,
            name,
            rtype,
            edns,
        })
    }

    /// The name in lower case.
    #[must_use]
    pub fn name(&self) -> QueryName {
        QueryName::of(self.name)
    }
}

/// Types that live only in messages, the obsolete ones of mail (RFC 6895 §3.1), and the one that is
/// nowhere but among the types of a missing name (RFC 9824 §3.5).
fn is_never_asked(rtype: Rtype) -> bool {
    matches!(
        rtype,
        Rtype::OPT | Rtype::TSIG | Rtype::TKEY | Rtype::MAILA | Rtype::MAILB | Rtype::NXNAME
    )
}

/// The name, type and class at the beginning of these octets (RFC 1035 §4.1.2).
fn read_question(octets: &[u8]) -> Option<(&[u8], Rtype, Class)> {
    let mut length = 0;
    loop {
        let label = usize::from(*octets.get(length)?);
        length += 1 + label;
        if label > LABEL_OCTETS_MAX || length > NAME_OCTETS_MAX {
            return None;
        }
        if label == 0 {
            break;
        }
    }
    let (name, rest) = octets.split_at(length);
    let [t0, t1, c0, c1] = *rest.first_chunk()?;
    let rtype = Rtype::from_int(u16::from_be_bytes([t0, t1]));
    Some((name, rtype, Class::from_int(u16::from_be_bytes([c0, c1]))))
}

impl Header {
    fn of(message: &Message<[u8]>) -> Self {
        let header = message.header();
        Self {
            id: header.id(),
            opcode: header.opcode().to_int(),
            recursion_desired: header.rd(),
            checking_disabled: header.cd(),
        }
    }
}

enum Fault {
    Form { with_opt: bool },
    Version,
}

/// The OPT record, of which there is at most one, at the root (RFC 6891 §6.1.1).
fn read_additional(message: &Message<[u8]>, from: usize) -> Result<Option<Edns>, Fault> {
    let malformed = |with_opt| Fault::Form { with_opt };
    let mut parser = Parser::from_ref(message.as_slice());
    parser.advance(from).map_err(|_| malformed(false))?;
    let mut edns = None;
    for _ in 0..message.header_counts().arcount() {
        let with_opt = edns.is_some();
        let record = ParsedRecord::parse(&mut parser).map_err(|_| malformed(with_opt))?;
        if record.rtype() != Rtype::OPT {
            continue;
        }
        if with_opt || !record.owner().is_root() {
            return Err(malformed(true));
        }
        let record = record
            .to_record::<Opt<_>>()
            .ok()
            .flatten()
            .ok_or(malformed(true))?;
        // The TTL holds the version and the flags (RFC 6891 §6.1.3).
        let ttl = record.ttl().as_secs();
        if (ttl >> 16) & 0xff != 0 {
            return Err(Fault::Version);
        }
        let mut read = Edns {
            udp_octets_max: record.class().to_int(),
            dnssec_ok: ttl & 0x8000 != 0,
            compact_ok: ttl & 0x4000 != 0,
            subnet: None,
            cookie: None,
            wants_nsid: false,
        };
        read_options(record.data(), &mut read).map_err(|()| malformed(true))?;
        edns = Some(read);
    }
    Ok(edns)
}

fn read_options(opt: &Opt<&[u8]>, edns: &mut Edns) -> Result<(), ()> {
    for option in opt.iter::<UnknownOptData<_>>() {
        let option = option.map_err(|_| ())?;
        let octets = option.as_slice();
        match option.code() {
            OptionCode::CLIENT_SUBNET if edns.subnet.is_none() => {
                edns.subnet = read_subnet(octets)?;
            }
            OptionCode::COOKIE if edns.cookie.is_none() => {
                edns.cookie = Some(Cookie::parse(&mut Parser::from_ref(octets)).map_err(|_| ())?);
            }
            OptionCode::NSID => edns.wants_nsid = true,
            // RFC 6891 §6.1.2: what isn't known is passed over.
            _ => {}
        }
    }
    Ok(())
}

/// A client's network. One of no bits says that it doesn't want to be placed by it (RFC 7871
/// §7.1.2), and then some clients leave the family out too.
fn read_subnet(octets: &[u8]) -> Result<Option<ClientSubnet>, ()> {
    if octets == [0; 4] {
        return Ok(None);
    }
    let subnet = ClientSubnet::parse(&mut Parser::from_ref(&octets)).map_err(|_| ())?;
    // RFC 7871 §6: the scope is 0 in a query.
    if subnet.scope_prefix_len() != 0 {
        return Err(());
    }
    Ok(Some(subnet))
}
