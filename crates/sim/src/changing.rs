//! A world in which regions come and go while clients count on acknowledgements and strong reads.
//!
//! At most one region is out of touch for long, and another only once all have agreed again: what
//! one region's loss may take is what a remote acknowledgement promises to survive. Within these
//! bounds regions learn of epochs at different times, by one-way cuts and losses that pass.

use crate::members::{evict, give_token, latest, prepare, propose, settle};
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_model::{Acknowledgement, DecidedBy, RegionName, Standing};
use meridian_replicate::{Proposal, is_agreed};
use std::time::Duration;

const PHASES: usize = 3;
/// Longer than it takes a region to count as away.
const PHASE: Duration = Duration::from_secs(9);
const AGREED_WITHIN: Duration = Duration::from_secs(30);
const REGIONS_MAX: usize = 5;

pub(crate) fn changing(world: &mut World, level: Acknowledgement) -> Result<(), Violation> {
    prepare(world);
    // What a region alone confirmed may be lost with it, and strong reads don't show it then.
    let level = match level {
        Acknowledgement::Local => Acknowledgement::Majority,
        remote => remote,
    };
    world.promise_registers(level);
    world.plan(Duration::from_millis(500), Event::Fault);
    for _ in 0..PHASES {
        let count = world.nodes.len();
        let any = world.random.usize(0..count);
        let away = (world.random.bool() && is_settled(world)).then_some(any);
        isolate(world, away);
        world.run_until(world.time + PHASE, |world| {
            let pause = Duration::from_millis(world.random.u64(20..200));
            world.plan(pause, Event::Fault);
            match world.random.u32(0..12) {
                0 => change(world, away),
                1 | 2 => strike(world, away),
                3..=6 => part(world),
                _ => {}
            }
        })?;
        world.network.heal();
        let deadline = world.time + AGREED_WITHIN;
        while !is_settled(world) && world.time < deadline {
            world.run_until(world.time + Duration::from_millis(500), |world| {
                world.plan(Duration::from_millis(300), Event::Fault);
            })?;
        }
    }
    settle(world)
}

fn isolate(world: &mut World, away: Option<usize>) {
    let Some(away) = away else { return };
    for peer in (0..world.nodes.len()).filter(|peer| *peer != away) {
        world.network.cut(away, peer);
        world.network.cut(peer, away);
    }
}

/// Those who go by the latest epoch and those who don't yet hear nothing of each other.
fn part(world: &mut World) {
    let replicas = world.nodes.iter().map(|node| node.replica.as_ref());
    let numbers: Vec<_> = replicas
        .map(|it| it.map_or(0, |replica| replica.epoch().number))
        .collect();
    let latest = numbers.iter().max().copied().unwrap_or_default();
    for one in 0..numbers.len() {
        for other in 0..numbers.len() {
            if (numbers[one] == latest) != (numbers[other] == latest) {
                world.network.cut(one, other);
            }
        }
    }
}

/// A fault that passes.
pub(crate) fn strike(world: &mut World, away: Option<usize>) {
    let count = world.nodes.len();
    let (one, other) = (world.random.usize(0..count), world.random.usize(0..count));
    match world.random.u32(0..8) {
        0..=3 => world.network.cut(one, other),
        4 | 5 => {
            world.network.heal();
            isolate(world, away);
        }
        6 => world.kill(one),
        _ => world.crash(one),
    }
}

/// Somebody asks for a change of who counts.
fn change(world: &mut World, away: Option<usize>) {
    let Some(epoch) = latest(world).cloned() else {
        return;
    };
    let count = world.nodes.len();
    let at = world.random.usize(0..count);
    let mut absent: Vec<RegionName> = world.regions.clone();
    absent.retain(|region| !epoch.members.contains_key(region));
    if count < REGIONS_MAX {
        absent.push(RegionName::new(&format!("region-{count}")));
    }
    match (world.random.u32(0..4), away) {
        (0 | 1, Some(away)) => {
            give_token(world, away);
            let region = world.regions[away].clone();
            let _ = propose(world, at, evict(region, DecidedBy::Majority));
        }
        (2, _) if epoch.voters().count() > 3 => {
            let region = world.regions[world.random.usize(0..count)].clone();
            let _ = propose(world, at, Proposal::Remove { region });
        }
        _ if !absent.is_empty() => {
            let region = absent.swap_remove(world.random.usize(0..absent.len()));
            let add = Proposal::Add {
                region: region.clone(),
                address: None,
            };
            if propose(world, at, add).is_ok() {
                world.arrive(&region);
                isolate(world, away);
            }
        }
        _ => {}
    }
}

/// Whether all members agree on the latest epoch, and none is on its way in or out.
fn is_settled(world: &World) -> bool {
    let Some(epoch) = latest(world) else {
        return false;
    };
    epoch.members.iter().all(|(region, member)| {
        let index = world.regions.iter().position(|known| known == region);
        let replica = index.and_then(|index| world.nodes[index].replica.as_ref());
        member.standing == Standing::Voting
            && replica.is_some_and(|replica| {
                replica.epoch().number == epoch.number
                    && is_agreed(replica.epoch(), &replica.adopted())
            })
    })
}
