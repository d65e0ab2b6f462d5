//! Where clients are, by a database of one's own in MaxMind's format (`.mmdb`).
//!
//! The file is read once, at the start. Databases of cities give coordinates; those of countries give
//! an area and a country, and the area's place from the built-in table. What the database doesn't
//! know, the built-in table may.

use maxminddb::{LookupResult, MaxMindDbError, Reader};
use meridian_steer::{Area, Country, Geo, Located, Registries, Spot};
use meridian_topology::Location;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// So many networks of a database are looked at; if none of them has a place, it isn't of places.
const SAMPLE: usize = 4096;

/// The database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file can't be read.
    #[error("the database of places {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is none, or damaged.
    #[error("{} is no database in MaxMind's format", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MaxMindDbError,
    },
    /// It says something else of addresses.
    #[error("{} is a database of {kind:?}, which has no places in it", path.display())]
    NoPlaces {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
}

impl GeoError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "--geo takes the path of an .mmdb file that this user can read",
            Self::Format { .. } => {
                "take an .mmdb file as MaxMind or DB-IP distribute it, unpacked and whole"
            }
            Self::NoPlaces { .. } => "take a database of cities or countries",
        }
    }
}

/// Opens a database of places; without one the built-in table has to do.
///
/// # Errors
/// [`GeoError`].
pub fn open_geo(path: Option<&Path>) -> Result<Box<dyn Geo>, GeoError> {
    match path {
        None => Ok(Box::<Registries>::default()),
        Some(path) => Ok(Box::new(Database::open(path)?)),
    }
}

struct Database {
    reader: Reader<Vec<u8>>,
    registries: Registries,
}

/// What is read of a record.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    continent: Continent<'a>,
    #[serde(borrow)]
    country: Code<'a>,
    location: Coordinates,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Continent<'a> {
    code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Code<'a> {
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Coordinates {
    latitude: Option<f64>,
    longitude: Option<f64>,
}

impl Database {
    fn open(path: &Path) -> Result<Self, GeoError> {
        let bytes = std::fs::read(path).map_err(|source| GeoError::Read {
            path: path.to_owned(),
            source,
        })?;
        let wrong = |source| GeoError::Format {
            path: path.to_owned(),
            source,
        };
        let reader = Reader::from_source(bytes).map_err(wrong)?;
        let kind = reader.metadata().database_type.clone();
        let database = Self {
            reader,
            registries: Registries::default(),
        };
        if !database.has_places().map_err(wrong)? {
            let path = path.to_owned();
            return Err(GeoError::NoPlaces { path, kind });
        }
        tracing::info!(file = %path.display(), kind, "clients are located by a database");
        Ok(database)
    }

