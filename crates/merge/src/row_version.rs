//! What names a row's content to clients.
//!
//! A row's greatest version alone doesn't: a concurrent write with a smaller version that arrives
//! later still shows where increments are involved. A client that replaces "the version that I saw"
//! must not overwrite what it didn't see, so wherever more than one write shows, a digest of what
//! shows is part of the name. Like the content, it depends on the set of writes alone, so it is the
//! same in every region.

use crate::Row;
use meridian_model::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// The name of a row's content: as `ETag`, and as `version` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RowVersion {
    /// The greatest version of any write to the row.
    pub latest: Version,
    /// Tells contents apart that several writes together make.
    digest: Option<u64>,
}

impl RowVersion {
    /// The name of a row that one write alone, of this version, made.
    #[must_use]
    pub fn of_write(version: Version) -> Self {
        Self {
            latest: version,
            digest: None,
        }
    }

    /// Whether this is the name that a client gave, quotes aside.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.to_string() == name
    }
}

impl fmt::Display for RowVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest {
            None => self.latest.fmt(f),
            Some(digest) => write!(f, "{}-{digest:016x}", self.latest),
        }
    }
}

impl Row {
    /// The name of what the row holds now.
    #[must_use]
    pub fn named(&self) -> RowVersion {
        let base = self.base.as_ref().map(|base| base.version);
        let is_one_write = self.sums.is_empty() && base == Some(self.version);
        RowVersion {
            latest: self.version,
            digest: (!is_one_write).then(|| digest(base, &self.sums)),
        }
    }
}

fn digest(base: Option<Version>, sums: &[(String, i128)]) -> u64 {
    let mut hasher = Xxh3::new();
    if let Some(base) = base {
        hasher.update(&base.hlc.raw().to_le_bytes());
        hasher.update(&base.origin.0.to_le_bytes());
    }
    for (field, sum) in sums {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field.as_bytes());
        hasher.update(&sum.to_le_bytes());
    }
    hasher.digest()
}
