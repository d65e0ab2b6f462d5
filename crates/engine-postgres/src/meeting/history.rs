//! Whether a server goes on in the history that was captured of it so far. Pure.

use super::is_unfinished;
use super::mark::{Agreement, Mark, Noted};
use crate::capture::ServerPlace;
use crate::tag::Tag;
use crate::{Lsn, ServerIdentity, Xid};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{CapturedAt, Position, Vector};
use serde::{Deserialize, Serialize};

/// What the server's rows of Meridian's own say.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What it was given last.
    pub given: Option<Tag>,
    /// Its mark.
    pub mark: Option<Mark>,
    /// The last transactions that wrote these.
    pub writers: Vec<Xid>,
    /// Those since the mark that let in rows which had been kept out, or wrote rows again that were there.
    pub let_in: Vec<Xid>,
}

/// How the slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is there.
    There,
    /// There is none.
    Missing,
    /// The server threw away WAL that it needed.
    Lost,
}

/// What is known from before.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What was captured last, and what the server had been given by then.
    pub captured: Option<&'a (CapturedAt, Vector)>,
    /// Why they were to meet, where rows were not compared to the end.
    pub remembered: Option<&'a Break>,
    /// What it had been given when it had gone back and they met, while it has yet to be given the rest.
    /// What is captured of it counts as having seen more.
    pub given: Option<&'a Vector>,
    /// Where the log ends.
    pub log_end: Position,
    /// The mark written last.
    pub noted: Noted,
}

/// How capture goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where it stood, and with what the server had been given by then.
    GoesOn(CapturedAt, Vector),
    /// Server and tables meet, for this reason; for the first time where there is none.
    Meets(Option<Break>),
}

/// Why capture can't go on where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// In words.
    pub reason: String,
    /// Whether the server lost nothing itself: only capture lost its place.
    pub is_same_history: bool,
    /// Whether what the server says of the log is of this log.
    pub is_same_log: bool,
    /// Whether it went back on the timeline that it was on, nobody knows how far.
    #[serde(default)]
    pub is_unclear: bool,
    /// Whether it has lost something since the two met last.
    #[serde(default)]
    pub went_back: bool,
    /// The server that it is another one than, and nothing else: it says nothing of that one.
    #[serde(default)]
    pub than: Option<u64>,
}

impl Break {
    /// One for which rows were not compared to the end yet, and one that is found after it.
    fn and(self, later: Self) -> Self {
        Self {
            // A slot made meanwhile and given up is no news.
            reason: if later.is_same_history {
                self.reason
            } else {
                later.reason
            },
            is_same_history: self.is_same_history && later.is_same_history,
            is_same_log: self.is_same_log && later.is_same_log,
            is_unclear: self.is_unclear || later.is_unclear,
            went_back: self.went_back || later.went_back,
            than: self.than.filter(|than| later.than == Some(*than)),
        }
    }
}

/// How capture goes on with a server and its slot.
#[must_use]
pub fn start((place, slot): (ServerPlace, Slot), found: &Standing, known: &Known<'_>) -> Start {
    let unfinished = known.captured.is_some_and(|(at, _)| is_unfinished(*at));
    // A url that led elsewhere for a while, and nothing was taken over there: it would be due else.
    let is_back =
        |broken: &&Break| known.given.is_none() && broken.than == Some(place.identity.system);
    let remembered = known.remembered.filter(|broken| !is_back(broken));
    // A comparison that was not carried to its end resumes nothing; but what befell the server since
    // is asked about all the same.
    let captured = known
        .captured
        .filter(|_| !unfinished || known.remembered.is_some());
    let mut now = captured.and_then(|captured| broken(place, slot, found, (captured, known)));
    if known.given.is_some()
        && !active(Mutation::LostTwiceForgotten)
        && let Some(broken) = &mut now
    {
        // It lacks still what it had lost before.
        broken.is_same_history = false;
    }
    let broken = match (remembered.cloned(), now) {
        (Some(before), Some(now)) => Some(before.and(now)),
        (before, now) => before.or(now),
    };
    match captured {
        Some((at, seen)) if !unfinished && broken.is_none() => Start::GoesOn(*at, seen.clone()),
        _ => Start::Meets(broken),
    }
}

