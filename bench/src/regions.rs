//! Any number of regions on this machine, each a `meridian serve` of its own: started, killed and
//! started again one by one, which regions under `meridian up` are not.

use crate::cluster::{self, ClusterError, Region, check_binary};
use crate::ports::free_port;
use crate::process::{ProcessError, Server};
use crate::procfs::{self, Memory};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const READY_DEADLINE: Duration = Duration::from_secs(300);
/// How many regions there can be: so many have names.
pub const REGIONS_MAX: usize = NAMES.len();
const NAMES: [&str; 8] = [
    "region-1", "region-2", "region-3", "region-4", "region-5", "region-6", "region-7", "region-8",
];

const EMBEDDED: &str = "[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n\
                        strategy = \"last-writer-wins\"\n\n";

/// Why regions aren't there.
#[derive(Debug, thiserror::Error)]
pub enum RegionsError {
    /// No binary, or no ports.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A process failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The topology could not be written.
    #[error("the topology could not be written")]
    Topology(#[source] std::io::Error),
    /// No certificates.
    #[error("`meridian certs` failed: {0}")]
    Certificates(String),
}

/// The regions; dropping them ends their processes.
#[derive(Debug)]
pub struct Regions {
    program: PathBuf,
    directory: PathBuf,
    addresses: Vec<Region>,
    servers: Vec<Option<Server>>,
}

impl Regions {
    /// Makes a topology of `count` regions, and their certificates, under `directory`. None runs yet.
    ///
    /// # Errors
    /// [`RegionsError`].
    pub fn prepare(program: &Path, directory: &Path, count: usize) -> Result<Self, RegionsError> {
        Self::prepare_with(program, directory, count, |_| EMBEDDED.to_owned())
    }

    /// The same with other datasets, whose text in the topology is made from the regions' names.
    ///
    /// # Errors
    /// [`RegionsError`].
    pub fn prepare_with(
        program: &Path,
        directory: &Path,
        count: usize,
        datasets: impl FnOnce(&[&str]) -> String,
    ) -> Result<Self, RegionsError> {
        check_binary(program)?;
        let mut addresses = Vec::new();
        let names = &NAMES[..count];
        let mut topology = head(directory) + &datasets(names);
        for name in names.iter().copied() {
            let port = || free_port().map_err(ClusterError::from);
            let api = SocketAddr::from((Ipv4Addr::LOCALHOST, port()?));
            let link = SocketAddr::from((Ipv4Addr::LOCALHOST, port()?));
            write!(
                topology,
                "[[region]]\nname = \"{name}\"\nlocation = {{ latitude = 0.0, longitude = 0.0 }}\n\
                 api = \"{api}\"\nlink = \"{link}\"\n\n"
            )
            .expect("a String takes all that is written to it");
            addresses.push(Region { name, api });
        }
        std::fs::write(directory.join("meridian.toml"), topology)
            .map_err(RegionsError::Topology)?;
        let certificates = directory.join("certs");
        certify(program, &["authority"], &certificates)?;
        let mut issue = vec!["region"];
        issue.extend(addresses.iter().map(|region| region.name));
        certify(program, &issue, &certificates)?;
        Ok(Self {
            program: program.to_owned(),
            directory: directory.to_owned(),
            servers: addresses.iter().map(|_| None).collect(),
            addresses,
        })
    }

    /// As [`Regions::prepare`], then starts them all and waits until each serves reads and writes.
    ///
    /// # Errors
    /// [`RegionsError`].
    pub async fn start(
        program: &Path,
        directory: &Path,
        count: usize,
    ) -> Result<Self, RegionsError> {
        let mut regions = Self::prepare(program, directory, count)?;
        for index in 0..count {
            regions.launch(index)?;
        }
        for index in 0..count {
            regions.ready(index).await?;
        }
        Ok(regions)
    }

    /// The regions' names and addresses.
    #[must_use]
    pub fn addresses(&self) -> &[Region] {
        &self.addresses
    }

