//! Rows that a server has yet to be given.
//!
//! A server that was put back to what it was lacks writes that all regions have, some of them its own.
//! Whoever writes to one of those rows there has not seen them, and the later write stands, as ever. For
//! writes of other regions the tables see that by what the server had been given. To them a region has
//! seen all that it wrote itself, though, and what it had been given once; so which rows the server has
//! yet to be given again is known here, and what it writes to them goes into the log as written
//! [blindly](meridian_model::Collisions::blind): every region lists what gives way to it.
//!
//! Should capture lose its thread meanwhile, what the server had been given says nothing of these rows,
//! and they are judged by how they were when they were compared
//! ([`rest`](meridian_engine_postgres::meeting::rest)).
//!
//! The rows are kept in a file, since a region that stops may find them written to when it starts again.
//! It is there before rows are [due](super::refill), and before anything says that they were compared:
//!
//! ```text
//! number of rows | position | name, writer of each | checksum  the rows, when they were compared
//! name | end | part, flags | checksum                          taken out with what the WAL says there;
//!                                                              repeated
//! ```
//!
//! All of these are numbers of 8 bytes; a name is a digest. What is taken out is in the file before the log
//! has what was captured there. A region that starts again puts back what its log doesn't have: it will
//! read that again.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_engine_postgres::Xid;
use meridian_engine_postgres::meeting::rest::{self, Rest};
use meridian_model::{CapturedAt, Position, RowName};
use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

const FILE: &str = "ungiven";
const NUMBER: usize = size_of::<u64>();
const TAKEN: usize = 4 * NUMBER;
/// The part is the last of its transaction.
const LAST: u64 = 1 << 32;

/// Rows that a server has not been given as the tables show them. Of two whose names have the same digest
/// one may be told as a conflict that is none, or not told at all.
#[derive(Debug, Default)]
pub(super) struct Ungiven {
    rest: Rest,
    path: PathBuf,
    /// What is kept of rows that were taken out; `None` where nothing is kept yet.
    taken: Option<File>,
    /// What is still to be kept.
    pending: Vec<u8>,
}

/// Where the WAL says that a row is to be taken out.
#[derive(Clone, Copy, Debug)]
pub(super) struct TakenAt {
    /// The end of the transaction.
    pub(super) end: u64,
    /// The part of it.
    pub(super) part: u32,
    /// Whether it is the last part.
    pub(super) is_last: bool,
}

impl TakenAt {
    /// Whether the log has what was captured there.
    fn is_in_log(self, at: CapturedAt) -> bool {
        let is_part_there = at.is_last || !self.is_last && self.part <= at.part;
        self.end < at.end || self.end == at.end && is_part_there
    }
}

impl Ungiven {
    /// The rows that were left when the region stopped, whose log has what was captured up to `at`.
    ///
    /// # Errors
    /// [`Trouble`] when the file can't be read.
    pub(super) fn read(directory: &Path, at: CapturedAt) -> Result<Self, Trouble> {
        Ok(Self {
            rest: Self::left(directory, at)?.unwrap_or_default(),
            ..Self::none(directory)
        })
    }

    /// The same; `None` where nothing says which they are.
    ///
    /// # Errors
    /// [`Trouble`] when the file can't be read.
    pub(super) fn left(directory: &Path, at: CapturedAt) -> Result<Option<Rest>, Trouble> {
        let path = directory.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => decode(&bytes, at).map(Some).ok_or_else(|| {
                let reason = format!("{} is damaged", path.display());
                Trouble::lasting(reason, "is the disk sound?")
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unwritable(&error)),
        }
    }

