//! A DNS message from outside: read as a question, and what is made of it read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_dns::dnssec::{Validity, ZoneKey};
use meridian_dns::zone::{Names, ZoneSource, parse_records};
use meridian_dns::{
    Chosen, Client, CookieSecret, Limiter, Moment, Owner, Responder, Steer, Steered, Transport, UDP_OCTETS_MAX, View,
};
use std::cell::RefCell;
use std::sync::Arc;

const NOW: Moment = Moment {
    seconds: 1_900_000_000,
    elapsed_ms: 0,
};

#[derive(Debug)]
struct Both;

impl Steer for Both {
    fn steer(&self, _: usize, client: &Client, chosen: &mut Chosen) -> u8 {
        chosen.push(0);
        chosen.push(1);
        client.subnet.map_or(0, |(_, bits)| bits / 2)
    }
}

fn view() -> View {
    let apex = Owner::parse("a.test").expect("a name");
    let text = "$TTL 60\n@ SOA b b 1 2 3 4 5\n@ NS b\nb A 192.0.2.1\nc CNAME b\n*.d TXT x\ne NS f.e\nf.e A 192.0.2.2\n";
    let regions = [vec!["127.0.1.1".parse().expect("an address")], vec!["127.0.1.2".parse().expect("an address")]];
    let key = ZoneKey::generate().expect("randomness");
    let source = ZoneSource {
        records: parse_records(&apex, text).expect("records"),
        steered: vec![(apex.child("g").expect("a name"), Steered::new(0, 5, &regions))],
        key: Some(ZoneKey::read(apex.clone(), &key, Validity::from_now(NOW.seconds)).expect("a key")),
        apex,
    };
    View {
        names: Names::build(vec![source]).expect("a zone"),
        steer: Arc::new(Both),
        nsid: (*b"here").into(),
    }
}

thread_local! {
    static SERVER: RefCell<(View, Responder, Vec<u8>)> = RefCell::new((
        view(),
        Responder::new(Limiter::new(0, false), CookieSecret::new([1; 16])),
        Vec::new(),
    ));
}

fuzz_target!(|data: &[u8]| SERVER.with_borrow_mut(|(view, responder, out)| {
    let from = "192.0.2.9".parse().expect("an address");
    for transport in [Transport::Udp, Transport::Tcp] {
        let outcome = responder.respond(view, data, from, transport, NOW, out);
        if !outcome.is_sent() {
            continue;
        }
        assert!(transport == Transport::Tcp || out.len() <= usize::from(UDP_OCTETS_MAX));
        let message = domain::base::Message::from_slice(out).expect("a message");
        assert!(message.iter().all(|record| record.is_ok()));
    }
}));