    /// Starts a region over what data it has.
    ///
    /// # Errors
    /// [`RegionsError::Process`].
    pub fn launch(&mut self, index: usize) -> Result<(), RegionsError> {
        let name = self.addresses[index].name;
        let arguments = [
            "serve".into(),
            "--region".into(),
            name.into(),
            "--config".into(),
            self.directory.join("meridian.toml").into(),
            "--data-dir".into(),
            self.directory.join(name).into(),
        ];
        let log = self.directory.join(format!("{name}.log"));
        self.servers[index] = Some(Server::start(&self.program, &arguments, &log)?);
        Ok(())
    }

    /// Waits until a region serves reads and writes; says how long that took from now.
    ///
    /// # Errors
    /// [`RegionsError::Process`] when it ended or takes too long.
    pub async fn ready(&mut self, index: usize) -> Result<Duration, RegionsError> {
        let started = Instant::now();
        let api = self.addresses[index].api;
        if let Some(server) = &mut self.servers[index] {
            server
                .ready(READY_DEADLINE, || cluster::is_ready(api))
                .await?;
        }
        Ok(started.elapsed())
    }

    /// Ends a region at once (`SIGKILL`).
    ///
    /// # Errors
    /// [`RegionsError::Process`].
    pub fn kill(&mut self, index: usize) -> Result<(), RegionsError> {
        match self.servers[index].take() {
            Some(mut server) => Ok(server.kill().map(drop)?),
            None => Ok(()),
        }
    }

    /// Stops all running regions where they are (`SIGSTOP`).
    pub fn pause(&self) {
        self.servers.iter().flatten().for_each(Server::pause);
    }

    /// Lets paused regions go on (`SIGCONT`).
    pub fn resume(&self) {
        self.servers.iter().flatten().for_each(Server::resume);
    }

    /// What a running region has in memory.
    #[must_use]
    pub fn memory(&self, index: usize) -> Option<Memory> {
        procfs::memory(self.servers[index].as_ref()?.id())
    }

    /// The processor time that all running regions have used so far.
    #[must_use]
    pub fn processor_time(&self) -> Duration {
        let running = self.servers.iter().flatten();
        running.map(Server::processor_time).sum()
    }

    /// Ends all regions as Ctrl-C would.
    ///
    /// # Errors
    /// [`RegionsError::Process`].
    pub async fn stop(self) -> Result<(), RegionsError> {
        for server in self.servers.into_iter().flatten() {
            server.stop().await?;
        }
        Ok(())
    }
}

fn head(directory: &Path) -> String {
    let certs = directory.join("certs");
    let certs = certs.display();
    format!(
        "zone = \"meridian.test\"\n\n\
         [tls]\nauthority = \"{certs}/authority.pem\"\ncertificate = \"{certs}/{{region}}.pem\"\n\
         key = \"{certs}/{{region}}.key.pem\"\n\n"
    )
}

fn certify(program: &Path, what: &[&str], certificates: &Path) -> Result<(), RegionsError> {
    let output = Command::new(program)
        .arg("certs")
        .args(what)
        .arg("--directory")
        .arg(certificates)
        .output()
        .map_err(|error| RegionsError::Certificates(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(RegionsError::Certificates(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_topology::Topology;

    #[test]
    fn the_topology_of_any_number_of_regions_is_complete() {
        for count in [1, 2, REGIONS_MAX] {
            let directory = tempfile::tempdir().unwrap();
            // Takes every argument and does nothing: the topology is what is looked at.
            let regions = Regions::prepare(Path::new("/bin/true"), directory.path(), count);
            assert_eq!(regions.unwrap().addresses().len(), count);
            let path = directory.path().join("meridian.toml");
            let text = std::fs::read_to_string(&path).unwrap();
            let topology = Topology::parse(&text, &path).unwrap();
            let serving = topology.for_serve("region-1").unwrap();
            assert_eq!(serving.peers.len(), count - 1);
        }
    }

    #[tokio::test]
    async fn a_region_that_ends_says_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut regions = Regions::prepare(Path::new("/bin/true"), directory.path(), 1).unwrap();
        regions.launch(0).unwrap();
        let error = regions.ready(0).await.unwrap_err();
        assert!(error.to_string().contains("ended"), "{error}");
    }
}
