//! What a decision came to.

use crate::tier::Tier;
use meridian_topology::REGIONS_MAX;

/// A region in an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// The region, by index.
    pub region: u8,
    /// Its tier.
    pub tier: Tier,
    /// Whether the client is one of those that the region doesn't take now ([its
    /// share](crate::RegionPicture::share)).
    pub passed: bool,
    /// What the innermost policy had it at: milliseconds, kilometres with bias, the rank of a rule or
    /// place, or the draw. The less, the better.
    pub cost: f32,
}

const NOBODY: Entry = Entry {
    region: 0,
    tier: Tier::Down,
    passed: false,
    cost: 0.0,
};

/// Every region that the client may be sent to, the best first. One is made per thread and used again
/// and again.
#[derive(Clone, Debug)]
pub struct Answer {
    entries: [Entry; REGIONS_MAX],
    length: usize,
    given: usize,
    scope_bits: u8,
}

impl Default for Answer {
    fn default() -> Self {
        Self {
            entries: [NOBODY; REGIONS_MAX],
            length: 0,
            given: 0,
            scope_bits: 0,
        }
    }
}

impl Answer {
    /// Every region, in order. Empty only where residency allows none.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries[..self.length]
    }

    /// Those to give the client: the first, or several of the best tier where the policy says so.
    #[must_use]
    pub fn given(&self) -> &[Entry] {
        &self.entries[..self.given]
    }

    /// The best region, by index.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.given().first().map(|entry| usize::from(entry.region))
    }

    /// For how many leading bits of the client's address this answer holds: the scope of RFC 7871.
    #[must_use]
    pub fn scope_bits(&self) -> u8 {
        self.scope_bits
    }

    pub(crate) fn clear(&mut self, scope_bits: u8) {
        (self.length, self.given) = (0, 0);
        self.scope_bits = scope_bits;
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries[self.length] = entry;
        self.length += 1;
    }

    /// Gives the first so many, of one tier and equally willing.
    pub(crate) fn give(&mut self, values_max: usize) {
        let Some(best) = self.entries().first().copied() else {
            return;
        };
        let alike = |entry: &&Entry| (entry.tier, entry.passed) == (best.tier, best.passed);
        let alike = self.entries().iter().take_while(alike).count();
        self.given = alike.min(values_max);
    }
}
