//! Who counts: a numbered epoch, decided by single-decree Paxos that is spoken inside the streams.
//!
//! ```text
//! proposer   Prepare(ballot) ─▶            Accept(ballot, epoch) ─▶
//! voters               ◀─ Promise(ballot, accepted before)   ◀─ Accepted(ballot)
//! everybody                       a majority accepted in one ballot: Adopt(epoch, all I hold)
//! ```
//!
//! Each epoch number is one Paxos instance; its voters are those of the epoch before, which a region
//! takes part in only after it has adopted it. What is said is an entry like any other: fsynced
//! before it leaves, ordered, relayed, replayed after a crash. So an acceptor's memory is the log
//! itself, and what is due to be said is computed in `tick` from the entries followed so far.
//!
//! Why no number is decided twice:
//! 1. A voter that promised a ballot accepts no lower one; both are entries of its own stream, and it
//!    decides by its own stream, so it can't have forgotten either.
//! 2. A proposer states one epoch per ballot (it looks whether its stream has that statement), and
//!    only with promises of a majority. It states what the highest ballot below stated that can have
//!    been decided, by what the promises say and whatever the silent voters did; where none can have
//!    been, what it likes.
//! 3. An epoch is decided once a majority of voters accepted it in one ballot, each counted once. Two
//!    majorities of the same voters share a voter; with 1 and 2, whatever a later ballot states is
//!    what an earlier one decided.
//!
//! A voter that has accepted an epoch and hears no more of it asks for a ballot of its own, which leaves
//! out nobody and so is objected to by nobody: either what it accepted is stated again, or a majority's
//! promises say that it came to nothing. Until then it neither reads strongly nor says what it holds to
//! those who do: others may go by that epoch already.
//!
//! A voter may keep silent whenever it likes, which costs liveness alone. It promises nothing
//! to a proposer that would leave out a member with which it is itself in touch: a one-way cut must
//! not evict a healthy region. Where no majority can be had a person decides (`DecidedBy::Operator`); if two persons do so
//! on two sides, the epochs fork, and the sides refuse each other from then on.
//!
//! *Adoption* is the one moment at which a region changes: an entry with the vector of all that its
//! log holds, admitted elsewhere only once all of that is held there. From it on the region takes
//! nothing directly from an incarnation that is left out, so the highest position held by an adopter
//! is the *cut*: whoever follows the adoptions of all members holds everything up to it, and nothing
//! beyond it can come any more. And from it on the region keeps for a newcomer whatever is not yet
//! there: who has followed every member's adoption has applied all that each had collected before.
//!
//! Refused: a consensus library (`docs/adr/0013-epochs-by-paxos-in-the-streams.md`).

