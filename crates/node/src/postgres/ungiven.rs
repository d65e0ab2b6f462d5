//! Rows that a server went back behind.
//!
//! A server that was put back to what it was lacks writes that all regions have, some of them its own.
//! Whoever writes to one of those rows there has not seen them, and the later write stands, as ever. For
//! writes of other regions the tables see that by what the server had been given. To them a region has
//! seen all that it wrote itself, though, and what it had been given once; so which rows the server has
//! yet to be given again is known here, and what it writes to them goes into the log as written
//! [blindly](meridian_model::Collisions::blind): every region lists what gives way to it.
//!
//! The rows are kept in a file, since a region that stops may find them written to when it starts again:
//!
//! ```text
//! number of rows | digest of each | checksum      the rows, when they were compared
//! digest | end, part | checksum                   taken out with what the WAL says there; repeated
//! ```
//!
//! What is taken out is in the file before the log has what was captured there. A region that starts
//! again puts back what its log doesn't have: it will read that again.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_model::{CapturedAt, RowName};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const FILE: &str = "ungiven";
const NUMBER: usize = size_of::<u64>();
const TAKEN: usize = 4 * NUMBER;

/// Rows that a server has not been given as the tables show them, as digests of their names. Of two with
/// the same digest one may be told as a conflict that is none, or not told at all.
#[derive(Debug, Default)]
pub(super) struct Ungiven {
    rows: HashSet<u64>,
    path: PathBuf,
    /// What is kept of rows that were taken out; `None` where nothing is kept yet.
    taken: Option<File>,
    /// What is still to be kept.
    pending: Vec<u8>,
}

impl Ungiven {
    /// The rows that were left when the region stopped, whose log has what was captured up to `at`.
    ///
    /// # Errors
    /// [`Trouble`] when the file can't be read.
    pub(super) fn read(directory: &Path, at: CapturedAt) -> Result<Self, Trouble> {
        let path = directory.join(FILE);
        let rows = match fs::read(&path) {
            Ok(bytes) => left(&bytes, at).ok_or_else(|| {
                let reason = format!("{} is damaged", path.display());
                Trouble::lasting(reason, "is the disk sound?")
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => HashSet::new(),
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(Self {
            rows,
            path,
            ..Self::default()
        })
    }

    /// No rows yet.
    pub(super) fn none(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            ..Self::default()
        }
    }

    /// These rows as well, from now on and over restarts.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn add(&mut self, rows: &[RowName]) -> Result<(), Trouble> {
        if rows.is_empty() {
            return Ok(());
        }
        self.rows.extend(rows.iter().map(digest));
        self.keep_all()
    }

    /// Of the rows only these, from now on and over restarts.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn keep_only<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r RowName>,
    ) -> Result<(), Trouble> {
        if !self.rows.is_empty() {
            let rows: HashSet<u64> = rows.into_iter().map(digest).collect();
            self.rows.retain(|row| rows.contains(row));
        }
        match self.rows.is_empty() {
            true => self.clear(),
            false => self.keep_all(),
        }
    }

    fn keep_all(&mut self) -> Result<(), Trouble> {
        (self.taken, self.pending) = (None, Vec::new());
        let kept = durable::replace(&self.path, &encode(&self.rows));
        kept.map_err(|error| unwritable(&error))
    }

    /// Takes a row out: with what the WAL says there the server has been given it, or has written it.
    /// Says whether it was in.
    pub(super) fn remove(&mut self, row: &RowName, (end, part): (u64, u32)) -> bool {
        if self.rows.is_empty() {
            return false;
        }
        let digest = digest(row);
        let was_in = self.rows.remove(&digest);
        if was_in {
            let taken = [digest, end, u64::from(part)].map(u64::to_le_bytes);
            let taken = taken.as_flattened();
            self.pending.extend(taken);
            self.pending.extend(xxh3_64(taken).to_le_bytes());
        }
        was_in
    }

    /// Keeps what was taken out. To be done before the log has what was captured.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn keep(&mut self) -> Result<(), Trouble> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.append().map_err(|error| unwritable(&error))
    }

    fn append(&mut self) -> std::io::Result<()> {
        let file = match &mut self.taken {
            Some(file) => file,
            none => none.insert(OpenOptions::new().append(true).open(&self.path)?),
        };
        file.write_all(&self.pending)?;
        file.sync_data()?;
        self.pending.clear();
        Ok(())
    }

    /// The server has been given all rows.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn clear(&mut self) -> Result<(), Trouble> {
        durable::unmark(&self.path).map_err(|error| unwritable(&error))?;
        let path = std::mem::take(&mut self.path);
        *self = Self {
            path,
            ..Self::default()
        };
        Ok(())
    }
}

