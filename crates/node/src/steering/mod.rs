//! Steering at work in a region: what is wanted, how the regions are, and the tables that answer from
//! both.
//!
//! ```text
//! other regions ◀─exchange─▶ ledger (a file) ─┐
//! people ───────stage, apply──▶ ┘             ├─ refresh ─▶ Published (swapped) ─▶ DNS, API
//! observers ────────pictures──────────────────┤
//! time ─────────ramps, spilling over──────────┘
//! ```
//!
//! What is published is there from the start of the process on, made of what the file says and of
//! regions about which nothing is known yet; so answers wait for nobody. It is replaced as a whole:
//! whoever decides holds one state from beginning to end, and never waits for a lock.
//!
//! Locks are taken in this order: `loads`, then `publisher`. Nothing that answers or verdicts wait for
//! is held over a write to disk.

mod exchange;
mod geo;
mod keep;
mod load;
#[cfg(test)]
mod mmdb_for_tests;
mod publish;
mod stages;

pub use geo::{GeoError, open_geo};
pub(crate) use keep::FILE;
pub use keep::KeepError;
pub use load::LoadMeter;
pub(crate) use stages::{Applied, ApplyError, Staged};

use crate::dataset::MachineClock;
use keep::Kept;
use meridian_model::{OriginId, RegionName};
use meridian_steer::{Geo, Ledger, Limits, Published, Publisher, RouteError};
use meridian_topology::Topology;
use stages::Stages;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What steering begins with.
pub struct SteeringSetup {
    /// The topology's regions and routes.
    pub topology: Arc<Topology>,
    /// This region.
    pub own: RegionName,
    /// Says where clients are.
    pub geo: Arc<dyn Geo>,
    /// The file that keeps what is wanted; none in a test.
    pub file: Option<PathBuf>,
    /// The machine's clocks.
    pub clock: MachineClock,
}

/// A region's steering; clones share it.
#[derive(Clone)]
pub struct Steering(Arc<Shared>);

struct Shared {
    own: RegionName,
    geo: Arc<dyn Geo>,
    clock: MachineClock,
    /// Makes this process's versions its own.
    origin: OriginId,
    limits: Limits,
    publisher: Mutex<Publisher>,
    kept: Kept,
    stages: Mutex<Stages>,
    load: LoadMeter,
    /// What other regions told of their load.
    loads: Mutex<load::Loads>,
    published: arc_swap::ArcSwap<Published>,
    /// Counts what was published that differed.
    changed: watch::Sender<u64>,
    /// Counts what became new in the ledger.
    news: watch::Sender<u64>,
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering")
            .field("region", &self.0.own)
            .finish_non_exhaustive()
    }
}

/// Steering can't begin.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// A route doesn't fit the regions.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// What is wanted can't be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl Steering {
    /// Begins with what the file says.
    ///
    /// # Errors
    /// [`SteeringError`]. A damaged file is none: it is set aside, and the other regions know.
    pub fn open(setup: SteeringSetup) -> Result<Self, SteeringError> {
        let kept = Kept::open(setup.file)?;
        let mut publisher = Publisher::new(&setup.topology, &setup.own);
        let now = setup.clock.now().elapsed;
        let published = publisher.publish(kept.ledger().desired(), now)?;
        Ok(Self(Arc::new(Shared {
            own: setup.own,
            geo: setup.geo,
            clock: setup.clock,
            origin: OriginId(fastrand::u64(1..)),
            limits: Limits::from(&setup.topology.steering),
            publisher: Mutex::new(publisher),
            kept,
            stages: Mutex::default(),
            load: LoadMeter::default(),
            loads: Mutex::default(),
            published: arc_swap::ArcSwap::from_pointee(published),
            changed: watch::Sender::new(0),
            news: watch::Sender::new(0),
        })))
    }

    /// What answers go by now. It never waits.
    #[must_use]
    pub fn now(&self) -> Arc<Published> {
        self.0.published.load_full()
    }

    /// What answers go by now, for as long as one question takes: cheaper than [`Steering::now`].
    #[must_use]
    pub fn glance(&self) -> arc_swap::Guard<Arc<Published>> {
        self.0.published.load()
    }

    /// Wakes whoever waits for answers to change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Says where clients are.
    #[must_use]
    pub fn geo(&self) -> &dyn Geo {
        &*self.0.geo
    }

    /// Counts what clients ask this region for.
    #[must_use]
    pub fn load_meter(&self) -> &LoadMeter {
        &self.0.load
    }

    /// The region.
    #[must_use]
    pub fn own(&self) -> &RegionName {
        &self.0.own
    }

    /// What is wanted, and was lately.
    #[must_use]
    pub fn ledger(&self) -> Arc<Ledger> {
        self.0.kept.ledger()
    }

    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        let publisher = &self.0.publisher;
        publisher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stages(&self) -> MutexGuard<'_, Stages> {
        self.0.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loads(&self) -> MutexGuard<'_, load::Loads> {
        self.0.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
