//! RFC 7871: the network of the client behind a resolver.

use crate::ask::{Answer, Asker, view};
use domain::base::iana::{OptRcode, OptionCode, Rtype};
use domain::base::opt::{ClientSubnet, UnknownOptData};

fn subnet_of(answer: &Answer) -> Option<ClientSubnet> {
    answer.message.opt()?.opt().client_subnet()
}

fn ask(name: &str, subnet: &str, bits: u8) -> Answer {
    let subnet = ClientSubnet::new(bits, 0, subnet.parse().unwrap());
    Asker::new(view(false)).ask_with(name, Rtype::A, &|opt| opt.push(&subnet).unwrap())
}

fn ask_raw(option: &[u8]) -> Answer {
    let option = UnknownOptData::new(OptionCode::CLIENT_SUBNET, option).unwrap();
    Asker::new(view(false)).ask_with("app.global.meridian.test", Rtype::A, &|opt| {
        opt.push(&option).unwrap()
    })
}

#[test]
fn section_7_2_1_the_answer_is_for_the_network_and_says_how_much_of_it_counted() {
    let answer = ask("app.global.meridian.test", "10.1.2.0", 24);
    assert_eq!(answer.lines(), ["app.global.meridian.test 5 A 127.0.1.2"]);
    let subnet = subnet_of(&answer).unwrap();
    assert_eq!(
        (subnet.source_prefix_len(), subnet.scope_prefix_len()),
        (24, 8)
    );
    assert_eq!(subnet.addr().to_string(), "10.1.2.0");
}

#[test]
fn section_7_2_1_an_answer_for_everybody_has_scope_0() {
    for name in ["ns1.meridian.test", "all.global.meridian.test"] {
        let subnet = subnet_of(&ask(name, "10.1.2.0", 24)).unwrap();
        assert_eq!(
            (subnet.source_prefix_len(), subnet.scope_prefix_len()),
            (24, 0),
            "{name}"
        );
    }
}

#[test]
fn section_7_2_1_ipv6_networks_too() {
    let answer = ask("app.global.meridian.test", "2001:db8:1::", 48);
    assert_eq!(subnet_of(&answer).unwrap().source_prefix_len(), 48);
    assert_eq!(answer.lines(), ["app.global.meridian.test 5 A 127.0.1.1"]);
}

#[test]
fn section_7_1_2_a_client_that_does_not_want_it_gets_the_answer_for_its_resolver() {
    let answer = ask("app.global.meridian.test", "0.0.0.0", 0);
    assert_eq!(answer.rcode, OptRcode::NOERROR);
    assert_eq!(subnet_of(&answer).unwrap().source_prefix_len(), 0);
    assert_eq!(ask_raw(&[0; 4]).rcode, OptRcode::NOERROR);
}

#[test]
fn section_6_what_breaks_the_format_is_malformed() {
    let malformed: [&[u8]; 7] = [
        // A scope in a query.
        &[0, 1, 24, 24, 10, 1, 2],
        // Bits beyond the prefix.
        &[0, 1, 20, 0, 10, 1, 2],
        // More octets than the prefix has, and fewer.
        &[0, 1, 24, 0, 10, 1, 2, 0],
        &[0, 1, 24, 0, 10, 1],
        // A prefix longer than an address, a family that nobody knows, no option at all.
        &[0, 1, 33, 0, 10, 1, 2, 3, 4],
        &[0, 9, 0, 0],
        &[0, 1],
    ];
    for option in malformed {
        assert_eq!(ask_raw(option).rcode, OptRcode::FORMERR, "{option:?}");
    }
}
