//! Faults on purpose, for drills: asked for over the API, each with an end that holds even if
//! whoever asked is gone.
//!
//! ```text
//! POST /v1/faults ─▶ Faults ─▶ the list of active faults ─▶ Levers: links, log's disk, clock
//!                       ▲                 │
//!                       └── its end, ◀────┘ each lifted by a task of its own
//!                           or DELETE
//! ```
//!
//! Levers are always set from the whole list of active faults, so lifting one can't forget what
//! another wants, and an empty list is a region without faults. The list is never written down: a
//! region that is started again has none. Two faults that would move the same lever are refused, so
//! that each one's end leaves nothing of it behind.
//!
//! A region that was not started with faults allowed has no [`Faults`], and its levers never move.

mod disk;
mod fault;
mod levers;

pub use disk::{DiskLevers, FaultyDisk};
pub use fault::{Direction, Fault, Span};
pub use levers::Levers;

use crate::dataset::ClockOffset;
use meridian_link::Shaping;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The longest that a fault may last.
pub const FAULT_DURATION_MAX: Duration = Duration::from_hours(1);

/// A fault at work.
#[derive(Clone, Debug)]
pub struct ActiveFault {
    /// Names it, in this process.
    pub id: String,
    /// What it does.
    pub fault: Fault,
    /// When it ends, by this machine's clock.
    pub until: SystemTime,
    ends_at: Instant,
}

impl ActiveFault {
    /// How long it still lasts.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

/// A fault that can't be there beside another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fault {id} does that already: {what}")]
pub struct Overlap {
    /// The other one's id.
    pub id: String,
    /// What the other one does.
    pub what: String,
}

/// A region's faults; clones share them.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    levers: Levers,
    active: Mutex<BTreeMap<String, ActiveFault>>,
}

impl Faults {
    /// None yet, on these levers.
    #[must_use]
    pub fn new(links: Shaping, disk: DiskLevers, clock: ClockOffset) -> Self {
        Self(Arc::new(Shared {
            levers: Levers::new(links, disk, clock),
            active: Mutex::default(),
        }))
    }

    /// Begins a fault that ends by itself. Needs a runtime of tokio.
    ///
    /// # Errors
    /// [`Overlap`] where another fault moves the same lever.
    pub fn begin(&self, fault: Fault, lasts: Duration) -> Result<ActiveFault, Overlap> {
        let lasts = lasts.min(FAULT_DURATION_MAX);
        let mut active = self.active();
        if let Some(other) = active.values().find(|other| other.fault.overlaps(&fault)) {
            return Err(Overlap {
                id: other.id.clone(),
                what: other.fault.to_string(),
            });
        }
        let begun = ActiveFault {
            id: fresh_id(&active),
            fault,
            until: SystemTime::now() + lasts,
            ends_at: Instant::now() + lasts,
        };
        tracing::warn!(fault = begun.id, what = %begun.fault, ?lasts, "a fault begins");
        active.insert(begun.id.clone(), begun.clone());
        self.0
            .levers
            .set(active.values().map(|active| &active.fault));
        drop(active);
        let (faults, id) = (self.clone(), begun.id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(lasts).await;
            faults.lift(&id);
        });
        Ok(begun)
    }

    /// Ends a fault; `false` where it isn't there (any more).
    pub fn lift(&self, id: &str) -> bool {
        let mut active = self.active();
        let Some(lifted) = active.remove(id) else {
            return false;
        };
        self.0
            .levers
            .set(active.values().map(|active| &active.fault));
        tracing::warn!(fault = id, what = %lifted.fault, "a fault is lifted");
        true
    }

    /// The faults at work, the one that ends first first.
    #[must_use]
    pub fn list(&self) -> Vec<ActiveFault> {
        let mut list: Vec<_> = self.active().values().cloned().collect();
        list.sort_by_key(|fault| fault.ends_at);
        list
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<String, ActiveFault>> {
        let active = self.0.active.lock();
        active.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drawn, not counted: an id from before a restart must not name another fault after it.
fn fresh_id(active: &BTreeMap<String, ActiveFault>) -> String {
    loop {
        let id = format!("{:08x}", fastrand::u32(..));
        if !active.contains_key(&id) {
            return id;
        }
    }
}

/// Ends this process soon, as SIGKILL does: nothing is flushed, nothing is said. The pause lets the
/// reply to whoever asked leave.
pub(crate) fn crash_soon() {
    const REPLY_LEAVES: Duration = Duration::from_millis(50);
    tracing::warn!("a fault ends this process");
    std::thread::spawn(|| {
        std::thread::sleep(REPLY_LEAVES);
        let own = rustix::process::getpid();
        // A process may always kill itself; where it may not all the same, it aborts.
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        std::process::abort();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> (Faults, Shaping, DiskLevers, ClockOffset) {
        let (links, disk, clock) = Default::default();
        let faults = Faults::new(
            Shaping::clone(&links),
            DiskLevers::clone(&disk),
            ClockOffset::clone(&clock),
        );
        (faults, links, disk, clock)
    }

    fn partition(peer: &str, direction: Direction) -> Fault {
        Fault::Partition {
            peers: vec![peer.to_owned()],
            direction,
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_fault_ends_by_itself() {
        let (faults, _, disk, clock) = faults();
        faults.begin(Fault::FullDisk, LONG).unwrap();
        faults
            .begin(Fault::ClockOffset { offset_ms: -5 }, 2 * LONG)
            .unwrap();
        assert!(disk.is_full());
        assert_eq!(clock.micros(), -5_000);
        tokio::time::sleep(LONG + Duration::from_secs(1)).await;
        assert!(!disk.is_full());
        assert_eq!(clock.micros(), -5_000, "the other one lasts");
        assert_eq!(faults.list().len(), 1);
        tokio::time::sleep(LONG).await;
        assert_eq!(clock.micros(), 0);
        assert!(faults.list().is_empty());
    }

    #[tokio::test]
    async fn lifting_one_leaves_the_others() {
        let (faults, links, ..) = faults();
        let inbound = faults
            .begin(partition("b", Direction::Inbound), LONG)
            .unwrap();
        let outbound = faults
            .begin(partition("b", Direction::Outbound), LONG)
            .unwrap();
        assert!(faults.lift(&inbound.id));
        assert!(links.peer("b").is_cut(), "the outbound cut holds");
        assert!(!faults.lift(&inbound.id), "it is gone already");
        assert!(faults.lift(&outbound.id));
        assert!(!links.peer("b").is_cut());
    }

    #[tokio::test]
    async fn two_faults_on_one_lever_are_refused() {
        let (faults, ..) = faults();
        let first = faults.begin(partition("b", Direction::Both), LONG).unwrap();
        let overlap = faults.begin(partition("b", Direction::Inbound), LONG);
        assert_eq!(overlap.unwrap_err().id, first.id);
        faults.begin(partition("c", Direction::Both), LONG).unwrap();
        faults.begin(Fault::FullDisk, LONG).unwrap();
        faults.begin(Fault::FullDisk, LONG).unwrap_err();
        faults.lift(&first.id);
        faults
            .begin(partition("b", Direction::Inbound), LONG)
            .unwrap();
    }
}
