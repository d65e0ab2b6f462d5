//! Who counts, as the log tells it: streams that begin, epochs adopted here and by others, and the
//! cut of those that count no more.
//!
//! Everything here is a function of the entries followed so far, in their order.

use crate::Road;
use crate::ballots::Voters;
use meridian_model::{
    Acknowledgement, Adopt, Entry, Epoch, Hlc, Member, OriginId, RegionName, Sequence, Standing,
    VOTES_SINCE, Vector,
};
use serde::{Deserialize, Serialize};

/// How many decided epochs are kept to compare with what others adopted. (More while a region has
/// that many still to adopt.)
const DECIDED_KEPT: usize = 16;

/// A stream that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// Whose it is.
    pub(crate) region: RegionName,
    /// The epoch in which it found itself expected; `None` for a founder.
    pub(crate) joined: Option<u64>,
}

/// What a region adopted last, and where its stream says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Adopted {
    pub(crate) number: u64,
    pub(crate) sequence: Sequence,
    pub(crate) hlc: Hlc,
}

/// An incarnation that counts no more; some of its entries may still be on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retiring {
    pub(crate) region: RegionName,
    /// `None` until its stream is heard of, which others that held some of it hand on.
    pub(crate) origin: Option<OriginId>,
    /// The highest reading of it that any adopter is known to have held.
    pub(crate) cut: Hlc,
}

/// How this region learned that it counts no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expelled {
    pub(crate) reason: String,
    pub(crate) held: Sequence,
}

impl Road {
    /// The founding regions are epoch 0, as long as no other was decided.
    pub(crate) fn found(&mut self, regions: &[RegionName]) {
        if self.epoch.number > 0 {
            return;
        }
        let members = regions.iter().map(|region| {
            let member = Member {
                origin: self.member(region),
                standing: Standing::Voting,
                address: None,
            };
            (region.clone(), member)
        });
        self.epoch.members = members.collect();
        self.fill();
    }

    /// A founder's stream begins.
    pub(crate) fn open(&mut self, region: RegionName, origin: OriginId) {
        self.begin(
            origin,
            Stream {
                region,
                joined: None,
            },
        );
    }

    /// The stream of a region that joins begins.
    pub(crate) fn join(&mut self, region: RegionName, origin: OriginId, epoch: u64) {
        if self.own == Some(origin) {
            self.counted_from = epoch;
        }
        let joined = Some(epoch);
        self.begin(origin, Stream { region, joined });
    }

    fn begin(&mut self, origin: OriginId, stream: Stream) {
        self.begun |= self.own == Some(origin);
        if self.counts_no_more(&stream) {
            let mut retiring = self.retiring.iter_mut();
            let unheard =
                |gone: &&mut Retiring| gone.region == stream.region && gone.origin.is_none();
            if let Some(gone) = retiring.find(unheard) {
                gone.origin = Some(origin);
            }
        }
        self.streams.insert(origin, stream);
        self.fill();
    }

    /// Whether a stream is of an incarnation that was left out before this region heard of it. Its
    /// cut is told by adoptions alone that are followed later: whoever held some of it when it
    /// adopted had it handed on to here first.
    fn counts_no_more(&self, stream: &Stream) -> bool {
        let joined = stream.joined.unwrap_or_default();
        let is_to_come = joined > self.epoch.number;
        let is_meant = self.epoch.members.contains_key(&stream.region)
            && joined >= self.counts_since(&stream.region);
        !is_to_come && !is_meant
    }

    /// Since which epoch a region counts without a break.
    fn counts_since(&self, region: &RegionName) -> u64 {
        self.since.get(region).copied().unwrap_or_default()
    }

    /// The founding incarnation of a region, where its stream has begun.
    pub(crate) fn founder(&self, region: &RegionName) -> Option<OriginId> {
        let mut streams = self.streams.iter();
        streams
            .find(|(_, stream)| stream.region == *region && stream.joined.is_none())
            .map(|(origin, _)| *origin)
    }

    /// Members that were expected get the incarnation that came.
    fn fill(&mut self) {
        for (region, member) in &mut self.epoch.members {
            if member.origin.is_some() {
                continue;
            }
            let since = self.since.get(region).copied().unwrap_or_default();
            let is_meant = |stream: &Stream| {
                stream.region == *region && stream.joined.unwrap_or_default() >= since
            };
            let mut streams = self.streams.iter();
            member.origin = streams
                .find(|(_, stream)| is_meant(stream))
                .map(|(origin, _)| *origin);
        }
    }

