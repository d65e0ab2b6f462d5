//! Regions that join or leave while `up` runs: it sees them among the members that its regions
//! report, starts the process of one that is new, and stops the one that has left.
//!
//! Regions hear of a change one after the other, so the newest membership that any of them reports
//! decides. One that left and is expected again says that it was removed until it has set its old
//! data aside; it isn't stopped for that.

use super::Options;
use super::certificates;
use super::event::Event;
use super::poll::{poll, watch_members};
use super::prepare::{describe, make_region_dir, write_topology};
use super::region::Keeper;
use super::roster::Roster;
use super::servers::{self, Servers};
use crate::error::CliResult;
use crate::regions::reading::{DatasetRegions, Member, Regions};
use crate::system::{System, SystemRegion};
use meridian_topology::Topology;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

/// What `up` needs to start and stop regions.
pub struct Fleet {
    /// The topology as the user gave it.
    pub given: Topology,
    /// The regions of the data directory.
    pub roster: Roster,
    /// Where everything is.
    pub data_dir: PathBuf,
    /// The authority and every region's certificate.
    pub certificates: PathBuf,
    /// The port of the first region's API.
    pub base_port: u16,
    /// Where events go; set when it starts.
    pub events: UnboundedSender<Event>,
    /// How often regions are asked how they stand.
    pub every: Duration,
    /// The regions' PostgreSQL servers, which are stopped with the fleet.
    pub servers: Option<Servers>,
    heard: Heard,
    /// By index: what asks the region's tasks to end.
    stops: Vec<watch::Sender<bool>>,
}

impl Fleet {
    /// A fleet with nothing running.
    pub fn new(
        (given, roster): (Topology, Roster),
        (data_dir, certificates): (PathBuf, PathBuf),
        base_port: u16,
        (events, every): (UnboundedSender<Event>, Duration),
    ) -> Self {
        Self {
            given,
            roster,
            data_dir,
            certificates,
            base_port,
            events,
            every,
            servers: None,
            heard: Heard::default(),
            stops: Vec::new(),
        }
    }

    /// Starts what keeps a region running and what asks how it stands.
    pub fn start(
        &mut self,
        index: usize,
        region: &SystemRegion,
        system: &System,
        options: &Options,
    ) {
        let (stop, stopping) = watch::channel(false);
        let keeper = Keeper {
            index,
            region: region.clone(),
            topology: system.topology.clone(),
            wan: options.wan,
            restart: !options.no_restart,
            joins: self.roster.joined(&region.name),
            allow_faults: options.allow_faults,
            geo: options.geo.clone(),
            events: self.events.clone(),
        };
        tokio::spawn(keeper.keep(stopping.clone()));
        let (url, events) = (region.api.clone(), self.events.clone());
        tokio::spawn(until(
            stopping.clone(),
            poll(index, url.clone(), self.every, events.clone()),
        ));
        tokio::spawn(until(stopping, watch_members(index, url, events)));
        if index < self.stops.len() {
            self.stops[index] = stop;
        } else {
            self.stops.push(stop);
        }
    }

    /// Asks every region to end.
    pub fn stop_all(&self) {
        for stop in &self.stops {
            stop.send_replace(true);
        }
    }

    /// Asks a region to end that has left.
    pub fn stop(&mut self, index: usize, name: &str) -> CliResult {
        self.roster.gone(name);
        self.roster.save()?;
        self.heard.forget(index);
        if let Some(stop) = self.stops.get(index) {
            stop.send_replace(true);
        }
        Ok(())
    }

    /// Takes in what a region says of the members.
    pub fn hear(&mut self, index: usize, said: &Regions) {
        self.heard.take(index, said);
    }

    /// Whether a region runs here that was removed from everything, and isn't expected again.
    pub fn has_left(&self, index: usize, name: &str) -> bool {
        self.roster.has(name) && self.heard.has_left(index, name)
    }

