//! Time, events and what happens at each.

use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::node::{Node, StartError, request};
use crate::promises::{Actor, Promises};
use meridian_check::{Action, CHAIN, Step, Violation, Workload};
use meridian_model::{
    Answer, Envelope, Message, OriginId, Question, RegionName, RowName, Sequence, Standing, Vector,
    WIRE_VERSION_MAX,
};
use meridian_replicate::{Arrival, CommitError, Sender};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

pub(crate) const TICK: Duration = Duration::from_millis(100);
const REDIAL: Duration = Duration::from_millis(200);

/// Something that is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A node's upkeep is due.
    Tick(usize),
    /// A node commits its round.
    Flush(usize),
    /// The first dials the second, to receive its stream.
    Dial(usize, usize),
    /// A message arrives.
    Deliver {
        from: usize,
        to: usize,
        link: Link,
        message: Message,
    },
    /// A client of a node acts.
    Client(usize),
    /// A reader looks at a node's tables.
    Read(usize),
    /// A node's process starts again.
    Start(usize),
    /// The disk of a node has room again.
    DiskFreed(usize),
    /// All cuts and losses of the network end.
    Heal,
    /// A fault strikes.
    Fault,
    /// What a node that begins with a snapshot does by the time.
    Join(usize),
    /// A question beside the streams arrives.
    Asked {
        from: usize,
        to: usize,
        id: u64,
        question: Question,
    },
    /// Its answer arrives.
    Answered { to: usize, id: u64, answer: Answer },
    /// A client that holds the system to its promises acts.
    Act(Actor),
    /// A node compares its tables with its peers', or goes on with it.
    Compare(usize),
}

/// A connection, from the receiver of entries to their sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) receiver: usize,
    pub(crate) sender: usize,
    pub(crate) id: u64,
}

/// The world.
pub(crate) struct World {
    pub(crate) time: Duration,
    pub(crate) random: fastrand::Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    /// What those who join have to wait for.
    pub(crate) gate: Gate,
    /// What clients have seen whose region may be given up.
    pub(crate) tokens: Vec<Vector>,
    pub(crate) clients_act: bool,
    pub(crate) events: u64,
    pub(crate) promises: Option<Promises>,
    /// Nothing was damaged yet.
    pub(crate) is_undamaged: bool,
    /// Records that were damaged, and rows that were mended.
    pub(crate) struck: u64,
    pub(crate) mended: u64,
    /// Records of a node from earlier.
    pub(crate) older: Vec<(RowName, Vec<u8>)>,
    /// The regions' names, by node.
    pub(crate) regions: Vec<RegionName>,
    founders: Vec<RegionName>,
    /// The epochs that any region went by, and which members each had.
    epochs: BTreeMap<u64, Vec<(RegionName, Standing)>>,
    /// A client acts at least once in this time.
    pub(crate) client_pause_max: Duration,
    pub(crate) lives: usize,
    workload: Workload,
    pub(crate) links: BTreeMap<(usize, usize), u64>,
    link_ids: u64,
    order: u64,
    agenda: BinaryHeap<Reverse<Due>>,
}

