//! Reading for comparison: what a row shows, in short, and its whole stored state.
//!
//! All reads are of one [`Snapshot`]. What a row *shows* (its version's name and its document, or its
//! siblings' documents, with all fields and members) is what regions must agree on; its *state* is every byte that is stored of it, and only ever
//! compared with the same region's.

use crate::read::{self, Page, RowView};
use crate::{Order, Store, TableReader, TablesError, View, keys, value};
use bytes::Bytes;
use meridian_merge::{KeptIncrement, Row, Shown, shown};
use meridian_model::{
    Answer, Fetched, Holds, Looked, Position, Question, RowCopy, RowName, RowState, Span,
    SpanDigest, Vector, Version,
};
use meridian_replicate::compare::Section;
use std::fmt::{self, Write as _};
use std::ops::ControlFlow;
use xxhash_rust::xxh3::Xxh3;

/// Rows that are read for one question about digests, at most.
const DIGESTED_ROWS_MAX: u64 = 65_536;

/// One committed state of the tables.
#[derive(Clone, Debug)]
pub struct Snapshot<V> {
    pub(crate) view: V,
}

/// Rows that are given away in one answer, in bytes; one row may have more.
pub(crate) const FETCHED_BYTES_MAX: usize = 2 << 20;

/// What a listed row's name is reckoned with, in bytes. Names far longer than this make a list
/// shorter, so that what is asked for by rows stays within a message of a link.
const LISTED_NAME_BYTES: usize = 512;

/// A row's name and digest; none where its record is damaged.
pub type ListedRow = (RowName, Option<u64>);

impl<S: Store> TableReader<S> {
    /// The committed state as of now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<S::View> {
        Snapshot { view: self.view() }
    }
}

