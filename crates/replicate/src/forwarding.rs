//! A write that another region takes: to whom it is handed, and what may be said of it.
//!
//! ```text
//! first taker ──stayed, turned away──▶ next taker ── … ──▶ nowhere to go: it did not happen
//!      └─handed on──▶ answered: as the answer says
//!            └─link lost, out of time──▶ unknown: it may have happened
//! ```
//!
//! A write is handed on once. If it surely didn't leave, or was turned away unread, the next region
//! may be tried; once it has left, only its answer tells whether it happened. So a write without an
//! idempotency key is carried out at most once, and whether one that has a key is sent again is its
//! client's decision.

use meridian_model::RegionName;
use meridian_model::mutation::{self, Mutation};
use std::time::Duration;

/// How long a write may be under way, beside what the dataset gives other regions to confirm it.
const UNDER_WAY_MAX: Duration = Duration::from_secs(5);

/// A write on its way to a region that takes it.
#[derive(Clone, Debug)]
pub struct Forwarding {
    takers: std::vec::IntoIter<RegionName>,
    at: Option<RegionName>,
    reasons: Vec<String>,
}

/// What to do with the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOn {
    /// Hand it to this region, and say what came of that.
    To(RegionName),
    /// It did not happen, and nobody is left to take it.
    NowhereToGo {
        /// Why not, for each region.
        reasons: Vec<String>,
    },
    /// It was handed on, and nobody knows what became of it.
    Unknown {
        /// To whom.
        region: RegionName,
        /// Why there is no answer.
        reason: String,
    },
}

/// What came of handing it on, where that is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It surely did not leave.
    Stayed(String),
    /// The other region says that it has not looked at it.
    TurnedAway(String),
    /// It left, and there will be no answer.
    Lost(String),
}

impl Forwarding {
    /// A write that any one of `takers` can take; the first of them is asked first.
    #[must_use]
    pub fn new(takers: Vec<RegionName>) -> Self {
        Self {
            takers: takers.into_iter(),
            at: None,
            reasons: Vec::new(),
        }
    }

    /// How long to wait for the answer, in a dataset that gives others so long to confirm a write.
    #[must_use]
    pub fn patience(acknowledgement_timeout: Duration) -> Duration {
        UNDER_WAY_MAX + acknowledgement_timeout
    }

    /// What to do first.
    pub fn begin(&mut self) -> HandOn {
        self.at = self.takers.next();
        match self.at.clone() {
            Some(region) => HandOn::To(region),
            None => HandOn::NowhereToGo {
                reasons: std::mem::take(&mut self.reasons),
            },
        }
    }

    /// What to do after the region that had it gave no answer.
    pub fn unanswered(&mut self, outcome: NoAnswer) -> HandOn {
        match (outcome, self.at.clone()) {
            (NoAnswer::Stayed(reason) | NoAnswer::TurnedAway(reason), _) => {
                self.reasons.push(reason);
                self.begin()
            }
            (NoAnswer::Lost(_), Some(region)) if mutation::active(Mutation::ForwardedAgain) => {
                HandOn::To(region)
            }
            (NoAnswer::Lost(reason), Some(region)) => HandOn::Unknown { region, reason },
            // It was handed to nobody, so nothing can have been lost.
            (NoAnswer::Lost(_), None) => self.begin(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name)).collect()
    }

    fn to(name: &str) -> HandOn {
        HandOn::To(RegionName::new(name))
    }

    #[test]
    fn who_surely_has_not_seen_it_is_followed_by_the_next() {
        let mut write = Forwarding::new(regions(&["a", "b"]));
        assert_eq!(write.begin(), to("a"));
        let next = write.unanswered(NoAnswer::Stayed("no link to a".to_owned()));
        assert_eq!(next, to("b"));
        let next = write.unanswered(NoAnswer::TurnedAway("b is starting".to_owned()));
        let reasons = vec!["no link to a".to_owned(), "b is starting".to_owned()];
        assert_eq!(next, HandOn::NowhereToGo { reasons });
    }

    #[test]
    fn once_it_has_left_nobody_else_is_tried() {
        let mut write = Forwarding::new(regions(&["a", "b"]));
        assert_eq!(write.begin(), to("a"));
        let reason = "the link was lost".to_owned();
        assert_eq!(
            write.unanswered(NoAnswer::Lost(reason.clone())),
            HandOn::Unknown {
                region: RegionName::new("a"),
                reason
            }
        );
    }

    #[test]
    fn where_nobody_takes_writes_it_does_not_happen() {
        let reasons = Vec::new();
        let mut write = Forwarding::new(Vec::new());
        assert_eq!(write.begin(), HandOn::NowhereToGo { reasons });
    }
}
