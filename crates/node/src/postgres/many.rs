//! Very many dirty rows at once: kept in files, and written into one transaction of the server.
//!
//! ```text
//!  log ──rows touched──▶ aside (files) ──chunks, with what one snapshot shows──▶ open transaction
//!                           │                                                          │
//!                           └── rows touched meanwhile, or in no known state ──▶ batch ┴▶ COMMIT
//! ```
//!
//! So readers of the server see all of a large transaction or nothing, and memory is that of a chunk.
//! Whatever rolls the transaction back has all of it written again. Where constraints make rows
//! depend on each other, all of them are planned together, in memory: that is the one case which
//! takes memory for each row.

use super::aside::Rest;
use super::beside::in_place;
use super::conductor::{Conductor, Writing};
use super::trouble::Trouble;
use crate::dataset::TablesSnapshot;
use meridian_engine_postgres::apply::Large as Many;
use meridian_engine_postgres::projection::Outcome;
use meridian_model::Position;

/// Beyond this many rows, dirty rows are kept in files.
const ROWS_IN_MEMORY_MAX: usize = 20_000;

/// What became of what was on its way into the server.
pub(super) enum Landed {
    /// Of a batch.
    Batch(Outcome),
    /// Of very many rows.
    Many(Many, Rest),
}

impl Conductor<'_> {
    pub(super) fn has_dirty(&self) -> bool {
        // What is written already waits for the batch that commits it.
        self.projection.dirty_rows() > 0
            || self.aside.rows() > 0
            || self.projection.is_writing_large()
    }

    /// Notes the rows that the log touched up to a position.
    pub(super) fn follow(&mut self, to: Position) -> Result<(), Trouble> {
        in_place(self.follower.is_far_from(to), || self.follow_here(to))
    }

    fn follow_here(&mut self, to: Position) -> Result<(), Trouble> {
        let (schema, projection, aside) = (&self.schema, &mut self.projection, &mut self.aside);
        let is_planning = self.is_planning_many;
        self.follower.follow(to, |row| {
            if schema.named(&row.table).is_none() {
                return schema.must_have(&row.table);
            }
            let is_many = aside.rows() > 0 || projection.dirty_rows() >= ROWS_IN_MEMORY_MAX;
            if is_many && !is_planning && projection.touched_elsewhere(&row) {
                return aside.put(row);
            }
            projection.touched([row]);
            Ok(())
        })?;
        // What came back from rows that are written is for the batch that commits them.
        if self.projection.is_writing_large() {
            return Ok(());
        }
        self.relieve()
    }

    /// Puts dirty rows into files where they are many.
    pub(super) fn relieve(&mut self) -> Result<(), Trouble> {
        let is_few = self.projection.dirty_rows() < ROWS_IN_MEMORY_MAX;
        if is_few || self.is_planning_many || self.projection.is_writing() {
            return Ok(());
        }
        for row in self.projection.take_dirty() {
            self.aside.put(row)?;
        }
        Ok(())
    }

    /// Begins to write the rows in files.
    pub(super) fn begin_many(
        &mut self,
        shown: TablesSnapshot,
    ) -> Result<Option<(u64, Writing)>, Trouble> {
        let Some((horizon, known)) = self.projection.begin_large() else {
            return Ok(None);
        };
        let Some(mut applier) = self.applier.take() else {
            return Err(Trouble::passing("the connection that writes is gone"));
        };
        let mut rest = self.aside.rest(shown)?;
        let writing: Writing = Box::pin(async move {
            let many = applier.write_large(&mut rest, horizon, known).await;
            (applier, many.map(|many| Landed::Many(many, rest)))
        });
        Ok(Some((0, writing)))
    }

    pub(super) async fn many_ended(&mut self, many: Many, rest: &Rest) -> Result<(), Trouble> {
        match many {
            Many::Written {
                rows,
                found,
                busy,
                read_at,
            } => {
                self.rows_writing += rows;
                self.aside.written(rest);
                if !found.is_empty() {
                    // Capture has to come by what was found.
                    self.flushes.wanted();
                }
                self.projection.large_written(found, busy, read_at);
            }
            Many::Violation { .. } => {
                self.projection.large_failed();
                self.plan_in_memory()?;
            }
            Many::Locked => {
                self.projection.large_failed();
                self.many_again();
                self.pause();
                let reason = "rows that others hold locks on wait to be written".to_owned();
                self.status.change(|status| status.reason = Some(reason));
            }
            Many::Unreadable { reason } => {
                let hint = "the dataset's tables can't be read; is the disk sound?";
                return Err(Trouble::lasting(reason, hint));
            }
        }
        Ok(())
    }

    /// What becomes of very many rows with the batch that was to commit them.
    pub(super) fn after_many(&mut self, outcome: &Outcome) -> Result<(), Trouble> {
        if !self.projection.is_writing_large() {
            return Ok(());
        }
        match outcome {
            Outcome::Committed { .. } => {
                self.aside.clear();
                Ok(())
            }
            Outcome::Unsure { .. } => Ok(()),
            Outcome::Violation { .. } | Outcome::Involved { .. } => self.plan_in_memory(),
            Outcome::Locked | Outcome::Unknown => {
                self.many_again();
                Ok(())
            }
        }
    }

    fn many_again(&mut self) {
        self.rows_writing = 0;
        self.aside.nothing_written();
    }

    fn plan_in_memory(&mut self) -> Result<(), Trouble> {
        self.rows_writing = 0;
        let rows = self.aside.take()?;
        tracing::info!(
            rows = rows.len(),
            "rows that depend on each other are planned together"
        );
        self.projection.touched(rows);
        self.is_planning_many = true;
        Ok(())
    }
}
