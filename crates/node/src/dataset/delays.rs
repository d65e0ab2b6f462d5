//! How long after their commit elsewhere transactions became visible here.

use hdrhistogram::Histogram;
use std::time::Duration;

const MICROS_MAX: u64 = 3_600_000_000;

/// A histogram of delays, in microseconds, of 1 % precision, up to an hour.
#[derive(Clone, Debug)]
pub struct Delays(Histogram<u64>);

/// Percentiles of delays.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct DelaySummary {
    /// How many transactions were measured since the process started.
    pub count: u64,
    /// Half became visible within this many milliseconds.
    pub p50_ms: f64,
    /// 95 % did.
    pub p95_ms: f64,
    /// 99 % did.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Default for Delays {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 2);
        Self(histogram.expect("the bounds are valid constants"))
    }
}

impl Delays {
    /// Counts one delay.
    pub fn record(&mut self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(MICROS_MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// The percentiles so far.
    #[must_use]
    pub fn summary(&self) -> DelaySummary {
        let ms = |micros: u64| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "an hour in microseconds is exact"
            )]
            let micros = micros as f64;
            micros / 1000.0
        };
        DelaySummary {
            count: self.0.len(),
            p50_ms: ms(self.0.value_at_quantile(0.50)),
            p95_ms: ms(self.0.value_at_quantile(0.95)),
            p99_ms: ms(self.0.value_at_quantile(0.99)),
            max_ms: ms(self.0.max()),
        }
    }

    /// How many delays were at most this long.
    #[must_use]
    pub fn count_up_to(&self, delay: Duration) -> u64 {
        self.0
            .count_between(0, u64::try_from(delay.as_micros()).unwrap_or(MICROS_MAX))
    }
}
