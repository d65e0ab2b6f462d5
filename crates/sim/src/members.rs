//! Worlds in which regions come and go.

use crate::calm::{COLLECTED_WITHIN, calm};
use crate::chaos::strike;
use crate::node::SimReplica;
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_model::{DecidedBy, Epoch, OriginId, RegionName, Sequence, Standing, Vector};
use meridian_replicate::{OwnStanding, Proposal, ProposeError, has_reached, reachable};
use std::time::Duration;

/// How long regions come and go.
const UNREST: Duration = Duration::from_secs(40);
/// Within this time all must be settled once faults are lifted.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
const REGIONS_MAX: usize = 5;

/// Regions join, are evicted, come back and leave while faults strike.
pub(crate) fn membership(world: &mut World) -> Result<(), Violation> {
    prepare(world);
    if world.random.bool() {
        for node in &mut world.nodes {
            node.evict_after = Some(Duration::from_secs(8));
        }
    }
    for index in 0..world.nodes.len() {
        if world.random.bool() {
            world.nodes[index].clock_offset = world.random.i64(-5_000_000..5_000_000);
        }
    }
    world.plan(Duration::from_millis(700), Event::Fault);
    world.run_until(UNREST, |world| {
        let pause = Duration::from_millis(world.random.u64(50..1_500));
        world.plan(pause, Event::Fault);
        if world.random.u32(0..10) < 3 {
            strike(world);
            let after = Duration::from_millis(world.random.u64(0..12_000));
            world.plan(after, Event::Heal);
        } else {
            change(world);
        }
    })?;
    settle(world)
}

/// Two sides that don't hear each other both want others to count.
pub(crate) fn split(world: &mut World) -> Result<(), Violation> {
    prepare(world);
    world.run_until(Duration::from_secs(3), |_| {})?;
    let count = world.nodes.len();
    let (one, rest) = (world.random.usize(0..count), world.random.u32(0..4) == 0);
    let size = world.random.usize(1..=count / 2);
    let side = |node: usize| (node + count - one) % count < size;
    for from in 0..count {
        for to in (0..count).filter(|to| side(from) != side(*to)) {
            // Now and then one side hears the other, and isn't heard.
            if !rest || side(from) {
                world.network.cut(from, to);
            }
        }
    }
    let operator = (count == 2 && world.random.bool()).then(|| world.random.usize(0..2));
    world.plan(Duration::from_secs(2), Event::Fault);
    let end = world.time + Duration::from_secs(25);
    world.run_until(end, |world| {
        let pause = Duration::from_millis(world.random.u64(50..2_000));
        world.plan(pause, Event::Fault);
        if world.random.u32(0..8) == 0 {
            let node = world.random.usize(0..count);
            world.crash(node);
        }
        let at = world.random.usize(0..count);
        let region = world.regions[world.random.usize(0..count)].clone();
        let by_operator = operator == Some(at) && world.random.bool();
        let proposal = match world.random.u32(0..4) {
            0 => Proposal::Remove { region },
            _ => evict(
                region,
                if by_operator {
                    DecidedBy::Operator
                } else {
                    DecidedBy::Majority
                },
            ),
        };
        // What a side can't do is refused or comes to nothing.
        let _ = propose(world, at, proposal);
    })?;
    settle(world)
}

pub(crate) fn prepare(world: &mut World) {
    world.client_pause_max = Duration::from_millis(250);
    for node in &mut world.nodes {
        // A newcomer reads the log from its beginning: so all of it is kept.
        node.segment_bytes = 4 << 20;
    }
}

pub(crate) fn evict(region: RegionName, decided_by: DecidedBy) -> Proposal {
    Proposal::Evict { region, decided_by }
}

pub(crate) fn propose(
    world: &mut World,
    at: usize,
    proposal: Proposal,
) -> Result<(), ProposeError> {
    let now = world.nodes[at].now(world.time);
    let Some(replica) = &mut world.nodes[at].replica else {
        return Err(ProposeError::NoVote);
    };
    let outcome = replica.propose(now, proposal);
    world.plan(Duration::ZERO, Event::Flush(at));
    outcome
}

/// The latest epoch that anybody goes by, as told by who knows most of its members: who waits in
/// vain to be let in has it from the founders' list, and knows none.
pub(crate) fn latest(world: &World) -> Option<&Epoch> {
    let replicas = world.nodes.iter().filter_map(|node| node.replica.as_ref());
    replicas.map(SimReplica::epoch).max_by_key(|epoch| {
        let known = epoch.members.values().filter(|it| it.origin.is_some());
        (epoch.number, known.count())
    })
}

