//! What a read has to wait for.
//!
//! A *strong* read shows all that was acknowledged before it began. Of `n` members, `w` hold an
//! acknowledged write ([`Acknowledgement::holders`]); whoever hears from `n - w + 1` what they hold
//! has heard from one of these, since two such sets can't be disjoint. So the reader asks, takes the
//! union, waits until it has applied that, and reads.
//!
//! What it then shows may be held by fewer than `w` members: a write whose client still waits. The
//! next strong read, elsewhere, might miss it, and a reader would see time run backwards. So where
//! `w` is more than one, the reply waits too until `w` members hold what was here when it was read:
//! the second phase of the register by Attiya, Bar-Noy and Dolev (1995). Where a home takes all
//! writes, to ask the home is enough: it holds every write that anybody can have seen.
//!
//! A region that doesn't answer is never counted; a read that can't hear from enough fails.
//!
//! While epochs change ([`Reckoning`]), all who are counted for one read go by one epoch, the reader's:
//! the reader knows that all who vote have adopted it, and who goes by a later one doesn't answer. And
//! none of them has accepted an epoch after it. So whatever was confirmed by a later epoch before the
//! read began was confirmed by one that those who were heard of had a part in deciding, or by as many of
//! theirs as this one asks for: to decide the next epoch takes more than half of those who vote, and
//! `n - w + 1` of them, none of whom has accepted it, leave too few for that wherever `w` is at most
//! `n / 2 + 1`.
//!
//! [`Acknowledgement::holders`]: meridian_model::Acknowledgement::holders

use crate::{Engine, OwnStanding, Replica};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Acknowledgement, Epoch, Hlc, OriginId, RegionName, Standing, Vector};
use std::collections::{BTreeMap, BTreeSet};

/// Whether all that a reader has to see has been applied.
#[must_use]
pub fn has_reached(applied: &Vector, seen: &Vector) -> bool {
    applied.covers(seen) || mutation::active(Mutation::TokenIgnored)
}

/// What a client has seen, without what was lost with incarnations that have gone: of each `cuts`
/// tells the last reading that anybody holds or ever will. Nobody could wait for more.
#[must_use]
pub fn reachable(seen: &Vector, cuts: &BTreeMap<OriginId, Hlc>) -> Vector {
    let ignored = mutation::active(Mutation::TokenNotCut);
    let cut_of = |origin: OriginId| cuts.get(&origin).filter(|_| !ignored);
    seen.iter()
        .map(|(origin, hlc)| match cut_of(origin) {
            Some(cut) => (origin, hlc.min(*cut)),
            None => (origin, hlc),
        })
        .collect()
}

/// Whether every region that votes is known to go by this epoch; `adopted` tells by which each does.
/// As long as not, those who count by it may be no quorum for what was confirmed by another. (Who
/// joins has nothing confirmed before it votes.)
#[must_use]
pub fn is_agreed(epoch: &Epoch, adopted: &BTreeMap<RegionName, u64>) -> bool {
    let mut voters = epoch.voters();
    voters.all(|(region, _)| goes_by(epoch, adopted, region))
}

fn goes_by(epoch: &Epoch, adopted: &BTreeMap<RegionName, u64>, region: &RegionName) -> bool {
    epoch.number == 0 || adopted.get(region) >= Some(&epoch.number)
}

/// By what a region reckons at one moment, where it reads strongly or says what it holds to one that
/// does.
#[derive(Clone, Copy, Debug)]
pub struct Reckoning<'a> {
    /// The region.
    pub region: &'a RegionName,
    /// Its incarnation.
    pub origin: OriginId,
    /// How it stands.
    pub standing: &'a OwnStanding,
    /// The epoch that it goes by.
    pub epoch: &'a Epoch,
    /// By member the epoch that it is known to go by.
    pub adopted: &'a BTreeMap<RegionName, u64>,
    /// Whether it has accepted an epoch after its own and doesn't know what became of that.
    pub awaits_outcome: bool,
}

