//! A region that joins while the others are at work: it fetches a snapshot by the production
//! machines, over the same bad network, and gets the rest by the streams.

use crate::node::LOG_CONFIG;
use crate::scenario::{calm, converge, obey_the_law};
use crate::world::{Event, World};
use meridian_check::Violation;
use meridian_engine_kv::{Import, MemoryStore};
use meridian_log::Log;
use meridian_model::{Answer, Envelope, Marks, Message, Question, Record, SnapshotHead};
use meridian_replicate::{JoinProgress as Progress, Joiner};
use std::time::Duration;

/// Small parts, so that a snapshot takes many questions and the world goes on in between.
const PART_BYTES: usize = 2 << 10;
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
const TRIMMED_WITHIN: Duration = Duration::from_secs(20);
const JOINED_WITHIN: Duration = Duration::from_secs(40);

/// A node that begins with a snapshot.
pub(crate) struct Joining {
    machine: Joiner,
    import: Option<Import<MemoryStore>>,
    asked: Option<Asked>,
    ids: u64,
    is_done: bool,
}

#[derive(Clone, Copy)]
struct Asked {
    id: u64,
    until: Duration,
}

/// The founding regions work alone until they have trimmed their logs; then one more joins.
pub(crate) fn joining(world: &mut World) -> Result<(), Violation> {
    let joiner = world.nodes.len() - 1;
    world.nodes[joiner].is_gone = true;
    let name = world.regions.pop();
    trim(world, joiner)?;
    // Either everybody counts it before it begins, or a sponsor's promise is all it has.
    let is_counted = world.random.bool();
    if is_counted {
        world.regions.extend(name.clone());
        restart(world, joiner);
    }
    begin(world, joiner);
    world.plan(Duration::ZERO, Event::Join(joiner));
    let loss = world.random.u32(0..25);
    world.network.degrade(loss, loss);
    world.plan(Duration::from_millis(100), Event::Fault);
    world.run_until(world.time + Duration::from_secs(3), |world| {
        let pause = Duration::from_millis(world.random.u64(50..700));
        world.plan(pause, Event::Fault);
        strike(world, joiner, is_counted);
    })?;
    world.network.heal();
    fetch_to_the_end(world, joiner)?;
    if !is_counted {
        world.regions.extend(name);
        restart(world, joiner);
    }
    let rest = world.time + Duration::from_secs(2);
    world.run_until(rest, |_| {})?;
    if world.random.bool() {
        world.nodes[joiner].lose_power(&mut world.random);
    }
    world.nodes[joiner].is_gone = false;
    world.plan(Duration::ZERO, Event::Start(joiner));
    // It takes writes of its own now.
    let rest = world.time + Duration::from_secs(2);
    world.run_until(rest, |_| {})?;
    calm(world);
    converge(world)?;
    obey_the_law(world)
}

/// Lets the founding regions work until one of them no longer holds the beginning.
fn trim(world: &mut World, joiner: usize) -> Result<(), Violation> {
    while world.time < TRIMMED_WITHIN {
        let rest = world.time + Duration::from_millis(500);
        world.run_until(rest, |_| {})?;
        let logs = world.nodes[..joiner].iter();
        let mut starts = logs.filter_map(|node| Some(node.replica.as_ref()?.reader().start().0));
        if starts.all(|start| start > 0) {
            return Ok(());
        }
    }
    Err(Violation::NotConverged("nothing was trimmed".to_owned()))
}

/// All processes but the joiner's begin anew and count the joiner. What they may have collected
/// by then, the joiner must have applied before it writes: a write of its own that had not seen an
/// increment would add on top of it, and they no longer keep that one apart.
fn restart(world: &mut World, joiner: usize) {
    let mut must_apply = Marks::default();
    for node in &world.nodes[..joiner] {
        for (origin, mark) in node
            .replica
            .iter()
            .flat_map(|replica| replica.marks().iter())
        {
            if mark.sequence > must_apply.get(origin).sequence {
                must_apply.set(origin, mark);
            }
        }
    }
    world.nodes[joiner].must_apply = must_apply;
    for index in 0..joiner {
        world.kill(index);
    }
}

/// A fault that joining has to survive. A sponsor that only promised to keep its log, and dies,
/// takes the promise along.
fn strike(world: &mut World, joiner: usize, is_counted: bool) {
    let sponsor = world.random.usize(0..joiner);
    match world.random.u32(0..7) {
        0 => world.network.cut(joiner, sponsor),
        1 => world.network.cut(sponsor, joiner),
        2 | 3 => world.network.heal(),
        4 if is_counted => world.kill(sponsor),
        5 => {
            world.nodes[joiner].lose_power(&mut world.random);
            begin(world, joiner);
        }
        _ => {
            let after = world.random.u64(0..8);
            world.nodes[joiner].disk.cut_power_after(after);
        }
    }
}

/// The joiner's process starts, on whatever its disk holds.
fn begin(world: &mut World, joiner: usize) {
    let is_needed = Import::is_needed(&world.nodes[joiner].store);
    let is_done = !is_needed.expect("the tables in memory are readable");
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
        is_done,
    });
}

fn fetch_to_the_end(world: &mut World, joiner: usize) -> Result<(), Violation> {
    let deadline = world.time + JOINED_WITHIN;
    loop {
        let joining = world.nodes[joiner].joining.as_ref();
        if joining.is_some_and(|joining| joining.is_done) {
            world.nodes[joiner].joining = None;
            return Ok(());
        }
        if world.time >= deadline {
            let error = joining.and_then(|joining| joining.machine.last_error());
            let reason = format!("the snapshot never came: {error:?}");
            return Err(Violation::NotConverged(reason));
        }
        let rest = world.time + Duration::from_millis(100);
        world.run_until(rest, |_| {})?;
    }
}

impl World {
    /// Asks, or asks again.
    pub(crate) fn join(&mut self, index: usize) {
        let (time, fresh) = (self.time, self.random.u64(..));
        let Some(joining) = &mut self.nodes[index].joining else {
            return;
        };
        if joining.is_done || joining.asked.is_some_and(|asked| asked.until > time) {
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
        let (
            Some(replica),
            Question::Snapshot {
                id: snapshot,
                after,
            },
        ) = (&mut self.nodes[to].replica, question)
        else {
            return Ok(());
        };
        let answer = match replica.snapshot(now, snapshot, after.is_none()) {
            Err(refusal) => refusal.answer(),
            Ok(opened) => match opened.part(after.as_deref(), PART_BYTES) {
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
        if let Progress::Records {
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
            node.lose_power(&mut self.random);
            begin(self, index);
            return Ok(());
        }
        match import.finish(head.position, &head.road) {
            Ok(()) => joining.is_done = true,
            Err(error) => return Err(self.broken(index, &error)),
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
