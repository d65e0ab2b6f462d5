//! Clusters for tests: in a directory that goes with them, at a port that is free.

use super::cluster::{Cluster, Settings};
use super::error::{LocalError, file};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

/// The environment variable with directories of binaries, one after the other as in `PATH`, that
/// temporary clusters take in turn.
pub const MIXED_VARIABLE: &str = "MERIDIAN_POSTGRES_BINS";

/// Ports are taken from here: below those that systems give to outgoing connections, so that a
/// server finds its port free again when it restarts.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
/// How many ports are tried.
const PORT_TRIES: usize = 50;

impl Cluster {
    /// A running cluster in a temporary directory, that stops and vanishes when it is dropped.
    /// Nothing of it is forced to disk, and it makes do with little memory.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn temporary() -> Result<Self, LocalError> {
        Self::temporary_with(&[])
    }

    /// [`Cluster::temporary`] with more parameters of `postgresql.conf`.
    ///
    /// # Errors
    /// [`LocalError`].
    pub fn temporary_with(parameters: &[(&str, &str)]) -> Result<Self, LocalError> {
        let temporary = tempfile::Builder::new()
            .prefix("meridian-postgres-")
            .tempdir()
            .map_err(file("create a directory in", Path::new("/tmp")))?;
        let frugal = [("shared_buffers", "16MB"), ("max_connections", "60")];
        let settings = Settings {
            binaries: binaries_in_turn(),
            fsync: false,
            parameters: frugal
                .iter()
                .chain(parameters)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let mut cluster = Self::create(temporary.path(), 0, settings)?;
        cluster.temporary = Some(temporary);
        let mut tries = 0;
        loop {
            cluster.set_port(free_port()?);
            tries += 1;
            match cluster.start() {
                // Somebody was faster at this port.
                Err(LocalError::Ended { said, .. })
                    if said.contains("listen socket") && tries < PORT_TRIES => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
        }
    }
}

/// The directory of the binaries of the next of several versions side by side, where those are asked
/// for.
pub fn binaries_in_turn() -> Option<PathBuf> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let list = std::env::var_os(MIXED_VARIABLE)?;
    let mut directories: Vec<PathBuf> = std::env::split_paths(&list).collect();
    let count = directories.len().max(1);
    let next = NEXT.fetch_add(1, Ordering::Relaxed) % count;
    (next < directories.len()).then(|| directories.swap_remove(next))
}

/// A port that nobody listens on just now.
pub(super) fn free_port() -> Result<u16, LocalError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes that run at once begin at different places.
    let begin = u16::try_from(std::process::id() * 61 % u32::from(count)).unwrap_or_default();
    (0..PORT_TRIES)
        .map(|_| {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(begin);
            PORTS.start + offset % count
        })
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(LocalError::NoPort)
}
