//! Coming back: a region that was out takes its clients again in steps, each of which it has to pass.
//!
//! ```text
//!          back            healthy for a step's time, each
//!  out ──────────▶ 10 % ──▶ 25 % ──▶ 50 % ──▶ all
//!   ▲               │ degraded: the step begins anew
//!   └─── out again ─┘
//! ```
//!
//! Steps hold the same clients each time and add to them ([`Key`](crate::Key)), so nobody goes back
//! and forth while a region comes back.

use crate::tier::Tier;
use meridian_model::mutation::{Mutation, active};
use std::time::Duration;

/// The steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// The share of its clients that a region takes in each, before it takes all.
    pub shares: Vec<f32>,
    /// How long it has to be well in each.
    pub each: Duration,
}

impl Default for Steps {
    /// A tenth, a quarter, a half; 5 s each.
    fn default() -> Self {
        Self {
            shares: vec![0.1, 0.25, 0.5],
            each: Duration::from_secs(5),
        }
    }
}

/// How a region is, as far as coming back goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Down or drained.
    Out,
    /// Up, but not well.
    Limping,
    /// Healthy.
    Well,
}

impl Condition {
    /// That of a region in this tier.
    #[must_use]
    pub fn of(tier: Tier) -> Self {
        match tier {
            Tier::Own | Tier::Healthy => Self::Well,
            Tier::Degraded => Self::Limping,
            Tier::Drained | Tier::Down => Self::Out,
        }
    }
}

/// Where one region stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ramp(Standing);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Out,
    At { step: usize, since: Duration },
    Back,
}

impl Default for Ramp {
    /// A region that wasn't out, as far as is known, takes all of its clients.
    fn default() -> Self {
        Self(Standing::Back)
    }
}

impl Ramp {
    /// Goes on by time and condition, and says which share the region takes.
    pub fn step(&mut self, now: Duration, condition: Condition, steps: &Steps) -> f32 {
        self.0 = match (self.0, condition) {
            (_, Condition::Out) => Standing::Out,
            (Standing::Out, _) => Standing::At {
                step: 0,
                since: now,
            },
            (Standing::At { step, .. }, Condition::Limping) => Standing::At { step, since: now },
            (Standing::At { step, since }, Condition::Well) if now >= since + steps.each => {
                Standing::At {
                    step: step + 1,
                    since: now,
                }
            }
            (standing, _) => standing,
        };
        self.share(steps)
    }

    /// Which share the region takes.
    pub fn share(&mut self, steps: &Steps) -> f32 {
        let step = match self.0 {
            _ if active(Mutation::NoRamp) => return 1.0,
            Standing::Back => return 1.0,
            // While it is out nobody is sent there first; the share is that of its return.
            Standing::Out => 0,
            Standing::At { step, .. } => step,
        };
        let share = steps.shares.get(step).copied();
        if share.is_none() && self.0 != Standing::Out {
            self.0 = Standing::Back;
        }
        share.unwrap_or(1.0)
    }

    /// When a step is over, if all stays well.
    #[must_use]
    pub fn due(&self, steps: &Steps) -> Option<Duration> {
        match self.0 {
            Standing::At { since, .. } => Some(since + steps.each),
            Standing::Out | Standing::Back => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(conditions: &[(u64, Condition)]) -> Vec<f32> {
        let (mut ramp, steps) = (Ramp::default(), Steps::default());
        let step = |(at_s, condition): &(u64, Condition)| {
            ramp.step(Duration::from_secs(*at_s), *condition, &steps)
        };
        conditions.iter().map(step).collect()
    }

    #[test]
    fn who_was_never_out_takes_all() {
        use Condition::{Limping, Well};
        assert_eq!(
            shares(&[(0, Well), (1, Limping), (9, Well)]),
            [1.0, 1.0, 1.0]
        );
    }

    #[test]
    fn it_comes_back_in_steps() {
        use Condition::{Out, Well};
        let times = [
            (0, Out),
            (2, Well),
            (6, Well),
            (7, Well),
            (12, Well),
            (17, Well),
            (60, Well),
        ];
        assert_eq!(shares(&times), [0.1, 0.1, 0.1, 0.25, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn each_step_has_to_be_passed_in_health() {
        use Condition::{Limping, Out, Well};
        let limping = [
            (0, Out),
            (1, Well),
            (6, Well),
            (9, Limping),
            (13, Well),
            (14, Well),
        ];
        assert_eq!(shares(&limping), [0.1, 0.1, 0.25, 0.25, 0.25, 0.5]);
        let again = [
            (0, Out),
            (1, Well),
            (6, Well),
            (7, Out),
            (8, Well),
            (13, Well),
        ];
        assert_eq!(shares(&again), [0.1, 0.1, 0.25, 0.1, 0.1, 0.25]);
    }

    #[test]
    fn it_says_when_a_step_is_over() {
        let (mut ramp, steps) = (Ramp::default(), Steps::default());
        assert_eq!(ramp.due(&steps), None);
        ramp.step(Duration::ZERO, Condition::Out, &steps);
        ramp.step(Duration::from_secs(3), Condition::Well, &steps);
        assert_eq!(ramp.due(&steps), Some(Duration::from_secs(8)));
    }
}
