//! Where regions are: latitude and longitude of the well-known cloud regions.
//!
//! Sources: the metropolitan areas that the providers publish for their regions (AWS "Regions and
//! Availability Zones", Google Cloud "Geography and regions", Azure "List of Azure regions"). The
//! coordinates are those of the named city or county, to two decimals: providers do not publish
//! where their buildings stand, and for steering and estimates a few tens of kilometres are well
//! below the noise.

/// A place on Earth, in degrees (WGS 84).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// Degrees north of the equator, −90 to 90.
    pub latitude: f64,
    /// Degrees east of Greenwich, −180 to 180.
    pub longitude: f64,
}

/// Earth's mean radius (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

impl Location {
    /// A location, if both degrees are in range.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let good = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        good.then_some(Self {
            latitude,
            longitude,
        })
    }

    /// The great-circle distance in kilometres, by the haversine formula.
    #[must_use]
    pub fn distance_km(&self, other: &Self) -> f64 {
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_latitude = (to - from) / 2.0;
        let half_longitude = (other.longitude - self.longitude).to_radians() / 2.0;
        let haversine =
            half_latitude.sin().powi(2) + from.cos() * to.cos() * half_longitude.sin().powi(2);
        // Rounding may leave the haversine of antipodes a hair above 1.
        2.0 * EARTH_RADIUS_KM * haversine.sqrt().min(1.0).asin()
    }
}

/// Where a region is, and whether that is a cloud region with published measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The coordinates.
    pub location: Location,
    /// The well-known cloud region, if the place was named rather than given in degrees.
    pub cloud_region: Option<&'static str>,
}

/// The place of a well-known cloud region (AWS, Google Cloud or Azure), by the provider's name.
#[must_use]
pub fn well_known(name: &str) -> Option<Place> {
    CLOUD_REGIONS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|&(known, latitude, longitude)| Place {
            location: Location {
                latitude,
                longitude,
            },
            cloud_region: Some(known),
        })
}

/// The names that [`well_known`] knows.
pub(crate) fn well_known_names() -> impl Iterator<Item = &'static str> {
    CLOUD_REGIONS.iter().map(|(name, ..)| *name)
}

