//! What a dataset promises to its clients, and which regions take its writes.

use meridian_model::{Acknowledgement, Consistency, RegionName};
use std::time::Duration;

/// A dataset's promises; the documentation of each key is in [`crate::init_template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promises {
    /// How much a read shows that doesn't ask for a level of its own.
    pub consistency: Consistency,
    /// How many regions hold a write when it is acknowledged.
    pub acknowledgement: Acknowledgement,
    /// How long a write waits for the other regions.
    pub acknowledgement_timeout: Duration,
    /// Which regions take writes.
    pub writes: Writes,
}

/// Which regions take a dataset's writes. The others hand them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writes {
    /// All but these.
    ActiveActive {
        /// Regions that take no writes themselves, in the order of the file.
        read_replicas: Vec<RegionName>,
    },
    /// One alone.
    Home(RegionName),
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            consistency: Consistency::default(),
            acknowledgement: Acknowledgement::default(),
            acknowledgement_timeout: Duration::from_secs(2),
            writes: Writes::default(),
        }
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self::ActiveActive {
            read_replicas: Vec::new(),
        }
    }
}

impl Writes {
    /// Its name, as in the topology.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ActiveActive { .. } => "active-active",
            Self::Home(_) => "home",
        }
    }

    /// The one region that takes writes, where there is one.
    #[must_use]
    pub fn home(&self) -> Option<&RegionName> {
        match self {
            Self::ActiveActive { .. } => None,
            Self::Home(home) => Some(home),
        }
    }

    /// The regions that only read, as the topology names them.
    #[must_use]
    pub fn read_replicas(&self) -> &[RegionName] {
        match self {
            Self::ActiveActive { read_replicas } => read_replicas,
            Self::Home(_) => &[],
        }
    }

    /// Whether `region` takes writes itself.
    #[must_use]
    pub fn takes(&self, region: &RegionName) -> bool {
        match self {
            Self::ActiveActive { read_replicas } => !read_replicas.contains(region),
            Self::Home(home) => home == region,
        }
    }
}
