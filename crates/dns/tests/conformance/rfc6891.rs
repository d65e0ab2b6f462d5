//! RFC 6891: EDNS.

use crate::ask::{Asker, ask, question, view};
use domain::base::iana::{OptRcode, OptionCode, Rtype};
use domain::base::opt::UnknownOptData;

#[test]
fn section_6_1_1_opt_is_answered_with_opt_and_only_then() {
    let mut asker = Asker::new(view(false));
    assert!(ask("ns1.meridian.test", Rtype::A).message.opt().is_none());
    let answer = asker.ask_with("ns1.meridian.test", Rtype::A, &|_| ());
    assert_eq!(answer.message.opt().unwrap().udp_payload_size(), 1232);
}

#[test]
fn section_6_1_1_two_opt_records_are_malformed() {
    let mut asker = Asker::new(view(false));
    let mut octets = question("ns1.meridian.test", Rtype::A, Some(&|_| ()));
    let opt = octets[octets.len() - 11..].to_vec();
    octets.extend_from_slice(&opt);
    octets[11] = 2;
    assert_eq!(asker.send(&octets).rcode, OptRcode::FORMERR);
}

#[test]
fn section_6_1_2_options_that_are_not_known_are_passed_over() {
    let mut asker = Asker::new(view(false));
    let answer = asker.ask_with("ns1.meridian.test", Rtype::A, &|opt| {
        opt.push(&UnknownOptData::new(OptionCode::from_int(65001), b"x").unwrap())
            .unwrap();
    });
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert_eq!(answer.answers().len(), 1);
}

#[test]
fn section_6_1_3_a_later_version_is_told_which_one_is_spoken() {
    let mut asker = Asker::new(view(false));
    let answer = asker.ask_with("ns1.meridian.test", Rtype::A, &|opt| opt.set_version(1));
    assert_eq!(answer.rcode, OptRcode::BADVERS);
    assert_eq!(answer.message.opt().unwrap().version(), 0);
    assert!(answer.answers().is_empty());
}

#[test]
fn section_6_2_3_a_size_below_512_counts_as_512() {
    let mut asker = Asker::new(view(false));
    let answer = asker.ask_with("mixed.meridian.test", Rtype::A, &|opt| {
        opt.set_udp_payload_size(12)
    });
    assert!(!answer.tc());
    assert_eq!(answer.answers().len(), 2);
}

#[test]
fn section_6_2_5_nothing_larger_than_what_the_client_takes_is_sent() {
    let mut asker = Asker::new(view(false));
    for size in [512, 600, 1232, 4096] {
        let answer = asker.ask_with("big.meridian.test", Rtype::TXT, &|opt| {
            opt.set_udp_payload_size(size)
        });
        assert!(answer.message.as_slice().len() <= usize::from(size.min(1232)));
    }
}

#[test]
fn section_7_an_option_that_ends_early_is_malformed_and_answered_with_opt() {
    let mut asker = Asker::new(view(false));
    let mut octets = question("ns1.meridian.test", Rtype::A, Some(&|_| ()));
    let end = octets.len();
    octets[end - 1] = 4;
    octets.extend_from_slice(&[0, 8, 0, 9]);
    let answer = asker.send(&octets);
    assert_eq!(answer.rcode, OptRcode::FORMERR);
    assert!(answer.message.opt().is_some());
}
