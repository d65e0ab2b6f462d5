//! Every failure pattern of three regions, begun while all was well, and ended.

use super::faults::Faults;
use super::regions::{PRESET, RAMP, RAMP_STEP_MS, ms};
use super::truth::Truth;
use super::world::World;
use meridian_health::Status;
use meridian_steer::Want;

/// Every subset of three regions dead, of their six directed links cut, and of their observers blind.
pub(crate) const OF_THREE: u64 = 1 << 12;

/// How long a pattern lasts.
const LASTS_MS: u64 = 12_000;

pub(crate) fn subset<T: Copy>(of: &[T], bits: usize) -> Vec<T> {
    let chosen = of
        .iter()
        .enumerate()
        .filter(|(place, _)| bits >> place & 1 == 1);
    chosen.map(|(_, one)| *one).collect()
}

pub(crate) fn links(regions: usize) -> Vec<(usize, usize)> {
    let all = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to).collect()
}

pub(crate) fn of_three(number: usize) -> Faults {
    let regions = [0, 1, 2];
    Faults {
        dead: subset(&regions, number),
        blind: subset(&regions, number >> 3),
        cut: subset(&links(3), number >> 6),
        ..Faults::default()
    }
}

/// A world that was well, some time into a pattern.
#[cfg(test)]
pub(crate) fn strike(regions: usize, seed: u64, faults: Faults) -> World {
    let mut world = World::settled(regions, seed);
    lasts(&mut world, faults);
    world
}

/// A pattern begins and lasts; from its bounds on nobody is answered who mustn't be.
pub(crate) fn lasts(world: &mut World, faults: Faults) {
    let truth = Truth::of(&faults, world.regions.len());
    let began_ms = world.now_ms;
    world.faults = faults;
    expect_out(world, &truth);
    let mut bounds: Vec<_> = world.out_from_ms.values().copied().collect();
    bounds.sort_unstable();
    bounds.dedup();
    for bound_ms in bounds {
        world.run_ms(bound_ms - world.now_ms);
        for at in 0..world.regions.len() {
            world.check_out(at);
        }
    }
    world.run_ms((began_ms + LASTS_MS).saturating_sub(world.now_ms));
}

fn expect_out(world: &mut World, truth: &Truth) {
    let regions = world.regions.len();
    for at in (0..regions).filter(|at| !world.faults.is_dead(*at)) {
        for region in 0..regions {
            if let Some(after_ms) = truth.out_after_ms(at, region, world.one_way_ms) {
                let from_ms = world.now_ms + after_ms;
                world.out_from_ms.insert((at, region), from_ms);
            }
        }
    }
}

/// One pattern of three regions. By the seed one of them may be drained all the while, and the dead
/// come back as they were or as new processes.
pub(crate) fn begin_and_end(number: usize, seed: u64) -> World {
    let faults = of_three(number);
    let truth = Truth::of(&faults, 3);
    let mut world = World::settled(3, seed);
    let drained = world.random.usize(0..6);
    if drained < 3 {
        world.wish(drained, Want::Drained);
    }
    lasts(&mut world, faults.clone());
    if world.violation.is_none() {
        truth.check(&mut world);
    }
    let restarts = world.random.bool();
    for region in faults.dead.iter().filter(|_| restarts) {
        world.restart(*region, 0);
    }
    world.verdicts.clear();
    heal(&mut world);
    check_returned(&mut world, &truth);
    world
}

/// Everything heals, and is well after as long as each has to be held down, and the ramp.
pub(crate) fn heal(world: &mut World) {
    world.out_from_ms.clear();
    world.faults = Faults::default();
    for region in 0..world.regions.len() {
        world.wish(region, Want::AsUsual);
    }
    let well_ms = world.held_until_ms().max(world.now_ms) + heals_within_ms();
    world.run_ms(well_ms - world.now_ms);
    world.expect_well();
}

/// How long after the last fault, and the last hold-down, all is as it was.
pub(crate) fn heals_within_ms() -> u64 {
    let cadence = PRESET.cadence();
    let up = cadence.interval * (cadence.successes_to_rise + 1) + cadence.contact_expiry();
    let again = cadence.hold_down + cadence.timeout;
    ms(up + again) + (RAMP.len() as u64 + 1) * RAMP_STEP_MS
}

/// Nobody fell by the healing but who was out of reach of most until then.
fn check_returned(world: &mut World, truth: &Truth) {
    for at in 0..world.regions.len() {
        for region in 0..world.regions.len() {
            let fell = world
                .changes(at, region)
                .any(|(_, to)| to == Status::Unhealthy);
            if fell && !truth.is_beyond_most(region) {
                world.violate(at, "a region fell that came back".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(mut world: World, truth: &Truth) {
        if world.violation.is_none() {
            truth.check(&mut world);
        }
        assert_eq!(world.violation, None);
    }

    fn each(numbers: std::ops::Range<u64>) {
        for number in numbers {
            let world = begin_and_end(usize::try_from(number).unwrap(), number);
            assert_eq!(world.violation, None, "pattern {number}");
        }
    }

    #[test]
    fn all_patterns_of_three_regions_first_half() {
        each(0..OF_THREE / 2);
    }

    #[test]
    fn all_patterns_of_three_regions_second_half() {
        each(OF_THREE / 2..OF_THREE);
    }

    #[test]
    fn all_patterns_of_two_and_one() {
        for pattern in 0..1 << 6 {
            let faults = Faults {
                dead: subset(&[0, 1], pattern),
                blind: subset(&[0, 1], pattern >> 2),
                cut: subset(&links(2), pattern >> 4),
                ..Faults::default()
            };
            let truth = Truth::of(&faults, 2);
            sound(strike(2, pattern as u64, faults), &truth);
        }
        for blind in [vec![], vec![0]] {
            let faults = Faults {
                blind,
                ..Faults::default()
            };
            let truth = Truth::of(&faults, 1);
            sound(strike(1, 0, faults), &truth);
        }
    }

    #[test]
    fn random_patterns_of_four_and_five_regions() {
        for seed in 0..600 {
            let regions = 4 + (seed % 2) as usize;
            let mut random = fastrand::Rng::with_seed(seed);
            let faults = super::super::random::pattern(&mut random, regions);
            let truth = Truth::of(&faults, regions);
            sound(strike(regions, seed, faults), &truth);
        }
    }
}
