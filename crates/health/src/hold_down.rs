//! Hold-down: how long something that fell stays down, longer each time it falls again.
//!
//! ```text
//! level     = falls so far, less one for every `calm` without a fall
//! held for  = hold_down × 2^level, at most hold_down_max
//! ```
//!
//! The shape is that of Envoy's outlier detection (`base_ejection_time` grows with the number of
//! ejections and shrinks again with time), doubled instead of multiplied, as routers back off; BGP
//! damps flapping routes to the same end (RFC 2439), with a penalty that decays.

use crate::Cadence;
use meridian_model::mutation::{Mutation, active};
use std::time::Duration;

/// The memory of falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldDown {
    level: u32,
    calm_since: Duration,
    until: Duration,
}

impl HoldDown {
    /// Notes a fall. One during maintenance is expected: it holds nothing down and isn't remembered.
    pub fn fall(&mut self, now: Duration, cadence: &Cadence, maintenance: bool) {
        if maintenance || active(Mutation::NoHoldDown) {
            return;
        }
        self.level = self.level_at(now, cadence);
        let doubled = cadence.hold_down.saturating_mul(1 << self.level.min(20));
        self.until = now + doubled.min(cadence.hold_down_max);
        self.level += 1;
        self.calm_since = self.until;
    }

    /// Whether it may rise.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.until
    }

    /// Until when it stays down.
    #[must_use]
    pub fn until(&self) -> Duration {
        self.until
    }

    fn level_at(&self, now: Duration, cadence: &Cadence) -> u32 {
        let calm = now.saturating_sub(self.calm_since).as_millis();
        let forgotten = calm / cadence.calm.as_millis().max(1);
        self.level
            .saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    /// For how long a fall at this second holds down.
    fn held(hold: &mut HoldDown, at_s: u64) -> u64 {
        let at = Duration::from_secs(at_s);
        hold.fall(at, &Preset::Fast.cadence(), false);
        (hold.until() - at).as_secs()
    }

    #[test]
    fn it_doubles_to_a_limit_and_forgets() {
        let mut hold = HoldDown::default();
        let grown: Vec<_> = [0, 5, 15, 30, 50, 90, 160, 300]
            .map(|at| held(&mut hold, at))
            .into();
        assert_eq!(grown, [2, 4, 8, 16, 32, 64, 128, 256]);
        assert_eq!(held(&mut hold, 560), 300);
        // `calm` is 20 s: three of them from 860 s on forget three doublings of nine.
        assert_eq!(held(&mut hold, 860 + 65), 128);
        assert_eq!(held(&mut hold, 10_000), 2);
    }

    #[test]
    fn falls_during_maintenance_are_forgiven() {
        let mut hold = HoldDown::default();
        hold.fall(Duration::from_secs(9), &Preset::Fast.cadence(), true);
        assert!(hold.is_over(Duration::from_secs(9)));
        assert_eq!(held(&mut hold, 10), 2);
    }
}