impl Reckoning<'_> {
    /// Whether this incarnation of the region counts, as far as it knows itself. One that has yet to
    /// vote, or was given up, holds nothing that anybody reckons with: it neither reads strongly nor
    /// answers.
    #[must_use]
    pub fn counts(self) -> bool {
        let member = self.epoch.members.get(self.region);
        let votes = member.is_some_and(|member| {
            member.origin == Some(self.origin) && member.standing != Standing::Joining
        });
        votes && !matches!(self.standing, OwnStanding::Evicted { .. })
    }

    /// Whether it may read strongly by its epoch.
    #[must_use]
    pub fn may_read(self) -> bool {
        self.counts() && !self.awaits_outcome && is_agreed(self.epoch, self.adopted)
    }

    /// Whether it may say what it holds to `asker`, which reckons with it by its own epoch: not while
    /// that may be an earlier one than this region's. What was confirmed since, those who count by the
    /// earlier one may have no part in.
    #[must_use]
    pub fn vouches_for(self, asker: &RegionName) -> bool {
        self.counts()
            && !self.awaits_outcome
            && self.epoch.members.contains_key(asker)
            && goes_by(self.epoch, self.adopted, asker)
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Whether this region may read strongly by its epoch now.
    #[must_use]
    pub fn may_read_strongly(&self) -> bool {
        self.reckon(|reckoning| reckoning.may_read())
    }

    /// Whether it may say what it holds to `asker`, which reads strongly.
    #[must_use]
    pub fn vouches_for(&self, asker: &RegionName) -> bool {
        self.reckon(|reckoning| reckoning.vouches_for(asker))
    }

    fn reckon(&self, judge: impl FnOnce(Reckoning<'_>) -> bool) -> bool {
        judge(Reckoning {
            region: self.region(),
            origin: self.origin(),
            standing: &self.standing(),
            epoch: self.epoch(),
            adopted: &self.adopted(),
            awaits_outcome: self.awaits_outcome(),
        })
    }
}

/// A strong read that asks what others hold.
#[derive(Clone, Debug)]
pub struct StrongRead {
    /// Who was asked and has neither answered nor failed to.
    open: BTreeSet<RegionName>,
    /// How many answers are still needed.
    missing: usize,
    seen: Vector,
    failures: Vec<String>,
    /// Whether the reply waits until enough members hold what was read.
    must_be_held: bool,
}

/// How a strong read stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Answers are still needed, and may come.
    Asking,
    /// Enough have answered: [`StrongRead::seen`] has to be applied.
    Heard,
    /// Too few are left who may answer.
    Hopeless,
}

impl StrongRead {
    /// A read of a dataset whose members take writes and acknowledge them at `level`. `held` is what
    /// this region holds, `others` are the other members that vote, all of whom are to be asked.
    /// What this region holds is an answer only where it `stays`: one that is leaving may have gone
    /// without having heard so, and what was confirmed since is held by those who stay.
    #[must_use]
    pub fn of_members(
        level: Acknowledgement,
        held: Vector,
        others: &[RegionName],
        stays: bool,
    ) -> Self {
        let own = usize::from(stays);
        let asks_nobody = mutation::active(Mutation::StrongReadAsksNobody);
        Self {
            open: others.iter().cloned().collect(),
            missing: if asks_nobody {
                0
            } else {
                level.answers(others.len() + own) - own
            },
            seen: held,
            failures: Vec::new(),
            must_be_held: level.holders(others.len() + 1) > 1
                && !mutation::active(Mutation::StrongReadNotHeld),
        }
    }

    /// A read of a dataset whose writes all go through `home`, another region, which is to be asked.
    #[must_use]
    pub fn of_home(home: &RegionName) -> Self {
        Self {
            open: BTreeSet::from([home.clone()]),
            missing: 1,
            seen: Vector::default(),
            failures: Vec::new(),
            must_be_held: false,
        }
    }

    /// A read in the home itself, which holds `held`.
    #[must_use]
    pub fn at_home(held: Vector) -> Self {
        Self {
            open: BTreeSet::new(),
            missing: 0,
            seen: held,
            failures: Vec::new(),
            must_be_held: false,
        }
    }

    /// Who has to be asked.
    #[must_use]
    pub fn asked(&self) -> Vec<RegionName> {
        match self.missing {
            0 => Vec::new(),
            _ => self.open.iter().cloned().collect(),
        }
    }

    /// A region says what it holds. It counts once.
    pub fn answered(&mut self, region: &RegionName, held: &Vector) {
        if self.open.remove(region) {
            self.missing = self.missing.saturating_sub(1);
            self.seen.raise_all(held);
        }
    }

    /// A region doesn't answer.
    pub fn failed(&mut self, region: &RegionName, reason: impl Into<String>) {
        if self.open.remove(region) {
            self.failures.push(reason.into());
        }
    }

