//! RFC 2181: sets of records.

use crate::ask::{Asker, ask, question, view};
use domain::base::iana::Rtype;
use meridian_dns::zone::{Names, ZoneFault, ZoneSource, parse_records};
use meridian_dns::{Owner, Transport};

fn build(records: &str) -> Result<Names, Vec<ZoneFault>> {
    let apex = Owner::parse("z.test").unwrap();
    let head = "$TTL 60\n@ SOA ns1 h 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n";
    let source = ZoneSource {
        records: parse_records(&apex, &format!("{head}{records}")).unwrap(),
        steered: Vec::new(),
        apex,
        key: None,
    };
    Names::build(vec![source])
}

#[test]
fn section_5_a_set_is_answered_whole() {
    assert_eq!(ask("mixed.meridian.test", Rtype::A).answers().len(), 2);
}

#[test]
fn section_5_2_times_to_live_that_differ_are_a_fault_of_the_zone() {
    let faults = build("a 5 A 192.0.2.1\na 6 A 192.0.2.2\n").unwrap_err();
    assert!(
        matches!(&faults[..], [ZoneFault::TimesToLive { .. }]),
        "{faults:?}"
    );
}

#[test]
fn section_10_1_an_alias_stands_alone() {
    for records in ["a CNAME b\na A 192.0.2.1\n", "a CNAME b\na CNAME c\n"] {
        let faults = build(records).unwrap_err();
        assert!(
            matches!(&faults[..], [ZoneFault::CnameAndMore(_)]),
            "{faults:?}"
        );
    }
}

#[test]
fn section_9_what_does_not_fit_is_left_out_whole_and_comes_over_tcp() {
    let mut asker = Asker::new(view(false));
    let octets = question(
        "big.meridian.test",
        Rtype::TXT,
        Some(&|opt| opt.set_udp_payload_size(4096)),
    );
    let cut = asker.send(&octets);
    assert!(cut.tc() && cut.answers().is_empty());
    assert_eq!(
        cut.message.opt().map(|opt| opt.udp_payload_size()),
        Some(1232)
    );
    asker.transport = Transport::Tcp;
    let whole = asker.send(&octets);
    assert!(!whole.tc());
    assert_eq!(whole.answers().len(), 41);
}

#[test]
fn a_zone_that_would_answer_wrongly_is_refused() {
    assert!(build("").is_ok());
    let below = build("child NS ns.child\nns.child A 192.0.2.1\nx.child TXT \"x\"\n").unwrap_err();
    assert!(
        matches!(&below[..], [ZoneFault::BelowCut { .. }]),
        "{below:?}"
    );
    let glue = build("child NS ns.child\n").unwrap_err();
    assert!(matches!(&glue[..], [ZoneFault::NoGlue { .. }]), "{glue:?}");
    let outside = build("a.example. A 192.0.2.1\n").unwrap_err();
    assert!(
        matches!(&outside[..], [ZoneFault::Outside { .. }]),
        "{outside:?}"
    );
}
