//! What clients ask of the regions, for spilling over: each region counts its own and tells the others.
//!
//! Counted are the requests for rows and transactions that the region's API answers. What an
//! application of one's own is asked for beside that is not seen here.

use meridian_model::RegionName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// For how long a region's load is believed after it was told.
const BELIEVED: Duration = Duration::from_secs(10);

/// Counts requests; clones count together.
#[derive(Clone, Debug, Default)]
pub struct LoadMeter(Arc<AtomicU64>);

impl LoadMeter {
    /// Counts one more.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The load of every region, as far as it was told lately.
#[derive(Debug, Default)]
pub(super) struct Loads {
    own: Option<u32>,
    counted: Option<(Duration, u64)>,
    others: BTreeMap<RegionName, (Duration, u32)>,
}

impl Loads {
    /// Whether so much time has passed since the last time.
    pub(super) fn is_due(&self, now: Duration, every: Duration) -> bool {
        self.counted.is_none_or(|(at, _)| now >= at + every)
    }

    /// Works out this region's own load since the last time.
    pub(super) fn sample(&mut self, now: Duration, total: u64) {
        if let Some((at, before)) = self.counted {
            let elapsed = now.saturating_sub(at).as_secs_f64();
            if elapsed <= 0.0 {
                return;
            }
            let rate = total.saturating_sub(before) as f64 / elapsed;
            // Saturates at what no region carries.
            self.own = Some(rate.round() as u32);
        }
        self.counted = Some((now, total));
    }

    pub(super) fn own(&self) -> Option<u32> {
        self.own
    }

    pub(super) fn told(&mut self, now: Duration, by: &RegionName, load: Option<u32>) {
        match load {
            Some(load) => self.others.insert(by.clone(), (now, load)),
            None => self.others.remove(by),
        };
    }

    /// What a region is asked for, in requests a second.
    pub(super) fn of(&self, region: &RegionName, own: &RegionName, now: Duration) -> Option<u32> {
        if region == own {
            return self.own;
        }
        let (at, load) = self.others.get(region)?;
        (now < *at + BELIEVED).then_some(*load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_what_came_since_the_last_look_and_is_believed_for_a_while() {
        let (own, other) = (RegionName::new("a"), RegionName::new("b"));
        let seconds = Duration::from_secs;
        let mut loads = Loads::default();
        loads.sample(seconds(1), 100);
        assert_eq!(loads.of(&own, &own, seconds(1)), None);
        loads.sample(seconds(3), 300);
        assert_eq!(loads.of(&own, &own, seconds(3)), Some(100));
        loads.told(seconds(3), &other, Some(7));
        assert_eq!(loads.of(&other, &own, seconds(12)), Some(7));
        assert_eq!(loads.of(&other, &own, seconds(13)), None);
        loads.told(seconds(14), &other, None);
        assert_eq!(loads.of(&other, &own, seconds(14)), None);
    }
}
