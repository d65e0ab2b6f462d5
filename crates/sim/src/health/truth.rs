//! What should be said of a failure pattern, from the pattern alone.
//!
//! It states the rule a second time, over who can in truth reach whom and without time, messages or
//! thresholds; the machines have to come to it by themselves, and never say anything else on the way.

use super::faults::Faults;
use super::regions::{NAMES, PRESET, ms};
use super::world::World;
use meridian_health::{Service, Status};

/// After this long everybody knows who can't vote any more, and goes by it: contact was lost, word of
/// it has come round by way of all others, and the vote has faded.
fn known_after_ms(regions: usize, one_way_ms: u64) -> u64 {
    let cadence = PRESET.cadence();
    let told_ms = ms(cadence.report_interval()) + one_way_ms;
    ms(cadence.contact_expiry() + cadence.vote_expiry()) + regions as u64 * told_ms
}

pub(crate) struct Truth {
    faults: Faults,
    regions: usize,
}

impl Truth {
    pub(crate) fn of(faults: &Faults, regions: usize) -> Self {
        Self {
            faults: faults.clone(),
            regions,
        }
    }

    fn is_alive(&self, region: usize) -> bool {
        !self.faults.is_dead(region)
    }

    fn both_ways(&self, a: usize, b: usize) -> bool {
        self.faults.passes(a, b) && self.faults.passes(b, a)
    }

    fn can_probe(&self, observer: usize, region: usize) -> bool {
        self.faults.sights(observer, region, Service::Api)
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
    pub(crate) fn hears_a_voter(&self, observer: usize) -> bool {
        let mut heard = self.voters();
        let mut next = 0;
        while let Some(&from) = heard.get(next) {
            for to in 0..self.regions {
                if self.faults.passes(from, to) && !heard.contains(&to) {
                    heard.push(to);
                }
            }
            next += 1;
        }
        heard.contains(&observer)
    }

    /// Whether most voters can't reach it.
    pub(crate) fn is_out(&self, region: usize) -> bool {
        let voters = self.voters();
        let against = voters
            .iter()
            .filter(|voter| !self.can_probe(**voter, region));
        against.count() * 2 > voters.len()
    }

    /// Whether most regions, voters or not, can't reach it. They may say so until they notice that
    /// they have lost touch with each other.
    pub(crate) fn is_beyond_most(&self, region: usize) -> bool {
        let all = 0..self.regions;
        let against = all.filter(|observer| !self.can_probe(*observer, region));
        against.count() * 2 > self.regions
    }

    /// How long after the pattern began a region must be in no answer of another, if at all.
    ///
    /// Where voters that are more than half of all can't reach it, and tell it directly, as soon as
    /// they notice; else once it is known who votes. So too while those who lose the vote have others
    /// down as well: of regions that are all down, any may be answered.
    pub(crate) fn out_after_ms(&self, at: usize, region: usize, one_way_ms: u64) -> Option<u64> {
        let known_ms = known_after_ms(self.regions, one_way_ms);
        if !self.hears_a_voter(at) {
            let is_lost = at != region && !self.can_probe(at, region);
            return is_lost.then_some(known_ms);
        }
        if !self.is_out(region) {
            return None;
        }
        let tells = |voter: &usize| *voter == at || self.faults.passes(*voter, at);
        let voters = self.voters().into_iter().filter(tells);
        let against = voters.filter(|voter| !self.can_probe(*voter, region));
        let in_doubt = |other: usize| self.is_beyond_most(other) && !self.is_out(other);
        if against.count() * 2 > self.regions && !(0..self.regions).any(in_doubt) {
            Some(ms(PRESET.cadence().detection_max()) + one_way_ms)
        } else {
            Some(known_ms)
        }
    }

    /// Holds a world in which everything was well until the faults struck against it.
    pub(crate) fn check(&self, world: &mut World) {
        for observer in (0..self.regions).filter(|observer| self.is_alive(*observer)) {
            self.check_quorum(world, observer);
            let hears = self.hears_a_voter(observer);
            for region in 0..self.regions {
                let changes: Vec<_> = world.changes(observer, region).map(|(_, to)| to).collect();
                let out = hears && self.is_out(region);
                let good = match changes[..] {
                    [] => !out,
                    [Status::Unhealthy] => out || (!hears && self.is_beyond_most(region)),
                    [Status::Unhealthy, Status::Healthy] => !out && self.is_beyond_most(region),
                    _ => false,
                };
                if !good {
                    let (name, faults) = (NAMES[region], &self.faults);
                    let what = format!("{name} was {changes:?} in turn, with {faults:?}");
                    world.violate(observer, what);
                }
            }
        }
    }

    /// Holds a world that was through anything before the pattern began, and then long enough in it,
    /// against what must be now. Who flapped may still be held down.
    pub(crate) fn check_settled(&self, world: &mut World) {
        for observer in (0..self.regions).filter(|observer| self.is_alive(*observer)) {
            self.check_quorum(world, observer);
            if !self.hears_a_voter(observer) {
                continue;
            }
            for region in 0..self.regions {
                let is_down = world.verdict_of(observer, region, Service::Api) == Status::Unhealthy;
                let is_out = self.is_out(region);
                if is_down != is_out && (is_out || !self.is_held(world, region)) {
                    let (name, faults) = (NAMES[region], &self.faults);
                    let is = if is_down { "down" } else { "up" };
                    world.violate(observer, format!("{name} is {is}, with {faults:?}"));
                }
            }
        }
    }

    /// Whether a voter that can reach a region still holds it down.
    fn is_held(&self, world: &World, region: usize) -> bool {
        self.voters().into_iter().any(|voter| {
            let eye = world.regions[voter].eye(region, Service::Api);
            eye.is_some_and(|eye| eye.status == Status::Unhealthy && self.can_probe(voter, region))
        })
    }

    fn check_quorum(&self, world: &mut World, observer: usize) {
        let hears = self.hears_a_voter(observer);
        if world.regions[observer].observer.has_quorum() != hears {
            let faults = &self.faults;
            let what =
                format!("it hears of a majority: {hears}, but says otherwise, with {faults:?}");
            world.violate(observer, what);
        }
    }
}
