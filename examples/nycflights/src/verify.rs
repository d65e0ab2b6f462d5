//! Whether what the servers agree on is what the clients' records allow.
//!
//! Of a flight that several regions wrote, one region's last write stands: a region's later writes
//! follow its earlier ones, so no earlier one can be the newest. Deletes count as writes. Counters are
//! sums. A plane that got a new number has every new number that a region gave it (each is a row of
//! its own), its flights follow one of them together, since a transaction applies whole, and the old
//! number is gone. A flight is parked exactly where one region closed its airline and another sold it.

use crate::closings::{self, Closing};
use crate::record::{FlightKey, FlightState, Left, RegionRecord};
use crate::servers::ParkedRow;
use crate::world::{World, is_single};
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// What the servers show in the end.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The flights of December and of 2014.
    pub flights: BTreeMap<FlightKey, FlightState>,
    /// The planes' tail numbers.
    pub planes: Vec<String>,
    /// Seats booked, by airline.
    pub seats: BTreeMap<String, i64>,
    /// The airlines.
    pub carriers: Vec<String>,
    /// What no server shows.
    pub parked: Vec<ParkedRow>,
}

/// What was found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Flights that clients wrote.
    pub flights: u64,
    /// Of these, written in several regions.
    pub contested: u64,
    /// Flights that are gone.
    pub deleted: u64,
    /// Planes with another tail number.
    pub planes: u64,
    /// Of these, with two or three.
    pub planes_contested: u64,
    /// Seats booked.
    pub seats: i64,
}

/// Compares what is shown with what was acknowledged.
///
/// # Errors
/// Names the first thing that is wrong.
pub(crate) fn verify(
    shown: &Shown,
    world: &World,
    records: &[RegionRecord],
    closings: &[Closing],
) -> Result<Verified> {
    let mut verified = Verified::default();
    verify_flights(shown, world, records, closings, &mut verified)?;
    verify_planes(shown, world, records, &mut verified)?;
    verify_seats(shown, records, &mut verified)?;
    verify_airlines(shown, world, closings)?;
    Ok(verified)
}

/// What the last write of each region left of each flight.
fn candidates(records: &[RegionRecord]) -> BTreeMap<&FlightKey, Vec<&Left>> {
    let mut candidates = BTreeMap::<_, Vec<_>>::new();
    for (key, left) in records.iter().flat_map(|record| &record.flights) {
        candidates.entry(key).or_default().push(left);
    }
    candidates
}

fn verify_flights(
    shown: &Shown,
    world: &World,
    records: &[RegionRecord],
    closings: &[Closing],
    verified: &mut Verified,
) -> Result<()> {
    let written = candidates(records);
    for (key, lasts) in &written {
        let found = shown.flights.get(key).cloned();
        ensure!(
            lasts.contains(&&found),
            "flight {key:?} is {found:?} everywhere, but the regions' last writes left {lasts:?}"
        );
        verified.flights += 1;
        verified.contested += u64::from(lasts.len() > 1);
        verified.deleted += u64::from(found.is_none());
    }
    let sold = closings.iter().filter(|closing| closing.sold);
    let sold: BTreeMap<_, _> = sold.map(|closing| (&closing.flight, closing)).collect();
    for (key, closing) in &sold {
        let found = shown.flights.get(key);
        let expected = (!closing.is_orphan()).then(closings::state);
        ensure!(
            found == expected.as_ref(),
            "flight {key:?} of a small airline is {found:?}, and {closing:?}"
        );
    }
    let others = |key: &&FlightKey| {
        !written.contains_key(*key) && !sold.contains_key(*key) && is_single(key)
    };
    let all: BTreeSet<_> = shown.flights.keys().chain(world.december.keys()).collect();
    for key in all.into_iter().filter(others) {
        let (found, loaded) = (shown.flights.get(key), world.december.get(key));
        ensure!(
            found == loaded,
            "nobody wrote flight {key:?}, and it is {found:?} where {loaded:?} was loaded"
        );
    }
    Ok(())
}

fn verify_planes(
    shown: &Shown,
    world: &World,
    records: &[RegionRecord],
    verified: &mut Verified,
) -> Result<()> {
    let mut names = BTreeMap::<&str, BTreeSet<&str>>::new();
    for renamed in records.iter().flat_map(|record| &record.renamed) {
        names.entry(&renamed.from).or_default().insert(&renamed.to);
    }
    let mut expected: BTreeSet<&str> = world.planes.iter().map(String::as_str).collect();
    for (from, to) in &names {
        expected.remove(from);
        expected.extend(to);
        verified.planes += 1;
        verified.planes_contested += u64::from(to.len() > 1);
    }
    let found: BTreeSet<&str> = shown.planes.iter().map(String::as_str).collect();
    if let Some(plane) = found.symmetric_difference(&expected).next() {
        bail!("plane {plane} is there and should not be, or the other way round");
    }
    // The one name that the flights of a renamed plane have.
    let mut taken = BTreeMap::<&str, &str>::new();
    for (key, loaded) in world.december.iter().filter(|(key, _)| !is_single(key)) {
        let before = loaded.tailnum.as_deref().unwrap_or_default();
        let Some(to) = names.get(before) else {
            ensure!(
                shown.flights.get(key) == Some(loaded),
                "nobody gave the plane of flight {key:?} a number, and it is {:?}",
                shown.flights.get(key)
            );
            continue;
        };
        let now = shown
            .flights
            .get(key)
            .and_then(|state| state.tailnum.as_deref());
        let now = now.unwrap_or_default();
        let agreed = *taken.entry(before).or_insert(now);
        ensure!(
            to.contains(now) && agreed == now,
            "flight {key:?} is flown by {now:?}, another one of its plane by {agreed:?}, \
             and the regions called plane {before} {to:?}"
        );
    }
    Ok(())
}

fn verify_seats(shown: &Shown, records: &[RegionRecord], verified: &mut Verified) -> Result<()> {
    for (carrier, seats) in &shown.seats {
        let booked = records
            .iter()
            .filter_map(|record| record.seats.get(carrier));
        let booked: i64 = booked.sum();
        ensure!(
            booked == *seats,
            "{booked} seats of {carrier} were booked in all regions together, and {seats} are shown"
        );
        verified.seats += booked;
    }
    Ok(())
}

fn verify_airlines(shown: &Shown, world: &World, closings: &[Closing]) -> Result<()> {
    let open = closings.iter().filter(|closing| !closing.closed);
    let open = open.map(|closing| &closing.carrier);
    let expected: BTreeSet<_> = world.carriers.iter().chain(open).collect();
    let found: BTreeSet<_> = shown.carriers.iter().collect();
    ensure!(
        found == expected,
        "the airlines are {found:?}, and should be {expected:?}"
    );
    let orphans = closings.iter().filter(|closing| closing.is_orphan());
    let expected: BTreeSet<_> = orphans.map(Closing::parked_row).collect();
    let found: BTreeSet<_> = shown.parked.iter().cloned().collect();
    ensure!(
        found == expected,
        "parked are {found:?}, and should be {expected:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
