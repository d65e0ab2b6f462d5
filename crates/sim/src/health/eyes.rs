//! One observer's opinions, held against the answers that it had.
//!
//! - It finds a service down only after a silence of two intervals, and surely after three and a time
//!   limit.
//! - It finds it up only once it was held down: for as long as the preset says, twice as long for each
//!   fall that follows soon after; so a service that flaps changes ever more rarely.
//! - It does find it up when it was held down and answers.

use super::regions::{PRESET, ms};
use meridian_health::{Change, Service, Status};

/// Longer than any probe takes there and back, as long as it arrives.
const ROUND_TRIP_MAX_MS: u64 = 1_600;

/// An observer's eye on one service.
pub(crate) struct Eye {
    pub(crate) region: usize,
    pub(crate) service: Service,
    pub(crate) status: Status,
    /// When it was last found down.
    pub(crate) down_ms: Option<u64>,
    /// When a right answer came, or the process began.
    answered_ms: u64,
    /// When the process began, or went on.
    awake_since_ms: u64,
    /// From when on every probe is answered.
    sighted_since_ms: Option<u64>,
    falls: u32,
    /// For how long the last fall holds it down at least and until when it may at most.
    hold_min_ms: u64,
    held_until_ms: u64,
    fell_ms: u64,
}

impl Eye {
    /// Of a process that begins now.
    pub(crate) fn new(now_ms: u64, region: usize, service: Service) -> Self {
        Self {
            region,
            service,
            status: Status::Unknown,
            down_ms: None,
            answered_ms: now_ms,
            awake_since_ms: now_ms,
            sighted_since_ms: None,
            falls: 0,
            hold_min_ms: 0,
            held_until_ms: 0,
            fell_ms: 0,
        }
    }

    /// A right answer came.
    pub(crate) fn answered(&mut self, now_ms: u64) {
        self.answered_ms = now_ms;
    }

    /// The process was frozen until now.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        self.awake_since_ms = now_ms;
    }

    pub(crate) fn note_sight(&mut self, now_ms: u64, sights: bool) {
        self.sighted_since_ms = sights.then(|| self.sighted_since_ms.unwrap_or(now_ms));
    }

    /// The observer finds otherwise from now on.
    pub(crate) fn changed(&mut self, now_ms: u64, change: &Change) -> Result<(), String> {
        let from = std::mem::replace(&mut self.status, change.to);
        if change.to == Status::Unhealthy {
            return self.fell(now_ms);
        }
        if from == Status::Unhealthy && now_ms < self.fell_ms + self.hold_min_ms {
            let held_ms = now_ms - self.fell_ms;
            let least_ms = self.hold_min_ms;
            return Err(format!(
                "is up again after {held_ms} ms; fall {} holds it down for {least_ms} ms",
                self.falls
            ));
        }
        Ok(())
    }

    fn fell(&mut self, now_ms: u64) -> Result<(), String> {
        let cadence = PRESET.cadence();
        let silence_ms = now_ms - self.answered_ms;
        if silence_ms < 2 * ms(cadence.interval) {
            return Err(format!("is found down {silence_ms} ms after it answered"));
        }
        let hold_ms = ms(cadence.hold_down);
        let soon = self.falls > 0 && now_ms < self.fell_ms + self.hold_min_ms + ms(cadence.calm);
        self.hold_min_ms = if soon {
            (self.hold_min_ms * 2).min(ms(cadence.hold_down_max))
        } else {
            hold_ms
        };
        let doubled_ms = hold_ms << self.falls.min(20);
        self.held_until_ms = now_ms + doubled_ms.min(ms(cadence.hold_down_max));
        self.falls += 1;
        self.fell_ms = now_ms;
        Ok(())
    }

    /// What must be by now, whatever changed.
    pub(crate) fn check(&mut self, now_ms: u64) -> Result<(), String> {
        let cadence = PRESET.cadence();
        if self.status == Status::Unhealthy {
            self.down_ms = Some(now_ms);
        }
        let silence_ms = now_ms - self.answered_ms.max(self.awake_since_ms);
        let is_down = self.status == Status::Unhealthy;
        if !is_down && silence_ms > ms(cadence.detection_max()) {
            return Err(format!("is {}, silent for {silence_ms} ms", self.status));
        }
        let Some(sighted_ms) = self.sighted_since_ms.filter(|_| is_down) else {
            return Ok(());
        };
        let rises_ms = self.held_until_ms.max(sighted_ms)
            + ms(cadence.interval) * u64::from(cadence.successes_to_rise + 1)
            + ROUND_TRIP_MAX_MS;
        if now_ms > rises_ms {
            let since_ms = now_ms - sighted_ms;
            return Err(format!(
                "is still down, though it has answered for {since_ms} ms and is held down no more"
            ));
        }
        Ok(())
    }

    /// Whether it was found down at any time since then.
    pub(crate) fn was_down(&self, since_ms: u64) -> bool {
        self.status == Status::Unhealthy || self.down_ms.is_some_and(|down_ms| down_ms >= since_ms)
    }

    /// Until when it is held down at most, if it is down.
    pub(crate) fn held_until_ms(&self) -> u64 {
        if self.status == Status::Unhealthy {
            self.held_until_ms
        } else {
            0
        }
    }
}
