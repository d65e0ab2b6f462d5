//! How good a region is to be sent to, before any policy is asked.

use meridian_health::Status;
use serde::Serialize;
use std::fmt;

/// The order of preference. A policy only chooses among regions of the best one there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The region that answers, up, where nobody tells it how the others are.
    Own,
    /// Healthy.
    Healthy,
    /// Degraded, or not known yet.
    Degraded,
    /// Up, and to be left alone: drained, or in maintenance.
    Drained,
    /// Down: nobody is served there, most likely, but an answer that may fail is better than none.
    Down,
}

impl Tier {
    /// The tier of a region.
    #[must_use]
    pub fn of(status: Status, is_drained: bool, is_own_and_alone: bool) -> Self {
        match status {
            Status::Unhealthy => Self::Down,
            _ if is_drained => Self::Drained,
            _ if is_own_and_alone => Self::Own,
            Status::Healthy => Self::Healthy,
            Status::Degraded | Status::Unknown => Self::Degraded,
        }
    }

    /// The name, as in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Drained => "drained",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
