//! The two clocks that a machine has.

use crate::Micros;
use std::time::Duration;

/// The time of a step: the wall clock, which may jump either way, for versions and records; and
/// the time elapsed since the process started, which only rises, for every timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The machine's idea of the time of day.
    pub wall: Micros,
    /// Elapsed since some fixed moment of this process.
    pub elapsed: Duration,
}
