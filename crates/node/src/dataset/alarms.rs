//! Says once, when it begins, what somebody should look at; monitoring sees it for as long as it
//! lasts.

use meridian_model::RegionName;
use meridian_replicate::{PeerStatus, StreamState};
use std::collections::BTreeSet;

/// What has been said and still holds.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    drifting: BTreeSet<RegionName>,
    quarantined: BTreeSet<RegionName>,
    stopped: bool,
}

impl Alarms {
    /// Looks at the state of things and reports what is new.
    pub(super) fn look(&mut self, dataset: &str, stopped: Option<&str>, peers: &[PeerStatus]) {
        for peer in peers {
            self.look_at_clock(dataset, peer);
            self.look_at_stream(dataset, peer);
        }
        match stopped {
            Some(reason) if !self.stopped => {
                tracing::error!(
                    dataset,
                    reason,
                    "the dataset takes no client writes any more"
                );
            }
            _ => {}
        }
        self.stopped = stopped.is_some();
    }

    fn look_at_clock(&mut self, dataset: &str, peer: &PeerStatus) {
        let (region, ahead_ms) = (&peer.region, peer.clock_ahead.as_millis());
        if !peer.drifts {
            self.drifting.remove(region);
        } else if self.drifting.insert(region.clone()) {
            tracing::warn!(dataset, peer = %region, ahead_ms, "the peer's clock is ahead");
        }
    }

    fn look_at_stream(&mut self, dataset: &str, peer: &PeerStatus) {
        let region = &peer.region;
        let StreamState::Quarantined { reason } = &peer.state else {
            if self.quarantined.remove(region) {
                tracing::info!(dataset, peer = %region, "the stream is taken again");
            }
            return;
        };
        if self.quarantined.insert(region.clone()) {
            tracing::error!(dataset, peer = %region, reason, "nothing is taken from the peer");
        }
    }
}
