//! The tables as another region needs them: out of one committed state, into an empty store.
//!
//! ```text
//! tables ─▶ TablesView ─part, part, …─▶ Import ─▶ store, marked unfinished until the last part
//! ```
//!
//! What travels is told by a record's letter, and every letter says whether it does: a kind of
//! record that nobody thought of would be missing in every region that joins. Local are the
//! conflicts (each region lists those that it resolved) and meta (the position is one of the log's;
//! the road travels beside the records, with the marks). Of a row that was taken over from a peer and
//! is ahead of the position, the note that it is travels with it: whoever follows the log from there
//! must leave out the same writes to it.
//!
//! Records travel as they are kept, checksums included, and are verified on both ends: a damaged
//! one isn't spread, and one that was damaged on the way isn't taken. They come in the order of
//! their keys, so that the last key is all that is needed to go on.

use crate::{Order, Store, StoreError, Tables, TablesError, View, Writes, keys, value};
use bytes::Bytes;
use meridian_model::{Position, Record};
use meridian_replicate::{EngineError, Records, SnapshotView};
use std::ops::ControlFlow;

/// The kinds of record that another region needs, by their letter, in order.
const TRAVELLING: [u8; 8] = *b"adeikqrx";
/// The kinds that are this region's own.
const LOCAL: [u8; 2] = *b"cm";

/// Records that are removed in one step when an import starts over.
const REMOVED_AT_ONCE: usize = 10_000;

/// Whether a record of this key is of a kind that somebody has thought of here.
pub(crate) fn is_sorted_out(key: &[u8]) -> bool {
    let known = |letter: &u8| TRAVELLING.contains(letter) || LOCAL.contains(letter);
    key.first().is_some_and(known)
}

/// The tables as of one commit.
#[derive(Clone, Debug)]
pub struct TablesView<V>(V);

impl<S: Store> Tables<S> {
    pub(crate) fn committed_view(&self) -> TablesView<S::View> {
        TablesView(self.store.view())
    }
}

impl<V: View> TablesView<V> {
    fn collect(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Records, TablesError> {
        let mut part = Records::default();
        let mut bytes = 0;
        for letter in TRAVELLING {
            if after.is_some_and(|after| after.first().is_some_and(|at| *at > letter)) {
                continue;
            }
            let start = match after {
                Some(after) if after.first() == Some(&letter) => [after, &[0]].concat(),
                _ => vec![letter],
            };
            let mut damaged = None;
            let mut is_full = false;
            self.0.visit(
                &start,
                &[letter + 1],
                Order::Ascending,
                &mut |key, value| {
                    if let Err(error) = verify(key, value) {
                        damaged = Some(error);
                        return ControlFlow::Break(());
                    }
                    let record = Record {
                        key: Bytes::copy_from_slice(key),
                        value: Bytes::copy_from_slice(value),
                    };
                    if bytes > 0 && bytes + record.size() > bytes_max {
                        is_full = true;
                        return ControlFlow::Break(());
                    }
                    bytes += record.size();
                    part.records.push(record);
                    ControlFlow::Continue(())
                },
            )?;
            if let Some(error) = damaged {
                return Err(error);
            }
            if is_full {
                return Ok(part);
            }
        }
        part.is_last = true;
        Ok(part)
    }
}

impl<V: View> SnapshotView for TablesView<V> {
    fn part(&self, after: Option<&[u8]>, bytes_max: usize) -> Result<Records, EngineError> {
        self.collect(after, bytes_max)
            .map_err(|error| error.during("read a snapshot of the tables"))
    }
}

/// Whether a record is whole, and one that may travel.
fn verify(key: &[u8], value: &[u8]) -> Result<(), TablesError> {
    let kind = match key.first() {
        Some(b'a') => "taken row",
        Some(b'r') => "row",
        Some(b'k') => "increment",
        Some(b'i') => "idempotency key",
        Some(b'd') => "dead letter",
        Some(b'e') => "dead letter's transaction",
        Some(b'q') => {
            return verify_bare(
                "collect record",
                key,
                value,
                keys::decode_due(key).is_some(),
            );
        }
        Some(b'x') => return verify_bare("expiry", key, value, keys::decode_expiry(key).is_some()),
        _ => return Err(TablesError::damaged("record of an unknown kind", key)),
    };
    value::open(value, kind, key).map(|_| ())
}

/// A record that is all key.
fn verify_bare(
    kind: &'static str,
    key: &[u8],
    value: &[u8],
    decodes: bool,
) -> Result<(), TablesError> {
    if decodes && value.is_empty() {
        Ok(())
    } else {
        Err(TablesError::damaged(kind, key))
    }
}

/// A store that is being filled from a snapshot.
#[derive(Debug)]
pub struct Import<S: Store> {
    store: S,
    last: Option<Bytes>,
    records: u64,
}

impl<S: Store> Import<S> {
    /// Whether a store holds no tables: it is blank, or an import was begun and not finished.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn is_needed(store: &S) -> Result<bool, TablesError> {
        Ok(store.get(keys::FORMAT)?.is_none() || store.get(keys::UNFINISHED)?.is_some())
    }

