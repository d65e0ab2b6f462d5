//! Connections between nodes, and what goes over them.

use super::{Event, Link, World};
use crate::world::REDIAL;
use meridian_check::Violation;
use meridian_model::{Envelope, Message, Question, RegionName, WIRE_VERSION_MAX};
use meridian_replicate::Sender;
use std::time::Duration;

impl World {
    /// Ends the streams to those that count no more.
    pub(super) fn part_with_the_gone(&mut self, index: usize) {
        let Some(replica) = &self.nodes[index].replica else {
            return;
        };
        let subscribers = self.nodes[index].senders.keys().copied();
        let gone: Vec<usize> = subscribers
            .filter(|receiver| {
                let origin = self.nodes[*receiver].origin;
                origin.is_some_and(|it| replica.refusal(&self.regions[*receiver], it).is_some())
            })
            .collect();
        for receiver in gone {
            if let Some((_, stream)) = self.nodes[index].senders.get_mut(&receiver) {
                stream.unsubscribe();
            }
        }
    }

    /// All connections end and are made anew. A message that gets lost ends a connection in the
    /// end; here the network only drops it, and a subscription that was dropped is not put again
    /// for as long as the entries of the one before keep coming.
    pub(crate) fn reconnect(&mut self) {
        self.links.clear();
        for node in &mut self.nodes {
            node.senders.clear();
        }
    }

    pub(super) fn dial(&mut self, receiver: usize, sender: usize) {
        self.plan(REDIAL, Event::Dial(receiver, sender));
        if self.links.contains_key(&(receiver, sender)) || self.nodes[receiver].replica.is_none() {
            return;
        }
        let name = self.nodes[sender].name.clone();
        let cut = self.network.is_cut(receiver, sender) || self.network.is_cut(sender, receiver);
        let now = self.nodes[receiver].now(self.time);
        let reader = self.nodes[sender]
            .replica
            .as_ref()
            .map(|replica| Sender::new(name.clone(), replica.origin(), replica.reader()));
        let Some(replica) = &mut self.nodes[receiver].replica else {
            return;
        };
        match reader {
            Some(stream) if !cut => {
                self.link_ids += 1;
                self.links.insert((receiver, sender), self.link_ids);
                replica.connected(now, &name, WIRE_VERSION_MAX);
                self.nodes[sender]
                    .senders
                    .insert(receiver, (self.link_ids, stream));
                self.send_outgoing(receiver);
            }
            _ => replica.disconnected(now, &name, "no answer".to_owned()),
        }
    }

    /// Sends what a node has for its peers. Nothing of it depends on what isn't durable.
    pub(super) fn send_outgoing(&mut self, index: usize) {
        let Some(replica) = &mut self.nodes[index].replica else {
            return;
        };
        for (peer, message) in replica.take_outgoing() {
            let Some(sender) = self.regions.iter().position(|region| *region == peer) else {
                continue;
            };
            if let Some(id) = self.links.get(&(index, sender)).copied() {
                self.send(
                    index,
                    sender,
                    Link {
                        receiver: index,
                        sender,
                        id,
                    },
                    message,
                );
            }
        }
    }

    pub(super) fn poll_senders(&mut self, index: usize) {
        let now = self.nodes[index].now(self.time);
        let mut messages = Vec::new();
        for (receiver, (id, stream)) in &mut self.nodes[index].senders {
            while let Ok(Some(message)) = stream.poll(now) {
                messages.push((
                    Link {
                        receiver: *receiver,
                        sender: index,
                        id: *id,
                    },
                    message,
                ));
            }
        }
        for (link, message) in messages {
            self.send(index, link.receiver, link, message);
        }
    }

    /// The connection that `receiver` has dialled to `sender`.
    pub(crate) fn link(&self, receiver: usize, sender: usize) -> Option<Link> {
        let id = *self.links.get(&(receiver, sender))?;
        Some(Link {
            receiver,
            sender,
            id,
        })
    }

    pub(crate) fn send(&mut self, from: usize, to: usize, link: Link, message: Message) {
        for delay in self.network.delays(from, to) {
            let message = message.clone();
            self.plan(
                delay,
                Event::Deliver {
                    from,
                    to,
                    link,
                    message,
                },
            );
        }
    }

    pub(super) fn deliver(
        &mut self,
        from: usize,
        to: usize,
        link: Link,
        message: Message,
    ) -> Result<(), Violation> {
        if self.links.get(&(link.receiver, link.sender)) != Some(&link.id) {
            return Ok(());
        }
        // Over the wire and back: the formats are part of what is tested.
        let envelope = Envelope {
            dataset: "main".to_owned(),
            message,
        };
        let decoded = Envelope::decode(&envelope.encode()).map(|envelope| envelope.message);
        let broken = |region: &RegionName, what: String| Violation::Broken {
            region: region.to_string(),
            what,
        };
        let message = decoded
            .map_err(|error| broken(&self.regions[to], format!("cannot decode: {error}")))?;
        let peer = self.regions[from].clone();
        let now = self.nodes[to].now(self.time);
        if to == link.receiver {
            if let Message::Answer { id, answer } = message {
                self.heard(to, from, id, &answer);
                self.heard_of_write(to, id, &answer);
                self.plan(Duration::ZERO, Event::Flush(to));
                return self.compared_with(to, &peer, id, answer);
            }
            let Some(replica) = &mut self.nodes[to].replica else {
                return Ok(());
            };
            let taken = replica.message(now, &peer, message);
            taken.map_err(|error| broken(&self.regions[to], error.to_string()))?;
            let pause = Duration::from_micros(self.random.u64(0..3_000));
            self.plan(pause, Event::Flush(to));
            return Ok(());
        }
        match message {
            Message::Ask {
                id,
                question: Question::Write(bytes),
            } => self.handed(to, link, id, &bytes),
            Message::Ask { id, question } if question.is_about_rows() => {
                self.asked_about_rows(to, link, id, question);
            }
            message => self.serve(to, link, &peer, message),
        }
        Ok(())
    }

    /// A subscriber said something to the sender of its stream.
    pub(super) fn serve(&mut self, index: usize, link: Link, peer: &RegionName, message: Message) {
        if let Message::Ask { id, .. } = message {
            if let Some(answer) = self.answer(index, link.receiver, id) {
                self.send(index, link.receiver, link, answer);
            }
            return;
        }
        let now = self.nodes[index].now(self.time);
        let node = &mut self.nodes[index];
        let (Some(replica), Some((_, stream))) =
            (&mut node.replica, node.senders.get_mut(&link.receiver))
        else {
            return;
        };
        match message {
            Message::Ack {
                session,
                next,
                held,
            } => {
                stream.acknowledged(session, next, &held);
                if let Some(member) = replica.road().member(peer) {
                    replica.holds(member, &held);
                }
                if self.promises.is_some() {
                    self.plan(Duration::ZERO, Event::Flush(index));
                }
            }
            message => {
                if let Message::Subscribe {
                    session, origin, ..
                } = &message
                    && let Some(reason) = replica.refusal(peer, *origin)
                {
                    stream.unsubscribe();
                    let session = *session;
                    let refused = Message::Refuse { session, reason };
                    self.send(index, link.receiver, link, refused);
                    return;
                }
                let known = replica.road().member(peer);
                if let Ok(Some(answer)) = stream.subscribe(now, known, message) {
                    if let Some(reason) = &answer.disowned {
                        replica.disown(reason);
                    }
                    self.send(index, link.receiver, link, answer.message);
                }
            }
        }
        self.poll_senders(index);
    }
}
