//! How things stand, for people.

use crate::StreamState;
use meridian_model::{OriginId, RegionName};
use std::time::Duration;

/// How a peer's stream stands.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer.
    pub region: RegionName,
    /// Its incarnation, where known.
    pub origin: Option<OriginId>,
    /// The stream's state.
    pub state: StreamState,
    /// For how long something has been missing here, or may have been.
    pub lag: Duration,
    /// How many entries the peer has yet to send, as far as is known.
    pub lag_transactions: u64,
    /// What last went wrong.
    pub last_error: Option<String>,
    /// The wire version last agreed on with it.
    pub wire_version: Option<u16>,
    /// How far the peer's clock was ahead when it last sent.
    pub clock_ahead: Duration,
    /// Whether that is more than is allowed.
    pub drifts: bool,
}