#[rustfmt::skip]
const CLOUD_REGIONS: &[(&str, f64, f64)] = &[
    // AWS, every commercial region.
    ("us-east-1", 39.04, -77.49),       // Northern Virginia (Ashburn)
    ("us-east-2", 39.96, -83.00),       // Ohio (Columbus)
    ("us-west-1", 37.34, -121.89),      // Northern California (San Jose)
    ("us-west-2", 45.84, -119.70),      // Oregon (Boardman)
    ("ca-central-1", 45.50, -73.57),    // Montréal
    ("ca-west-1", 51.05, -114.07),      // Calgary
    ("mx-central-1", 20.59, -100.39),   // Querétaro
    ("sa-east-1", -23.55, -46.63),      // São Paulo
    ("eu-west-1", 53.35, -6.26),        // Dublin
    ("eu-west-2", 51.51, -0.13),        // London
    ("eu-west-3", 48.86, 2.35),         // Paris
    ("eu-central-1", 50.11, 8.68),      // Frankfurt
    ("eu-central-2", 47.38, 8.54),      // Zürich
    ("eu-north-1", 59.33, 18.07),       // Stockholm
    ("eu-south-1", 45.46, 9.19),        // Milan
    ("eu-south-2", 41.65, -0.88),       // Aragón (Zaragoza)
    ("ap-northeast-1", 35.68, 139.69),  // Tokyo
    ("ap-northeast-2", 37.57, 126.98),  // Seoul
    ("ap-northeast-3", 34.69, 135.50),  // Osaka
    ("ap-east-1", 22.32, 114.17),       // Hong Kong
    ("ap-east-2", 25.03, 121.57),       // Taipei
    ("ap-southeast-1", 1.35, 103.82),   // Singapore
    ("ap-southeast-2", -33.87, 151.21), // Sydney
    ("ap-southeast-3", -6.21, 106.85),  // Jakarta
    ("ap-southeast-4", -37.81, 144.96), // Melbourne
    ("ap-southeast-5", 3.15, 101.69),   // Kuala Lumpur
    ("ap-southeast-6", -36.85, 174.76), // Auckland
    ("ap-southeast-7", 13.76, 100.50),  // Bangkok
    ("ap-south-1", 19.08, 72.88),       // Mumbai
    ("ap-south-2", 17.39, 78.49),       // Hyderabad
    ("me-south-1", 26.07, 50.55),       // Bahrain
    ("me-central-1", 25.20, 55.27),     // United Arab Emirates (Dubai)
    ("il-central-1", 32.09, 34.78),     // Tel Aviv
    ("af-south-1", -33.92, 18.42),      // Cape Town
    // Google Cloud.
    ("us-central1", 41.26, -95.86),             // Council Bluffs, Iowa
    ("us-east1", 33.20, -80.01),                // Moncks Corner, South Carolina
    ("us-east4", 39.04, -77.49),                // Ashburn, Virginia
    ("us-east5", 39.96, -83.00),                // Columbus, Ohio
    ("us-south1", 32.78, -96.80),               // Dallas
    ("us-west1", 45.59, -121.18),               // The Dalles, Oregon
    ("us-west2", 34.05, -118.24),               // Los Angeles
    ("us-west3", 40.76, -111.89),               // Salt Lake City
    ("us-west4", 36.17, -115.14),               // Las Vegas
    ("northamerica-northeast1", 45.50, -73.57), // Montréal
    ("northamerica-northeast2", 43.65, -79.38), // Toronto
    ("northamerica-south1", 20.59, -100.39),    // Querétaro
    ("southamerica-east1", -23.53, -46.79),     // Osasco, São Paulo
    ("southamerica-west1", -33.45, -70.67),     // Santiago
    ("europe-west1", 50.45, 3.82),              // St. Ghislain, Belgium
    ("europe-west2", 51.51, -0.13),             // London
    ("europe-west3", 50.11, 8.68),              // Frankfurt
    ("europe-west4", 53.44, 6.83),              // Eemshaven
    ("europe-west6", 47.38, 8.54),              // Zürich
    ("europe-west8", 45.46, 9.19),              // Milan
    ("europe-west9", 48.86, 2.35),              // Paris
    ("europe-west10", 52.52, 13.41),            // Berlin
    ("europe-west12", 45.07, 7.69),             // Turin
    ("europe-north1", 60.57, 27.20),            // Hamina
    ("europe-north2", 59.33, 18.07),            // Stockholm
    ("europe-central2", 52.23, 21.01),          // Warsaw
    ("europe-southwest1", 40.42, -3.70),        // Madrid
    ("asia-east1", 24.08, 120.54),              // Changhua County
    ("asia-east2", 22.32, 114.17),              // Hong Kong
    ("asia-northeast1", 35.68, 139.69),         // Tokyo
    ("asia-northeast2", 34.69, 135.50),         // Osaka
    ("asia-northeast3", 37.57, 126.98),         // Seoul
    ("asia-south1", 19.08, 72.88),              // Mumbai
    ("asia-south2", 28.61, 77.21),              // Delhi
    ("asia-southeast1", 1.35, 103.82),          // Singapore
    ("asia-southeast2", -6.21, 106.85),         // Jakarta
    ("australia-southeast1", -33.87, 151.21),   // Sydney
    ("australia-southeast2", -37.81, 144.96),   // Melbourne
    ("me-west1", 32.09, 34.78),                 // Tel Aviv
    ("me-central1", 25.29, 51.53),              // Doha
    ("me-central2", 26.43, 50.10),              // Dammam
    ("africa-south1", -26.20, 28.05),           // Johannesburg
    // Azure.
    ("eastus", 37.37, -79.82),             // Virginia
    ("eastus2", 36.67, -78.39),            // Virginia (Boydton)
    ("centralus", 41.59, -93.62),          // Iowa (Des Moines)
    ("northcentralus", 41.88, -87.63),     // Illinois (Chicago)
    ("southcentralus", 29.42, -98.49),     // Texas (San Antonio)
    ("westcentralus", 41.14, -104.82),     // Wyoming (Cheyenne)
    ("westus", 37.77, -122.42),            // California (San Francisco)
    ("westus2", 47.23, -119.85),           // Washington (Quincy)
    ("westus3", 33.45, -112.07),           // Phoenix
    ("canadacentral", 43.65, -79.38),      // Toronto
    ("canadaeast", 46.81, -71.21),         // Quebec
    ("mexicocentral", 20.59, -100.39),     // Querétaro
    ("brazilsouth", -23.55, -46.63),       // São Paulo
    ("northeurope", 53.35, -6.26),         // Ireland (Dublin)
    ("westeurope", 52.37, 4.90),           // Netherlands (Amsterdam)
    ("uksouth", 51.51, -0.13),             // London
    ("ukwest", 51.48, -3.18),              // Cardiff
    ("francecentral", 48.86, 2.35),        // Paris
    ("germanywestcentral", 50.11, 8.68),   // Frankfurt
    ("switzerlandnorth", 47.38, 8.54),     // Zürich
    ("norwayeast", 59.91, 10.75),          // Oslo
    ("swedencentral", 60.67, 17.14),       // Gävle
    ("italynorth", 45.46, 9.19),           // Milan
    ("polandcentral", 52.23, 21.01),       // Warsaw
    ("spaincentral", 40.42, -3.70),        // Madrid
    ("eastasia", 22.32, 114.17),           // Hong Kong
    ("southeastasia", 1.35, 103.82),       // Singapore
    ("japaneast", 35.68, 139.69),          // Tokyo
    ("japanwest", 34.69, 135.50),          // Osaka
    ("koreacentral", 37.57, 126.98),       // Seoul
    ("centralindia", 18.52, 73.86),        // Pune
    ("southindia", 13.08, 80.27),          // Chennai
    ("westindia", 19.08, 72.88),           // Mumbai
    ("australiaeast", -33.87, 151.21),     // Sydney
    ("australiasoutheast", -37.81, 144.96),// Melbourne
    ("newzealandnorth", -36.85, 174.76),   // Auckland
    ("uaenorth", 25.20, 55.27),            // Dubai
    ("qatarcentral", 25.29, 51.53),        // Doha
    ("israelcentral", 32.09, 34.78),       // Israel (Tel Aviv)
    ("southafricanorth", -26.20, 28.05),   // Johannesburg
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_known_region_is_once_in_the_table_and_on_earth() {
        let names: BTreeSet<_> = well_known_names().collect();
        assert_eq!(names.len(), CLOUD_REGIONS.len());
        for (name, latitude, longitude) in CLOUD_REGIONS {
            assert!(Location::new(*latitude, *longitude).is_some(), "{name}");
            assert_eq!(crate::check_region_name(name), Ok(()));
        }
    }

    #[test]
    fn distance_of_known_cities() {
        let london = well_known("eu-west-2").unwrap().location;
        let sydney = well_known("ap-southeast-2").unwrap().location;
        let distance = london.distance_km(&sydney);
        assert!((distance - 16_994.0).abs() < 20.0, "{distance}");
        assert_eq!(sydney.distance_km(&london), distance);
        assert_eq!(london.distance_km(&london), 0.0);
    }

    #[test]
    fn antipodes_have_a_distance() {
        let pole = Location::new(90.0, 0.0).unwrap();
        let other = Location::new(-90.0, 77.0).unwrap();
        let half_the_circumference_km = std::f64::consts::PI * EARTH_RADIUS_KM;
        assert!((pole.distance_km(&other) - half_the_circumference_km).abs() < 1e-6);
        assert!(Location::new(90.1, 0.0).is_none() && Location::new(0.0, f64::NAN).is_none());
    }
}
