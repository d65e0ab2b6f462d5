//! Rows on their way from the server into the log, other than through the slot.

use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle};
use meridian_engine_postgres::meeting::TAKING_OVER;
use meridian_engine_postgres::{Lsn, ServerIdentity};
use meridian_model::{CapturedAt, Change, Chosen, Collisions, Operation, RowName, Vector};

/// Rows of one transaction while a server's rows are taken over.
const ROWS_MAX: usize = 500;
/// The size of their documents, unless the last one is larger.
const BYTES_MAX: usize = 1 << 20;

/// Takes rows over: transactions of this region that say what the server has.
pub(super) struct Taking<'a> {
    dataset: &'a DatasetHandle,
    at: CapturedAt,
    seen: Vector,
    /// Whether the parts are told apart, so that taking over can be seen to be unfinished.
    is_first: bool,
    changes: Vec<Change>,
    collisions: Collisions,
    /// Of the documents in both.
    bytes: usize,
}

impl<'a> Taking<'a> {
    /// With a new slot, which begins there, in a server that had been given `seen`.
    pub(super) fn new(
        dataset: &'a DatasetHandle,
        (identity, begins): (ServerIdentity, Lsn),
        seen: Vector,
    ) -> Self {
        Self {
            dataset,
            at: CapturedAt {
                system: identity.system,
                timeline: identity.timeline,
                end: begins.0,
                part: TAKING_OVER,
                is_last: false,
            },
            seen,
            is_first: true,
            changes: Vec::new(),
            collisions: Collisions::default(),
            bytes: 0,
        }
    }

    /// Later tables: capture stands where it stood.
    pub(super) fn again(dataset: &'a DatasetHandle, at: CapturedAt, seen: &Vector) -> Self {
        Self {
            dataset,
            at,
            seen: seen.clone(),
            is_first: false,
            changes: Vec::new(),
            collisions: Collisions::default(),
            bytes: 0,
        }
    }

    /// The server shows this row so; `None` where it is gone.
    pub(super) async fn take(
        &mut self,
        row: RowName,
        document: Option<String>,
    ) -> Result<(), Trouble> {
        let bytes = size(document.as_deref());
        self.changes.push(Change {
            table: row.table,
            key: row.key,
            operation: match document {
                Some(document) => Operation::Put { document },
                None => Operation::Delete,
            },
        });
        self.grew(bytes).await
    }

    /// The same where it had not been given what the tables show of it, or nobody knows.
    pub(super) async fn take_blind(
        &mut self,
        row: RowName,
        document: Option<String>,
    ) -> Result<(), Trouble> {
        let place = u32::try_from(self.changes.len());
        self.collisions.blind.extend(place);
        self.take(row, document).await
    }

    /// The server shows this row so, and what the tables show was chosen.
    pub(super) async fn give_up(
        &mut self,
        row: RowName,
        document: Option<String>,
    ) -> Result<(), Trouble> {
        let bytes = size(document.as_deref());
        self.collisions.chosen.push(Chosen {
            row,
            document,
            stands: false,
        });
        self.grew(bytes).await
    }

    /// There is a row more, of so many bytes.
    async fn grew(&mut self, bytes: usize) -> Result<(), Trouble> {
        self.bytes += bytes;
        let rows = self.changes.len() + self.collisions.chosen.len();
        if rows >= ROWS_MAX || self.bytes >= BYTES_MAX {
            self.put().await?;
        }
        Ok(())
    }

    /// What there is by now, all the same if that is nothing.
    pub(super) async fn put(&mut self) -> Result<(), Trouble> {
        self.bytes = 0;
        let transaction = CapturedTransaction {
            at: self.at,
            seen: self.seen.clone(),
            changes: std::mem::take(&mut self.changes),
            collisions: std::mem::take(&mut self.collisions),
        };
        self.dataset.capture(vec![transaction]).await?;
        self.at.part += u32::from(self.is_first);
        Ok(())
    }

    /// What is left.
    pub(super) async fn rest(&mut self) -> Result<(), Trouble> {
        if self.changes.is_empty() && self.collisions.is_empty() {
            return Ok(());
        }
        self.put().await
    }

    /// What is left, and that it is all. Says from where on to capture, and what had been given.
    pub(super) async fn finish(mut self) -> Result<(CapturedAt, Vector), Trouble> {
        self.at.is_last = true;
        self.put().await?;
        let at = CapturedAt {
            part: self.at.part - 1,
            ..self.at
        };
        Ok((at, self.seen))
    }
}

fn size(document: Option<&str>) -> usize {
    document.map_or(0, str::len)
}
