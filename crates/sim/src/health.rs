//! Health and steering: every region runs the production observer and publisher over a network that
//! misbehaves, and what it says of the others and answers its clients is checked at every change.
//!
//! ```text
//! faults ─▶ World: probes, reports ─▶ Observer ─▶ Eyes       opinions, against what was answered
//!                                       │
//!                                       ├───────▶ verdicts   against who can have told whom
//!                                       ▼
//!                                     Front ────▶ answers    against verdicts, ramps, residency
//! ```
//!
//! Each seed is two runs. In the first, three regions that are well meet one pattern of dead regions,
//! cut links and blind observers for a while, and are well again; the 4,096 patterns are all had by as
//! many seeds on end. Between, all must come to what the pattern alone says ([`truth`]), within the
//! preset's bounds. In the second, five regions go through patterns drawn from the seed and through
//! times in which faults come and go faster than anybody can follow: loss, delay, services that flap,
//! regions that freeze, or are killed and know nothing when they are back, clocks that are wrong. In
//! the end of both everything heals, all must agree, and every region must have all of its clients.
//!
//! Not here: the exchange of drains and shifts, which every region simply has, and the connections
//! that probes share with streams.

mod eyes;
mod faults;
mod front;
mod network;
mod patterns;
mod random;
mod regions;
mod truth;
mod verdicts;
mod world;

#[cfg(test)]
mod named;

use meridian_check::Violation;
use std::time::Duration;
use world::World;

/// What a run came to.
pub(crate) struct Outcome {
    /// When it ended.
    pub(crate) at: Duration,
    pub(crate) events: u64,
    /// Answers to clients that were checked.
    pub(crate) answered: u64,
    pub(crate) result: Result<(), Violation>,
}

/// A pattern of three regions, and one run of five.
pub(crate) fn health(seed: u64) -> Outcome {
    // An odd factor reaches every pattern, and neighbours differ.
    let number = usize::try_from(seed.wrapping_mul(1_657) % patterns::OF_THREE).unwrap_or(0);
    let three = patterns::begin_and_end(number, seed);
    if three.violation.is_some() {
        return outcome(three);
    }
    let mut five = random::five(seed);
    five.events += three.events;
    five.answered += three.answered;
    outcome(five)
}

fn outcome(world: World) -> Outcome {
    Outcome {
        at: Duration::from_millis(world.now_ms),
        events: world.events,
        answered: world.answered,
        result: world.violation.map_or(Ok(()), Err),
    }
}
