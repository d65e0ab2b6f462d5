//! The statements of a transaction that write rows, and the account of what they did.

use super::error::{Refusal, xid};
use super::plan::Plan;
use super::rows::{self, Columns, Rows};
use super::{Applier, session, sql};
use crate::Xid;
use crate::projection::Outcome;
use std::collections::BTreeSet;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;

/// So many rows go into one statement.
const CHUNK_ROWS: usize = 5_000;
/// Up to so many rows are updated and inserted in one turn on the network: what isn't needed of it
/// costs less than a second turn.
const TOGETHER_MAX: usize = 100;

/// Rows that are in a state nobody knows, with their writers.
pub(super) type Unsure = Vec<(usize, Option<Xid>)>;

impl Applier {
    /// A statement, prepared once.
    pub(super) async fn prepared(
        &mut self,
        text: &str,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Deletes children first and writes parents first; [`Outcome::Unsure`] if rows are in an
    /// unknown state.
    pub(super) async fn write_rows(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        plan: &Plan,
    ) -> Result<Option<Outcome>, Refusal> {
        let mut unsure = self.delete_rows(horizon, rows, plan).await?;
        for table in self.constraints.parents_first.clone() {
            for chunk in self.chunks(rows, plan, table) {
                match self.upsert(horizon, rows, plan, table, &chunk).await {
                    Ok(more) => unsure.extend(more),
                    // What is missing because of them isn't worth more than them.
                    Err(Refusal::Violation { .. }) if !unsure.is_empty() => {
                        return self.unsure(rows, unsure).await.map(Some);
                    }
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        if unsure.is_empty() {
            return Ok(None);
        }
        self.unsure(rows, unsure).await.map(Some)
    }

    /// The rows that come, in the order of the keys. A table that refers to itself is written in one
    /// statement, so that its rows may come in any order.
    pub(super) fn chunks(&self, rows: &Rows, plan: &Plan, table: usize) -> Vec<Vec<usize>> {
        let own = rows.of_table(table).iter().copied();
        self.divided(table, own.filter(|number| plan.comes(*number)).collect())
    }

    fn divided(&self, table: usize, numbers: Vec<usize>) -> Vec<Vec<usize>> {
        let size = if self.refers_to_itself(table) {
            numbers.len().max(1)
        } else {
            CHUNK_ROWS
        };
        numbers.chunks(size).map(<[usize]>::to_vec).collect()
    }

    fn refers_to_itself(&self, table: usize) -> bool {
        let table = &self.tables[table];
        table
            .references
            .iter()
            .any(|reference| reference.parent == table.name)
    }

    /// Rolls back and says what was found, and a WAL position read after it.
    async fn unsure(&mut self, rows: &Rows, unsure: Unsure) -> Result<Outcome, Refusal> {
        if self.has_large {
            // What is written stays, and so do these rows until capture has come by.
            self.is_holding = true;
            let numbers = unsure.into_iter().map(|(number, _)| number);
            let names: Vec<_> = numbers
                .map(|number| rows.get(number).name.clone())
                .collect();
            let outcome = self.lock(&names).await?;
            self.is_holding = true;
            return Ok(outcome);
        }
        self.roll_back().await?;
        let read_at = session::wal_position(&self.client).await?;
        let found = unsure
            .into_iter()
            .map(|(number, writer)| (rows.get(number).name.clone(), writer))
            .collect();
        Ok(Outcome::Unsure { found, read_at })
    }

    pub(super) async fn delete_rows(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        plan: &Plan,
    ) -> Result<Unsure, Refusal> {
        let mut unsure = Vec::new();
        for table in self.constraints.parents_first.clone().into_iter().rev() {
            for chunk in self.leaving(rows, plan, table) {
                unsure.extend(self.delete_of(horizon, rows, table, &chunk).await?);
            }
        }
        Ok(unsure)
    }

    /// The rows that leave. Those of a table that refers to itself go in one statement.
    pub(super) fn leaving(&self, rows: &Rows, plan: &Plan, table: usize) -> Vec<Vec<usize>> {
        let own = rows.of_table(table).iter().copied();
        self.divided(table, own.filter(|number| plan.leaves(*number)).collect())
    }

    /// Deletes rows of a table; those that are in an unknown state.
    pub(super) async fn delete_of(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        table: usize,
        chunk: &[usize],
    ) -> Result<Unsure, Refusal> {
        let mut columns = rows.keys(chunk);
        columns.push(rows.known(chunk));
        let text = sql::delete(&self.tables[table]);
        let left = self.numbers(&text, &columns, Some(horizon), chunk).await?;
        let stays = without(chunk, &left);
        let there = self.writers(rows, table, &stays).await?;
        let is_there = |(_, writer): &(usize, Option<Xid>)| writer.is_some();
        Ok(there.into_iter().filter(is_there).collect())
    }

    /// Brings rows of a table in; those that are in an unknown state.
    pub(super) async fn upsert(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        plan: &Plan,
        table: usize,
        chunk: &[usize],
    ) -> Result<Unsure, Refusal> {
        // New rows first where a row that changes may refer to one.
        let missing = if self.refers_to_itself(table) {
            let missing = self.insert(rows, table, chunk).await?;
            self.update(horizon, rows, table, &missing).await?
        } else {
            let (fresh, others): (Vec<usize>, Vec<usize>) =
                chunk.iter().partition(|number| plan.is_displaced(**number));
            if fresh.is_empty() && others.len() <= TOGETHER_MAX {
                self.update_and_insert(horizon, rows, table, &others)
                    .await?
            } else {
                let mut missing = self.update(horizon, rows, table, &others).await?;
                missing.extend(fresh);
                self.insert(rows, table, &missing).await?
            }
        };
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let unknown = self.different(rows, table, missing).await?;
        self.writers(rows, table, &unknown).await
    }

    /// Those of the rows that aren't already what they should be.
    async fn different(
        &mut self,
        rows: &Rows,
        table: usize,
        numbers: Vec<usize>,
    ) -> Result<Vec<usize>, Refusal> {
        if !self.tables[table].is_told_by_values() {
            return Ok(numbers);
        }
        let width = self.tables[table].columns.len();
        let same = sql::same(&self.tables[table]);
        let columns = rows.values(&numbers, 0..width);
        let same = self.numbers(&same, &columns, None, &numbers).await?;
        Ok(without(&numbers, &same))
    }

    /// Changes rows that are there in a known state; the others.
    async fn update(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        table: usize,
        numbers: &[usize],
    ) -> Result<Vec<usize>, Refusal> {
        let Some(text) = sql::update(&self.tables[table]).filter(|_| !numbers.is_empty()) else {
            return Ok(numbers.to_vec());
        };
        let width = self.tables[table].columns.len();
        let mut columns = rows.values(numbers, 0..width);
        columns.push(rows.known(numbers));
        let update = self.prepared(&text).await?;
        let Xid(horizon) = horizon;
        let horizon = horizon.to_string();
        let mut params = rows::params(&columns);
        params.push(&horizon);
        let count = self.client.execute(&update, &params).await?;
        self.rest(rows, table, numbers, count).await
    }

    /// Both at once: an insert leaves out what the update before it found.
    async fn update_and_insert(
        &mut self,
        horizon: Xid,
        rows: &Rows,
        table: usize,
        numbers: &[usize],
    ) -> Result<Vec<usize>, Refusal> {
        let Some(text) = sql::update(&self.tables[table]) else {
            return self.insert(rows, table, numbers).await;
        };
        let width = self.tables[table].columns.len();
        let mut columns = rows.values(numbers, 0..width);
        let update = self.prepared(&text).await?;
        let insert = self.prepared(&sql::insert(&self.tables[table])).await?;
        let Xid(horizon) = horizon;
        let horizon = horizon.to_string();
        columns.push(rows.known(numbers));
        let mut to_update = rows::params(&columns);
        let to_insert = to_update[..width].to_vec();
        to_update.push(&horizon);
        let (updated, inserted) = tokio::join!(
            biased;
            self.client.execute(&update, &to_update),
            self.client.execute(&insert, &to_insert),
        );
        let count = updated? + inserted?;
        self.rest(rows, table, numbers, count).await
    }

    /// Those of the rows that this transaction has not written, if it wrote `count` of them.
    async fn rest(
        &mut self,
        rows: &Rows,
        table: usize,
        numbers: &[usize],
        count: u64,
    ) -> Result<Vec<usize>, Refusal> {
        match usize::try_from(count) {
            Ok(0) => return Ok(numbers.to_vec()),
            Ok(count) if count == numbers.len() => return Ok(Vec::new()),
            Ok(_) | Err(_) => {}
        }
        let text = sql::written(&self.tables[table]);
        let written = self
            .numbers(&text, &rows.keys(numbers), None, numbers)
            .await?;
        Ok(without(numbers, &written))
    }

    /// Inserts rows whose keys aren't there; the others.
    async fn insert(
        &mut self,
        rows: &Rows,
        table: usize,
        numbers: &[usize],
    ) -> Result<Vec<usize>, Refusal> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let width = self.tables[table].columns.len();
        let insert = self.prepared(&sql::insert(&self.tables[table])).await?;
        let columns = rows.values(numbers, 0..width);
        let count = self
            .client
            .execute(&insert, &rows::params(&columns))
            .await?;
        self.rest(rows, table, numbers, count).await
    }

    /// The rows' writers; `None` where there is no row.
    async fn writers(
        &mut self,
        rows: &Rows,
        table: usize,
        numbers: &[usize],
    ) -> Result<Unsure, Refusal> {
        let mut writers: Unsure = numbers.iter().map(|number| (*number, None)).collect();
        if numbers.is_empty() {
            return Ok(writers);
        }
        let found = self.prepared(&sql::found(&self.tables[table])).await?;
        let keys = rows.keys(numbers);
        for row in self.client.query(&found, &rows::params(&keys)).await? {
            writers[rows::ordinal(&row)].1 = Some(xid(row.get(1))?);
        }
        Ok(writers)
    }

    /// The rows whose ordinals a statement returns.
    pub(super) async fn numbers(
        &mut self,
        text: &str,
        columns: &Columns<'_>,
        horizon: Option<Xid>,
        numbers: &[usize],
    ) -> Result<BTreeSet<usize>, Refusal> {
        let statement = self.prepared(text).await?;
        let horizon = horizon.map(|Xid(xid)| xid.to_string());
        let mut params: Vec<&(dyn ToSql + Sync)> = rows::params(columns);
        if let Some(horizon) = &horizon {
            params.push(horizon);
        }
        let answer = self.client.query(&statement, &params).await?;
        Ok(answer
            .iter()
            .map(|row| numbers[rows::ordinal(row)])
            .collect())
    }
}

pub(super) fn without(numbers: &[usize], done: &BTreeSet<usize>) -> Vec<usize> {
    numbers
        .iter()
        .copied()
        .filter(|number| !done.contains(number))
        .collect()
}
