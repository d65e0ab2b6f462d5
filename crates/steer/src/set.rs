//! Sets of regions, by their index in the topology.

use meridian_topology::REGIONS_MAX;

const _: () = assert!(REGIONS_MAX <= u32::BITS as usize);

/// Regions, each by its index in the topology.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSet(u32);

impl RegionSet {
    /// No region.
    pub const EMPTY: Self = Self(0);

    /// The first so many regions.
    #[must_use]
    pub fn first(regions: usize) -> Self {
        (0..regions).collect()
    }

    /// Whether the region is in it.
    #[must_use]
    pub const fn contains(self, region: usize) -> bool {
        self.0 >> region & 1 == 1
    }

    /// With the region in it.
    #[must_use]
    pub const fn with(self, region: usize) -> Self {
        Self(self.0 | 1 << region)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one alone.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The regions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let next = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(next)
        })
    }
}

impl FromIterator<usize> for RegionSet {
    fn from_iter<I: IntoIterator<Item = usize>>(regions: I) -> Self {
        regions.into_iter().fold(Self::EMPTY, Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let set: RegionSet = [0, 5, 31].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 31]);
        assert!(set.contains(31) && !set.contains(4));
        assert_eq!(
            set.without(RegionSet::first(6)).iter().collect::<Vec<_>>(),
            [31]
        );
        assert_eq!(set.and(RegionSet::first(6)).len(), 2);
        assert!(RegionSet::first(0).is_empty() && RegionSet::first(32).len() == 32);
    }
}