/// Whether the incarnation that counts in `epoch` is the node's, and not destroyed.
pub(crate) fn lives_in(world: &World, epoch: &Epoch, index: usize) -> bool {
    let node = &world.nodes[index];
    let member = epoch.members.get(&world.regions[index]);
    !node.is_gone
        && member.is_some_and(|member| {
            member.origin == node.origin
                || (member.origin.is_none() && member.standing == Standing::Joining)
        })
}

/// Whether a node has learned that it counts no more.
fn is_expelled(world: &World, index: usize) -> bool {
    let replica = world.nodes[index].replica.as_ref();
    replica.is_some_and(|it| matches!(it.standing(), OwnStanding::Evicted { .. }))
}

/// The voters of an epoch that are left. Who has learned that it counts no more votes no more; where
/// it left as planned it can tell how that was decided, though.
fn living_voters(world: &World, epoch: &Epoch) -> Vec<usize> {
    let has_a_say = |index: usize, standing: Standing| match standing {
        Standing::Joining => false,
        Standing::Leaving => true,
        Standing::Voting => !is_expelled(world, index),
    };
    let voters = (0..world.nodes.len()).filter(|index| {
        let member = epoch.members.get(&world.regions[*index]);
        member.is_some_and(|member| has_a_say(*index, member.standing))
            && lives_in(world, epoch, *index)
    });
    voters.collect()
}

/// One change of who counts, or an attempt at it.
fn change(world: &mut World) {
    let Some(epoch) = latest(world).cloned() else {
        return;
    };
    let count = world.nodes.len();
    let at = world.random.usize(0..count);
    let other = world.random.usize(0..count);
    let region = world.regions[other].clone();
    give_token(world, other);
    match world.random.u32(0..10) {
        0..=3 => {
            let absent = world.regions.iter();
            let absent = absent.filter(|region| !epoch.members.contains_key(*region));
            let mut choices: Vec<RegionName> = absent.cloned().collect();
            if count < REGIONS_MAX {
                choices.push(RegionName::new(&format!("region-{count}")));
            }
            if choices.is_empty() {
                return;
            }
            let region = choices.swap_remove(world.random.usize(0..choices.len()));
            let address = None;
            let add = Proposal::Add {
                region: region.clone(),
                address,
            };
            if propose(world, at, add).is_ok() {
                world.arrive(&region);
            }
        }
        4 | 5 => {
            let _ = propose(world, at, evict(region, DecidedBy::Majority));
        }
        6 | 7 => {
            let _ = propose(world, at, Proposal::Remove { region });
        }
        _ => {
            // Only so many are destroyed that the rest can decide without them, whatever they know.
            let enough = members(world).all(|(_, replica)| {
                let living = living_voters(world, replica.epoch());
                let rest = living.iter().filter(|index| **index != other).count();
                rest >= replica.epoch().majority()
            });
            if enough && living_voters(world, &epoch).contains(&other) {
                world.nodes[other].is_gone = true;
                world.kill(other);
            }
        }
    }
}

/// A client leaves a region with a token of all that it could have seen there.
pub(crate) fn give_token(world: &mut World, index: usize) {
    if let Some(replica) = &world.nodes[index].replica {
        let token = replica.marks().vector();
        world.tokens.push(token);
    }
}

/// No session waits for ever, whatever was lost with regions that were given up. Of an incarnation
/// that was lost before anybody who is left heard of it, nobody can say so; who saw something there
/// waits in vain.
fn tokens_are_reached(world: &World) -> Result<(), Violation> {
    for (index, replica) in members(world) {
        let (applied, cuts) = (replica.applied(), replica.cuts());
        let heard_of = |origin: OriginId| {
            members(world).any(|(_, member)| member.road().region_of(origin).is_some())
        };
        let of_heard = |token: &Vector| -> Vector {
            let reachable = reachable(token, &cuts);
            reachable.iter().filter(|(it, _)| heard_of(*it)).collect()
        };
        let waits = |token: &&Vector| !has_reached(&applied, &of_heard(token));
        if let Some(token) = world.tokens.iter().find(waits) {
            let missing: Vector = of_heard(token)
                .iter()
                .filter(|(origin, hlc)| applied.get(*origin) < *hlc)
                .collect();
            let what = format!(
                "a session waits for ever for {missing:?}; applied is {applied:?}, the cuts are {cuts:?}"
            );
            let region = world.regions[index].to_string();
            return Err(Violation::Broken { region, what });
        }
    }
    Ok(())
}

/// Lifts every fault; those that are dead are evicted, and the rest must come to rest and agree.
pub(crate) fn settle(world: &mut World) -> Result<(), Violation> {
    calm(world);
    let deadline = world.time + SETTLED_WITHIN;
    let mut quiet = 0;
    while quiet < 3 {
        world.run_until(world.time + Duration::from_secs(1), |_| {})?;
        evict_the_dead(world);
        quiet = match unrest(world) {
            None => quiet + 1,
            Some(reason) if world.time >= deadline => {
                return Err(Violation::NotConverged(reason));
            }
            Some(_) => 0,
        };
    }
    tokens_are_reached(world)?;
    forget_the_gone(world)?;
    obey_the_law(world)
}

