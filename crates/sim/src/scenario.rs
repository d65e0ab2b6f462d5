//! Runs: which faults strike, and what must hold in the end.

use crate::joining;
use crate::members;
use crate::world::{Event, World};
use meridian_check::{SnapshotChecker, Violation};
use meridian_model::{Acknowledgement, Sequence};
use meridian_replicate::StreamState;
use std::time::Duration;

pub(crate) const SAFETY: Duration = Duration::from_secs(8);
const CONVERGED_WITHIN: Duration = Duration::from_secs(60);
pub(crate) const COLLECTED_WITHIN: Duration = Duration::from_secs(10);

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Every fault that the design promises to survive, at random.
    Chaos,
    /// A region reaches only one peer and is then destroyed.
    DyingOrigin,
    /// A region's disk says that it has synced, and hasn't, when the power goes. Nothing can keep
    /// what is lost, but the region must notice and not go on as if nothing had happened.
    LyingDisk,
    /// A region joins with a snapshot while clients write, logs are trimmed and faults strike.
    Joining,
    /// Transactions that no region can apply, and decisions about them, under every fault.
    DeadLetters,
    /// Every fault of chaos while clients count on acknowledgements, strong reads and sessions; then
    /// as many regions are destroyed as the acknowledgement has to survive.
    Promises,
    /// Regions join, are evicted, come back and leave while faults strike.
    Membership,
    /// Two sides that don't hear each other both want others to count.
    Split,
    /// Records of one region's tables change, vanish or come back behind its back, while all
    /// regions compare their tables and mend them.
    SilentDamage,
    /// Regions come and go while clients count on acknowledgements and strong reads.
    Changing,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Chaos,
        Self::DyingOrigin,
        Self::LyingDisk,
        Self::Joining,
        Self::DeadLetters,
        Self::Promises,
        Self::Membership,
        Self::Split,
        Self::SilentDamage,
        Self::Changing,
    ];

    /// The scenario's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chaos => "chaos",
            Self::DyingOrigin => "dying-origin",
            Self::LyingDisk => "lying-disk",
            Self::Joining => "joining",
            Self::DeadLetters => "dead-letters",
            Self::Promises => "promises",
            Self::Membership => "membership",
            Self::Split => "split",
            Self::SilentDamage => "silent-damage",
            Self::Changing => "changing",
        }
    }

    /// The scenario of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == name)
    }
}

/// A run that kept every promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Acknowledged client transactions.
    pub acknowledged: usize,
    /// Events that happened.
    pub events: u64,
    /// Conflicts recorded, in all regions.
    pub conflicts: u64,
    /// Of the acknowledged ones, how many waited for other regions and were confirmed by them.
    pub confirmed: usize,
    /// Strong reads and reads of sessions that were answered.
    pub answered: u64,
    /// Rows mended, in all regions.
    pub mended: u64,
}

/// A run that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The scenario.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// When, in the world's time.
    pub at: Duration,
    /// The promise.
    pub violation: Violation,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} seed {} at {:.3} s: {}\nreplay: cargo run --release -p meridian-sim -- \
             --scenario {} --seed {}",
            self.scenario.name(),
            self.seed,
            self.at.as_secs_f64(),
            self.violation,
            self.scenario.name(),
            self.seed,
        )
    }
}

/// Runs one scenario from one seed.
///
/// # Errors
/// The first promise that was broken, with the command that replays it.
pub fn run(scenario: Scenario, seed: u64) -> Result<Report, Box<Failure>> {
    let level = Acknowledgement::ALL[(seed % 3) as usize];
    let majority = scenario == Scenario::Promises && level == Acknowledgement::Majority;
    let region_count = match scenario {
        Scenario::Membership => 1 + usize::try_from(seed % 3).unwrap_or(0),
        Scenario::Split => 2 + usize::try_from(seed % 4).unwrap_or(0),
        Scenario::Joining => 3,
        Scenario::Changing => 3 + usize::try_from(seed % 2).unwrap_or(0),
        _ if majority || seed.is_multiple_of(5) => 4,
        _ => 3,
    };
    let mut world = World::new(seed, region_count);
    let outcome = match scenario {
        Scenario::Chaos => chaos(&mut world),
        Scenario::DyingOrigin => dying_origin(&mut world),
        Scenario::LyingDisk => lying_disk(&mut world),
        Scenario::Joining => joining::joining(&mut world),
        Scenario::DeadLetters => crate::letters::run(&mut world),
        Scenario::Promises => promises(&mut world, level, seed.is_multiple_of(4)),
        Scenario::Membership => members::membership(&mut world),
        Scenario::Split => members::split(&mut world),
        Scenario::SilentDamage => crate::damage::silent_damage(&mut world),
        Scenario::Changing => crate::changing::changing(&mut world, level),
    };
    let report = |conflicts| Report {
        acknowledged: world.ledger.acknowledged_count(),
        events: world.events,
        conflicts,
        confirmed: world.ledger.confirmed_count(),
        answered: world.promises.as_ref().map_or(0, |it| it.answered),
        mended: world.mended,
    };
    match outcome {
        Ok(()) => Ok(report(conflicts(&world))),
        Err(violation) => Err(Box::new(Failure {
            scenario,
            seed,
            at: world.time,
            violation,
        })),
    }
}

