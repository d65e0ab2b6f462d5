//! Clients who hold the system to its promises: writers who count on acknowledgements, readers who
//! ask for strong reads, and sessions that roam between regions.
//!
//! They use the machines that decide in production ([`Acknowledgements`], [`StrongRead`],
//! [`meridian_replicate::has_reached`]) over the world's network, where questions and answers are late, lost and
//! doubled like everything else.

mod desk;
mod forwards;

use crate::node::request;
use crate::world::{Event, Link, World};
use meridian_check::{Action, Reading, Register, Session};
use meridian_model::{Acknowledgement, Answer, Message, OriginId, Question, Sequence, Vector};
use meridian_replicate::{Acknowledgements, OwnStanding, StrongRead};
use serde_json::{Value, json};
use std::time::Duration;

const TABLE: &str = "promises";
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(400);
const READ_WITHIN: Duration = Duration::from_secs(1);
const ROAMERS: usize = 3;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The writer of a node's register.
    Writer(usize),
    /// The strong reader in a node.
    Reader(usize),
    /// A client that roams.
    Roamer(usize),
    /// A client of a node that hands its writes on.
    Forwarder(usize),
}

/// What waits for a commit, or for other regions.
#[derive(Clone, Debug)]
enum Pending {
    Write(Write),
    Read(StrongReading),
    Roamed { roamer: usize, number: u64 },
    Forwarded { link: Link, id: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Write {
    register: usize,
    number: u64,
    origin: OriginId,
    sequence: Sequence,
}

/// A strong read under way.
#[derive(Clone, Debug)]
struct StrongReading {
    id: u64,
    register: usize,
    reading: Reading,
    asked: StrongRead,
    /// The epoch by which it reckons.
    epoch: u64,
    since: Duration,
    found: u64,
}

/// What a roaming client is about to do in a node.
#[derive(Clone, Debug)]
struct Visit {
    roamer: usize,
    writes: bool,
    since: Duration,
}

#[derive(Clone, Debug, Default)]
struct Roamer {
    session: Session,
    token: Vector,
    generation: u64,
    number: u64,
    is_busy: bool,
}

/// What goes on at one node.
struct Desk {
    /// In the round under way.
    staged: Vec<(Option<Sequence>, Pending)>,
    waiting: Acknowledgements<Pending>,
    reads: Vec<StrongReading>,
    visits: Vec<Visit>,
    is_writing: bool,
}

/// All promises and who holds the system to them.
pub(crate) struct Promises {
    level: Acknowledgement,
    /// The node that takes all writes of registers, where there is one.
    home: Option<usize>,
    desks: Vec<Desk>,
    registers: Vec<Register>,
    roamers: Vec<Roamer>,
    forwards: forwards::Forwards,
    /// The last question's number.
    last_read: u64,
    /// Strong reads and visits that were answered.
    pub(crate) answered: u64,
}

impl Promises {
    fn new(level: Acknowledgement, home: Option<usize>, nodes: usize) -> Self {
        Self {
            level,
            home,
            desks: (0..nodes).map(|_| Desk::new(level)).collect(),
            registers: vec![Register::default(); nodes],
            roamers: vec![Roamer::default(); ROAMERS],
            forwards: forwards::Forwards::default(),
            last_read: 0,
            answered: 0,
        }
    }
}

impl Desk {
    fn new(level: Acknowledgement) -> Self {
        Self {
            staged: Vec::new(),
            waiting: Acknowledgements::new(level, ACKNOWLEDGED_WITHIN),
            reads: Vec::new(),
            visits: Vec::new(),
            is_writing: false,
        }
    }
}

fn register_key(register: usize) -> String {
    format!("register-{register}")
}

fn own_key(name: usize, roamer: &Roamer) -> String {
    format!("roamer-{name}-{}", roamer.generation)
}

fn number(document: Option<&Value>) -> u64 {
    document.and_then(|it| it["n"].as_u64()).unwrap_or(0)
}

/// What the writer of a row had seen.
fn causes(document: Option<&Value>) -> Vec<(String, u64)> {
    let Some((key, number)) = document.and_then(|it| it["key"].as_str().zip(it["seen"].as_u64()))
    else {
        return Vec::new();
    };
    vec![(key.to_owned(), number)]
}

impl World {
    /// Lets the clients of promises begin.
    pub(crate) fn promise(&mut self, level: Acknowledgement, home: Option<usize>) {
        self.promises = Some(Promises::new(level, home, self.nodes.len()));
        for node in 0..self.nodes.len() {
            self.promise_at(node);
            self.plan(Duration::from_millis(9), Event::Act(Actor::Forwarder(node)));
        }
        for roamer in 0..ROAMERS {
            self.plan(Duration::from_millis(9), Event::Act(Actor::Roamer(roamer)));
        }
    }

    /// The same without clients who go from region to region, or have their writes handed on: what
    /// they saw may be lost with a region that is given up.
    pub(crate) fn promise_registers(&mut self, level: Acknowledgement) {
        self.promises = Some(Promises::new(level, None, self.nodes.len()));
        for node in 0..self.nodes.len() {
            self.promise_at(node);
        }
    }

    /// A node has clients of its own.
    fn promise_at(&mut self, node: usize) {
        self.plan(Duration::from_millis(7), Event::Act(Actor::Writer(node)));
        self.plan(Duration::from_millis(8), Event::Act(Actor::Reader(node)));
    }

    /// A node came into the world.
    pub(crate) fn promise_newcomer(&mut self) {
        let Some(promises) = &mut self.promises else {
            return;
        };
        let level = promises.level;
        promises.desks.push(Desk::new(level));
        promises.registers.push(Register::default());
        self.promise_at(self.nodes.len() - 1);
    }

    pub(crate) fn act(&mut self, actor: Actor) {
        let pause = Duration::from_micros(self.random.u64(2_000..50_000));
        self.plan(pause, Event::Act(actor));
        let Some(mut promises) = self.promises.take() else {
            return;
        };
        if self.clients_act {
            match actor {
                Actor::Writer(node) => self.write_register(&mut promises, node),
                Actor::Reader(node) => self.begin_strong_read(&mut promises, node),
                Actor::Roamer(roamer) => self.visit(&mut promises, roamer),
                Actor::Forwarder(node) => self.hand_on(&mut promises, node),
            }
        }
        self.promises = Some(promises);
    }

    /// Stages a row; gives its entry's origin and sequence.
    fn put(&mut self, index: usize, key: String, document: String) -> Option<(OriginId, Sequence)> {
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let replica = node.replica.as_mut()?;
        if !replica.is_settled(now) {
            return None;
        }
        let before = replica.staged().len();
        let request = request(&[(TABLE.to_owned(), key, Action::Put(document))]);
        // A refusal is an answer like any other; nothing is staged then.
        let _ = replica.write(now, |tables, version| tables.execute(version, &request));
        let staged = self.wrote(index, before)?;
        let pause = Duration::from_micros(self.random.u64(0..3_000));
        self.plan(pause, Event::Flush(index));
        Some(staged)
    }

    fn write_register(&mut self, promises: &mut Promises, index: usize) {
        let takes_writes = promises.home.is_none_or(|home| home == index);
        let is_up = self.nodes[index].replica.is_some();
        let is_witness = self.nodes[index].is_witness();
        if promises.desks[index].is_writing || !takes_writes || !is_up || is_witness {
            return;
        }
        let number = promises.registers[index].send();
        let document = json!({ "n": number }).to_string();
        let Some((origin, sequence)) = self.put(index, register_key(index), document) else {
            return;
        };
        let write = Write {
            register: index,
            number,
            origin,
            sequence,
        };
        let desk = &mut promises.desks[index];
        desk.is_writing = true;
        desk.staged.push((Some(sequence), Pending::Write(write)));
    }

    fn begin_strong_read(&mut self, promises: &mut Promises, index: usize) {
        let Some(replica) = &self.nodes[index].replica else {
            return;
        };
        if replica.is_witness() {
            return;
        }
        let own = replica.region().clone();
        let mut others = replica.members();
        others.retain(|member| *member != own);
        let held = replica.marks().vector();
        let asked = match promises.home {
            Some(home) if home == index => StrongRead::at_home(held),
            Some(home) => StrongRead::of_home(&self.regions[home]),
            None => {
                if !replica.may_read_strongly() {
                    return;
                }
                let stays = replica.standing() == OwnStanding::Voting;
                StrongRead::of_members(promises.level, held, &others, stays)
            }
        };
        let epoch = replica.epoch().number;
        promises.last_read += 1;
        let any = self.random.usize(0..promises.registers.len());
        let register = promises.home.unwrap_or(any);
        let mut read = StrongReading {
            id: promises.last_read,
            register,
            reading: promises.registers[register].begin(),
            asked,
            epoch,
            since: self.time,
            found: 0,
        };
        for region in read.asked.asked() {
            let sender = self.regions.iter().position(|it| *it == region);
            let link = sender.and_then(|it| Some((it, *self.links.get(&(index, it))?)));
            let Some((sender, id)) = link else {
                read.asked.failed(&region, "no link");
                continue;
            };
            let link = Link {
                receiver: index,
                sender,
                id,
            };
            let question = Question::Held;
            let ask = Message::Ask {
                id: read.id,
                question,
            };
            self.send(index, sender, link, ask);
        }
        promises.desks[index].reads.push(read);
        self.plan(Duration::ZERO, Event::Flush(index));
    }

    /// What a node answers to a question: what its log holds.
    pub(crate) fn answer(&self, index: usize, asker: usize, id: u64) -> Option<Message> {
        let node = &self.nodes[index];
        let replica = node.replica.as_ref()?;
        // As in a server: who counts no more, or goes by an earlier epoch, gets no answer to reckon
        // with.
        let answer = Answer::Held(replica.marks().vector());
        let vouches = replica.vouches_for(&self.regions[asker]);
        vouches.then_some(Message::Answer { id, answer })
    }

    /// An answer came back.
    pub(crate) fn heard(&mut self, index: usize, from: usize, id: u64, answer: &Answer) {
        let Some(promises) = &mut self.promises else {
            return;
        };
        let mut reads = promises.desks[index].reads.iter_mut();
        if let (Some(read), Answer::Held(held)) = (reads.find(|read| read.id == id), answer) {
            read.asked.answered(&self.regions[from], held);
        }
    }

    fn visit(&mut self, promises: &mut Promises, name: usize) {
        let index = self.random.usize(0..self.nodes.len());
        let other = self.random.usize(0..ROAMERS);
        if self.random.u32(0..20) == 0 && other != name {
            // Another client hands over its token.
            let given = promises.roamers[other].clone();
            let roamer = &mut promises.roamers[name];
            roamer.session.follow(&given.session);
            roamer.token.raise_all(&given.token);
        }
        let serves = self.nodes[index].replica.is_some() && !self.nodes[index].is_witness();
        if promises.roamers[name].is_busy || !serves {
            return;
        }
        promises.roamers[name].is_busy = true;
        promises.desks[index].visits.push(Visit {
            roamer: name,
            writes: self.random.bool(),
            since: self.time,
        });
        self.plan(Duration::ZERO, Event::Flush(index));
    }
}

impl Roamer {
    /// What became of its last write is unknown: its row may change behind its back.
    fn begin_anew(&mut self) {
        self.generation += 1;
        self.number = 0;
    }
}
