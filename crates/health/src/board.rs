//! The newest report of every other observer, as far as they are fresh, and who is in touch with whom.
//!
//! When links fail, some observers lose touch with the majority, and everybody hears of that at a
//! different time. In between a few could outvote the rest by noticing late. So who can't vote any
//! more *fades*: it still counts among all for a while, as one who doesn't know.
//!
//! Reports carry no time that another region would have to trust: a report is fresh for a while from
//! the moment at which a *new* one came, by whichever way. An old one that is relayed again changes
//! nothing, so what a dead region said last can't go round for ever.

use crate::quorum::majority;
use crate::report::{Report, Reports};
use crate::{Cadence, Status};
use meridian_model::RegionName;
use meridian_model::mutation::{Mutation, active};
use std::collections::BTreeMap;
use std::time::Duration;

struct Heard {
    report: Report,
    /// When the report came.
    at: Duration,
    /// Whether that was lately, as contact goes.
    is_new: bool,
    /// When one came from the observer itself, if that was lately.
    directly_at: Option<Duration>,
    /// When one came with which the observer might vote.
    voted_at: Option<Duration>,
}

impl Heard {
    /// Forgets what is over by now. Whether anything is.
    fn expire(&mut self, now: Duration, cadence: &Cadence) -> bool {
        let contact_over = |at: Duration| now >= at + cadence.contact_expiry();
        let over = [
            self.is_new && contact_over(self.at),
            self.directly_at.is_some_and(contact_over),
            self.voted_at
                .is_some_and(|at| now >= at + cadence.vote_expiry()),
        ];
        self.is_new &= !over[0];
        self.directly_at = self.directly_at.filter(|_| !over[1]);
        self.voted_at = self.voted_at.filter(|_| !over[2]);
        over.contains(&true)
    }

    fn due(&self, cadence: &Cadence) -> Option<Duration> {
        let contact = cadence.contact_expiry();
        let new_until = self.is_new.then(|| self.at + contact);
        let direct_until = self.directly_at.map(|at| at + contact);
        let votes_until = self.voted_at.map(|at| at + cadence.vote_expiry());
        [new_until, direct_until, votes_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a report is newer than this one. One that the observer itself sends from another
    /// process is, whatever its clock says.
    fn is_before(&self, report: &Report, directly: bool) -> bool {
        let (known, number) = (self.report.number, report.number);
        number > known || (directly && number.started != known.started)
    }
}

/// What a report's opinions are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// They count.
    Full,
    /// Its observer could vote a while ago: it counts as one who doesn't know.
    Fading,
    /// Not at all.
    None,
}

impl Weight {
    pub(crate) fn of(
        may_vote: bool,
        voted_at: Option<Duration>,
        now: Duration,
        cadence: &Cadence,
    ) -> Self {
        if may_vote {
            Self::Full
        } else if voted_at.is_some_and(|at| now < at + cadence.vote_expiry())
            && !active(Mutation::NoFading)
        {
            Self::Fading
        } else {
            Self::None
        }
    }

    /// The vote that an opinion comes to.
    pub(crate) fn vote(self, opinion: Status) -> Option<Status> {
        match self {
            Self::Full => Some(opinion),
            Self::Fading => Some(Status::Unknown),
            Self::None => active(Mutation::SilenceSpeaksForService).then_some(Status::Healthy),
        }
    }
}

#[derive(Default)]
pub(crate) struct Board(BTreeMap<RegionName, Heard>);

impl Board {
    /// Takes a message over, if those whom it is about are `observers`. Whether anything that votes
    /// depend on is different now.
    pub(crate) fn take(
        &mut self,
        now: Duration,
        reports: Reports,
        own: &RegionName,
        observers: &[RegionName],
    ) -> bool {
        let sender = reports.own.observer.clone();
        let mut different = self.put(now, reports.own, true, observers);
        if active(Mutation::ReportsNotRelayed) {
            return different;
        }
        for report in reports.relayed {
            let of = &report.observer;
            if observers.contains(of) && *of != sender && of != own {
                different |= self.put(now, report, false, observers);
            }
        }
        different
    }

