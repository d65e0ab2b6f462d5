//! What a dataset's directory is on its way to be, kept beside it so that a restart goes on.
//!
//! ```text
//! datasets/NAME            the dataset
//! datasets/NAME.joining    it joins: to be filled with a copy, or not yet counted by the others
//! set-aside/NAME-ORIGIN    what an evicted incarnation left
//! ```

use crate::durable;
use meridian_model::OriginId;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The mark beside a dataset that joins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Joining {
    /// The evicted incarnation whose directory is to be set aside first.
    set_aside: Option<String>,
}

/// The places of one dataset in a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    directory: PathBuf,
    mark: PathBuf,
    set_aside: PathBuf,
    name: String,
}

impl Places {
    /// Those of the dataset that is in `directory`.
    pub(crate) fn of(data_dir: &Path, name: &str, directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            mark: directory.with_file_name(format!("{name}.joining")),
            set_aside: data_dir.join("set-aside"),
            name: name.to_owned(),
        }
    }

    /// Whether the dataset joins.
    pub(crate) fn is_joining(&self) -> bool {
        self.mark.exists()
    }

    /// From now on it joins; `instead_of` is an evicted incarnation that is there still.
    pub(crate) fn begin(&self, instead_of: Option<OriginId>) -> io::Result<()> {
        let joining = Joining {
            set_aside: instead_of.map(|origin| origin.to_string()),
        };
        if let Some(parent) = self.mark.parent() {
            fs::create_dir_all(parent)?;
        }
        durable::replace(&self.mark, &serde_json::to_vec(&joining)?)
    }

    /// Sets the evicted incarnation's directory aside, unless that was done before. Nobody may have
    /// its files open.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let Some(origin) = self.evicted()? else {
            return Ok(());
        };
        let target = self.set_aside.join(format!("{}-{origin}", self.name));
        if target.exists() || !self.directory.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.set_aside)?;
        durable::sync_name(&self.set_aside)?;
        fs::rename(&self.directory, &target)?;
        durable::sync_name(&target)?;
        durable::sync_name(&self.directory)
    }

    /// The evicted incarnation in whose place it joins, if there was one.
    pub(crate) fn evicted(&self) -> io::Result<Option<String>> {
        let joining: Joining = serde_json::from_slice(&fs::read(&self.mark)?)?;
        Ok(joining.set_aside)
    }

    /// It has joined, or is founded instead.
    pub(crate) fn end(&self) -> io::Result<()> {
        durable::unmark(&self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_directory_is_set_aside_once() {
        let data_dir = tempfile::tempdir().unwrap();
        let directory = data_dir.path().join("datasets").join("main");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("old"), "").unwrap();
        let places = Places::of(data_dir.path(), "main", &directory);
        assert!(!places.is_joining());
        places.begin(Some(OriginId(0xab))).unwrap();
        assert!(places.is_joining());
        places.clear().unwrap();
        let aside = data_dir.path().join("set-aside/main-00000000000000ab/old");
        assert!(aside.exists() && !directory.exists());
        // What is there after a restart is the copy, which stays.
        fs::create_dir_all(&directory).unwrap();
        places.clear().unwrap();
        assert!(directory.exists());
        places.end().unwrap();
        assert!(!places.is_joining());
    }
}
