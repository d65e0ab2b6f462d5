//! What the clients know afterwards: every write that a server acknowledged, as far as it matters for
//! the outcome.

use std::collections::{BTreeMap, BTreeSet};

/// How many regions there are.
pub const REGIONS: usize = 3;

/// The key of a flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlightKey {
    /// The year.
    pub year: i32,
    /// The month.
    pub month: i32,
    /// The day.
    pub day: i32,
    /// The airline.
    pub carrier: String,
    /// The number.
    pub flight: i32,
    /// From where.
    pub origin: String,
}

/// What clients change of a flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlightState {
    /// How late it left, in minutes.
    pub dep_delay: Option<i32>,
    /// How late it came.
    pub arr_delay: Option<i32>,
    /// Its plane.
    pub tailnum: Option<String>,
}

/// What a write left of a flight: `None` after a cancellation.
pub type Left = Option<FlightState>;

/// A plane that got another tail number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Renamed {
    /// The number in the data.
    pub from: String,
    /// The new one, which names the region.
    pub to: String,
}

/// What the servers did, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Flights changed.
    pub updated: u64,
    /// Flights added.
    pub inserted: u64,
    /// Flights deleted.
    pub deleted: u64,
    /// Planes that got another tail number, their flights with them.
    pub renamed: u64,
    /// Transactions that booked seats.
    pub booked: u64,
    /// Statements that met no row, or one that was there.
    pub idle: u64,
    /// Transactions that a server ended, to be tried again.
    pub again: u64,
}

/// What the clients of one region know.
#[derive(Clone, Debug, Default)]
pub struct RegionRecord {
    /// What the region's last write left of each flight that it wrote. Each flight has one client
    /// in a region, so there is a last one.
    pub flights: BTreeMap<FlightKey, Left>,
    /// The planes that got another tail number here.
    pub renamed: BTreeSet<Renamed>,
    /// Seats booked, by airline.
    pub seats: BTreeMap<String, i64>,
    /// How many of each.
    pub counts: Counts,
}

impl RegionRecord {
    /// Takes over what another client of the region knows.
    pub fn add(&mut self, other: Self) {
        self.flights.extend(other.flights);
        self.renamed.extend(other.renamed);
        for (carrier, seats) in other.seats {
            *self.seats.entry(carrier).or_default() += seats;
        }
        let (own, more) = (&mut self.counts, other.counts);
        own.updated += more.updated;
        own.inserted += more.inserted;
        own.deleted += more.deleted;
        own.renamed += more.renamed;
        own.booked += more.booked;
        own.idle += more.idle;
        own.again += more.again;
    }
}
