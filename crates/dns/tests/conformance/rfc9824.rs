//! RFC 9824: what isn't there, said with a signature in one record.

use crate::ask::{Answer, Asker, Parsed, ask, line, question, view};
use crate::rfc4034::{checks, with_key};
use domain::base::iana::{ExtendedErrorCode, OptRcode, Rtype};
use domain::base::opt::ExtendedError;
use domain::rdata::AllRecordData;

const MISSING: &str = "missing.meridian.test";
/// Of the OPT record's flags (§5.1), in their first octet.
const CO: u8 = 0x40;

/// Asks for signatures too.
fn ask_signed(asker: &mut Asker, name: &str, rtype: Rtype) -> Answer {
    asker.ask_with(name, rtype, &|opt| opt.set_dnssec_ok(true))
}

/// The same, saying that the code of a missing name is understood.
fn ask_compact(asker: &mut Asker, name: &str, rtype: Rtype) -> Answer {
    let mut octets = question(name, rtype, Some(&|opt| opt.set_dnssec_ok(true)));
    let flags = octets.len() - 4;
    octets[flags] |= CO;
    asker.send(&octets)
}

/// The first octet of the flags that came back.
fn flags(answer: &Answer) -> u8 {
    let octets = answer.message.as_slice();
    octets[octets.len() - 4]
}

