//! A region that joins while the others are at work and have trimmed their logs: it is added by a
//! decision, fetches a snapshot by the production machines, over the same bad network, and gets the
//! rest by the streams. Its own gate says when it takes writes.

use crate::calm::{calm, converge, obey_the_law};
use crate::members::propose;
use crate::node::LOG_CONFIG;
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_engine_kv::{Import, MemoryStore};
use meridian_log::Log;
use meridian_model::{Answer, Envelope, Message, Question, Record, RegionName, SnapshotHead};
use meridian_replicate::{JoinProgress, Joiner, OwnStanding, Proposal};
use std::time::Duration;

/// Small parts, so that a snapshot takes many questions and the world goes on in between.
const PART_BYTES: usize = 2 << 10;
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
const TRIMMED_WITHIN: Duration = Duration::from_secs(20);
const JOINED_WITHIN: Duration = Duration::from_secs(60);

/// A node that begins with a snapshot.
pub(crate) struct Joining {
    machine: Joiner,
    import: Option<Import<MemoryStore>>,
    asked: Option<Asked>,
    ids: u64,
}

#[derive(Clone, Copy)]
struct Asked {
    id: u64,
    until: Duration,
}

/// The founding regions work alone until they have trimmed their logs; then one more joins.
pub(crate) fn joining(world: &mut World) -> Result<(), Violation> {
    trim(world)?;
    let joiner = world.nodes.len();
    let region = RegionName::new(&format!("region-{joiner}"));
    world.arrive(&region);
    unrest(world, joiner, &region, strike)?;
    join_to_the_end(world, joiner, &region, |_| {})?;
    // It takes writes of its own now.
    world.run_until(world.time + Duration::from_secs(2), |_| {})?;
    calm(world);
    converge(world)?;
    has_written(world, joiner)?;
    obey_the_law(world)
}

/// The region that has arrived begins, and some time in between is added, while faults strike; then they
/// are lifted.
pub(crate) fn unrest(
    world: &mut World,
    joiner: usize,
    region: &RegionName,
    strike: impl Fn(&mut World, usize),
) -> Result<(), Violation> {
    begin(world, joiner);
    world.plan(Duration::ZERO, Event::Join(joiner));
    let loss = world.random.u32(0..25);
    world.network.degrade(loss, loss);
    world.plan(Duration::from_millis(100), Event::Fault);
    let unrest = Duration::from_secs(world.random.u64(2..7));
    world.run_until(world.time + unrest, |world| {
        let pause = Duration::from_millis(world.random.u64(50..700));
        world.plan(pause, Event::Fault);
        // Some time before it is added, it asks in vain.
        if world.random.bool() {
            add(world, region);
        }
        strike(world, joiner);
    })?;
    world.network.heal();
    world.reconnect();
    Ok(())
}

/// Lets the founding regions work until none of them holds the beginning any more.
fn trim(world: &mut World) -> Result<(), Violation> {
    while world.time < TRIMMED_WITHIN {
        let rest = world.time + Duration::from_millis(500);
        world.run_until(rest, |_| {})?;
        let logs = world.nodes.iter();
        let mut starts = logs.filter_map(|node| Some(node.replica.as_ref()?.reader().start().0));
        if starts.all(|start| start > 0) {
            return Ok(());
        }
    }
    Err(Violation::NotConverged("nothing was trimmed".to_owned()))
}

/// A person asks for the region to be added, or asks again: what is refused is in progress or done.
fn add(world: &mut World, region: &RegionName) {
    let founder = world.random.usize(0..world.nodes.len() - 1);
    let proposal = Proposal::Add {
        region: region.clone(),
        address: None,
    };
    let _ = propose(world, founder, proposal);
}

