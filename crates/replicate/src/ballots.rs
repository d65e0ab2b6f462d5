//! What was said about the epoch of one number: the state of a Paxos instance, as this region has
//! followed it. Every question about it is answered from what streams say, this region's own among
//! them, so that a restart forgets nothing and says nothing twice.

use meridian_model::mutation::{self, Mutation};
use meridian_model::{Ballot, Epoch, OriginId, RegionName, Vote};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a voter had accepted before it promised, and in which ballot.
type Before = Option<(Ballot, Epoch)>;

/// The steps taken towards the epoch of one number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballots {
    prepared: BTreeMap<Ballot, Vec<RegionName>>,
    promised: BTreeMap<Ballot, BTreeMap<OriginId, Before>>,
    stated: BTreeMap<Ballot, Epoch>,
    accepted: BTreeMap<Ballot, BTreeSet<OriginId>>,
}

/// What a proposer may state, given the promises that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Too few promises.
    NotYet,
    /// Nothing can have been decided before: anything.
    Free,
    /// This may have been decided before: it, and nothing else.
    Bound(Epoch),
}

impl Ballots {
    /// Takes a step that `voter` took.
    pub(crate) fn follow(&mut self, voter: OriginId, vote: Vote) {
        match vote {
            Vote::Prepare {
                ballot, without, ..
            } => {
                // A proposer's earlier ballots that came to nothing are of no more use.
                let stated = &self.stated;
                self.prepared.retain(|earlier, _| {
                    earlier.origin != ballot.origin || stated.contains_key(earlier)
                });
                self.prepared.insert(ballot, without);
            }
            Vote::Promise {
                ballot, accepted, ..
            } => {
                let promises = self.promised.entry(ballot).or_default();
                promises.insert(voter, accepted);
            }
            Vote::Accept { ballot, epoch } => {
                self.stated.entry(ballot).or_insert(epoch);
            }
            Vote::Accepted { ballot, .. } => {
                self.accepted.entry(ballot).or_default().insert(voter);
            }
        }
    }

    /// The highest ballot that anybody has spoken of.
    pub(crate) fn highest(&self) -> Option<Ballot> {
        let prepared = self.prepared.keys().next_back();
        let stated = self.stated.keys().next_back();
        prepared.max(stated).copied()
    }

    /// The ballot below which `voter` follows none any more.
    pub(crate) fn promise_of(&self, voter: OriginId) -> Option<Ballot> {
        let promised = self.promised.iter().rev();
        let promised = promised
            .filter(|(_, voters)| voters.contains_key(&voter))
            .map(|(ballot, _)| *ballot)
            .next();
        promised.max(self.accepted_by(voter).map(|(ballot, _)| ballot))
    }

    /// What `voter` accepted last.
    pub(crate) fn accepted_by(&self, voter: OriginId) -> Before {
        let accepted = self.accepted.iter().rev();
        accepted
            .filter(|(_, voters)| voters.contains(&voter))
            .find_map(|(ballot, _)| Some((*ballot, self.stated.get(ballot)?.clone())))
    }

    /// Whether what `voter` accepted last may be decided, as far as is known, or may yet be. It is not
    /// once a majority has promised a higher ballot and, by what it said, nothing can have been below.
    pub(crate) fn awaits_outcome(&self, voter: OriginId, voters: &Voters) -> bool {
        let Some((ballot, _)) = self.accepted_by(voter) else {
            return false;
        };
        let mut higher = self.promised.keys().filter(|it| **it > ballot);
        !higher.any(|it| self.choice(*it, voters) == Choice::Free)
    }

    /// The ballot that `voter` could promise to follow, and whom it would leave out.
    pub(crate) fn to_promise(&self, voter: OriginId) -> Option<(Ballot, &[RegionName])> {
        let (ballot, without) = self.prepared.iter().next_back()?;
        (Some(*ballot) > self.promise_of(voter)).then_some((*ballot, without.as_slice()))
    }

    /// The ballot that `voter` could accept, and the epoch stated in it.
    pub(crate) fn to_accept(&self, voter: OriginId) -> Option<(Ballot, &Epoch)> {
        let (ballot, epoch) = self.stated.iter().next_back()?;
        let is_due = self.promise_of(voter).is_none_or(|bound| *ballot >= bound)
            && !self
                .accepted
                .get(ballot)
                .is_some_and(|voters| voters.contains(&voter));
        is_due.then_some((*ballot, epoch))
    }

    /// Whether an epoch was stated in this ballot.
    pub(crate) fn is_stated(&self, ballot: Ballot) -> bool {
        self.stated.contains_key(&ballot)
    }

    /// Whom the ballot's proposer said that it would leave out.
    pub(crate) fn leaves_out(&self, ballot: Ballot) -> &[RegionName] {
        self.prepared.get(&ballot).map_or(&[], Vec::as_slice)
    }

