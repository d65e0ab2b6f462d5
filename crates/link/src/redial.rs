//! When to dial a peer again: exponential backoff with full jitter, and a circuit breaker beyond it.
//!
//! ```text
//!             connected                     failed, failures < threshold
//!  Connected ◀────────── Closed ◀────────────────────────────────┐
//!      │                   │  └──────────────────────────────────┘ wait: jitter × backoff
//!      │ lost              │ failed, failures = threshold
//!      │ (soon: a failure, ▼
//!      │  late: afresh)   Open ──── pause over ───▶ HalfOpen ── connected ──▶ Connected
//!      ▼                   ▲                            │
//!    Closed                └── failed, pause doubles ───┘
//! ```
//!
//! Full jitter (a uniform part of the backoff) spreads regions that lost the same peer at the same moment.
//! While open the peer is known to be down; one probe after each pause is enough. A connection that
//! is lost soon after it stood counts as a failure: a peer that crashes while starting would
//! otherwise be dialled without end at the shortest interval.
//!
//! Pure: the time and the random number are passed in. Time is a duration since any fixed moment.

use std::time::Duration;

/// The numbers of redialling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedialPolicy {
    /// The backoff after the first failure.
    pub backoff_initial: Duration,
    /// The longest backoff.
    pub backoff_max: Duration,
    /// So many failures in a row open the breaker.
    pub failures_to_open: u32,
    /// The first pause of an open breaker.
    pub pause_initial: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// A connection that lived this long was sound, whatever ended it.
    pub sound_after: Duration,
}

impl Default for RedialPolicy {
    fn default() -> Self {
        Self {
            backoff_initial: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            failures_to_open: 8,
            pause_initial: Duration::from_secs(5),
            pause_max: Duration::from_secs(15),
            sound_after: Duration::from_secs(10),
        }
    }
}

impl RedialPolicy {
    /// The backoff after the n-th failure in a row (from 1): a `jitter` part (0 to 1) of
    /// `min(backoff_max, backoff_initial × 2^(n-1))`.
    pub fn backoff(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1);
        let ceiling = doubled(self.backoff_initial, doublings, self.backoff_max);
        ceiling.mul_f64(unit(jitter))
    }

    /// The pause of an open breaker: between half of and the whole of
    /// `min(pause_max, pause_initial × 2^(failures - failures_to_open))`.
    pub fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(self.failures_to_open);
        let ceiling = doubled(self.pause_initial, doublings, self.pause_max);
        ceiling.mul_f64(0.5 + unit(jitter) / 2.0)
    }
}

fn doubled(initial: Duration, doublings: u32, max: Duration) -> Duration {
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    initial.saturating_mul(factor).min(max)
}

