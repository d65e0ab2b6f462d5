//! Silent damage, on purpose: for tests of repair. Not part of any product build.
//!
//! What is done here no part of the system is told of: records change, vanish or come back from the
//! past under the feet of the region that owns them.

use crate::{Order, Store, StoreError, View, keys, value};
use meridian_merge::Row;
use meridian_model::{RowName, Span};
use std::ops::ControlFlow;

/// What becomes of a row's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit of its record flips, which its checksum shows.
    Flip,
    /// A bit of one of its increments kept apart flips.
    FlipKept,
    /// Another document takes the place of its own, and the checksum is right.
    Rewrite,
    /// Its record vanishes.
    Drop,
    /// Its increments kept apart vanish.
    DropKept,
    /// A record from earlier comes back.
    Restore(Vec<u8>),
}

/// The names of all records of rows, tombstones included.
///
/// # Errors
/// [`StoreError`] when the store could not be read.
pub fn rows<S: Store>(store: &S) -> Result<Vec<RowName>, StoreError> {
    let range = keys::rows_in(&Span::default());
    let mut names = Vec::new();
    let view = store.view();
    view.visit(&range.start, &range.end, Order::Ascending, &mut |at, _| {
        names.extend(keys::row_of(at));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// A row's record as it is stored.
///
/// # Errors
/// [`StoreError`] when the store could not be read.
pub fn record<S: Store>(store: &S, name: &RowName) -> Result<Option<Vec<u8>>, StoreError> {
    let bytes = store.get(&keys::row(&name.table, &name.key))?;
    Ok(bytes.map(|bytes| bytes.as_ref().to_vec()))
}

/// Damages a row; `false` where it has nothing that could be damaged so.
///
/// # Errors
/// [`StoreError`] when the store could not be read or written.
pub fn damage<S: Store>(store: &S, name: &RowName, damage: &Damage) -> Result<bool, StoreError> {
    let at = keys::row(&name.table, &name.key);
    let record = record(store, name)?;
    let kept = kept(store, name)?;
    let writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = match damage {
        Damage::Flip => record
            .into_iter()
            .map(|bytes| (at.clone(), Some(flipped(bytes))))
            .collect(),
        Damage::FlipKept => kept
            .into_iter()
            .take(1)
            .map(|(at, bytes)| (at, Some(flipped(bytes))))
            .collect(),
        Damage::Rewrite => record
            .and_then(|bytes| rewritten(&at, &bytes))
            .map(|bytes| (at.clone(), Some(bytes)))
            .into_iter()
            .collect(),
        Damage::Drop => record.map(|_| (at.clone(), None)).into_iter().collect(),
        Damage::DropKept => kept.into_iter().map(|(at, _)| (at, None)).collect(),
        Damage::Restore(earlier) if record.as_ref() != Some(earlier) => {
            vec![(at.clone(), Some(earlier.clone()))]
        }
        Damage::Restore(_) => Vec::new(),
    };
    if writes.is_empty() {
        return Ok(false);
    }
    store.commit(writes.into_iter().collect())?;
    Ok(true)
}

/// Keys and values.
type Records = Vec<(Vec<u8>, Vec<u8>)>;

fn kept<S: Store>(store: &S, name: &RowName) -> Result<Records, StoreError> {
    let range = keys::kept_of(&name.table, &name.key);
    let mut kept = Vec::new();
    let view = store.view();
    view.visit(
        &range.start,
        &range.end,
        Order::Ascending,
        &mut |at, bytes| {
            kept.push((at.to_vec(), bytes.to_vec()));
            ControlFlow::Continue(())
        },
    )?;
    Ok(kept)
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

fn rewritten(at: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    let mut row: Row = value::decode(bytes, "row", at).ok()?;
    let document = row.base.as_mut()?.document.as_mut()?;
    *document = r#"{"damaged":true}"#.to_owned();
    Some(value::encode(at, &row))
}
