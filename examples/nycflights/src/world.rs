//! What there is to write to, read once after the load.

use crate::record::{FlightKey, FlightState};
use crate::servers;
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Until this day of December flights are changed and deleted one by one; after it they follow their
/// planes alone, so that each row is written in one way and its outcome can be told.
const LAST_DAY_OF_SINGLE_FLIGHTS: i32 = 20;

/// The data's rows that clients may touch.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The flights of December as loaded.
    pub december: BTreeMap<FlightKey, FlightState>,
    /// The airlines of the data.
    pub carriers: Vec<String>,
    /// All planes of the data.
    pub planes: Vec<String>,
}

impl World {
    /// Reads it from a server.
    pub async fn read(client: &Client) -> Result<Self> {
        let world = Self {
            december: servers::touchable(client).await?,
            carriers: servers::carriers(client).await?,
            planes: servers::planes(client).await?,
        };
        ensure!(
            !world.singles().is_empty() && !world.renamable().is_empty(),
            "there are no flights in December to write to"
        );
        Ok(world)
    }

    /// The flights that are changed one by one.
    pub fn singles(&self) -> Vec<FlightKey> {
        let flights = self.december.keys();
        flights
            .filter(|flight| is_single(flight))
            .cloned()
            .collect()
    }

    /// The planes that fly at the end of December, and only stand in the table as the data has them.
    pub fn renamable(&self) -> Vec<String> {
        let late = self.december.iter().filter(|(key, _)| !is_single(key));
        let flying: BTreeSet<_> = late
            .filter_map(|(_, state)| state.tailnum.as_ref())
            .collect();
        let known = self.planes.iter();
        known
            .filter(|plane| flying.contains(plane))
            .cloned()
            .collect()
    }
}

/// Whether the flight is one that is changed by itself, not with its plane.
pub fn is_single(flight: &FlightKey) -> bool {
    flight.year != 2013 || flight.day <= LAST_DAY_OF_SINGLE_FLIGHTS
}

/// The SQL condition for flights that follow their planes.
pub fn follows_its_plane() -> String {
    format!("year = 2013 AND month = 12 AND day > {LAST_DAY_OF_SINGLE_FLIGHTS}")
}
