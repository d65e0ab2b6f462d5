//! Where clients and regions are, made for quick comparison.

use meridian_topology::{Area, Country, Location};
use std::net::IpAddr;

/// Earth's mean radius (IUGG).
const EARTH_RADIUS_KM: f32 = 6371.009;

/// Milliseconds of round trip for a radian along a great circle: 100 km a millisecond there and back,
/// by a path 1.7 times as long; both figures as in `crates/topology/src/round_trip.rs`.
const ROUND_TRIP_MS_PER_RADIAN: f32 = EARTH_RADIUS_KM / 100.0 * 1.7;

/// A place on the unit sphere: the angle between two takes one scalar product and one arc cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot([f32; 3]);

impl From<Location> for Spot {
    fn from(location: Location) -> Self {
        let (north, east) = (
            location.latitude.to_radians(),
            location.longitude.to_radians(),
        );
        let around = north.cos();
        Self([around * east.cos(), around * east.sin(), north.sin()].map(|part| part as f32))
    }
}

impl Spot {
    /// The cosine of the angle between two: the greater, the nearer.
    #[must_use]
    pub fn nearness(&self, other: &Self) -> f32 {
        let [x, y, z] = self.0;
        x * other.0[0] + y * other.0[1] + z * other.0[2]
    }

    /// The great-circle distance, to within 3 km.
    #[must_use]
    pub fn distance_km(&self, other: &Self) -> f32 {
        arc_cosine(self.nearness(other)) * EARTH_RADIUS_KM
    }

    /// What a round trip over that distance takes, as an estimate.
    #[must_use]
    pub fn round_trip_ms(&self, other: &Self) -> f32 {
        arc_cosine(self.nearness(other)) * ROUND_TRIP_MS_PER_RADIAN
    }
}

/// The arc cosine by Abramowitz and Stegun 4.4.45 (error below 7·10⁻⁵ radians: half a kilometre).
fn arc_cosine(x: f32) -> f32 {
    let positive = x.abs().min(1.0);
    let polynomial =
        ((-0.018_729_3 * positive + 0.074_261_0) * positive - 0.212_114_4) * positive + 1.570_728_8;
    let angle = (1.0 - positive).sqrt() * polynomial;
    if x < 0.0 {
        std::f32::consts::PI - angle
    } else {
        angle
    }
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Located {
    /// The coordinates.
    pub spot: Spot,
    /// The area.
    pub area: Area,
    /// The country, if that much is known.
    pub country: Option<Country>,
    /// How many leading bits of the address this holds for.
    pub prefix_bits: u8,
}

/// Says where addresses are. Asked for each question, so it neither waits nor allocates.
pub trait Geo: Send + Sync {
    /// Where the address is; `None` if nobody knows, as of a private one.
    fn locate(&self, address: IpAddr) -> Option<Located>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_topology::well_known;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_are_those_of_the_haversine(
            (a, b) in (-90.0..90.0, -180.0..180.0),
            (c, d) in (-90.0..90.0, -180.0..180.0),
        ) {
            let (from, to) = (Location::new(a, b).unwrap(), Location::new(c, d).unwrap());
            let quick = f64::from(Spot::from(from).distance_km(&to.into()));
            prop_assert!((quick - from.distance_km(&to)).abs() < 3.0);
        }
    }

    #[test]
    fn a_place_is_at_itself() {
        let dublin: Spot = well_known("eu-west-1").unwrap().location.into();
        assert!(dublin.distance_km(&dublin) < 3.0);
        let ashburn: Spot = well_known("us-east-1").unwrap().location.into();
        let ms = ashburn.round_trip_ms(&dublin);
        assert!((85.0..100.0).contains(&ms), "{ms}");
    }
}
