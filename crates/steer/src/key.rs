//! What a client is recognised by, where chance would otherwise decide.
//!
//! The same key always gets the same answer, so a client stays with its variant; and where a region
//! goes, only its own clients move (each region's luck is drawn from the key and the region's name).

use std::net::IpAddr;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A client's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Of a client's network: the first `prefix_bits` of the address.
    #[must_use]
    pub fn of_network(address: IpAddr, prefix_bits: u8) -> Self {
        let (bits, width) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let cut = width - u32::from(prefix_bits).min(width);
        let network = bits.checked_shr(cut).unwrap_or(0);
        Self(xxh3_64_with_seed(
            &network.to_le_bytes(),
            u64::from(width - cut),
        ))
    }

    /// Of a cookie, a user's name or whatever else an application tells its clients apart by.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }

    /// Of one of many questions of a resolver that doesn't say for whom it asks: with a `turn` that is
    /// another each time, weights hold among the answers to each resolver.
    #[must_use]
    pub fn of_turn(resolver: IpAddr, turn: u64) -> Self {
        Self(Self::of_network(resolver, 128).0 ^ mixed(turn))
    }

    /// A number that this key has with something of that salt, evenly spread.
    #[must_use]
    pub(crate) fn luck(self, salt: u64) -> u64 {
        mixed(self.0 ^ salt)
    }
}

/// The salt of a name.
#[must_use]
pub(crate) fn salt(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_key() {
        let key = |address: &str, bits| Key::of_network(address.parse().unwrap(), bits);
        assert_eq!(key("192.0.2.1", 24), key("192.0.2.200", 24));
        assert_ne!(key("192.0.2.1", 24), key("192.0.3.1", 24));
        assert_ne!(key("192.0.2.0", 24), key("0.192.0.2", 32));
        assert_eq!(key("2001:db8::1", 56), key("2001:db8::2", 56));
        assert_eq!(key("192.0.2.1", 0), key("198.51.100.7", 0));
    }
}
