//! Asking for another epoch: by people, and by the regions themselves.

use crate::ballots::{Ballots, Voters};
use crate::receiver::Receiver;
use crate::{Engine, Now, Replica};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{
    DecidedBy, Epoch, Member, OriginId, RegionAddress, RegionName, Standing, VOTES_SINCE,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// An eviction that came to nothing in this time is asked for no longer: others are in touch with the
/// region, though this one isn't. What was said of it stays in the streams and does no harm: who
/// promised states nothing by it, and who proposes anything else takes a higher ballot.
pub(crate) const EVICTED_WITHIN: Duration = Duration::from_secs(60);

/// A change of who counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Let a region join.
    Add {
        /// The region.
        region: RegionName,
        /// Where it is reached, if no topology says so.
        address: Option<RegionAddress>,
    },
    /// Let a region leave as planned: nothing of it is lost.
    Remove {
        /// The region.
        region: RegionName,
    },
    /// Count no more on a region that is away.
    Evict {
        /// The region.
        region: RegionName,
        /// Who decides.
        decided_by: DecidedBy,
    },
}

/// A proposal that is not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This region takes no part.
    #[error("the dataset is stopped here: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The log took nothing of it.
    #[error("the log here takes nothing: {reason}")]
    NotLogged {
        /// Why.
        reason: String,
    },
    /// This region doesn't vote.
    #[error("this region has no vote")]
    NoVote,
    /// One thing at a time.
    #[error("another change of members is being decided")]
    InProgress,
    /// The region is a member already.
    #[error("region {region} is a member already")]
    AlreadyMember {
        /// The region.
        region: RegionName,
    },
    /// The region is on its way out already.
    #[error("region {region} is leaving already")]
    AlreadyLeaving {
        /// The region.
        region: RegionName,
    },
    /// The region has begun to join: it may know already that it votes, and have taken writes since.
    #[error("region {region} is joining and may have its vote already")]
    StillJoining {
        /// The region.
        region: RegionName,
    },
    /// The region's earlier incarnation is still being parted with.
    #[error("not every member has taken leave of the earlier incarnation of region {region} yet")]
    StillParting {
        /// The region.
        region: RegionName,
    },
    /// The region is no member.
    #[error("region {region} is not a member")]
    NotMember {
        /// The region.
        region: RegionName,
    },
    /// Nobody would be left.
    #[error("without region {region} nobody would take writes")]
    LastVoter {
        /// The region.
        region: RegionName,
    },
    /// A region doesn't evict itself.
    #[error("this region can't evict itself")]
    Itself,
    /// The region is in touch.
    #[error("region {region} is in touch; nobody evicts a region that is there")]
    InTouch {
        /// The region.
        region: RegionName,
    },
    /// Too few voters are there to decide.
    #[error("{in_touch} of the {needed} votes needed are in touch")]
    NoMajority {
        /// How many voters are there.
        in_touch: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A person decides only where a majority can't.
    #[error("a majority is in touch and decides")]
    MajorityInTouch,
    /// A region that is there may have adopted what this one has yet to hear of.
    #[error("region {region} is there and may have decisions that this region has yet to take")]
    Behind {
        /// The region.
        region: RegionName,
    },
    /// A member doesn't understand what would be said.
    #[error("region {region} is not known to speak wire version {VOTES_SINCE}")]
    NotSpoken {
        /// The region.
        region: RegionName,
    },
}

impl ProposeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "ask another region, or mend this one first",
            Self::NotLogged { .. } => "make room or mend the disk, and ask again",
            Self::NoVote => "ask a region that votes",
            Self::InProgress => "wait until it is decided",
            Self::AlreadyMember { .. } | Self::AlreadyLeaving { .. } => "nothing is to be done",
            Self::StillParting { .. } => {
                "wait until every member has adopted the epoch, or evict those that are away"
            }
            Self::StillJoining { .. } => {
                "wait until it votes and remove it then, or evict it if it is away"
            }
            Self::NotMember { .. } => "look at the list of members",
            Self::LastVoter { .. } => "let another region join first",
            Self::Itself => "remove it, or ask another region to evict it",
            Self::InTouch { .. } => "remove it; or stop it first, and ask again five seconds later",
            Self::NoMajority { .. } => {
                "wait until more regions are back; if they never will be, decide it as the operator"
            }
            Self::MajorityInTouch => "let the majority decide",
            Self::Behind { .. } => "wait until this region has caught up, or ask that one",
            Self::NotSpoken { .. } => "upgrade it and let it connect once, or evict it first",
        }
    }
}