    /// What the proposer of `ballot` may state: what the highest ballot below stated that can have
    /// been decided, given what the promises say and leaving open what all other voters did. (One
    /// that accepted a ballot may have accepted those below it too.)
    pub(crate) fn choice(&self, ballot: Ballot, voters: &Voters) -> Choice {
        let promises: Vec<_> = self
            .promised
            .get(&ballot)
            .into_iter()
            .flatten()
            .filter(|(voter, _)| voters.origins.contains(voter))
            .collect();
        if promises.len() < voters.needed() {
            return Choice::NotYet;
        }
        let mut accepted: Vec<_> = promises
            .iter()
            .filter_map(|(_, before)| before.as_ref())
            .collect();
        accepted.sort_by_key(|(ballot, _)| std::cmp::Reverse(*ballot));
        let silent = voters.total.saturating_sub(promises.len());
        let possible = accepted.iter().enumerate().find(|(above, (ballot, _))| {
            let alike = accepted[*above..].iter().take_while(|it| it.0 == *ballot);
            above + alike.count() + silent >= voters.needed()
        });
        match possible {
            Some((_, (_, epoch))) => Choice::Bound(epoch.clone()),
            None => Choice::Free,
        }
    }

    /// The epoch that a majority accepted in one ballot.
    pub(crate) fn decided(&self, voters: &Voters) -> Option<&Epoch> {
        self.accepted
            .iter()
            .filter(|(_, accepted)| voters.count(accepted.iter()) >= voters.needed())
            .find_map(|(ballot, _)| self.stated.get(ballot))
    }

    /// How many voters promised to follow this ballot, and how many accepted its epoch.
    pub(crate) fn counts(&self, ballot: Ballot, voters: &Voters) -> (usize, usize) {
        let promised = self.promised.get(&ballot).into_iter().flatten();
        let accepted = self.accepted.get(&ballot).into_iter().flatten();
        let promised = voters.count(promised.map(|(voter, _)| voter));
        (promised, voters.count(accepted))
    }
}

/// Whose votes decide, and how many are a majority.
#[derive(Clone, Debug)]
pub(crate) struct Voters {
    origins: BTreeSet<OriginId>,
    total: usize,
    majority: usize,
}

impl Voters {
    /// The voters of `epoch`; one whose stream has not begun counts but can't vote.
    pub(crate) fn of(epoch: &Epoch) -> Self {
        Self {
            origins: epoch
                .voters()
                .filter_map(|(_, member)| member.origin)
                .collect(),
            total: epoch.voters().count(),
            majority: epoch.majority(),
        }
    }

    /// How many votes are a majority.
    pub(crate) fn needed(&self) -> usize {
        if mutation::active(Mutation::EvictedByMinority) {
            return 1;
        }
        self.majority
    }