    /// No rows yet.
    pub(super) fn none(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            ..Self::default()
        }
    }

    /// These rows and no others, from now on and over restarts.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn begin(&mut self, rest: Rest) -> Result<(), Trouble> {
        self.rest = rest;
        self.keep_all()
    }

    /// These rows as well, which were compared when the log ended at `from`.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn add(&mut self, rows: &[Lacking], from: Position) -> Result<(), Trouble> {
        self.rest.from = from;
        for Lacking { row, writer } in rows {
            self.rest.add(row, *writer);
        }
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
        if !self.rest.is_empty() {
            let rows: HashSet<u64> = rows.into_iter().map(rest::name).collect();
            self.rest.keep_only(|name| rows.contains(&name));
        }
        self.keep_all()
    }

    fn keep_all(&mut self) -> Result<(), Trouble> {
        (self.taken, self.pending) = (None, Vec::new());
        let kept = durable::replace(&self.path, &encode(&self.rest));
        kept.map_err(|error| unwritable(&error))
    }

    /// Takes a row out: with what the WAL says there the server has been given it, or has written it.
    /// Says whether it was in.
    pub(super) fn remove(&mut self, row: &RowName, at: TakenAt) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        let name = rest::name(row);
        let was_in = self.rest.remove(name);
        if was_in {
            let part = u64::from(at.part) | if at.is_last { LAST } else { 0 };
            let taken = [name, at.end, part].map(u64::to_le_bytes);
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

/// A row that is to be written into the server, and who wrote what that has of it, if anything.
#[derive(Debug)]
pub(super) struct Lacking {
    pub(super) row: RowName,
    pub(super) writer: Option<Xid>,
}

fn encode(rest: &Rest) -> Vec<u8> {
    let rows = rest.rows();
    let mut bytes = Vec::with_capacity((2 * rows.len() + 3) * NUMBER);
    bytes.extend((rows.len() as u64).to_le_bytes());
    bytes.extend(rest.from.0.to_le_bytes());
    for (name, writer) in rows {
        bytes.extend(name.to_le_bytes());
        bytes.extend(u64::from(writer.map_or(0, |Xid(xid)| xid)).to_le_bytes());
    }
    bytes.extend(xxh3_64(&bytes).to_le_bytes());
    bytes
}

/// The rows in a file's bytes without those that were taken out up to `at`; `None` where they are
/// damaged. What was to be appended last may be there in part, which is as if it weren't.
fn decode(bytes: &[u8], at: CapturedAt) -> Option<Rest> {
    let count = usize::try_from(number(bytes.get(..NUMBER)?)).ok()?;
    let end = count.checked_mul(2)?.checked_add(2)?.checked_mul(NUMBER)?;
    let (all, rest) = bytes.split_at_checked(end)?;
    let (checksum, taken) = rest.split_at_checked(NUMBER)?;
    if number(checksum) != xxh3_64(all) {
        return None;
    }
    let (head, rows) = all.split_at(2 * NUMBER);
    let rows = rows.chunks_exact(2 * NUMBER).map(|row| {
        let (name, writer) = row.split_at(NUMBER);
        let writer = u32::try_from(number(writer)).ok().filter(|xid| *xid > 0);
        (number(name), writer.map(Xid))
    });
    let mut rest = Rest::noted(Position(number(&head[NUMBER..])), rows);
    for taken in taken.chunks_exact(TAKEN) {
        let (taken, checksum) = taken.split_at(TAKEN - NUMBER);
        if number(checksum) != xxh3_64(taken) {
            break;
        }
        let [name, end, part] = [0, 1, 2].map(|place| number(&taken[place * NUMBER..][..NUMBER]));
        let taken_at = TakenAt {
            end,
            part: u32::try_from(part & !LAST).ok()?,
            is_last: part & LAST != 0,
        };
        if taken_at.is_in_log(at) {
            rest.remove(name);
        }
    }
    Some(rest)
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

    fn lacking(key: &str) -> Lacking {
        Lacking {
            row: row("t", key),
            writer: None,
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

    fn written(end: u64, part: u32, is_last: bool) -> TakenAt {
        TakenAt { end, part, is_last }
    }

    fn holds(ungiven: &mut Ungiven, key: &str) -> bool {
        ungiven.remove(&row("t", key), written(99, 0, true))
    }

    #[test]
    fn a_row_is_ungiven_until_it_is_given_or_overtaken() {
        let directory = tempfile::tempdir().unwrap();
        let mut ungiven = Ungiven::none(directory.path());
        let rows = ["65", "97"].map(lacking);
        ungiven.add(&rows, Position(1)).unwrap();
        let at = written(1, 0, true);
        assert!(!ungiven.remove(&row("t6", "5"), at), "another table's");
        assert!(ungiven.remove(&row("t", "65"), at));
        assert!(!ungiven.remove(&row("t", "65"), at), "once");
        ungiven.clear().unwrap();
        assert!(!ungiven.remove(&row("t", "97"), at));
        ungiven.keep().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn over_restarts_it_is_so_as_far_as_the_log_has_what_was_captured() {
        let directory = tempfile::tempdir().unwrap();
        let read = |at| Ungiven::read(directory.path(), at).unwrap();
        assert!(!holds(&mut read(at(1, 0, true)), "a"));
        let mut ungiven = read(at(1, 0, true));
        let keys = ["a", "b", "c", "d", "e"];
        ungiven.add(&keys.map(lacking), Position(1)).unwrap();
        assert!(holds(&mut read(at(1, 0, true)), "a"));
        ungiven.remove(&row("t", "a"), written(20, 0, true));
        ungiven.keep().unwrap();
        ungiven.remove(&row("t", "b"), written(30, 0, false));
        ungiven.remove(&row("t", "c"), written(30, 1, true));
        ungiven.keep().unwrap();
        ungiven.remove(&row("t", "d"), written(40, 0, true));
        let held = |at| keys.map(|key| holds(&mut read(at), key));
        assert_eq!(held(at(10, 0, true)), [true; 5]);
        assert_eq!(held(at(20, 0, true)), [false, true, true, true, true]);
        assert_eq!(held(at(30, 0, false)), [false, false, true, true, true]);
        assert_eq!(held(at(30, 1, true)), [false, false, false, true, true]);
        assert_eq!(held(at(50, 0, true)), [false, false, false, true, true]);
        // A write that was torn is none.
        let path = directory.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(held(at(30, 1, true)), [false, false, true, true, true]);
        // From here on it goes by what is left.
        let mut again = read(at(30, 1, true));
        again.keep_only(&[row("t", "c"), row("t", "e")]).unwrap();
        again.remove(&row("t", "e"), written(60, 0, true));
        again.keep().unwrap();
        assert_eq!(held(at(60, 0, true)), [false, false, true, false, false]);
        fs::write(&path, &bytes[1..]).unwrap();
        assert!(Ungiven::read(directory.path(), at(1, 0, true)).is_err());
    }

    #[test]
    fn the_last_part_is_not_there_with_the_parts_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut ungiven = Ungiven::none(directory.path());
        let keys = ["a", "b"];
        ungiven.add(&keys.map(lacking), Position(1)).unwrap();
        // Parts that show before the last are told apart from those that don't.
        let first = at(30, 0, false).not_held();
        ungiven.remove(&row("t", "a"), written(30, first.part, false));
        ungiven.remove(&row("t", "b"), written(30, 1, true));
        ungiven.keep().unwrap();
        let mut left = Ungiven::read(directory.path(), first).unwrap();
        assert_eq!(keys.map(|key| holds(&mut left, key)), [false, true]);
        let mut left = Ungiven::read(directory.path(), at(30, 1, true)).unwrap();
        assert_eq!(keys.map(|key| holds(&mut left, key)), [false, false]);
    }

    #[test]
    fn who_wrote_what_the_server_shows_is_known_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let left = |end| Ungiven::left(directory.path(), at(end, 0, true)).unwrap();
        assert_eq!(left(9), None);
        let mut rest = Rest::from(Position(3));
        rest.add(&row("t", "a"), Some(Xid(7)));
        rest.add(&row("t", "b"), None);
        let mut ungiven = Ungiven::none(directory.path());
        ungiven.begin(rest.clone()).unwrap();
        assert_eq!(left(9), Some(rest.clone()));
        holds(&mut ungiven, "a");
        ungiven.keep().unwrap();
        assert_eq!(left(9).as_ref(), Some(&rest));
        rest.remove(rest::name(&row("t", "a")));
        assert_eq!(left(99), Some(rest));
    }
}
