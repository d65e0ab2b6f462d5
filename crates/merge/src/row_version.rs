//! What names a row's content to clients.
//!
//! A row's greatest version alone doesn't: a concurrent write with a smaller version that arrives
//! later still shows where increments are involved. A client that replaces "the version that I saw"
//! must not overwrite what it didn't see, so wherever more than one write shows, a digest of what
//! shows is part of the name. Like the content, it depends on the set of writes alone, so it is the
//! same in every region.

use crate::Row;
use meridian_model::Version;
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// The name of a row's content: as `ETag`, and as `version` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        RowVersion {
            latest: self.version,
            digest: match self.mixed() {
                Some(mixed) if !mixed.siblings.is_empty() => Some(digest_of_siblings(self)),
                _ => self.digest(None),
            },
        }
    }

    /// The name of the base's document with what is on top of it, among siblings.
    pub(crate) fn named_base(&self, document: &str) -> RowVersion {
        let base = self.base.as_ref().map(|base| base.version);
        RowVersion {
            latest: base.unwrap_or(self.version),
            digest: match base {
                Some(version) => self.digest_at(version, Some(document)),
                None => self.digest(Some(document)),
            },
        }
    }

    fn digest(&self, document: Option<&str>) -> Option<u64> {
        self.digest_at(self.version, document)
    }

    /// What tells this content from others of this version; `None` where one write made it.
    fn digest_at(&self, version: Version, document: Option<&str>) -> Option<u64> {
        let on_top = self
            .mixed()
            .is_some_and(|mixed| !(mixed.registers.is_empty() && mixed.sets.is_empty()));
        if on_top {
            let text = document.map(std::borrow::Cow::Borrowed);
            let text = text.or_else(|| crate::document::of_base(self));
            let mut hasher = Xxh3::new();
            hasher.update(text.unwrap_or_default().as_bytes());
            return Some(hasher.digest());
        }
        let base = self.base.as_ref();
        let is_one_write = self.sums.is_empty() && base.map(|base| base.version) == Some(version);
        // A delete that is forgotten in one region and not yet in another must not show.
        let base = base.filter(|base| base.document.is_some());
        (!is_one_write).then(|| digest(base.map(|base| base.version), &self.sums))
    }
}

fn digest_of_siblings(row: &Row) -> u64 {
    let mut hasher = Xxh3::new();
    for shown in crate::shown(row) {
        hasher.update(shown.version.to_string().as_bytes());
        hasher.update(&[0]);
    }
    hasher.digest()
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
