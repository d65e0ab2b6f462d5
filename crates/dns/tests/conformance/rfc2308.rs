//! RFC 2308: answers that there is nothing.

use crate::ask::{Asker, ask, line, view};
use domain::base::iana::{OptRcode, Rtype};

#[test]
fn section_2_1_a_missing_name_comes_with_the_soa() {
    let answer = ask("missing.meridian.test", Rtype::A);
    assert_eq!(answer.rcode, OptRcode::NXDOMAIN);
    assert!(answer.aa());
    let authorities: Vec<String> = answer.authorities().iter().map(line).collect();
    assert_eq!(authorities.len(), 1);
    assert!(
        authorities[0].starts_with("meridian.test 60 SOA ns1.meridian.test"),
        "{authorities:?}"
    );
}

#[test]
fn section_2_2_a_missing_type_comes_with_the_soa_and_without_an_error() {
    let answer = ask("ns1.meridian.test", Rtype::AAAA);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert!(answer.answers().is_empty());
    assert_eq!(answer.authorities().len(), 1);
}

#[test]
fn section_3_the_soa_of_a_denial_lives_as_long_as_its_minimum() {
    let asked = ask("meridian.test", Rtype::SOA);
    assert_eq!(asked.answers()[0].ttl().as_secs(), 300);
    let denied = ask("missing.meridian.test", Rtype::A);
    assert_eq!(denied.authorities()[0].ttl().as_secs(), 60);
}

#[test]
fn section_2_1_a_missing_name_behind_an_alias_is_denied_behind_it() {
    let mut asker = Asker::new(view(false));
    let answer = asker.ask("www.meridian.test", Rtype::TXT);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert_eq!(answer.answers().len(), 1);
    assert_eq!(answer.authorities().len(), 1);
    assert_eq!(answer.authorities()[0].owner().to_string(), "meridian.test");
}