    /// Whether a stream that begins so is the one that is expected of `region`.
    pub(crate) fn expects(&self, region: &RegionName, origin: OriginId, epoch: u64) -> bool {
        let since = self.counts_since(region);
        self.epoch.members.get(region).is_some_and(|member| {
            member.origin == Some(origin)
                || (member.origin.is_none()
                    && member.standing == Standing::Joining
                    && epoch >= since)
        })
    }

    /// Another's adoption, or this region's own.
    pub(crate) fn follow_adopt(&mut self, entry: &Entry, adopt: &Adopt) {
        let number = adopt.epoch.number;
        let adopted = self.adopted.entry(entry.origin).or_default();
        *adopted = Adopted {
            number: number.max(adopted.number),
            sequence: entry.sequence,
            hlc: entry.hlc,
        };
        self.decided
            .entry(number)
            .or_insert_with(|| adopt.epoch.clone());
        if self.own == Some(entry.origin) {
            self.adopt(number, &adopt.dependencies);
        }
        // Before its own stream begins, a region goes by what the others adopt.
        while !self.begun && self.decided.contains_key(&(self.epoch.number + 1)) {
            self.adopt(self.epoch.number + 1, &adopt.dependencies);
        }
        for gone in &mut self.retiring {
            let held = gone.origin.map(|origin| adopt.dependencies.get(origin));
            gone.cut = gone.cut.max(held.unwrap_or_default());
        }
        self.close();
    }

    fn adopt(&mut self, number: u64, held: &Vector) {
        let Some(mut next) = self.decided.get(&number).cloned() else {
            return;
        };
        if number <= self.epoch.number {
            return;
        }
        for (region, before) in &self.epoch.members {
            match next.members.get_mut(region) {
                // What this region knows of it, the proposer may not have known yet.
                Some(member) => member.origin = member.origin.or(before.origin),
                None => {
                    self.since.remove(region);
                    self.retiring.push(Retiring {
                        region: region.clone(),
                        origin: before.origin,
                        cut: before.origin.map(|it| held.get(it)).unwrap_or_default(),
                    });
                }
            }
        }
        // The founding epoch is stated nowhere else, and acknowledgements may have to go by it yet.
        let before = self.epoch.number;
        self.decided
            .entry(before)
            .or_insert_with(|| self.epoch.clone());
        for region in next.members.keys() {
            if !self.epoch.members.contains_key(region) {
                self.since.insert(region.clone(), number);
            }
        }
        self.epoch = next;
        self.fill();
        self.ballots.retain(|about, _| *about > number);
        // Those that this region has yet to adopt it needs one after the other, however many.
        while self.decided.len() > DECIDED_KEPT
            && self
                .decided
                .keys()
                .next()
                .is_some_and(|first| *first < number)
        {
            self.decided.pop_first();
        }
    }

    /// The number of the latest epoch that this incarnation is known to go by.
    pub(crate) fn adopted_by(&self, origin: OriginId) -> Adopted {
        self.adopted.get(&origin).copied().unwrap_or_default()
    }

    /// Whether every member of this region's epoch is known to have adopted it.
    pub(crate) fn is_complete(&self) -> bool {
        self.epoch.members.values().all(|it| self.goes_by_this(it))
    }

    /// Whether a member is known to have adopted this region's epoch.
    pub(crate) fn goes_by_this(&self, member: &Member) -> bool {
        let number = self.epoch.number;
        let adopted = |origin| self.adopted_by(origin).number;
        member
            .origin
            .is_some_and(|origin| adopted(origin) >= number)
    }

    /// The number of the earliest epoch by which some member may still ask who holds what. Who
    /// joins asks nobody.
    fn earliest_in_use(&self) -> u64 {
        let joined = |origin: &OriginId| self.streams.get(origin).and_then(|it| it.joined);
        let goes_by = |member: &Member| {
            let adopted = |it| {
                self.adopted_by(it)
                    .number
                    .max(joined(&it).unwrap_or_default())
            };
            member.origin.map_or(0, adopted)
        };
        let numbers = self.epoch.voters().map(|(_, member)| goes_by(member));
        numbers.min().unwrap_or_default().min(self.epoch.number)
    }

