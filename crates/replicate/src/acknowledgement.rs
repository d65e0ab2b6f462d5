//! When a write may be acknowledged: once enough members hold it durably.
//!
//! ```text
//! committed here ──▶ waits ──enough others hold it──▶ held
//!                      └──────timeout──────────────▶ short: the write stands, its client is told
//! ```
//!
//! Any number of replies wait at once; none holds up a round. A member counts once, whichever way
//! and however often it said what it holds, and only in its present incarnation. To hold an entry
//! is to hold all that it depends on, so a write needs only its own sequence looked at. What wrote
//! nothing (a delete of a row that isn't there, a replayed request) still tells of what was here
//! when it was answered, so it waits until that is held.

use crate::{Engine, Now, Replica, Road};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Acknowledgement, Marks, Member, OriginId, RegionName, Sequence, Standing};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// Who holds what, as far as this region was told.
#[derive(Clone, Copy, Debug)]
pub struct Holdings<'a> {
    road: &'a Road,
    region: &'a RegionName,
    origin: OriginId,
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// The regions whose holding of a write counts, this one among them: who joins doesn't count
    /// yet.
    #[must_use]
    pub fn members(&self) -> Vec<RegionName> {
        let voters = self.road.epoch.voters();
        voters.map(|(region, _)| region.clone()).collect()
    }

    /// This region.
    #[must_use]
    pub fn region(&self) -> &RegionName {
        &self.config.region
    }

    /// Who holds what.
    #[must_use]
    pub fn holdings(&self) -> Holdings<'_> {
        Holdings {
            road: &self.road,
            region: &self.config.region,
            origin: self.origin,
        }
    }
}

/// Whose holding is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// How many other members are to hold it.
    others: usize,
    /// Whether those count that are leaving.
    are_leaving_counted: bool,
}

impl<'a> Holdings<'a> {
    /// The members that count in all epochs by which somebody may still go.
    fn counted(self) -> impl Iterator<Item = (&'a RegionName, &'a Member)> {
        let voters = self.road.epoch.voters();
        voters.filter(move |(region, _)| self.road.counts_for_all(region))
    }

    fn others(self, asked: Asked) -> impl Iterator<Item = (&'a RegionName, &'a Member)> {
        self.counted().filter(move |(region, member)| {
            *region != self.region
                && (asked.are_leaving_counted || member.standing != Standing::Leaving)
        })
    }

    /// Whose holding a level asks for. Who leaves takes with it what it holds, and is waited for only
    /// until everybody has what was there before it counted as leaving; so those who stay have to be
    /// enough, those too whom not everybody counts yet. Where they are too few, everybody has to hold
    /// it.
    fn asked(self, level: Acknowledgement) -> Asked {
        let needed = self.road.holders_needed(level);
        let voters = || self.road.epoch.voters();
        let stays = |(_, member): &(_, &Member)| member.standing != Standing::Leaving;
        let is_everybody_asked = voters().filter(stays).count() < needed;
        let needed = match is_everybody_asked {
            true => needed.max(voters().count()),
            false => needed,
        };
        let are_leaving_counted = is_everybody_asked || mutation::active(Mutation::LeavingConfirms);
        // A region that doesn't vote holds what it writes, but nobody asks it.
        let mut counted = self.counted();
        let counts = counted.any(|it| it.0 == self.region && (are_leaving_counted || stays(&it)));
        Asked {
            others: needed - usize::from(counts),
            are_leaving_counted,
        }
    }

    /// The last sequence of `origin` that a member is known to hold durably. A region holds its own
    /// stream: nothing leaves it before that.
    fn held(self, member: &Member, origin: OriginId) -> Sequence {
        match member.origin {
            None => Sequence(0),
            Some(member) if member == origin => Sequence(u64::MAX),
            Some(member) => self.road.held(member, origin),
        }
    }

    /// This region's own sequence up to which as many other members hold its stream as are asked.
    fn held_by(self, asked: Asked) -> Sequence {
        let mut held: Vec<Sequence> = self
            .others(asked)
            .flat_map(|(_, member)| std::iter::repeat_n(self.held(member, self.origin), weight()))
            .collect();
        held.sort_unstable_by(|one, other| other.cmp(one));
        match asked.others.checked_sub(1) {
            None => Sequence(u64::MAX),
            Some(last) => held.get(last).copied().unwrap_or_default(),
        }
    }

    /// Whether each stream is held as far as `needs` says by as many other members as are asked, not
    /// necessarily the same ones: to hold an entry is to hold what it depends on.
    fn is_held_by(self, asked: Asked, needs: &Marks) -> bool {
        needs.iter().all(|(origin, mark)| {
            let holds = |member| self.held(member, origin) >= mark.sequence;
            self.others(asked).filter(|(_, it)| holds(it)).count() * weight() >= asked.others
        })
    }

