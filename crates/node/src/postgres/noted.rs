//! Rows noted in the data directory: a file that is there for as long as they matter.

use super::trouble::Trouble;
use super::unwritable;
use crate::dataset::DatasetHandle;
use crate::durable;
use meridian_model::RowName;
use meridian_replicate::OwnStanding;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The rows of which somebody chose the other regions' side while this region joined anew: what it alone
/// had of them is not written again by itself.
const GIVEN_UP: &str = "given-up.json";

/// The rows in a file; none where it isn't there.
pub(super) fn read(path: &Path) -> io::Result<BTreeSet<RowName>> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Makes these the rows in a file.
pub(super) fn write(path: &Path, rows: &BTreeSet<RowName>) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec(rows).expect("names are JSON"))
}

/// Notes rows that are given up while the dataset's region joins. To be done before what was chosen is
/// told as a whole: the region votes, and looks at what it alone had, only after that.
///
/// # Errors
/// [`Trouble`] when they can't be noted.
pub(super) fn give_up(
    dataset: &DatasetHandle,
    directory: &Path,
    rows: BTreeSet<RowName>,
) -> Result<(), Trouble> {
    let is_joining = matches!(dataset.membership().standing, OwnStanding::Joining { .. });
    if !is_joining || rows.is_empty() {
        return Ok(());
    }
    add(directory, rows).map_err(|error| unwritable(&error))
}

/// Notes them beside those that were.
fn add(directory: &Path, rows: BTreeSet<RowName>) -> io::Result<()> {
    let path = directory.join(GIVEN_UP);
    let mut all = read(&path)?;
    all.extend(rows);
    write(&path, &all)
}

/// The rows that were given up.
///
/// # Errors
/// When they can't be read.
pub(crate) fn given_up(directory: &Path) -> io::Result<BTreeSet<RowName>> {
    read(&directory.join(GIVEN_UP))
}

/// What the region alone had has been looked at.
///
/// # Errors
/// When the file can't be removed.
pub(crate) fn forget_given_up(directory: &Path) -> io::Result<()> {
    durable::unmark(&directory.join(GIVEN_UP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_stays_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let row = |key: &str| RowName {
            table: "public.t".to_owned(),
            key: key.to_owned(),
        };
        let given_up = || given_up(directory.path()).unwrap().into_iter();
        add(directory.path(), [row("1")].into()).unwrap();
        // It joins once more, and something else differs.
        add(directory.path(), [row("2")].into()).unwrap();
        assert!(given_up().eq([row("1"), row("2")]));
        forget_given_up(directory.path()).unwrap();
        assert_eq!(given_up().count(), 0);
    }
}