impl<V: View> Snapshot<V> {
    /// A row; `None` where it isn't there.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn get(&self, table: &str, key: &str) -> Result<Option<RowView>, TablesError> {
        let at = keys::row(table, key);
        match self.view.get(&at)? {
            Some(bytes) => read::decode_live(&at, bytes.as_ref()),
            None => Ok(None),
        }
    }

    /// The last version of a row, deleted ones included as long as they leave a tombstone.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn latest(&self, table: &str, key: &str) -> Result<Option<Version>, TablesError> {
        let at = keys::row(table, key);
        let Some(bytes) = self.view.get(&at)? else {
            return Ok(None);
        };
        let row: Row = value::decode(bytes.as_ref(), "row", &at)?;
        Ok(Some(row.version))
    }

    /// The rows after the key `after`, as [`TableReader::page`] gives them.
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
        read::page(&self.view, table, after, limit, bytes_max)
    }

    /// The position in the log up to which it has applied everything.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn position(&self) -> Result<Position, TablesError> {
        match self.view.get(keys::APPLIED)? {
            Some(bytes) => value::decode(bytes.as_ref(), "meta", keys::APPLIED),
            None => Ok(Position::default()),
        }
    }

    /// The first rows of a span, at most `rows_max`, in leaves of `leaf_rows` records. The leaf that
    /// holds the span's end goes on to it.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn section(
        &self,
        span: &Span,
        rows_max: usize,
        leaf_rows: usize,
    ) -> Result<Section, TablesError> {
        let mut section = Section {
            leaves: Vec::new(),
            complete: true,
        };
        let (mut leaf, mut in_leaf, mut rows) = (SpanDigest::default(), 0, 0);
        let mut last = None;
        self.each(span, |name, holds| {
            if rows == rows_max {
                section.complete = false;
                return ControlFlow::Break(());
            }
            (rows, in_leaf) = (rows + 1, in_leaf + 1);
            leaf = leaf.plus(digest_of(holds));
            last = Some(name);
            if in_leaf == leaf_rows {
                section
                    .leaves
                    .extend(last.take().map(|last| (last, std::mem::take(&mut leaf))));
                in_leaf = 0;
            }
            ControlFlow::Continue(())
        })?;
        section.leaves.extend(last.map(|last| (last, leaf)));
        Ok(section)
    }

    /// What each span holds. Where one question asks for too many rows, a span that was not read to
    /// its end gets a digest that agrees with none.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn digests(&self, spans: &[Span]) -> Result<Vec<SpanDigest>, TablesError> {
        let mut left = DIGESTED_ROWS_MAX;
        let mut digests = Vec::with_capacity(spans.len());
        for span in spans {
            let mut digest = SpanDigest::default();
            self.each(span, |_, holds| {
                if left == 0 {
                    digest.damaged += 1;
                    return ControlFlow::Break(());
                }
                left -= 1;
                digest = digest.plus(digest_of(holds));
                ControlFlow::Continue(())
            })?;
            digests.push(digest);
        }
        Ok(digests)
    }

    /// The rows that spans show, with their digests, and damaged ones without; whether these are all.
    /// At most `rows_max`, and fewer where their names are long.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn rows(
        &self,
        spans: &[Span],
        rows_max: usize,
    ) -> Result<(Vec<ListedRow>, bool), TablesError> {
        let mut rows = Vec::new();
        let mut complete = true;
        let mut bytes_left = rows_max.saturating_mul(LISTED_NAME_BYTES);
        for span in spans {
            self.each(span, |name, holds| {
                let digest = match holds {
                    Holds::Row { digest, .. } => Some(digest),
                    Holds::Damage => None,
                    Holds::Nothing | Holds::Tombstone { .. } => return ControlFlow::Continue(()),
                };
                let bytes = name.table.len() + name.key.len();
                if rows.len() == rows_max || (bytes > bytes_left && !rows.is_empty()) {
                    complete = false;
                    return ControlFlow::Break(());
                }
                bytes_left = bytes_left.saturating_sub(bytes);
                rows.push((name, digest));
                ControlFlow::Continue(())
            })?;
            if !complete {
                break;
            }
        }
        Ok((rows, complete))
    }

    /// The answer to a question about rows; `as_of` is all that this state has applied. `None` for
    /// questions about other things.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read, or a row that is wanted is damaged.
    pub fn answer(
        &self,
        as_of: &Vector,
        question: &Question,
    ) -> Result<Option<Answer>, TablesError> {
        Ok(Some(match question {
            Question::Digests(spans) => Answer::Digests(self.digests(spans)?),
            Question::Rows { spans, rows_max } => {
                let rows_max = usize::try_from(*rows_max).unwrap_or(usize::MAX);
                let (rows, complete) = self.rows(spans, rows_max)?;
                Answer::Rows { rows, complete }
            }
            Question::Look { names, .. } => Answer::Looked(Looked {
                as_of: as_of.clone(),
                copies: self.look(names)?,
            }),
            Question::Fetch { names, .. } => Answer::Fetched(Fetched {
                as_of: as_of.clone(),
                rows: self.fetch(names, FETCHED_BYTES_MAX)?,
            }),
            Question::Applied
            | Question::Held
            | Question::Snapshot { .. }
            | Question::Write(_)
            | Question::Epoch
            | Question::Steering(_) => return Ok(None),
        }))
    }

    /// This region's copies of rows.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read.
    pub fn look(&self, names: &[RowName]) -> Result<Vec<RowCopy>, TablesError> {
        names.iter().map(|name| self.copy(name)).collect()
    }

    fn copy(&self, name: &RowName) -> Result<RowCopy, TablesError> {
        let at = keys::row(&name.table, &name.key);
        let record = self.view.get(&at)?;
        let record = record.as_ref().map(AsRef::as_ref);
        let mut state = StateHasher::new(record);
        let mut holds = record.map_or(Holds::Nothing, |bytes| examine(name, &at, bytes));
        self.each_kept(name, |at, bytes| {
            state.kept(at, bytes);
            if value::decode::<KeptIncrement>(bytes, "increment", at).is_err() {
                holds = Holds::Damage;
            }
        })?;
        Ok(RowCopy {
            holds,
            state: state.finish(),
        })
    }

    /// Whole rows, to be taken over elsewhere: the first of those asked for, as far as `bytes_max`
    /// takes them, but at least one. A row that is damaged here is not given away.
    ///
    /// # Errors
    /// [`TablesError`] when the store could not be read, or a row is damaged.
    pub fn fetch(&self, names: &[RowName], bytes_max: usize) -> Result<Vec<RowState>, TablesError> {
        let mut rows: Vec<RowState> = Vec::new();
        let mut bytes_left = bytes_max;
        for name in names {
            let row = self.whole(name)?;
            let bytes = row.record.as_ref().map_or(0, Bytes::len)
                + row
                    .kept
                    .iter()
                    .map(|(_, kept)| kept.len() + 32)
                    .sum::<usize>();
            if !rows.is_empty() && bytes > bytes_left {
                break;
            }
            bytes_left = bytes_left.saturating_sub(bytes);
            rows.push(row);
        }
        Ok(rows)
    }

    fn whole(&self, name: &RowName) -> Result<RowState, TablesError> {
        let at = keys::row(&name.table, &name.key);
        let record = self.view.get(&at)?;
        let record = record.as_ref().map(AsRef::as_ref);
        let mut state = StateHasher::new(record);
        let row: Option<Row> = record
            .map(|bytes| value::decode(bytes, "row", &at))
            .transpose()?;
        let mut kept = Ok(Vec::new());
        self.each_kept(name, |at, bytes| {
            state.kept(at, bytes);
            let decoded = value::decode::<KeptIncrement>(bytes, "increment", at);
            match (&mut kept, decoded) {
                (Ok(kept), Ok(increment)) => kept.push((increment.version, body(&increment))),
                (kept, Err(error)) => *kept = Err(error),
                (Err(_), _) => {}
            }
        })?;
        Ok(RowState {
            state: state.finish(),
            record: row.as_ref().map(body),
            kept: kept?,
        })
    }

    fn each_kept(
        &self,
        name: &RowName,
        mut f: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), TablesError> {
        let range = keys::kept_of(&name.table, &name.key);
        let visited = self.view.visit(
            &range.start,
            &range.end,
            Order::Ascending,
            &mut |at, bytes| {
                f(at, bytes);
                ControlFlow::Continue(())
            },
        );
        Ok(visited?)
    }

    /// Shows every record of a span. One whose key is no row's can't be named, nor mended.
    fn each(
        &self,
        span: &Span,
        mut f: impl FnMut(RowName, Holds) -> ControlFlow<()>,
    ) -> Result<(), TablesError> {
        let range = keys::rows_in(span);
        let mut unnamed = None;
        self.view.visit(
            &range.start,
            &range.end,
            Order::Ascending,
            &mut |at, bytes| {
                let Some(name) = keys::row_of(at) else {
                    unnamed = Some(TablesError::damaged("row", at));
                    return ControlFlow::Break(());
                };
                let holds = examine(&name, at, bytes);
                f(name, holds)
            },
        )?;
        unnamed.map_or(Ok(()), Err)
    }
}