    /// Makes ready what new members need that are to run here, except those that `is_ending` says
    /// still do; nothing where there is none.
    pub fn admit(&mut self, is_ending: impl Fn(&str) -> bool) -> CliResult<Vec<SystemRegion>> {
        let mut admitted = Vec::new();
        let members: Vec<_> = self.heard.staying().cloned().collect();
        for member in members {
            let is_known = self.roster.has(&member.region) || is_ending(&member.region);
            if is_known || !self.roster.admit(&member, self.base_port) {
                continue;
            }
            let mut topology = self.roster.apply(&self.given, self.base_port)?;
            if let Some(servers) = &mut self.servers {
                servers::assign(&mut topology)?;
                servers.start(&topology)?;
            }
            certificates::ensure(&self.certificates, &topology)?;
            write_topology(&topology, &self.data_dir)?;
            let added = topology.region(&member.region);
            let described = added.map(|it| describe(it, &topology, &self.data_dir, self.base_port));
            if let Some(region) = described {
                make_region_dir(&region.data_dir)?;
                admitted.push(region);
            }
            self.roster.save()?;
        }
        Ok(admitted)
    }
}

/// What the regions say of the members.
#[derive(Default)]
struct Heard {
    /// By index: what the region itself said last.
    said: BTreeMap<usize, Regions>,
    /// Of each dataset, the newest membership that any region said.
    newest: BTreeMap<String, DatasetRegions>,
}

impl Heard {
    fn take(&mut self, index: usize, said: &Regions) {
        for dataset in said.datasets.iter().filter(|it| it.epoch.is_some()) {
            let newest = self.newest.get(&dataset.dataset);
            if newest.is_none_or(|newest| newest.epoch <= dataset.epoch) {
                self.newest.insert(dataset.dataset.clone(), dataset.clone());
            }
        }
        self.said.insert(index, said.clone());
    }

    fn forget(&mut self, index: usize) {
        self.said.remove(&index);
    }

    /// The members that aren't about to leave.
    fn staying(&self) -> impl Iterator<Item = &Member> {
        let members = self.newest.values().flat_map(|dataset| &dataset.members);
        members.filter(|member| member.standing != "leaving")
    }

    /// Whether a region says that it was removed from everything, and no later membership has it.
    fn has_left(&self, index: usize, name: &str) -> bool {
        let Some(said) = self.said.get(&index) else {
            return false;
        };
        let has_left = |own: &DatasetRegions| {
            let is_removed = own.standing.as_deref() == Some("removed");
            let newest = self.newest.get(&own.dataset);
            let is_without = newest.is_some_and(|newest| {
                newest.epoch > own.epoch && newest.members.iter().all(|it| it.region != name)
            });
            is_removed && is_without
        };
        !said.datasets.is_empty() && said.datasets.iter().all(has_left)
    }
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // An error means that the fleet is gone.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(epoch: u64, standing: &str, members: &[(&str, &str)]) -> Regions {
        let members = members.iter().map(|(region, standing)| Member {
            region: (*region).to_owned(),
            standing: (*standing).to_owned(),
            ..Member::default()
        });
        let dataset = DatasetRegions {
            dataset: "main".to_owned(),
            epoch: Some(epoch),
            standing: Some(standing.to_owned()),
            members: members.collect(),
            ..DatasetRegions::default()
        };
        Regions {
            datasets: vec![dataset],
            ..Regions::default()
        }
    }

    #[test]
    fn a_region_has_left_until_it_is_expected_again() {
        let mut heard = Heard::default();
        let removed = said(4, "removed", &[("a", "voting"), ("b", "leaving")]);
        heard.take(1, &removed);
        assert!(!heard.has_left(1, "b"), "nobody else has said so");
        heard.take(0, &said(5, "voting", &[("a", "voting")]));
        assert!(heard.has_left(1, "b"));
        heard.forget(1);
        assert!(!heard.has_left(1, "b"));

        heard.take(0, &said(6, "voting", &[("a", "voting"), ("b", "joining")]));
        heard.take(1, &removed);
        assert!(!heard.has_left(1, "b"));
        // Somebody who hasn't heard of it yet changes nothing.
        heard.take(2, &said(5, "voting", &[("a", "voting")]));
        assert!(!heard.has_left(1, "b"));
        assert_eq!(heard.staying().count(), 2);
    }
}
