//! Places in a server's history.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A position in a server's WAL, in bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Lsn(pub u64);

/// A transaction id as rows carry it in `xmin`: 32 bits that wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Xid(pub u32);

/// Which server, and which of its histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerIdentity {
    /// `system_identifier` of `IDENTIFY_SYSTEM`.
    pub system: u64,
    /// Its timeline.
    pub timeline: u32,
}

/// Not a WAL position as PostgreSQL writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a WAL position reads X/Y, two hexadecimal numbers")]
pub struct ParseLsnError;

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        let part = |digits| u32::from_str_radix(digits, 16).map_err(|_| ParseLsnError);
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

impl Xid {
    /// Whether this id was given out before `other`, if both are of the last two thousand million
    /// transactions. The ids below 3 (frozen and bootstrap) are before all others.
    #[must_use]
    pub fn precedes(self, other: Self) -> bool {
        const FIRST_NORMAL: u32 = 3;
        if self.0 < FIRST_NORMAL || other.0 < FIRST_NORMAL {
            return self.0 < other.0;
        }
        self.0.wrapping_sub(other.0) > i32::MAX.cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_and_write_as_postgresql_does() {
        let lsn: Lsn = "16/B374D848".parse().unwrap();
        assert_eq!(lsn, Lsn(0x16_B374_D848));
        assert_eq!(lsn.to_string(), "16/B374D848");
        assert_eq!(Lsn(0).to_string(), "0/0");
        assert_eq!("16B374D848".parse::<Lsn>(), Err(ParseLsnError));
        assert_eq!("1/100000000".parse::<Lsn>(), Err(ParseLsnError));
    }

    #[test]
    fn ids_wrap_around() {
        assert!(Xid(10).precedes(Xid(11)));
        assert!(!Xid(11).precedes(Xid(11)));
        assert!(Xid(u32::MAX).precedes(Xid(3)));
        assert!(!Xid(3).precedes(Xid(u32::MAX)));
        assert!(Xid(2).precedes(Xid(u32::MAX)), "frozen");
        assert!(!Xid(u32::MAX).precedes(Xid(2)));
    }
}
