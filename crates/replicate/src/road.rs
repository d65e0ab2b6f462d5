//! What a region knows of the others: who counts, what they reported, what was voted.
//!
//! All of it comes out of the log (streams name their region in their first entry, positions
//! travel as reports, membership as votes and adoptions), so it is rebuilt with the log and kept
//! with the tables. Who counts is in `epochs.rs`, what they reported is here.

use crate::ballots::Ballots;
use crate::epochs::{Adopted, Expelled, Retiring, Stream};
use crate::held::Held;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{
    Body, CapturedAt, Entry, Epoch, Hlc, Mark, Marks, Member, OriginId, RegionName, Report,
    ReportedMark, Sequence, Standing, Vector,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first byte of the state that releases before 0.2 kept; theirs had none, and the engine adds
/// it when it takes their tables over.
pub const ROAD_FORMAT_1: u8 = 1;
const ROAD_FORMAT: u8 = 2;

/// Members, their reports and their votes, as of some position of this region's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Road {
    /// This region's incarnation.
    pub(crate) own: Option<OriginId>,
    /// Whether this region's own stream has begun.
    pub(crate) begun: bool,
    /// The epoch from which on this region waited to be counted, where it joined.
    pub(crate) counted_from: u64,
    /// The epoch that this region adopted last.
    pub(crate) epoch: Epoch,
    /// Since which epoch each region counts without a break.
    pub(crate) since: BTreeMap<RegionName, u64>,
    /// Every stream that has begun.
    pub(crate) streams: BTreeMap<OriginId, Stream>,
    /// What each adopted last.
    pub(crate) adopted: BTreeMap<OriginId, Adopted>,
    /// The latest epochs, as they were decided.
    pub(crate) decided: BTreeMap<u64, Epoch>,
    /// Incarnations that count no more, but whose last entries may still be on their way.
    pub(crate) retiring: Vec<Retiring>,
    /// Incarnations that have gone: nobody takes anything of theirs beyond this.
    pub(crate) closed: BTreeMap<OriginId, Hlc>,
    /// Votes on epochs to come.
    pub(crate) ballots: BTreeMap<u64, Ballots>,
    /// The highest wire version that an incarnation was seen to speak.
    pub(crate) spoken: BTreeMap<OriginId, u16>,
    /// Set once this region was told that it counts no more.
    pub(crate) expelled: Option<Expelled>,
    /// The last transaction that this region captured, and what its engine had seen by then.
    pub(crate) captured: Option<(CapturedAt, Vector)>,
    /// The transactions of which parts have come and the last has not. Behind the rest in the bytes,
    /// which earlier releases had without it.
    #[serde(skip)]
    pub(crate) held: BTreeMap<OriginId, Held>,
    reports: BTreeMap<OriginId, BTreeMap<OriginId, ReportedMark>>,
    /// What subscribers said, outside their streams, that they hold: enough for retention, which
    /// must not wait for a report behind a long backlog, and never used for collection.
    #[serde(skip)]
    told: BTreeMap<OriginId, BTreeMap<OriginId, Sequence>>,
}

/// The state as releases before 0.2 kept it: there were no epochs.
#[derive(Deserialize)]
struct RoadFormat1 {
    members: BTreeMap<RegionName, OriginId>,
    reports: BTreeMap<OriginId, BTreeMap<OriginId, ReportedMark>>,
}

impl From<RoadFormat1> for Road {
    fn from(old: RoadFormat1) -> Self {
        let mut road = Self {
            reports: old.reports,
            ..Self::default()
        };
        for (region, origin) in old.members {
            let standing = Standing::Voting;
            let member = Member {
                origin: Some(origin),
                standing,
                address: None,
            };
            road.epoch.members.insert(region.clone(), member);
            let joined = None;
            road.streams.insert(origin, Stream { region, joined });
        }
        road
    }
}

