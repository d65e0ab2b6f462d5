//! The machine's two clocks, read in one place.

use meridian_model::Micros;
use meridian_replicate::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How far a wall clock is put wrong on purpose, for drills; clones move the same clock.
#[derive(Clone, Debug, Default)]
pub struct ClockOffset(Arc<AtomicI64>);

impl ClockOffset {
    /// Puts the clock fast, or slow where `ms` is negative.
    pub fn set_ms(&self, ms: i64) {
        self.0.store(ms.saturating_mul(1000), Ordering::Relaxed);
    }

    /// How far it is off, in microseconds.
    #[must_use]
    pub fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads the machine's clocks; clones agree on what has elapsed.
#[derive(Clone, Debug)]
pub struct MachineClock {
    started: Instant,
    offset: ClockOffset,
}

impl MachineClock {
    /// Starts counting elapsed time now.
    #[must_use]
    pub fn start() -> Self {
        Self::with_offset(ClockOffset::default())
    }

    /// The same with a wall clock that can be put wrong.
    #[must_use]
    pub fn with_offset(offset: ClockOffset) -> Self {
        Self {
            started: Instant::now(),
            offset,
        }
    }

    /// The time now. A wall clock before 1970 reads as 1970.
    #[must_use]
    pub fn now(&self) -> Now {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let micros = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
        Now {
            wall: Micros(micros.saturating_add_signed(self.offset.micros())),
            elapsed: self.started.elapsed(),
        }
    }
}