/// What a person would do about members that will never come back.
fn evict_the_dead(world: &mut World) {
    let Some(epoch) = latest(world).cloned() else {
        return;
    };
    let mut living = living_voters(world, &epoch);
    living.retain(|index| !is_expelled(world, *index));
    let dead = epoch.members.keys().find(|region| {
        let index = world.regions.iter().position(|name| name == *region);
        index.is_none_or(|index| !lives_in(world, &epoch, index))
    });
    let (Some(at), Some(dead)) = (living.first(), dead) else {
        return;
    };
    let decided_by = if living.len() >= epoch.majority() {
        DecidedBy::Majority
    } else {
        DecidedBy::Operator
    };
    let _ = propose(world, *at, evict(dead.clone(), decided_by));
}

fn members(world: &World) -> impl Iterator<Item = (usize, &SimReplica)> {
    let epoch = latest(world);
    let nodes = world.nodes.iter().enumerate();
    nodes.filter_map(move |(index, node)| {
        let is_member = epoch.is_some_and(|epoch| lives_in(world, epoch, index));
        Some((index, node.replica.as_ref().filter(|_| is_member)?))
    })
}

/// Why the world is not at rest yet, if so.
fn unrest(world: &World) -> Option<String> {
    let epoch = latest(world)?;
    let found: Vec<_> = members(world).collect();
    if found.len() != epoch.members.len() {
        let absent = world.nodes.iter().filter(|node| node.replica.is_none());
        let absent: Vec<_> = absent
            .map(|node| (node.name.as_str(), node.is_gone, node.refused.as_deref()))
            .collect();
        return Some(format!(
            "{} of the members of {epoch:?} are there; these are not: {absent:?}; what is being \
             decided: {:?}",
            found.len(),
            found
                .iter()
                .map(|(_, it)| it.proposal())
                .collect::<Vec<_>>()
        ));
    }
    let (_, first) = found.first()?;
    for (index, replica) in &found {
        let name = &world.regions[*index];
        if let Some(reason) = replica.stopped() {
            return Some(format!("{name} is stopped: {reason}"));
        }
        // What is asked for would be decided in the middle of what comes.
        let asked = replica.proposal().and_then(|deciding| deciding.proposal);
        if let Some(proposal) = asked {
            return Some(format!("{name} still asks for {proposal:?}"));
        }
        if replica.standing() != OwnStanding::Voting {
            return Some(format!(
                "{name} is {:?} at {:?}, which {:?} is about to change",
                replica.standing(),
                replica.epoch(),
                replica.proposal()
            ));
        }
        if replica.epoch().number != epoch.number || replica.marks() != first.marks() {
            let peers = replica.peers(world.nodes[*index].now(world.time));
            return Some(format!(
                "{name} is at epoch {} of {} and holds {:?}, not {:?}; its peers are {peers:?}",
                replica.epoch().number,
                epoch.number,
                replica.marks(),
                first.marks(),
            ));
        }
    }
    None
}

/// What incarnations that count no more had told nobody is lost with them; what anybody held is not,
/// nor what was confirmed.
fn forget_the_gone(world: &mut World) -> Result<(), Violation> {
    let counting: Vec<usize> = members(world)
        .map(|(index, _)| world.nodes[index].life)
        .collect();
    let Some(marks) = members(world)
        .map(|(_, replica)| replica.marks().clone())
        .next()
    else {
        return Ok(());
    };
    let held = |origin| marks.get(origin).sequence;
    for life in (0..world.lives).filter(|life| !counting.contains(life)) {
        let origin = world.ledger.origin_of(life);
        let held = origin.map_or(Sequence(0), held);
        let name = origin.map_or_else(String::new, |it| it.to_string());
        world.ledger.check_confirmed(life, &name, held)?;
        world.ledger.gone(life, held);
    }
    Ok(())
}

fn obey_the_law(world: &mut World) -> Result<(), Violation> {
    let law = world.ledger.law();
    let check = |world: &World| {
        let mut found = members(world).map(|(index, _)| &world.nodes[index]);
        found.try_for_each(|node| crate::witness::obeys(node, &law))
    };
    check(world)?;
    world.run_until(world.time + COLLECTED_WITHIN, |_| {})?;
    check(world)?;
    for (index, _) in members(world) {
        let node = &world.nodes[index];
        let left = node.uncollected();
        if left > 0 {
            let what = format!("{left} tombstones or increments were never collected");
            return Err(Violation::Broken {
                region: node.name.to_string(),
                what,
            });
        }
    }
    Ok(())
}
