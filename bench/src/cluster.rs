//! Three regions on this machine, as `meridian up` runs them: started, found, ended.

use crate::http::HttpClient;
use crate::ports::{PortError, free_block};
use crate::process::{ProcessError, Server};
use crate::procfs::{self, ProcessId};
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// With PostgreSQL, three clusters are made first.
const READY_DEADLINE: Duration = Duration::from_secs(180);
/// Region `i` takes the ports from `base + 10 * i` on; the API is the first.
const PORTS_PER_REGION: u16 = 10;
/// The regions of `meridian up` without a topology, in its order.
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-northeast-1"];

/// Why there are no regions.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no binary.
    #[error(
        "there is no {}\n\nhint: build it with `cargo build --release --bin meridian`, or name another with --meridian",
        path.display()
    )]
    NoBinary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No ports.
    #[error("no ports for the regions")]
    Ports(#[from] PortError),
    /// `meridian up` failed.
    #[error("`meridian up` failed")]
    Process(#[from] ProcessError),
}

/// One of the regions.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its name.
    pub name: &'static str,
    /// Where its API listens.
    pub api: SocketAddr,
}

impl Region {
    /// The API's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.api)
    }
}

/// The running regions.
#[derive(Debug)]
pub struct Cluster {
    /// The regions, in the order of their ports.
    pub regions: Vec<Region>,
    supervisor: Server,
}

/// A process of the cluster.
#[derive(Clone, Debug)]
pub struct Member {
    /// The region's name, or `up` for the supervisor.
    pub name: String,
    /// Its process.
    pub process: ProcessId,
}

impl Cluster {
    /// Starts the regions with their data under `directory` and waits until each serves reads and
    /// writes. Without a base port, a free block is found.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn start(
        meridian: &Path,
        directory: &Path,
        base_port: Option<u16>,
    ) -> Result<Self, ClusterError> {
        Self::start_with(meridian, directory, base_port, &[]).await
    }

    /// Like [`Cluster::start`], with more arguments for `meridian up`.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub async fn start_with(
        meridian: &Path,
        directory: &Path,
        base_port: Option<u16>,
        more: &[OsString],
    ) -> Result<Self, ClusterError> {
        check_binary(meridian)?;
        let base_port = match base_port {
            Some(port) => port,
            None => free_block(PORTS_PER_REGION * 3)?,
        };
        let mut arguments: Vec<OsString> = vec![
            "up".into(),
            "--data-dir".into(),
            directory.join("regions").into(),
            "--base-port".into(),
            base_port.to_string().into(),
        ];
        arguments.extend_from_slice(more);
        let mut supervisor = Server::start(meridian, &arguments, &directory.join("up.log"))?;
        let regions: Vec<Region> = (0..)
            .zip(REGIONS)
            .map(|(index, name)| Region {
                name,
                api: (Ipv4Addr::LOCALHOST, base_port + PORTS_PER_REGION * index).into(),
            })
            .collect();
        for region in &regions {
            let probe = || is_ready(region.api);
            supervisor.ready(READY_DEADLINE, probe).await?;
        }
        Ok(Self {
            regions,
            supervisor,
        })
    }

    /// The cluster's processes: the supervisor and each region's.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let supervisor = Member {
            name: "up".into(),
            process: self.supervisor.id(),
        };
        let regions = procfs::descendants(self.supervisor.id())
            .into_iter()
            .map(|process| Member {
                name: region_of(&procfs::command_line(process)),
                process,
            });
        std::iter::once(supervisor).chain(regions).collect()
    }

    /// The end of the output of `meridian up`, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.supervisor.log_tail()
    }

    /// Ends the regions as Ctrl-C would.
    ///
    /// # Errors
    /// [`ProcessError`] when that fails.
    pub async fn stop(self) -> Result<ExitStatus, ProcessError> {
        self.supervisor.stop().await
    }
}

/// Whether the `meridian` binary is there.
///
/// # Errors
/// [`ClusterError::NoBinary`].
pub fn check_binary(meridian: &Path) -> Result<(), ClusterError> {
    if meridian.is_file() {
        return Ok(());
    }
    Err(ClusterError::NoBinary {
        path: meridian.to_owned(),
    })
}

/// Whether a region says that it serves reads and writes.
pub async fn is_ready(api: SocketAddr) -> bool {
    let Ok(mut client) = HttpClient::connect(api).await else {
        return false;
    };
    matches!(client.get("/readyz").await, Ok(reply) if reply.status == 200)
}

/// The word after `--region`, else the program's name.
fn region_of(command_line: &[String]) -> String {
    let mut words = command_line.iter();
    while let Some(word) = words.next() {
        if let Some(name) = word.strip_prefix("--region=") {
            return name.to_owned();
        }
        if word == "--region" {
            return words.next().cloned().unwrap_or_default();
        }
    }
    command_line.first().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_by_its_region() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        assert_eq!(
            region_of(&words("meridian serve --region eu-west-1 --config f")),
            "eu-west-1"
        );
        assert_eq!(region_of(&words("meridian serve --region=x")), "x");
        assert_eq!(region_of(&words("sleep 5")), "sleep");
        assert_eq!(region_of(&[]), "");
    }

    #[tokio::test]
    async fn a_missing_binary_is_an_error_with_a_hint() {
        let directory = tempfile::tempdir().unwrap();
        let error = Cluster::start(&directory.path().join("none"), directory.path(), None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("hint: build it"), "{error}");
    }
}