    fn put(
        &mut self,
        now: Duration,
        report: Report,
        directly: bool,
        observers: &[RegionName],
    ) -> bool {
        let votes = report.may_vote(observers);
        let Some(heard) = self.0.get_mut(&report.observer) else {
            let observer = report.observer.clone();
            let heard = Heard {
                report,
                at: now,
                is_new: true,
                directly_at: directly.then_some(now),
                voted_at: votes.then_some(now),
            };
            self.0.insert(observer, heard);
            return true;
        };
        // What the observer itself sent is a sign of life even if a relay was quicker.
        let mut different = false;
        let is_newer = heard.is_before(&report, directly);
        if directly && (is_newer || report.number == heard.report.number) {
            different |= heard.directly_at.is_none();
            heard.directly_at = Some(now);
        }
        if is_newer {
            different |= !heard.is_new || !report.votes_like(&heard.report);
            heard.report = report;
            heard.at = now;
            heard.is_new = true;
            if votes {
                heard.voted_at = Some(now);
            }
        }
        different
    }

    /// Forgets who spoke, and who might vote, too long ago. Whether anybody did. The reports stay,
    /// so that an old one that somebody still has is not taken for news.
    pub(crate) fn expire(&mut self, now: Duration, cadence: &Cadence) -> bool {
        if active(Mutation::ReportsKeptForEver) {
            return false;
        }
        let mut different = false;
        for heard in self.0.values_mut() {
            different |= heard.expire(now, cadence);
        }
        different
    }

    /// When [`Self::expire`] has something to do next.
    pub(crate) fn due(&self, cadence: &Cadence) -> Option<Duration> {
        if active(Mutation::ReportsKeptForEver) {
            return None;
        }
        self.0.values().filter_map(|heard| heard.due(cadence)).min()
    }

    /// Every report and what it is worth.
    pub(crate) fn weighed(
        &self,
        now: Duration,
        cadence: &Cadence,
        observers: &[RegionName],
    ) -> impl Iterator<Item = (&Report, Weight)> {
        self.0.values().map(move |heard| {
            let may_vote = heard.is_new && heard.report.may_vote(observers);
            let weight = Weight::of(may_vote, heard.voted_at, now, cadence);
            (&heard.report, weight)
        })
    }

    /// The observers that are heard directly.
    pub(crate) fn hears(&self) -> Vec<RegionName> {
        let heard = self
            .0
            .iter()
            .filter(|(_, heard)| heard.directly_at.is_some());
        heard.map(|(observer, _)| observer.clone()).collect()
    }

    /// Those among them that hear `own` too.
    pub(crate) fn in_touch(&self, own: &RegionName) -> Vec<RegionName> {
        let both = self
            .0
            .iter()
            .filter(|(_, heard)| heard.directly_at.is_some() && heard.report.hears.contains(own));
        both.map(|(observer, _)| observer.clone()).collect()
    }

    /// Those that came lately.
    pub(crate) fn reports(&self) -> impl Iterator<Item = &Report> {
        let new = self.0.values().filter(|heard| heard.is_new);
        new.map(|heard| &heard.report)
    }

    pub(crate) fn retain(&mut self, known: impl Fn(&RegionName) -> bool) {
        self.0.retain(|observer, _| known(observer));
    }
}

impl Report {
    /// Whether it counts for as much as another of the same observer.
    fn votes_like(&self, other: &Self) -> bool {
        let opinions = |report: &Self| {
            let opinions = report.opinions.iter();
            opinions
                .map(|opinion| (opinion.region.clone(), opinion.service, opinion.status))
                .collect::<Vec<_>>()
        };
        self.hears == other.hears
            && self.in_touch == other.in_touch
            && opinions(self) == opinions(other)
    }

    /// Whether its observer may vote: it is in touch with a majority of all, itself counted.
    pub(crate) fn may_vote(&self, observers: &[RegionName]) -> bool {
        let others = self.in_touch.iter();
        let in_touch = others
            .filter(|other| **other != self.observer && observers.contains(other))
            .count();
        in_touch + 1 >= majority(observers.len()) || active(Mutation::ObserversCutOffVote)
    }
}
