//! Which regions this `up` runs, kept in its data directory: those that it was founded with, those
//! that joined, and which have left. A region keeps its ports for as long as it is here.

use super::super::regions::reading::Member;
use crate::error::{CliError, CliResult};
use crate::system::{NextRegion, replace};
use meridian_topology::{
    Address, Location, PORTS_PER_REGION, Place, REGIONS_MAX, Region, Topology, well_known,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "roster.json";

/// The regions of a data directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Roster {
    /// In the order in which they came.
    pub entries: Vec<Entry>,
    #[serde(skip)]
    path: PathBuf,
}

/// A region of a data directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
    /// The region's number, which gives it its ports.
    pub number: u16,
    /// Whether it joined a running system, and not founded it.
    pub joined: bool,
    /// Whether it was removed.
    pub gone: bool,
}

impl Roster {
    /// Reads the roster of a data directory, or begins it with the regions of the topology.
    ///
    /// # Errors
    /// If the directory was founded with other regions.
    pub fn open(data_dir: &Path, topology: &Topology) -> CliResult<Self> {
        let path = data_dir.join(FILE);
        let mut roster = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                CliError::failure(format!("{} is not what `up` writes", path.display()))
                    .because(&error)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::founded_by(&topology_of_earlier_release(data_dir).unwrap_or(topology.clone()))
            }
            Err(error) => {
                return Err(CliError::failure(format!("read {}", path.display())).because(&error));
            }
        };
        roster.path = path;
        roster.check(data_dir, topology)?;
        Ok(roster)
    }

    fn founded_by(topology: &Topology) -> Self {
        let entries = topology
            .regions
            .iter()
            .zip(0..)
            .map(|(region, number)| Entry {
                name: region.name.to_string(),
                latitude: region.place.location.latitude,
                longitude: region.place.location.longitude,
                number,
                joined: false,
                gone: false,
            });
        Self {
            entries: entries.collect(),
            path: PathBuf::new(),
        }
    }

    fn check(&self, data_dir: &Path, topology: &Topology) -> CliResult {
        let founders = self.entries.iter().filter(|entry| !entry.joined);
        let mut founders: Vec<_> = founders.map(|entry| entry.name.as_str()).collect();
        let named = topology.regions.iter().map(|region| region.name.as_str());
        // One that joined may be written into the file since.
        let mut named: Vec<_> = named
            .filter(|name| !self.entries.iter().any(|it| it.joined && it.name == *name))
            .collect();
        // One that was removed may be taken out of it.
        founders.retain(|name| {
            named.contains(name) || !self.entries.iter().any(|it| it.gone && it.name == *name)
        });
        founders.sort_unstable();
        named.sort_unstable();
        if founders == named {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "the data directory {} was founded with the regions {}, and the topology names {}",
            data_dir.display(),
            founders.join(", "),
            named.join(", ")
        ))
        .hint(
            "start it with the regions that it has, then `meridian regions add NAME` or `remove \
             NAME`; for a new system give another --data-dir",
        ))
    }

    /// The topology with the regions that are here now, each at its ports.
    pub fn apply(&self, topology: &Topology, base_port: u16) -> CliResult<Topology> {
        let mut here = topology.clone();
        let mut known = std::mem::take(&mut here.regions);
        for entry in self.entries.iter().filter(|entry| !entry.gone) {
            let at = known.iter().position(|it| it.name.as_str() == entry.name);
            let mut region = match at {
                Some(at) => known.swap_remove(at),
                None => entry.region()?,
            };
            if !region.put_on_this_machine(base_port, entry.number) {
                return Err(no_ports(&entry.name, base_port));
            }
            here.regions.push(region);
        }
        if here.regions.is_empty() {
            return Err(CliError::failure("every region of this system was removed")
                .hint("give another --data-dir"));
        }
        Ok(here)
    }

    /// Where one more region would listen.
    pub fn next(&self, base_port: u16) -> Option<NextRegion> {
        self.room(base_port, self.next_number())
    }

    /// Where those would listen again that have left: where others remember them.
    pub fn former(&self, base_port: u16) -> BTreeMap<String, NextRegion> {
        let gone = self.entries.iter().filter(|entry| entry.gone);
        gone.filter_map(|entry| Some((entry.name.clone(), self.room(base_port, entry.number)?)))
            .collect()
    }

    fn room(&self, base_port: u16, number: u16) -> Option<NextRegion> {
        if self.entries.iter().filter(|entry| !entry.gone).count() >= REGIONS_MAX {
            return None;
        }
        let (api, link) = addresses(base_port, number)?;
        Some(NextRegion {
            api: api.to_string(),
            link: link.to_string(),
        })
    }

    fn next_number(&self) -> u16 {
        let numbers = self.entries.iter().map(|entry| entry.number + 1);
        numbers.max().unwrap_or_default()
    }

    /// Whether this region runs here.
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|it| it.name == name && !it.gone)
    }

    /// Takes a new member in, or one that had left, if it is to listen where `up` would start it.
    pub fn admit(&mut self, member: &Member, base_port: u16) -> bool {
        let mut entries = self.entries.iter();
        let former = entries.find(|entry| entry.name == member.region);
        let number = former.map_or_else(|| self.next_number(), |entry| entry.number);
        let is_here = self.room(base_port, number).is_some_and(|room| {
            member.api.as_deref() == Some(&room.api) && member.link.as_deref() == Some(&room.link)
        });
        let Some((latitude, longitude)) = member.latitude.zip(member.longitude) else {
            return false;
        };
        if !is_here {
            return false;
        }
        self.entries.retain(|entry| entry.name != member.region);
        self.entries.push(Entry {
            name: member.region.clone(),
            latitude,
            longitude,
            number,
            joined: true,
            gone: false,
        });
        true
    }

    /// Remembers that a region has left.
    pub fn gone(&mut self, name: &str) {
        for entry in &mut self.entries {
            entry.gone |= entry.name == name;
        }
    }

    /// Whether a region joined a running system.
    pub fn joined(&self, name: &str) -> bool {
        self.entries.iter().any(|it| it.name == name && it.joined)
    }

    /// Writes it down.
    pub fn save(&self) -> CliResult {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        text.and_then(|text| replace(&self.path, &text))
            .map_err(|error| {
                CliError::failure(format!("write {}", self.path.display())).because(&error)
            })
    }
}

