//! Says once, when it begins, what somebody should look at; monitoring sees it for as long as it
//! lasts.

use meridian_engine_kv::LetterCounts;
use meridian_model::RegionName;
use meridian_replicate::{PeerStatus, StreamState};
use std::collections::BTreeSet;

/// What has been said and still holds.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    drifting: BTreeSet<RegionName>,
    quarantined: BTreeSet<RegionName>,
    stopped: bool,
    /// How many dead letters there had been when somebody was last told, and how many waited.
    letters: LetterCounts,
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

    /// Looks at the dead letters and reports those that are new, and that none is left.
    pub(super) fn look_at_letters(&mut self, dataset: &str, letters: LetterCounts) {
        let LetterCounts { total, waiting } = letters;
        let before = std::mem::replace(&mut self.letters, letters);
        if waiting > 0 && (total > before.total || before.waiting == 0) {
            tracing::error!(
                dataset,
                waiting,
                hint = "`meridian dead-letters list` shows them; each waits for a decision",
                "a transaction that no region can apply is set aside as a dead letter"
            );
        } else if waiting == 0 && before.waiting > 0 {
            tracing::info!(dataset, "no dead letter is left");
        }
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
