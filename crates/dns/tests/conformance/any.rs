//! Whatever comes in: no panic, and never more out than may go out.

use crate::ask::{Asker, question, view};
use domain::base::iana::Rtype;
use domain::base::{Message, opt::ClientSubnet};
use meridian_dns::{Transport, UDP_OCTETS_MAX};
use proptest::prelude::*;
use std::cell::RefCell;

thread_local! {
    static SIGNED: RefCell<Asker> = RefCell::new(Asker::new(view(true)));
}

/// Sends octets both ways and holds what comes back to the limits.
fn send(octets: &[u8]) {
    SIGNED.with_borrow_mut(|asker| {
        for transport in [Transport::Udp, Transport::Tcp] {
            asker.transport = transport;
            let (outcome, out) = asker.raw(octets);
            if !outcome.is_sent() {
                continue;
            }
            let limit = match transport {
                Transport::Udp => usize::from(UDP_OCTETS_MAX),
                Transport::Tcp => usize::from(u16::MAX),
            };
            assert!(out.len() <= limit, "{}", out.len());
            assert_eq!(out[..2], octets[..2]);
            // Every record of it can be read again.
            let message = Message::from_octets(out).unwrap();
            for record in message.iter() {
                record.unwrap();
            }
        }
    });
}

fn well_formed() -> impl Strategy<Value = Vec<u8>> {
    let names = prop::sample::select(vec![
        ".",
        "meridian.test",
        "www.meridian.test",
        "big.meridian.test",
        "x.wild.meridian.test",
        "deep.child.meridian.test",
        "app.global.meridian.test",
        "missing.meridian.test",
        "loop.meridian.test",
    ]);
    let types = prop::sample::select(vec![
        Rtype::A,
        Rtype::AAAA,
        Rtype::TXT,
        Rtype::SOA,
        Rtype::DS,
        Rtype::DNSKEY,
        Rtype::NSEC,
        Rtype::RRSIG,
        Rtype::NXNAME,
        Rtype::ANY,
        Rtype::AXFR,
    ]);
    (names, types, any::<u16>(), any::<bool>(), 0_u8..=32).prop_map(
        |(name, rtype, size, signed, bits)| {
            question(
                name,
                rtype,
                Some(&|opt| {
                    opt.set_udp_payload_size(size);
                    opt.set_dnssec_ok(signed);
                    opt.push(&ClientSubnet::new(bits, 0, [10, 1, 2, 3].into()))
                        .unwrap();
                }),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        send(&octets);
    }

    #[test]
    fn a_question_with_octets_changed(
        mut octets in well_formed(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = octet;
        }
        if cut {
            octets.truncate(end.index(octets.len()));
        }
        send(&octets);
    }
}
