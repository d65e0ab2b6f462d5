//! A store in memory, for the simulator and for tests, that can crash.
//!
//! It keeps what each commit since the last persist overwrote. A crash undoes commits from the
//! newest down, so what is left is always the state after some commit: the same promise that the
//! store on disk makes.

use crate::{Order, Store, StoreError, View, Visitor, Writes};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

type Value = Arc<[u8]>;
type State = BTreeMap<Vec<u8>, Value>;

#[derive(Debug, Default)]
struct Inner {
    state: Arc<State>,
    /// Per commit since the last persist, oldest first: the values it replaced.
    undo: Vec<Vec<(Vec<u8>, Option<Value>)>>,
}

/// A store in memory. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

impl MemoryStore {
    /// Loses some of the commits since the last persist, from the newest down. `keep` is any
    /// number, best a random one, that decides how many of them stay.
    pub fn crash(&self, keep: u64) {
        let mut inner = self.lock();
        let unpersisted = inner.undo.len() as u64;
        let kept = usize::try_from(keep % (unpersisted + 1)).expect("no more than a length");
        let lost = inner.undo.split_off(kept);
        let state = Arc::make_mut(&mut inner.state);
        for (key, before) in lost.into_iter().rev().flatten() {
            match before {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
        // What the crash left is what is on the disk now.
        inner.undo.clear();
    }

    /// A second store with the same contents, all persisted.
    #[must_use]
    pub fn copy(&self) -> Self {
        let inner = Inner {
            state: Arc::clone(&self.lock().state),
            undo: Vec::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("nothing panics while it holds the state")
    }
}

impl Store for MemoryStore {
    type View = MemoryView;

    fn view(&self) -> MemoryView {
        MemoryView(Arc::clone(&self.lock().state))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.lock().state.get(key).cloned())
    }

    fn commit(&self, writes: Writes) -> Result<(), StoreError> {
        let mut inner = self.lock();
        // Copies the state only while some view of it is held.
        let state = Arc::make_mut(&mut inner.state);
        let mut replaced = Vec::with_capacity(writes.len());
        for (key, value) in writes {
            let before = match value {
                Some(value) => state.insert(key.clone(), value.into()),
                None => state.remove(&key),
            };
            replaced.push((key, before));
        }
        inner.undo.push(replaced);
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.lock().undo.clear();
        Ok(())
    }
}

/// A committed state.
#[derive(Clone, Debug)]
pub struct MemoryView(Arc<State>);

impl View for MemoryView {
    type Value = Value;

    fn get(&self, key: &[u8]) -> Result<Option<Value>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn visit(
        &self,
        start: &[u8],
        end: &[u8],
        order: Order,
        f: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if start >= end {
            return Ok(());
        }
        let mut range = self
            .0
            .range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)));
        let next = || match order {
            Order::Ascending => range.next(),
            Order::Descending => range.next_back(),
        };
        for (key, value) in std::iter::from_fn(next) {
            if f(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(store: &MemoryStore) -> State {
        (*store.view().0).clone()
    }

    proptest! {
        #[test]
        fn a_crash_leaves_the_state_after_a_commit_no_earlier_than_the_last_persist(
            commits in prop::collection::vec(
                (prop::collection::btree_map(0u8..4, prop::option::of(any::<u8>()), 0..4), any::<bool>()),
                0..12,
            ),
            keep: u64,
        ) {
            let store = MemoryStore::default();
            let mut possible = vec![State::new()];
            for (writes, persist) in commits {
                let writes = writes.into_iter().map(|(key, value)| (vec![key], value.map(|byte| vec![byte])));
                store.commit(writes.collect()).unwrap();
                if persist {
                    store.persist().unwrap();
                    possible.clear();
                }
                possible.push(state(&store));
            }
            store.crash(keep);
            let expected = &possible[usize::try_from(keep % possible.len() as u64).unwrap()];
            prop_assert_eq!(&state(&store), expected);
            store.crash(keep);
            prop_assert_eq!(&state(&store), expected, "what survived one crash survives the next");
        }
    }
}