fn conflicts(world: &World) -> u64 {
    let counts = world
        .nodes
        .iter()
        .map(|node| node.tables().conflict_counts());
    counts
        .map(|counts| counts.map_or(0, |counts| counts.total))
        .sum()
}

fn chaos(world: &mut World) -> Result<(), Violation> {
    for index in 0..world.nodes.len() {
        if world.random.bool() {
            world.nodes[index].clock_offset = world.random.i64(-5_000_000..5_000_000);
        }
    }
    world.plan(Duration::from_millis(700), Event::Fault);
    world.run_until(SAFETY, |world| {
        let pause = Duration::from_millis(world.random.u64(50..900));
        world.plan(pause, Event::Fault);
        strike(world);
    })?;
    calm(world);
    converge(world)?;
    obey_the_law(world)
}

/// One random fault.
pub(crate) fn strike(world: &mut World) {
    let count = world.nodes.len();
    let (one, other) = (world.random.usize(0..count), world.random.usize(0..count));
    match world.random.u32(0..12) {
        0 | 1 => world.network.cut(one, other),
        2 => {
            world.network.cut(one, other);
            world.network.cut(other, one);
        }
        3 => {
            for peer in 0..count {
                world.network.cut(one, peer);
                world.network.cut(peer, one);
            }
        }
        4 => {
            let (loss, duplicates) = (world.random.u32(0..40), world.random.u32(0..40));
            world.network.degrade(loss, duplicates);
        }
        5 | 6 => {
            let after = Duration::from_millis(world.random.u64(0..800));
            world.plan(after, Event::Heal);
        }
        7 => world.kill(one),
        8 | 9 => {
            let after = world.random.u64(0..12);
            world.nodes[one].disk.cut_power_after(after);
        }
        10 => world.nodes[one].clock_offset += world.random.i64(-5_000_000..5_000_000),
        _ => {
            let disk = &world.nodes[one].disk;
            disk.set_capacity(Some(disk.bytes()));
            let after = Duration::from_millis(world.random.u64(50..900));
            world.plan(after, Event::DiskFreed(one));
        }
    }
}

/// A region reaches one peer only, works on alone for a while, and is destroyed.
fn dying_origin(world: &mut World) -> Result<(), Violation> {
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
    world.run_until(Duration::from_secs(5), |_| {})?;
    calm(world);
    converge(world)?;
    let origin = own_origin(world, dying);
    let held = survivors(world).map(|index| match (&world.nodes[index].replica, origin) {
        (Some(replica), Some(origin)) => replica.marks().get(origin).sequence,
        _ => Sequence(0),
    });
    let held = held.max().unwrap_or_default();
    world.ledger.gone(dying, held);
    obey_the_law(world)
}

/// Clients are promised things under every fault; then the regions that the acknowledgement has to
/// survive are cut off together, and destroyed.
fn promises(world: &mut World, level: Acknowledgement, has_home: bool) -> Result<(), Violation> {
    let any = world.random.usize(0..world.nodes.len());
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
fn held_by_survivors(world: &World, index: usize) -> Sequence {
    let origin = own_origin(world, index);
    let held = survivors(world).map(|it| match (&world.nodes[it].replica, origin) {
        (Some(replica), Some(origin)) => replica.marks().get(origin).sequence,
        _ => Sequence(0),
    });
    held.max().unwrap_or_default()
}

fn own_origin(world: &World, index: usize) -> Option<meridian_model::OriginId> {
    let name = &world.nodes[index].name;
    survivors(world).find_map(|index| world.nodes[index].replica.as_ref()?.road().member(name))
}

fn lying_disk(world: &mut World) -> Result<(), Violation> {
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

fn disagreement(world: &World) -> Option<String> {
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
        law.check(world.nodes[index].name.as_str(), &world.nodes[index].rows())?;
    }
    world.run_until(world.time + COLLECTED_WITHIN, |_| {})?;
    let everybody = survivors(world).count() == world.nodes.len();
    for index in survivors(world) {
        let node = &world.nodes[index];
        law.check(node.name.as_str(), &node.rows())?;
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
