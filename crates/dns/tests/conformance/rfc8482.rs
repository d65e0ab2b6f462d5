//! RFC 8482: the type ANY.

use crate::ask::ask;
use domain::base::iana::{OptRcode, Rtype};

#[test]
fn section_4_2_any_is_one_small_record() {
    for name in [
        "mixed.meridian.test",
        "app.global.meridian.test",
        "www.meridian.test",
    ] {
        let answer = ask(name, Rtype::ANY);
        assert_eq!(answer.answers().len(), 1);
        assert!(answer.lines()[0].contains("HINFO"), "{:?}", answer.lines());
    }
}

#[test]
fn any_of_a_missing_name_is_denied() {
    assert_eq!(
        ask("missing.meridian.test", Rtype::ANY).rcode,
        OptRcode::NXDOMAIN
    );
}
