//! Latencies, recorded one by one and read as percentiles.
//!
//! An HDR histogram keeps every value within 0.1 % from a microsecond to a minute, so percentiles
//! of several clients or rounds merge exactly; percentiles themselves never do.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

const LOWEST_NANOSECONDS: u64 = 1_000;
const HIGHEST_NANOSECONDS: u64 = 60_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// A set of latencies.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(LOWEST_NANOSECONDS, HIGHEST_NANOSECONDS, SIGNIFICANT_DIGITS)
                .expect("the bounds are constants that the histogram accepts"),
        )
    }
}

impl Latencies {
    /// Adds one latency; what is longer than a minute counts as a minute.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(HIGHEST_NANOSECONDS);
        self.0.saturating_record(nanoseconds);
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("both histograms have the same bounds");
    }

    /// How many were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` per cent of the set don't exceed.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    /// The figures that reports show.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            count: self.count(),
            p50_ms: milliseconds(self.percentile(50.0)),
            p99_ms: milliseconds(self.percentile(99.0)),
            max_ms: milliseconds(Duration::from_nanos(self.0.max())),
        }
    }
}

/// Percentiles of a set, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many latencies the figures stand on.
    pub count: u64,
    /// Half are at most this.
    pub p50_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// A duration in milliseconds.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The middle of some figures (of an even number, the mean of the two in the middle); none of none.
#[must_use]
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latencies = Latencies::default();
        for milliseconds in 1..=1_000 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_000);
        assert!((summary.p50_ms - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p99_ms - 990.0).abs() < 2.0, "{summary:?}");
        assert!((summary.max_ms - 1_000.0).abs() < 2.0, "{summary:?}");
    }

    #[test]
    fn merged_sets_have_the_percentiles_of_their_union() {
        let (mut fast, mut slow) = (Latencies::default(), Latencies::default());
        (0..99).for_each(|_| fast.record(Duration::from_millis(1)));
        slow.record(Duration::from_secs(1));
        fast.merge(&slow);
        assert_eq!(fast.count(), 100);
        assert!(fast.percentile(99.0) < Duration::from_millis(2));
        assert!(fast.percentile(100.0) > Duration::from_millis(990));
    }

    #[test]
    fn a_latency_out_of_bounds_is_kept_at_the_bound() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(3_600));
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentile(100.0) >= Duration::from_secs(59));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
