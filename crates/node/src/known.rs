//! Which regions this one knows, and where they are reached: those of its topology, and those that
//! epochs have named, kept in the data directory. A region that counts no more is remembered, so
//! that it is let in to be told so.

use crate::dataset::Membership;
use crate::durable;
use crate::links::{PeerAddress, Peers};
use crate::region::Wan;
use meridian_model::{RegionAddress, RegionName};
use meridian_topology::{Location, Place, Topology, round_trip};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FILE: &str = "regions.json";
const MICRODEGREES: f64 = 1_000_000.0;

/// The regions that are known; clones share them.
#[derive(Clone, Debug)]
pub struct Known(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: RegionName,
    place: Option<Place>,
    wan: Wan,
    topology: BTreeMap<RegionName, RegionAddress>,
    witnesses: BTreeSet<RegionName>,
    /// Where the others are kept; nowhere in a test.
    file: Option<PathBuf>,
    named: Mutex<BTreeMap<RegionName, RegionAddress>>,
}

impl Known {
    /// The regions of a topology, and those that `data_dir` remembers. What was remembered and can't
    /// be read comes again with the next epoch.
    #[must_use]
    pub fn open(topology: &Topology, own: &str, wan: Wan, data_dir: Option<&Path>) -> Self {
        let file = data_dir.map(|data_dir| data_dir.join(FILE));
        let text = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let named = text.and_then(|text| serde_json::from_slice(&text).ok());
        let regions = topology.regions.iter().filter_map(|region| {
            let address = RegionAddress {
                api: region.api.as_ref()?.address.to_string(),
                link: region.link.as_ref()?.address.to_string(),
                place: Some(microdegrees(region.place.location)),
            };
            Some((region.name.clone(), address))
        });
        Self(Arc::new(Shared {
            own: RegionName::new(own),
            place: topology.region(own).map(|region| region.place),
            wan,
            topology: regions.collect(),
            witnesses: topology
                .witnesses()
                .map(|region| region.name.clone())
                .collect(),
            file,
            named: Mutex::new(named.unwrap_or_default()),
        }))
    }

    /// Where a region is reached: as the topology says, else as an epoch said.
    #[must_use]
    pub fn address(&self, region: &RegionName) -> Option<RegionAddress> {
        let stated = self.0.topology.get(region).cloned();
        stated.or_else(|| self.named().get(region).cloned())
    }

    /// All of which it is known where they are reached.
    pub(crate) fn names(&self) -> BTreeSet<RegionName> {
        let named = self.named();
        self.0
            .topology
            .keys()
            .chain(named.keys())
            .cloned()
            .collect()
    }

    /// This region.
    #[must_use]
    pub fn own(&self) -> &RegionName {
        &self.0.own
    }

    /// Whether the topology names a region.
    #[must_use]
    pub fn is_in_topology(&self, region: &RegionName) -> bool {
        self.0.topology.contains_key(region)
    }

    /// Whether a region holds no tables.
    #[must_use]
    pub fn is_witness(&self, region: &RegionName) -> bool {
        self.0.witnesses.contains(region)
    }

    /// Remembers where a region is reached.
    pub(crate) fn remember(&self, region: &RegionName, address: &RegionAddress) {
        let mut named = self.named();
        if named.get(region) == Some(address) {
            return;
        }
        named.insert(region.clone(), address.clone());
        let Some(file) = &self.0.file else { return };
        let text = serde_json::to_vec_pretty(&*named).expect("addresses are plain JSON");
        if let Err(error) = durable::replace(file, text.as_ref()) {
            tracing::warn!(%error, file = %file.display(), "cannot remember where regions are");
        }
    }

    /// Whom to talk to, given each dataset's membership (`None` where it doesn't run).
    pub(crate) fn peers(&self, datasets: &[Option<Arc<Membership>>]) -> Peers {
        let mut names = BTreeSet::new();
        let mut is_apart = false;
        for membership in datasets {
            let Some(membership) = membership else {
                is_apart = true;
                continue;
            };
            is_apart |= !matches!(
                membership.standing,
                meridian_replicate::OwnStanding::Voting | meridian_replicate::OwnStanding::Leaving
            );
            for (region, member) in &membership.epoch.members {
                if let Some(address) = &member.address {
                    self.remember(region, address);
                }
                names.insert(region.clone());
            }
        }
        if is_apart {
            // Whoever may let it in, or tell it how things stand.
            names.extend(self.0.topology.keys().cloned());
        }
        names.remove(&self.0.own);
        let dialled = names.iter().filter_map(|name| {
            let address = self.address(name)?;
            let peer = PeerAddress {
                delay: self.one_way(&address),
                link: address.link,
            };
            Some((name.clone(), peer))
        });
        let dialled = dialled.collect();
        let mut heard: BTreeSet<_> = self.named().keys().cloned().collect();
        heard.extend(self.0.topology.keys().cloned());
        heard.remove(&self.0.own);
        Peers { dialled, heard }
    }

