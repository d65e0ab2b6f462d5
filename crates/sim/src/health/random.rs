//! Five regions: a pattern that strikes while all is well, then times in which faults come and go, and
//! between these a pattern that stands.

use super::faults::Faults;
use super::patterns::{heal, lasts, links, subset};
use super::truth::Truth;
use super::world::World;
use meridian_health::Service;
use meridian_steer::Want;

const REGIONS: usize = 5;
/// For how long faults come and go.
const CHURNS_MS: u64 = 12_000;
/// How long a pattern stands, so that everybody knows how it is.
const STANDS_MS: u64 = 14_000;

/// Few regions dead, few observers blind, few or many links cut.
pub(crate) fn pattern(random: &mut fastrand::Rng, regions: usize) -> Faults {
    let all: Vec<_> = (0..regions).collect();
    let few = |random: &mut fastrand::Rng| random.usize(..) & random.usize(..) & random.usize(..);
    let density = random.f64() * 0.7;
    let mut cut = links(regions);
    cut.retain(|_| random.f64() < density);
    Faults {
        dead: subset(&all, few(random)),
        blind: subset(&all, few(random)),
        cut,
        ..Faults::default()
    }
}

pub(crate) fn five(seed: u64) -> World {
    let mut world = World::settled(REGIONS, seed);
    let mut random = world.random.fork();
    let faults = pattern(&mut random, REGIONS);
    let truth = Truth::of(&faults, REGIONS);
    lasts(&mut world, faults);
    if world.violation.is_none() {
        truth.check(&mut world);
    }
    world.out_from_ms.clear();
    for at in 0..REGIONS {
        if world.random.bool() {
            let offset_us = world.random.i64(-5_000_000..5_000_000);
            world.restart(at, offset_us);
        }
    }
    churn(&mut world);
    stand(&mut world);
    churn(&mut world);
    revive(&mut world);
    if world.violation.is_none() {
        heal(&mut world);
    }
    world
}

/// Whoever is dead is back, as it was or as a new process.
fn revive(world: &mut World) {
    for region in std::mem::take(&mut world.faults.dead) {
        revive_one(world, region);
    }
}

fn revive_one(world: &mut World, region: usize) {
    if world.random.bool() {
        let offset_us = world.random.i64(-5_000_000..5_000_000);
        world.restart(region, offset_us);
    }
}

/// A pattern, long enough for all to know it.
fn stand(world: &mut World) {
    revive(world);
    let mut random = world.random.fork();
    world.faults = pattern(&mut random, REGIONS);
    let truth = Truth::of(&world.faults, REGIONS);
    world.run_ms(STANDS_MS);
    if world.violation.is_none() {
        truth.check_settled(world);
    }
}

/// Faults come and go.
fn churn(world: &mut World) {
    let end_ms = world.now_ms + CHURNS_MS;
    while world.now_ms < end_ms && world.violation.is_none() {
        strike(world);
        let pause_ms = world.random.u64(50..1_500);
        world.run_ms(pause_ms);
    }
}

/// One fault more, or less.
fn strike(world: &mut World) {
    let (one, other) = (
        world.random.usize(0..REGIONS),
        world.random.usize(0..REGIONS),
    );
    match world.random.u32(0..16) {
        0 | 1 if one != other => world.faults.cut.push((one, other)),
        2 if one != other => world.faults.cut.extend([(one, other), (other, one)]),
        3 => {
            let of_it = |(a, b): &(usize, usize)| *a == one || *b == one;
            world
                .faults
                .cut
                .extend(links(REGIONS).into_iter().filter(of_it));
        }
        4 | 5 if one != other => {
            let share = 0.1 + 0.4 * world.random.f64();
            world.faults.lossy.push((one, other, share));
        }
        6 => {
            let slow_ms = world.random.u64(100..1_000);
            world.faults.slow.push((one, slow_ms));
        }
        7 => world.faults.jitter_ms = world.random.u64(0..100),
        8 => world.faults.blind.push(one),
        9 if !world.faults.is_dead(one) => world.faults.dead.push(one),
        10 => {
            if let Some(region) = world.faults.dead.pop() {
                revive_one(world, region);
            }
        }
        11 => flip(&mut world.faults.failing, (one, Service::Database)),
        12 => flip(&mut world.faults.failing, (one, Service::Api)),
        13 => {
            let wants = [Want::Drained, Want::AsUsual, Want::Percent(50)];
            let want = wants[world.random.usize(0..wants.len())];
            for region in 0..REGIONS {
                world.wish(region, Want::AsUsual);
            }
            world.wish(one, want);
        }
        _ => {
            let dead = std::mem::take(&mut world.faults.dead);
            world.faults = Faults {
                dead,
                ..Faults::default()
            };
        }
    }
}

fn flip(failing: &mut Vec<(usize, Service)>, service: (usize, Service)) {
    match failing.iter().position(|it| *it == service) {
        Some(place) => {
            failing.swap_remove(place);
        }
        None => failing.push(service),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_regions_through_anything() {
        for seed in 0..60 {
            assert_eq!(five(seed).violation, None, "seed {seed}");
        }
    }
}
