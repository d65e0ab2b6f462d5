//! The machine's two clocks, read in one place.

use meridian_model::Micros;
use meridian_replicate::Now;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads the machine's clocks; copies agree on what has elapsed.
#[derive(Clone, Copy, Debug)]
pub struct MachineClock {
    started: Instant,
}

impl MachineClock {
    /// Starts counting elapsed time now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
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
            wall: Micros(micros),
            elapsed: self.started.elapsed(),
        }
    }
}