    fn has_places(&self) -> Result<bool, MaxMindDbError> {
        for found in self.reader.networks(Default::default())?.take(SAMPLE) {
            if found?
                .decode::<Record<'_>>()?
                .is_some_and(|it| it.area().is_some())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn located(&self, found: &LookupResult<'_, Vec<u8>>) -> Option<Located> {
        let record: Record<'_> = found.decode().ok()??;
        let area = record.area()?;
        Some(Located {
            spot: record.spot().unwrap_or_else(|| self.registries.spot(area)),
            area,
            country: record.country(),
            prefix_bits: found.network().map_or(0, |network| network.prefix()),
        })
    }
}

impl Geo for Database {
    fn locate(&self, address: IpAddr) -> Option<Located> {
        let Ok(found) = self.reader.lookup(address) else {
            return self.registries.locate(address);
        };
        let beside = || {
            // What the database lacks around the address is no wider than what it has there.
            let bits = found.network().map_or(0, |network| network.prefix());
            let located = self.registries.locate(address)?;
            Some(Located {
                prefix_bits: located.prefix_bits.max(bits),
                ..located
            })
        };
        self.located(&found).or_else(beside)
    }
}

impl Record<'_> {
    fn country(&self) -> Option<Country> {
        let code = self.country.iso_code?.as_bytes();
        code.try_into().ok().map(Country)
    }

    fn spot(&self) -> Option<Spot> {
        let location = Location::new(self.location.latitude?, self.location.longitude?)?;
        Some(location.into())
    }

    /// By the regional registry that serves the country, as the built-in table goes by them.
    fn area(&self) -> Option<Area> {
        let by_country = self.country.iso_code.and_then(area_against_continent);
        by_country.or(match self.continent.code? {
            "AF" => Some(Area::Africa),
            "AS" | "OC" => Some(Area::AsiaPacific),
            "EU" => Some(Area::Europe),
            "SA" => Some(Area::LatinAmerica),
            "NA" | "AN" => Some(Area::NorthAmerica),
            _ => None,
        })
    }
}

/// Countries whose registry is not that of their continent: the Middle East and Central Asia (RIPE
/// NCC), Mexico, Central America and much of the Caribbean (LACNIC).
fn area_against_continent(country: &str) -> Option<Area> {
    match country {
        "AE" | "AM" | "AZ" | "BH" | "CY" | "GE" | "IL" | "IQ" | "IR" | "JO" | "KG" | "KW"
        | "KZ" | "LB" | "OM" | "PS" | "QA" | "SA" | "SY" | "TJ" | "TM" | "TR" | "UZ" | "YE"
        | "GL" => Some(Area::Europe),
        "AW" | "BZ" | "CR" | "CU" | "CW" | "DO" | "GT" | "HN" | "HT" | "MX" | "NI" | "PA"
        | "SV" | "SX" | "TT" => Some(Area::LatinAmerica),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::mmdb_for_tests::{Value, write};

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn map(members: Vec<(&str, Value)>) -> Value {
        let members = members.into_iter();
        Value::Map(
            members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    fn city(continent: &str, country: &str, (latitude, longitude): (f64, f64)) -> Value {
        map(vec![
            ("continent", map(vec![("code", text(continent))])),
            ("country", map(vec![("iso_code", text(country))])),
            (
                "location",
                map(vec![
                    ("latitude", Value::Double(latitude)),
                    ("longitude", Value::Double(longitude)),
                ]),
            ),
        ])
    }

    fn open(networks: &[(&str, u8, Value)]) -> Result<Box<dyn Geo>, GeoError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("places.mmdb");
        std::fs::write(&path, write("Test-City", networks)).unwrap();
        open_geo(Some(&path))
    }

    #[test]
    fn a_database_says_where_clients_are() {
        let dublin = (53.35, -6.26);
        let geo = open(&[
            ("203.0.113.0", 24, city("EU", "IE", dublin)),
            ("198.51.100.0", 25, city("NA", "MX", (19.4, -99.1))),
            ("2001:db8::", 32, city("AS", "AE", (25.2, 55.3))),
        ]);
        let geo = geo.unwrap();
        let located = geo.locate("203.0.113.77".parse().unwrap()).unwrap();
        assert_eq!(located.country, Some(Country(*b"IE")));
        assert_eq!((located.area, located.prefix_bits), (Area::Europe, 24));
        let there = Spot::from(Location::new(dublin.0, dublin.1).unwrap());
        assert!(located.spot.distance_km(&there) < 3.0);
        let mexico = geo.locate("198.51.100.9".parse().unwrap()).unwrap();
        assert_eq!((mexico.area, mexico.prefix_bits), (Area::LatinAmerica, 25));
        let dubai = geo.locate("2001:db8:5::1".parse().unwrap()).unwrap();
        assert_eq!((dubai.area, dubai.prefix_bits), (Area::Europe, 32));
        // What it doesn't know the built-in table may, and of a private address nobody knows.
        let elsewhere = geo.locate("8.8.8.8".parse().unwrap()).unwrap();
        assert_eq!(
            (elsewhere.area, elsewhere.country),
            (Area::NorthAmerica, None)
        );
        assert_eq!(geo.locate("10.0.0.1".parse().unwrap()), None);
    }

    #[test]
    fn a_database_of_countries_gives_their_areas_places() {
        let ireland = map(vec![
            ("continent", map(vec![("code", text("EU"))])),
            ("country", map(vec![("iso_code", text("IE"))])),
        ]);
        let geo = open(&[("203.0.113.0", 24, ireland)]).unwrap();
        let located = geo.locate("203.0.113.1".parse().unwrap()).unwrap();
        let of_area = Registries::default().spot(Area::Europe);
        assert_eq!((located.area, located.spot), (Area::Europe, of_area));
    }

    #[test]
    fn what_is_no_database_of_places_is_refused() {
        let network = map(vec![("autonomous_system_number", Value::Number(64500))]);
        let error = open(&[("203.0.113.0", 24, network)]).err().unwrap();
        assert!(matches!(error, GeoError::NoPlaces { .. }), "{error}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("places.mmdb");
        assert!(matches!(open_geo(Some(&path)), Err(GeoError::Read { .. })));
        std::fs::write(&path, "latitude,longitude\n").unwrap();
        assert!(matches!(
            open_geo(Some(&path)),
            Err(GeoError::Format { .. })
        ));
        let good = write(
            "Test-City",
            &[("203.0.113.0", 24, city("EU", "IE", (1.0, 2.0)))],
        );
        std::fs::write(&path, &good[..good.len() / 2]).unwrap();
        assert!(open_geo(Some(&path)).is_err());
    }
}