impl Entry {
    fn region(&self) -> CliResult<Region> {
        let location = Location::new(self.latitude, self.longitude).ok_or_else(|| {
            CliError::failure(format!("region {} is nowhere on the map", self.name))
        })?;
        let place = well_known(&self.name).filter(|place| place.location == location);
        let place = place.unwrap_or(Place {
            location,
            cloud_region: None,
        });
        Ok(Region::new(&self.name, place))
    }
}

/// Region `number`'s API and link.
fn addresses(base_port: u16, number: u16) -> Option<(Address, Address)> {
    let port = base_port.checked_add(number.checked_mul(PORTS_PER_REGION)?)?;
    Some((
        Address::loopback(port),
        Address::loopback(port.checked_add(1)?),
    ))
}

fn no_ports(name: &str, base_port: u16) -> CliError {
    CliError::usage(format!(
        "from base port {base_port} there are no ports left for region {name}"
    ))
    .hint("give a lower --base-port")
}

/// Earlier releases left only the topology; with data beside it, it says who founded the directory.
fn topology_of_earlier_release(data_dir: &Path) -> Option<Topology> {
    let topology = meridian_topology::load(&data_dir.join("meridian.toml")).ok()?;
    let has_data = topology.regions.iter().any(|region| {
        data_dir
            .join(region.name.as_str())
            .join("datasets")
            .exists()
    });
    has_data.then_some(topology)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, next: &NextRegion) -> Member {
        Member {
            region: name.to_owned(),
            api: Some(next.api.clone()),
            link: Some(next.link.clone()),
            latitude: Some(50.0),
            longitude: Some(8.5),
            ..Member::default()
        }
    }

    fn ports(topology: &Topology) -> Vec<(String, u16)> {
        let regions = topology.regions.iter();
        let port = |region: &Region| region.api.as_ref().unwrap().address.port();
        regions.map(|it| (it.name.to_string(), port(it))).collect()
    }

    #[test]
    fn regions_come_and_go_and_keep_their_ports() {
        let directory = tempfile::tempdir().unwrap();
        let topology = Topology::built_in();
        let mut roster = Roster::open(directory.path(), &topology).unwrap();
        let next = roster.next(7000).unwrap();
        assert_eq!(next.api, "127.0.0.1:7030");
        let elsewhere = NextRegion {
            api: "10.0.0.1:7030".to_owned(),
            link: "10.0.0.1:7031".to_owned(),
        };
        assert!(!roster.admit(&member("far", &elsewhere), 7000));
        assert!(roster.admit(&member("near", &next), 7000));
        roster.gone("eu-west-1");
        roster.save().unwrap();

        let again = Roster::open(directory.path(), &topology).unwrap();
        assert_eq!(again, roster);
        let here = again.apply(&topology, 8000).unwrap();
        let expected = [
            ("us-east-1", 8000),
            ("ap-northeast-1", 8020),
            ("near", 8030),
        ];
        assert_eq!(
            ports(&here),
            expected.map(|(name, port)| (name.to_owned(), port))
        );
        assert_eq!(again.next(7000).unwrap().api, "127.0.0.1:7040");
        assert!(again.joined("near") && !again.has("eu-west-1"));
    }

    #[test]
    fn a_region_that_had_left_comes_back_to_its_ports() {
        let directory = tempfile::tempdir().unwrap();
        let mut roster = Roster::open(directory.path(), &Topology::built_in()).unwrap();
        assert!(roster.former(7000).is_empty());
        roster.gone("eu-west-1");
        let former = roster.former(7000)["eu-west-1"].clone();
        assert_eq!(former.api, "127.0.0.1:7010");
        let next = roster.next(7000).unwrap();
        assert!(!roster.admit(&member("eu-west-1", &next), 7000));
        assert!(roster.admit(&member("eu-west-1", &former), 7000));
        assert!(roster.has("eu-west-1") && roster.former(7000).is_empty());
        assert_eq!(roster.next(7000), Some(next));
    }

    #[test]
    fn a_directory_of_other_regions_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut topology = Topology::built_in();
        Roster::open(directory.path(), &topology)
            .unwrap()
            .save()
            .unwrap();
        topology.regions.pop();
        let error = Roster::open(directory.path(), &topology).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("founded with the regions ap-northeast-1, eu-west-1, us-east-1"));
        assert!(text.contains("names eu-west-1, us-east-1\n"), "{text}");
    }
}
