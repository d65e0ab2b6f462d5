//! Regions whose rows are in PostgreSQL: a model of a server beside each, applications that write to
//! it, and between server and replica what production runs there: capture's folding, the replica's
//! captured transactions and the projection's machine, joined as `crates/node/src/postgres` joins
//! them.
//!
//! What must hold beside what holds for every dataset: nothing is overwritten before capture has seen
//! it; each transaction of an application is captured once, and nothing that the projection wrote
//! is; what the slot was told to forget is in the log; no reader of a server sees half of a transfer
//! between counters; in the end every server shows exactly what the tables show.

mod agent;
mod application;
mod constraints;
mod join;
mod joining;
mod older;
mod schema;
mod server;
mod truth;

use crate::calm::{calm, converge, obey_the_law};
use crate::chaos::{SAFETY, strike};
use crate::world::{Event, World};
use agent::Agent;
use join::{Directory, Meeting, Operator};
pub(crate) use joining::joining;
use meridian_check::{RowKey, Violation};
use meridian_engine_postgres::Lsn;
use meridian_model::{OriginId, Position};
use older::Copy;
use server::Server;
use std::collections::BTreeSet;
use std::time::Duration;
use truth::Truth;

const AT_REST_WITHIN: Duration = Duration::from_secs(60);

/// A server and what joins it to its region's replica.
#[derive(Default)]
pub(crate) struct Beside {
    server: Server,
    /// Whether applications write many rows in one transaction, too.
    writes_large: bool,
    /// `None` while there is no connection.
    agent: Option<Agent>,
    /// The two meet.
    meeting: Option<Meeting>,
    directory: Directory,
    /// A copy of the directory from before.
    copy: Option<Copy>,
    operator: Operator,
    truth: Truth,
}

/// What came of meetings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// How often a server and its region met again.
    pub meetings: u64,
    /// How often somebody was asked.
    pub asked: u64,
    /// Rows that were taken over.
    pub taken: u64,
    /// Which server was struck last.
    last: Option<usize>,
}

impl Beside {
    /// The region's process has ended, and its connections with it.
    pub(crate) fn process_ended(&mut self) {
        self.disconnect();
    }

    fn disconnect(&mut self) {
        (self.agent, self.meeting) = (None, None);
        self.server.forget_holds();
    }

    /// From where on the log is needed, as long as nothing is known of the server.
    pub(crate) fn kept_from(&self, origin: OriginId) -> Option<Position> {
        self.directory.noted.needs(origin)
    }

    fn is_at_rest(&self, world: &World, index: usize) -> Result<(), String> {
        let name = &world.nodes[index].name;
        let Some(agent) = &self.agent else {
            return Err(format!("{name} has no connection to its server"));
        };
        let Some(replica) = &world.nodes[index].replica else {
            return Err(format!("{name} is down"));
        };
        agent
            .is_at_rest(&self.server, replica)
            .map_err(|what| format!("{name}: {what}"))
    }
}

/// Every fault of chaos, and those of servers, while applications write to all of them.
pub(crate) fn postgres(world: &mut World, writes_large: bool) -> Result<(), Violation> {
    world.clients_act = false;
    // Drawn apart: the other runs go on as they would.
    let mut apart = world.random.clone();
    let puts_directories_back = apart.u32(0..4) == 0;
    for index in 0..world.nodes.len() {
        equip(world, index, writes_large);
        let server = &mut world.postgres[index].server;
        server.is_strict = puts_directories_back && apart.bool();
        if world.random.bool() {
            world.nodes[index].clock_offset = world.random.i64(-5_000_000..5_000_000);
        }
    }
    world.postgres[0].server.make_purses();
    world.applications_act = true;
    world.plan(Duration::from_millis(1_500), Event::Fault);
    world.run_until(SAFETY, |world| {
        let pause = Duration::from_millis(world.random.u64(50..900));
        world.plan(pause, Event::Fault);
        let copied = world.postgres.iter().position(|it| it.copy.is_some());
        match copied.filter(|_| world.random.bool()) {
            Some(index) => world.put_directory_back(index),
            None if world.random.u32(0..3) == 0 => strike_server(world, puts_directories_back),
            None => strike(world),
        }
    })?;
    end_well(world)
}

