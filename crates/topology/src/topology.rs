//! The topology's types, and what can be asked of them.
//!
//! `meridian serve` asks [`Topology::for_serve`], which demands every region's addresses;
//! `meridian up` takes the same file with [`Topology::on_this_machine`], which replaces them.

use crate::address::{Address, Endpoint, NameServer};
use crate::dataset::Dataset;
use crate::dns::Dns;
use crate::fault::{Fault, Position, TopologyError};
use crate::health::{Health, Probe};
use crate::location::{Place, well_known};
use crate::name::DatasetName;
use crate::route::{Route, Steering};
use crate::suggest::nearest;
use meridian_health::Service;
use meridian_model::RegionName;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most regions that a topology may have.
pub const REGIONS_MAX: usize = 32;
/// How many ports apart the regions of one machine are ([`Topology::on_this_machine`]).
pub const PORTS_PER_REGION: u16 = 10;
/// The regions of [`Topology::built_in`].
const BUILT_IN_REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// Everything that the regions agree on before they start.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// The file's name for errors, or what stands for it.
    pub(crate) file: String,
    /// The DNS zone under which names are answered, in lower case.
    pub zone: String,
    /// The regions, in the order of the file; between 1 and [`REGIONS_MAX`].
    pub regions: Vec<Region>,
    /// The datasets, in the order of the file; at least one.
    pub datasets: Vec<Dataset>,
    /// What is expected of the regions' clocks.
    pub clock: Clock,
    /// Certificates for everything that leaves the machine.
    pub tls: Option<Tls>,
    /// Who may use the API.
    pub api: Api,
    /// How the regions observe each other.
    pub health: Health,
    /// The services that clients ask for by name, in the order of their names.
    pub routes: Vec<Route>,
    /// What holds for drains and shifts.
    pub steering: Steering,
    /// How the zone is served.
    pub dns: Dns,
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name, distinct.
    pub name: RegionName,
    /// Where it is.
    pub place: Place,
    /// Where its API is reached; [`Topology::for_serve`] demands it.
    pub api: Option<Endpoint>,
    /// Where other regions reach it; [`Topology::for_serve`] demands it.
    pub link: Option<Endpoint>,
    /// Where it keeps its data, if the file says so.
    pub data_dir: Option<PathBuf>,
    /// Whether it keeps the log and votes, and holds no tables.
    pub witness: bool,
    /// Where clients reach it; a region without is in no answer.
    pub addresses: Vec<IpAddr>,
    /// Where it answers questions of DNS, if it does.
    pub dns: Option<NameServer>,
    /// How many requests a second it can carry, if that is known.
    pub capacity: Option<u32>,
    /// How its services are probed; of `api` and, beside a dataset on PostgreSQL, `database` a region
    /// has a probe without.
    pub services: BTreeMap<Service, Probe>,
    pub(crate) position: Option<Position>,
}

impl Region {
    /// A region that no file names, without addresses yet.
    #[must_use]
    pub fn new(name: &str, place: Place) -> Self {
        Self {
            name: RegionName::new(name),
            place,
            api: None,
            link: None,
            data_dir: None,
            witness: false,
            addresses: Vec::new(),
            dns: None,
            capacity: None,
            services: BTreeMap::new(),
            position: None,
        }
    }

    /// Puts it on this machine as number `number` from `base_port` on: the API there, the link on the
    /// port after and DNS on the one after that; `false` if the ports would not fit. On Linux clients
    /// reach it at 127.0.1.(number + 1), elsewhere at 127.0.0.1, the only loopback address there.
    /// What the file says about production machines is left aside: directories, certificates, and
    /// probes of what is not on this machine.
    #[must_use]
    pub fn put_on_this_machine(&mut self, base_port: u16, number: u16) -> bool {
        let first = number
            .checked_mul(PORTS_PER_REGION)
            .and_then(|offset| base_port.checked_add(offset));
        let Some(api) = first.filter(|first| first.checked_add(PORTS_PER_REGION - 1).is_some())
        else {
            return false;
        };
        self.api = Some(Endpoint::at(Address::loopback(api)));
        self.link = Some(Endpoint::at(Address::loopback(api + 1)));
        self.dns = Some(NameServer::at((Ipv4Addr::LOCALHOST, api + 2).into()));
        // Numbers above 254 have been used up by regions that came and went.
        let last = (number % 254) as u8 + 1;
        self.addresses = vec![match cfg!(target_os = "linux") {
            true => Ipv4Addr::new(127, 0, 1, last).into(),
            false => Ipv4Addr::LOCALHOST.into(),
        }];
        self.data_dir = None;
        self.services
            .retain(|_, probe| probe.kind.is_of_this_machine());
        true
    }
}