    /// How long a message takes to a region.
    fn one_way(&self, to: &RegionAddress) -> Duration {
        let place = to.place.and_then(place);
        match (self.0.wan, self.0.place, place) {
            (Wan::Real, Some(from), Some(to)) => {
                Duration::from_millis(u64::from(round_trip(&from, &to).ms)) / 2
            }
            _ => Duration::ZERO,
        }
    }

    fn named(&self) -> MutexGuard<'_, BTreeMap<RegionName, RegionAddress>> {
        self.0.named.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Degrees, each times a million.
#[expect(clippy::cast_possible_truncation, reason = "at most 180 million")]
pub(crate) fn microdegrees(location: Location) -> (i32, i32) {
    let part = |degrees: f64| (degrees * MICRODEGREES).round() as i32;
    (part(location.latitude), part(location.longitude))
}

/// Degrees again.
pub(crate) fn degrees((latitude, longitude): (i32, i32)) -> (f64, f64) {
    let part = |millionths: i32| f64::from(millionths) / MICRODEGREES;
    (part(latitude), part(longitude))
}

/// The place; a cloud region's where it is one, so that published round trips are found.
fn place(at: (i32, i32)) -> Option<Place> {
    let (latitude, longitude) = degrees(at);
    Some(Place {
        location: Location::new(latitude, longitude)?,
        cloud_region: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Epoch, Member, Sequence, Standing};
    use meridian_replicate::OwnStanding;

    const TOPOLOGY: &str = r#"
        zone = "a.test"
        [[region]]
        name = "us-east-1"
        api = "127.0.0.1:1"
        link = "127.0.0.1:2"
        [[region]]
        name = "eu-west-1"
        api = "127.0.0.1:3"
        link = "127.0.0.1:4"
        [[dataset]]
        name = "main"
        engine = "embedded"
    "#;

    fn known(data_dir: &Path) -> Known {
        let topology = Topology::parse(TOPOLOGY, Path::new("a.toml")).unwrap();
        Known::open(&topology, "us-east-1", Wan::None, Some(data_dir))
    }

    fn membership(standing: OwnStanding, members: &[(&str, Option<&str>)]) -> Arc<Membership> {
        let members = members.iter().map(|(name, link)| {
            let address = link.map(|link| RegionAddress {
                api: "127.0.0.1:9".to_owned(),
                link: link.to_owned(),
                place: None,
            });
            let member = Member {
                origin: None,
                standing: Standing::Voting,
                address,
            };
            (RegionName::new(name), member)
        });
        let members = members.collect();
        let epoch = Epoch { number: 1, members };
        Arc::new(Membership {
            epoch,
            standing,
            adopted: BTreeMap::new(),
            deciding: None,
            awaits_outcome: false,
            cuts: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            away: BTreeSet::new(),
            waits_for: BTreeMap::new(),
            needs_new_copy: false,
        })
    }

    fn names<'a>(names: impl IntoIterator<Item = &'a RegionName>) -> Vec<&'a str> {
        names.into_iter().map(RegionName::as_str).collect()
    }

    #[test]
    fn members_are_dialled_and_former_ones_are_heard() {
        let directory = tempfile::tempdir().unwrap();
        let known = known(directory.path());
        let members = [("us-east-1", None), ("new", Some("127.0.0.1:5"))];
        let peers = known.peers(&[Some(membership(OwnStanding::Voting, &members))]);
        assert_eq!(names(peers.dialled.keys()), ["new"]);
        assert_eq!(names(&peers.heard), ["eu-west-1", "new"]);
        let alone = membership(OwnStanding::Voting, &[("us-east-1", None)]);
        let again = self::known(directory.path()).peers(&[Some(alone)]);
        assert!(again.dialled.is_empty());
        assert_eq!(
            names(&again.heard),
            ["eu-west-1", "new"],
            "after a restart too"
        );
    }

    #[test]
    fn whoever_does_not_count_dials_everybody_it_knows_of() {
        let directory = tempfile::tempdir().unwrap();
        let known = known(directory.path());
        assert_eq!(names(known.peers(&[None]).dialled.keys()), ["eu-west-1"]);
        let evicted = OwnStanding::Evicted {
            reason: String::new(),
            held: Sequence(0),
        };
        let peers = known.peers(&[Some(membership(evicted, &[("new", Some("127.0.0.1:5"))]))]);
        assert_eq!(names(peers.dialled.keys()), ["eu-west-1", "new"]);
    }
}