/// A fault that joining has to survive. A sponsor that dies takes along what it promised to keep
/// for the reader of a snapshot; that it counts the joiner, it remembers.
pub(crate) fn strike(world: &mut World, joiner: usize) {
    let sponsor = world.random.usize(0..joiner);
    match world.random.u32(0..8) {
        0 => world.network.cut(joiner, sponsor),
        1 => world.network.cut(sponsor, joiner),
        2 | 3 => world.network.heal(),
        4 => world.kill(sponsor),
        5 => world.crash(sponsor),
        6 => fail_power(world, joiner),
        _ => {
            let after = world.random.u64(0..8);
            world.nodes[joiner].disk.cut_power_after(after);
        }
    }
}

/// The joiner's power goes, whatever it is at.
fn fail_power(world: &mut World, joiner: usize) {
    world.crash(joiner);
    begin(world, joiner);
}

/// The joiner's process starts, on whatever its disk holds: where there are tables, it is a region
/// like any other.
fn begin(world: &mut World, joiner: usize) {
    let is_needed = Import::is_needed(&world.nodes[joiner].store);
    if !is_needed.expect("the tables in memory are readable") {
        world.nodes[joiner].joining = None;
        return;
    }
    let fresh = world.random.u64(..);
    let mut candidates = world.regions[..joiner].to_vec();
    let first = world.random.usize(0..candidates.len());
    candidates.rotate_left(first);
    world.nodes[joiner].joining = Some(Joining {
        machine: Joiner::new(candidates, fresh),
        import: None,
        asked: None,
        // Answers to an earlier process must not be taken for answers to this one.
        ids: fresh >> 1,
    });
}

/// Runs until every region knows that the joiner votes; `meanwhile` happens ten times a second.
pub(crate) fn join_to_the_end(
    world: &mut World,
    joiner: usize,
    region: &RegionName,
    mut meanwhile: impl FnMut(&mut World),
) -> Result<(), Violation> {
    let deadline = world.time + JOINED_WITHIN;
    while let Some(reason) = unjoined(world, joiner) {
        if world.time >= deadline {
            return Err(Violation::NotConverged(reason));
        }
        add(world, region);
        meanwhile(world);
        world.run_until(world.time + Duration::from_millis(100), |_| {})?;
    }
    Ok(())
}

/// What is missing yet.
fn unjoined(world: &World, joiner: usize) -> Option<String> {
    if let Some(joining) = &world.nodes[joiner].joining {
        let error = joining.machine.last_error();
        return Some(format!("the snapshot never came: {error:?}"));
    }
    // What the joiner waits for says most.
    world.nodes.iter().rev().find_map(|node| {
        let Some(replica) = &node.replica else {
            return Some(format!("{} is down: {:?}", node.name, node.refused));
        };
        let standing = replica.standing();
        let voters = replica.epoch().voters().count();
        let is_settled = standing == OwnStanding::Voting && voters == world.nodes.len();
        let peers = || replica.peers(node.now(world.time));
        (!is_settled).then(|| {
            format!(
                "{} is {standing:?} in {:?}, {:?} is being decided, its peers are {:?}",
                node.name,
                replica.epoch(),
                replica.proposal(),
                peers()
            )
        })
    })
}

fn has_written(world: &World, joiner: usize) -> Result<(), Violation> {
    let node = &world.nodes[joiner];
    match world.ledger.origin_of(node.life) {
        Some(_) => Ok(()),
        None => Err(Violation::NotConverged(format!(
            "{} never took a write",
            node.name
        ))),
    }
}

impl World {
    /// Asks, or asks again.
    pub(crate) fn join(&mut self, index: usize) {
        let (time, fresh) = (self.time, self.random.u64(..));
        let Some(joining) = &mut self.nodes[index].joining else {
            return;
        };
        if joining.asked.is_some_and(|asked| asked.until > time) {
            return;
        }
        if joining.asked.is_some() {
            joining.machine.unanswered("no answer", fresh);
        }
        joining.ids += 1;
        let (id, question) = (joining.ids, joining.machine.question());
        let sponsor = joining.machine.sponsor().clone();
        joining.asked = Some(Asked {
            id,
            until: time + ANSWER_WITHIN,
        });
        let Some(to) = self.regions.iter().position(|region| *region == sponsor) else {
            return;
        };
        for delay in self.network.delays(index, to) {
            let question = question.clone();
            let event = Event::Asked {
                from: index,
                to,
                id,
                question,
            };
            self.plan(delay, event);
        }
    }

