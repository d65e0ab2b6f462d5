//! Staged writes over the committed state.

use crate::plain::PlainRows;
use crate::{Order, Store, TablesError, View, Writes, keys};
use meridian_model::Version;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Longer values are read again rather than kept.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// What is staged and not yet committed. Reads see it before what the store holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    writes: Writes,
    /// What the store was found to hold since the last commit, which nobody else changes: a
    /// transaction's rows are read when it is executed and again when it is applied.
    found: RefCell<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    /// Of rows as they are with what is staged.
    plain: PlainRows,
}

impl Overlay {
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.plain.forget(&key);
        self.writes.insert(key, Some(value));
    }

    /// Puts a row's record; `plain` is its version where it is plain.
    pub(crate) fn put_row(&mut self, key: Vec<u8>, value: Vec<u8>, plain: Option<Version>) {
        match plain {
            Some(version) => self.plain.remember(&key, version),
            None => self.plain.forget(&key),
        }
        self.writes.insert(key, Some(value));
    }

    /// The version of a row that is plain, if that is remembered.
    pub(crate) fn plain(&self, key: &[u8]) -> Option<Version> {
        self.plain.get(key)
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.plain.forget(&key);
        self.writes.insert(key, None);
    }

    pub(crate) fn clear(&mut self) {
        self.plain.clear();
        self.writes.clear();
        self.found.get_mut().clear();
    }

    pub(crate) fn take(&mut self) -> Writes {
        self.found.get_mut().clear();
        std::mem::take(&mut self.writes)
    }

    /// Hands a key's value to `read`, and remembers what the store holds for
    /// [`Overlay::get_to_replace`].
    pub(crate) fn get<S: Store, T>(
        &self,
        store: &S,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, TablesError>,
    ) -> Result<Option<T>, TablesError> {
        if let Some(staged) = self.writes.get(key) {
            return staged.as_deref().map(read).transpose();
        }
        if let Some(found) = self.found.borrow().get(key) {
            return found.as_deref().map(read).transpose();
        }
        let held = store.get(key)?;
        let held = held.as_ref().map(AsRef::as_ref);
        if held.is_none_or(|value| value.len() <= KEPT_BYTES_MAX) {
            let kept = held.map(<[u8]>::to_vec);
            self.found.borrow_mut().insert(key.to_vec(), kept);
        }
        held.map(read).transpose()
    }

    /// The same for a key that is written next, so that nothing has to be remembered.
    pub(crate) fn get_to_replace<S: Store, T>(
        &self,
        store: &S,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, TablesError>,
    ) -> Result<Option<T>, TablesError> {
        if let Some(staged) = self.writes.get(key) {
            return staged.as_deref().map(read).transpose();
        }
        if let Some(found) = self.found.borrow_mut().remove(key) {
            return found.as_deref().map(read).transpose();
        }
        let held = store.get(key)?;
        held.as_ref().map(|held| read(held.as_ref())).transpose()
    }

    /// Shows `f` the range in ascending order until it breaks.
    pub(crate) fn scan<S: Store>(
        &self,
        store: &S,
        range: &keys::Range,
        mut f: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), TablesError> {
        if range.start >= range.end {
            return Ok(());
        }
        let bounds = (
            Bound::Included(range.start.as_slice()),
            Bound::Excluded(range.end.as_slice()),
        );
        let mut staged = self.writes.range::<[u8], _>(bounds).peekable();
        let mut broken = false;
        let mut visit = |key: &[u8], value: &[u8]| {
            while let Some((before, value)) = staged.next_if(|(other, _)| other.as_slice() < key) {
                show(&mut f, before, value.as_deref())?;
            }
            match staged.next_if(|(other, _)| other.as_slice() == key) {
                Some((_, replaced)) => show(&mut f, key, replaced.as_deref()),
                None => f(key, value),
            }
        };
        store.view().visit(
            &range.start,
            &range.end,
            Order::Ascending,
            &mut |key, value| {
                let flow = visit(key, value);
                broken = flow.is_break();
                flow
            },
        )?;
        while !broken && let Some((key, value)) = staged.next() {
            broken = show(&mut f, key, value.as_deref()).is_break();
        }
        Ok(())
    }
}

fn show(
    f: &mut impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    key: &[u8],
    value: Option<&[u8]>,
) -> ControlFlow<()> {
    value.map_or(ControlFlow::Continue(()), |value| f(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Small = BTreeMap<u8, Option<u8>>;

    fn writes(small: &Small) -> Writes {
        let writes = small.iter();
        writes
            .map(|(key, value)| (vec![*key], value.map(|byte| vec![byte])))
            .collect()
    }

    proptest! {
        #[test]
        fn a_key_is_that_of_the_state_with_the_staged_writes_made(
            rounds in prop::collection::vec(
                prop::collection::vec((0u8..6, prop::option::of(any::<u8>()), any::<bool>()), 0..12),
                0..6,
            ),
        ) {
            let store = MemoryStore::default();
            let mut overlay = Overlay::default();
            let mut expected = BTreeMap::new();
            for round in rounds {
                for (key, value, is_read) in round {
                    let read = |bytes: &[u8]| Ok(bytes[0]);
                    if is_read {
                        let found = overlay.get(&store, &[key], read).unwrap();
                        prop_assert_eq!(found, expected.get(&key).copied());
                        let found = overlay.get_to_replace(&store, &[key], read).unwrap();
                        prop_assert_eq!(found, expected.get(&key).copied());
                    } else if let Some(value) = value {
                        overlay.put(vec![key], vec![value]);
                        expected.insert(key, value);
                    } else {
                        overlay.remove(vec![key]);
                        expected.remove(&key);
                    }
                }
                store.commit(overlay.take()).unwrap();
            }
        }

        #[test]
        fn a_scan_is_that_of_the_state_with_the_staged_writes_made(
            held in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            staged in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            start in 0u8..12,
            end in 0u8..12,
            limit in 1usize..12,
        ) {
            let store = MemoryStore::default();
            store.commit(writes(&held)).unwrap();
            let overlay = Overlay { writes: writes(&staged), ..Overlay::default() };
            let mut seen = Vec::new();
            let range = keys::Range { start: vec![start], end: vec![end] };
            overlay.scan(&store, &range, |key, value| {
                seen.push((key[0], value[0]));
                if seen.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }).unwrap();
            let mut merged = held;
            merged.extend(staged);
            let expected: Vec<_> = merged.into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .filter(|(key, _)| (start..end.max(start)).contains(key))
                .take(limit)
                .collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