    /// Begins to fill a store. What an earlier import left unfinished is removed.
    ///
    /// # Errors
    /// [`TablesError::Occupied`] when the store holds tables, and when it can't be written.
    pub fn begin(store: S) -> Result<Self, TablesError> {
        if !Self::is_needed(&store)? {
            return Err(TablesError::Occupied);
        }
        let mark = (keys::UNFINISHED.to_vec(), Some(Vec::new()));
        store.commit([mark, crate::tables::format_record()].into_iter().collect())?;
        remove_records(&store)?;
        Ok(Self {
            store,
            last: None,
            records: 0,
        })
    }

    /// Takes the next records.
    ///
    /// # Errors
    /// [`TablesError`] when one of them is damaged or out of order (nothing of the part is taken
    /// then), and when the store can't be written.
    pub fn take(&mut self, records: &[Record]) -> Result<(), TablesError> {
        let mut last = self.last.clone();
        let mut writes = Writes::new();
        for record in records {
            let (key, value) = (&record.key, &record.value);
            if last.as_ref().is_some_and(|last| key <= last) {
                return Err(TablesError::damaged("record out of order", key));
            }
            verify(key, value)?;
            writes.insert(key.to_vec(), Some(value.to_vec()));
            last = Some(key.clone());
        }
        self.store.commit(writes)?;
        self.last = last;
        self.records += records.len() as u64;
        Ok(())
    }

    /// How many records were taken.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Makes tables of it, which stand at `position` with the road's state. They survive a power
    /// loss when this returns, so the log that begins at this position has to be durable before.
    ///
    /// # Errors
    /// [`TablesError`] when the store can't be written; it is unfinished then, or finished.
    pub fn finish(self, position: Position, road: &[u8]) -> Result<(), TablesError> {
        let applied = value::encode(keys::APPLIED, &position);
        let road = value::encode(keys::ROAD, &road.to_vec());
        let writes = [
            (keys::APPLIED.to_vec(), Some(applied)),
            (keys::ROAD.to_vec(), Some(road)),
            (keys::UNFINISHED.to_vec(), None),
        ];
        // Commits are lost from the end only: where this one is, every part is.
        self.store.commit(writes.into_iter().collect())?;
        Ok(self.store.persist()?)
    }
}

fn remove_records<S: Store>(store: &S) -> Result<(), StoreError> {
    loop {
        let mut found = Writes::new();
        let view = store.view();
        for (start, end) in [(&b"\0"[..], &b"m"[..]), (&b"n"[..], &b"\xff"[..])] {
            view.visit(start, end, Order::Ascending, &mut |key, _| {
                if found.len() == REMOVED_AT_ONCE {
                    return ControlFlow::Break(());
                }
                found.insert(key.to_vec(), None);
                ControlFlow::Continue(())
            })?;
        }
        drop(view);
        if found.is_empty() {
            return Ok(());
        }
        store.commit(found)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letters of the layout at the top of `keys.rs`.
    fn documented() -> Vec<u8> {
        let layout = include_str!("keys.rs");
        let lines = layout.lines().filter_map(|line| line.strip_prefix("//! "));
        let mut letters: Vec<u8> = lines
            .filter_map(|line| match line.as_bytes() {
                [letter, b' ', second, ..] if second.is_ascii_uppercase() => Some(*letter),
                _ => None,
            })
            .filter(u8::is_ascii_lowercase)
            .collect();
        letters.sort_unstable();
        letters
    }

    #[test]
    fn every_kind_of_record_travels_or_is_local() {
        let mut known = [&TRAVELLING[..], &LOCAL[..]].concat();
        known.sort_unstable();
        assert_eq!(
            String::from_utf8(known),
            String::from_utf8(documented()),
            "a kind of record has to be named here: does another region need it?"
        );
    }

    #[test]
    fn kinds_that_travel_are_in_order() {
        assert!(TRAVELLING.is_sorted());
    }
}