impl Road {
    /// The state's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let whole = "the road has no unencodable parts";
        let bytes = postcard::to_extend(self, vec![ROAD_FORMAT]).expect(whole);
        if self.held.is_empty() {
            return bytes;
        }
        postcard::to_extend(&self.held, bytes).expect(whole)
    }

    /// Reads the state back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match bytes.split_first() {
            Some((&ROAD_FORMAT_1, body)) => {
                postcard::from_bytes::<RoadFormat1>(body).map(Into::into)
            }
            Some((&ROAD_FORMAT, body)) => {
                let (mut road, rest) = postcard::take_from_bytes::<Self>(body)?;
                if !rest.is_empty() {
                    road.held = postcard::from_bytes(rest)?;
                }
                Ok(road)
            }
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }

    /// Does to this state what an entry says.
    pub(crate) fn follow(&mut self, entry: &Entry, body: &Body) {
        match body {
            Body::Open { region } => self.open(region.clone(), entry.origin),
            Body::Report(report) => self.report(entry.origin, report.clone()),
            Body::Join { region, epoch } => self.join(region.clone(), entry.origin, *epoch),
            Body::Vote(vote) => {
                if vote.number() > self.epoch.number {
                    let ballots = self.ballots.entry(vote.number()).or_default();
                    ballots.follow(entry.origin, vote.clone());
                }
            }
            Body::Adopt(adopt) => self.follow_adopt(entry, adopt),
            Body::Captured(captured) if self.own == Some(entry.origin) => {
                let seen = captured.transaction.dependencies.clone();
                self.captured = Some((captured.at, seen));
            }
            Body::Transaction(_) | Body::Decision(_) | Body::Captured(_) => {}
        }
    }

    /// The incarnation of a region that counts.
    #[must_use]
    pub fn member(&self, region: &RegionName) -> Option<OriginId> {
        self.epoch.members.get(region)?.origin
    }

    /// The region of which this origin is, or was, an incarnation.
    #[must_use]
    pub fn region_of(&self, origin: OriginId) -> Option<&RegionName> {
        self.streams.get(&origin).map(|stream| &stream.region)
    }

    /// The members whose streams have begun.
    pub fn members(&self) -> impl Iterator<Item = (&RegionName, OriginId)> {
        let members = self.epoch.members.iter();
        members.filter_map(|(region, member)| Some((region, member.origin?)))
    }

    /// Takes a member's report, once this region has applied all that it committed before.
    pub(crate) fn report(&mut self, reporter: OriginId, report: Report) {
        let known = self.reports.entry(reporter).or_default();
        for (origin, mark) in report.positions {
            known.insert(origin, mark);
        }
    }

    /// Takes what a member says that it holds durably.
    pub(crate) fn told(&mut self, member: OriginId, held: &[(OriginId, Sequence)]) {
        let told = self.told.entry(member).or_default();
        for (origin, sequence) in held {
            let known = told.entry(*origin).or_default();
            *known = (*known).max(*sequence);
        }
    }

    /// The incarnations that collection waits for; `None` for a member never heard of.
    fn waited_for(&self) -> Vec<Option<OriginId>> {
        let members = self.epoch.members.values().map(|member| member.origin);
        let retiring = self.retiring.iter().map(|gone| gone.origin);
        members.chain(retiring).collect()
    }

    /// The **stable** vector: no write is on its way here that has not seen all of this.
    ///
    /// For each origin, the least of what each member had applied when it last reported, as far as
    /// this region has applied that member's own stream. The origin itself, and this region (`own`),
    /// have seen all that this region has applied. An incarnation that counts no more is waited for
    /// until all that will ever come of it is here; one that joins, from this region's adoption on.
    #[must_use]
    pub fn stable(&self, own: OriginId, applied: &Vector) -> Vector {
        let waited_for = self.waited_for();
        let reported = |member: Option<OriginId>, origin: OriginId| match member {
            None => Hlc::ZERO,
            Some(member) if member == own || member == origin => applied.get(origin),
            Some(member) => self.reported(member, origin).applied,
        };
        applied
            .iter()
            .map(|(origin, here)| {
                let least = waited_for.iter().map(|member| reported(*member, origin));
                (origin, least.min().unwrap_or_default().min(here))
            })
            .collect()
    }

    /// Per origin the last sequence that every other member holds durably: what the log may drop.
    #[must_use]
    pub fn held_by_all(&self, own: OriginId, marks: &Marks) -> Marks {
        self.held_by(own, marks, |_| true)
    }

    /// The same without those that join and have yet to begin: they can copy the tables anew.
    #[must_use]
    pub fn held_by_begun(&self, own: OriginId, marks: &Marks) -> Marks {
        self.held_by(own, marks, |member| !member.is_yet_to_begin())
    }

    fn held_by(&self, own: OriginId, marks: &Marks, counts: impl Fn(&Member) -> bool) -> Marks {
        let held = |member: &Member, origin: OriginId| match member.origin {
            None => Sequence(0),
            Some(member) if member == own || member == origin => marks.get(origin).sequence,
            Some(member) => self.held(member, origin),
        };
        let forgets = mutation::active(Mutation::LogNotKeptForJoiner);
        let members = self.epoch.members.values();
        let members = members.filter(|it| !forgets || it.standing != Standing::Joining);
        let members = members.filter(|it| counts(it));
        marks
            .iter()
            .map(|(origin, mark)| {
                let least = members.clone().map(|member| held(member, origin)).min();
                let sequence = least.unwrap_or(Sequence(0));
                (origin, Mark { sequence, ..mark })
            })
            .collect()
    }

    /// The last sequence of `origin` that `member` is known to hold durably.
    pub(crate) fn held(&self, member: OriginId, origin: OriginId) -> Sequence {
        let told = self.told.get(&member).and_then(|told| told.get(&origin));
        let told = told.copied().unwrap_or_default();
        self.reported(member, origin).held.max(told)
    }

    pub(crate) fn reported(&self, member: OriginId, origin: OriginId) -> ReportedMark {
        let reports = self.reports.get(&member);
        let mark = reports.and_then(|reports| reports.get(&origin));
        mark.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name)).collect()
    }

    fn vector(pairs: &[(u64, u64)]) -> Vector {
        pairs
            .iter()
            .map(|(origin, hlc)| (OriginId(*origin), Hlc::from_raw(*hlc)))
            .collect()
    }

    fn founded(regions: &[&str]) -> Road {
        let regions = names(regions);
        let mut road = Road::default();
        road.found(&regions);
        for (region, origin) in regions.iter().zip(1..) {
            road.open(region.clone(), OriginId(origin));
        }
        road
    }

    fn applied(road: &mut Road, reporter: u64, of: u64, hlc: u64) {
        let mark = ReportedMark {
            held: Sequence(hlc),
            applied: Hlc::from_raw(hlc),
        };
        road.report(
            OriginId(reporter),
            Report {
                positions: vec![(OriginId(of), mark)],
            },
        );
    }

    #[test]
    fn a_write_is_stable_once_every_third_member_reported_it() {
        let mut road = founded(&["a", "b", "c"]);
        let here = vector(&[(1, 50), (2, 50), (3, 50)]);
        let stable = |road: &Road| road.stable(OriginId(1), &here);
        assert_eq!(
            stable(&road).get(OriginId(2)),
            Hlc::ZERO,
            "c has said nothing of b"
        );
        applied(&mut road, 3, 2, 40);
        assert_eq!(stable(&road).get(OriginId(2)), Hlc::from_raw(40));
        assert_eq!(
            stable(&road).get(OriginId(1)),
            Hlc::ZERO,
            "nobody has said anything of a"
        );
        applied(&mut road, 2, 1, 30);
        applied(&mut road, 3, 1, 20);
        assert_eq!(stable(&road).get(OriginId(1)), Hlc::from_raw(20));
    }

    #[test]
    fn nothing_is_stable_while_a_region_was_never_heard_of() {
        let mut road = founded(&["a", "b", "c"]);
        road.found(&names(&["a", "b", "c", "d"]));
        applied(&mut road, 3, 2, 40);
        let stable = road.stable(OriginId(1), &vector(&[(1, 50), (2, 50), (3, 50)]));
        assert_eq!(stable.get(OriginId(2)), Hlc::ZERO);
    }

    #[test]
    fn what_is_stable_waits_for_who_joins_and_for_who_has_gone_until_its_cut_is_here() {
        let mut road = founded(&["a", "b"]);
        let here = vector(&[(1, 50), (2, 50), (3, 50)]);
        let stable = |road: &Road| road.stable(OriginId(1), &here).get(OriginId(1));
        applied(&mut road, 2, 1, 40);
        assert_eq!(stable(&road), Hlc::from_raw(40));
        let joining = Member {
            origin: Some(OriginId(3)),
            standing: Standing::Joining,
            address: None,
        };
        let newcomer = names(&["c"]).remove(0);
        road.epoch.members.insert(newcomer.clone(), joining);
        assert_eq!(stable(&road), Hlc::ZERO, "c has said nothing of a");
        applied(&mut road, 3, 1, 30);
        assert_eq!(stable(&road), Hlc::from_raw(30));
        road.epoch.members.remove(&newcomer);
        road.retiring.push(Retiring {
            region: newcomer,
            origin: Some(OriginId(3)),
            cut: Hlc::ZERO,
        });
        assert_eq!(stable(&road), Hlc::from_raw(30), "some of c's may come yet");
        road.retiring.clear();
        assert_eq!(stable(&road), Hlc::from_raw(40));
    }

    #[test]
    fn a_region_alone_has_nobody_to_wait_for() {
        let road = founded(&["a"]);
        let stable = road.stable(OriginId(1), &vector(&[(1, 50)]));
        assert_eq!(stable.get(OriginId(1)), Hlc::from_raw(50));
    }

    #[test]
    fn the_state_of_an_earlier_release_is_taken_over() {
        // Members a = 1 and b = 2; 2 reported that it holds 5 entries of 1 and applied up to 9.
        let bytes = [ROAD_FORMAT_1, 2, 1, b'a', 1, 1, b'b', 2, 1, 2, 1, 1, 5, 9];
        let mut road = Road::decode(&bytes).expect("an old road");
        road.found(&names(&["a", "b", "c"]));
        assert_eq!(road.member(&names(&["b"])[0]), Some(OriginId(2)));
        assert_eq!(road.held(OriginId(2), OriginId(1)), Sequence(5));
        assert_eq!(road.reported(OriginId(2), OriginId(1)).applied.raw(), 9);
        let again = Road::decode(&road.encode()).expect("a road");
        assert_eq!(again, road);
        assert!(Road::decode(&[9, 0]).is_err(), "no format of ours");
    }
}
