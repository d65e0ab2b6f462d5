//! Reading the committed tables, from any thread, beside the one writer.
//!
//! Each call reads one snapshot, so it never sees a part of a transaction. Memory is that of the
//! answer, not of the table.

use crate::tables::Idempotent;
use crate::{Order, Store, TablesError, View, conflicts, keys, value};
use meridian_merge::{Row, RowVersion, Shown, render, shown};
use meridian_model::{Conflict, IdempotencyKey, Position, Vector, Version};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;
use xxhash_rust::xxh3::Xxh3;

/// Deleted rows that a page skips at most before it ends early.
const SKIPPED_MAX: usize = 10_000;

/// A reader of the committed state.
#[derive(Clone, Debug)]
pub struct TableReader<S> {
    pub(crate) store: S,
}

/// A row as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowView {
    /// What names its content.
    pub version: RowVersion,
    /// Its document as JSON text; where it has siblings the newest.
    pub document: String,
    /// All documents that stand, newest first, where there are several; else none.
    pub siblings: Vec<SiblingView>,
}

/// One of several documents of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiblingView {
    /// What names its content.
    pub version: RowVersion,
    /// Its JSON text.
    pub document: String,
}

impl RowView {
    /// How many bytes its documents have.
    fn bytes(&self) -> usize {
        let siblings = self.siblings.iter().map(|sibling| sibling.document.len());
        self.document.len() + siblings.sum::<usize>()
    }
}

/// Rows of one table in key order, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and rows.
    pub rows: Vec<(String, RowView)>,
    /// Where the next page goes on (`after`); `None` at the end of the table. A page may have
    /// fewer rows than asked for, or none, and yet not be the last.
    pub next: Option<String>,
}

/// What a table holds, in short: equal in regions that have converged, whatever they have
/// collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The number of rows that are there.
    pub rows: u64,
    /// xxh3 (128 bits, hexadecimal) over keys, versions and documents in key order.
    pub checksum: String,
}

/// How many conflicts there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictCounts {
    /// Resolved here, ever.
    pub total: u64,
    /// Of these, still listed.
    pub kept: u64,
}

/// A conflict's place in this region's list: the log position that brought it, and which one of
/// its conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId {
    /// Where the transaction, or the part of a large one, stands in this region's log.
    pub position: Position,
    /// Which of its conflicts it is, from 0.
    pub index: u32,
}

/// Conflicts, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConflictPage {
    /// The conflicts.
    pub conflicts: Vec<(ConflictId, Conflict)>,
    /// Where the next page goes on (`after`), with older ones; `None` at the end.
    pub next: Option<ConflictId>,
}

/// Not a conflict's id as [`ConflictId`] displays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a conflict's id reads POSITION-INDEX, two decimal numbers")]
pub struct ParseConflictIdError;

impl fmt::Display for ConflictId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.position, self.index)
    }
}

impl FromStr for ConflictId {
    type Err = ParseConflictIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (position, index) = text.split_once('-').ok_or(ParseConflictIdError)?;
        Ok(Self {
            position: Position(position.parse().map_err(|_| ParseConflictIdError)?),
            index: index.parse().map_err(|_| ParseConflictIdError)?,
        })
    }
}