/// What a row's record holds.
fn examine(name: &RowName, at: &[u8], bytes: &[u8]) -> Holds {
    let Ok(row) = value::decode::<Row>(bytes, "row", at) else {
        return Holds::Damage;
    };
    let latest = row.version;
    let documents = shown(&row);
    if documents.is_empty() {
        return Holds::Tombstone { latest };
    }
    let mut hasher = name_hasher(name);
    write!(Text(&mut hasher), "{}", row.named()).expect("a hasher takes any text");
    for Shown { document, .. } in &documents {
        hasher.update(&[0]);
        hasher.update(document.as_bytes());
    }
    let digest = hasher.digest();
    Holds::Row { latest, digest }
}

fn digest_of(holds: Holds) -> SpanDigest {
    let (rows, damaged, digest) = match holds {
        Holds::Nothing | Holds::Tombstone { .. } => (0, 0, 0),
        Holds::Row { digest, .. } => (1, 0, digest),
        Holds::Damage => (0, 1, 0),
    };
    SpanDigest {
        rows,
        damaged,
        digest,
    }
}

fn name_hasher(name: &RowName) -> Xxh3 {
    let mut hasher = Xxh3::new();
    for part in [&name.table, &name.key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher
}

fn body<T: serde::Serialize>(record: &T) -> Bytes {
    let body = postcard::to_stdvec(record).expect("records have no unencodable parts");
    body.into()
}

/// Text on its way into a hash.
struct Text<'a>(&'a mut Xxh3);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// Hashes all that is stored of a row.
pub(crate) struct StateHasher(Xxh3);

impl StateHasher {
    pub(crate) fn new(record: Option<&[u8]>) -> Self {
        let mut hasher = Xxh3::new();
        let length = record.map_or(u64::MAX, |record| record.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(record.unwrap_or_default());
        Self(hasher)
    }

    pub(crate) fn kept(&mut self, at: &[u8], bytes: &[u8]) {
        self.0.update(at);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> u64 {
        self.0.digest()
    }
}