    /// The other members that are asked and hold all of this.
    fn holders(self, asked: Asked, needs: &Needs) -> Vec<RegionName> {
        let holds = |member: &Member| match needs {
            Needs::Own(sequence) => self.held(member, self.origin) >= *sequence,
            Needs::All(marks) => marks
                .iter()
                .all(|(origin, mark)| self.held(member, origin) >= mark.sequence),
        };
        let holders = self.others(asked).filter(|(_, member)| holds(member));
        holders.map(|(region, _)| region.clone()).collect()
    }
}

/// What a member that holds something counts for.
fn weight() -> usize {
    1 + usize::from(mutation::active(Mutation::AcknowledgementCountedTwice))
}

/// What has to be held.
#[derive(Clone, Debug)]
enum Needs {
    /// This region's stream up to here.
    Own(Sequence),
    /// All streams up to here.
    All(Marks),
}

#[derive(Debug)]
struct Waiting<R> {
    needs: Needs,
    since: Duration,
    reply: R,
}

/// Too few members hold a write, or are known to, after all the time there was. It stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// What was promised.
    pub level: Acknowledgement,
    /// How many members were to hold it, this one included.
    pub needed: usize,
    /// The other members that are known to hold it.
    pub holders: Vec<RegionName>,
    /// How long was waited.
    pub waited: Duration,
}

/// Replies that wait for other members.
#[derive(Debug)]
pub struct Acknowledgements<R> {
    level: Acknowledgement,
    timeout: Duration,
    /// In the order of this region's sequences.
    writes: VecDeque<Waiting<R>>,
    /// What waits for other regions' streams too.
    barriers: VecDeque<Waiting<R>>,
    is_ending: bool,
}

impl<R> Acknowledgements<R> {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(level: Acknowledgement, timeout: Duration) -> Self {
        Self {
            level,
            timeout,
            writes: VecDeque::new(),
            barriers: VecDeque::new(),
            is_ending: false,
        }
    }

