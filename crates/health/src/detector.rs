//! Answers and failures of one service → its status, as one observer sees it.
//!
//! ```text
//!             first success                       failures_to_fall in a row
//!  Unknown ──────────────▶ Healthy ⇄ Degraded ────────────────────────────▶ Unhealthy
//!     └───── failures_to_fall in a row ──────────────────────────────────────▲   │
//!                          ▲                                                     │
//!                          └──── successes_to_rise in a row, hold-down over ─────┘
//! ```
//!
//! Degraded is what answers often badly: of the last [`RECENT`] samples [`DEGRADED_FROM`] or more
//! were failures or slow; it is healthy again when no more than [`HEALTHY_TO`] were. The gap between
//! the two is what keeps the border from flickering.

use crate::hold_down::HoldDown;
use crate::{Cadence, Status};
use meridian_model::mutation::{Mutation, active};
use std::time::Duration;

/// How many samples the difference between healthy and degraded looks at.
pub const RECENT: u32 = 10;
/// So many bad ones among them are degraded.
pub const DEGRADED_FROM: u32 = 5;
/// So many bad ones are healthy again.
pub const HEALTHY_TO: u32 = 2;

/// One observer's opinion of one service.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    status: Status,
    failures_in_a_row: u32,
    successes_in_a_row: u32,
    /// The last samples, one bit each, the newest lowest; a bad one is 1.
    recent_bad: u32,
    hold: HoldDown,
}

impl Detector {
    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// Successes since the last failure.
    #[must_use]
    pub fn successes_in_a_row(&self) -> u32 {
        self.successes_in_a_row
    }

    /// Until when it stays unhealthy, whatever it answers.
    #[must_use]
    pub fn held_until(&self) -> Option<Duration> {
        (self.status == Status::Unhealthy).then(|| self.hold.until())
    }

    /// A right answer, in time or slow.
    pub fn success(&mut self, now: Duration, slow: bool, cadence: &Cadence) {
        self.failures_in_a_row = 0;
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(1);
        self.remember(slow);
        self.status = match self.status {
            Status::Unknown => Status::Healthy,
            Status::Unhealthy if !self.may_rise(now, cadence) => Status::Unhealthy,
            Status::Unhealthy => {
                // What was bad before it fell says nothing about how it came back.
                self.recent_bad = 0;
                Status::Healthy
            }
            up => self.graded(up),
        };
    }

    /// A right answer to a probe that was counted as a failure when its time was over, after so many
    /// successes in a row: it turns out not to have ended them. Without this, what always answers late
    /// could never rise.
    pub fn late(&mut self, now: Duration, successes_before: u32, cadence: &Cadence) {
        self.successes_in_a_row = self.successes_in_a_row.saturating_add(successes_before);
        self.success(now, true, cadence);
    }

    /// No answer in time, or a wrong one.
    pub fn failure(&mut self, now: Duration, cadence: &Cadence, maintenance: bool) {
        self.successes_in_a_row = 0;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        self.remember(true);
        let failures_to_fall = if active(Mutation::NoHysteresis) {
            1
        } else {
            cadence.failures_to_fall
        };
        self.status = match self.status {
            Status::Unhealthy => Status::Unhealthy,
            _ if self.failures_in_a_row >= failures_to_fall => {
                self.hold.fall(now, cadence, maintenance);
                Status::Unhealthy
            }
            Status::Unknown => Status::Unknown,
            up => self.graded(up),
        };
    }

    fn may_rise(&self, now: Duration, cadence: &Cadence) -> bool {
        self.successes_in_a_row >= cadence.successes_to_rise && self.hold.is_over(now)
    }

    fn remember(&mut self, bad: bool) {
        self.recent_bad = (self.recent_bad << 1 | u32::from(bad)) & ((1 << RECENT) - 1);
    }

    fn graded(&self, before: Status) -> Status {
        match self.recent_bad.count_ones() {
            DEGRADED_FROM.. => Status::Degraded,
            0..=HEALTHY_TO => Status::Healthy,
            _ => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;
    use proptest::prelude::*;

    /// A step each 500 ms: `.` a good answer, `s` a slow one, `x` a failure.
    fn after(samples: &str) -> Vec<Status> {
        let mut detector = Detector::default();
        let cadence = Preset::Fast.cadence();
        let mut statuses = Vec::new();
        for (index, sample) in samples.chars().enumerate() {
            let now = Duration::from_millis(500 * index as u64);
            match sample {
                'x' => detector.failure(now, &cadence, false),
                sample => detector.success(now, sample == 's', &cadence),
            }
            statuses.push(detector.status());
        }
        statuses
    }

    fn last(samples: &str) -> Status {
        *after(samples).last().unwrap()
    }

    #[test]
    fn three_failures_fall_and_two_do_not() {
        assert_eq!(last("."), Status::Healthy);
        assert_eq!(last("..xx"), Status::Healthy);
        assert_eq!(last("..xx.xx"), Status::Healthy);
        assert_eq!(last("..xxx"), Status::Unhealthy);
        assert_eq!(last("xx"), Status::Unknown);
        assert_eq!(last("xxx"), Status::Unhealthy);
    }

    #[test]
    fn three_successes_rise_once_it_was_held_down() {
        // It falls at 1.0 s and is held until 3.0 s, the seventh sample.
        assert_eq!(last("xxx..."), Status::Unhealthy);
        assert_eq!(last("xxx...."), Status::Healthy);
        assert_eq!(last("xxx..x.."), Status::Unhealthy);
        assert_eq!(last("xxx..x..."), Status::Healthy);
    }

    #[test]
    fn many_bad_samples_degrade_and_the_border_does_not_flicker() {
        assert_eq!(last("....s.s.s.s"), Status::Healthy);
        assert_eq!(last("....s.s.s.s.s"), Status::Degraded);
        // Four, then three bad ones of ten: still degraded. Two: healthy.
        assert_eq!(last(".sssss....."), Status::Degraded);
        assert_eq!(last(".sssss......."), Status::Degraded);
        assert_eq!(last(".sssss........"), Status::Healthy);
        assert_eq!(last("ssssssssss"), Status::Degraded);
    }

    proptest! {
        #[test]
        fn it_falls_only_after_three_failures_in_a_row(samples in "[.sx]{1,60}") {
            let statuses = after(&samples);
            for (index, pair) in statuses.windows(2).enumerate() {
                let fell = pair[0] != Status::Unhealthy && pair[1] == Status::Unhealthy;
                let row = samples[..index + 2].ends_with("xxx");
                prop_assert!(!fell || row);
                prop_assert!(pair[0] == Status::Unhealthy || !row || fell);
                let rose = pair[0] == Status::Unhealthy && pair[1] != Status::Unhealthy;
                let good = samples[..index + 2].chars().rev().take(3).all(|sample| sample != 'x');
                prop_assert!(!rose || good);
            }
        }
    }
}
