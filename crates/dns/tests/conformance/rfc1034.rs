//! RFC 1034: names, zones, and how a question is answered; with RFC 4592 for wildcards.

use crate::ask::{Asker, ask, line, view};
use domain::base::iana::{OptRcode, Rtype};

#[test]
fn section_4_3_2_records_of_the_name_are_answered_with_authority() {
    let answer = ask("ns1.meridian.test", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert!(answer.aa());
    assert_eq!(answer.lines(), ["ns1.meridian.test 300 A 192.0.2.1"]);
}

#[test]
fn section_4_3_2_names_compare_without_case_and_come_back_as_asked() {
    let answer = ask("NS1.Meridian.TEST", Rtype::A);
    assert_eq!(answer.lines(), ["NS1.Meridian.TEST 300 A 192.0.2.1"]);
}

#[test]
fn section_4_3_2_a_name_of_no_zone_is_refused_without_authority() {
    let answer = ask("example.com", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::REFUSED);
    assert!(!answer.aa());
    assert!(answer.answers().is_empty() && answer.authorities().is_empty());
}

#[test]
fn section_3_6_2_an_alias_is_followed_to_what_it_names() {
    let answer = ask("www.meridian.test", Rtype::A);
    assert_eq!(
        answer.lines(),
        [
            "www.meridian.test 300 CNAME app.meridian.test.",
            "app.meridian.test 300 A 192.0.2.10"
        ]
    );
}

#[test]
fn section_3_6_2_an_alias_itself_can_be_asked_for() {
    let answer = ask("www.meridian.test", Rtype::CNAME);
    assert_eq!(
        answer.lines(),
        ["www.meridian.test 300 CNAME app.meridian.test."]
    );
}

#[test]
fn section_3_6_2_an_alias_out_of_the_zone_is_left_to_the_resolver() {
    let answer = ask("out.meridian.test", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert_eq!(
        answer.lines(),
        ["out.meridian.test 300 CNAME elsewhere.example."]
    );
}

#[test]
fn section_3_6_2_an_alias_of_itself_ends() {
    let answer = ask("loop.meridian.test", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert!(answer.answers().len() < 12);
}

#[test]
fn section_4_2_1_below_a_cut_the_answer_is_a_referral_with_glue() {
    for name in ["child.meridian.test", "www.deep.child.meridian.test"] {
        let answer = ask(name, Rtype::A);
        assert_eq!(answer.rcode, OptRcode::NOERROR);
        assert!(!answer.aa());
        assert!(answer.answers().is_empty());
        let servers: Vec<String> = answer.authorities().iter().map(line).collect();
        assert_eq!(
            servers,
            ["child.meridian.test 300 NS ns.child.meridian.test."]
        );
        let glue: Vec<String> = answer.additionals().iter().map(line).collect();
        assert_eq!(glue, ["ns.child.meridian.test 300 A 192.0.2.20"]);
    }
}

#[test]
fn section_4_3_3_a_wildcard_stands_for_names_that_are_not_there() {
    let answer = ask("any.thing.wild.meridian.test", Rtype::TXT);
    assert_eq!(
        answer.lines(),
        ["any.thing.wild.meridian.test 300 TXT \"by wildcard\""]
    );
    let other_type = ask("any.wild.meridian.test", Rtype::A);
    assert_eq!(other_type.rcode, OptRcode::NOERROR);
    assert!(other_type.answers().is_empty());
}

#[test]
fn section_4_3_3_a_wildcard_does_not_stand_for_names_that_are() {
    let there = ask("there.wild.meridian.test", Rtype::TXT);
    assert_eq!(there.rcode, OptRcode::NOERROR);
    assert!(there.answers().is_empty());
    let below = ask("x.there.wild.meridian.test", Rtype::TXT);
    assert_eq!(below.rcode, OptRcode::NXDOMAIN);
}

#[test]
fn rfc_4592_section_2_2_2_a_name_with_only_names_below_it_is_there() {
    for name in [
        "b.c.meridian.test",
        "c.meridian.test",
        "global.meridian.test",
    ] {
        let answer = ask(name, Rtype::A);
        assert_eq!(answer.rcode, OptRcode::NOERROR, "{name}");
        assert!(answer.answers().is_empty());
    }
}

#[test]
fn a_steered_name_answers_by_who_asks_and_with_one_region() {
    let mut asker = Asker::new(view(false));
    let far = asker.ask("app.global.meridian.test", Rtype::A);
    assert_eq!(far.lines(), ["app.global.meridian.test 5 A 127.0.1.1"]);
    asker.from = "10.1.2.3".parse().unwrap();
    let near = asker.ask("app.global.meridian.test", Rtype::A);
    assert_eq!(near.lines(), ["app.global.meridian.test 5 A 127.0.1.2"]);
    let all = asker.ask("all.global.meridian.test", Rtype::A);
    assert_eq!(all.answers().len(), 2);
    let none = asker.ask("app.global.meridian.test", Rtype::AAAA);
    assert_eq!(none.rcode, OptRcode::NOERROR);
    assert!(none.answers().is_empty() && none.authorities().len() == 1);
}
