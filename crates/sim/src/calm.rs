//! After the faults: what must hold once they are lifted.

use crate::world::{Event, World};
use meridian_check::Violation;
use std::time::Duration;

const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
pub(crate) const COLLECTED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn survivors(world: &World) -> impl Iterator<Item = usize> {
    let nodes = world.nodes.iter().enumerate();
    nodes
        .filter(|(_, node)| !node.is_gone)
        .map(|(index, _)| index)
}

/// Lifts every fault and lets everybody come back.
pub(crate) fn calm(world: &mut World) {
    world.clients_act = false;
    world.network.heal();
    for index in 0..world.nodes.len() {
        world.nodes[index].disk.set_capacity(None);
        world.plan(Duration::ZERO, Event::Start(index));
    }
}

/// The regions must agree in bounded time, and go quiet: reports alone ask for no report.
pub(crate) fn converge(world: &mut World) -> Result<(), Violation> {
    let deadline = world.time + CONVERGED_WITHIN;
    let mut quiet = 0;
    while quiet < 3 {
        world.run_until(world.time + Duration::from_secs(1), |_| {})?;
        quiet = if disagreement(world).is_none() {
            quiet + 1
        } else {
            0
        };
        if world.time >= deadline {
            let reason = disagreement(world).unwrap_or_else(|| "no rest".to_owned());
            return Err(Violation::NotConverged(reason));
        }
    }
    Ok(())
}

pub(crate) fn disagreement(world: &World) -> Option<String> {
    let mut first = None;
    for index in survivors(world) {
        let node = &world.nodes[index];
        let Some(replica) = &node.replica else {
            return Some(format!("{} is down: {:?}", node.name, node.refused));
        };
        if let Some(reason) = replica.stopped() {
            return Some(format!("{} is stopped: {reason}", node.name));
        }
        let (name, marks) = first.get_or_insert((&node.name, replica.marks()));
        if *marks != replica.marks() {
            let peers = replica.peers(node.now(world.time));
            return Some(format!(
                "{name} holds {marks:?}, {} holds {:?}, its peers are {peers:?}",
                node.name,
                replica.marks()
            ));
        }
    }
    None
}

/// Every row is what the surviving transactions make of it; what nothing needs is collected.
pub(crate) fn obey_the_law(world: &mut World) -> Result<(), Violation> {
    let law = world.ledger.law();
    for index in survivors(world) {
        crate::witness::obeys(&world.nodes[index], &law)?;
    }
    world.run_until(world.time + COLLECTED_WITHIN, |_| {})?;
    let everybody = survivors(world).count() == world.nodes.len();
    for index in survivors(world) {
        let node = &world.nodes[index];
        crate::witness::obeys(node, &law)?;
        let left = node.uncollected() - world.brought_back(index);
        if everybody && left > 0 {
            let what = format!("{left} tombstones or increments were never collected");
            return Err(Violation::Broken {
                region: node.name.to_string(),
                what,
            });
        }
    }
    Ok(())
}
