//! What a region knows of the others' progress: who they are and what they reported.
//!
//! All of it comes out of the log (streams name their region in their first entry, positions
//! travel as reports), so it is rebuilt with the log and kept with the tables.

use meridian_model::{Mark, Marks, OriginId, RegionName, Report, ReportedMark, Sequence, Vector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The first byte of the state that releases before 0.2 kept; theirs had none, and the engine adds
/// it when it takes their tables over.
pub const ROAD_FORMAT_1: u8 = 1;
const ROAD_FORMAT: u8 = 2;

/// Members and their reports, as of some position of this region's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Road {
    members: BTreeMap<RegionName, OriginId>,
    reports: BTreeMap<OriginId, BTreeMap<OriginId, ReportedMark>>,
    /// What subscribers said, outside their streams, that they hold: enough for retention, which
    /// must not wait for a report behind a long backlog, and never used for collection.
    #[serde(skip)]
    told: BTreeMap<OriginId, BTreeMap<OriginId, Sequence>>,
}

impl Road {
    /// The state's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![ROAD_FORMAT]).expect("the road has no unencodable parts")
    }

    /// Reads the state back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        match bytes.split_first() {
            Some((&(ROAD_FORMAT_1 | ROAD_FORMAT), body)) => postcard::from_bytes(body),
            _ => Err(postcard::Error::DeserializeBadEncoding),
        }
    }

    /// The incarnation of a region that counts.
    #[must_use]
    pub fn member(&self, region: &RegionName) -> Option<OriginId> {
        self.members.get(region).copied()
    }

    /// The region of which this origin is an incarnation.
    #[must_use]
    pub fn region_of(&self, origin: OriginId) -> Option<&RegionName> {
        self.members
            .iter()
            .find(|(_, member)| **member == origin)
            .map(|(region, _)| region)
    }

    /// The members known so far.
    pub fn members(&self) -> impl Iterator<Item = (&RegionName, OriginId)> {
        self.members
            .iter()
            .map(|(region, origin)| (region, *origin))
    }

    /// A region's stream begins: from now on this incarnation is the one that counts.
    pub(crate) fn open(&mut self, region: RegionName, origin: OriginId) {
        self.members.insert(region, origin);
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

    /// The **stable** vector: no write is on its way here that has not seen all of this.
    ///
    /// For each origin, the least of what each member had applied when it last reported, as far as
    /// this region has applied that member's own stream. The origin itself, and this region, have
    /// seen all that this region has applied.
    #[must_use]
    pub fn stable(&self, own: &RegionName, regions: &[RegionName], applied: &Vector) -> Vector {
        let reported = |member: &RegionName, origin: OriginId| {
            if member == own || self.member(member) == Some(origin) {
                return applied.get(origin);
            }
            self.reported(member, origin).applied
        };
        self.members
            .values()
            .map(|&origin| {
                let least = regions.iter().map(|member| reported(member, origin)).min();
                (origin, least.unwrap_or_default().min(applied.get(origin)))
            })
            .collect()
    }

    /// Per origin the last sequence that every other member holds durably: what the log may drop.
    #[must_use]
    pub fn held_by_all(&self, own: &RegionName, regions: &[RegionName], marks: &Marks) -> Marks {
        let held = |member: &RegionName, origin: OriginId| {
            if member == own || self.member(member) == Some(origin) {
                return marks.get(origin).sequence;
            }
            let told = self
                .member(member)
                .and_then(|member| self.told.get(&member)?.get(&origin));
            self.reported(member, origin)
                .held
                .max(told.copied().unwrap_or_default())
        };
        marks
            .iter()
            .map(|(origin, mark)| {
                let least = regions.iter().map(|member| held(member, origin)).min();
                (
                    origin,
                    Mark {
                        sequence: least.unwrap_or(Sequence(0)),
                        ..mark
                    },
                )
            })
            .collect()
    }

    /// The last sequence of `origin` that a member is known to hold durably. A region holds its own
    /// stream: nothing leaves it before that.
    #[must_use]
    pub fn held(&self, member: &RegionName, origin: OriginId) -> Sequence {
        let Some(incarnation) = self.member(member) else {
            return Sequence(0);
        };
        if incarnation == origin {
            return Sequence(u64::MAX);
        }
        let told = self.told.get(&incarnation).and_then(|it| it.get(&origin));
        self.reported(member, origin)
            .held
            .max(told.copied().unwrap_or_default())
    }

    fn reported(&self, member: &RegionName, origin: OriginId) -> ReportedMark {
        self.member(member)
            .and_then(|reporter| self.reports.get(&reporter)?.get(&origin))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::Hlc;

    fn names(names: &[&str]) -> Vec<RegionName> {
        names.iter().map(|name| RegionName::new(name)).collect()
    }

    fn vector(pairs: &[(u64, u64)]) -> Vector {
        pairs
            .iter()
            .map(|(origin, hlc)| (OriginId(*origin), Hlc::from_raw(*hlc)))
            .collect()
    }

    fn three() -> (Road, Vec<RegionName>) {
        let regions = names(&["a", "b", "c"]);
        let mut road = Road::default();
        for (region, origin) in regions.iter().zip(1..) {
            road.open(region.clone(), OriginId(origin));
        }
        (road, regions)
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
        let (mut road, regions) = three();
        let here = vector(&[(1, 50), (2, 50), (3, 50)]);
        let stable = |road: &Road| road.stable(&regions[0], &regions, &here);
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
        let (mut road, mut regions) = three();
        regions.push(RegionName::new("d"));
        applied(&mut road, 3, 2, 40);
        let stable = road.stable(&regions[0], &regions, &vector(&[(1, 50), (2, 50), (3, 50)]));
        assert_eq!(stable.get(OriginId(2)), Hlc::ZERO);
    }

    #[test]
    fn a_region_alone_has_nobody_to_wait_for() {
        let mut road = Road::default();
        let regions = names(&["a"]);
        road.open(regions[0].clone(), OriginId(1));
        let stable = road.stable(&regions[0], &regions, &vector(&[(1, 50)]));
        assert_eq!(stable.get(OriginId(1)), Hlc::from_raw(50));
    }
}