    /// Whether replies need not wait at all.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.level == Acknowledgement::Local
    }

    /// Lets a reply wait until this region's own stream is held up to `sequence`. Sequences come in
    /// order.
    pub fn wait_for_write(&mut self, now: Now, sequence: Sequence, reply: R) {
        let waiting = self.waiting(now, Needs::Own(sequence), reply);
        self.writes.push_back(waiting);
    }

    /// Lets a reply wait until all of `marks` is held.
    pub fn wait_for_all(&mut self, now: Now, marks: Marks, reply: R) {
        let waiting = self.waiting(now, Needs::All(marks), reply);
        self.barriers.push_back(waiting);
    }

    fn waiting(&self, now: Now, needs: Needs, reply: R) -> Waiting<R> {
        Waiting {
            needs,
            since: now.elapsed,
            reply,
        }
    }

    /// The replies that need wait no longer, and how each came out.
    pub fn due(&mut self, now: Now, holdings: Holdings<'_>) -> Vec<(R, Result<(), Shortfall>)> {
        let mut due = Vec::new();
        if self.writes.is_empty() && self.barriers.is_empty() {
            return due;
        }
        let asked = holdings.asked(self.level);
        let held = holdings.held_by(asked);
        let waited = |waiting: &Waiting<R>| now.elapsed.saturating_sub(waiting.since);
        let is_held = |waiting: &Waiting<R>| match &waiting.needs {
            Needs::Own(sequence) => *sequence <= held,
            Needs::All(marks) => holdings.is_held_by(asked, marks),
        };
        for queue in [&mut self.writes, &mut self.barriers] {
            let mut left = VecDeque::with_capacity(queue.len());
            while let Some(waiting) = queue.pop_front() {
                if is_held(&waiting) {
                    due.push((waiting.reply, Ok(())));
                } else if self.is_ending || waited(&waiting) >= self.timeout {
                    let shortfall = Shortfall {
                        level: self.level,
                        needed: asked.others + 1,
                        holders: holdings.holders(asked, &waiting.needs),
                        waited: waited(&waiting),
                    };
                    due.push((waiting.reply, Err(shortfall)));
                } else if matches!(waiting.needs, Needs::Own(_)) {
                    // Later ones need more and have more time left.
                    queue.push_front(waiting);
                    break;
                } else {
                    left.push_back(waiting);
                }
            }
            left.append(queue);
            *queue = left;
        }
        due
    }

    /// All that waits, for whoever has to know that it will never be settled.
    pub fn into_waiting(self) -> impl Iterator<Item = R> {
        let all = self.writes.into_iter().chain(self.barriers);
        all.map(|waiting| waiting.reply)
    }

    /// Nothing is waited for any more: [`Acknowledgements::due`] gives all that waits.
    pub fn end_waiting(&mut self) {
        self.is_ending = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Mark, Micros};

    const OWN: OriginId = OriginId(1);

    struct Setting {
        road: Road,
        regions: Vec<RegionName>,
    }

    impl Setting {
        /// Regions `a`, `b`, …, of which `a` is this one, with origins 1, 2, ….
        fn of(count: u8) -> Self {
            let names = (b'a'..b'a' + count).map(|name| char::from(name).to_string());
            let regions: Vec<_> = names.map(|name| RegionName::new(&name)).collect();
            let mut road = Road::default();
            road.found(&regions);
            for (region, origin) in regions.iter().zip(1..) {
                road.open(region.clone(), OriginId(origin));
            }
            Self { road, regions }
        }

        fn told(&mut self, member: u64, sequence: u64) {
            self.road
                .told(OriginId(member), &[(OWN, Sequence(sequence))]);
        }

        fn leaves(&mut self, index: usize) {
            let member = self.road.epoch.members.get_mut(&self.regions[index]);
            member.expect("it is one").standing = Standing::Leaving;
        }

        fn holdings(&self) -> Holdings<'_> {
            Holdings {
                road: &self.road,
                region: &self.regions[0],
                origin: OWN,
            }
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            wall: Micros(0),
            elapsed: Duration::from_millis(ms),
        }
    }

    fn waiting_for(level: Acknowledgement, sequences: &[u64]) -> Acknowledgements<u64> {
        let mut waiting = Acknowledgements::new(level, Duration::from_millis(100));
        for sequence in sequences {
            waiting.wait_for_write(at(0), Sequence(*sequence), *sequence);
        }
        waiting
    }

    fn held(waiting: &mut Acknowledgements<u64>, setting: &Setting) -> Vec<u64> {
        let due = waiting.due(at(1), setting.holdings());
        due.into_iter()
            .map(|(reply, outcome)| outcome.map(|()| reply).expect("in time"))
            .collect()
    }

    #[test]
    fn one_other_region_is_enough_for_one_remote() {
        let mut setting = Setting::of(3);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[2, 3, 4]);
        assert!(held(&mut waiting, &setting).is_empty());
        setting.told(3, 3);
        assert_eq!(held(&mut waiting, &setting), [2, 3]);
        setting.told(2, 4);
        assert_eq!(held(&mut waiting, &setting), [4]);
    }

    #[test]
    fn a_region_that_says_it_twice_is_still_one() {
        let mut setting = Setting::of(5);
        let mut waiting = waiting_for(Acknowledgement::Majority, &[2]);
        setting.told(2, 2);
        setting.told(2, 7);
        assert!(held(&mut waiting, &setting).is_empty(), "two of five");
        setting.told(5, 2);
        assert_eq!(held(&mut waiting, &setting), [2]);
    }

    #[test]
    fn another_incarnation_of_a_region_holds_nothing() {
        let mut setting = Setting::of(3);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[2]);
        setting.told(9, 2);
        assert!(held(&mut waiting, &setting).is_empty());
        setting.told(2, 2);
        setting.road.open(RegionName::new("b"), OriginId(9));
        assert_eq!(held(&mut waiting, &setting), [2]);
    }

    #[test]
    fn who_waits_too_long_is_told_who_holds_it() {
        let mut setting = Setting::of(5);
        let mut waiting = waiting_for(Acknowledgement::Majority, &[2]);
        setting.told(4, 2);
        assert!(waiting.due(at(99), setting.holdings()).is_empty());
        let shortfall = Shortfall {
            level: Acknowledgement::Majority,
            needed: 3,
            holders: vec![RegionName::new("d")],
            waited: Duration::from_millis(100),
        };
        assert_eq!(
            waiting.due(at(100), setting.holdings()),
            [(2, Err(shortfall))]
        );
    }

    #[test]
    fn nobody_waits_for_ever_at_the_end() {
        let setting = Setting::of(3);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[2, 3]);
        waiting.end_waiting();
        let due = waiting.due(at(1), setting.holdings());
        let replies: Vec<_> = due.into_iter().map(|(reply, _)| reply).collect();
        assert_eq!(replies, [2, 3]);
    }

    #[test]
    fn a_barrier_waits_for_every_stream_and_an_origin_holds_its_own() {
        let mut setting = Setting::of(3);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[]);
        let mark = |sequence| Mark {
            sequence: Sequence(sequence),
            ..Mark::default()
        };
        let marks: Marks = [(OWN, mark(5)), (OriginId(2), mark(8))]
            .into_iter()
            .collect();
        waiting.wait_for_all(at(0), marks, 0);
        setting.told(2, 4);
        assert!(held(&mut waiting, &setting).is_empty(), "one is missing");
        setting.told(3, 5);
        assert_eq!(held(&mut waiting, &setting), [0], "b has its own");
    }

    #[test]
    fn while_the_regions_change_only_those_of_both_epochs_count() {
        let mut setting = Setting::of(3);
        setting.road.epoch.number = 1;
        let newcomer = setting.regions[2].clone();
        setting.road.since.insert(newcomer, 1);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(3, 1);
        assert_eq!(
            held(&mut waiting, &setting),
            [],
            "b may still ask without c"
        );
        for origin in 1..=3 {
            let adopted = setting.road.adopted.entry(OriginId(origin)).or_default();
            adopted.number = 1;
        }
        assert_eq!(held(&mut waiting, &setting), [1], "now everybody counts c");
    }

    #[test]
    fn while_a_larger_epoch_is_in_use_as_many_hold_a_write_as_it_asks_for() {
        let mut setting = Setting::of(4);
        let gone = setting.regions[3].clone();
        let before = setting.road.epoch.clone();
        setting.road.decided.insert(0, before);
        setting.road.epoch.number = 1;
        setting.road.epoch.members.remove(&gone);
        let mut waiting = waiting_for(Acknowledgement::Majority, &[1]);
        setting.told(2, 1);
        assert_eq!(
            held(&mut waiting, &setting),
            [],
            "c and the one that is gone may read as two of four"
        );
        for origin in 1..=3 {
            let adopted = setting.road.adopted.entry(OriginId(origin)).or_default();
            adopted.number = 1;
        }
        assert_eq!(held(&mut waiting, &setting), [1], "two of three");
    }

    #[test]
    fn who_leaves_confirms_nothing_where_those_who_stay_are_enough() {
        let mut setting = Setting::of(3);
        setting.leaves(1);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(2, 1);
        assert_eq!(held(&mut waiting, &setting), [], "it goes with b");
        setting.told(3, 1);
        assert_eq!(held(&mut waiting, &setting), [1]);
    }

    #[test]
    fn where_too_few_stay_everybody_has_to_hold_a_write() {
        let mut setting = Setting::of(3);
        setting.leaves(1);
        setting.leaves(2);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(2, 1);
        assert_eq!(held(&mut waiting, &setting), [], "b may go before c");
        setting.told(3, 1);
        assert_eq!(held(&mut waiting, &setting), [1]);
    }

    #[test]
    fn who_leaves_confirms_nothing_while_one_who_stays_is_not_counted_by_all() {
        let mut setting = Setting::of(3);
        setting.leaves(1);
        setting.road.epoch.number = 1;
        let newcomer = setting.regions[2].clone();
        setting.road.since.insert(newcomer, 1);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(2, 1);
        setting.told(3, 1);
        assert_eq!(held(&mut waiting, &setting), [], "b may go before c has it");
        for origin in 1..=3 {
            let adopted = setting.road.adopted.entry(OriginId(origin)).or_default();
            adopted.number = 1;
        }
        assert_eq!(held(&mut waiting, &setting), [1], "c has it");
    }

    #[test]
    fn what_a_leaving_region_holds_itself_is_no_confirmation() {
        let mut setting = Setting::of(3);
        setting.leaves(0);
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(2, 1);
        assert_eq!(held(&mut waiting, &setting), []);
        let Some((_, Err(shortfall))) = waiting_for(Acknowledgement::OneRemote, &[1])
            .due(at(100), setting.holdings())
            .pop()
        else {
            panic!("it came in time");
        };
        assert_eq!((shortfall.needed, shortfall.holders.len()), (3, 1));
        setting.told(3, 1);
        assert_eq!(held(&mut waiting, &setting), [1]);
    }

    #[test]
    fn what_a_region_without_a_vote_holds_itself_counts_for_nobody() {
        let mut setting = Setting::of(3);
        let own = setting.regions[0].clone();
        let member = setting.road.epoch.members.get_mut(&own);
        member.expect("it is one").standing = Standing::Joining;
        let mut waiting = waiting_for(Acknowledgement::OneRemote, &[1]);
        setting.told(2, 1);
        assert_eq!(held(&mut waiting, &setting), []);
        setting.told(3, 1);
        assert_eq!(held(&mut waiting, &setting), [1]);
    }
}
