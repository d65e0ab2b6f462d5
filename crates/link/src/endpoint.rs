//! What a region's listener and dialler have in common.

use std::sync::Arc;
use std::time::Duration;

use crate::certs::Identity;
use crate::preamble::{Hello, SPOKEN, WireVersions};
use crate::shape::Shaping;

/// Bounds in time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the TCP connection to the verdict, and for the TCP connection itself.
    pub handshake_timeout: Duration,
    /// How long a peer may be silent. The layer above sends a heartbeat far more often.
    pub read_idle_timeout: Duration,
    /// How long a peer may take nothing while there is something to send.
    pub write_timeout: Duration,
    /// How many diallers may be unknown at once; beyond it the oldest gives way.
    pub handshakes_max: usize,
    /// How many bytes of messages may wait in a sender. With a simulated delay it also bounds
    /// throughput, to this over the delay.
    pub queue_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            read_idle_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            handshakes_max: 64,
            queue_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// A region's own side of every link: who it is, its bounds, and the drills' levers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Who this region is.
    pub identity: Arc<Identity>,
    /// Bounds in time and memory.
    pub limits: Limits,
    /// The wire versions to offer.
    pub versions: WireVersions,
    /// Delays and cuts, by peer.
    pub shaping: Shaping,
}

impl Endpoint {
    /// An endpoint with the default limits and no shaping.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity: Arc::new(identity),
            limits: Limits::default(),
            versions: SPOKEN,
            shaping: Shaping::default(),
        }
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            versions: self.versions,
            region: self.identity.region().to_owned(),
        }
    }
}
