//! From a question's octets to an answer's.
//!
//! Everything that an answer depends on is a parameter: the [`View`] (names, and who decides where a
//! client goes), who asks and how, the time. So the same function answers datagrams, streams and
//! tests, and nothing in it waits. A view is never changed; when something changes, the next question
//! gets the next view.
//!
//! What is decided here, by the RFCs: a name's records, a CNAME followed within what is served (RFC
//! 1034 §4.3.2), a referral, a denial with the SOA that says for how long (RFC 2308), one record for
//! the type ANY (RFC 8482), signatures where they are wanted, and how many answers one network gets.

use crate::answer::{Writer, Written};
use crate::cookie::{CookieSecret, Shown};
use crate::limit::{Account, Kind, Limited, Limiter};
use crate::query::{Query, Rejected};
use crate::response::{Options, Response};
use crate::service::{Client, Steer};
use crate::zone::Names;
use domain::base::iana::OptRcode;
use domain::base::opt::ClientSubnet;
use std::net::IpAddr;
use std::sync::Arc;

/// What is served, at one moment.
#[derive(Debug)]
pub struct View {
    /// The names.
    pub names: Names,
    /// Decides where clients of steered names go.
    pub steer: Arc<dyn Steer>,
    /// What this server calls itself (RFC 5001).
    pub nsid: Box<[u8]>,
}

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// As a datagram: its sender may be forged, its answer has to fit.
    Udp,
    /// Over a connection.
    Tcp,
}

/// When a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970, for cookies.
    pub seconds: u32,
    /// Milliseconds from any moment, for rates.
    pub elapsed_ms: u32,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There is an answer, of this code.
    Answered(OptRcode),
    /// An answer was kept back or sent without its records.
    Limited(Limited),
    /// Not a question that anybody may answer.
    Ignored,
}

impl Outcome {
    /// Whether something is to be sent.
    #[must_use]
    pub fn is_sent(self) -> bool {
        !matches!(self, Self::Ignored | Self::Limited(Limited::Dropped))
    }
}

/// Answers questions, one after the other.
#[derive(Debug)]
pub struct Responder {
    limiter: Limiter,
    secret: CookieSecret,
}

impl Responder {
    /// A responder that counts answers like this and makes cookies with this secret.
    #[must_use]
    pub fn new(limiter: Limiter, secret: CookieSecret) -> Self {
        Self { limiter, secret }
    }

    /// Answers one message; the answer replaces what is in `out`.
    pub fn respond(
        &mut self,
        view: &View,
        message: &[u8],
        from: IpAddr,
        transport: Transport,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Outcome {
        match Query::read(message) {
            Ok(query) => self.answer(view, &query, from, transport, now, out),
            Err(Rejected::Dropped) => Outcome::Ignored,
            Err(Rejected::Refused {
                header,
                question,
                rcode,
                with_opt,
                error,
            }) => {
                let options = with_opt.then(|| Options {
                    error,
                    ..Options::default()
                });
                let response = Response::new(out, question, usize::MAX);
                response.finish(header, rcode, options.as_ref());
                let limited = match transport {
                    Transport::Udp => self.limiter.count(from, Kind::Error, now.elapsed_ms),
                    Transport::Tcp => Limited::Sent,
                };
                // There are no records to leave out of an error.
                match limited {
                    Limited::Sent => Outcome::Answered(rcode),
                    _ => Outcome::Limited(Limited::Dropped),
                }
            }
        }
    }

    fn answer(
        &mut self,
        view: &View,
        query: &Query<'_>,
        from: IpAddr,
        transport: Transport,
        now: Moment,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let edns = query.edns.as_ref();
        let octets_max = match transport {
            Transport::Udp => Response::udp_octets_max(edns.map(|edns| edns.udp_octets_max)),
            Transport::Tcp => usize::from(u16::MAX),
        };
        let cookie = edns.and_then(|edns| edns.cookie.as_ref());
        let shown = cookie.map(|cookie| self.secret.check(cookie, from, now.seconds));
        let subnet = edns.and_then(|edns| edns.subnet);
        let client = Client {
            resolver: from,
            subnet: subnet.map(|subnet| (subnet.addr(), subnet.source_prefix_len())),
        };
        let mut options = edns.map(|edns| Options {
            dnssec_ok: edns.dnssec_ok,
            compact_ok: edns.dnssec_ok && edns.compact_ok,
            subnet,
            cookie: cookie.map(|cookie| self.secret.renew(cookie, from, now.seconds)),
            nsid: edns.wants_nsid.then_some(&view.nsid),
            error: None,
        });
        let opt_octets = options.as_ref().map_or(0, Options::octets);
        let room = octets_max.saturating_sub(opt_octets);
        let response = Response::new(out, query.question, room);
        let name = query.name();
        let trusted = transport == Transport::Tcp || matches!(shown, Some(Shown::Ours));
        let account = Account::of(&mut self.limiter, from, now.elapsed_ms).unless(trusted);
        let writer = Writer::new(view, query, name.octets(), client, response, account);
        let Written {
            mut response,
            mut rcode,
            scope,
            limited,
        } = writer.write();
        if limited == Limited::Dropped {
            return Outcome::Limited(limited);
        }
        if limited == Limited::Truncated {
            response.truncate();
            // RFC 7873 §5.2.3: a client that knows cookies asks again with the one it is given.
            if shown.is_some() {
                rcode = OptRcode::BADCOOKIE;
            }
        }
        if let Some(options) = &mut options {
            options.subnet = subnet.map(|subnet| with_scope(&subnet, scope));
        }
        response.finish(query.header, rcode, options.as_ref());
        match limited {
            Limited::Sent => Outcome::Answered(rcode),
            _ => Outcome::Limited(limited),
        }
    }
}

/// RFC 7871 §7.2.1: the option comes back as it was, with the scope of the answer.
fn with_scope(subnet: &ClientSubnet, scope: u8) -> ClientSubnet {
    ClientSubnet::new(subnet.source_prefix_len(), scope, subnet.addr())
}