    /// The epochs before this region's own by which some member may still go, where they are known.
    fn earlier_in_use(&self) -> impl Iterator<Item = (u64, Option<&Epoch>)> {
        let numbers = self.earliest_in_use()..self.epoch.number;
        numbers.map(|number| (number, self.decided.get(&number)))
    }

    /// Whether what a region holds counts for acknowledgements. While not everybody is known to go
    /// by this region's epoch, some may still ask by one before it: who votes in all of these
    /// counts, so that the holders of a write and those whom a strong read hears of always meet.
    /// (Where a majority decided, those who haven't accepted are too few for a strong read, and the
    /// others keep still; where a person did, nobody has accepted anything.)
    pub(crate) fn counts_for_all(&self, region: &RegionName) -> bool {
        let votes = |epoch: &Epoch| epoch.voters().any(|(voter, _)| voter == region);
        let since = self.counts_since(region);
        votes(&self.epoch)
            && self
                .earlier_in_use()
                .all(|(number, epoch)| epoch.map_or(since <= number, votes))
    }

    /// How many have to hold a write, for the same reason: as many as in the largest of the epochs
    /// that are in use.
    pub(crate) fn holders_needed(&self, level: Acknowledgement) -> usize {
        let earlier = self.earlier_in_use().filter_map(|(_, epoch)| epoch);
        let epochs = earlier.chain(std::iter::once(&self.epoch));
        let needed = epochs.map(|epoch| level.holders(epoch.voters().count()));
        needed.max().unwrap_or_default()
    }

    /// Once every member has adopted the epoch, nothing that is not held here can come of those who
    /// count no more: each adoption came with all that its region held of them.
    fn close(&mut self) {
        if self.retiring.is_empty() || !self.is_complete() {
            return;
        }
        for gone in std::mem::take(&mut self.retiring) {
            if let Some(origin) = gone.origin {
                self.closed.insert(origin, gone.cut);
                // The rest of it comes to nobody.
                self.held.remove(&origin);
            }
        }
    }

    /// The highest wire version that an incarnation is known to speak.
    pub(crate) fn speaks(&self, origin: OriginId) -> u16 {
        let joined = self.streams.get(&origin).and_then(|stream| stream.joined);
        let implied = if joined.is_some() || self.adopted.contains_key(&origin) {
            VOTES_SINCE
        } else {
            0
        };
        let seen = self.spoken.get(&origin).copied();
        seen.unwrap_or_default().max(implied)
    }

    /// Whether this incarnation counted once and does no more.
    pub(crate) fn has_gone(&self, origin: OriginId) -> bool {
        let mut retiring = self.retiring.iter();
        self.closed.contains_key(&origin) || retiring.any(|gone| gone.origin == Some(origin))
    }

    /// Whether this incarnation leaves as planned, and not everybody is known to go by an epoch
    /// without it yet.
    pub(crate) fn is_parting(&self, origin: OriginId) -> bool {
        let mut retiring = self.retiring.iter();
        let is_it = |member: &&Member| member.origin == Some(origin);
        let last = |gone: &Retiring| {
            let mut epochs = self.decided.values().rev();
            epochs.find_map(|epoch| epoch.members.get(&gone.region).filter(is_it))
        };
        let gone = retiring.find(|gone| gone.origin == Some(origin));
        gone.and_then(last)
            .is_some_and(|member| member.standing == Standing::Leaving)
    }

    /// The epoch after this region's, where it is known to be decided.
    pub(crate) fn next_decided(&self) -> Option<&Epoch> {
        let number = self.epoch.number + 1;
        let voted = || self.ballots.get(&number)?.decided(&Voters::of(&self.epoch));
        self.decided.get(&number).or_else(voted)
    }

    /// Whether this region's incarnation counts in `next`, the epoch after its own.
    pub(crate) fn counts_in(&self, next: &Epoch, region: &RegionName) -> bool {
        let was_expected = self.epoch.members.contains_key(region);
        next.members.get(region).is_some_and(|member| {
            member.origin == self.own || (member.origin.is_none() && was_expected)
        })
    }

    /// Whether `origin` votes on the next epoch.
    pub(crate) fn is_voter(&self, origin: OriginId) -> bool {
        let mut voters = self.epoch.voters();
        voters.any(|(_, member)| member.origin == Some(origin))
    }

