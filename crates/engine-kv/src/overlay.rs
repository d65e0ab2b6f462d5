//! Staged writes over the committed state.

use crate::{Order, Store, TablesError, View, Writes, keys};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Longer values are read again rather than kept.
const KEPT_BYTES_MAX: usize = 4 << 10;

/// What is staged and not yet committed. Reads see it before what the store holds.
///
/// ```text
/// newest   writes   staged for the next commit, or for the one after
///          sealed   the next commit's, while it waits for the log
/// oldest   store    committed
/// ```
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    writes: Writes,
    /// Set from [`Overlay::seal`] until it is taken or revoked.
    sealed: Option<Writes>,
    /// What the store was found to hold of keys that are in neither, and nobody else changes: a
    /// transaction's rows are read when it is executed and again when it is applied.
    found: RefCell<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl Overlay {
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    /// Forgets what is staged. What is sealed stays.
    pub(crate) fn clear(&mut self) {
        self.writes.clear();
        self.found.get_mut().clear();
    }

    /// Forgets what is sealed too.
    pub(crate) fn revoke(&mut self) {
        self.clear();
        self.sealed = None;
    }

    /// What is staged now is what [`Overlay::take`] gives next, whatever is staged meanwhile.
    pub(crate) fn seal(&mut self) {
        debug_assert!(self.sealed.is_none(), "one commit is under way at a time");
        self.found.get_mut().clear();
        self.sealed = Some(std::mem::take(&mut self.writes));
    }

    /// The next commit's writes: those that are sealed, or else those that are staged.
    pub(crate) fn take(&mut self) -> Writes {
        if let Some(sealed) = self.sealed.take() {
            return sealed;
        }
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
        if let Some(uncommitted) = self.uncommitted(key) {
            return uncommitted.map(read).transpose();
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
        if let Some(uncommitted) = self.uncommitted(key) {
            return uncommitted.map(read).transpose();
        }
        if let Some(found) = self.found.borrow_mut().remove(key) {
            return found.as_deref().map(read).transpose();
        }
        let held = store.get(key)?;
        held.as_ref().map(|held| read(held.as_ref())).transpose()
    }

    /// What a key is to hold, where that is staged or sealed.
    fn uncommitted(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let sealed = self.sealed.as_ref();
        let write = self.writes.get(key).or_else(|| sealed?.get(key))?;
        Some(write.as_deref())
    }

    /// All that is staged or sealed in a range.
    fn uncommitted_in<'a>(
        &'a self,
        bounds: (Bound<&'a [u8]>, Bound<&'a [u8]>),
    ) -> BTreeMap<&'a [u8], Option<&'a [u8]>> {
        // The later one of a key counts.
        let layers = self.sealed.iter().chain([&self.writes]);
        layers
            .flat_map(|writes| writes.range::<[u8], _>(bounds))
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .collect()
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
        let mut staged = self.uncommitted_in(bounds).into_iter().peekable();
        let mut broken = false;
        let mut visit = |key: &[u8], value: &[u8]| {
            while let Some((before, value)) = staged.next_if(|(other, _)| *other < key) {
                show(&mut f, before, value)?;
            }
            match staged.next_if(|(other, _)| *other == key) {
                Some((_, replaced)) => show(&mut f, key, replaced),
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
            broken = show(&mut f, key, value).is_break();
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
                prop::collection::vec((0u8..6, prop::option::of(any::<u8>()), 0u8..4), 0..12),
                0..6,
            ),
        ) {
            let store = MemoryStore::default();
            let mut overlay = Overlay::default();
            let mut expected = BTreeMap::new();
            for round in rounds {
                for (key, value, step) in round {
                    let read = |bytes: &[u8]| Ok(bytes[0]);
                    if step == 0 {
                        let found = overlay.get(&store, &[key], read).unwrap();
                        prop_assert_eq!(found, expected.get(&key).copied());
                        let found = overlay.get_to_replace(&store, &[key], read).unwrap();
                        prop_assert_eq!(found, expected.get(&key).copied());
                    } else if step == 1 {
                        match overlay.sealed {
                            Some(_) => store.commit(overlay.take()).unwrap(),
                            None => overlay.seal(),
                        }
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
        fn what_is_forgotten_leaves_what_was_sealed_and_what_is_revoked_nothing(
            committed in prop::collection::btree_map(0u8..6, prop::option::of(any::<u8>()), 0..6),
            sealed in prop::collection::btree_map(0u8..6, prop::option::of(any::<u8>()), 0..6),
            staged in prop::collection::btree_map(0u8..6, prop::option::of(any::<u8>()), 0..6),
        ) {
            let store = MemoryStore::default();
            store.commit(writes(&committed)).unwrap();
            let mut overlay = Overlay { writes: writes(&sealed), ..Overlay::default() };
            overlay.seal();
            overlay.writes = writes(&staged);
            overlay.clear();
            let read = |bytes: &[u8]| Ok(bytes[0]);
            for key in 0..6 {
                let expected = sealed.get(&key).or_else(|| committed.get(&key));
                let found = overlay.get(&store, &[key], read).unwrap();
                prop_assert_eq!(found, expected.copied().flatten());
            }
            overlay.revoke();
            for key in 0..6 {
                let found = overlay.get(&store, &[key], read).unwrap();
                prop_assert_eq!(found, committed.get(&key).copied().flatten());
            }
            prop_assert!(overlay.take().is_empty());
        }

        #[test]
        fn a_scan_is_that_of_the_state_with_the_staged_writes_made(
            held in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            sealed in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            staged in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            start in 0u8..12,
            end in 0u8..12,
            limit in 1usize..12,
        ) {
            let store = MemoryStore::default();
            store.commit(writes(&held)).unwrap();
            let mut overlay = Overlay { writes: writes(&sealed), ..Overlay::default() };
            overlay.seal();
            overlay.writes = writes(&staged);
            let mut seen = Vec::new();
            let range = keys::Range { start: vec![start], end: vec![end] };
            overlay.scan(&store, &range, |key, value| {
                seen.push((key[0], value[0]));
                if seen.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }).unwrap();
            let mut merged = held;
            merged.extend(sealed);
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
