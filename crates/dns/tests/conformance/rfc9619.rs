//! RFC 9619: one question in a message.

use crate::ask::{Asker, question, view};
use domain::base::iana::{OptRcode, Rtype};

#[test]
fn section_4_none_or_several_questions_are_malformed() {
    let mut asker = Asker::new(view(false));
    let one = question("ns1.meridian.test", Rtype::A, None);
    let mut none = one[..12].to_vec();
    none[5] = 0;
    assert_eq!(asker.send(&none).rcode, OptRcode::FORMERR);
    let mut two = [&one[..], &one[12..]].concat();
    two[5] = 2;
    assert_eq!(asker.send(&two).rcode, OptRcode::FORMERR);
}

#[test]
fn section_4_records_in_a_question_are_malformed() {
    let mut asker = Asker::new(view(false));
    for count in [7, 9] {
        let mut octets = question("ns1.meridian.test", Rtype::A, None);
        octets[count] = 1;
        assert_eq!(asker.send(&octets).rcode, OptRcode::FORMERR);
    }
}
