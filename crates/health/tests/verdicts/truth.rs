//! What should be said of a failure pattern, from the pattern alone.
//!
//! It states the rule a second time, over who can in truth reach whom and without time, messages or
//! thresholds; the machines have to come to it by themselves, and never say anything else on the way.

use crate::world::{Faults, World};
use meridian_health::Status;

pub struct Truth {
    faults: Faults,
    regions: usize,
}

impl Truth {
    pub fn of(faults: &Faults, regions: usize) -> Self {
        Self {
            faults: faults.clone(),
            regions,
        }
    }

    fn is_alive(&self, region: usize) -> bool {
        !self.faults.dead.contains(&region)
    }

    fn both_ways(&self, a: usize, b: usize) -> bool {
        let cut = &self.faults.cut;
        self.is_alive(a)
            && self.is_alive(b)
            && (a == b || !(cut.contains(&(a, b)) || cut.contains(&(b, a))))
    }

    fn can_probe(&self, observer: usize, region: usize) -> bool {
        let sees = observer == region || !self.faults.blind.contains(&observer);
        sees && self.both_ways(observer, region)
    }

    fn voters(&self) -> Vec<usize> {
        let in_touch = |observer| {
            let all = 0..self.regions;
            all.filter(|other| self.both_ways(observer, *other)).count()
        };
        (0..self.regions)
            .filter(|observer| in_touch(*observer) * 2 > self.regions)
            .collect()
    }

    /// Whether word of any voter comes to `observer`, by relays too.
    pub fn hears_a_voter(&self, observer: usize) -> bool {
        let mut heard = self.voters();
        let mut next = 0;
        while let Some(&from) = heard.get(next) {
            for to in 0..self.regions {
                let arrives = self.is_alive(to) && !self.faults.cut.contains(&(from, to));
                if arrives && !heard.contains(&to) {
                    heard.push(to);
                }
            }
            next += 1;
        }
        heard.contains(&observer)
    }

    /// Whether most voters can't reach it.
    pub fn is_out(&self, region: usize) -> bool {
        let voters = self.voters();
        let against = voters
            .iter()
            .filter(|voter| !self.can_probe(**voter, region));
        against.count() * 2 > voters.len()
    }

    /// Whether most regions, voters or not, can't reach it. They may say so until they notice that
    /// they have lost touch with each other.
    fn is_beyond_most(&self, region: usize) -> bool {
        let all = 0..self.regions;
        let against = all.filter(|observer| !self.can_probe(*observer, region));
        against.count() * 2 > self.regions
    }

    /// Holds a world in which everything was well until the faults struck against it.
    pub fn check(&self, world: &World) {
        for observer in (0..self.regions).filter(|observer| self.is_alive(*observer)) {
            let hears = self.hears_a_voter(observer);
            let context = format!("at {observer}: {:?}", self.faults);
            assert_eq!(world.has_quorum(observer), hears, "quorum {context}");
            for region in 0..self.regions {
                let changes: Vec<_> = world.changes(observer, region).map(|(_, to)| to).collect();
                let out = hears && self.is_out(region);
                let good = match changes[..] {
                    [] => !out,
                    [Status::Unhealthy] => out || (!hears && self.is_beyond_most(region)),
                    [Status::Unhealthy, Status::Healthy] => !out && self.is_beyond_most(region),
                    _ => false,
                };
                assert!(good, "{region} {context}: {changes:?}");
            }
        }
    }
}
