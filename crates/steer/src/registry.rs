//! The built-in table: which regional registry an address block belongs to, and one place for each.
//!
//! Sources: IANA's "IPv4 Address Space" registry, whose blocks are of 8 bits (a block that an
//! organisation holds since before the registries counts to the one that administers it), and IANA's
//! "IPv6 Global Unicast Address Assignments". It tells continents apart and no more, and for blocks
//! that were sold across them not even that. A database of one's own does better ([`Geo`]).

use crate::place::{Geo, Located, Spot};
use meridian_topology::{Area, Location};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The registry of each block of 8 bits: `A`RIN, `R`IPE NCC, A`P`NIC, `L`ACNIC, A`F`RINIC, `-` none.
const V4: &[u8; 256] = b"\
-PRAARAAAA-AAAPAAAAAAAAAARAPAAAR\
AAAAPRAPAFPPAARAAPARARAAARPPPPRA\
AAAAAAAAAAAAARRRRRRRRRRRRRRRRRRR\
AAAAAPFPAFPAARPPPPPPPPPPPPPPPPP-\
AAAAAPAAAAAAARAAARAAAAPRAPFAAAAA\
AAAPAAAAAAAPAAAPRLRLPLPPARLLRLLL\
ARRRFFAALLPPAAAAAAPPRRAAARPPPPPP\
--------------------------------";

/// Prefixes by their first 32 bits, and their lengths.
const V6: &[(u32, u8, u8)] = &[
    (0x2001_0200, 23, b'P'),
    (0x2001_0400, 23, b'A'),
    (0x2001_0600, 23, b'R'),
    (0x2001_0800, 22, b'R'),
    (0x2001_0c00, 22, b'P'),
    (0x2001_1200, 23, b'L'),
    (0x2001_1400, 22, b'R'),
    (0x2001_1800, 23, b'A'),
    (0x2001_1a00, 23, b'R'),
    (0x2001_1c00, 22, b'R'),
    (0x2001_2000, 19, b'R'),
    (0x2001_4000, 23, b'R'),
    (0x2001_4200, 23, b'F'),
    (0x2001_4400, 23, b'P'),
    (0x2001_4600, 23, b'R'),
    (0x2001_4800, 23, b'A'),
    (0x2001_4a00, 23, b'R'),
    (0x2001_4c00, 23, b'R'),
    (0x2001_5000, 20, b'R'),
    (0x2001_8000, 19, b'P'),
    (0x2001_a000, 20, b'P'),
    (0x2001_b000, 20, b'P'),
    (0x2003_0000, 18, b'R'),
    (0x2400_0000, 12, b'P'),
    (0x2410_0000, 12, b'P'),
    (0x2600_0000, 12, b'A'),
    (0x2610_0000, 23, b'A'),
    (0x2620_0000, 23, b'A'),
    (0x2630_0000, 12, b'A'),
    (0x2800_0000, 12, b'L'),
    (0x2a00_0000, 12, b'R'),
    (0x2a10_0000, 12, b'R'),
    (0x2c00_0000, 12, b'F'),
];

/// One place for each area, by the code of its registry: a point that most of the people there are
/// nearer to than to another area's.
#[rustfmt::skip]
const PLACES: [(u8, Area, f64, f64); 5] = [
    (b'F', Area::Africa, -4.32, 15.31),        // Kinshasa
    (b'P', Area::AsiaPacific, 22.32, 114.17),  // Hong Kong
    (b'R', Area::Europe, 49.84, 9.90),         // Gadheim, the middle of the EU (IGN, 2020)
    (b'L', Area::LatinAmerica, -15.79, -47.88), // Brasília
    (b'A', Area::NorthAmerica, 37.42, -92.35), // centre of US population (Census Bureau, 2020)
];

/// IANA's blocks and a place for each registry.
#[derive(Clone, Debug)]
pub struct Registries([(u8, Located); 5]);

impl Default for Registries {
    fn default() -> Self {
        Self(PLACES.map(|(code, area, latitude, longitude)| {
            let spot = Spot::from(Location {
                latitude,
                longitude,
            });
            let located = Located {
                spot,
                area,
                country: None,
                prefix_bits: 0,
            };
            (code, located)
        }))
    }
}

impl Registries {
    /// The one place that stands for an area.
    #[must_use]
    pub fn spot(&self, area: Area) -> Spot {
        let mut places = self.0.iter().map(|(_, located)| located);
        let found = places.find(|located| located.area == area);
        found.expect("every area has a place").spot
    }

    fn of(&self, code: u8, prefix_bits: u8) -> Option<Located> {
        let (_, located) = self.0.iter().find(|(known, _)| *known == code)?;
        Some(Located {
            prefix_bits,
            ..*located
        })
    }
}

impl Geo for Registries {
    fn locate(&self, address: IpAddr) -> Option<Located> {
        match address {
            IpAddr::V4(address) => self.locate_v4(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => self.locate_v4(address),
                None => self.locate_v6(address),
            },
        }
    }
}

impl Registries {
    fn locate_v4(&self, address: Ipv4Addr) -> Option<Located> {
        let [first, second, ..] = address.octets();
        let shared = first == 100 && second & 0xc0 == 64;
        if address.is_private() || address.is_link_local() || shared {
            return None;
        }
        self.of(V4[usize::from(first)], 8)
    }

    fn locate_v6(&self, address: Ipv6Addr) -> Option<Located> {
        let bits = (address.to_bits() >> 96) as u32;
        if bits == 0x2001_0db8 {
            return None;
        }
        let within = |(prefix, length, _): &&(u32, u8, u8)| (bits ^ prefix) >> (32 - length) == 0;
        let (_, length, code) = V6.iter().find(within)?;
        self.of(*code, *length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(address: &str) -> Option<Area> {
        let located = Registries::default().locate(address.parse().unwrap())?;
        assert!(located.prefix_bits >= 8);
        Some(located.area)
    }

    #[test]
    fn well_known_addresses() {
        for (address, expected) in [
            ("8.8.8.8", Some(Area::NorthAmerica)),
            ("193.0.6.139", Some(Area::Europe)),
            ("202.12.27.33", Some(Area::AsiaPacific)),
            ("200.3.14.10", Some(Area::LatinAmerica)),
            ("196.216.2.6", Some(Area::Africa)),
            ("53.1.2.3", Some(Area::Europe)),
            ("::ffff:1.1.1.1", Some(Area::AsiaPacific)),
            ("2001:67c:2e8::1", Some(Area::Europe)),
            ("2001:dc0:2001::1", Some(Area::AsiaPacific)),
            ("2606:4700::1", Some(Area::NorthAmerica)),
            ("2a00:1450::1", Some(Area::Europe)),
            ("2800:3f0::1", Some(Area::LatinAmerica)),
            ("2c0f:fb50::1", Some(Area::Africa)),
            ("10.1.2.3", None),
            ("127.0.0.1", None),
            ("172.16.1.1", None),
            ("100.64.1.1", None),
            ("239.1.1.1", None),
            ("::1", None),
            ("2001:db8::1", None),
            ("fd00::1", None),
        ] {
            assert_eq!(area(address), expected, "{address}");
        }
    }

    #[test]
    fn the_registry_has_as_many_blocks_as_ianas() {
        let count = |code| V4.iter().filter(|known| **known == code).count();
        // As of 2022: 16 multicast, 16 reserved, and 0, 10 and 127.
        assert_eq!(count(b'-'), 35);
        assert_eq!([b'F', b'L'].map(count), [6, 10]);
        assert_eq!(
            V4.iter().filter(|code| !b"ARPLF-".contains(code)).count(),
            0
        );
    }
}
