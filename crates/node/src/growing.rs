//! Regions that the topology file names since the process began: clients are led to them without a
//! restart.
//!
//! ```text
//! file, looked at once a second ─▶ grown topology ─▶ name server: addresses, name servers
//!                                                 ├▶ steering: routes, capacities
//!                                                 └▶ pictures: places
//! ```
//!
//! A region keeps its index, and new ones stand behind those that there are; so what was made before
//! fits what was made after while one follows the other. None goes: one that isn't a member, or not
//! any more, is down. Nothing else of the file counts before a restart.

use crate::dns::{DnsError, NameServer};
use crate::steering::Steering;
use meridian_model::RegionName;
use meridian_steer::RouteError;
use meridian_topology::{LoadError, Place, REGIONS_MAX, Topology};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the regions are, in the order in which they are known.
pub(crate) type Places = Vec<(RegionName, Place)>;

/// Where the regions of a topology are.
pub(crate) fn places(topology: &Topology) -> Places {
    let regions = topology.regions.iter();
    regions
        .map(|region| (region.name.clone(), region.place))
        .collect()
}

/// Who has to hear of new regions.
pub(crate) struct Growing {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// What is known by now.
    pub(crate) topology: Topology,
    pub(crate) steering: Steering,
    pub(crate) name_server: Option<NameServer>,
    pub(crate) places: watch::Sender<Places>,
}

/// New regions can't be taken in.
#[derive(Debug, thiserror::Error)]
enum GrowError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("with the regions that it had it would have {0}, of at most {REGIONS_MAX}")]
    TooMany(usize),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error(transparent)]
    Route(#[from] RouteError),
}

impl Growing {
    /// Looks at the file for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut taken) = (None, None);
        loop {
            ticks.tick().await;
            let now = stamp(&self.file).await;
            // One that has just changed may be in the middle of being written.
            let is_still = std::mem::replace(&mut seen, now) == now;
            if now.is_none() || now == taken || !is_still {
                continue;
            }
            taken = now;
            if let Err(error) = self.look().await {
                let file = self.file.display();
                tracing::warn!(%file, %error, "the regions that are known stay as they are");
            }
        }
    }

    async fn look(&mut self) -> Result<(), GrowError> {
        let file = self.file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || meridian_topology::load(&file)).await
        else {
            return Ok(());
        };
        let Some(grown) = grown(&self.topology, &read?) else {
            return Ok(());
        };
        let count = grown.regions.len();
        if count > REGIONS_MAX {
            return Err(GrowError::TooMany(count));
        }
        if let Some(name_server) = &self.name_server {
            name_server.grow(&grown)?;
        }
        self.steering.grow(&grown)?;
        self.places.send_replace(places(&grown));
        let known = self.topology.regions.len();
        for region in &grown.regions[known..] {
            tracing::info!(region = %region.name, "the topology file names a new region");
        }
        self.topology = grown;
        Ok(())
    }
}

/// When a file was changed, and how long it is; nothing where it isn't there.
async fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = tokio::fs::metadata(file).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// A topology with the regions that another one has more, and its routes if they have the same names;
/// `None` where it has none more.
fn grown(topology: &Topology, read: &Topology) -> Option<Topology> {
    let new = read.regions.iter();
    let new = new.filter(|region| topology.region(region.name.as_str()).is_none());
    let mut grown = topology.clone();
    grown.regions.extend(new.cloned());
    if grown.regions.len() == topology.regions.len() {
        return None;
    }
    let names = |topology: &Topology| -> Vec<String> {
        let routes = topology.routes.iter();
        routes.map(|route| route.name.clone()).collect()
    };
    if names(read) == names(topology) {
        grown.routes.clone_from(&read.routes);
    }
    Some(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(regions: &[&str], routes: &[(&str, &str)]) -> Topology {
        let mut text = "zone = \"a.test\"\n".to_owned();
        for region in regions {
            text += &format!("[[region]]\nname = \"{region}\"\n");
        }
        text += "[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n";
        for (name, policy) in routes {
            text += &format!("[route.{name}]\npolicy = \"{policy}\"\n");
        }
        Topology::parse(&text, Path::new("test.toml")).unwrap()
    }

    #[test]
    fn new_regions_stand_behind_those_that_there_are_and_none_goes() {
        let before = topology(&["us-east-1", "eu-west-1"], &[("app", "latency")]);
        let read = topology(&["ap-northeast-1", "us-east-1"], &[("app", "multivalue")]);
        let grown = grown(&before, &read).unwrap();
        let names: Vec<_> = grown.regions.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["us-east-1", "eu-west-1", "ap-northeast-1"]);
        assert_eq!(grown.routes, read.routes);
    }

    #[test]
    fn without_a_new_region_nothing_is_taken_and_routes_of_other_names_never() {
        let before = topology(&["us-east-1", "eu-west-1"], &[("app", "latency")]);
        let changed = topology(&["eu-west-1"], &[("app", "multivalue")]);
        assert!(grown(&before, &changed).is_none());
        let regions = ["us-east-1", "eu-west-1", "ap-northeast-1"];
        let more = topology(&regions, &[("app", "multivalue"), ("other", "latency")]);
        assert_eq!(grown(&before, &more).unwrap().routes, before.routes);
    }
}