    /// Of the members that decide, those of whom it isn't known that they count this region. Each
    /// keeps from its adoption on what this region needs, and all that it had done by then is
    /// applied here.
    pub(crate) fn uncounted_by(&self, own: &RegionName) -> Vec<RegionName> {
        self.epoch
            .voters()
            .filter(|(region, member)| {
                *region != own
                    && member
                        .origin
                        .is_none_or(|origin| self.adopted_by(origin).number < self.counted_from)
            })
            .map(|(region, _)| region.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Body, DecidedBy};

    #[test]
    fn who_was_left_out_before_it_was_heard_of_is_cut_off_where_the_others_held_it() {
        let [a, b, c] = ["a", "b", "c"].map(RegionName::new);
        let [own, other, gone, back] = [1, 2, 3, 4].map(OriginId);
        let mut road = Road::default();
        road.own = Some(own);
        road.found(&[a.clone(), b.clone()]);
        road.open(a, own);
        road.open(b, other);
        let founding = road.epoch.clone();
        let with = |number: u64| {
            let mut epoch = founding.clone();
            epoch.number = number;
            let member = Member {
                origin: None,
                standing: Standing::Joining,
                address: None,
            };
            epoch.members.insert(c.clone(), member);
            epoch
        };
        let without = Epoch {
            number: 2,
            ..founding.clone()
        };
        let adopt = |road: &mut Road, origin: OriginId, epoch: &Epoch, held: &[(OriginId, u64)]| {
            let held = held.iter().map(|(of, hlc)| (*of, Hlc::from_raw(*hlc)));
            let body = Body::Adopt(Adopt {
                epoch: epoch.clone(),
                decided_by: DecidedBy::Operator,
                dependencies: held.collect(),
            });
            let mark = meridian_model::Mark::default();
            let entry = Entry::following(mark, origin, Hlc::from_raw(epoch.number), &body);
            road.follow(&entry, &body);
        };
        // c joins, is left out, and may join again, and this region has heard nothing of it.
        for epoch in [with(1), without.clone(), with(3)] {
            adopt(&mut road, own, &epoch, &[]);
        }
        // The other one had some of it: it comes before that one's adoption.
        adopt(&mut road, other, &with(1), &[]);
        road.join(c.clone(), gone, 1);
        adopt(&mut road, other, &without, &[(gone, 70)]);
        adopt(&mut road, other, &with(3), &[(gone, 70)]);
        assert!(road.has_gone(gone));
        assert_eq!(road.member(&c), None, "its next incarnation is expected");
        road.join(c.clone(), back, 3);
        assert_eq!(road.member(&c), Some(back));
        adopt(&mut road, back, &with(3), &[]);
        assert_eq!(road.closed.get(&gone), Some(&Hlc::from_raw(70)));
        assert!(!road.has_gone(back));
    }

    #[test]
    fn a_region_that_is_far_behind_follows_every_epoch_in_turn() {
        let names = [RegionName::new("a"), RegionName::new("b")];
        let (own, other) = (OriginId(1), OriginId(2));
        let mut road = Road::default();
        road.own = Some(own);
        road.found(&names);
        road.open(names[0].clone(), own);
        road.open(names[1].clone(), other);
        let adopt = |road: &mut Road, origin: OriginId, number: u64| {
            let mut epoch = road.epoch.clone();
            epoch.number = number;
            let adopt = Adopt {
                epoch,
                decided_by: DecidedBy::Operator,
                dependencies: Vector::default(),
            };
            let body = Body::Adopt(adopt);
            let mark = meridian_model::Mark::default();
            let entry = Entry::following(mark, origin, Hlc::from_raw(number), &body);
            road.follow(&entry, &body);
        };
        // The other one has gone through many epochs, of which no vote tells.
        let last = 3 * DECIDED_KEPT as u64;
        for number in 1..=last {
            adopt(&mut road, other, number);
        }
        for number in 1..=last {
            assert_eq!(road.next_decided().map(|next| next.number), Some(number));
            adopt(&mut road, own, number);
            assert_eq!(road.epoch.number, number);
        }
        assert!(road.decided.len() <= DECIDED_KEPT, "it forgets the oldest");
    }
}
