//! Which rows clients touch, and how: in five of six cases two regions write the same row at the
//! same time, in every combination of update and delete; else one region alone.

use crate::data::Flights;
use std::collections::HashSet;

/// What a client does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Puts the document it has read, with a remark of its own.
    Update,
    /// Deletes the row.
    Delete,
}

/// What the clients of the two regions that don't import do to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The row.
    pub key: String,
    /// In the second and the third region.
    pub operations: [Option<Operation>; 2],
}

const COMBINATIONS: [[Option<Operation>; 2]; 6] = [
    [Some(Operation::Update), Some(Operation::Update)],
    [Some(Operation::Update), Some(Operation::Delete)],
    [Some(Operation::Delete), Some(Operation::Update)],
    [Some(Operation::Delete), Some(Operation::Delete)],
    [Some(Operation::Update), None],
    [None, Some(Operation::Delete)],
];

/// Every so many-th different key, in the file's order, so that the clients follow the import.
///
/// Keys of several lines are left out: the import itself writes them more than once, at moments that
/// nobody knows, so what a client's write should have led to could not be told.
#[must_use]
pub fn plan(flights: &Flights, share_percent: f64) -> Vec<Clash> {
    let mut once = HashSet::new();
    let mut repeated = HashSet::new();
    for flight in &flights.flights {
        if !once.insert(flight.key.as_str()) {
            repeated.insert(flight.key.as_str());
        }
    }
    let mut credit = 0.0;
    let keys = flights.flights.iter().map(|flight| flight.key.as_str());
    keys.filter(|key| !repeated.contains(key))
        .filter(|_| {
            credit += share_percent / 100.0;
            let chosen = credit >= 1.0;
            if chosen {
                credit -= 1.0;
            }
            chosen
        })
        .zip(COMBINATIONS.iter().cycle())
        .map(|(key, operations)| Clash {
            key: key.to_owned(),
            operations: *operations,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Flight;

    #[test]
    fn the_share_asked_for_is_touched_and_no_repeated_key() {
        let flight = |number: usize| Flight {
            key: number.to_string(),
            values: csv::StringRecord::new(),
        };
        let flights = Flights {
            columns: csv::StringRecord::new(),
            flights: (0..1_000).chain([3, 7]).map(flight).collect(),
            distinct_keys: 1_000,
        };
        let clashes = plan(&flights, 10.0);
        assert_eq!(clashes.len(), 99);
        let keys: HashSet<&str> = clashes.iter().map(|clash| clash.key.as_str()).collect();
        assert_eq!(keys.len(), 99);
        let all = plan(&flights, 100.0);
        assert_eq!(all.len(), 998);
        assert!(all.iter().all(|clash| clash.key != "3" && clash.key != "7"));
        assert!(plan(&flights, 0.0).is_empty());
        for combination in COMBINATIONS {
            assert!(clashes.iter().any(|clash| clash.operations == combination));
        }
    }
}
