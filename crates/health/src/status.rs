//! How well something is.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How well something is, from what says least to what is worst. New ones are appended: the position
/// is the format.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Not observed for long enough to say.
    #[default]
    Unknown,
    /// It answers, rightly and in time.
    Healthy,
    /// It answers, but often late or wrongly.
    Degraded,
    /// It doesn't answer.
    Unhealthy,
}

impl Status {
    /// The name, as in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
