//! Regions that join or leave while `up` runs: it sees them among the members that its regions
//! report, starts the process of one that is new, and stops the one that has left.

use super::Options;
use super::certificates;
use super::event::Event;
use super::poll::{poll, watch_members};
use super::prepare::{describe, make_region_dir, write_topology};
use super::region::Keeper;
use super::roster::Roster;
use super::servers::{self, Servers};
use crate::error::CliResult;
use crate::regions::reading::Regions;
use crate::system::{System, SystemRegion};
use meridian_topology::Topology;
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
        if let Some(stop) = self.stops.get(index) {
            stop.send_replace(true);
        }
        Ok(())
    }

    /// Makes ready what new members need that are to run here; nothing where there is none.
    pub fn admit(&mut self, said: &Regions) -> CliResult<Vec<SystemRegion>> {
        let mut admitted = Vec::new();
        for member in said.members() {
            if self.roster.has(&member.region) || !self.roster.admit(member, self.base_port) {
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

/// Whether the region that says this was removed from everything.
pub fn has_left(said: &Regions) -> bool {
    let left = |standing: Option<&str>| standing == Some("removed");
    !said.datasets.is_empty() && said.datasets.iter().all(|it| left(it.standing.as_deref()))
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        // An error means that the fleet is gone.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
