//! Runs: which faults strike, and what must hold in the end.

use crate::joining;
use crate::members;
use crate::postgres::Met;
use crate::world::World;
use meridian_check::Violation;
use meridian_model::Acknowledgement;
use std::time::Duration;

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
    /// Two regions and a witness, of which one is destroyed, is evicted by the two others and comes
    /// back.
    Witness,
    /// Regions come and go while clients count on acknowledgements and strong reads.
    Changing,
    /// A region is removed while clients count on acknowledgements, and is destroyed as soon as it
    /// counts no more, with as many others as these have to survive.
    Leaving,
    /// What regions say of each other and answer their clients while links and regions fail: a pattern
    /// of three regions, then five regions under anything.
    Health,
    /// A PostgreSQL server beside each region, to which applications write while servers, regions and
    /// links fail.
    Postgres,
    /// A region joins others that have servers, with one of its own to which applications write all the
    /// while.
    PostgresJoining,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Chaos,
        Self::DyingOrigin,
        Self::LyingDisk,
        Self::Joining,
        Self::DeadLetters,
        Self::Promises,
        Self::Membership,
        Self::Split,
        Self::SilentDamage,
        Self::Witness,
        Self::Changing,
        Self::Leaving,
        Self::Postgres,
        Self::PostgresJoining,
        Self::Health,
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
            Self::Witness => "witness",
            Self::Changing => "changing",
            Self::Leaving => "leaving",
            Self::Postgres => "postgres",
            Self::PostgresJoining => "postgres-joining",
            Self::Health => "health",
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
    /// Transactions by which servers of regions that join absorbed what these had by then.
    pub absorbing: usize,
    /// Strong reads, reads of sessions and clients to be steered that were answered.
    pub answered: u64,
    /// Rows mended, in all regions.
    pub mended: u64,
    /// What came of meetings of servers of PostgreSQL and their regions.
    pub met: Met,
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
        Scenario::Joining | Scenario::Witness => 3,
        Scenario::PostgresJoining => 2 + usize::try_from(seed % 2).unwrap_or(0),
        Scenario::Changing => 3 + usize::try_from(seed % 2).unwrap_or(0),
        Scenario::Leaving => 2 + usize::try_from(seed % 4).unwrap_or(0),
        _ if majority || seed.is_multiple_of(5) => 4,
        _ => 3,
    };
    let mut world = World::new(seed, region_count);
    if scenario == Scenario::Promises && seed % 7 == 3 {
        crate::witness::appoint(&mut world, region_count - 1);
    }
    let outcome = match scenario {
        Scenario::Chaos => crate::chaos::chaos(&mut world),
        Scenario::DyingOrigin => crate::lost::dying_origin(&mut world),
        Scenario::LyingDisk => crate::lost::lying_disk(&mut world),
        Scenario::Joining => joining::joining(&mut world),
        Scenario::DeadLetters => crate::letters::run(&mut world),
        Scenario::Promises => crate::lost::promises(&mut world, level, seed.is_multiple_of(4)),
        Scenario::Membership => members::membership(&mut world),
        Scenario::Split => members::split(&mut world),
        Scenario::SilentDamage => crate::damage::silent_damage(&mut world),
        Scenario::Witness => crate::witness::witness(&mut world),
        Scenario::Changing => crate::changing::changing(&mut world, level),
        Scenario::Leaving => crate::leaving::leaving(&mut world, level),
        Scenario::Postgres => crate::postgres::postgres(&mut world, seed % 4 == 1),
        Scenario::PostgresJoining => crate::postgres::joining(&mut world, seed % 4 == 1),
        Scenario::Health => return health(seed),
    };
    let report = |conflicts| Report {
        acknowledged: world.ledger.acknowledged_count(),
        events: world.events,
        conflicts,
        confirmed: world.ledger.confirmed_count(),
        absorbing: world.ledger.absorbing_count(),
        answered: world.promises.as_ref().map_or(0, |it| it.answered),
        mended: world.mended,
        met: world.met,
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

fn health(seed: u64) -> Result<Report, Box<Failure>> {
    let outcome = crate::health::health(seed);
    match outcome.result {
        Ok(()) => Ok(Report {
            acknowledged: 0,
            events: outcome.events,
            conflicts: 0,
            confirmed: 0,
            absorbing: 0,
            answered: outcome.answered,
            mended: 0,
            met: Met::default(),
        }),
        Err(violation) => Err(Box::new(Failure {
            scenario: Scenario::Health,
            seed,
            at: outcome.at,
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
