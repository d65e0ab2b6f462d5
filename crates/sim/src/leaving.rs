//! A world from which a region is removed while clients count on acknowledgements: what it alone has
//! confirmed of another's writes must not go with it.

use crate::calm::calm;
use crate::changing::strike;
use crate::members::{latest, prepare, propose, settle};
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_model::Acknowledgement;
use meridian_replicate::Proposal;
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
    let count = world.nodes.len();
    let leaver = world.random.usize(0..count);
    let region = world.regions[leaver].clone();
    let deadline = world.time + GONE_WITHIN;
    let way = world.random.u32(0..3);
    let mut deaf = None;
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
                (_, 2) => world.network.degrade(30, 0),
                _ => {}
            }
            if way == 2 {
                deaf = deaf.or_else(|| has_heard_its_last_word(world, leaver));
                deafen(world, deaf);
            }
        })?;
    }
    if has_gone(world, leaver) {
        let survived = level.holders(count - 1) - 1;
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

/// A region that holds all that the leaver will say, while another has yet to hear that it leaves.
fn has_heard_its_last_word(world: &World, leaver: usize) -> Option<usize> {
    let epoch_of = |index: usize| Some(world.nodes[index].replica.as_ref()?.epoch().number);
    let origin = world.nodes[leaver].origin?;
    let held_by = |index: usize| {
        let replica = world.nodes[index].replica.as_ref();
        replica.map(|replica| replica.marks().get(origin).sequence)
    };
    let others = || (0..world.nodes.len()).filter(|it| *it != leaver);
    let is_early = epoch_of(leaver) == Some(1) && others().any(|it| epoch_of(it) == Some(0));
    others().find(|it| is_early && held_by(*it) == held_by(leaver))
}

/// It is heard, and hears nobody any more.
fn deafen(world: &mut World, deaf: Option<usize>) {
    let Some(deaf) = deaf else { return };
    for other in (0..world.nodes.len()).filter(|it| *it != deaf) {
        world.network.cut(other, deaf);
    }
}
