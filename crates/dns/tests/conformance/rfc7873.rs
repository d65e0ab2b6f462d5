//! RFC 7873: cookies, and what they are for: a flood does not reach who never asked.

use crate::ask::{Answer, Asker, question, view};
use domain::base::iana::{OptRcode, OptionCode, Rtype};
use domain::base::opt::UnknownOptData;
use domain::base::opt::cookie::{ClientCookie, Cookie};
use meridian_dns::{CookieSecret, Limiter, Outcome, Responder};

const NAME: &str = "ns1.meridian.test";

fn cookie_of(answer: &Answer) -> Option<Cookie> {
    answer.message.opt()?.opt().cookie()
}

fn first() -> Cookie {
    Cookie::new(ClientCookie::from_octets([9; 8]), None)
}

fn ask(asker: &mut Asker, cookie: &Cookie) -> Answer {
    asker.ask_with(NAME, Rtype::A, &|opt| opt.push(cookie).unwrap())
}

#[test]
fn section_5_2_3_a_client_is_given_a_cookie_and_its_own_back() {
    let mut asker = Asker::new(view(false));
    let answer = ask(&mut asker, &first());
    let cookie = cookie_of(&answer).unwrap();
    assert_eq!(cookie.client(), first().client());
    assert_eq!(cookie.server().unwrap().as_ref().len(), 16);
    assert_eq!(cookie_of(&ask(&mut asker, &cookie)), Some(cookie));
}

#[test]
fn section_5_2_1_without_a_cookie_there_is_none() {
    let mut asker = Asker::new(view(false));
    assert_eq!(cookie_of(&asker.ask_with(NAME, Rtype::A, &|_| ())), None);
}

#[test]
fn section_5_2_2_a_cookie_of_a_wrong_length_is_malformed() {
    let mut asker = Asker::new(view(false));
    for length in [0, 7, 9, 15, 41] {
        let octets = vec![1; length];
        let option = UnknownOptData::new(OptionCode::COOKIE, octets).unwrap();
        let answer = asker.ask_with(NAME, Rtype::A, &|opt| opt.push(&option).unwrap());
        assert_eq!(answer.rcode, OptRcode::FORMERR, "{length}");
    }
}

#[test]
fn section_5_2_4_under_a_flood_only_clients_with_our_cookie_are_answered_whole() {
    let mut asker = Asker::new(view(false));
    let cookie = cookie_of(&ask(&mut asker, &first())).unwrap();
    asker.responder = Responder::new(Limiter::new(5, false), CookieSecret::new([1; 16]));
    let plain = question(NAME, Rtype::A, None);
    let octets_sent: usize = (0..1000)
        .map(|_| asker.raw(&plain))
        .map(
            |(outcome, octets)| {
                if outcome.is_sent() { octets.len() } else { 0 }
            },
        )
        .sum();
    // What came back is less than what was sent: nothing to amplify.
    assert!(octets_sent < 1000 * plain.len(), "{octets_sent}");
    let honest = ask(&mut asker, &cookie);
    assert_eq!(
        (honest.rcode, honest.answers().len()),
        (OptRcode::NOERROR, 1)
    );
    let unproven: Vec<_> = (0..2)
        .map(|_| {
            asker
                .raw(&question(
                    NAME,
                    Rtype::A,
                    Some(&|opt| opt.push(&first()).unwrap()),
                ))
                .0
        })
        .collect();
    assert!(
        unproven
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Limited(_))),
        "{unproven:?}"
    );
}

/// Names without end: those that a wildcard makes, and those of a zone below.
#[test]
fn section_5_2_4_other_names_each_time_are_no_way_around_it() {
    for kind in ["wild", "child"] {
        let mut asker = Asker::new(view(false));
        asker.responder = Responder::new(Limiter::new(5, false), CookieSecret::new([1; 16]));
        let whole = (0..100).filter(|number| {
            let name = format!("name-{number}.{kind}.meridian.test");
            let (outcome, _) = asker.raw(&question(&name, Rtype::TXT, None));
            matches!(outcome, Outcome::Answered(_))
        });
        assert_eq!(whole.count(), 5, "{kind}");
    }
}
