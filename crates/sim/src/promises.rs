//! Clients who hold the system to its promises: writers who count on acknowledgements, readers who
//! ask for strong reads, and sessions that roam between regions.
//!
//! They use the machines that decide in production ([`Acknowledgements`], [`StrongRead`],
//! [`has_reached`]) over the world's network, where questions and answers are late, lost and
//! doubled like everything else.

use crate::node::{Node, request};
use crate::world::{Event, Link, World};
use meridian_check::{Action, Reading, Register, Session, Violation};
use meridian_model::{
    Acknowledgement, Answer, Message, OriginId, Question, RegionName, Sequence, Vector,
};
use meridian_replicate::{Acknowledgements, Progress, StrongRead, has_reached};
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
}

/// What waits for a commit, or for other regions.
#[derive(Clone, Debug)]
enum Pending {
    Write(Write),
    Read(StrongReading),
    Roamed { roamer: usize, number: u64 },
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
    pub(crate) level: Acknowledgement,
    desks: Vec<Desk>,
    registers: Vec<Register>,
    roamers: Vec<Roamer>,
    last_read: u64,
    /// Strong reads and visits that were answered.
    pub(crate) answered: u64,
}

impl Promises {
    pub(crate) fn new(level: Acknowledgement, nodes: usize) -> Self {
        Self {
            level,
            desks: (0..nodes).map(|_| Desk::new(level)).collect(),
            registers: vec![Register::default(); nodes],
            roamers: vec![Roamer::default(); ROAMERS],
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
    pub(crate) fn promise(&mut self, level: Acknowledgement) {
        self.promises = Some(Promises::new(level, self.nodes.len()));
        for node in 0..self.nodes.len() {
            self.plan(Duration::from_millis(7), Event::Act(Actor::Writer(node)));
            self.plan(Duration::from_millis(8), Event::Act(Actor::Reader(node)));
        }
        for roamer in 0..ROAMERS {
            self.plan(Duration::from_millis(9), Event::Act(Actor::Roamer(roamer)));
        }
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
        let entry = replica.staged().get(before)?;
        let staged = (entry.origin, entry.sequence);
        self.ledger.staged(index, entry);
        let pause = Duration::from_micros(self.random.u64(0..3_000));
        self.plan(pause, Event::Flush(index));
        Some(staged)
    }

    fn write_register(&mut self, promises: &mut Promises, index: usize) {
        if promises.desks[index].is_writing || self.nodes[index].replica.is_none() {
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
        let own = replica.region().clone();
        let members = replica.members().iter();
        let others: Vec<RegionName> = members.filter(|it| **it != own).cloned().collect();
        let asked = StrongRead::of_members(promises.level, replica.marks().vector(), &others);
        promises.last_read += 1;
        let register = self.random.usize(0..promises.registers.len());
        let mut read = StrongReading {
            id: promises.last_read,
            register,
            reading: promises.registers[register].begin(),
            asked,
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
    pub(crate) fn answer(&self, index: usize, id: u64) -> Option<Message> {
        let replica = self.nodes[index].replica.as_ref()?;
        let answer = Answer::Held(replica.marks().vector());
        Some(Message::Answer { id, answer })
    }

    /// An answer came back.
    pub(crate) fn answered(&mut self, index: usize, from: usize, id: u64, answer: &Answer) {
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
        if promises.roamers[name].is_busy || self.nodes[index].replica.is_none() {
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

    /// A node's round is committed, and what waits for it, or for other regions, may go on.
    pub(crate) fn promises_committed(&mut self, index: usize) -> Result<(), Violation> {
        let Some(mut promises) = self.promises.take() else {
            return Ok(());
        };
        let outcome = self.go_on(&mut promises, index);
        self.promises = Some(promises);
        outcome
    }

    fn go_on(&mut self, promises: &mut Promises, index: usize) -> Result<(), Violation> {
        self.acknowledge_staged(promises, index);
        self.read_strongly(promises, index);
        self.receive_visits(promises, index)?;
        let node = &self.nodes[index];
        let Some(replica) = &node.replica else {
            return Ok(());
        };
        let waiting = &mut promises.desks[index].waiting;
        let due = waiting.due(node.now(self.time), replica.holdings());
        for (pending, outcome) in due {
            self.settle(promises, index, pending, outcome.is_ok())?;
        }
        Ok(())
    }

    fn acknowledge_staged(&mut self, promises: &mut Promises, index: usize) {
        let node = &self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &node.replica else {
            return;
        };
        let desk = &mut promises.desks[index];
        for (sequence, pending) in std::mem::take(&mut desk.staged) {
            match sequence {
                Some(sequence) => desk.waiting.wait_for_write(now, sequence, pending),
                None => {
                    let marks = replica.marks().clone();
                    desk.waiting.wait_for_all(now, marks, pending);
                }
            }
        }
    }

    fn settle(
        &mut self,
        promises: &mut Promises,
        index: usize,
        pending: Pending,
        is_held: bool,
    ) -> Result<(), Violation> {
        match pending {
            Pending::Write(write) => {
                promises.desks[index].is_writing = false;
                if is_held {
                    promises.registers[write.register].acknowledged(write.number);
                    self.ledger.confirmed(write.origin, write.sequence);
                }
                Ok(())
            }
            Pending::Read(read) if is_held => end(promises, &self.nodes[index], &read),
            Pending::Read(_) => Ok(()),
            Pending::Roamed { roamer, number } => {
                let applied = self.nodes[index].replica.as_ref();
                let applied = applied.map(|replica| replica.marks().vector());
                let roamer_key = own_key(roamer, &promises.roamers[roamer]);
                let roamer = &mut promises.roamers[roamer];
                roamer.is_busy = false;
                if is_held {
                    roamer.session.wrote(&roamer_key, number);
                    roamer.token.raise_all(&applied.unwrap_or_default());
                } else {
                    roamer.begin_anew();
                }
                Ok(())
            }
        }
    }

    /// Strong reads that have heard enough, and whose node has applied it, read.
    fn read_strongly(&mut self, promises: &mut Promises, index: usize) {
        let node = &self.nodes[index];
        let Some(replica) = &node.replica else {
            return;
        };
        let applied = replica.marks().vector();
        let (time, desk) = (self.time, &mut promises.desks[index]);
        let mut left = Vec::new();
        for mut read in std::mem::take(&mut desk.reads) {
            let is_late = time.saturating_sub(read.since) > READ_WITHIN;
            match read.asked.progress() {
                Progress::Hopeless => {}
                _ if is_late => {}
                Progress::Heard if has_reached(&applied, read.asked.seen()) => {
                    let document = node.document(TABLE, &register_key(read.register));
                    read.found = number(document.as_ref());
                    let now = node.now(time);
                    if read.asked.must_be_held() {
                        let marks = replica.marks().clone();
                        desk.waiting.wait_for_all(now, marks, Pending::Read(read));
                    } else {
                        desk.waiting
                            .wait_for_all(now, Default::default(), Pending::Read(read));
                    }
                }
                _ => left.push(read),
            }
        }
        desk.reads = left;
    }

    /// Roaming clients whose node has seen what they have seen are served.
    fn receive_visits(&mut self, promises: &mut Promises, index: usize) -> Result<(), Violation> {
        let visits = std::mem::take(&mut promises.desks[index].visits);
        for visit in visits {
            let node = &self.nodes[index];
            let Some(replica) = &node.replica else {
                continue;
            };
            let applied = replica.marks().vector();
            if has_reached(&applied, &promises.roamers[visit.roamer].token) {
                self.serve_visit(promises, index, &visit)?;
            } else if self.time.saturating_sub(visit.since) > READ_WITHIN {
                promises.roamers[visit.roamer].is_busy = false;
            } else {
                promises.desks[index].visits.push(visit);
            }
        }
        Ok(())
    }

    fn serve_visit(
        &mut self,
        promises: &mut Promises,
        index: usize,
        visit: &Visit,
    ) -> Result<(), Violation> {
        let name = visit.roamer;
        let other = (name + 1 + self.random.usize(0..ROAMERS - 1)) % ROAMERS;
        let other_key = own_key(other, &promises.roamers[other]);
        if visit.writes {
            let roamer = &mut promises.roamers[name];
            roamer.number += 1;
            let seen = roamer.session.floor(&other_key);
            let (key, number) = (own_key(name, roamer), roamer.number);
            let document = json!({ "n": number, "key": other_key, "seen": seen }).to_string();
            if self.put(index, key, document).is_none() {
                promises.roamers[name].is_busy = false;
                promises.roamers[name].begin_anew();
                return Ok(());
            }
            let pending = Pending::Roamed {
                roamer: name,
                number,
            };
            let sequence = self.nodes[index].replica.as_ref();
            let sequence = sequence.and_then(|it| Some(it.staged().last()?.sequence));
            promises.desks[index].staged.push((sequence, pending));
            return Ok(());
        }
        let node = &self.nodes[index];
        let own = own_key(name, &promises.roamers[name]);
        let roamer = &mut promises.roamers[name];
        roamer.is_busy = false;
        for key in [own, other_key] {
            let document = node.document(TABLE, &key);
            let (found, causes) = (number(document.as_ref()), causes(document.as_ref()));
            let region = node.name.as_str();
            roamer.session.read(region, &key, found, &causes)?;
            let seen = node.tables().seen();
            roamer
                .token
                .raise_all(&seen.expect("the tables in memory are readable"));
        }
        promises.answered += 1;
        Ok(())
    }

    /// A node's round never was.
    pub(crate) fn promises_dropped(&mut self, index: usize) {
        let Some(promises) = &mut self.promises else {
            return;
        };
        for (_, pending) in std::mem::take(&mut promises.desks[index].staged) {
            abandon(&mut promises.roamers, &pending);
        }
        promises.desks[index].is_writing = false;
    }

    /// A node went down: nobody who waited there hears anything.
    pub(crate) fn promises_down(&mut self, index: usize) {
        let Some(promises) = &mut self.promises else {
            return;
        };
        let level = promises.level;
        let mut desk = std::mem::replace(&mut promises.desks[index], Desk::new(level));
        for visit in &desk.visits {
            promises.roamers[visit.roamer].is_busy = false;
        }
        let staged = desk.staged.drain(..).map(|(_, pending)| pending);
        for pending in staged.chain(desk.waiting.into_waiting()) {
            abandon(&mut promises.roamers, &pending);
        }
    }
}

fn abandon(roamers: &mut [Roamer], pending: &Pending) {
    if let Pending::Roamed { roamer, .. } = pending {
        roamers[*roamer].is_busy = false;
        roamers[*roamer].begin_anew();
    }
}

impl Roamer {
    /// What became of its last write is unknown: its row may change behind its back.
    fn begin_anew(&mut self) {
        self.generation += 1;
        self.number = 0;
    }
}

fn end(promises: &mut Promises, node: &Node, read: &StrongReading) -> Result<(), Violation> {
    promises.answered += 1;
    promises.registers[read.register].end(node.name.as_str(), read.reading, read.found)
}
