//! A world from which a region is removed while clients count on acknowledgements: what it alone has
//! confirmed of another's writes must not go with it. Where there are but two, a third joins.

use crate::calm::calm;
use crate::changing::strike;
use crate::members::{latest, prepare, propose, settle};
use crate::node::SimReplica;
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_model::{Acknowledgement, RegionName};
use meridian_replicate::{OwnStanding, Proposal};
use std::time::Duration;

/// By then the region has gone, or faults were in the way.
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn leaving(world: &mut World, level: Acknowledgement) -> Result<(), Violation> {
    prepare(world);
    let level = match level {
        Acknowledgement::Local => Acknowledgement::OneRemote,
        remote => remote,
    };
    world.promise_registers(level);
    world.run_until(Duration::from_secs(1), |_| {})?;
    let leaver = world.random.usize(0..world.nodes.len());
    let region = world.regions[leaver].clone();
    if world.nodes.len() < 3 {
        let another = RegionName::new("region-2");
        let add = Proposal::Add {
            region: another.clone(),
            address: None,
        };
        let _ = propose(world, 0, add);
        world.arrive(&another);
        world.run_until(world.time + Duration::from_millis(500), |_| {})?;
    }
    let count = world.nodes.len();
    let deadline = world.time + GONE_WITHIN;
    let way = world.random.u32(0..5);
    let confidant = (leaver + 1) % count;
    let mut is_deaf = false;
    world.plan(Duration::ZERO, Event::Fault);
    while world.time < deadline && !has_gone(world, leaver) {
        let proposal = Proposal::Remove {
            region: region.clone(),
        };
        let at = world.random.usize(0..count);
        let _ = propose(world, at, proposal);
        world.run_until(world.time + Duration::from_millis(1), |world| {
            let pause = Duration::from_millis(world.random.u64(1..50));
            world.plan(pause, Event::Fault);
            match (world.random.u32(0..10), way) {
                (0, _) => strike(world, None),
                (1 | 2, _) => world.network.heal(),
                (_, 1) => one_is_heard_by_the_leaver_alone(world, leaver),
                _ => {}
            }
            if way >= 2 {
                is_deaf |= has_heard_its_last_word(world, leaver, confidant);
                whisper(world, leaver, confidant, is_deaf);
            }
        })?;
    }
    if has_gone(world, leaver) {
        let voters = latest(world).map_or(0, |epoch| epoch.voters().count());
        let survived = level.holders(voters).min(voters).saturating_sub(1);
        let first = world.random.usize(0..count);
        let others = (first..first + count).map(|index| index % count);
        let others: Vec<_> = others.filter(|index| *index != leaver).collect();
        for index in std::iter::once(leaver).chain(others.into_iter().take(survived)) {
            world.nodes[index].is_gone = true;
            world.kill(index);
        }
        calm(world);
        world.run_until(world.time + Duration::from_secs(1), |_| {})?;
        world.forget_epochs_of_the_gone();
    }
    settle(world)
}

/// Whether anybody goes by an epoch without the leaver.
fn has_gone(world: &World, leaver: usize) -> bool {
    latest(world).is_some_and(|epoch| !epoch.members.contains_key(&world.regions[leaver]))
}

fn one_is_heard_by_the_leaver_alone(world: &mut World, leaver: usize) {
    let count = world.nodes.len();
    let one = world.random.usize(0..count);
    for other in (0..count).filter(|it| *it != leaver && *it != one) {
        world.network.cut(one, other);
    }
}

/// Whether the confidant holds all that the leaver will say, mostly while another has yet to hear that
/// it leaves.
fn has_heard_its_last_word(world: &mut World, leaver: usize, confidant: usize) -> bool {
    let any_time = world.random.u32(0..8) == 0;
    let replica_of = |index: usize| world.nodes[index].replica.as_ref();
    let (Some(leaving), Some(heard), Some(origin)) = (
        replica_of(leaver),
        replica_of(confidant),
        world.nodes[leaver].origin,
    ) else {
        return false;
    };
    let number = leaving.epoch().number;
    let is_late = |index: usize| replica_of(index).is_some_and(|it| it.epoch().number < number);
    let is_early = (0..world.nodes.len()).any(is_late);
    let held = |replica: &SimReplica| replica.marks().get(origin).sequence;
    leaving.standing() == OwnStanding::Leaving
        && held(heard) == held(leaving)
        && (is_early || any_time)
}

/// The confidant is heard by the leaver alone, and once it is deaf hears nobody. The others hear the
/// leaver now and then.
fn whisper(world: &mut World, leaver: usize, confidant: usize, is_deaf: bool) {
    world.network.heal();
    let is_quiet = world.random.bool();
    for other in (0..world.nodes.len()).filter(|it| *it != confidant) {
        if is_deaf {
            world.network.cut(other, confidant);
        }
        if other != leaver {
            world.network.cut(confidant, other);
            if is_quiet {
                world.network.cut(leaver, other);
            }
        }
    }
}
