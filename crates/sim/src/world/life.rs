//! What a node does by itself: it starts, keeps up, commits its rounds, and goes down.

use super::{Event, World};
use crate::gate::Gate;
use crate::node::StartError;
use meridian_check::Violation;
use meridian_replicate::CommitError;
use std::time::Duration;

impl World {
    /// What only regions had decided that are destroyed, a person may decide otherwise.
    pub(crate) fn forget_epochs_of_the_gone(&mut self) {
        let living = self.nodes.iter().filter(|node| !node.is_gone);
        let numbers = living.filter_map(|node| Some(node.replica.as_ref()?.epoch().number));
        let last = numbers.max().unwrap_or_default();
        self.epochs.retain(|number, _| *number <= last);
    }

    /// No two regions may go by different epochs of one number.
    pub(super) fn look_at_epoch(&mut self, index: usize) -> Result<(), Violation> {
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

    pub(super) fn start(&mut self, index: usize) -> Result<(), Violation> {
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
        let beside = self.postgres.get(index);
        if let Some(needed) = beside.and_then(|beside| beside.kept_from(replica.origin())) {
            replica.keep_from(needed);
        }
        let (origin, own) = (replica.origin(), replica.marks().get(replica.origin()));
        self.ledger
            .recovered(node.life, node.name.as_str(), origin, own.sequence)
    }

    pub(super) fn tick(&mut self, index: usize) -> Result<(), Violation> {
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

    pub(super) fn went_down(&mut self, index: usize) {
        self.promises_down(index);
        if let Some(beside) = self.postgres.get_mut(index) {
            beside.process_ended();
        }
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
}
