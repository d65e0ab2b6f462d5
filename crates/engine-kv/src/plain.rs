//! The versions of plain rows that were written lately.
//!
//! Of a plain row ([`Row::plain`](meridian_merge::Row::plain)) a put that has seen it replaces all, so
//! whoever knows its version need not read it: reading a row from the tables on disk costs more than
//! all else that is done for a put. What is remembered is bounded: two generations, of which the older
//! is forgotten when the younger is full.

use meridian_model::Version;
use std::collections::HashMap;

/// So many rows are remembered, and at most twice as many: 20 MB at most, where keys are short.
const GENERATION: usize = 65_536;
/// Rows with longer keys are not remembered.
const KEY_BYTES_MAX: usize = 128;

/// Versions by the records' keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainRows {
    young: HashMap<Vec<u8>, Version>,
    old: HashMap<Vec<u8>, Version>,
}

impl PlainRows {
    pub(crate) fn get(&self, key: &[u8]) -> Option<Version> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    pub(crate) fn remember(&mut self, key: &[u8], version: Version) {
        if key.len() > KEY_BYTES_MAX {
            return;
        }
        if let Some(known) = self.young.get_mut(key) {
            *known = version;
            return;
        }
        if self.young.len() == GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key.to_vec(), version);
    }

    pub(crate) fn forget(&mut self, key: &[u8]) {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, OriginId};

    fn version(at: usize) -> Version {
        Version {
            hlc: Hlc::from_raw(at as u64),
            origin: OriginId(1),
        }
    }

    #[test]
    fn the_rows_written_last_are_remembered_as_they_are_and_not_more_than_fit() {
        let mut rows = PlainRows::default();
        for at in 0..3 * GENERATION {
            rows.remember(&at.to_be_bytes(), version(at));
            // One that is written again and again stays.
            rows.remember(b"often", version(at));
        }
        assert!(rows.young.len() + rows.old.len() <= 2 * GENERATION);
        let last = 3 * GENERATION - 1;
        assert_eq!(rows.get(b"often"), Some(version(last)));
        for at in last - GENERATION / 2..=last {
            assert_eq!(rows.get(&at.to_be_bytes()), Some(version(at)));
        }
        assert_eq!(rows.get(&0usize.to_be_bytes()), None);
        rows.forget(b"often");
        assert_eq!(rows.get(b"often"), None);
    }
}
