//! Transactions of the server that are too large for memory: told part by part.
//!
//! Each part goes into the log before the next is read, between whatever else the conductor does;
//! no batch is begun meanwhile. The parts of a transaction that this region's log could not keep
//! until the last has come (it takes more than a share of the log's budget) are marked so that they
//! show one by one, everywhere.

use super::beside::in_place;
use super::captured::{Before, Telling, spool};
use super::conductor::Conductor;
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, TablesSnapshot};
use meridian_engine_postgres::capture::{CapturedTransaction, SpooledChunks};
use std::iter::Peekable;
use std::time::{Duration, Instant};

/// A transaction may take so much of the log's budget: one part in this many.
const BUDGET_SHARE: u64 = 4;

/// How long tables may take to come to the log's end.
const TABLES_PATIENCE: Duration = Duration::from_mins(2);

/// A large transaction that is being told.
pub(super) struct Large {
    telling: Telling,
    chunks: Peekable<SpooledChunks>,
}

impl Large {
    pub(super) fn new(
        transaction: &CapturedTransaction,
        chunks: SpooledChunks,
        before: Before,
        log_bytes_max: u64,
    ) -> Self {
        let bytes = transaction.changes.spooled_bytes().unwrap_or_default();
        let is_held = bytes <= log_bytes_max / BUDGET_SHARE;
        if !is_held && transaction.tag.is_none() {
            tracing::warn!(
                bytes,
                log_bytes_max,
                "a transaction is too large for the log: other regions will see it part by part"
            );
        }
        Self {
            telling: Telling::of(transaction, is_held, before),
            chunks: chunks.peekable(),
        }
    }
}

impl Conductor<'_> {
    /// Tells the next part of the large transaction that is under way, or that there is no more.
    pub(super) async fn tell_part(&mut self) -> Result<(), Trouble> {
        let Some(mut large) = self.large.take() else {
            return Ok(());
        };
        let (schema, projection) = (&self.schema, &mut self.projection);
        let Some(chunk) = large.chunks.next() else {
            let rest = self.reading.end(large.telling, projection);
            self.log(rest.into_iter().collect()).await?;
            self.confirm();
            return Ok(());
        };
        let chunk = chunk.map_err(spool)?;
        let (reading, telling) = (&mut self.reading, &mut large.telling);
        let part = in_place(true, || {
            // The next chunk is read for that.
            let is_last = large.chunks.peek().is_none();
            reading.part(telling, (chunk, is_last), schema, projection)
        })?;
        self.large = Some(large);
        self.relieve()?;
        self.log(part.into_iter().collect()).await
    }
}

/// The tables with all that the log has.
pub(super) async fn whole_tables(dataset: &DatasetHandle) -> Result<TablesSnapshot, Trouble> {
    let until = Instant::now() + TABLES_PATIENCE;
    while Instant::now() < until {
        if let Some((tables, _)) = dataset.view().await {
            return Ok(tables);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Trouble::passing(
        "the dataset's tables don't follow its log",
    ))
}
