//! Every failure pattern of three regions, and random ones of five, held against the truth.

use crate::truth::Truth;
use crate::world::{Faults, World};

const SETTLED_MS: u64 = 12_000;

pub fn subset<T: Copy>(of: &[T], bits: usize) -> Vec<T> {
    let chosen = of
        .iter()
        .enumerate()
        .filter(|(place, _)| bits >> place & 1 == 1);
    chosen.map(|(_, one)| *one).collect()
}

pub fn links(regions: usize) -> Vec<(usize, usize)> {
    let all = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
    all.filter(|(from, to)| from != to).collect()
}

pub fn strike(regions: usize, seed: u64, faults: Faults) -> World {
    let mut world = World::settled(regions, seed);
    world.faults = faults;
    world.run_ms(SETTLED_MS);
    world
}

fn check(regions: usize, seed: u64, faults: Faults) {
    let truth = Truth::of(&faults, regions);
    truth.check(&strike(regions, seed, faults));
}

/// Every subset of regions dead, of directed links cut, and of observers blind: 4096 worlds.
#[test]
fn all_patterns_of_three_regions() {
    let (regions, links) = ([0, 1, 2], links(3));
    for pattern in 0..1 << (3 + 3 + links.len()) {
        let faults = Faults {
            dead: subset(&regions, pattern),
            blind: subset(&regions, pattern >> 3),
            cut: subset(&links, pattern >> 6),
            ..Faults::default()
        };
        check(3, pattern as u64, faults);
    }
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
        check(2, pattern as u64, faults);
    }
    for faults in [
        Faults::default(),
        Faults {
            blind: vec![0],
            ..Faults::default()
        },
    ] {
        check(1, 0, faults);
    }
}

#[test]
fn random_patterns_of_four_and_five_regions() {
    for seed in 0..600 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let regions = 4 + (seed % 2) as usize;
        let all: Vec<_> = (0..regions).collect();
        let few = |rng: &mut fastrand::Rng| rng.usize(..) & rng.usize(..) & rng.usize(..);
        let density = rng.f64() * 0.7;
        let mut cut = links(regions);
        cut.retain(|_| rng.f64() < density);
        let faults = Faults {
            dead: subset(&all, few(&mut rng)),
            blind: subset(&all, few(&mut rng)),
            cut,
            ..Faults::default()
        };
        check(regions, seed, faults);
    }
}
