//! RFC 1035: messages.

use crate::ask::{Asker, ask, question, view};
use domain::base::iana::{OptRcode, Rtype};
use meridian_dns::Outcome;

#[test]
fn section_4_1_1_the_header_repeats_id_opcode_and_recursion_desired() {
    let mut asker = Asker::new(view(false));
    let mut octets = question("ns1.meridian.test", Rtype::A, None);
    octets[2] |= 0x01;
    let answer = asker.send(&octets);
    let header = answer.message.header();
    assert!(header.rd() && !header.ra() && !header.z() && !header.ad());
    assert_eq!(answer.message.header_counts().qdcount(), 1);
}

#[test]
fn section_4_1_1_other_kinds_of_messages_are_not_implemented() {
    let mut asker = Asker::new(view(false));
    for opcode in [1, 2, 4, 5, 15] {
        let mut octets = question("ns1.meridian.test", Rtype::A, None);
        octets[2] |= opcode << 3;
        let answer = asker.send(&octets);
        assert_eq!(answer.rcode, OptRcode::NOTIMP);
        assert_eq!(answer.message.header().opcode().to_int(), opcode);
    }
}

#[test]
fn section_4_1_1_an_answer_is_never_answered() {
    let mut asker = Asker::new(view(false));
    let mut octets = question("ns1.meridian.test", Rtype::A, None);
    octets[2] |= 0x80;
    assert_eq!(asker.raw(&octets).0, Outcome::Ignored);
}

#[test]
fn section_4_1_1_less_than_a_header_is_never_answered() {
    let mut asker = Asker::new(view(false));
    for length in 0..12 {
        assert_eq!(asker.raw(&vec![0; length]).0, Outcome::Ignored);
    }
}

#[test]
fn section_4_1_4_compression_in_the_question_is_malformed() {
    let mut asker = Asker::new(view(false));
    // A pointer to itself, one to the header, one far beyond the end.
    for pointer in [[0xc0, 12], [0xc0, 0], [0xff, 0xff]] {
        let mut octets = question(".", Rtype::A, None);
        octets.truncate(12);
        octets.extend_from_slice(&pointer);
        octets.extend_from_slice(&[0, 1, 0, 1]);
        assert_eq!(asker.send(&octets).rcode, OptRcode::FORMERR);
    }
}

#[test]
fn section_2_3_4_names_and_labels_that_are_too_long_are_malformed() {
    let mut asker = Asker::new(view(false));
    let mut long = question(".", Rtype::A, None);
    long.truncate(12);
    for _ in 0..5 {
        long.push(63);
        long.extend_from_slice(&[b'a'; 63]);
    }
    long.extend_from_slice(&[0, 0, 1, 0, 1]);
    assert_eq!(asker.send(&long).rcode, OptRcode::FORMERR);
    let mut label = question(".", Rtype::A, None);
    label.truncate(12);
    label.push(0x40);
    label.extend_from_slice(&[0; 80]);
    assert_eq!(asker.send(&label).rcode, OptRcode::FORMERR);
}

#[test]
fn section_4_1_2_a_question_that_ends_early_is_malformed() {
    let mut asker = Asker::new(view(false));
    let whole = question("ns1.meridian.test", Rtype::A, None);
    for length in 12..whole.len() {
        assert_eq!(
            asker.send(&whole[..length]).rcode,
            OptRcode::FORMERR,
            "{length}"
        );
    }
}

#[test]
fn section_3_2_4_other_classes_are_refused() {
    let mut asker = Asker::new(view(false));
    let mut chaos = question("version.bind", Rtype::TXT, None);
    let class = chaos.len() - 1;
    chaos[class] = 3;
    assert_eq!(asker.send(&chaos).rcode, OptRcode::REFUSED);
}

#[test]
fn section_3_2_3_zone_transfers_are_refused() {
    assert_eq!(ask("meridian.test", Rtype::AXFR).rcode, OptRcode::REFUSED);
    assert_eq!(ask("meridian.test", Rtype::IXFR).rcode, OptRcode::REFUSED);
}

#[test]
fn section_4_2_1_without_edns_a_datagram_has_512_octets() {
    let answer = ask("big.meridian.test", Rtype::TXT);
    assert!(answer.tc());
    assert!(answer.message.as_slice().len() <= 512);
}
