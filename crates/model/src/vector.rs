//! Vectors: for each origin, how far something has come.

use crate::{HistoryHash, Hlc, OriginId, Sequence, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Per origin the highest clock reading applied: what a transaction had seen when it committed.
///
/// Because an origin's stream has no gaps and its clock only rises, "has applied up to this
/// reading" means everything of that origin up to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vector(BTreeMap<OriginId, Hlc>);

impl Vector {
    /// The highest reading of `origin`; [`Hlc::ZERO`] where none was seen.
    #[must_use]
    pub fn get(&self, origin: OriginId) -> Hlc {
        self.0.get(&origin).copied().unwrap_or(Hlc::ZERO)
    }

    /// Raises an origin's reading; never lowers it.
    pub fn raise(&mut self, origin: OriginId, hlc: Hlc) {
        let held = self.0.entry(origin).or_insert(Hlc::ZERO);
        *held = (*held).max(hlc);
    }

    /// Raises every origin's reading to what `other` has seen of it.
    pub fn raise_all(&mut self, other: &Self) {
        for (origin, hlc) in other.iter() {
            self.raise(origin, hlc);
        }
    }

    /// Leaves an origin out.
    pub fn remove(&mut self, origin: OriginId) {
        self.0.remove(&origin);
    }

    /// Whether the write of this version is among what was seen.
    #[must_use]
    pub fn has_seen(&self, version: Version) -> bool {
        self.get(version.origin) >= version.hlc
    }

    /// Whether all that `other` has seen was seen here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(origin, hlc)| self.get(origin) >= hlc)
    }

    /// Whether nothing was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The origins and their readings, in origin order.
    pub fn iter(&self) -> impl Iterator<Item = (OriginId, Hlc)> + '_ {
        self.0.iter().map(|(origin, hlc)| (*origin, *hlc))
    }
}

impl FromIterator<(OriginId, Hlc)> for Vector {
    fn from_iter<I: IntoIterator<Item = (OriginId, Hlc)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Where one origin's stream stands: its last entry's sequence, clock and history hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The last entry's sequence.
    pub sequence: Sequence,
    /// The last entry's clock reading.
    pub hlc: Hlc,
    /// The running hash over the whole stream up to it.
    pub history: HistoryHash,
}

/// Per origin where its stream stands, in a log or at a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(BTreeMap<OriginId, Mark>);

impl Marks {
    /// The origin's mark; the default (sequence 0) where nothing of it is held.
    #[must_use]
    pub fn get(&self, origin: OriginId) -> Mark {
        self.0.get(&origin).copied().unwrap_or_default()
    }

    /// Sets an origin's mark.
    pub fn set(&mut self, origin: OriginId, mark: Mark) {
        self.0.insert(origin, mark);
    }

    /// Whether everything that `other` holds is held here too, by sequence.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|(origin, mark)| self.get(origin).sequence >= mark.sequence)
    }

    /// How many entries `other` holds that are not held here.
    #[must_use]
    pub fn missing_from(&self, other: &Self) -> u64 {
        other
            .iter()
            .map(|(origin, mark)| mark.sequence.0.saturating_sub(self.get(origin).sequence.0))
            .fold(0, u64::saturating_add)
    }

    /// The clock readings alone.
    #[must_use]
    pub fn vector(&self) -> Vector {
        self.iter()
            .map(|(origin, mark)| (origin, mark.hlc))
            .collect()
    }

    /// The origins and their marks, in origin order.
    pub fn iter(&self) -> impl Iterator<Item = (OriginId, Mark)> + '_ {
        self.0.iter().map(|(origin, mark)| (*origin, *mark))
    }
}

impl FromIterator<(OriginId, Mark)> for Marks {
    fn from_iter<I: IntoIterator<Item = (OriginId, Mark)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}
