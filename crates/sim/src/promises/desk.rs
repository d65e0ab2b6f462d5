//! What goes on at a node's desk: replies that wait for a commit or for other regions, strong reads
//! that wait for answers, and clients who wait until the node has seen what they have.

use super::{
    Desk, Pending, Promises, READ_WITHIN, ROAMERS, Roamer, StrongReading, TABLE, Visit, causes,
    number, own_key, register_key,
};
use crate::node::Node;
use crate::world::World;
use meridian_check::Violation;
use meridian_model::Marks;
use meridian_replicate::{Progress, has_reached};
use serde_json::json;

impl World {
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
            Pending::Forwarded { link, id } => {
                self.carried_out(index, link, id, is_held);
                Ok(())
            }
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
            // Those who were asked are no quorum of a later epoch.
            let is_outdated = replica.epoch().number != read.epoch;
            match read.asked.progress() {
                Progress::Hopeless => {}
                _ if is_late || is_outdated => {}
                Progress::Heard if applied.covers(read.asked.seen()) => {
                    let document = node.document(TABLE, &register_key(read.register));
                    read.found = number(document.as_ref());
                    let now = node.now(time);
                    if read.asked.must_be_held() {
                        let marks = replica.marks().clone();
                        desk.waiting.wait_for_all(now, marks, Pending::Read(read));
                    } else {
                        desk.waiting
                            .wait_for_all(now, Marks::default(), Pending::Read(read));
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
        Self::forwards_down(promises, index);
    }
}

fn abandon(roamers: &mut [Roamer], pending: &Pending) {
    if let Pending::Roamed { roamer, .. } = pending {
        roamers[*roamer].is_busy = false;
        roamers[*roamer].begin_anew();
    }
}

fn end(promises: &mut Promises, node: &Node, read: &StrongReading) -> Result<(), Violation> {
    promises.answered += 1;
    promises.registers[read.register].end(node.name.as_str(), read.reading, read.found)
}