/// Why capture can't go on where it stood, if so.
fn broken(
    place: ServerPlace,
    slot: Slot,
    found: &Standing,
    ((at, seen), known): (&(CapturedAt, Vector), &Known<'_>),
) -> Option<Break> {
    let ServerIdentity { system, timeline } = place.identity;
    let other = |reason: String, is_same_log| {
        Some(Break {
            reason,
            is_same_history: false,
            is_same_log,
            is_unclear: is_same_log && timeline == at.timeline,
            went_back: true,
            than: None,
        })
    };
    if system != at.system {
        let reason = format!(
            "it is another server: system {system} instead of {}",
            at.system
        );
        return other(reason, false).map(|broken| Break {
            than: Some(at.system),
            ..broken
        });
    }
    let agreement = known.noted.agrees(found.mark.map(|mark| mark.number));
    let is_beyond = |given: &Tag| given.position > known.log_end;
    let is_older =
        agreement == Agreement::DirectoryOlder || found.given.as_ref().is_some_and(is_beyond);
    if is_older && !active(Mutation::OlderDirectoryTrusted) {
        let reason = "this region's data directory is older than the server";
        return other(reason.to_owned(), false);
    }
    if timeline != at.timeline {
        let reason = format!(
            "it was restored or promoted: timeline {timeline} instead of {}",
            at.timeline
        );
        return other(reason, true);
    }
    if place.end.0 < at.end {
        let reason = format!(
            "it was restored: its WAL ends at {}, before {}",
            place.end,
            Lsn(at.end)
        );
        return other(reason, true);
    }
    if agreement == Agreement::ServerOlder
        || has_lost(found.given.as_ref(), known.given.unwrap_or(seen))
    {
        let reason = match (&found.mark, &found.given) {
            (None, None) => "nothing in it says any more what it had been given, as after a detach",
            _ => "it was restored: what it had been given before is missing",
        };
        return other(reason.to_owned(), true);
    }
    let reason = match slot {
        Slot::There => return None,
        Slot::Missing => "its replication slot is gone",
        Slot::Lost => "it threw away WAL that its replication slot needed",
    };
    Some(Break {
        reason: reason.to_owned(),
        is_same_history: true,
        is_same_log: true,
        is_unclear: false,
        went_back: false,
        than: None,
    })
}

/// Whether the server says that it was given less than it had been already.
fn has_lost(given: Option<&Tag>, seen: &Vector) -> bool {
    let Some(given) = given else {
        return false;
    };
    // Origins that count no more are left out in the end.
    let given: Vec<_> = given.seen.iter().collect();
    given.iter().any(|(origin, hlc)| *hlc < seen.get(*origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting::TAKING_OVER;
    use meridian_model::{Hlc, OriginId};

    const PLACE: ServerPlace = ServerPlace {
        identity: ServerIdentity {
            system: 7,
            timeline: 2,
        },
        end: Lsn(1000),
    };

    fn seen(hlc: u64) -> Vector {
        [(OriginId(5), Hlc::from_raw(hlc))].into_iter().collect()
    }

    fn standing(number: Option<u64>, hlc: u64) -> Standing {
        Standing {
            given: Some(Tag {
                position: Position(30),
                seen: seen(hlc),
            }),
            mark: number.map(|number| Mark {
                number,
                system: 7,
                origin: OriginId(1),
                horizon: Xid(1),
                next: Xid(1),
                lsn: Lsn(1),
                from: Position(1),
                is_renewed: false,
                written: None,
            }),
            writers: Vec::new(),
            let_in: Vec::new(),
        }
    }

    fn captured(is_last: bool, part: u32) -> (CapturedAt, Vector) {
        let at = CapturedAt {
            system: 7,
            timeline: 2,
            end: 900,
            part,
            is_last,
        };
        (at, seen(10))
    }

    fn why(place: ServerPlace, slot: Slot, found: &Standing, noted: Noted) -> Option<Break> {
        let captured = captured(true, 0);
        let known = Known {
            captured: Some(&captured),
            remembered: None,
            given: None,
            log_end: Position(40),
            noted,
        };
        match start((place, slot), found, &known) {
            Start::GoesOn(..) => None,
            Start::Meets(broken) => Some(broken.expect("they have met")),
        }
    }

    #[test]
    fn a_server_without_notes_of_ours_is_not_called_restored() {
        let reason = |found: Standing| {
            why(PLACE, Slot::Missing, &found, Noted::of(4))
                .unwrap()
                .reason
        };
        let older = reason(standing(Some(3), 10));
        assert!(older.starts_with("it was restored"), "{older}");
        let anew = reason(Standing::default());
        assert!(!anew.contains("restored"), "{anew}");
        assert!(anew.contains("as after a detach"), "{anew}");
    }

    #[test]
    fn a_server_that_is_given_the_rest_has_lost_nothing_since() {
        let (captured, met) = (captured(true, 0), seen(8));
        let of = |given, hlc| {
            let known = Known {
                captured: Some(&captured),
                remembered: None,
                given,
                log_end: Position(40),
                noted: Noted::default(),
            };
            start((PLACE, Slot::There), &standing(None, hlc), &known)
        };
        let goes_on = Start::GoesOn(captured.0, captured.1.clone());
        assert_eq!(of(Some(&met), 8), goes_on);
        assert_ne!(of(Some(&met), 7), goes_on, "it went back again");
        assert_ne!(of(None, 8), goes_on);
    }

    #[test]
    fn a_slot_that_goes_before_the_rest_is_given_is_no_small_matter() {
        let (captured, met) = (captured(true, 0), seen(8));
        let known = Known {
            captured: Some(&captured),
            remembered: None,
            given: Some(&met),
            log_end: Position(40),
            noted: Noted::default(),
        };
        let found = start((PLACE, Slot::Missing), &standing(None, 8), &known);
        let Start::Meets(Some(broken)) = found else {
            panic!("the slot is gone");
        };
        assert!(!broken.is_same_history && broken.is_same_log);
        assert!(!broken.went_back, "it lost nothing more");
    }

    #[test]
    fn they_meet_again_until_rows_are_compared_to_the_end() {
        let missing = why(PLACE, Slot::Missing, &standing(None, 10), Noted::default());
        let meets = |captured: Option<&(CapturedAt, Vector)>, remembered, found: &Standing| {
            let known = Known {
                captured,
                remembered,
                given: None,
                log_end: Position(40),
                noted: Noted::default(),
            };
            start((PLACE, Slot::There), found, &known)
        };
        let sound = standing(None, 10);
        assert_eq!(meets(None, None, &sound), Start::Meets(None));
        let unfinished = captured(false, TAKING_OVER);
        assert_eq!(meets(Some(&unfinished), None, &sound), Start::Meets(None));
        // The new slot is there, and rows were not compared.
        let whole = captured(true, TAKING_OVER);
        let again = meets(Some(&whole), missing.as_ref(), &sound);
        assert_eq!(again, Start::Meets(missing.clone()));
        let Start::Meets(Some(back)) = meets(Some(&whole), missing.as_ref(), &standing(None, 9))
        else {
            panic!("it went back since");
        };
        assert!(!back.is_same_history);
        let goes_on = meets(Some(&whole), None, &sound);
        assert_eq!(goes_on, Start::GoesOn(whole.0, whole.1));
    }

    #[test]
    fn what_was_asked_about_another_server_is_not_asked_about_this_one() {
        let mut other = PLACE;
        other.identity.system = 8;
        let sound = standing(None, 10);
        let captured = captured(true, 0);
        let meets = |place, remembered: Option<&Break>, given, found: &Standing| {
            let known = Known {
                captured: Some(&captured),
                remembered,
                given,
                log_end: Position(40),
                noted: Noted::default(),
            };
            match start((place, Slot::There), found, &known) {
                Start::Meets(broken) => broken,
                Start::GoesOn(..) => None,
            }
        };
        let elsewhere = meets(other, None, None, &sound);
        assert!(elsewhere.is_some());
        let still = meets(other, elsewhere.as_ref(), None, &sound);
        assert_eq!(still, elsewhere);
        assert_eq!(meets(PLACE, still.as_ref(), None, &sound), None);
        // It has been answered, and what came of it is unfinished; or something befell this one too.
        let given = seen(10);
        let begun = meets(PLACE, still.as_ref(), Some(&given), &sound);
        assert_eq!(begun, elsewhere);
        let back = meets(PLACE, still.as_ref(), None, &standing(None, 9));
        assert!(back.unwrap().reason.contains("restored"));
        // So it was before.
        let mut restored = meets(PLACE, None, None, &standing(None, 9));
        restored = meets(other, restored.as_ref(), None, &sound);
        assert!(meets(PLACE, restored.as_ref(), None, &sound).is_some());
    }

    #[test]
    fn a_server_that_goes_on_is_taken_as_it_is() {
        let none = why(PLACE, Slot::There, &standing(None, 10), Noted::default());
        assert_eq!(none, None);
        let fresh = why(PLACE, Slot::There, &Standing::default(), Noted::default());
        assert_eq!(fresh, None, "nothing was projected yet");
    }

    #[test]
    fn a_slot_alone_may_be_gone() {
        for slot in [Slot::Missing, Slot::Lost] {
            let found = why(PLACE, slot, &standing(None, 10), Noted::default()).unwrap();
            assert!(found.is_same_history && found.is_same_log);
        }
    }

    #[test]
    fn a_server_that_went_back_is_seen_by_any_sign() {
        let mut promoted = PLACE;
        promoted.identity.timeline = 3;
        let mut short = PLACE;
        short.end = Lsn(899);
        let sound = standing(None, 10);
        let signs = [
            why(promoted, Slot::There, &sound, Noted::default()),
            why(short, Slot::There, &sound, Noted::default()),
            why(PLACE, Slot::There, &standing(None, 9), Noted::default()),
            why(PLACE, Slot::There, &standing(Some(3), 10), Noted::of(4)),
            why(PLACE, Slot::There, &sound, Noted::of(4)),
        ];
        for sign in signs {
            let sign = sign.unwrap();
            assert!(!sign.is_same_history && sign.is_same_log, "{sign:?}");
            assert!(sign.went_back);
        }
    }

    #[test]
    fn another_log_or_server_is_told_apart() {
        let mut other = PLACE;
        other.identity.system = 8;
        let mut beyond = standing(None, 10);
        beyond.given.as_mut().unwrap().position = Position(41);
        let signs = [
            why(other, Slot::There, &standing(None, 10), Noted::default()),
            why(PLACE, Slot::There, &beyond, Noted::default()),
            why(PLACE, Slot::There, &standing(Some(5), 10), Noted::of(4)),
        ];
        for sign in signs {
            assert!(!sign.unwrap().is_same_log);
        }
    }
}
