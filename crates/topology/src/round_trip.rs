//! How long a round trip between two regions takes, for `meridian up --wan real`.
//!
//! For pairs of the larger AWS regions there are published measurements. For all others this
//! estimates: light in fibre covers some 200 km in a millisecond, so 100 km of distance cost 1 ms
//! there and back (SLAC's PingER derives its "directness of connection" with the same figure), and
//! cables are longer than great circles and packets wait, which a factor accounts for.

use crate::location::Place;
use crate::round_trip_published::published_ms;

/// Kilometres of distance per millisecond of round trip, at 200 km/ms each way.
const KM_PER_ROUND_TRIP_MS: f64 = 100.0;

/// How much longer than light along the great circle a round trip takes: the median over the
/// published table of this crate, which a test recomputes. It lies where it should: between the
/// 1.3 of shortest paths along existing conduits and the 2.1 of public Internet routes that
/// Bozkurt et al. found ("Dissecting Latency in the Internet's Fiber Infrastructure",
/// arXiv:1811.10737, 2018).
const PATH_FACTOR: f64 = 1.7;

/// A round trip between two regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// Milliseconds there and back, at least 1.
    pub ms: u32,
    /// Whether it is a published measurement; otherwise an estimate from the distance.
    pub published: bool,
}

/// The round trip between two places, the same in both directions.
///
/// Published where both are cloud regions in the table; otherwise
/// `great-circle km / 100 × path factor`, and at least 1 ms.
#[must_use]
pub fn round_trip(a: &Place, b: &Place) -> RoundTrip {
    let published = a
        .cloud_region
        .zip(b.cloud_region)
        .and_then(|(a, b)| published_ms(a, b));
    published.map_or_else(
        || estimate(a, b),
        |ms| RoundTrip {
            ms,
            published: true,
        },
    )
}

fn estimate(a: &Place, b: &Place) -> RoundTrip {
    let distance_km = a.location.distance_km(&b.location);
    let ms = distance_km / KM_PER_ROUND_TRIP_MS * PATH_FACTOR;
    RoundTrip {
        // At most half the circumference: some 320 ms, so the cast cannot overflow.
        ms: ms.round().max(1.0) as u32,
        published: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::well_known;
    use crate::round_trip_published::REGIONS;

    fn place(name: &str) -> Place {
        well_known(name).unwrap_or_else(|| panic!("{name} is not known"))
    }

    /// Over every published pair more than 300 km apart: measured time over light's time.
    fn path_factors() -> Vec<f64> {
        let mut factors = Vec::new();
        for (index, a) in REGIONS.into_iter().enumerate() {
            for b in &REGIONS[..index] {
                let (a, b) = (place(a), place(b));
                let light_ms = a.location.distance_km(&b.location) / KM_PER_ROUND_TRIP_MS;
                if light_ms > 3.0 {
                    factors.push(f64::from(round_trip(&a, &b).ms) / light_ms);
                }
            }
        }
        factors.sort_by(f64::total_cmp);
        factors
    }

    #[test]
    fn the_path_factor_is_the_median_of_the_published_table() {
        let factors = path_factors();
        let median = factors[factors.len() / 2];
        assert!((median - PATH_FACTOR).abs() < 0.05, "median {median}");
    }

    #[test]
    fn nothing_published_is_faster_than_light() {
        let fastest = path_factors()[0];
        assert!(fastest > 1.0, "{fastest}");
    }

    #[test]
    fn published_and_estimated() {
        let (virginia, dublin) = (place("us-east-1"), place("eu-west-1"));
        let published = RoundTrip {
            ms: 70,
            published: true,
        };
        assert_eq!(round_trip(&virginia, &dublin), published);
        assert_eq!(round_trip(&dublin, &virginia), published);
        let somewhere = Place {
            cloud_region: None,
            ..dublin
        };
        assert!(!round_trip(&virginia, &somewhere).published);
        assert_eq!(
            round_trip(&dublin, &somewhere),
            RoundTrip {
                ms: 1,
                published: false
            }
        );
    }

    #[test]
    fn an_estimate_is_near_measurements_of_other_clouds() {
        // IBM Cloud's published average from Dallas to London was 113 ms in autumn 2024.
        let estimate = round_trip(&place("us-south1"), &place("europe-west2"));
        assert!(!estimate.published);
        assert!((90..=140).contains(&estimate.ms), "{}", estimate.ms);
    }
}
