//! A small zone, and asking it.

use domain::base::iana::{OptRcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, OptBuilder};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Record};
use domain::rdata::AllRecordData;
use meridian_dns::dnssec::{Validity, ZoneKey};
use meridian_dns::zone::{Names, ZoneSource, parse_records};
use meridian_dns::{
    Chosen, Client, CookieSecret, Limiter, Moment, Outcome, Owner, Responder, Steer, Steered,
    Transport, View,
};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

pub const NOW: u32 = 1_900_000_000;
pub const ZONE: &str = "meridian.test";

const RECORDS: &str = "
$TTL 300
@           SOA   ns1 hostmaster 7 3600 600 86400 60
@           NS    ns1
@           NS    ns2
ns1         A     192.0.2.1
ns2         A     192.0.2.2
www         CNAME app
out         CNAME elsewhere.example.
loop        CNAME loop
a.b.c       A     192.0.2.9
*.wild      TXT   \"by wildcard\"
there.wild  A     192.0.2.8
mixed       A     192.0.2.3
mixed       A     192.0.2.4
mixed       MX    10 ns1
app         AAAA  2001:db8::1
app         A     192.0.2.10
child       NS    ns.child
ns.child    A     192.0.2.20
big         TXT   \"a long text that fills much of a datagram, and then some more of it 01\"
";

/// Sends everybody in 10.0.0.0/8 to region 1 and others to region 0; service 1 names both.
#[derive(Debug)]
struct ByNetwork;

impl Steer for ByNetwork {
    fn steer(&self, service: usize, client: &Client, chosen: &mut Chosen) -> u8 {
        if service == 1 {
            chosen.push(1);
            chosen.push(0);
            return 0;
        }
        let address = client
            .subnet
            .map_or(client.resolver, |(address, _)| address);
        let near = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
        chosen.push(usize::from(near));
        8
    }
}

/// The view of the zone, signed or not.
pub fn view(signed: bool) -> View {
    let apex = Owner::parse(ZONE).unwrap();
    let mut text = RECORDS.to_owned();
    for number in 0..40 {
        text += &format!(
            "big TXT \"text number {number} of a set that no datagram holds as a whole\"\n"
        );
    }
    let regions = [
        vec!["127.0.1.1".parse().unwrap()],
        vec!["127.0.1.2".parse().unwrap()],
    ];
    let pkcs8 = ZoneKey::generate().unwrap();
    let key = signed.then(|| ZoneKey::read(apex.clone(), &pkcs8, Validity::from_now(NOW)).unwrap());
    let steered = |label: &str, service| {
        let owner = apex.child(label).unwrap();
        (owner, Steered::new(service, 5, &regions))
    };
    let source = ZoneSource {
        records: parse_records(&apex, &text).unwrap(),
        steered: vec![steered("app.global", 0), steered("all.global", 1)],
        apex: apex.clone(),
        key,
    };
    View {
        names: Names::build(vec![source]).unwrap(),
        steer: Arc::new(ByNetwork),
        nsid: (*b"us-east-1").into(),
    }
}

/// An answer, taken apart by another implementation.
#[derive(Debug)]
pub struct Answer {
    pub message: Message<Vec<u8>>,
    pub rcode: OptRcode,
}

pub type Parsed<'a> = Record<ParsedName<&'a [u8]>, AllRecordData<&'a [u8], ParsedName<&'a [u8]>>>;

impl Answer {
    fn section<'a>(
        &self,
        records: domain::base::message::RecordSection<'a, Vec<u8>>,
    ) -> Vec<Parsed<'a>> {
        records
            .map(|record| record.unwrap().into_any_record().unwrap())
            .collect()
    }

    pub fn answers(&self) -> Vec<Parsed<'_>> {
        self.section(self.message.answer().unwrap())
    }

    pub fn authorities(&self) -> Vec<Parsed<'_>> {
        self.section(self.message.authority().unwrap())
    }

    pub fn additionals(&self) -> Vec<Parsed<'_>> {
        self.section(self.message.additional().unwrap())
    }

    /// The answers as "owner ttl type data".
    pub fn lines(&self) -> Vec<String> {
        self.answers().iter().map(line).collect()
    }

    pub fn aa(&self) -> bool {
        self.message.header().aa()
    }

    pub fn tc(&self) -> bool {
        self.message.header().tc()
    }
}

/// A record as one line of text.
pub fn line(record: &Parsed<'_>) -> String {
    let data = record.data();
    format!(
        "{} {} {} {data}",
        record.owner(),
        record.ttl().as_secs(),
        record.rtype()
    )
}

/// Fills an OPT record.
pub type MakeOpt<'a> = &'a dyn Fn(&mut OptBuilder<'_, Vec<u8>>);

/// A question's octets, with an OPT record if one is made.
pub fn question(name: &str, rtype: Rtype, opt: Option<MakeOpt<'_>>) -> Vec<u8> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(0x1234);
    let mut message = message.question();
    message
        .push((Name::<Vec<u8>>::from_str(name).unwrap(), rtype))
        .unwrap();
    let mut message: AdditionalBuilder<Vec<u8>> = message.additional();
    if let Some(options) = opt {
        message
            .opt(|opt| {
                options(opt);
                Ok(())
            })
            .unwrap();
    }
    message.finish()
}

/// A server and who asks it.
pub struct Asker {
    pub view: View,
    pub responder: Responder,
    pub from: IpAddr,
    pub transport: Transport,
    pub now: Moment,
}

impl Asker {
    pub fn new(view: View) -> Self {
        Self {
            view,
            responder: Responder::new(Limiter::new(0, false), CookieSecret::new([1; 16])),
            from: "192.0.2.100".parse().unwrap(),
            transport: Transport::Udp,
            now: Moment {
                seconds: NOW,
                elapsed_ms: 0,
            },
        }
    }

    pub fn raw(&mut self, octets: &[u8]) -> (Outcome, Vec<u8>) {
        let mut out = Vec::new();
        let outcome = self.responder.respond(
            &self.view,
            octets,
            self.from,
            self.transport,
            self.now,
            &mut out,
        );
        (outcome, out)
    }

    pub fn send(&mut self, octets: &[u8]) -> Answer {
        let (outcome, out) = self.raw(octets);
        assert!(outcome.is_sent(), "{outcome:?}");
        let message = Message::from_octets(out).unwrap();
        assert!(message.header().qr());
        assert_eq!(message.header().id(), 0x1234);
        let rcode = message.opt_rcode();
        Answer { message, rcode }
    }

    pub fn ask(&mut self, name: &str, rtype: Rtype) -> Answer {
        self.send(&question(name, rtype, None))
    }

    pub fn ask_with(&mut self, name: &str, rtype: Rtype, opt: MakeOpt<'_>) -> Answer {
        self.send(&question(name, rtype, Some(opt)))
    }
}

/// Asks the unsigned zone once.
pub fn ask(name: &str, rtype: Rtype) -> Answer {
    Asker::new(view(false)).ask(name, rtype)
}
