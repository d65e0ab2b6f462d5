//! Who wrote something: region, origin (a region's incarnation), sequence and version.

use crate::Hlc;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A region's name, as in the topology.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RegionName(Arc<str>);

impl RegionName {
    /// Wraps a name that the topology has validated.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An origin: one incarnation of a region's dataset, a random 64-bit number drawn when its data
/// directory is created. A stream's first entry names the region ([`crate::Body::Open`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OriginId(pub u64);

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A number in an origin's stream: 1 for its first entry, without gaps; 0 is "nothing yet".
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When and where a write was committed: a total order that every region agrees on.
///
/// The clock decides; equal readings of two origins are decided by the origin's number. A write
/// that had seen another always has the greater version, because a region's clock moves past all
/// that it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The commit's clock reading.
    pub hlc: Hlc,
    /// The origin that committed it.
    pub origin: OriginId,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.hlc, self.origin)
    }
}

/// Not a version as [`Version`] displays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version reads CLOCK-ORIGIN, a decimal number and 16 hexadecimal digits")]
pub struct ParseVersionError;

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hlc, origin) = text.split_once('-').ok_or(ParseVersionError)?;
        if origin.len() != 16 {
            return Err(ParseVersionError);
        }
        Ok(Self {
            hlc: Hlc::from_raw(hlc.parse().map_err(|_| ParseVersionError)?),
            origin: OriginId(u64::from_str_radix(origin, 16).map_err(|_| ParseVersionError)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_by_clock_then_origin() {
        let version = |hlc, origin| Version {
            hlc: Hlc::from_raw(hlc),
            origin: OriginId(origin),
        };
        assert!(version(2, 1) > version(1, 9));
        assert!(version(1, 9) > version(1, 1));
    }

    #[test]
    fn a_version_reads_back_as_it_was_written() {
        let version = Version {
            hlc: Hlc::from_raw(77),
            origin: OriginId(0xfe),
        };
        assert_eq!(version.to_string(), "77-00000000000000fe");
        assert_eq!(version.to_string().parse(), Ok(version));
        for bad in [
            "",
            "-",
            "77",
            "77-fe",
            "x-00000000000000fe",
            "77-00000000000000zz",
        ] {
            assert_eq!(bad.parse::<Version>(), Err(ParseVersionError), "{bad}");
        }
    }
}
