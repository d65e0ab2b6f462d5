//! `system.json`: what `meridian up` leaves in its data directory so that other verbs find it.
//!
//! It is replaced whole (written beside and renamed), so a reader never sees half of it, and removed
//! when `up` ends. One left behind by an `up` that was killed leads to regions that don't answer,
//! which is what the reader is then told.

use crate::error::{CliError, CliResult, Exit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The directory that `up` and the verbs that look for it use when none is given.
pub const DATA_DIR: &str = ".meridian";
const FILE: &str = "system.json";

/// A system that `meridian up` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// The process of `meridian up`.
    pub process_id: u32,
    /// The topology that its regions read.
    pub topology: PathBuf,
    /// The zone that its name servers answer for.
    #[serde(default)]
    pub zone: String,
    /// Its regions, in the order of the topology.
    pub regions: Vec<SystemRegion>,
    /// Where one more region would listen.
    #[serde(default)]
    pub next: Option<NextRegion>,
    /// Where those would listen again that have left.
    #[serde(default)]
    pub former: BTreeMap<String, NextRegion>,
}

/// The addresses that `up` keeps ready for a region that is to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRegion {
    /// `host:port` of its API.
    pub api: String,
    /// `host:port` of its link.
    pub link: String,
}

/// A region of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemRegion {
    /// Its name.
    pub name: String,
    /// The URL of its API.
    pub api: String,
    /// Where other regions reach it.
    pub link: String,
    /// Where its name server is asked.
    #[serde(default)]
    pub dns: Option<String>,
    /// Where the sample application listens in it.
    #[serde(default)]
    pub app: Vec<SocketAddr>,
    /// Its process, while there is one.
    pub process_id: Option<u32>,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// Where its process writes what it says.
    pub log: PathBuf,
    /// Whether it holds no tables.
    #[serde(default)]
    pub witness: bool,
}

impl System {
    /// Where a region is to listen that joins: where it does or did, if it is or was here.
    pub fn addresses_for(&self, name: &str) -> Option<NextRegion> {
        let here = self.regions.iter().find(|region| region.name == name);
        let here = here.map(|region| NextRegion {
            api: region.api.trim_start_matches("http://").to_owned(),
            link: region.link.clone(),
        });
        here.or_else(|| self.former.get(name).cloned())
            .or_else(|| self.next.clone())
    }

    /// Reads the system that runs in `data_dir`.
    pub fn read(data_dir: &Path) -> CliResult<Self> {
        let path = data_dir.join(FILE);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CliError::new(
                Exit::Unreachable,
                format!("no system runs in {}", data_dir.display()),
            )
            .hint("start one with `meridian up`, or name one with --data-dir DIR or --api URL"),
            _ => CliError::failure(format!("read {}", path.display())).because(&error),
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            CliError::failure(format!("{} is not what `up` writes", path.display()))
                .because(&error)
                .hint("it may be of another version; stop that `meridian up` and start it again")
        })
    }

    /// Replaces the description in `data_dir`.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(&data_dir.join(FILE), &text)
    }

    /// Removes the description from `data_dir`; it may be gone.
    pub fn remove(data_dir: &Path) {
        let _ = fs::remove_file(data_dir.join(FILE));
    }
}

/// Replaces a file whole and durably: a crash leaves the old one or the new one.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_says_when_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let system = System {
            process_id: 7,
            topology: "meridian.toml".into(),
            zone: "meridian.test".to_owned(),
            regions: vec![SystemRegion {
                name: "eu-west-1".to_owned(),
                api: "http://127.0.0.1:7000".to_owned(),
                link: "127.0.0.1:7001".to_owned(),
                dns: Some("127.0.0.1:7002".to_owned()),
                app: vec![([127, 0, 1, 1], 7003).into()],
                process_id: None,
                data_dir: "eu-west-1".into(),
                log: "eu-west-1/log.txt".into(),
                witness: false,
            }],
            next: None,
            former: BTreeMap::new(),
        };
        system.write(directory.path()).unwrap();
        assert_eq!(System::read(directory.path()).unwrap(), system);
        System::remove(directory.path());
        let error = System::read(directory.path()).unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
    }
}