impl<S: Store> TableReader<S> {
    /// A reader of the store's tables.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self { store }
    }

    pub(crate) fn view(&self) -> S::View {
        self.store.view()
    }

    /// A row; `None` where it isn't there.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn get(&self, table: &str, key: &str) -> Result<Option<RowView>, TablesError> {
        self.snapshot().get(table, key)
    }

    /// Per origin its last transaction that shows. Asked *after* something was read, it covers all
    /// that was read; and all of it shows to whoever reads next. Tables of earlier releases say only
    /// what has come since.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn seen(&self) -> Result<Vector, TablesError> {
        let key = keys::SEEN;
        match self.store.view().get(key)? {
            Some(bytes) => value::decode(bytes.as_ref(), "meta", key),
            None => Ok(Vector::default()),
        }
    }

    /// As what a transaction with this idempotency key was committed, here or elsewhere; `None` where
    /// none is remembered, or another one.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn remembered(&self, key: &IdempotencyKey) -> Result<Option<Version>, TablesError> {
        let at = keys::idempotency(&key.key);
        let Some(bytes) = self.store.view().get(&at)? else {
            return Ok(None);
        };
        let known: Idempotent = value::decode(bytes.as_ref(), "idempotency key", &at)?;
        Ok((known.fingerprint == key.fingerprint).then_some(known.version))
    }

    /// The rows after the key `after` (from the first where it is `None`), at most `limit`, ending
    /// where their documents and keys exceed `bytes_max` together; at least one, where there is
    /// one and not too many deleted ones before it.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn page(
        &self,
        table: &str,
        after: Option<&str>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Page, TablesError> {
        self.snapshot().page(table, after, limit, bytes_max)
    }

    /// The table's checksum, as of one moment.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn checksum(&self, table: &str) -> Result<Checksum, TablesError> {
        let mut hasher = Xxh3::new();
        let mut rows = 0;
        let range = keys::rows_of(table, None);
        try_visit(&self.store.view(), &range, |at, bytes| {
            if let Some(row) = decode_live(at, bytes)? {
                let key = decode_key(at)?;
                rows += 1;
                hash_part(&mut hasher, key.as_bytes());
                hasher.update(&row.version.latest.hlc.raw().to_le_bytes());
                hasher.update(&row.version.latest.origin.0.to_le_bytes());
                hash_part(&mut hasher, row.document.as_bytes());
                for sibling in row.siblings.iter().skip(1) {
                    hash_part(&mut hasher, sibling.document.as_bytes());
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(Checksum {
            rows,
            checksum: format!("{:032x}", hasher.digest128()),
        })
    }

    /// The names of the tables that have rows, in order, as of one moment.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn tables(&self) -> Result<Vec<String>, TablesError> {
        let view = self.store.view();
        let mut tables: Vec<String> = Vec::new();
        let mut last: Option<String> = None;
        while let Some(table) = next_table(&view, last.as_deref())? {
            if has_rows(&view, &table)? {
                tables.push(table.clone());
            }
            last = Some(table);
        }
        Ok(tables)
    }

    /// The conflicts older than `after` (from the newest where it is `None`), newest first, at
    /// most `limit`.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn conflicts(
        &self,
        after: Option<ConflictId>,
        limit: usize,
    ) -> Result<ConflictPage, TablesError> {
        let mut range = keys::conflicts();
        if let Some(after) = after {
            range.end = keys::conflict(after.position, after.index);
        }
        let limit = limit.max(1);
        let mut page = ConflictPage::default();
        let view = self.store.view();
        try_visit_in(&view, &range, Order::Descending, |at, bytes| {
            if page.conflicts.len() == limit {
                page.next = page.conflicts.last().map(|(id, _)| *id);
                return Ok(ControlFlow::Break(()));
            }
            let id = keys::decode_conflict(at);
            let (position, index) = id.ok_or_else(|| TablesError::damaged("conflict", at))?;
            let conflict = conflicts::decode(bytes, at)?;
            page.conflicts
                .push((ConflictId { position, index }, conflict));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(page)
    }

    /// How many conflicts there were, and how many are listed.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn conflict_counts(&self) -> Result<ConflictCounts, TablesError> {
        let key = keys::CONFLICT_COUNTS;
        match self.store.view().get(key)? {
            Some(bytes) => value::decode(bytes.as_ref(), "meta", key),
            None => Ok(ConflictCounts::default()),
        }
    }
}

pub(crate) fn page(
    view: &impl View,
    table: &str,
    after: Option<&str>,
    limit: usize,
    bytes_max: usize,
) -> Result<Page, TablesError> {
    let mut paging = Paging {
        page: Page::default(),
        limit: limit.max(1),
        bytes_left: bytes_max,
        skipped_left: SKIPPED_MAX,
        last_key: String::new(),
    };
    let range = keys::rows_of(table, after);
    try_visit(view, &range, |at, bytes| paging.take(at, bytes))?;
    Ok(paging.page)
}

struct Paging {
    page: Page,
    limit: usize,
    bytes_left: usize,
    skipped_left: usize,
    last_key: String,
}

impl Paging {
    fn take(&mut self, at: &[u8], bytes: &[u8]) -> Result<ControlFlow<()>, TablesError> {
        let key = decode_key(at)?;
        let Some(row) = decode_live(at, bytes)? else {
            if self.skipped_left == 0 {
                return Ok(self.end());
            }
            self.skipped_left -= 1;
            self.last_key = key.to_owned();
            return Ok(ControlFlow::Continue(()));
        };
        let size = key.len() + row.bytes();
        let rows = self.page.rows.len();
        if rows == self.limit || (rows > 0 && size > self.bytes_left) {
            return Ok(self.end());
        }
        self.bytes_left = self.bytes_left.saturating_sub(size);
        self.last_key = key.to_owned();
        self.page.rows.push((key.to_owned(), row));
        Ok(ControlFlow::Continue(()))
    }

    fn end(&mut self) -> ControlFlow<()> {
        self.page.next = Some(std::mem::take(&mut self.last_key));
        ControlFlow::Break(())
    }
}

fn next_table<V: View>(view: &V, last: Option<&str>) -> Result<Option<String>, TablesError> {
    let mut found = None;
    try_visit(view, &keys::rows_after_table(last), |at, _| {
        let name = keys::decode_row(at);
        let (table, _) = name.ok_or_else(|| TablesError::damaged("row", at))?;
        found = Some(table.to_owned());
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

fn has_rows<V: View>(view: &V, table: &str) -> Result<bool, TablesError> {
    let mut found = false;
    try_visit(view, &keys::rows_of(table, None), |at, bytes| {
        // Whatever a damaged record holds, the table is worth naming.
        found = !matches!(decode_live(at, bytes), Ok(None));
        Ok(if found {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })?;
    Ok(found)
}

/// The row as readers see it; `None` for a tombstone.
pub(crate) fn decode_live(at: &[u8], bytes: &[u8]) -> Result<Option<RowView>, TablesError> {
    Ok(live(value::decode(bytes, "row", at)?))
}

/// What a row shows; `None` where it is deleted.
pub(crate) fn live(row: Row) -> Option<RowView> {
    if row.mixed().is_some() {
        return mixed_view(&row);
    }
    let of = |version, document| RowView {
        version,
        document,
        siblings: Vec::new(),
    };
    if row.sums.is_empty() {
        // The common case takes the text over instead of copying it.
        let version = row.named();
        let document = row.base.and_then(|base| base.document);
        return document.map(|document| of(version, document));
    }
    let document = render(&row).map(Cow::into_owned);
    document.map(|document| of(row.named_showing(&document), document))
}

fn mixed_view(row: &Row) -> Option<RowView> {
    let mut siblings: Vec<SiblingView> = shown(row)
        .into_iter()
        .map(|Shown { version, document }| SiblingView {
            version,
            document: document.into_owned(),
        })
        .collect();
    let document = match siblings.len() {
        0 | 1 => siblings.pop()?.document,
        _ => siblings[0].document.clone(),
    };
    Some(RowView {
        version: row.named_showing(&document),
        document,
        siblings,
    })
}

fn decode_key(at: &[u8]) -> Result<&str, TablesError> {
    let name = keys::decode_row(at);
    name.map(|(_, key)| key)
        .ok_or_else(|| TablesError::damaged("row", at))
}

/// Lengths keep neighbouring parts apart.
fn hash_part(hasher: &mut Xxh3, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}

fn try_visit<V: View>(
    view: &V,
    range: &keys::Range,
    f: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, TablesError>,
) -> Result<(), TablesError> {
    try_visit_in(view, range, Order::Ascending, f)
}

pub(crate) fn try_visit_in<V: View>(
    view: &V,
    range: &keys::Range,
    order: Order,
    mut f: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, TablesError>,
) -> Result<(), TablesError> {
    let mut failed = None;
    view.visit(
        &range.start,
        &range.end,
        order,
        &mut |key, bytes| match f(key, bytes) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}
