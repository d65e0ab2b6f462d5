//! Which side is right about rows that differ, as the verbs ask for it and the API takes it.

use clap::ValueEnum;

/// Which side is right.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Side {
    /// The region's server
    Server,
    /// The other regions
    Regions,
}

impl Side {
    /// Its name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Regions => "regions",
        }
    }
}
