//! The vote: many observers' opinions of one service → a verdict.
//!
//! Those vote who observe the service and are in touch with a majority of all observers. Then
//!
//! ```text
//! more than half say unhealthy               → unhealthy
//! more than half say degraded or unhealthy   → degraded
//! half or more say healthy or degraded       → healthy
//! anything else (too few know)               → as before
//! ```
//!
//! A tie speaks for the service: to take a region out needs a majority, to leave it in does not.

use crate::Status;
use meridian_model::mutation::{Mutation, active};

/// How many observers say what of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Don't know yet.
    pub unknown: u8,
    /// Healthy.
    pub healthy: u8,
    /// Degraded.
    pub degraded: u8,
    /// Unhealthy.
    pub unhealthy: u8,
}

impl Votes {
    /// Counts one more.
    pub fn add(&mut self, status: Status) {
        let counted = match status {
            Status::Unknown => &mut self.unknown,
            Status::Healthy => &mut self.healthy,
            Status::Degraded => &mut self.degraded,
            Status::Unhealthy => &mut self.unhealthy,
        };
        *counted = counted.saturating_add(1);
    }

    /// What they amount to, if it was `before`.
    #[must_use]
    pub fn verdict(&self, before: Status) -> Status {
        let [unknown, healthy, degraded, unhealthy] =
            [self.unknown, self.healthy, self.degraded, self.unhealthy].map(u32::from);
        let all = unknown + healthy + degraded + unhealthy;
        if unhealthy * 2 > all || (unhealthy > 0 && active(Mutation::OneObserverDecides)) {
            Status::Unhealthy
        } else if (unhealthy + degraded) * 2 > all {
            Status::Degraded
        } else if all > 0 && (healthy + degraded) * 2 >= all {
            Status::Healthy
        } else {
            before
        }
    }
}

/// How many of so many observers are more than half.
#[must_use]
pub fn majority(observers: usize) -> usize {
    observers / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(votes: &str, before: Status) -> Status {
        let mut counted = Votes::default();
        for vote in votes.chars() {
            counted.add(match vote {
                'h' => Status::Healthy,
                'd' => Status::Degraded,
                'u' => Status::Unhealthy,
                _ => Status::Unknown,
            });
        }
        counted.verdict(before)
    }

    #[test]
    fn the_rule_for_few_and_many() {
        use Status::{Degraded, Healthy, Unhealthy, Unknown};
        for (votes, before, after) in [
            // One region: its own word.
            ("u", Healthy, Unhealthy),
            ("h", Unhealthy, Healthy),
            // Two: both have to say so.
            ("uh", Healthy, Healthy),
            ("uh", Unhealthy, Healthy),
            ("uu", Healthy, Unhealthy),
            ("u?", Healthy, Healthy),
            ("u?", Unhealthy, Unhealthy),
            // Three, or two and a witness.
            ("uhh", Healthy, Healthy),
            ("uuh", Healthy, Unhealthy),
            ("udh", Healthy, Degraded),
            ("u??", Unknown, Unknown),
            ("h??", Unknown, Unknown),
            ("hu?", Unhealthy, Unhealthy),
            // Many.
            ("uuhh", Healthy, Healthy),
            ("uuuhh", Healthy, Unhealthy),
            ("udhhh", Healthy, Healthy),
            ("dddhh", Healthy, Degraded),
            // Nobody may say anything.
            ("", Healthy, Healthy),
            ("", Unhealthy, Unhealthy),
        ] {
            assert_eq!(verdict(votes, before), after, "{votes} after {before}");
        }
        assert_eq!([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3]);
    }
}
