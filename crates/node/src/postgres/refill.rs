//! Rows that a server still has to be given though no entry of the log will say so again.
//!
//! Where rows were compared, those that differ are to be written, and the log follows only from there
//! on. Should the region stop before all of them are in the server, nothing else would tell that they
//! are missing: so a file says it, from before the comparison counts as done until the server has
//! everything. A region that finds it compares all rows again.

use super::trouble::Trouble;
use super::unwritable;
use crate::durable;
use std::path::{Path, PathBuf};

const FILE: &str = "refill";

/// Whether rows are still to be given that the log no longer names.
#[derive(Debug)]
pub(super) struct Refill {
    path: PathBuf,
    is_due: bool,
}

impl Refill {
    /// As it stood when the region stopped.
    ///
    /// # Errors
    /// [`Trouble`] when the directory can't be read.
    pub(super) fn read(directory: &Path) -> Result<Self, Trouble> {
        let path = directory.join(FILE);
        let is_due = path.try_exists().map_err(|error| unwritable(&error))?;
        Ok(Self { path, is_due })
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

    /// The server has all of them.
    ///
    /// # Errors
    /// [`Trouble`] when that can't be kept.
    pub(super) fn end(&mut self) -> Result<(), Trouble> {
        durable::unmark(&self.path).map_err(|error| unwritable(&error))?;
        self.is_due = false;
        Ok(())
    }

    /// Whether there are such rows.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