fn digest(row: &RowName) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(row.table.as_bytes());
    hasher.update(&[0]);
    hasher.update(row.key.as_bytes());
    hasher.digest()
}

fn encode(rows: &HashSet<u64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((rows.len() + 2) * NUMBER);
    bytes.extend((rows.len() as u64).to_le_bytes());
    for row in rows {
        bytes.extend(row.to_le_bytes());
    }
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// The rows in a file's bytes without those that were taken out up to `at`; `None` where they are
/// damaged. What was to be appended last may be there in part, which is as if it weren't.
fn left(bytes: &[u8], at: CapturedAt) -> Option<HashSet<u64>> {
    let count = usize::try_from(number(bytes.get(..NUMBER)?)).ok()?;
    let end = count.checked_add(1)?.checked_mul(NUMBER)?;
    let (all, rest) = bytes.split_at_checked(end)?;
    let (checksum, taken) = rest.split_at_checked(NUMBER)?;
    if number(checksum) != xxh3_64(all) {
        return None;
    }
    let mut rows: HashSet<u64> = all[NUMBER..].chunks_exact(NUMBER).map(number).collect();
    for taken in taken.chunks_exact(TAKEN) {
        let (taken, checksum) = taken.split_at(TAKEN - NUMBER);
        if number(checksum) != xxh3_64(taken) {
            break;
        }
        let [row, end, part] = [0, 1, 2].map(|place| number(&taken[place * NUMBER..][..NUMBER]));
        let is_part_there = at.is_last || part <= u64::from(at.part);
        if end < at.end || (end == at.end && is_part_there) {
            rows.remove(&row);
        }
    }
    Some(rows)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(table: &str, key: &str) -> RowName {
        RowName {
            table: table.to_owned(),
            key: key.to_owned(),
        }
    }

    fn at(end: u64, part: u32, is_last: bool) -> CapturedAt {
        CapturedAt {
            end,
            part,
            is_last,
            ..CapturedAt::default()
        }
    }

    fn holds(ungiven: &mut Ungiven, key: &str) -> bool {
        ungiven.remove(&row("t", key), (99, 0))
    }

    #[test]
    fn a_row_is_ungiven_until_it_is_given_or_overtaken() {
        let directory = tempfile::tempdir().unwrap();
        let mut ungiven = Ungiven::none(directory.path());
        ungiven.add(&[row("t", "65"), row("t", "97")]).unwrap();
        assert!(!ungiven.remove(&row("t6", "5"), (1, 0)), "another table's");
        assert!(ungiven.remove(&row("t", "65"), (1, 0)));
        assert!(!ungiven.remove(&row("t", "65"), (1, 0)), "once");
        ungiven.clear().unwrap();
        assert!(!ungiven.remove(&row("t", "97"), (1, 0)));
        ungiven.keep().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn over_restarts_it_is_so_as_far_as_the_log_has_what_was_captured() {
        let directory = tempfile::tempdir().unwrap();
        let read = |at| Ungiven::read(directory.path(), at).unwrap();
        assert!(!holds(&mut read(at(1, 0, true)), "a"));
        let mut ungiven = read(at(1, 0, true));
        let rows = ["a", "b", "c", "d", "e"].map(|key| row("t", key));
        ungiven.add(&rows).unwrap();
        assert!(holds(&mut read(at(1, 0, true)), "a"));
        ungiven.remove(&row("t", "a"), (20, 0));
        ungiven.keep().unwrap();
        ungiven.remove(&row("t", "b"), (30, 0));
        ungiven.remove(&row("t", "c"), (30, 1));
        ungiven.keep().unwrap();
        ungiven.remove(&row("t", "d"), (40, 0));
        let held = |at| ["a", "b", "c", "d", "e"].map(|key| holds(&mut read(at), key));
        assert_eq!(held(at(10, 0, true)), [true; 5]);
        assert_eq!(held(at(20, 0, true)), [false, true, true, true, true]);
        assert_eq!(held(at(30, 0, false)), [false, false, true, true, true]);
        assert_eq!(held(at(30, 0, true)), [false, false, false, true, true]);
        assert_eq!(held(at(50, 0, true)), [false, false, false, true, true]);
        // A write that was torn is none.
        let path = directory.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(held(at(30, 0, true)), [false, false, true, true, true]);
        // From here on it goes by what is left.
        let mut again = read(at(30, 0, true));
        again.keep_only(&[row("t", "c"), row("t", "e")]).unwrap();
        again.remove(&row("t", "e"), (60, 0));
        again.keep().unwrap();
        assert_eq!(held(at(60, 0, true)), [false, false, true, false, false]);
        fs::write(&path, &bytes[1..]).unwrap();
        assert!(Ungiven::read(directory.path(), at(1, 0, true)).is_err());
    }
}
