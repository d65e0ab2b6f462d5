//! Making a link behave worse than it is: delay for a WAN on one machine, cuts for drills.
//!
//! The levers belong to a *peer*, not to a connection: a cut link must stay cut when the layer above
//! dials again. Both sides delay only what they send, so a round trip costs both delays.
//!
//! A cut is silence, as in a real partition: nothing is answered and nothing is lost, until one side's
//! timeout ends the connection. Restored before that, the messages flow on, as TCP would have it.
//! While either direction is cut no new connection comes about, because TCP needs both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default)]
struct Levers {
    delay: Duration,
    outgoing_cut: bool,
    incoming_cut: bool,
}

/// The levers of the link to one peer; clones move the same levers.
#[derive(Debug, Clone, Default)]
pub struct LinkControl(Arc<watch::Sender<Levers>>);

impl LinkControl {
    /// Delays each outgoing message by this much from now on; order and throughput stay.
    pub fn set_delay(&self, one_way: Duration) {
        self.0.send_modify(|levers| levers.delay = one_way);
    }

    /// Lets nothing out.
    pub fn cut_outgoing(&self) {
        self.0.send_modify(|levers| levers.outgoing_cut = true);
    }

    /// Lets nothing in.
    pub fn cut_incoming(&self) {
        self.0.send_modify(|levers| levers.incoming_cut = true);
    }

    /// Ends both cuts; the delay stays.
    pub fn restore(&self) {
        self.0.send_modify(|levers| {
            levers.outgoing_cut = false;
            levers.incoming_cut = false;
        });
    }

    /// The delay of outgoing messages.
    pub fn delay(&self) -> Duration {
        self.0.borrow().delay
    }

    /// Whether either direction is cut.
    pub fn is_cut(&self) -> bool {
        let levers = *self.0.borrow();
        levers.outgoing_cut || levers.incoming_cut
    }

    pub(crate) fn incoming_is_cut(&self) -> bool {
        self.0.borrow().incoming_cut
    }

    pub(crate) async fn outgoing_open(&self) {
        self.wait_for(|levers| !levers.outgoing_cut).await;
    }

    pub(crate) async fn incoming_open(&self) {
        self.wait_for(|levers| !levers.incoming_cut).await;
    }

    pub(crate) async fn both_open(&self) {
        self.wait_for(|levers| !levers.outgoing_cut && !levers.incoming_cut)
            .await;
    }

    async fn wait_for(&self, open: impl Fn(&Levers) -> bool) {
        if open(&self.0.borrow()) {
            return;
        }
        // Fails only when the sender is gone, which `self` holds.
        let _ = self.0.subscribe().wait_for(open).await;
    }
}

/// Every peer's levers; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Shaping(Arc<Mutex<BTreeMap<String, LinkControl>>>);

impl Shaping {
    /// The levers of the link to a peer, the same ones each time.
    pub fn peer(&self, region: &str) -> LinkControl {
        let mut controls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        controls.entry(region.to_owned()).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_one_set_of_levers() {
        let shaping = Shaping::default();
        shaping.peer("a").cut_incoming();
        assert!(shaping.clone().peer("a").is_cut());
        assert!(!shaping.peer("b").is_cut());
        shaping.peer("a").restore();
        assert!(!shaping.peer("a").is_cut());
    }

    #[test]
    fn restoring_keeps_the_delay() {
        let control = LinkControl::default();
        control.set_delay(Duration::from_millis(40));
        control.cut_outgoing();
        control.restore();
        assert_eq!(control.delay(), Duration::from_millis(40));
    }
}
