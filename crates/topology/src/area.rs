//! Parts of the world and countries, by which clients are told apart.

use serde::Serialize;
use std::fmt;

/// A part of the world: what one regional Internet registry serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Africa (AFRINIC).
    Africa,
    /// Asia, Australia and the Pacific (APNIC).
    AsiaPacific,
    /// Europe, the Middle East and Central Asia (RIPE NCC).
    Europe,
    /// Latin America and most of the Caribbean (LACNIC).
    LatinAmerica,
    /// The United States, Canada and the rest of the Caribbean (ARIN).
    NorthAmerica,
}

impl Area {
    /// Every area.
    pub const ALL: [Self; 5] = [
        Self::Africa,
        Self::AsiaPacific,
        Self::Europe,
        Self::LatinAmerica,
        Self::NorthAmerica,
    ];

    /// The name, as in the topology.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Africa => "africa",
            Self::AsiaPacific => "asia-pacific",
            Self::Europe => "europe",
            Self::LatinAmerica => "latin-america",
            Self::NorthAmerica => "north-america",
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A country, as ISO 3166-1 alpha-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(pub [u8; 2]);

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or("??"))
    }
}
