//! The hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014) in one u64:
//! 52 bits of microseconds since 1970 (good until the year 2112) and 12 bits of counter.
//!
//! Because the counter sits in the low bits, "one more than the last" is plain addition: a counter
//! that overflows carries into the microseconds, which keeps the clock monotonic and costs a
//! microsecond of drift.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Microseconds since 1970-01-01 UTC, as the machine's clock tells them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Micros(pub u64);

impl Micros {
    /// How long after `earlier` this is; zero where it isn't after.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This time moved `duration` later.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

const COUNTER_BITS: u32 = 12;

/// A reading of a region's hybrid logical clock.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every reading.
    pub const ZERO: Self = Self(0);
    /// After every reading; no clock ever shows it.
    pub const MAX: Self = Self(u64::MAX);

    /// The first reading within a microsecond.
    #[must_use]
    pub const fn at(time: Micros) -> Self {
        Self(time.0 << COUNTER_BITS)
    }

    /// From the raw 64 bits, as stored.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw 64 bits.
    #[must_use]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// The physical part, rounded down to a microsecond.
    #[must_use]
    pub fn time(self) -> Micros {
        Micros(self.0 >> COUNTER_BITS)
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The clock has no readings left: it was pushed to the end of its range by a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hybrid logical clock is at the end of its range (year 2112)")]
pub struct ClockError;

/// A region's clock. It never shows the same reading twice and never goes back, whatever the
/// machine's clock does: callers restore it with [`Clock::observe`] from what is durable.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    last: Hlc,
}

impl Clock {
    /// A new reading, later than every earlier one and every observed one.
    ///
    /// # Errors
    /// [`ClockError`] when the range is used up.
    pub fn tick(&mut self, now: Micros) -> Result<Hlc, ClockError> {
        let after_last = self
            .last
            .0
            .checked_add(1)
            .filter(|raw| *raw < u64::MAX)
            .ok_or(ClockError)?;
        self.last = Hlc(after_last.max(Hlc::at(now).0));
        Ok(self.last)
    }

    /// Moves past a reading seen elsewhere (an applied version, a recovered log).
    pub fn observe(&mut self, seen: Hlc) {
        self.last = self.last.max(seen);
    }

    /// The latest reading given or observed.
    #[must_use]
    pub fn last(&self) -> Hlc {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn readings_only_rise_whatever_the_machine_says(times in prop::collection::vec(0u64..1 << 50, 1..200)) {
            let mut clock = Clock::default();
            let mut last = Hlc::ZERO;
            for time in times {
                let reading = clock.tick(Micros(time)).unwrap();
                prop_assert!(reading > last);
                prop_assert!(reading.time() >= Micros(time));
                last = reading;
            }
        }
    }

    #[test]
    fn a_reading_follows_what_was_observed() {
        let mut clock = Clock::default();
        clock.observe(Hlc::at(Micros(5_000_000)));
        assert!(clock.tick(Micros(10)).unwrap() > Hlc::at(Micros(5_000_000)));
    }

    #[test]
    fn a_used_up_range_is_an_error_and_not_a_wrap() {
        let mut clock = Clock::default();
        clock.observe(Hlc::from_raw(u64::MAX - 1));
        assert_eq!(clock.tick(Micros(1)), Err(ClockError));
    }
}
