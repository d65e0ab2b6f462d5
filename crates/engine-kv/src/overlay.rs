//! Staged writes over the committed state.

use crate::{Order, Store, TablesError, View, Writes, keys};
use std::ops::{Bound, ControlFlow};

/// What is staged and not yet committed. Reads see it before what the store holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    writes: Writes,
}

impl Overlay {
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    pub(crate) fn clear(&mut self) {
        self.writes.clear();
    }

    pub(crate) fn take(&mut self) -> Writes {
        std::mem::take(&mut self.writes)
    }

    /// Hands a key's value to `read`.
    pub(crate) fn get<S: Store, T>(
        &self,
        store: &S,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> Result<T, TablesError>,
    ) -> Result<Option<T>, TablesError> {
        match self.writes.get(key) {
            Some(staged) => staged.as_deref().map(read).transpose(),
            None => {
                let held = store.get(key)?;
                held.map(|value| read(value.as_ref())).transpose()
            }
        }
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
        fn a_scan_is_that_of_the_state_with_the_staged_writes_made(
            held in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            staged in prop::collection::btree_map(0u8..12, prop::option::of(any::<u8>()), 0..12),
            start in 0u8..12,
            end in 0u8..12,
            limit in 1usize..12,
        ) {
            let store = MemoryStore::default();
            store.commit(writes(&held)).unwrap();
            let overlay = Overlay { writes: writes(&staged) };
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