/// What is expected of the regions' clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// A peer's clock further ahead than this raises an alert.
    pub drift_max: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            drift_max: Duration::from_millis(500),
        }
    }
}

/// The certificates, as paths in which `{region}` stands for a region's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The authority that signs every region's certificate (PEM).
    pub authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) positions: Option<TlsPositions>,
}

/// Where the file names the certificates, for errors about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsPositions {
    pub(crate) authority: Position,
    pub(crate) certificate: Position,
    pub(crate) key: Position,
}

impl Tls {
    /// Certificates that no file names; `{region}` in the last two stands for a region's name.
    #[must_use]
    pub fn new(authority: PathBuf, certificate: PathBuf, key: PathBuf) -> Self {
        Self {
            authority,
            certificate,
            key,
            positions: None,
        }
    }

    /// The path of a region's certificate chain (PEM).
    #[must_use]
    pub fn certificate_of(&self, region: &RegionName) -> PathBuf {
        for_region(&self.certificate, region)
    }

    /// The path of a region's private key (PEM).
    #[must_use]
    pub fn key_of(&self, region: &RegionName) -> PathBuf {
        for_region(&self.key, region)
    }
}

/// Who may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// The file with the bearer token that clients must send; without it none is asked for.
    pub token_file: Option<PathBuf>,
    pub(crate) token_file_position: Option<Position>,
}

/// Replaces `{region}`. Paths come out of a TOML string, so they are UTF-8; one that a caller
/// built of other bytes has no placeholder to find and stays as it is.
fn for_region(path: &Path, region: &RegionName) -> PathBuf {
    path.to_str().map_or_else(
        || path.to_owned(),
        |text| PathBuf::from(text.replace("{region}", region.as_str())),
    )
}

/// What one region needs to start: proof that every address is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    /// The region to serve.
    pub region: Region,
    /// Its API.
    pub api: Endpoint,
    /// Its link.
    pub link: Endpoint,
    /// All other regions, in the order of the file.
    pub peers: Vec<Peer>,
}

/// Another region, as the one that serves sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its name.
    pub name: RegionName,
    /// Where it is.
    pub place: Place,
    /// Where its link is reached.
    pub link: Address,
    /// Where its API is reached.
    pub api: Address,
}

/// A base port from which the regions of one machine would not fit below 65536.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "error: {regions} regions do not fit on this machine from port {base_port}\n  hint: use a base port from 1 to {base_port_max}"
)]
pub struct BasePortError {
    /// The port asked for.
    pub base_port: u16,
    /// How many regions there are.
    pub regions: usize,
    /// The highest base port that would do.
    pub base_port_max: u16,
}

impl Topology {
    /// The topology of `meridian up` without a file: us-east-1, eu-west-1 and ap-northeast-1, zone
    /// `meridian.test`, one embedded dataset `main`, no addresses yet.
    #[must_use]
    pub fn built_in() -> Self {
        let regions = BUILT_IN_REGIONS.map(|name| {
            let place = well_known(name).expect("the built-in regions are well known");
            Region::new(name, place)
        });
        let main = DatasetName::new("main").expect("`main` keeps the rule for dataset names");
        Self {
            file: "built-in topology".to_owned(),
            zone: "meridian.test".to_owned(),
            regions: regions.into(),
            datasets: vec![Dataset::embedded(main)],
            clock: Clock::default(),
            tls: None,
            api: Api::default(),
            health: Health::default(),
            routes: vec![Route::app()],
            steering: Steering::default(),
            dns: Dns::default(),
        }
    }