    /// A region is asked for a snapshot, in the middle of whatever it does.
    pub(crate) fn asked(
        &mut self,
        from: usize,
        to: usize,
        id: u64,
        question: Question,
    ) -> Result<(), Violation> {
        let now = self.nodes[to].now(self.time);
        let asker = self.regions[from].clone();
        let node = &mut self.nodes[to];
        let (
            Some(replica),
            Question::Snapshot {
                id: snapshot,
                after,
            },
        ) = (&mut node.replica, question)
        else {
            return Ok(());
        };
        // As in a server: only for a member that has yet to begin is everything kept.
        let member = node.published.members.get(&asker);
        let is_expected = member.is_some_and(|member| member.origin.is_none());
        let opened = is_expected.then(|| replica.snapshot(now, snapshot, after.is_none()));
        let answer = match opened {
            None => Answer::Unavailable {
                reason: format!("region {asker} isn't expected to join there"),
            },
            Some(Err(refusal)) => refusal.answer(),
            Some(Ok(opened)) => match opened.part(after.as_deref(), PART_BYTES) {
                Ok(part) => Answer::Snapshot(part),
                Err(error) => return Err(self.broken(to, &error)),
            },
        };
        let envelope = Envelope {
            dataset: "main".to_owned(),
            message: Message::Answer { id, answer },
        };
        let decoded = Envelope::decode(&envelope.encode());
        let message = decoded.map_err(|error| self.broken(to, &error))?.message;
        let Message::Answer { id, answer } = message else {
            return Ok(());
        };
        for delay in self.network.delays(to, from) {
            let answer = answer.clone();
            self.plan(
                delay,
                Event::Answered {
                    to: from,
                    id,
                    answer,
                },
            );
        }
        Ok(())
    }

    /// The joiner hears something.
    pub(crate) fn answered(
        &mut self,
        index: usize,
        id: u64,
        answer: Answer,
    ) -> Result<(), Violation> {
        let fresh = self.random.u64(..);
        let Some(joining) = &mut self.nodes[index].joining else {
            return Ok(());
        };
        if joining.asked.is_none_or(|asked| asked.id != id) {
            return Ok(());
        }
        joining.asked = None;
        if let JoinProgress::Records {
            begins,
            records,
            end,
        } = joining.machine.answered(answer, fresh)
        {
            self.take(index, begins, &records, end)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        index: usize,
        begins: bool,
        records: &[Record],
        end: Option<SnapshotHead>,
    ) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        let Some(joining) = &mut node.joining else {
            return Ok(());
        };
        if begins {
            joining.import = None;
        }
        let mut import = match joining.import.take() {
            Some(import) => import,
            None => match Import::begin(node.store.clone()) {
                Ok(import) => import,
                Err(error) => return Err(self.broken(index, &error)),
            },
        };
        if let Err(error) = import.take(records) {
            return Err(self.broken(index, &error));
        }
        let Some(head) = end else {
            joining.import = Some(import);
            return Ok(());
        };
        let log = Log::begin_anew(node.disk.clone(), LOG_CONFIG, head.position, &head.marks);
        if log.is_err() {
            // Only the power can fail it.
            fail_power(self, index);
            return Ok(());
        }
        if let Err(error) = import.finish(head.position, &head.road) {
            return Err(self.broken(index, &error));
        }
        node.joining = None;
        match self.random.bool() {
            true => self.crash(index),
            false => self.plan(Duration::ZERO, Event::Start(index)),
        }
        Ok(())
    }

    fn broken(&self, index: usize, error: &dyn std::error::Error) -> Violation {
        Violation::Broken {
            region: self.nodes[index].name.to_string(),
            what: error.to_string(),
        }
    }
}