/// A random number that is out of range, or none at all, must not stop a link for ever.
fn unit(jitter: f64) -> f64 {
    if jitter.is_nan() {
        1.0
    } else {
        jitter.clamp(0.0, 1.0)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not connect.
    Failed,
    /// It connected, and the connection was lost.
    Lost,
}

/// What the breaker does at a moment, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// There is a connection.
    Connected,
    /// Dialling, or about to.
    Closed {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Not dialling before `until`.
    Open {
        /// Failures in a row so far.
        failures: u32,
        /// When the next probe may go out.
        until: Duration,
    },
    /// One probe decides.
    HalfOpen {
        /// Failures in a row so far.
        failures: u32,
    },
}

/// Decides when one peer is dialled next.
#[derive(Debug, Clone)]
pub struct Redial {
    policy: RedialPolicy,
    failures: u32,
    not_before: Duration,
    connected_at: Option<Duration>,
}

impl Redial {
    /// For a peer that was never dialled.
    pub fn new(policy: RedialPolicy) -> Self {
        Self {
            policy,
            failures: 0,
            not_before: Duration::ZERO,
            connected_at: None,
        }
    }

    /// Notes that a connection stands. The failures are forgotten only once it proved sound.
    pub fn connected(&mut self, now: Duration) {
        self.connected_at = Some(now);
    }

    /// Notes how an attempt ended; returns how long to wait before the next. `jitter` is a random number
    /// from 0 to 1.
    pub fn next(&mut self, now: Duration, outcome: Outcome, jitter: f64) -> Duration {
        let lived = self.connected_at.take().map(|at| now.saturating_sub(at));
        let sound = lived.is_some_and(|lived| lived >= self.policy.sound_after);
        self.failures = match outcome {
            Outcome::Lost if sound => 1,
            Outcome::Lost | Outcome::Failed => self.failures.saturating_add(1),
        };
        let wait = if self.is_tripped() {
            self.policy.pause(self.failures, jitter)
        } else {
            self.policy.backoff(self.failures, jitter)
        };
        self.not_before = now.saturating_add(wait);
        wait
    }

    /// Where the peer stands.
    pub fn state(&self, now: Duration) -> LinkState {
        let failures = self.failures;
        if self.connected_at.is_some() {
            LinkState::Connected
        } else if !self.is_tripped() {
            LinkState::Closed { failures }
        } else if now < self.not_before {
            let until = self.not_before;
            LinkState::Open { failures, until }
        } else {
            LinkState::HalfOpen { failures }
        }
    }

    fn is_tripped(&self) -> bool {
        self.failures >= self.policy.failures_to_open
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn failing(redial: &mut Redial, times: u32, now: Duration) -> Duration {
        (0..times).fold(Duration::ZERO, |_, _| {
            redial.next(now, Outcome::Failed, 1.0)
        })
    }

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let policy = RedialPolicy::default();
        let waits: Vec<u128> = (1..=9)
            .map(|n| policy.backoff(n, 1.0).as_millis())
            .collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(policy.backoff(3, 0.5), milliseconds(100));
        assert_eq!(policy.backoff(3, 0.0), Duration::ZERO);
    }

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let policy = RedialPolicy::default();
        let mut redial = Redial::new(policy);
        assert_eq!(
            redial.state(Duration::ZERO),
            LinkState::Closed { failures: 0 }
        );
        failing(&mut redial, 7, Duration::ZERO);
        assert_eq!(
            redial.state(Duration::ZERO),
            LinkState::Closed { failures: 7 }
        );

        let pause = failing(&mut redial, 1, Duration::ZERO);
        assert_eq!(pause, policy.pause_initial);
        let open = LinkState::Open {
            failures: 8,
            until: pause,
        };
        assert_eq!(redial.state(pause - milliseconds(1)), open);
        assert_eq!(redial.state(pause), LinkState::HalfOpen { failures: 8 });

        let longer = failing(&mut redial, 1, pause);
        assert_eq!(longer, 2 * pause);
        redial.connected(pause + longer);
        assert_eq!(redial.state(pause + longer), LinkState::Connected);

        let end = pause + longer + policy.sound_after;
        assert_eq!(redial.next(end, Outcome::Lost, 1.0), policy.backoff_initial);
        assert_eq!(redial.state(end), LinkState::Closed { failures: 1 });
    }

    #[test]
    fn a_connection_lost_at_once_counts_as_a_failure() {
        let mut redial = Redial::new(RedialPolicy::default());
        failing(&mut redial, 3, Duration::ZERO);
        redial.connected(Duration::ZERO);
        let wait = redial.next(milliseconds(20), Outcome::Lost, 1.0);
        assert_eq!(wait, milliseconds(400));
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_the_longest_pause(
            outcomes in proptest::collection::vec(any::<(bool, bool, f64)>(), 0..60),
        ) {
            let policy = RedialPolicy::default();
            let mut redial = Redial::new(policy);
            let mut now = Duration::ZERO;
            for (connects, lives, jitter) in outcomes {
                let outcome = if connects { Outcome::Lost } else { Outcome::Failed };
                if connects {
                    redial.connected(now);
                    now += if lives { policy.sound_after } else { milliseconds(1) };
                }
                let wait = redial.next(now, outcome, jitter);
                prop_assert!(wait <= policy.pause_max);
                now += wait;
                let open = matches!(redial.state(now), LinkState::Open { .. });
                prop_assert!(!open, "still open after the pause");
            }
        }
    }
}
