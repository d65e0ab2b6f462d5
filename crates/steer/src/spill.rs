//! Spilling over: a region that has more clients than it can carry passes some on.
//!
//! What it would be asked if it took all of its clients is estimated from what it is asked now:
//!
//! ```text
//! demand = load / share          wanted = full × capacity / demand, at most 1
//! ```
//!
//! Down it goes at once, as overload hurts; up by small steps and only for a real difference, so that
//! two full regions don't throw clients to and fro.

/// How full is full, and how quickly clients come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fullness {
    /// The share of its capacity up to which a region is loaded.
    pub full: f32,
    /// The least share of its clients that it keeps, so that the demand stays known.
    pub share_min: f32,
    /// By how much the share rises in a step, at most.
    pub rise_max: f32,
}

impl Default for Fullness {
    /// Full at 80 %, at least 5 % kept, 5 % back in a step.
    fn default() -> Self {
        Self {
            full: 0.8,
            share_min: 0.05,
            rise_max: 0.05,
        }
    }
}

/// The share of its clients that one region takes, by its load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spill(f32);

impl Default for Spill {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Spill {
    /// Goes on by a new measurement: load and capacity in the same unit, requests a second say. One
    /// step per measurement, each after the last one's share has taken effect. A region that says
    /// nothing of its capacity (0) takes all.
    pub fn step(&mut self, load: f32, capacity: f32, fullness: &Fullness) -> f32 {
        if capacity <= 0.0 || !load.is_finite() {
            self.0 = 1.0;
            return self.0;
        }
        let demand = load.max(0.0) / self.0;
        let wanted = (fullness.full * capacity / demand.max(f32::MIN_POSITIVE))
            .clamp(fullness.share_min, 1.0);
        if wanted < self.0 {
            self.0 = wanted;
        } else if wanted > self.0 * 1.05 || wanted >= 1.0 {
            self.0 = wanted.min(self.0 + fullness.rise_max);
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the demand: after one step the load is within bounds, and it stays put.
        #[test]
        fn a_constant_demand_is_met_and_kept(demand in 1.0f32..10_000.0, capacity in 100.0f32..1000.0) {
            let (mut spill, fullness) = (Spill::default(), Fullness::default());
            let mut share = spill.step(demand, capacity, &fullness);
            for _ in 0..50 {
                let load = demand * share;
                let least = demand * fullness.share_min;
                prop_assert!(load <= (fullness.full * capacity).max(least) * 1.001);
                let next = spill.step(load, capacity, &fullness);
                prop_assert!((next - share).abs() < 1e-4);
                share = next;
            }
        }

        #[test]
        fn shares_are_shares(loads in prop::collection::vec(-10.0f32..1e9, 1..50)) {
            let (mut spill, fullness) = (Spill::default(), Fullness::default());
            for load in loads {
                let share = spill.step(load, 100.0, &fullness);
                prop_assert!((fullness.share_min..=1.0).contains(&share));
            }
        }
    }

    #[test]
    fn clients_come_back_by_and_by() {
        let (mut spill, fullness) = (Spill::default(), Fullness::default());
        assert_eq!(spill.step(160.0, 100.0, &fullness), 0.5);
        let mut shares = Vec::new();
        for _ in 0..11 {
            let load = 60.0 * spill.0;
            shares.push(spill.step(load, 100.0, &fullness));
        }
        assert!(
            (shares[0] - 0.55).abs() < 1e-6 && (shares[9] - 1.0).abs() < 1e-6,
            "{shares:?}"
        );
        assert_eq!(spill.step(f32::NAN, 100.0, &fullness), 1.0);
        assert_eq!(spill.step(500.0, 0.0, &fullness), 1.0);
    }
}