    /// How it stands.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if self.missing == 0 {
            Progress::Heard
        } else if self.open.len() < self.missing {
            Progress::Hopeless
        } else {
            Progress::Asking
        }
    }

    /// What has to be applied here before it reads.
    #[must_use]
    pub fn seen(&self) -> &Vector {
        &self.seen
    }

    /// Why regions didn't answer.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// How many answers are still needed.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Whether its reply waits until enough members hold what was here when it read.
    #[must_use]
    pub fn must_be_held(&self) -> bool {
        self.must_be_held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::Member;

    fn regions(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name)).collect()
    }

    fn holds(origin: u64, hlc: u64) -> Vector {
        [(OriginId(origin), Hlc::from_raw(hlc))]
            .into_iter()
            .collect()
    }

    #[test]
    fn the_more_hold_a_write_the_fewer_are_asked() {
        let others = regions(&["b", "c", "d", "e"]);
        let missing = |level| StrongRead::of_members(level, holds(1, 1), &others, true).missing();
        assert_eq!(missing(Acknowledgement::Local), 4);
        assert_eq!(missing(Acknowledgement::OneRemote), 3);
        assert_eq!(missing(Acknowledgement::Majority), 2);
    }

    #[test]
    fn a_region_that_is_leaving_has_to_hear_as_many_as_if_it_were_not_there() {
        let others = regions(&["b", "c", "d"]);
        let level = Acknowledgement::Majority;
        let missing = |stays| StrongRead::of_members(level, holds(1, 1), &others, stays).missing();
        assert_eq!(missing(true), 1, "two of four");
        assert_eq!(missing(false), 2, "two of three");
        let last = StrongRead::of_members(level, holds(1, 1), &others[..1], false);
        assert_eq!(last.missing(), 1, "the other one goes on alone");
        assert!(last.must_be_held(), "its own writes may not have got there");
    }

    #[test]
    fn an_incarnation_counts_once_it_votes_and_until_it_is_given_up() {
        let region = RegionName::new("a");
        let mut epoch = Epoch::default();
        let is_in = |epoch: &Epoch, standing: OwnStanding| {
            let reckoning = Reckoning {
                region: &region,
                origin: OriginId(1),
                standing: &standing,
                epoch,
                adopted: &BTreeMap::new(),
                awaits_outcome: false,
            };
            reckoning.counts()
        };
        assert!(!is_in(&epoch, OwnStanding::Voting), "it is no member");
        let mut member = Member {
            origin: None,
            standing: Standing::Voting,
            address: None,
        };
        epoch.members.insert(region.clone(), member.clone());
        assert!(!is_in(&epoch, OwnStanding::Voting), "it has not begun");
        member.origin = Some(OriginId(1));
        member.standing = Standing::Joining;
        epoch.members.insert(region.clone(), member.clone());
        assert!(!is_in(&epoch, OwnStanding::Voting), "it has no vote");
        member.standing = Standing::Voting;
        epoch.members.insert(region.clone(), member);
        assert!(is_in(&epoch, OwnStanding::Voting));
        let (reason, held) = (String::new(), meridian_model::Sequence(0));
        assert!(!is_in(&epoch, OwnStanding::Evicted { reason, held }));
    }

    #[test]
    fn a_token_is_cut_to_what_anybody_holds() {
        let seen = holds(1, 9);
        let cut = |hlc| reachable(&seen, &[(OriginId(1), Hlc::from_raw(hlc))].into());
        assert_eq!(cut(7), holds(1, 7));
        assert_eq!(cut(12), seen);
        assert_eq!(reachable(&seen, &[(OriginId(2), Hlc::ZERO)].into()), seen);
    }

    #[test]
    fn it_has_to_see_all_that_anybody_said_and_nobody_counts_twice() {
        let others = regions(&["b", "c"]);
        let mut read = StrongRead::of_members(Acknowledgement::Local, holds(1, 5), &others, true);
        read.answered(&others[0], &holds(2, 7));
        read.answered(&others[0], &holds(2, 8));
        assert_eq!(read.progress(), Progress::Asking);
        read.answered(&others[1], &holds(1, 9));
        assert_eq!(read.progress(), Progress::Heard);
        assert!(read.seen().covers(&holds(2, 7)) && read.seen().covers(&holds(1, 9)));
        assert!(!read.must_be_held(), "its own region is holder enough");
    }

    #[test]
    fn it_gives_up_once_too_few_can_answer() {
        let others = regions(&["b", "c"]);
        let mut read =
            StrongRead::of_members(Acknowledgement::OneRemote, holds(1, 5), &others, true);
        assert!(read.must_be_held());
        read.failed(&others[0], "b is away");
        assert_eq!(read.progress(), Progress::Asking);
        read.failed(&others[1], "c is away");
        read.answered(&others[1], &holds(1, 5));
        assert_eq!(read.progress(), Progress::Hopeless, "too late");
        assert_eq!(read.failures(), ["b is away", "c is away"]);
    }

    #[test]
    fn a_home_alone_is_asked() {
        let home = RegionName::new("a");
        let mut read = StrongRead::of_home(&home);
        assert_eq!(read.asked(), std::slice::from_ref(&home));
        read.answered(&home, &holds(1, 5));
        assert_eq!(read.progress(), Progress::Heard);
        assert_eq!(StrongRead::at_home(holds(1, 5)).progress(), Progress::Heard);
    }
}
