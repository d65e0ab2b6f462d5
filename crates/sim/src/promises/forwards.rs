//! Clients of regions that take no writes themselves: what they write is handed to a region that
//! does ([`Forwarding`]), over links that break. Each operation adds 1 to a row of its own, so that
//! it shows how often it was carried out: never twice, and once where its client was told so. Every
//! other operation has an idempotency key, and its client sends it again until it knows.

use super::{Pending, Promises, TABLE};
use crate::calm::survivors;
use crate::node::request;
use crate::world::{Event, Link, World};
use bytes::Bytes;
use meridian_check::{Action, Violation};
use meridian_engine_kv::ForwardedWrite;
use meridian_model::{Answer, IdempotencyKey, Message, Question, RegionName};
use meridian_replicate::{Forwarding, HandOn, NoAnswer};
use std::collections::BTreeMap;
use std::time::Duration;

/// Shorter than in a server, so that much happens within a run.
const PATIENCE: Duration = Duration::from_millis(700);
const DONE: &[u8] = b"done";
const REFUSED: &[u8] = b"refused";

/// All such clients, one at each node.
#[derive(Default)]
pub(crate) struct Forwards {
    operations: Vec<Operation>,
    under_way: BTreeMap<usize, UnderWay>,
    /// What a node's client sends again.
    again: BTreeMap<usize, usize>,
}

struct Operation {
    has_key: bool,
    is_done: bool,
}

struct UnderWay {
    operation: usize,
    forwarding: Forwarding,
    link: Link,
    id: u64,
    until: Duration,
}

fn row(operation: usize) -> String {
    format!("operation-{operation}")
}

fn write(operation: usize, has_key: bool) -> ForwardedWrite {
    let action = Action::Increment("n".to_owned(), 1);
    let mut request = request(&[(TABLE.to_owned(), row(operation), action)]);
    request.idempotency = has_key.then(|| IdempotencyKey {
        key: row(operation),
        fingerprint: 1,
    });
    let seen = None;
    ForwardedWrite { request, seen }
}

impl Promises {
    /// The regions that take the writes of a node's clients; `None` where it takes them itself.
    fn takers(&self, index: usize) -> Option<Vec<usize>> {
        match self.home {
            Some(home) if home == index => None,
            Some(home) => Some(vec![home]),
            // The last region is a read replica for these clients.
            None if index + 1 == self.desks.len() => Some((0..index).collect()),
            None => None,
        }
    }

    /// What a client does that was told nothing.
    fn nothing_known(&mut self, index: usize, operation: usize) {
        if self.forwards.operations[operation].has_key {
            self.forwards.again.insert(index, operation);
        }
    }
}

impl World {
    /// A client of a region that takes no writes goes on.
    pub(super) fn hand_on(&mut self, promises: &mut Promises, index: usize) {
        if let Some(under_way) = promises.forwards.under_way.get(&index) {
            let link = under_way.link;
            let is_lost = self.link(link.receiver, link.sender) != Some(link);
            if is_lost || self.time >= under_way.until {
                let reason = "no answer came".to_owned();
                self.no_answer(promises, index, NoAnswer::Lost(reason));
            }
            return;
        }
        let Some(mut takers) = promises.takers(index) else {
            return;
        };
        if self.nodes[index].replica.is_none() {
            return;
        }
        self.random.shuffle(&mut takers);
        let operations = &mut promises.forwards.operations;
        let operation = promises.forwards.again.remove(&index).unwrap_or_else(|| {
            operations.push(Operation {
                // A key is known where its write was taken, and elsewhere once that has arrived.
                has_key: takers.len() == 1 && operations.len().is_multiple_of(2),
                is_done: false,
            });
            operations.len() - 1
        });
        let takers = takers.into_iter().map(|it| self.regions[it].clone());
        let mut forwarding = Forwarding::new(takers.collect());
        let next = forwarding.begin();
        self.follow(promises, index, operation, forwarding, next);
    }

    fn no_answer(&mut self, promises: &mut Promises, index: usize, outcome: NoAnswer) {
        if let Some(mut under_way) = promises.forwards.under_way.remove(&index) {
            let next = under_way.forwarding.unanswered(outcome);
            let operation = under_way.operation;
            self.follow(promises, index, operation, under_way.forwarding, next);
        }
    }

    /// Does what is to be done next with an operation.
    fn follow(
        &mut self,
        promises: &mut Promises,
        index: usize,
        operation: usize,
        mut forwarding: Forwarding,
        mut next: HandOn,
    ) {
        while let HandOn::To(region) = next {
            promises.last_read += 1;
            let id = promises.last_read;
            let has_key = promises.forwards.operations[operation].has_key;
            match self.hand_to(index, &region, id, operation, has_key) {
                Some(link) => {
                    let until = self.time + PATIENCE;
                    let under_way = UnderWay {
                        operation,
                        forwarding,
                        link,
                        id,
                        until,
                    };
                    promises.forwards.under_way.insert(index, under_way);
                    return;
                }
                None => next = forwarding.unanswered(NoAnswer::Stayed("no link".to_owned())),
            }
        }
        promises.nothing_known(index, operation);
    }

