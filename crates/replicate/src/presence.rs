//! Who is there: whether a member is in touch, as this region sees it.

use crate::{Engine, Now, Replica};
use meridian_log::Disk;
use meridian_model::{RegionName, Sequence, Standing};
use std::collections::BTreeSet;
use std::time::Duration;

/// A member from which nothing came for so long, or which took nothing new, is away.
const AWAY_AFTER: Duration = Duration::from_secs(5);

/// How long a member must have been away before it is evicted because the log is full, and for how long
/// a majority must have been there without it before it is evicted by itself for any reason: members
/// that all were cut off, or were paused, come back one after the other.
const AWAY_AT_BUDGET: Duration = Duration::from_secs(10);

/// When a member was last seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    held: Sequence,
    advanced: Duration,
    touched: Duration,
    /// Since when a majority has been there without it.
    missed: Option<Duration>,
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// Looks who is there. A member is in touch while its stream flows and it takes this region's; one
    /// that joins and has yet to begin its stream, which takes as long as its copy takes, while it can
    /// be reached. At first each gets the benefit of the doubt.
    pub(crate) fn note_presence(&mut self, now: Now) {
        let own = self.log.marks().get(self.origin).sequence;
        let members = &self.road.epoch.members;
        self.deliberation
            .presence
            .retain(|region, _| members.contains_key(region));
        for (region, member) in members {
            let seen = self.deliberation.presence.entry(region.clone());
            let seen = seen.or_insert(Presence {
                held: Sequence(0),
                advanced: now.elapsed,
                touched: now.elapsed,
                missed: None,
            });
            let is_reached = self.deliberation.connections.contains(region);
            if member.is_yet_to_begin() && is_reached {
                seen.touched = now.elapsed;
            }
            let (Some(origin), Some(receiver)) = (member.origin, self.receivers.get(region)) else {
                continue;
            };
            let held = self.road.held(origin, self.origin);
            if held > seen.held || held >= own {
                seen.held = held;
                seen.advanced = now.elapsed;
            }
            let is_current = now.elapsed.saturating_sub(seen.advanced) < AWAY_AFTER;
            if is_current && receiver.is_flowing(now) {
                seen.touched = now.elapsed;
            }
        }
        self.note_missed(now);
    }

    fn note_missed(&mut self, now: Now) {
        let regions = self.deliberation.presence.keys();
        let missed = regions.filter(|region| {
            !self.is_in_touch(now, region) && self.is_majority_without(now, region)
        });
        let missed: BTreeSet<RegionName> = missed.cloned().collect();
        for (region, seen) in &mut self.deliberation.presence {
            let since = seen.missed.unwrap_or(now.elapsed);
            seen.missed = missed.contains(region).then_some(since);
        }
    }

    fn is_majority_without(&self, now: Now, region: &RegionName) -> bool {
        self.voters_in_touch(now, Some(region)) >= self.road.epoch.majority()
    }

    /// For how long a majority has been there without this member.
    fn missed(&self, now: Now, region: &RegionName) -> Duration {
        let seen = self.deliberation.presence.get(region);
        let since = seen.and_then(|seen| seen.missed).unwrap_or(now.elapsed);
        now.elapsed.saturating_sub(since)
    }

    /// For how long a member has not been in touch.
    pub(crate) fn away(&self, now: Now, region: &RegionName) -> Duration {
        if *region == self.config.region {
            return Duration::ZERO;
        }
        let seen = self.deliberation.presence.get(region);
        seen.map_or(Duration::MAX, |seen| {
            now.elapsed.saturating_sub(seen.touched)
        })
    }

    /// Whether a member is in touch.
    pub(crate) fn is_in_touch(&self, now: Now, region: &RegionName) -> bool {
        self.away(now, region) < AWAY_AFTER
    }

    /// The members that are not in touch any more.
    #[must_use]
    pub fn out_of_touch(&self, now: Now) -> BTreeSet<RegionName> {
        let seen = self.deliberation.presence.keys();
        let away = seen.filter(|region| !self.is_in_touch(now, region));
        away.cloned().collect()
    }

    /// Whether this region would have an epoch without this member be decided: not while it is in
    /// touch, unless it has left as planned or never counted.
    pub(crate) fn objects_to(&self, now: Now, region: &RegionName) -> bool {
        let Some(member) = self.road.epoch.members.get(region) else {
            return false;
        };
        match member.standing {
            Standing::Joining => false,
            Standing::Leaving if self.has_left(region) => false,
            Standing::Leaving | Standing::Voting => self.is_in_touch(now, region),
        }
    }

    /// How many voters are in touch, this region among them.
    pub(crate) fn voters_in_touch(&self, now: Now, except: Option<&RegionName>) -> usize {
        let voters = self.road.epoch.voters();
        voters
            .filter(|(region, member)| member.origin.is_some() && Some(*region) != except)
            .filter(|(region, _)| self.is_in_touch(now, region))
            .count()
    }

    /// A member that has been away too long, while enough others are there to say so.
    pub(crate) fn overdue(&self, now: Now) -> Option<&RegionName> {
        let is_over_budget = self.log.bytes() > self.config.log_bytes_max;
        let members = self.road.epoch.members.iter();
        let mut others = members.filter(|(region, _)| **region != self.config.region);
        let found = others.find(|(region, member)| {
            let away = self.away(now, region);
            let is_overdue = self.config.evict_after.is_some_and(|after| away >= after);
            // Before the budget is reached, nothing is kept any more for who has yet to begin.
            let fills_log = is_over_budget && !member.is_yet_to_begin();
            (is_overdue || (fills_log && away >= AWAY_AT_BUDGET))
                && self.missed(now, region) >= AWAY_AT_BUDGET
        });
        found.map(|(region, _)| region)
    }
}