/// An event with its time; ties go in the order of planning.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Duration,
    order: u64,
    event: Event,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl World {
    pub(crate) fn new(seed: u64, region_count: usize) -> Self {
        let names: Vec<String> = (0..region_count)
            .map(|index| format!("region-{index}"))
            .collect();
        let mut world = Self {
            time: Duration::ZERO,
            random: fastrand::Rng::with_seed(seed),
            nodes: names
                .iter()
                .enumerate()
                .map(|(life, name)| Node::new(name, life))
                .collect(),
            network: Network::new(seed),
            ledger: Ledger::default(),
            gate: Gate::default(),
            tokens: Vec::new(),
            clients_act: true,
            events: 0,
            promises: None,
            is_undamaged: true,
            struck: 0,
            mended: 0,
            older: Vec::new(),
            regions: names.iter().map(|name| RegionName::new(name)).collect(),
            founders: names.iter().map(|name| RegionName::new(name)).collect(),
            epochs: BTreeMap::new(),
            client_pause_max: Duration::from_millis(60),
            lives: region_count,
            workload: Workload::new(seed),
            links: BTreeMap::new(),
            link_ids: 0,
            order: 0,
            agenda: BinaryHeap::new(),
        };
        for node in 0..region_count {
            world.bring_to_life(node);
            for peer in (0..region_count).filter(|peer| *peer != node) {
                world.plan(Duration::from_millis(1), Event::Dial(node, peer));
            }
        }
        world
    }

    fn bring_to_life(&mut self, node: usize) {
        self.plan(Duration::ZERO, Event::Start(node));
        self.plan(Duration::ZERO, Event::Tick(node));
        self.plan(Duration::from_millis(5), Event::Client(node));
        self.plan(Duration::from_millis(9), Event::Read(node));
    }

    /// A region that is to join: a new one, or a new incarnation in place of an old one.
    pub(crate) fn arrive(&mut self, region: &RegionName) {
        let life = self.lives;
        self.lives += 1;
        let index = self.regions.iter().position(|name| name == region);
        let mut node = Node::new(region.as_str(), life);
        node.arrival = Arrival::Joining;
        node.segment_bytes = self.nodes[0].segment_bytes;
        node.evict_after = self.nodes[0].evict_after;
        if let Some(index) = index {
            self.kill(index);
            self.nodes[index] = node;
            return;
        }
        let index = self.nodes.len();
        self.nodes.push(node);
        self.regions.push(region.clone());
        self.bring_to_life(index);
        self.promise_newcomer();
        for peer in 0..index {
            self.plan(Duration::from_millis(1), Event::Dial(index, peer));
            self.plan(Duration::from_millis(1), Event::Dial(peer, index));
        }
    }

    /// Ends the streams to those that count no more.
    fn part_with_the_gone(&mut self, index: usize) {
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

    /// No two regions may go by different epochs of one number.
    fn look_at_epoch(&mut self, index: usize) -> Result<(), Violation> {
        let Some(replica) = &self.nodes[index].replica else {
            return Ok(());
        };
        let epoch = replica.epoch();
        let members = || -> Vec<_> {
            let members = epoch.members.iter();
            members
                .map(|(region, member)| (region.clone(), member.standing))
                .collect()
        };
        let known = self.epochs.entry(epoch.number).or_insert_with(members);
        let agrees = known.len() == epoch.members.len()
            && known
                .iter()
                .zip(&epoch.members)
                .all(|(known, found)| known.0 == *found.0 && known.1 == found.1.standing);
        if agrees {
            return Ok(());
        }
        Err(Violation::Broken {
            region: self.regions[index].to_string(),
            what: format!(
                "epoch {} counts {:?} here and {known:?} elsewhere",
                epoch.number,
                members()
            ),
        })
    }

    pub(crate) fn plan(&mut self, after: Duration, event: Event) {
        self.order += 1;
        let due = Due {
            at: self.time + after,
            order: self.order,
            event,
        };
        self.agenda.push(Reverse(due));
    }

    /// Lets everything happen that is due before `end`, or until a promise is broken.
    pub(crate) fn run_until(
        &mut self,
        end: Duration,
        mut fault: impl FnMut(&mut Self),
    ) -> Result<(), Violation> {
        while self.agenda.peek().is_some_and(|Reverse(due)| due.at < end) {
            let Some(Reverse(due)) = self.agenda.pop() else {
                break;
            };
            self.time = due.at;
            self.events += 1;
            if due.event == Event::Fault {
                fault(self);
            } else {
                self.happen(due.event)?;
            }
        }
        self.time = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Tick(node) => {
                self.plan(TICK, Event::Tick(node));
                self.tick(node)
            }
            Event::Flush(node) => self.flush(node),
            Event::Dial(receiver, sender) => {
                self.dial(receiver, sender);
                Ok(())
            }
            Event::Deliver {
                from,
                to,
                link,
                message,
            } => self.deliver(from, to, link, message),
            Event::Client(node) => {
                let most = u64::try_from(self.client_pause_max.as_micros()).unwrap_or(u64::MAX);
                let pause = Duration::from_micros(self.random.u64(1_000..most));
                self.plan(pause, Event::Client(node));
                self.client(node);
                Ok(())
            }
            Event::Read(node) => {
                let pause = Duration::from_micros(self.random.u64(1_000..40_000));
                self.plan(pause, Event::Read(node));
                self.read(node)
            }
            Event::Start(node) => self.start(node),
            Event::DiskFreed(node) => {
                self.nodes[node].disk.set_capacity(None);
                Ok(())
            }
            Event::Heal => {
                self.network.heal();
                Ok(())
            }
            Event::Fault => Ok(()),
            Event::Join(node) => {
                self.plan(TICK / 4, Event::Join(node));
                self.join(node);
                Ok(())
            }
            Event::Asked {
                from,
                to,
                id,
                question,
            } => self.asked(from, to, id, question),
            Event::Answered { to, id, answer } => self.answered(to, id, answer),
            Event::Act(actor) => {
                self.act(actor);
                Ok(())
            }
            Event::Compare(node) => self.compare(node),
        }
    }

    fn start(&mut self, index: usize) -> Result<(), Violation> {
        let fresh = self.random.u64(1..);
        let node = &mut self.nodes[index];
        if node.replica.is_some() || node.is_gone || node.refused.is_some() {
            return Ok(());
        }
        if node.joining.is_some() {
            // There are no tables to start with yet.
            return Ok(());
        }
        match node.start(self.time, &self.founders, fresh) {
            Ok(()) => {}
            Err(StartError::Again) => {
                self.crash(index);
                return Ok(());
            }
            Err(StartError::Refused(reason)) => {
                node.refused = Some(reason);
                return Ok(());
            }
        }
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        replica.set_peers(now, &self.regions);
        let (origin, own) = (replica.origin(), replica.marks().get(replica.origin()));
        self.ledger
            .recovered(node.life, node.name.as_str(), origin, own.sequence)
    }

    fn tick(&mut self, index: usize) -> Result<(), Violation> {
        let time = self.time;
        let node = &mut self.nodes[index];
        let now = node.now(time);
        if let Some(replica) = &mut node.replica {
            // A log that can't be trimmed now is trimmed later, or the flush shows the fault.
            let _ = replica.tick(now);
            self.part_with_the_gone(index);
            self.flush(index)?;
        }
        if let Some(replica) = &mut self.nodes[index].replica {
            replica.catch_up(now);
        }
        self.answer_asked(index);
        self.pursue(index)?;
        Ok(())
    }

    pub(crate) fn flush(&mut self, index: usize) -> Result<(), Violation> {
        let time = self.time;
        let node = &mut self.nodes[index];
        let now = node.now(time);
        let Some(replica) = &mut node.replica else {
            return Ok(());
        };
        let steps = Gate::steps(replica.origin(), replica.staged());
        self.gate.taken(&node.name, node.life, steps);
        match replica.flush(now) {
            Ok(()) => {
                self.ledger.acknowledged(node.life);
                self.gate.must_hold()?;
                if node.published != *replica.epoch() {
                    node.published = replica.epoch().clone();
                }
                self.look_at_epoch(index)?;
                self.send_outgoing(index);
                self.poll_senders(index);
                self.promises_committed(index)?;
            }
            Err(CommitError::Log(error)) if error.is_full() => {
                self.ledger.dropped(node.life);
                self.promises_dropped(index);
            }
            Err(CommitError::Log(_)) => self.crash(index),
            Err(CommitError::Tables { .. }) if replica.blocked_by().is_some() => {
                // Durable, and visible once a damaged row is mended.
                self.ledger.acknowledged(node.life);
            }
            Err(CommitError::Tables { reason: what }) => {
                let region = node.name.to_string();
                return Err(Violation::Broken { region, what });
            }
        }
        Ok(())
    }

    /// The power goes while the node is at work.
    pub(crate) fn crash(&mut self, index: usize) {
        self.nodes[index].lose_power(&mut self.random);
        self.went_down(index);
    }

    /// The power goes, and nothing that wasn't synced is left.
    pub(crate) fn lose_unsynced(&mut self, index: usize) {
        self.nodes[index].lose_unsynced(&mut self.random);
        self.went_down(index);
    }

    /// The process is killed.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
        self.went_down(index);
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

    fn went_down(&mut self, index: usize) {
        self.promises_down(index);
        let time = self.time;
        self.links
            .retain(|(receiver, sender), _| *receiver != index && *sender != index);
        let name = self.nodes[index].name.clone();
        for node in &mut self.nodes {
            node.senders.remove(&index);
            let now = node.now(time);
            if let Some(replica) = &mut node.replica {
                replica.disconnected(now, &name, "the peer went away".to_owned());
            }
        }
        let pause = Duration::from_millis(self.random.u64(10..1_500));
        self.plan(pause, Event::Start(index));
    }

    fn dial(&mut self, receiver: usize, sender: usize) {
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
    fn send_outgoing(&mut self, index: usize) {
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

    fn poll_senders(&mut self, index: usize) {
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

    fn deliver(
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
    fn serve(&mut self, index: usize, link: Link, peer: &RegionName, message: Message) {
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

    fn client(&mut self, index: usize) {
        if !self.clients_act {
            return;
        }
        let step = self.workload.step(index == 0);
        let actions = match step {
            Step::Write(actions) => actions,
            Step::Derive(key) => {
                let Some(source) = self.nodes[index].document(CHAIN, "source") else {
                    return;
                };
                let document = json!({ "n": source["n"] }).to_string();
                vec![(CHAIN.to_owned(), key, Action::Put(document))]
            }
        };
        let node = &mut self.nodes[index];
        let now = node.now(self.time);
        let Some(replica) = &mut node.replica else {
            return;
        };
        if !replica.is_settled(now) {
            return;
        }
        let before = replica.staged().len();
        let request = request(&actions);
        // A refusal (budget, overflow) is an answer like any other; nothing is staged then.
        let _ = replica.write(now, |tables, version| tables.execute(version, &request));
        if replica.staged().len() > before {
            self.wrote(index, before);
        }
        let pause = Duration::from_micros(self.random.u64(0..3_000));
        self.plan(pause, Event::Flush(index));
    }

    /// A client's transaction was staged as the entry at `at` of the round.
    pub(crate) fn wrote(&mut self, index: usize, at: usize) -> Option<(OriginId, Sequence)> {
        let node = &self.nodes[index];
        let replica = node.replica.as_ref()?;
        let entry = replica.staged().get(at)?;
        self.ledger.staged(node.life, entry);
        if node.arrival == Arrival::Joining {
            self.gate.wrote(node.life, &node.name, replica, entry);
        }
        Some((entry.origin, entry.sequence))
    }

    fn read(&mut self, index: usize) -> Result<(), Violation> {
        let node = &mut self.nodes[index];
        if node.replica.is_none() || node.is_damaged {
            return Ok(());
        }
        let mut checker = node.checker.clone();
        checker.check(&|table: &str, key: &str| node.document(table, key))?;
        node.checker = checker;
        Ok(())
    }
}
