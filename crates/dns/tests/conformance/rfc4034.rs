//! RFC 4034: signatures, checked with the published key by another library's verification.

use crate::ask::{Answer, Asker, NOW, Parsed, view};
use domain::base::iana::{OptRcode, Rtype};
use domain::base::{Record, ToName};
use domain::rdata::AllRecordData;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

fn signed(name: &str, rtype: Rtype) -> Answer {
    Asker::new(view(true)).ask_with(name, rtype, &|opt| opt.set_dnssec_ok(true))
}

/// The octets of a set in canonical form, with the signature's own data before them.
pub fn checks(key: &[u8], records: &[Parsed<'_>], covered: Rtype) -> bool {
    let signature = records.iter().find_map(|record| match record.data() {
        AllRecordData::Rrsig(rrsig) if rrsig.type_covered() == covered => Some(rrsig),
        _ => None,
    });
    let Some(rrsig) = signature else { return false };
    assert!(rrsig.inception().into_int() < NOW && NOW < rrsig.expiration().into_int());
    let mut octets = Vec::new();
    octets.extend_from_slice(&rrsig.type_covered().to_int().to_be_bytes());
    octets.push(rrsig.algorithm().to_int());
    octets.push(rrsig.labels());
    octets.extend_from_slice(&rrsig.original_ttl().as_secs().to_be_bytes());
    octets.extend_from_slice(&rrsig.expiration().into_int().to_be_bytes());
    octets.extend_from_slice(&rrsig.inception().into_int().to_be_bytes());
    octets.extend_from_slice(&rrsig.key_tag().to_be_bytes());
    octets.extend_from_slice(
        rrsig
            .signer_name()
            .to_canonical_name::<Vec<u8>>()
            .as_slice(),
    );
    let mut set: Vec<&Parsed<'_>> = records
        .iter()
        .filter(|record| record.rtype() == covered)
        .collect();
    set.sort_by_key(|record| {
        let mut data = Vec::new();
        compose(record, &mut data);
        data
    });
    for record in set {
        compose(record, &mut octets);
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], key].concat())
        .verify(&octets, rrsig.signature())
        .is_ok()
}

fn compose(record: &Parsed<'_>, octets: &mut Vec<u8>) {
    let owner = record.owner().to_canonical_name::<Vec<u8>>();
    let record = Record::new(owner, record.class(), record.ttl(), record.data().clone());
    record.compose_canonical(octets).unwrap();
}

/// Asks one signed view for its key and for more.
pub fn with_key(check: impl FnOnce(&mut Asker, &[u8])) {
    let mut asker = Asker::new(view(true));
    let keys = asker.ask_with("meridian.test", Rtype::DNSKEY, &|opt| {
        opt.set_dnssec_ok(true)
    });
    let records = keys.answers();
    let key = records.iter().find_map(|record| match record.data() {
        AllRecordData::Dnskey(key) => Some(key.public_key().to_vec()),
        _ => None,
    });
    let key = key.unwrap();
    assert!(checks(&key, &records, Rtype::DNSKEY));
    check(&mut asker, &key);
}

#[test]
fn section_3_every_set_of_an_answer_is_signed() {
    with_key(|asker, key| {
        for (name, rtype) in [
            ("mixed.meridian.test", Rtype::A),
            ("app.global.meridian.test", Rtype::A),
            ("all.global.meridian.test", Rtype::A),
            ("MIXED.meridian.test", Rtype::MX),
            ("any.wild.meridian.test", Rtype::TXT),
            ("meridian.test", Rtype::SOA),
        ] {
            for _ in 0..2 {
                let answer = asker.ask_with(name, rtype, &|opt| opt.set_dnssec_ok(true));
                assert!(checks(key, &answer.answers(), rtype), "{name} {rtype}");
            }
        }
        let alias = asker.ask_with("www.meridian.test", Rtype::A, &|opt| {
            opt.set_dnssec_ok(true)
        });
        assert!(checks(key, &alias.answers(), Rtype::CNAME));
        assert!(checks(key, &alias.answers(), Rtype::A));
    });
}

#[test]
fn section_3_a_changed_record_does_not_check() {
    with_key(|asker, key| {
        let answer = asker.ask_with("mixed.meridian.test", Rtype::A, &|opt| {
            opt.set_dnssec_ok(true)
        });
        let mut octets = answer.message.into_octets();
        let at = octets
            .windows(4)
            .position(|window| window == [192, 0, 2, 3])
            .unwrap();
        octets[at + 3] = 99;
        let forged = domain::base::Message::from_octets(octets).unwrap();
        let forged = Answer {
            message: forged,
            rcode: OptRcode::NOERROR,
        };
        assert!(!checks(key, &forged.answers(), Rtype::A));
    });
}

#[test]
fn rfc_4035_section_3_1_4_a_referral_says_that_the_child_is_not_signed() {
    with_key(|asker, key| {
        let answer = asker.ask_with("x.child.meridian.test", Rtype::A, &|opt| {
            opt.set_dnssec_ok(true)
        });
        assert!(checks(key, &answer.authorities(), Rtype::NSEC));
        assert!(!checks(key, &answer.authorities(), Rtype::NS));
        let ds = asker.ask_with("child.meridian.test", Rtype::DS, &|opt| {
            opt.set_dnssec_ok(true)
        });
        assert!(ds.aa() && checks(key, &ds.authorities(), Rtype::NSEC));
    });
}

#[test]
fn rfc_3225_section_3_nothing_is_signed_unasked() {
    let answer = Asker::new(view(true)).ask("missing.meridian.test", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::NXDOMAIN);
    assert_eq!(answer.authorities().len(), 1);
    assert!(
        signed("ns1.meridian.test", Rtype::A)
            .message
            .opt()
            .unwrap()
            .dnssec_ok()
    );
}