use crate::ballots::Choice;
use crate::epochs::Expelled;
use crate::presence::Presence;
use crate::proposal::EVICTED_WITHIN;
use crate::receiver::Receiver;
use crate::{Arrival, Engine, Now, Proposal, Replica};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{
    Adopt, Ballot, Body, DecidedBy, Epoch, OriginId, RegionName, Sequence, Standing, Vote,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a region lets another's ballot go on before it tries one of its own; each waits once
/// more than the one before it, so that they don't outbid each other for ever.
const PAUSE: Duration = Duration::from_secs(2);

/// A region's pauses grow with its attempts, but no more often than this: while the other proposer is in
/// touch, which says on by itself once it can, and when it isn't.
const DOUBLED_MAX: [u32; 2] = [10, 3];

/// More steps than these are never due at once.
const STEPS_MAX: usize = 32;

/// What a process remembers of deciding. Nothing of it is needed to be safe.
#[derive(Debug, Default)]
pub(crate) struct Deliberation {
    /// What was asked for here.
    pub(crate) pending: Option<Proposal>,
    /// Whether it was asked for in this round: whoever asked is told when the log takes nothing of it.
    pub(crate) is_fresh: bool,
    pub(crate) asked_at: Duration,
    /// Whether the highest ballot has been so for so long that nobody seems to pursue it.
    pub(crate) is_idle: bool,
    pub(crate) presence: BTreeMap<RegionName, Presence>,
    /// Whether the copy that this region began with is of no use any more.
    pub(crate) needs_new_copy: bool,
    /// The peers to which a connection stands, members or not.
    pub(crate) connections: BTreeSet<RegionName>,
    /// Where to listen before this region's own stream begins, beside the members.
    pub(crate) sponsors: BTreeSet<RegionName>,
    /// The epoch's number and the highest ballot, as last looked at.
    seen: (u64, Option<Ballot>),
    seen_at: Duration,
    /// How many ballots of its own there were since an epoch began or something was asked for.
    pub(crate) attempts: u32,
}

/// What is due now.
enum Step {
    Say(Body),
    GoneFrom(u64),
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Takes all steps towards the next epoch that are due.
    pub(crate) fn deliberate(&mut self, now: Now) {
        self.note_spoken();
        self.note_presence(now);
        for _ in 0..STEPS_MAX {
            if self.stopped().is_some() {
                break;
            }
            // In each epoch: what has come about isn't asked for again once it was undone.
            self.settle_proposal(now);
            self.note_ballot(now);
            match self.due(now) {
                None => break,
                Some(Step::Say(body)) => self.say(now, &body),
                Some(Step::GoneFrom(number)) => self.expelled_since(number),
            }
        }
        self.follow_epoch(now);
    }

    pub(crate) fn say(&mut self, now: Now, body: &Body) {
        match self.clock.tick(now.wall) {
            Ok(hlc) => self.stage_own(now, hlc, body),
            Err(error) => self.clock_failed(error),
        }
    }

    fn due(&self, now: Now) -> Option<Step> {
        if !self.road.begun {
            return self.beginning(now).map(Step::Say);
        }
        if let Some(next) = self.road.next_decided() {
            if !self.road.counts_in(next, &self.config.region) {
                return Some(Step::GoneFrom(next.number));
            }
            return Some(Step::Say(self.adoption(next.clone(), DecidedBy::Majority)));
        }
        if self.road.adopted_by(self.origin).number < self.road.epoch.number {
            let decided = self.road.decided.get(&self.road.epoch.number)?;
            return Some(Step::Say(
                self.adoption(decided.clone(), DecidedBy::Majority),
            ));
        }
        if !self.road.is_voter(self.origin) {
            return None;
        }
        let vote = self
            .promise(now)
            .or_else(|| self.acceptance())
            .or_else(|| self.statement(now))
            .or_else(|| self.preparation(now))?;
        Some(Step::Say(Body::Vote(vote)))
    }

    /// The first entry of a region that joins, once it finds itself expected, and has all that those
    /// had whom it hears of the ones who decide: in what it has to catch up with, an earlier
    /// incarnation of it may have been expected.
    fn beginning(&self, now: Now) -> Option<Body> {
        let region = &self.config.region;
        let epoch = self.road.epoch.number;
        let member = self.road.epoch.members.get(region)?;
        let is_expected = self.config.arrival == Arrival::Joining
            && !self.deliberation.needs_new_copy
            && member.origin.is_none()
            && member.standing == Standing::Joining;
        let voters = self.road.epoch.voters();
        let heard = voters.filter_map(|(voter, _)| self.receivers.get(voter));
        let mut heard = heard
            .filter(|it| it.is_flowing(now) || it.has_caught_up())
            .peekable();
        let has_caught_up = heard.peek().is_some() && heard.all(Receiver::has_caught_up);
        (is_expected && has_caught_up).then(|| Body::Join {
            region: region.clone(),
            epoch,
        })
    }

    pub(crate) fn adoption(&self, epoch: Epoch, decided_by: DecidedBy) -> Body {
        let mut dependencies = self.staged_marks.vector();
        dependencies.remove(self.origin);
        Body::Adopt(Adopt {
            epoch,
            decided_by,
            dependencies,
        })
    }

    fn number(&self) -> u64 {
        self.road.epoch.number + 1
    }

    /// Whether this region has accepted an epoch after its own and doesn't know what became of that.
    #[must_use]
    pub fn awaits_outcome(&self) -> bool {
        let ballots = self.road.ballots.get(&self.number());
        ballots.is_some_and(|it| it.awaits_outcome(self.origin, &self.voters()))
    }

    fn promise(&self, now: Now) -> Option<Vote> {
        let number = self.number();
        let ballots = self.road.ballots.get(&number)?;
        let (ballot, without) = ballots.to_promise(self.origin)?;
        let objects = without.iter().any(|region| self.objects_to(now, region));
        (!objects).then(|| Vote::Promise {
            number,
            ballot,
            accepted: ballots.accepted_by(self.origin),
        })
    }

    /// A majority has promised by then to let it be decided, or it may be decided already.
    fn acceptance(&self) -> Option<Vote> {
        let number = self.number();
        let (ballot, _) = self.road.ballots.get(&number)?.to_accept(self.origin)?;
        Some(Vote::Accepted { number, ballot })
    }

    fn statement(&self, now: Now) -> Option<Vote> {
        let ballots = self.road.ballots.get(&self.number())?;
        let ballot = ballots.highest()?;
        if ballot.origin != self.origin || ballots.is_stated(ballot) {
            return None;
        }
        let epoch = match ballots.choice(ballot, &self.voters()) {
            Choice::NotYet => return None,
            Choice::Bound(epoch) if self.may_be_free_yet(now, ballot, &epoch) => return None,
            Choice::Bound(epoch) => epoch,
            Choice::Free => {
                let wanted = self.wanted(now)?;
                let announced = ballots.leaves_out(ballot);
                let left_out = self.left_out_of(&wanted);
                // Voters have promised knowing these alone.
                if !left_out.iter().all(|region| announced.contains(region)) {
                    return None;
                }
                wanted
            }
        };
        Some(Vote::Accept { ballot, epoch })
    }

    /// Whether it is worth waiting a moment for more promises: what has to be stated by those that are
    /// there leaves out a region that is in touch, and more of them may tell that it was never decided.
    fn may_be_free_yet(&self, now: Now, ballot: Ballot, epoch: &Epoch) -> bool {
        let mut left_out = self.left_out_of(epoch).into_iter();
        let ballots = self.road.ballots.get(&self.number());
        let promised = ballots.map_or(0, |it| it.counts(ballot, &self.voters()).0);
        now.elapsed < self.deliberation.seen_at + PAUSE
            && left_out.any(|region| self.objects_to(now, &region))
            && promised < self.voters_in_touch(now, None)
    }

    fn preparation(&self, now: Now) -> Option<Vote> {
        // What may be decided already is settled before anything else is asked for.
        let is_settling = self.awaits_outcome();
        let without = match is_settling {
            true => Vec::new(),
            false => self.left_out_of(&self.wanted(now)?),
        };
        let number = self.number();
        let ballots = self.road.ballots.get(&number);
        let highest = ballots.and_then(crate::ballots::Ballots::highest);
        // A ballot of one's own that asked for something else is of no more use.
        let is_stale = |ballot: Ballot| {
            let announced = ballots.map_or(&[][..], |it| it.leaves_out(ballot));
            !is_settling && ballot.origin == self.origin && *announced != without[..]
        };
        let pause = match highest {
            Some(ballot) if is_stale(ballot) => PAUSE,
            // Nothing that was said gets lost: what keeps it waits for those who object, or are away.
            Some(ballot) if ballot.origin == self.origin => return None,
            Some(ballot) => self.pause_after(now, ballot),
            None if self.deliberation.pending.is_some() => Duration::ZERO,
            None => PAUSE * self.rank(),
        };
        if now.elapsed < self.deliberation.seen_at + pause {
            return None;
        }
        let counter = highest.map_or(0, |ballot| ballot.counter) + 1;
        let ballot = Ballot {
            counter,
            origin: self.origin,
        };
        Some(Vote::Prepare {
            number,
            ballot,
            without,
        })
    }

    /// The place of this region among those that vote.
    fn rank(&self) -> u32 {
        let mut voters = self.road.epoch.voters();
        let own = &self.config.region;
        let rank = voters.position(|(region, _)| region == own).unwrap_or(0);
        u32::try_from(rank).unwrap_or(u32::MAX)
    }

    /// How long another's ballot is let go on.
    fn pause_after(&self, now: Now, ballot: Ballot) -> Duration {
        let mut members = self.road.epoch.members.iter();
        let proposer = members.find(|(_, member)| member.origin == Some(ballot.origin));
        let is_there = proposer.is_some_and(|(region, _)| self.is_in_touch(now, region));
        let [there, away] = DOUBLED_MAX;
        let doubled_max = if is_there { there } else { away };
        let doubled = 1 << self.deliberation.attempts.min(doubled_max);
        PAUSE * (self.rank() + 1) * doubled
    }

    fn note_ballot(&mut self, now: Now) {
        let number = self.number();
        let ballots = self.road.ballots.get(&number);
        let seen = (number, ballots.and_then(crate::ballots::Ballots::highest));
        let before = self.deliberation.seen;
        if seen == before {
            let since = now.elapsed.saturating_sub(self.deliberation.seen_at);
            self.deliberation.is_idle = since >= EVICTED_WITHIN;
            return;
        }
        self.deliberation.is_idle = false;
        if seen.0 != before.0 {
            self.deliberation.attempts = 0;
        } else if seen.1.is_some_and(|ballot| ballot.origin == self.origin) {
            self.deliberation.attempts += 1;
        }
        self.deliberation.seen = seen;
        self.deliberation.seen_at = now.elapsed;
    }

    /// The members that `next` leaves out.
    pub(crate) fn left_out_of(&self, next: &Epoch) -> Vec<RegionName> {
        let members = self.road.epoch.members.keys();
        members
            .filter(|region| !next.members.contains_key(*region))
            .cloned()
            .collect()
    }

    fn expelled_since(&mut self, number: u64) {
        let reason = if self.is_leaving() {
            format!("this region has left: it doesn't count since epoch {number}")
        } else {
            format!("this region was evicted: it doesn't count since epoch {number}")
        };
        self.expel(reason, Sequence(0));
    }

    /// Whether this region is to go, by the epoch that it knows.
    pub(crate) fn is_leaving(&self) -> bool {
        let own = self.road.epoch.members.get(&self.config.region);
        own.is_some_and(|member| member.standing == Standing::Leaving)
    }

    /// This incarnation counts no more, for good.
    pub(crate) fn expel(&mut self, reason: String, held: Sequence) {
        if self.road.expelled.is_none() {
            self.note_in_road(|road| {
                road.expelled = Some(Expelled {
                    reason: reason.clone(),
                    held,
                });
            });
        }
    }

    /// Receives from the members of the epoch, and from nobody else.
    pub(crate) fn follow_epoch(&mut self, now: Now) {
        let mut wanted = BTreeSet::new();
        if self.road.expelled.is_none() {
            wanted.extend(self.road.epoch.members.keys().cloned());
            if !self.road.begun {
                wanted.extend(self.deliberation.sponsors.iter().cloned());
            }
            wanted.remove(&self.config.region);
        }
        let beyond = mutation::active(Mutation::TakenBeyondTheCut);
        self.receivers
            .retain(|peer, _| wanted.contains(peer) || beyond);
        for peer in wanted {
            if self.receivers.contains_key(&peer) {
                continue;
            }
            let mut receiver = Receiver::new(now);
            if self.deliberation.connections.contains(&peer) {
                let marks = self.log.marks();
                let asked = receiver.subscribe(now, &self.config.region, self.origin, marks);
                self.outgoing.push((peer.clone(), asked));
            }
            self.receivers.insert(peer, receiver);
        }
    }

    /// The regions to take streams from while this region's own has not begun, beside those that it
    /// knows as members: whoever it was told would let it in.
    pub fn set_peers(&mut self, now: Now, peers: &[RegionName]) {
        self.deliberation.sponsors = peers.iter().cloned().collect();
        self.follow_epoch(now);
    }

    /// Remembers which versions the members speak.
    fn note_spoken(&mut self) {
        let spoken: Vec<(OriginId, u16)> = self
            .wire_versions
            .iter()
            .filter_map(|(peer, version)| Some((self.road.member(peer)?, *version)))
            .filter(|(origin, version)| self.road.spoken.get(origin) < Some(version))
            .collect();
        if !spoken.is_empty() {
            self.note_in_road(|road| road.spoken.extend(spoken.iter().copied()));
        }
    }

    /// Whether every member is known to speak this wire version, this region too; else one that isn't. A
    /// member that has not been heard of since it was upgraded counts as not speaking it.
    ///
    /// # Errors
    /// The name of a region that doesn't, or isn't known to.
    pub fn all_speak(&self, version: u16) -> Result<(), RegionName> {
        self.those_speak(version, |_| true)
    }

    /// The same for the members that matter.
    pub(crate) fn those_speak(
        &self,
        version: u16,
        matters: impl Fn(&RegionName) -> bool,
    ) -> Result<(), RegionName> {
        let own = &self.config.region;
        if self.config.wire_version < version {
            return Err(own.clone());
        }
        let members = self.road.epoch.members.iter();
        let mut others = members.filter(|(region, _)| *region != own && matters(region));
        let silent = others.find(|(_, member)| match member.origin {
            Some(origin) => self.road.speaks(origin) < version,
            // Whoever joins speaks at least the version in which there is joining.
            None => member.standing != Standing::Joining || version > meridian_model::VOTES_SINCE,
        });
        silent.map_or(Ok(()), |(region, _)| Err(region.clone()))
    }
}