    fn count<'a>(&self, votes: impl Iterator<Item = &'a OriginId>) -> usize {
        votes.filter(|voter| self.origins.contains(voter)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Member, Standing};

    fn ballot(counter: u64, origin: u64) -> Ballot {
        Ballot {
            counter,
            origin: OriginId(origin),
        }
    }

    fn epoch(number: u64, origins: &[u64]) -> Epoch {
        let members = origins.iter().map(|origin| {
            let member = Member {
                origin: Some(OriginId(*origin)),
                standing: Standing::Voting,
                address: None,
            };
            (RegionName::new(&origin.to_string()), member)
        });
        Epoch {
            number,
            members: members.collect(),
        }
    }

    fn prepare(counter: u64, origin: u64) -> Vote {
        Vote::Prepare {
            number: 1,
            ballot: ballot(counter, origin),
            without: Vec::new(),
        }
    }

    fn promise(ballot: Ballot, accepted: Before) -> Vote {
        Vote::Promise {
            number: 1,
            ballot,
            accepted,
        }
    }

    fn voters() -> Voters {
        Voters::of(&epoch(0, &[1, 2, 3]))
    }

    #[test]
    fn a_majority_in_one_ballot_decides_and_each_voter_counts_once() {
        let mut ballots = Ballots::default();
        let (low, high) = (ballot(1, 1), ballot(2, 2));
        for (ballot, origins) in [(low, [1, 2]), (high, [1, 3])] {
            let epoch = epoch(1, &origins);
            ballots.follow(ballot.origin, Vote::Accept { ballot, epoch });
        }
        let accepted = |ballot| Vote::Accepted { number: 1, ballot };
        ballots.follow(OriginId(1), accepted(low));
        ballots.follow(OriginId(1), accepted(low));
        ballots.follow(OriginId(2), accepted(high));
        ballots.follow(OriginId(9), accepted(high));
        assert_eq!(ballots.decided(&voters()), None, "one voter each");
        ballots.follow(OriginId(3), accepted(high));
        assert_eq!(ballots.decided(&voters()), Some(&epoch(1, &[1, 3])));
    }

    #[test]
    fn what_may_have_been_decided_binds_the_next_proposer() {
        let mut ballots = Ballots::default();
        let mine = ballot(5, 1);
        let (old, newer) = (epoch(1, &[1, 2]), epoch(1, &[2, 3]));
        let late = promise(mine, Some((ballot(2, 3), old)));
        ballots.follow(OriginId(3), late);
        assert_eq!(ballots.choice(mine, &voters()), Choice::NotYet);
        let later = promise(mine, Some((ballot(3, 2), newer.clone())));
        ballots.follow(OriginId(2), later);
        assert_eq!(ballots.choice(mine, &voters()), Choice::Bound(newer));
        ballots.follow(OriginId(1), promise(mine, None));
        ballots.follow(OriginId(3), promise(mine, None));
        assert_eq!(
            ballots.choice(mine, &voters()),
            Choice::Free,
            "two of three have accepted nothing, so nobody's majority can have"
        );
    }

    #[test]
    fn what_cannot_have_been_decided_binds_nobody() {
        let four = Voters::of(&epoch(0, &[1, 2, 3, 4]));
        let mut ballots = Ballots::default();
        let mine = ballot(5, 1);
        let old = epoch(1, &[1, 2]);
        for voter in [1, 2] {
            let before = Some((ballot(3, 2), old.clone()));
            ballots.follow(OriginId(voter), promise(mine, before));
        }
        ballots.follow(OriginId(3), promise(mine, None));
        assert_eq!(
            ballots.choice(mine, &four),
            Choice::Bound(old.clone()),
            "the fourth may have accepted it"
        );
        ballots.follow(OriginId(4), promise(mine, None));
        assert_eq!(ballots.choice(mine, &four), Choice::Free, "it has not");
        // Below a ballot that came to nothing, one may have been decided by the same voters.
        ballots.follow(
            OriginId(4),
            promise(mine, Some((ballot(1, 1), old.clone()))),
        );
        assert_eq!(ballots.choice(mine, &four), Choice::Bound(old));
    }

    #[test]
    fn an_acceptance_is_open_until_a_majority_says_that_it_came_to_nothing() {
        let four = Voters::of(&epoch(0, &[1, 2, 3, 4]));
        let mut ballots = Ballots::default();
        let (first, second) = (ballot(1, 1), ballot(2, 2));
        let old = epoch(1, &[1, 2]);
        let is_open = |ballots: &Ballots| ballots.awaits_outcome(OriginId(1), &four);
        let stated = Vote::Accept {
            ballot: first,
            epoch: old.clone(),
        };
        ballots.follow(OriginId(1), stated);
        assert!(!is_open(&ballots), "it has accepted nothing");
        let accepted = |ballot| Vote::Accepted { number: 1, ballot };
        ballots.follow(OriginId(1), accepted(first));
        assert!(is_open(&ballots));
        ballots.follow(OriginId(1), promise(second, Some((first, old.clone()))));
        ballots.follow(OriginId(2), promise(second, None));
        assert!(is_open(&ballots), "the others may have accepted it");
        ballots.follow(OriginId(3), promise(second, None));
        assert!(!is_open(&ballots), "two of four have not and won't");
        let again = Vote::Accept {
            ballot: second,
            epoch: old,
        };
        ballots.follow(OriginId(2), again);
        ballots.follow(OriginId(1), accepted(second));
        assert!(
            is_open(&ballots),
            "what is accepted since is another matter"
        );
    }

    #[test]
    fn a_promise_binds_against_lower_ballots_alone() {
        let mut ballots = Ballots::default();
        let (low, high) = (ballot(1, 1), ballot(2, 2));
        ballots.follow(OriginId(1), prepare(1, 1));
        assert_eq!(ballots.to_promise(OriginId(3)), Some((low, &[][..])));
        ballots.follow(OriginId(2), prepare(2, 2));
        ballots.follow(OriginId(3), promise(high, None));
        assert_eq!(ballots.to_promise(OriginId(3)), None);
        let epoch = epoch(1, &[1]);
        let stated = |ballot| Vote::Accept {
            ballot,
            epoch: epoch.clone(),
        };
        ballots.follow(OriginId(1), stated(low));
        assert_eq!(ballots.to_accept(OriginId(3)), None, "it promised not to");
        assert_eq!(ballots.to_accept(OriginId(1)), Some((low, &epoch)));
        ballots.follow(OriginId(2), stated(high));
        assert_eq!(ballots.to_accept(OriginId(3)), Some((high, &epoch)));
    }
}
