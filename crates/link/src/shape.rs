//! Making a link behave worse than it is: delay for a WAN on one machine, cuts and faults for drills.
//!
//! The levers belong to a *peer*, not to a connection: a cut link must stay cut when the layer above
//! dials again. Both sides delay only what they send, so a round trip costs both delays.
//!
//! A fault adds to what was set: its delay comes on top, its cuts and its loss hold until the fault is
//! taken away, which leaves everything else as it was. A lost message never leaves, while the ones
//! behind it do; the layer above has to notice the gap. (TCP itself would send it again, so this is
//! harsher than a network that loses packets, and it is what shows whether streams resume.)
//!
//! A cut is silence, as in a real partition: nothing is answered and nothing is lost, until one side's
//! timeout ends the connection. Restored before that, the messages flow on, as TCP would have it.
//! While either direction is cut no new connection comes about, because TCP needs both.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, Default)]
struct Levers {
    delay: Duration,
    outgoing_cut: bool,
    incoming_cut: bool,
    faults: LinkFaults,
}

impl Levers {
    fn outgoing_is_cut(&self) -> bool {
        self.outgoing_cut || self.faults.outgoing_cut
    }

    fn incoming_is_cut(&self) -> bool {
        self.incoming_cut || self.faults.incoming_cut
    }
}

/// How much worse a link is made for a while.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LinkFaults {
    /// Nothing gets out.
    pub outgoing_cut: bool,
    /// Nothing gets in.
    pub incoming_cut: bool,
    /// What outgoing messages are delayed by, on top of the link's own delay.
    pub added_delay: Duration,
    /// Each outgoing message is delayed by up to this much more. Order stays.
    pub jitter: Duration,
    /// The share of outgoing messages, 0 to 1, that are lost.
    pub loss: f64,
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

    /// Puts these faults in the place of the ones before.
    pub fn set_faults(&self, faults: LinkFaults) {
        self.0.send_modify(|levers| levers.faults = faults);
    }

    /// The delay of outgoing messages, without faults.
    pub fn delay(&self) -> Duration {
        self.0.borrow().delay
    }

    /// Whether either direction is cut.
    pub fn is_cut(&self) -> bool {
        let levers = *self.0.borrow();
        levers.outgoing_is_cut() || levers.incoming_is_cut()
    }

    /// How long the next outgoing message is delayed; `None` where it is lost.
    pub(crate) fn draw(&self) -> Option<Duration> {
        let Levers { delay, faults, .. } = *self.0.borrow();
        if faults.loss > 0.0 && fastrand::f64() < faults.loss {
            return None;
        }
        let jitter = match faults.jitter {
            Duration::ZERO => Duration::ZERO,
            most => most.mul_f64(fastrand::f64()),
        };
        Some(delay + faults.added_delay + jitter)
    }

    /// Makes an exchange beside the link as bad as the link is: it begins when nothing is cut, takes a
    /// message's delay there and one back longer, and never ends (`None`) where either is lost. For
    /// probes that take another way to the same peer.
    pub async fn suffer<T>(&self, exchange: impl Future<Output = T>) -> Option<T> {
        self.both_open().await;
        let delays = self.draw()? + self.draw()?;
        // A timer would wait for the next millisecond even so.
        if !delays.is_zero() {
            tokio::time::sleep(delays).await;
        }
        let outcome = exchange.await;
        self.both_open().await;
        Some(outcome)
    }

    pub(crate) fn incoming_is_cut(&self) -> bool {
        self.0.borrow().incoming_is_cut()
    }

    pub(crate) async fn outgoing_open(&self) {
        self.wait_for(|levers| !levers.outgoing_is_cut()).await;
    }

    pub(crate) async fn incoming_open(&self) {
        self.wait_for(|levers| !levers.incoming_is_cut()).await;
    }

    pub(crate) async fn both_open(&self) {
        self.wait_for(|levers| !levers.outgoing_is_cut() && !levers.incoming_is_cut())
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
    fn faults_add_to_what_was_set_and_leave_it_when_they_go() {
        let control = LinkControl::default();
        control.set_delay(Duration::from_millis(40));
        control.set_faults(LinkFaults {
            incoming_cut: true,
            added_delay: Duration::from_millis(100),
            jitter: Duration::from_millis(10),
            ..LinkFaults::default()
        });
        assert!(control.is_cut() && control.incoming_is_cut());
        let drawn: Vec<_> = (0..100).filter_map(|_| control.draw()).collect();
        let within = Duration::from_millis(140)..=Duration::from_millis(150);
        assert!(drawn.len() == 100 && drawn.iter().all(|delay| within.contains(delay)));
        assert!(drawn.iter().any(|delay| *delay != drawn[0]), "no jitter");
        control.set_faults(LinkFaults::default());
        assert!(!control.is_cut());
        assert_eq!(control.draw(), Some(Duration::from_millis(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_beside_the_link_is_as_bad_as_the_link() {
        let control = LinkControl::default();
        control.set_delay(Duration::from_millis(40));
        let before = tokio::time::Instant::now();
        assert_eq!(control.suffer(async { 7 }).await, Some(7));
        assert_eq!(before.elapsed(), Duration::from_millis(80));
        control.set_faults(LinkFaults {
            loss: 1.0,
            ..LinkFaults::default()
        });
        assert_eq!(control.suffer(async { 7 }).await, None);
        for (incoming_cut, outgoing_cut) in [(true, false), (false, true)] {
            control.set_faults(LinkFaults {
                incoming_cut,
                outgoing_cut,
                ..LinkFaults::default()
            });
            let cut = tokio::time::timeout(Duration::from_secs(60), control.suffer(async { 7 }));
            assert!(cut.await.is_err());
        }
    }

    #[test]
    fn a_share_of_the_messages_is_lost() {
        let control = LinkControl::default();
        let lost = |loss| {
            control.set_faults(LinkFaults {
                loss,
                ..LinkFaults::default()
            });
            (0..1000).filter(|_| control.draw().is_none()).count()
        };
        assert_eq!(lost(0.0), 0);
        assert_eq!(lost(1.0), 1000);
        assert!((300..700).contains(&lost(0.5)));
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
