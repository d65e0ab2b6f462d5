//! Response-rate limiting: what an answer that isn't given costs.

use crate::ask::{Asker, question, view};
use domain::base::iana::Rtype;
use domain::base::message_builder::OptBuilder;
use domain::base::opt::cookie::{ClientCookie, Cookie};
use meridian_dns::{CookieSecret, Limited, Limiter, Outcome, Responder, Transport};

const RATE: u32 = 5;
const QUESTIONS: usize = 200;

/// What became of a flood, and how many signatures were made for it.
struct Flood {
    whole: usize,
    truncated: usize,
    dropped: usize,
    signatures: u64,
}

/// Somebody who asks a signed zone without having shown a cookie of ours.
fn stranger() -> Asker {
    let mut asker = Asker::new(view(true));
    asker.responder = Responder::new(Limiter::new(RATE, false), CookieSecret::new([1; 16]));
    asker
}

fn signatures_made(asker: &Asker) -> u64 {
    let keys = asker.view.names.zones().iter();
    keys.filter_map(|zone| zone.key.as_ref())
        .map(|key| key.signatures_made())
        .sum()
}

fn wants_signatures(opt: &mut OptBuilder<'_, Vec<u8>>) {
    opt.set_dnssec_ok(true);
}

/// Asks at one moment for names that the flood's number makes.
fn flood(asker: &mut Asker, name: &dyn Fn(usize) -> String, rtype: Rtype) -> Flood {
    let before = signatures_made(asker);
    let mut flood = Flood {
        whole: 0,
        truncated: 0,
        dropped: 0,
        signatures: 0,
    };
    for number in 0..QUESTIONS {
        let octets = question(&name(number), rtype, Some(&wants_signatures));
        match asker.raw(&octets).0 {
            Outcome::Answered(_) => flood.whole += 1,
            Outcome::Limited(Limited::Truncated) => flood.truncated += 1,
            Outcome::Limited(Limited::Dropped) => flood.dropped += 1,
            other => panic!("{other:?}"),
        }
    }
    flood.signatures = signatures_made(asker) - before;
    flood
}

/// Every answer here is signed for itself alone, with two signatures at most.
#[test]
fn what_is_not_answered_is_not_signed() {
    for (kind, rtype) in [
        // Missing names, missing types, made by a wildcard, referrals, and the proof by itself.
        ("meridian.test", Rtype::A),
        ("wild.meridian.test", Rtype::AAAA),
        ("wild.meridian.test", Rtype::TXT),
        ("child.meridian.test", Rtype::A),
        ("meridian.test", Rtype::NSEC),
        ("meridian.test", Rtype::RRSIG),
    ] {
        let mut asker = stranger();
        let flood = flood(&mut asker, &|number| format!("name-{number}.{kind}"), rtype);
        assert_eq!(flood.whole, RATE as usize, "{kind} {rtype}");
        assert!(flood.truncated.abs_diff(flood.dropped) <= 1);
        let signatures = flood.signatures;
        assert!(
            (1..=2 * u64::from(RATE)).contains(&signatures),
            "{kind} {rtype}: {signatures} signatures for {RATE} answers"
        );
    }
}

/// Answers that name several regions are put together, and signed, for each question.
#[test]
fn a_name_s_own_answers_are_not_signed_either() {
    let mut asker = stranger();
    let name = |_| "all.global.meridian.test".to_owned();
    let flood = flood(&mut asker, &name, Rtype::A);
    assert_eq!(flood.whole, RATE as usize);
    assert_eq!(flood.signatures, u64::from(RATE));
}

#[test]
fn who_can_not_be_forged_is_answered_and_signed_for() {
    let mut asker = stranger();
    asker.transport = Transport::Tcp;
    let name = |number| format!("name-{number}.meridian.test");
    let flood = flood(&mut asker, &name, Rtype::A);
    assert_eq!(flood.whole, QUESTIONS);
    assert!(flood.signatures >= QUESTIONS as u64);
}

/// What is cut short says so, of the zone that it is from, and asks for the cookie where there is one
/// to be had.
#[test]
fn an_answer_that_is_cut_short_has_no_records() {
    let mut asker = stranger();
    let cookie = Cookie::new(ClientCookie::from_octets([9; 8]), None);
    let mut seen = 0;
    for number in 0..40 {
        let name = format!("name-{number}.meridian.test");
        let with_cookie = number % 4 < 2;
        let octets = question(
            &name,
            Rtype::A,
            Some(&|opt| {
                opt.set_dnssec_ok(true);
                if with_cookie {
                    opt.push(&cookie).unwrap();
                }
            }),
        );
        let (outcome, out) = asker.raw(&octets);
        if outcome != Outcome::Limited(Limited::Truncated) {
            continue;
        }
        seen += 1;
        let message = domain::base::Message::from_octets(out).unwrap();
        assert!(message.header().tc() && message.header().aa());
        let counts = message.header_counts();
        assert_eq!((counts.ancount(), counts.nscount()), (0, 0));
        let bad_cookie = message.opt_rcode() == domain::base::iana::OptRcode::BADCOOKIE;
        assert_eq!(bad_cookie, with_cookie);
        assert_eq!(message.opt().unwrap().opt().cookie().is_some(), with_cookie);
    }
    assert!(seen >= 10, "{seen}");
}
