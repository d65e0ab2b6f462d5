//! Time, events and what happens at each.

use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::node::Node;
use crate::postgres::{Beside, Met};
use crate::promises::Promises;
use event::Due;
use meridian_check::{Violation, Workload};
use meridian_model::{RegionName, RowName, Standing, Vector};
use meridian_replicate::Arrival;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

mod clients;
mod event;
mod life;
mod links;

pub(crate) use event::{Event, Link};

pub(crate) const TICK: Duration = Duration::from_millis(100);
const REDIAL: Duration = Duration::from_millis(200);

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
    /// By node, where rows are in PostgreSQL.
    pub(crate) postgres: Vec<Beside>,
    pub(crate) applications_act: bool,
    /// What came of meetings of servers and regions.
    pub(crate) met: Met,
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
            postgres: Vec::new(),
            applications_act: false,
            met: Met::default(),
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
        node.witnesses = self.nodes[0].witnesses.clone();
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
            Event::Application(node) => {
                self.application(node);
                Ok(())
            }
            Event::Agent(node) => self.agent(node),
        }
    }
}