/// The types that the NSEC record among these says the name has.
fn types(records: &[Parsed<'_>]) -> Vec<Rtype> {
    let nsec = records.iter().find_map(|record| match record.data() {
        AllRecordData::Nsec(nsec) => Some(nsec.types().iter().collect()),
        _ => None,
    });
    nsec.unwrap()
}

#[test]
fn section_3_1_a_missing_name_is_one_without_types() {
    with_key(|asker, key| {
        let answer = ask_signed(asker, MISSING, Rtype::A);
        assert_eq!(answer.rcode, OptRcode::NOERROR);
        let authorities = answer.authorities();
        assert!(checks(key, &authorities, Rtype::SOA) && checks(key, &authorities, Rtype::NSEC));
        let text: Vec<String> = authorities.iter().map(line).collect();
        assert!(
            text.iter()
                .any(|line| line.starts_with("missing.meridian.test 60 NSEC \\000.missing")),
            "{text:?}"
        );
        assert_eq!(
            types(&authorities),
            [Rtype::RRSIG, Rtype::NSEC, Rtype::NXNAME]
        );
    });
}

#[test]
fn section_3_2_a_missing_type_is_left_out_of_the_name_s_types() {
    with_key(|asker, key| {
        let answer = ask_signed(asker, "mixed.meridian.test", Rtype::AAAA);
        assert!(checks(key, &answer.authorities(), Rtype::NSEC));
        assert_eq!(
            types(&answer.authorities()),
            [Rtype::A, Rtype::MX, Rtype::RRSIG, Rtype::NSEC]
        );
        // A name that only has others below it.
        let between = ask_signed(asker, "b.c.meridian.test", Rtype::A);
        assert_eq!(types(&between.authorities()), [Rtype::RRSIG, Rtype::NSEC]);
    });
}

/// A denial says that every name has the type NSEC; to deny that one as well would be a contradiction,
/// which validators take for a forgery.
#[test]
fn section_3_the_record_of_a_denial_can_be_asked_for_itself() {
    with_key(|asker, key| {
        for (name, there) in [
            ("mixed.meridian.test", &[Rtype::A, Rtype::MX][..]),
            ("app.global.meridian.test", &[Rtype::A]),
            // Not followed: it stands beside the alias.
            ("www.meridian.test", &[Rtype::CNAME]),
            ("b.c.meridian.test", &[]),
            // Section 3.3: the wildcard's types are the name's own.
            ("any.wild.meridian.test", &[Rtype::TXT]),
            (MISSING, &[Rtype::NXNAME]),
        ] {
            let answer = ask_signed(asker, name, Rtype::NSEC);
            let answers = answer.answers();
            assert_eq!(answer.rcode, OptRcode::NOERROR, "{name}");
            assert!(answer.aa() && checks(key, &answers, Rtype::NSEC), "{name}");
            assert_eq!(answers.len(), 2, "{name}: {:?}", answer.lines());
            assert!(answer.authorities().is_empty(), "{name}");
            let mut expected = [there, &[Rtype::RRSIG, Rtype::NSEC]].concat();
            expected.sort();
            assert_eq!(types(&answers), expected, "{name}");
        }
    });
}

#[test]
fn section_3_signatures_can_be_asked_for_too() {
    with_key(|asker, key| {
        for name in ["mixed.meridian.test", "www.meridian.test", MISSING] {
            let records = ask_signed(asker, name, Rtype::NSEC);
            let signatures = ask_signed(asker, name, Rtype::RRSIG);
            let answers = signatures.answers();
            assert_eq!(answers.len(), 1, "{name}: {:?}", signatures.lines());
            // It signs what the type NSEC is answered with.
            let nsec = records.answers().remove(0);
            assert!(checks(key, &[nsec, answers[0].clone()], Rtype::NSEC));
        }
    });
}

#[test]
fn section_3_without_signatures_a_missing_name_stays_missing() {
    let mut asker = Asker::new(view(true));
    let asked = asker.ask("mixed.meridian.test", Rtype::NSEC);
    assert_eq!(asked.answers().len(), 1, "{:?}", asked.lines());
    for rtype in [Rtype::NSEC, Rtype::RRSIG, Rtype::A] {
        let missing = asker.ask(MISSING, rtype);
        assert_eq!(missing.rcode, OptRcode::NXDOMAIN, "{rtype}");
        assert!(missing.answers().is_empty(), "{rtype}");
    }
    // Where nothing is signed these are types like others.
    let plain = ask("www.meridian.test", Rtype::NSEC);
    assert_eq!(plain.answers()[0].rtype(), Rtype::CNAME);
    assert_eq!(plain.answers().len(), 1);
}

#[test]
fn section_3_4_a_referral_is_one_for_these_types_too() {
    with_key(|asker, key| {
        for rtype in [Rtype::NSEC, Rtype::RRSIG] {
            let answer = ask_signed(asker, "x.child.meridian.test", rtype);
            assert!(!answer.aa() && answer.answers().is_empty());
            assert!(checks(key, &answer.authorities(), Rtype::NSEC));
            assert_eq!(
                types(&answer.authorities()),
                [Rtype::NS, Rtype::RRSIG, Rtype::NSEC]
            );
        }
    });
}

#[test]
fn section_3_5_the_mark_of_a_missing_name_is_never_asked_for() {
    for signed in [true, false] {
        let mut asker = Asker::new(view(signed));
        for name in ["mixed.meridian.test", MISSING, "example.com"] {
            let answer = ask_signed(&mut asker, name, Rtype::NXNAME);
            assert_eq!(answer.rcode, OptRcode::FORMERR, "{name}");
            let opt = answer.message.opt().unwrap();
            let said = opt.opt().first::<ExtendedError<_>>().unwrap();
            assert_eq!(said.code(), ExtendedErrorCode::INVALID_QUERY_TYPE);
            let plain = asker.ask(name, Rtype::NXNAME);
            assert_eq!(plain.rcode, OptRcode::FORMERR);
            assert!(plain.message.opt().is_none());
        }
    }
}

#[test]
fn section_5_1_who_understands_it_is_told_the_code_of_a_missing_name() {
    with_key(|asker, key| {
        let answer = ask_compact(asker, MISSING, Rtype::A);
        assert_eq!(answer.rcode, OptRcode::NXDOMAIN);
        assert_eq!(flags(&answer) & CO, CO);
        // The proof is the same.
        assert!(checks(key, &answer.authorities(), Rtype::NSEC));
        assert_eq!(
            types(&answer.authorities()),
            [Rtype::RRSIG, Rtype::NSEC, Rtype::NXNAME]
        );
        let below = ask_compact(asker, "b.c.meridian.test", Rtype::A);
        assert_eq!(
            below.rcode,
            OptRcode::NOERROR,
            "a name with others below it"
        );
        let there = ask_compact(asker, "mixed.meridian.test", Rtype::A);
        assert_eq!((there.rcode, flags(&there) & CO), (OptRcode::NOERROR, CO));
        // An answer that has a record is none that says that there is nothing.
        let asked = ask_compact(asker, MISSING, Rtype::NSEC);
        assert_eq!(asked.rcode, OptRcode::NOERROR);
    });
}

#[test]
fn section_5_1_nobody_else_is() {
    with_key(|asker, _| {
        let answer = ask_signed(asker, MISSING, Rtype::A);
        assert_eq!((answer.rcode, flags(&answer) & CO), (OptRcode::NOERROR, 0));
        // Without signatures there is nothing compact, and nothing to say about it.
        let mut octets = question(MISSING, Rtype::A, Some(&|_| ()));
        let at = octets.len() - 4;
        octets[at] |= CO;
        let answer = asker.send(&octets);
        assert_eq!((answer.rcode, flags(&answer)), (OptRcode::NXDOMAIN, 0));
    });
}