    /// Sends a write over the link, which hands over nothing twice by itself.
    fn hand_to(
        &mut self,
        index: usize,
        region: &RegionName,
        id: u64,
        operation: usize,
        has_key: bool,
    ) -> Option<Link> {
        let sender = self.regions.iter().position(|it| it == region)?;
        let link = self.link(index, sender)?;
        let question = Question::Write(Bytes::from(write(operation, has_key).encode()));
        let message = Message::Ask { id, question };
        self.send_once(index, sender, link, message);
        Some(link)
    }

    fn send_once(&mut self, from: usize, to: usize, link: Link, message: Message) {
        if let Some(delay) = self.network.delays(from, to).first().copied() {
            let event = Event::Deliver {
                from,
                to,
                link,
                message,
            };
            self.plan(delay, event);
        }
    }

    /// A region is handed a write.
    pub(crate) fn handed(&mut self, index: usize, link: Link, id: u64, bytes: &[u8]) {
        let Some(mut promises) = self.promises.take() else {
            return;
        };
        match self.carry_out(index, bytes) {
            Ok(sequence) => {
                let pending = Pending::Forwarded { link, id };
                promises.desks[index].staged.push((sequence, pending));
                let pause = Duration::from_micros(self.random.u64(0..3_000));
                self.plan(pause, Event::Flush(index));
            }
            Err(answer) => self.answer_forwarded(index, link, id, answer),
        }
        self.promises = Some(promises);
    }

    fn carry_out(
        &mut self,
        index: usize,
        bytes: &[u8],
    ) -> Result<Option<meridian_model::Sequence>, Answer> {
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let turned_away = || Answer::Unavailable {
            reason: "it is starting".to_owned(),
        };
        let replica = node.replica.as_mut().ok_or_else(turned_away)?;
        if !replica.is_settled(now) {
            return Err(turned_away());
        }
        let refused = || Answer::Write(Bytes::from_static(REFUSED));
        let write = ForwardedWrite::decode(bytes).ok_or_else(refused)?;
        let before = replica.staged().len();
        let executed = replica.write(now, |tables, version| {
            tables.execute(version, &write.request)
        });
        executed.map_err(|_| refused())?;
        Ok(self.wrote(index, before).map(|(_, sequence)| sequence))
    }

    pub(super) fn answer_forwarded(&mut self, index: usize, link: Link, id: u64, answer: Answer) {
        let message = Message::Answer { id, answer };
        self.send_once(index, link.receiver, link, message);
    }

    /// The write is done.
    pub(super) fn carried_out(&mut self, index: usize, link: Link, id: u64, is_held: bool) {
        // Where too few regions are known to hold it, it stands, and its client is told that much.
        if is_held {
            let answer = Answer::Write(Bytes::from_static(DONE));
            self.answer_forwarded(index, link, id, answer);
        }
    }

    /// An answer came back.
    pub(crate) fn heard_of_write(&mut self, index: usize, id: u64, answer: &Answer) {
        let Some(mut promises) = self.promises.take() else {
            return;
        };
        let under_way = promises.forwards.under_way.get(&index);
        if let Some(operation) = under_way.filter(|it| it.id == id).map(|it| it.operation) {
            match answer {
                Answer::Unavailable { reason } => {
                    let outcome = NoAnswer::TurnedAway(reason.clone());
                    self.no_answer(&mut promises, index, outcome);
                }
                Answer::Write(bytes) => {
                    promises.forwards.under_way.remove(&index);
                    if bytes == DONE {
                        promises.forwards.operations[operation].is_done = true;
                        promises.answered += 1;
                    } else {
                        promises.nothing_known(index, operation);
                    }
                }
                _ => {}
            }
        }
        self.promises = Some(promises);
    }

    /// No operation was carried out twice, and each once of which its client was told so.
    pub(crate) fn check_forwarded(&self) -> Result<(), Violation> {
        let Some(promises) = &self.promises else {
            return Ok(());
        };
        for index in survivors(self).filter(|index| !self.nodes[*index].is_witness()) {
            for (number, operation) in promises.forwards.operations.iter().enumerate() {
                let document = self.nodes[index].document(TABLE, &row(number));
                let count = super::number(document.as_ref());
                let least = u64::from(operation.is_done);
                if count < least || count > 1 {
                    let what = format!("a write handed on was carried out {count} times");
                    let region = self.nodes[index].name.to_string();
                    return Err(Violation::Broken { region, what });
                }
            }
        }
        Ok(())
    }

    /// A node went down, and its clients with it.
    pub(super) fn forwards_down(promises: &mut Promises, index: usize) {
        if let Some(under_way) = promises.forwards.under_way.remove(&index) {
            promises.nothing_known(index, under_way.operation);
        }
    }
}