/// What is being decided, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// The number of the epoch to come.
    pub number: u64,
    /// What was asked for at this region, if anything.
    pub proposal: Option<Proposal>,
    /// How many voters follow the latest ballot.
    pub promised: usize,
    /// How many of them accepted what was stated in it.
    pub accepted: usize,
    /// How many are needed.
    pub needed: usize,
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Asks for another epoch. It has begun when this returns; the outcome shows in
    /// [`Replica::epoch`]. What an operator decides is adopted at the next [`Replica::flush`].
    ///
    /// # Errors
    /// [`ProposeError`]; nothing has begun then.
    pub fn propose(&mut self, now: Now, proposal: Proposal) -> Result<(), ProposeError> {
        if let Some(reason) = self.stopped() {
            return Err(ProposeError::Stopped {
                reason: reason.to_owned(),
            });
        }
        if !self.road.begun || !self.road.is_voter(self.origin) {
            return Err(ProposeError::NoVote);
        }
        // What waits for a majority in vain must not keep a person from deciding without one.
        let by_operator = matches!(
            proposal,
            Proposal::Evict {
                decided_by: DecidedBy::Operator,
                ..
            }
        );
        let is_asked = self.deliberation.pending.is_some() && !by_operator;
        if is_asked || self.road.next_decided().is_some() {
            return Err(ProposeError::InProgress);
        }
        let next = self.epoch_after(&proposal)?;
        self.understand(now, &proposal)
            .map_err(|region| ProposeError::NotSpoken { region })?;
        match &proposal {
            Proposal::Evict { region, .. } if *region == self.config.region => {
                Err(ProposeError::Itself)
            }
            Proposal::Evict {
                region,
                decided_by: DecidedBy::Operator,
            } => {
                self.may_decide_alone(now, region)?;
                let adoption = self.adoption(next, DecidedBy::Operator);
                self.say(now, &adoption);
                self.follow_epoch(now);
                Ok(())
            }
            Proposal::Evict { region, .. } => {
                self.may_evict(now, region)?;
                self.deliberation.asked_at = now.elapsed;
                self.pursue(now, proposal);
                Ok(())
            }
            Proposal::Add { .. } | Proposal::Remove { .. } => {
                self.pursue(now, proposal);
                Ok(())
            }
        }
    }

    fn pursue(&mut self, now: Now, proposal: Proposal) {
        self.deliberation.pending = Some(proposal);
        self.deliberation.is_fresh = true;
        self.deliberation.attempts = 0;
        self.deliberate(now);
    }

    /// Whether the members understand what will be said. Where one is evicted, it is enough that those
    /// do who are there: of several that are away for good, none may keep the others in.
    fn understand(&self, now: Now, proposal: &Proposal) -> Result<(), RegionName> {
        let is_eviction = matches!(proposal, Proposal::Evict { .. });
        self.those_speak(VOTES_SINCE, |region| {
            !is_eviction || self.is_in_touch(now, region)
        })
    }

    fn may_evict(&self, now: Now, region: &RegionName) -> Result<(), ProposeError> {
        if self.objects_to(now, region) {
            let region = region.clone();
            return Err(ProposeError::InTouch { region });
        }
        let in_touch = self.voters_in_touch(now, Some(region));
        let needed = self.voters().needed();
        if in_touch < needed {
            return Err(ProposeError::NoMajority { in_touch, needed });
        }
        Ok(())
    }

    /// Whether a person may decide at this region to part with `region`. What another region that is
    /// there has adopted is not to be contradicted by who merely has not caught up with it. (At its
    /// limit of disk space this region takes nothing, and an eviction is the way out.)
    fn may_decide_alone(&mut self, now: Now, region: &RegionName) -> Result<(), ProposeError> {
        if self.voters_in_touch(now, None) >= self.road.epoch.majority() {
            return Err(ProposeError::MajorityInTouch);
        }
        let is_settled = self.is_settled(now);
        let takes = self.log.bytes() <= self.config.log_bytes_limit;
        let is_ahead = |(peer, receiver): &(&RegionName, &Receiver)| {
            let may_be_there = !is_settled && !receiver.has_answered();
            takes && *peer != region && (may_be_there || receiver.is_ahead(now))
        };
        match self.receivers.iter().find(is_ahead) {
            None => Ok(()),
            Some((peer, _)) => {
                let region = peer.clone();
                Err(ProposeError::Behind { region })
            }
        }
    }

    /// The epoch that a proposal leads to.
    fn epoch_after(&self, proposal: &Proposal) -> Result<Epoch, ProposeError> {
        let mut next = self.road.epoch.clone();
        next.number += 1;
        match proposal {
            Proposal::Add { region, address } => {
                let region = region.clone();
                if next.members.contains_key(&region) {
                    return Err(ProposeError::AlreadyMember { region });
                }
                if self.road.retiring.iter().any(|gone| gone.region == region) {
                    return Err(ProposeError::StillParting { region });
                }
                let member = Member {
                    origin: None,
                    standing: Standing::Joining,
                    address: address.clone(),
                };
                next.members.insert(region, member);
            }
            Proposal::Remove { region } => {
                let region = region.clone();
                let Some(member) = next.members.get_mut(&region) else {
                    return Err(ProposeError::NotMember { region });
                };
                match member.standing {
                    Standing::Leaving => return Err(ProposeError::AlreadyLeaving { region }),
                    Standing::Voting if member.origin.is_some() => {
                        member.standing = Standing::Leaving;
                    }
                    Standing::Joining if member.origin.is_some() => {
                        return Err(ProposeError::StillJoining { region });
                    }
                    // It has nothing that anybody would have to wait for.
                    Standing::Voting | Standing::Joining => {
                        next.members.remove(&region);
                    }
                }
                self.somebody_still_writes(&next, region)?;
            }
            Proposal::Evict { region, .. } => {
                let region = region.clone();
                if next.members.remove(&region).is_none() {
                    return Err(ProposeError::NotMember { region });
                }
                self.call_off_leaving(&mut next);
                self.somebody_still_writes(&next, region)?;
            }
        }
        Ok(next)
    }

    /// The epoch that this region would have now: what was asked for here, or what is due by itself.
    pub(crate) fn wanted(&self, now: Now) -> Option<Epoch> {
        let asked = self.deliberation.pending.as_ref();
        let asked = asked.and_then(|proposal| self.epoch_after(proposal).ok());
        asked
            .or_else(|| self.with_joiners_counted())
            .or_else(|| self.without(now, self.gone_as_planned()?))
            .or_else(|| self.without(now, self.overdue(now)?))
    }

    /// Forgets what was asked for once it has come about, or can't any more. A region that is back
    /// can't be evicted: a proposal that outlived its absence would keep every other one from being
    /// decided, and strike when the region is away the next time.
    pub(crate) fn settle_proposal(&mut self, now: Now) {
        let late = now.elapsed >= self.deliberation.asked_at + EVICTED_WITHIN;
        let is_moot = |proposal: &Proposal| match proposal {
            Proposal::Evict { region, .. } => late || self.objects_to(now, region),
            Proposal::Add { .. } | Proposal::Remove { .. } => false,
        };
        let pending = self.deliberation.pending.as_ref();
        if pending.is_some_and(|it| self.epoch_after(it).is_err() || is_moot(it)) {
            self.deliberation.pending = None;
        }
    }

    /// Those who join vote once they have applied what every voter had when it began to count them.
    fn with_joiners_counted(&self) -> Option<Epoch> {
        let epoch = &self.road.epoch;
        let is_ready = |member: &Member| {
            member.standing == Standing::Joining
                && self.road.goes_by_this(member)
                && epoch.voters().all(|(_, voter)| {
                    let (Some(joiner), Some(voter)) = (member.origin, voter.origin) else {
                        return false;
                    };
                    let adopted = self.road.adopted_by(voter);
                    self.road.reported(joiner, voter).applied >= adopted.hlc
                })
        };
        let mut voters = epoch.voters();
        let is_agreed = voters.all(|(_, voter)| self.road.goes_by_this(voter));
        if !is_agreed || !epoch.members.values().any(is_ready) {
            return None;
        }
        let mut next = epoch.clone();
        next.number += 1;
        for member in next.members.values_mut().filter(|member| is_ready(member)) {
            member.standing = Standing::Voting;
        }
        Some(next)
    }

    fn gone_as_planned(&self) -> Option<&RegionName> {
        let mut members = self.road.epoch.members.keys();
        members.find(|region| self.has_left(region))
    }

    /// Whether a region that leaves has said its last word and everybody holds what it leaves behind.
    pub(crate) fn has_left(&self, region: &RegionName) -> bool {
        self.waits_for(region).is_some_and(|names| names.is_empty())
    }

    /// Whom a region that leaves waits for; `None` where it doesn't leave. For everybody to go by the
    /// epoch in which it leaves and to hold all that it wrote; and all that it may have confirmed of
    /// others alone, which was written before these adopted this epoch. Nobody leaves while another
    /// joins, who may be meant to take its place.
    #[must_use]
    pub fn waits_for(&self, region: &RegionName) -> Option<BTreeSet<RegionName>> {
        let members = &self.road.epoch.members;
        let leaver = members.get(region)?;
        let (Standing::Leaving, Some(leaving)) = (leaver.standing, leaver.origin) else {
            return None;
        };
        let own_alone = mutation::active(Mutation::GoneWithWhatItConfirmed);
        let origins = members.values().filter_map(|member| member.origin);
        let streams: Vec<_> = origins
            .filter(|origin| *origin == leaving || !own_alone)
            .collect();
        let holds = |origin: OriginId, stream: OriginId| {
            let until = self.road.adopted_by(stream).sequence;
            [stream, self.origin, leaving].contains(&origin)
                || self.road.reported(origin, stream).held >= until
        };
        let is_ready = |member: &Member| {
            let holds_all = |origin| streams.iter().all(|stream| holds(origin, *stream));
            member.standing != Standing::Joining
                && self.road.goes_by_this(member)
                && member.origin.is_some_and(holds_all)
        };
        let waits = members.iter().filter(|(_, member)| !is_ready(member));
        Some(waits.map(|(name, _)| name.clone()).collect())
    }

    fn without(&self, now: Now, region: &RegionName) -> Option<Epoch> {
        let mut next = self.road.epoch.clone();
        next.number += 1;
        next.members.remove(region);
        self.call_off_leaving(&mut next);
        self.somebody_still_writes(&next, region.clone()).ok()?;
        self.those_speak(VOTES_SINCE, |region| self.is_in_touch(now, region))
            .ok()?;
        Some(next)
    }

    pub(crate) fn voters(&self) -> Voters {
        Voters::of(&self.road.epoch)
    }

    /// What is being decided, if anything is. A ballot that nobody has spoken of for a while came to
    /// nothing, unless somebody here asks for it, or has accepted it and doesn't know the outcome.
    #[must_use]
    pub fn proposal(&self) -> Option<Deciding> {
        let number = self.road.epoch.number + 1;
        let ballots = self.road.ballots.get(&number);
        let ballot = ballots.and_then(Ballots::highest);
        let proposal = self.deliberation.pending.clone();
        let is_open = !self.deliberation.is_idle || self.awaits_outcome();
        let is_pursued = ballot.is_some() && is_open;
        if !is_pursued && proposal.is_none() {
            return None;
        }
        let voters = self.voters();
        let counts = ballots.zip(ballot);
        let (promised, accepted) =
            counts.map_or((0, 0), |(ballots, ballot)| ballots.counts(ballot, &voters));
        Some(Deciding {
            number,
            proposal,
            promised,
            accepted,
            needed: voters.needed(),
        })
    }

    /// Where the last region that takes writes is lost, those that were about to leave stay.
    fn call_off_leaving(&self, next: &mut Epoch) {
        if self.somebody_writes(next) {
            return;
        }
        for member in next.members.values_mut() {
            if member.standing == Standing::Leaving {
                member.standing = Standing::Voting;
            }
        }
    }

    fn somebody_still_writes(&self, next: &Epoch, region: RegionName) -> Result<(), ProposeError> {
        if self.somebody_writes(next) {
            Ok(())
        } else {
            Err(ProposeError::LastVoter { region })
        }
    }
}
