//! Two regions with tables and a witness.
//!
//! One of the three is destroyed, in most runs after a while in which a region with tables was heard
//! by the witness alone. The two others evict it, the survivors go on, and it comes back as a new
//! incarnation. In the end all hold the same, the witness shows no row, and every row elsewhere is
//! what the law makes of all that anybody held, so of what the witness alone held too.

use crate::calm::calm;
use crate::chaos::strike;
use crate::members::{evict, latest, prepare, propose, settle};
use crate::node::Node;
use crate::world::{Event, World};
use meridian_check::{Law, Violation};
use meridian_model::{DecidedBy, RegionName, Standing};
use meridian_replicate::Proposal;
use std::collections::BTreeSet;
use std::time::Duration;

const UNREST: Duration = Duration::from_secs(5);
const DECIDED_WITHIN: Duration = Duration::from_secs(60);
/// Which of the regions is the witness.
const WITNESS: usize = 2;

pub(crate) fn witness(world: &mut World) -> Result<(), Violation> {
    prepare(world);
    appoint(world, WITNESS);
    let evict_after = world.random.bool().then(|| Duration::from_secs(8));
    for node in &mut world.nodes {
        node.evict_after = evict_after;
    }
    world.plan(Duration::from_millis(700), Event::Fault);
    world.run_until(UNREST, |world| {
        let pause = Duration::from_millis(world.random.u64(50..900));
        world.plan(pause, Event::Fault);
        strike(world);
    })?;
    calm(world);
    world.reconnect();
    world.clients_act = true;
    world.run_until(world.time + Duration::from_secs(2), |_| {})?;
    let lost = world.random.usize(0..world.nodes.len());
    confide(world, lost)?;
    world.nodes[lost].is_gone = true;
    world.kill(lost);
    world.network.heal();
    world.reconnect();
    evicted(world, lost)?;
    world.run_until(world.time + Duration::from_secs(3), |_| {})?;
    return_anew(world, lost)?;
    settle(world)
}

/// Makes a region that has not started yet a witness.
pub(crate) fn appoint(world: &mut World, index: usize) {
    let witnesses = BTreeSet::from([world.regions[index].clone()]);
    for node in &mut world.nodes {
        node.witnesses.clone_from(&witnesses);
    }
}

/// The rows are what the law makes them; a witness shows none.
pub(crate) fn obeys(node: &Node, law: &Law) -> Result<(), Violation> {
    if !node.is_witness() {
        return law.check(node.name.as_str(), &node.rows());
    }
    let rows = node.rows().len();
    if rows == 0 {
        return Ok(());
    }
    Err(Violation::Broken {
        region: node.name.to_string(),
        what: format!("a witness shows {rows} rows"),
    })
}

/// For a while only the witness hears what a region with tables does, and tells nobody.
fn confide(world: &mut World, lost: usize) -> Result<(), Violation> {
    if lost == WITNESS {
        return Ok(());
    }
    let other = WITNESS - 1 - lost;
    world.network.cut(lost, other);
    world.network.cut(other, lost);
    world.network.cut(WITNESS, other);
    let alone = Duration::from_millis(world.random.u64(0..3_000));
    world.run_until(world.time + alone, |_| {})
}

/// Asks, at one survivor or the other, until both go by an epoch without the region.
fn evicted(world: &mut World, lost: usize) -> Result<(), Violation> {
    let region = world.regions[lost].clone();
    let proposal = evict(region.clone(), DecidedBy::Majority);
    until(world, lost, &proposal, |world| {
        survivors(world, lost).all(|epoch| !epoch.contains(&region))
    })
}

/// Adds the region again, which begins empty, until it votes.
fn return_anew(world: &mut World, lost: usize) -> Result<(), Violation> {
    let region = world.regions[lost].clone();
    world.arrive(&region);
    let address = None;
    let proposal = Proposal::Add {
        region: region.clone(),
        address,
    };
    until(world, lost, &proposal, |world| {
        let members = latest(world).map(|epoch| &epoch.members);
        let found = members.and_then(|members| members.get(&region));
        found.is_some_and(|member| member.standing == Standing::Voting)
    })
}

/// By survivor, the members that it goes by.
fn survivors(world: &World, lost: usize) -> impl Iterator<Item = Vec<RegionName>> {
    let nodes = world.nodes.iter().enumerate();
    nodes
        .filter(move |(index, _)| *index != lost)
        .filter_map(|(_, node)| {
            let epoch = node.replica.as_ref()?.epoch();
            Some(epoch.members.keys().cloned().collect())
        })
}

fn until(
    world: &mut World,
    lost: usize,
    proposal: &Proposal,
    holds: impl Fn(&World) -> bool,
) -> Result<(), Violation> {
    let deadline = world.time + DECIDED_WITHIN;
    while !holds(world) {
        if world.time >= deadline {
            let told = latest(world);
            return Err(Violation::NotConverged(format!(
                "two of three never came to {proposal:?}; they are at {told:?}"
            )));
        }
        let mut at = world.random.usize(0..world.nodes.len());
        if at == lost {
            at = (at + 1) % world.nodes.len();
        }
        // What is refused is in progress, or not due yet: the lost one was in touch just now.
        let _ = propose(world, at, proposal.clone());
        world.run_until(world.time + Duration::from_millis(500), |_| {})?;
    }
    Ok(())
}
