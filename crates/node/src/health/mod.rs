//! One region's observer at work: it probes every region's services, tells the others what it sees
//! and hears what they do. What comes of it is decided by the machine of `crates/health`.
//!
//! ```text
//!            ┌────────────── time, answers, reports, alarms ◀─┐
//!            ▼                                                │
//!  Observing: Observer::step ─▶ probes to start ─▶ probe/* ───┤
//!            │                ─▶ reports ─▶ Neighbours ══ link ══▶ the other regions
//!            ▼
//!        Health: what is seen, for steering, DNS and the API
//! ```
//!
//! `api` is asked for over the link, so a cut link is a cut probe, and faults on a link reach it. What
//! is probed beside the link in another region suffers what the link to it suffers
//! ([`meridian_link::LinkControl::suffer`]).

mod neighbours;
mod observing;
mod pictures;
mod probe;
mod setup;

pub(crate) use neighbours::{Neighbours, of_region};
pub(crate) use observing::Observing;
pub(crate) use pictures::follow;

use meridian_health::{Input, Observer, RegionHealth};
use meridian_model::RegionName;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// How all regions are, as this one has it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether verdicts can be trusted to be new. Without a quorum a region goes by what it sees
    /// itself.
    pub has_quorum: bool,
    /// Every region that counts, this one and witnesses included.
    pub regions: BTreeMap<RegionName, RegionHealth>,
    /// How long each region's `api` last took to answer each observer, in milliseconds.
    pub response_ms: BTreeMap<(RegionName, RegionName), u32>,
}

/// What a region knows of every region's health; clones share it.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

struct Shared {
    observer: Mutex<Observer>,
    seen: watch::Sender<Arc<Seen>>,
    inputs: mpsc::UnboundedSender<Input>,
}

impl Health {
    /// What an observer knows that nobody lets observe: for tests of what is shown of it.
    #[must_use]
    pub fn of(observer: Observer) -> Self {
        Self::new(observer).0
    }

    fn new(observer: Observer) -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (tell, inputs) = mpsc::unbounded_channel();
        let shared = Shared {
            observer: Mutex::new(observer),
            seen: watch::Sender::new(Arc::default()),
            inputs: tell,
        };
        (Self(Arc::new(shared)), inputs)
    }

    /// How all regions are, now and whenever it changes.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Arc<Seen>> {
        self.0.seen.subscribe()
    }

    /// Looks at the observer itself, which waits meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Observer) -> T) -> T {
        look(
            &self
                .0
                .observer
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Tells the observer something. One that has ended hears nothing any more.
    pub(crate) fn tell(&self, input: Input) {
        let _ = self.0.inputs.send(input);
    }
}
