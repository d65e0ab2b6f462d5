//! What names a row's content to clients.
//!
//! A row's greatest version alone doesn't: a concurrent write with a smaller version that arrives
//! later still shows where increments are involved. A client that replaces "the version that I saw"
//! must not overwrite what it didn't see, so wherever more than one write shows, a digest of what
//! shows is part of the name. Like the content, it depends on the set of writes alone, so it is the
//! same in every region.

use crate::{Row, render};
use meridian_model::Version;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
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
        self.name(self.version, None)
    }

    /// The same, of a row whose document is at hand, as [`crate::render`] has it.
    #[must_use]
    pub fn named_showing(&self, document: &str) -> RowVersion {
        self.name(self.version, Some(document))
    }

    /// The name of the base's document with what is on top of it, among siblings: the base's own
    /// where that changes nothing.
    pub(crate) fn named_base(&self, document: &str) -> RowVersion {
        let base = self.base.as_ref();
        let written = base.and_then(|base| base.document.as_deref());
        RowVersion {
            latest: base.map_or(self.version, |base| base.version),
            digest: (written != Some(document)).then(|| digest(&[document])),
        }
    }

    fn name(&self, version: Version, document: Option<&str>) -> RowVersion {
        let digest = if !self.beside().is_empty() {
            let shown = crate::shown(self);
            let names: Vec<String> = shown
                .iter()
                .map(|shown| shown.version.to_string())
                .collect();
            Some(digest(&names))
        } else if self.is_one_write(version) {
            None
        } else {
            let text = document.map(Cow::Borrowed).or_else(|| render(self));
            Some(digest(&[text.unwrap_or_default()]))
        };
        RowVersion {
            latest: version,
            digest,
        }
    }

    /// Whether the base shows as it was written, and was the last to be.
    fn is_one_write(&self, version: Version) -> bool {
        self.sums.is_empty()
            && self.base.as_ref().map(|base| base.version) == Some(version)
            && self
                .mixed()
                .is_none_or(|mixed| mixed.registers.is_empty() && mixed.sets.is_empty())
    }
}

/// Of texts that show, and of nothing else: what may be forgotten in one region sooner than in
/// another has no part in it.
fn digest(texts: &[impl AsRef<str>]) -> u64 {
    let mut hasher = Xxh3::new();
    for text in texts {
        let text = text.as_ref().as_bytes();
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    }
    hasher.digest()
}
