//! Which regions are let in, for as long as the listener lives: regions join and leave meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

/// The regions that a listener lets in; clones share them.
///
/// A change is for those who dial from then on. Connections that stand go on: whoever carries
/// messages over them knows when they have lost their meaning.
#[derive(Debug, Clone, Default)]
pub struct Allowed(Arc<RwLock<BTreeSet<String>>>);

impl Allowed {
    pub(crate) fn new(regions: BTreeSet<String>) -> Self {
        Self(Arc::new(RwLock::new(regions)))
    }

    /// Lets in these regions from now on, and no others.
    pub fn set(&self, regions: BTreeSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = regions;
    }

    /// Whether a region of this name is let in.
    pub fn contains(&self, region: &str) -> bool {
        let regions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        regions.contains(region)
    }
}
