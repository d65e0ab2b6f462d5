//! Runs in which a region is lost: it dies, its disk lies, or as many die as are promised to be
//! survived.

use crate::calm::{calm, converge, obey_the_law, survivors};
use crate::chaos::strike;
use crate::world::{Event, World};
use meridian_check::{SnapshotChecker, Violation};
use meridian_model::{Acknowledgement, Sequence};
use meridian_replicate::StreamState;
use std::time::Duration;

/// A region reaches one peer only, works on alone for a while, and is destroyed.
pub(crate) fn dying_origin(world: &mut World) -> Result<(), Violation> {
    world.run_until(Duration::from_secs(2), |_| {})?;
    let dying = world.random.usize(0..world.nodes.len());
    let confidant = (dying + 1) % world.nodes.len();
    for peer in (0..world.nodes.len()).filter(|peer| *peer != dying && *peer != confidant) {
        world.network.cut(dying, peer);
        world.network.cut(peer, dying);
        // Nor do the others hear of it through the confidant, until it is dead.
        world.network.cut(confidant, peer);
    }
    world.run_until(Duration::from_secs(4), |_| {})?;
    world.nodes[dying].is_gone = true;
    world.kill(dying);
    // The last that has it may lose power on its next write, before it can tell anybody.
    let told = held_by_survivors(world, dying);
    if world.random.bool() {
        let after = world.random.u64(0..4);
        world.nodes[confidant].disk.cut_power_after(after);
    }
    world.run_until(Duration::from_secs(5), |_| {})?;
    calm(world);
    converge(world)?;
    let held = held_by_survivors(world, dying);
    if held < told {
        let region = world.nodes[dying].name.to_string();
        let what = format!(
            "the survivors hold its stream up to {held}, and one held it up to {told} when it died"
        );
        return Err(Violation::Broken { region, what });
    }
    world.ledger.gone(dying, held);
    obey_the_law(world)
}

/// Clients are promised things under every fault; then the regions that the acknowledgement has to
/// survive are cut off together, and destroyed.
pub(crate) fn promises(
    world: &mut World,
    level: Acknowledgement,
    has_home: bool,
) -> Result<(), Violation> {
    let any = world.random.usize(0..world.nodes.len());
    // A witness is no home.
    let any = if world.nodes[any].is_witness() {
        0
    } else {
        any
    };
    world.promise(level, has_home.then_some(any));
    world.plan(Duration::from_millis(700), Event::Fault);
    let end = Duration::from_secs(6);
    world.run_until(end, |world| {
        let pause = Duration::from_millis(world.random.u64(50..900));
        world.plan(pause, Event::Fault);
        strike(world);
    })?;
    calm(world);
    world.clients_act = true;
    world.run_until(world.time + Duration::from_secs(4), |_| {})?;
    let count = world.nodes.len();
    let first = world.random.usize(0..count);
    let lost = level.holders(count) - 1;
    let dying: Vec<usize> = (0..lost).map(|step| (first + step) % count).collect();
    for one in &dying {
        for other in (0..count).filter(|other| !dying.contains(other)) {
            world.network.cut(*one, other);
            world.network.cut(other, *one);
        }
    }
    world.run_until(world.time + Duration::from_secs(1), |_| {})?;
    for one in &dying {
        world.nodes[*one].is_gone = true;
        world.kill(*one);
    }
    world.run_until(world.time + Duration::from_secs(1), |_| {})?;
    calm(world);
    converge(world)?;
    world.check_forwarded()?;
    for one in dying {
        let held = held_by_survivors(world, one);
        let region = world.nodes[one].name.to_string();
        world.ledger.check_confirmed(one, &region, held)?;
        world.ledger.gone(one, held);
    }
    obey_the_law(world)
}

/// How far the survivors hold the stream of a node that is gone.
pub(crate) fn held_by_survivors(world: &World, index: usize) -> Sequence {
    let origin = own_origin(world, index);
    let held = survivors(world).map(|it| match (&world.nodes[it].replica, origin) {
        (Some(replica), Some(origin)) => replica.marks().get(origin).sequence,
        _ => Sequence(0),
    });
    held.max().unwrap_or_default()
}

pub(crate) fn own_origin(world: &World, index: usize) -> Option<meridian_model::OriginId> {
    let name = &world.nodes[index].name;
    survivors(world).find_map(|index| world.nodes[index].replica.as_ref()?.road().member(name))
}

pub(crate) fn lying_disk(world: &mut World) -> Result<(), Violation> {
    let liar = world.random.usize(0..world.nodes.len());
    world.run_until(Duration::from_millis(1_500), |_| {})?;
    world.nodes[liar].disk.ignore_syncs(true);
    world.run_until(Duration::from_secs(3), |_| {})?;
    world.nodes[liar].disk.ignore_syncs(false);
    world.ledger = crate::ledger::Ledger::default();
    if world.random.bool() {
        world.crash(liar);
    } else {
        world.lose_unsynced(liar);
    }
    // What it had shown and what it acknowledged may be lost; nobody can help that.
    let name = world.nodes[liar].name.clone();
    world.nodes[liar].checker = SnapshotChecker::new(name.as_str());
    let rest = world.time + Duration::from_secs(4);
    world.run_until(rest, |_| {})?;
    calm(world);
    world.run_until(world.time + Duration::from_secs(20), |_| {})?;
    let noticed = |world: &World| {
        let node = &world.nodes[liar];
        let Some(replica) = &node.replica else {
            return node.refused.is_some();
        };
        let quarantined = world
            .nodes
            .iter()
            .filter_map(|node| node.replica.as_ref())
            .any(|peer| {
                peer.peers(node.now(world.time))
                    .iter()
                    .any(|peer| matches!(peer.state, StreamState::Quarantined { .. }))
            });
        replica.stopped().is_some() || quarantined
    };
    if noticed(world) {
        world.nodes[liar].is_gone = true;
        world.kill(liar);
    }
    converge(world)?;
    let mut rows = survivors(world).map(|index| (index, world.nodes[index].rows()));
    let Some((first, expected)) = rows.next() else {
        return Ok(());
    };
    for (index, found) in rows {
        if found != expected {
            let (one, other) = (&world.nodes[first].name, &world.nodes[index].name);
            return Err(Violation::NotConverged(format!(
                "{one} and {other} hold other rows"
            )));
        }
    }
    Ok(())
}
