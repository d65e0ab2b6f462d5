//! The task around the observer: the only place where its outputs are carried out.

use super::neighbours::Neighbours;
use super::setup::{Probers, probers, setup};
use super::{Health, Seen};
use crate::api::{unready, without_room};
use crate::dataset::MachineClock;
use crate::links::Peers;
use crate::registry::Registry;
use bytes::Bytes;
use meridian_health::{
    Answer, ChangedBy, Input, Observer, Output, ProbeId, Service, Setup, Status, Target,
};
use meridian_link::Shaping;
use meridian_model::RegionName;
use meridian_topology::Topology;
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// An observer with all that it needs.
pub(crate) struct Observing {
    topology: Arc<Topology>,
    own: RegionName,
    registry: Registry,
    neighbours: Neighbours,
    shaping: Shaping,
    clock: MachineClock,
    peers: watch::Receiver<Peers>,
    probers: Probers,
    health: Health,
    inputs: mpsc::UnboundedReceiver<Input>,
    lost: mpsc::UnboundedReceiver<RegionName>,
    /// Probes under way; they end with it.
    probes: JoinSet<()>,
}

impl Observing {
    /// An observer of a region, which observes once it runs.
    pub(crate) fn new(
        topology: Arc<Topology>,
        own: RegionName,
        registry: Registry,
        neighbours: Neighbours,
        shaping: Shaping,
        clock: MachineClock,
        peers: watch::Receiver<Peers>,
    ) -> Self {
        let probers = probers(&topology, &own);
        let setup = setup_now(&topology, &own, &peers, &probers);
        let (health, inputs) = Health::new(Observer::new(setup, clock.now()));
        Self {
            lost: neighbours.lost(),
            topology,
            own,
            registry,
            neighbours,
            shaping,
            clock,
            peers,
            probers,
            health,
            inputs,
            probes: JoinSet::new(),
        }
    }

    /// What comes of it.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Observes for as long as it is polled.
    pub(crate) async fn run(mut self) {
        loop {
            let due = self
                .observer()
                .due()
                .saturating_sub(self.clock.now().elapsed);
            let input = tokio::select! {
                Some(input) = self.inputs.recv() => input,
                Some(region) = self.lost.recv() => Input::Alarm { region, service: Service::Api },
                Ok(()) = self.peers.changed() => {
                    self.set_up();
                    Input::Tick
                }
                () = tokio::time::sleep(due) => Input::Tick,
            };
            while self.probes.try_join_next().is_some() {}
            let outputs = self.observer().step(self.clock.now(), input);
            for output in outputs {
                self.carry_out(output);
            }
            self.publish();
        }
    }

    fn observer(&self) -> MutexGuard<'_, Observer> {
        let observer = self.health.0.observer.lock();
        observer.unwrap_or_else(PoisonError::into_inner)
    }

    fn set_up(&mut self) {
        let peers = &mut self.peers;
        peers.mark_unchanged();
        let setup = setup_now(&self.topology, &self.own, peers, &self.probers);
        self.observer().set_up(setup, self.clock.now());
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Probe { id, target } => self.probe(id, target),
            Output::Send(reports) => self.neighbours.send(&Bytes::from(reports.encode())),
            Output::Changed(change) => {
                let (region, service) = (&change.region, change.service);
                let (from, to) = (change.from, change.to);
                match &change.by {
                    ChangedBy::Probes(reason) => {
                        let reason = reason.as_deref().unwrap_or_default();
                        tracing::info!(%region, %service, %from, %to, reason, "seen otherwise");
                    }
                    ChangedBy::Vote(_) if to == Status::Unhealthy && !change.maintenance => {
                        tracing::warn!(%region, %service, %from, %to, "the verdict changes");
                    }
                    ChangedBy::Vote(_) => {
                        tracing::info!(%region, %service, %from, %to, "the verdict changes");
                    }
                }
            }
        }
    }

    /// Does one probe, beside everything else, and tells the observer.
    fn probe(&mut self, id: ProbeId, target: Target) {
        let prober = self.probers.get(&(target.region.clone(), target.service));
        let prober = prober.cloned();
        let is_own = target.region == self.own;
        let link = self.shaping.peer(target.region.as_str());
        let limit = self.topology.health.preset.cadence().detection_max();
        let (neighbours, registry) = (self.neighbours.clone(), self.registry.clone());
        let health = self.health.clone();
        let lacks_room = match (is_own, target.service) {
            (true, Service::Storage) => without_room(&registry.now()),
            _ => Vec::new(),
        };
        self.probes.spawn(async move {
            let answer = match prober {
                _ if !lacks_room.is_empty() => Err(lacks_room.join("; ")),
                Some(prober) if is_own => prober.probe().await,
                // One that is lost is never answered; when it is due it counts as that.
                Some(prober) => {
                    match tokio::time::timeout(limit, link.suffer(prober.probe())).await {
                        Ok(Some(answer)) => answer,
                        Ok(None) | Err(_) => return,
                    }
                }
                None if target.service == Service::Storage => Ok(()),
                None if is_own => match unready(&registry.now()).as_slice() {
                    [] => Ok(()),
                    faults => Err(format!("not ready: {}", faults.join("; "))),
                },
                None => match tokio::time::timeout(limit, neighbours.ping(&target.region)).await {
                    Ok(answer) => answer,
                    Err(_) => return,
                },
            };
            let answer = match answer {
                Ok(()) => Answer::Right,
                Err(reason) => Answer::Wrong(reason),
            };
            health.tell(Input::Answer { probe: id, answer });
        });
    }

    /// Lets everybody who goes by it see what has changed.
    fn publish(&self) {
        let wall = self.clock.now().wall;
        let seen = {
            let observer = self.observer();
            let setup = observer.setup();
            let regions = setup.observers.iter();
            let regions = regions.map(|region| (region.clone(), observer.region(region, wall)));
            let between = setup.observers.iter().flat_map(|from| {
                let to = setup.observers.iter();
                to.filter_map(|to| {
                    let ms = observer.response_ms(from, to, Service::Api)?;
                    Some(((from.clone(), to.clone()), ms))
                })
            });
            Seen {
                has_quorum: observer.has_quorum(),
                regions: regions.collect(),
                response_ms: between.collect(),
            }
        };
        self.health.0.seen.send_if_modified(|before| {
            let is_new = **before != seen;
            if is_new {
                *before = Arc::new(seen);
            }
            is_new
        });
    }
}

fn setup_now(
    topology: &Topology,
    own: &RegionName,
    peers: &watch::Receiver<Peers>,
    probers: &Probers,
) -> Setup {
    let dialled = peers.borrow();
    let dialled = dialled.dialled.iter();
    let others = dialled.map(|(name, address)| (name.clone(), address.link.clone()));
    setup(topology, own, &others.collect(), probers)
}
