//! Rows on their way from the server into the log, other than through the slot.

use super::overtaken::{Blind, Overtaken};
use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle, TablesSnapshot};
use meridian_engine_postgres::meeting::TAKING_OVER;
use meridian_engine_postgres::{Lsn, ServerIdentity};
use meridian_model::{CapturedAt, Change, Operation, RowName, Vector};

/// Rows of one transaction while a server's rows are taken over.
const ROWS_MAX: usize = 500;

/// Takes rows over: transactions of this region that say what the server has.
pub(super) struct Taking<'a> {
    dataset: &'a DatasetHandle,
    at: CapturedAt,
    seen: Vector,
    /// Whether the parts are told apart, so that taking over can be seen to be unfinished.
    is_first: bool,
    rows: Vec<(RowName, Option<String>)>,
    overtaken: Overtaken,
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
            rows: Vec::new(),
            overtaken: Overtaken::default(),
        }
    }

    /// Later tables: capture stands where it stood.
    pub(super) fn again(dataset: &'a DatasetHandle, at: CapturedAt, seen: &Vector) -> Self {
        Self {
            dataset,
            at,
            seen: seen.clone(),
            is_first: false,
            rows: Vec::new(),
            overtaken: Overtaken::default(),
        }
    }

    /// The server shows this row so; `None` where it is gone.
    pub(super) async fn take(
        &mut self,
        row: RowName,
        document: Option<String>,
    ) -> Result<(), Trouble> {
        self.rows.push((row, document));
        if self.rows.len() >= ROWS_MAX {
            let rows = std::mem::take(&mut self.rows);
            self.put(rows).await?;
        }
        Ok(())
    }

    /// The server shows this row so, and had not been given what `tables` show of it.
    pub(super) async fn take_blind(
        &mut self,
        tables: &TablesSnapshot,
        (row, document): (RowName, Option<String>),
    ) -> Result<(), Trouble> {
        let blind = Blind {
            row: row.clone(),
            seen: self.seen.clone(),
        };
        let before = (self.dataset.origin(), tables);
        self.overtaken.expect(before, blind)?;
        self.take(row, document).await
    }

    async fn put(&mut self, rows: Vec<(RowName, Option<String>)>) -> Result<(), Trouble> {
        let changes = rows.into_iter().map(|(row, document)| Change {
            table: row.table,
            key: row.key,
            operation: match document {
                Some(document) => Operation::Put { document },
                None => Operation::Delete,
            },
        });
        let transaction = CapturedTransaction {
            at: self.at,
            seen: self.seen.clone(),
            changes: changes.collect(),
        };
        self.dataset.capture(vec![transaction]).await?;
        self.overtaken.list(self.dataset)?;
        self.at.part += u32::from(self.is_first);
        Ok(())
    }

    /// What is left.
    pub(super) async fn rest(mut self) -> Result<(), Trouble> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        self.put(rows).await
    }

    /// What is left, and that it is all. Says from where on to capture, and what had been given.
    pub(super) async fn finish(mut self) -> Result<(CapturedAt, Vector), Trouble> {
        let rows = std::mem::take(&mut self.rows);
        self.at.is_last = true;
        self.put(rows).await?;
        let at = CapturedAt {
            part: self.at.part - 1,
            ..self.at
        };
        Ok((at, self.seen))
    }
}