/// Puts a server beside the last region, with applications that write to it.
fn equip(world: &mut World, index: usize, writes_large: bool) {
    world.nodes[index].captures = true;
    world.postgres.push(Beside {
        writes_large,
        ..Beside::default()
    });
    world.plan(Duration::from_millis(3), Event::Application(index));
    world.plan(Duration::from_millis(4), Event::Agent(index));
}

/// The transactions that are open end.
fn end_all(world: &mut World) {
    for beside in &mut world.postgres {
        beside.server.end_all();
    }
}

/// Nobody writes any more, every fault is lifted, and everything must be as it should.
fn end_well(world: &mut World) -> Result<(), Violation> {
    world.applications_act = false;
    end_all(world);
    calm(world);
    come_to_rest(world)?;
    converge(world)?;
    come_to_rest(world)?;
    obey_the_law(world)?;
    check(world)
}

fn strike_server(world: &mut World, puts_directories_back: bool) {
    let random = &mut world.random;
    // Troubles don't come alone.
    let index = match world.met.last {
        Some(last) if random.bool() => last,
        _ => random.usize(0..world.postgres.len()),
    };
    world.met.last = Some(index);
    let beside = &mut world.postgres[index];
    let server = &mut beside.server;
    match random.u32(0..if puts_directories_back { 24 } else { 12 }) {
        0..3 => return server.rewrite(random),
        3..6 => server.crash(),
        6..8 => server.drop_slot(),
        8..11 => {
            let to = earlier(server, random);
            // Nothing tells of the end of a WAL that is lost and written anew before its mark.
            let would_tell = server.was_marked_since(to) && beside.directory.knows_mark_of(server);
            if random.u32(0..3) == 0 && would_tell {
                server.put_back(to, random.bool());
            } else {
                server.fail_over(to);
            }
        }
        11 => server.replace(),
        _ => return world.copy_directory(index),
    }
    beside.disconnect();
}

/// A place in the WAL, mostly close to its end.
fn earlier(server: &Server, random: &mut fastrand::Rng) -> Lsn {
    let end = server.wal_end().0;
    let most = match random.u32(0..4) {
        0 => end,
        1 => 3,
        _ => 40,
    };
    Lsn(end - random.u64(0..=most.min(end)))
}

fn come_to_rest(world: &mut World) -> Result<(), Violation> {
    let deadline = world.time + AT_REST_WITHIN;
    loop {
        world.run_until(world.time + Duration::from_millis(500), |_| {})?;
        let nodes = world.postgres.iter().enumerate();
        let restless = nodes
            .map(|(index, beside)| beside.is_at_rest(world, index))
            .find_map(Result::err);
        match restless {
            None => return Ok(()),
            Some(reason) if world.time >= deadline => return Err(Violation::NotConverged(reason)),
            Some(_) => {}
        }
    }
}

/// Every server shows what its tables show, and each of its transactions was captured once.
fn check(world: &World) -> Result<(), Violation> {
    for (node, beside) in world.nodes.iter().zip(&world.postgres) {
        let broken = |what: String| Violation::Broken {
            region: node.name.to_string(),
            what,
        };
        let tables = node.rows();
        let shown = beside.server.shown();
        let out = constraints::kept_out(&tables, &beside.server);
        for key in tables.keys().chain(shown.keys()) {
            if tables
                .get(key)
                .is_some_and(|row| beside.server.leaves(key, row))
            {
                continue;
            }
            let found = shown.get(key);
            let expected = tables.get(key).filter(|_| !out.contains(key));
            let expected = expected.map(|row| beside.server.as_row(key, &row.document));
            if found != expected.as_ref() {
                return Err(broken(format!(
                    "the server shows {found:?} as row {key:?}, the tables {expected:?}"
                )));
            }
        }
        let parked = beside.server.parked().map(|it| &it.row);
        let parked: BTreeSet<RowKey> = parked
            .map(|row| (row.table.clone(), row.key.clone()))
            .collect();
        if parked != out {
            return Err(broken(format!(
                "the server says that {parked:?} are kept out, and {out:?} are"
            )));
        }
        let (truth, ledger) = (&beside.truth, &world.ledger);
        if let Some(number) = truth.repeated(ledger) {
            return Err(broken(format!("transaction {number} was captured twice")));
        }
        // What was committed before the two met last, they have compared.
        let mut told = beside.server.numbers(beside.server.told_from);
        if let Some(number) = told.find(|number| truth.times(ledger, *number) == 0) {
            return Err(broken(format!("transaction {number} was never captured")));
        }
    }
    Ok(())
}
