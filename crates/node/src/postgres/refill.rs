//! Rows that a server still has to be given though no entry of the log will say so again.
//!
//! Where rows were compared, those that differ are to be written, and the log follows only from there
//! on. Should the region stop before all of them are in the server, nothing else would tell that they
//! are missing: so a file says it, from before the comparison counts as done until the server has
//! everything. A region that finds it compares all rows again. After a server came back it says too what
//! the server had been given then: less than what was captured of it counts as having seen, until it has
//! all.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use meridian_model::Vector;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const FILE: &str = "refill";

/// Whether rows are still to be given that the log no longer names.
#[derive(Debug)]
pub(super) struct Refill {
    path: PathBuf,
    is_due: bool,
    given: Option<Vector>,
}

impl Refill {
    /// As it stood when the region stopped.
    ///
    /// # Errors
    /// [`Trouble`] when the directory can't be read.
    pub(super) fn read(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join(FILE);
        let found = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(Self {
            path,
            is_due: found.is_some(),
            given: found.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        })
    }

    /// There are such rows from now on.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        if self.is_due {
            return Ok(());
        }
        durable::mark(&self.path).map_err(|error| unwritable(&error))?;
        self.is_due = true;
        Ok(())
    }

    /// The same of a server that came back and had been given this.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn begin_from(&mut self, given: &Vector) -> Result<(), Trouble> {
        let bytes = serde_json::to_vec(given).expect("readings are JSON");
        durable::replace(&self.path, &bytes).map_err(|error| unwritable(&error))?;
        (self.is_due, self.given) = (true, Some(given.clone()));
        Ok(())
    }

    /// The server has all of them.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn end(&mut self) -> Result<(), Trouble> {
        durable::unmark(&self.path).map_err(|error| unwritable(&error))?;
        (self.is_due, self.given) = (false, None);
        Ok(())
    }

    /// What a server that came back had been given then.
    pub(super) fn given(&self) -> Option<&Vector> {
        self.given.as_ref()
    }

    /// Whether there are such rows.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    #[test]
    fn it_is_due_from_its_beginning_to_its_end_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let read = || Refill::read(directory.path()).unwrap();
        let mut refill = read();
        assert!(!refill.is_due());
        refill.begin().unwrap();
        refill.begin().unwrap();
        assert!(refill.is_due() && read().is_due());
        read().end().unwrap();
        refill.end().unwrap();
        assert!(!refill.is_due() && !read().is_due());
    }

    #[test]
    fn what_a_server_had_been_given_is_known_until_it_has_all() {
        let directory = tempfile::tempdir().unwrap();
        let read = || Refill::read(directory.path()).unwrap();
        let given = [(OriginId(3), Hlc::from_raw(9))].into_iter().collect();
        let mut refill = read();
        refill.begin_from(&given).unwrap();
        refill.begin().unwrap();
        assert!(read().is_due());
        assert_eq!(read().given(), Some(&given));
        refill.end().unwrap();
        assert_eq!((refill.given(), read().given()), (None, None));
        refill.begin().unwrap();
        assert!(read().is_due() && read().given().is_none());
    }
}