    /// The region of this name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<&Region> {
        self.regions
            .iter()
            .find(|region| region.name.as_str() == name)
    }

    /// The regions that hold no tables.
    pub fn witnesses(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter().filter(|region| region.witness)
    }

    /// The region of this name.
    ///
    /// # Errors
    /// If there is none; the hint names those there are.
    pub fn for_region(&self, name: &str) -> Result<&Region, TopologyError> {
        self.region(name)
            .ok_or_else(|| self.faulty(vec![self.unknown_region(name)]))
    }

    /// What is wrong with this topology, found by whoever knows more of it, as the error that says so.
    #[must_use]
    pub fn faulty(&self, faults: Vec<Fault>) -> TopologyError {
        TopologyError {
            file: self.file.clone(),
            faults,
        }
    }

    /// The dataset that `table` belongs to: the one that names it, else the one that takes every
    /// table that no other names, else none.
    #[must_use]
    pub fn dataset_of_table(&self, table: &str) -> Option<&Dataset> {
        self.datasets
            .iter()
            .find(|dataset| dataset.names(table))
            .or_else(|| {
                self.datasets
                    .iter()
                    .find(|dataset| dataset.tables.is_none())
            })
    }

    /// Whether requests find the rows that `dataset` has of `table`. They don't if the table belongs
    /// to another dataset, or to none, as it may since the file was changed.
    #[must_use]
    pub fn finds(&self, dataset: &str, table: &str) -> bool {
        self.dataset_of_table(table)
            .is_some_and(|it| it.name.as_str() == dataset)
    }

    /// What `region` needs to start.
    ///
    /// # Errors
    /// If there is no such region, or any region lacks its `api` or `link` address.
    pub fn for_serve(&self, region: &str) -> Result<Serving, TopologyError> {
        let mut faults = Vec::new();
        if self.region(region).is_none() {
            faults.push(self.unknown_region(region));
        }
        let complete: Vec<_> = self
            .regions
            .iter()
            .filter_map(|candidate| complete(candidate, &mut faults))
            .collect();
        if !faults.is_empty() {
            let file = self.file.clone();
            return Err(TopologyError { file, faults });
        }
        let (own, peers): (Vec<_>, Vec<_>) = complete
            .into_iter()
            .partition(|(candidate, ..)| candidate.name.as_str() == region);
        let (own, api, link) = own.first().expect("the region was found above");
        Ok(Serving {
            region: (*own).clone(),
            api: (*api).clone(),
            link: (*link).clone(),
            peers: peers.into_iter().map(peer).collect(),
        })
    }

    /// The same topology with every region on this machine, as `meridian up` runs it: region `i`
    /// has its API at 127.0.0.1, `base_port + 10 i`, and its link on the port after
    /// ([`Region::put_on_this_machine`]). What the file says about addresses, data directories,
    /// certificates and the token is left aside: those are the production machines', and `up` makes
    /// its own.
    ///
    /// # Errors
    /// If the regions' ports would not fit.
    pub fn on_this_machine(&self, base_port: u16) -> Result<Self, BasePortError> {
        // REGIONS_MAX keeps this far below 65536.
        let ports = self.regions.len().min(REGIONS_MAX) as u16 * PORTS_PER_REGION;
        let base_port_max = u16::MAX - ports + 1;
        if base_port == 0 || base_port > base_port_max {
            return Err(BasePortError {
                base_port,
                regions: self.regions.len(),
                base_port_max,
            });
        }
        let mut here = self.clone();
        for (region, number) in here.regions.iter_mut().zip(0..) {
            let fits = region.put_on_this_machine(base_port, number);
            debug_assert!(fits, "looked at above");
        }
        here.tls = None;
        here.api = Api::default();
        Ok(here)
    }

    pub(crate) fn unknown_region(&self, name: &str) -> Fault {
        let names: Vec<_> = self
            .regions
            .iter()
            .map(|region| region.name.as_str())
            .collect();
        Fault {
            position: None,
            reason: format!("there is no region {name:?}"),
            hint: nearest(name, names.iter().copied()).map_or_else(
                || format!("the regions are {}", names.join(", ")),
                |near| format!("did you mean {near:?}?"),
            ),
        }
    }
}

/// A region with both its endpoints.
type Complete<'a> = (&'a Region, &'a Endpoint, &'a Endpoint);

fn complete<'a>(region: &'a Region, faults: &mut Vec<Fault>) -> Option<Complete<'a>> {
    for (key, endpoint, example) in [
        ("api", &region.api, "127.0.0.1:7000"),
        ("link", &region.link, "127.0.0.1:7001"),
    ] {
        if endpoint.is_none() {
            faults.push(Fault {
                position: region.position,
                reason: format!("region {:?} has no `{key}` address, and `serve` needs it", region.name.as_str()),
                hint: format!("add {key} = {example:?} with the region's own address; only `meridian up` chooses addresses itself"),
            });
        }
    }
    Some((region, region.api.as_ref()?, region.link.as_ref()?))
}

fn peer((region, api, link): Complete<'_>) -> Peer {
    Peer {
        name: region.name.clone(),
        place: region.place,
        link: link.address.clone(),
        api: api.address.clone(),
    }
}
