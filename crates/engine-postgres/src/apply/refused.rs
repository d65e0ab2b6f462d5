//! Which rows of a batch the server refuses, found by halving.
//!
//! First those whose texts are no values here (an enum's label that is missing, a text that the
//! server's encoding lacks, a domain that says no): nothing can be asked about these, so they come
//! before all else. Then those that the server doesn't let go (a table that doesn't replicate refers to
//! them, a trigger says no), and those that can't be written even by themselves; and where each can,
//! those that a constraint refuses which would be checked only at the end.

use super::Applier;
use super::error::{ApplyError, Refusal};
use super::plan::Plan;
use super::rows::{self, Rows};
use super::sql;
use crate::projection::Projected;
use std::collections::BTreeMap;

/// When constraints that can wait are checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// At the end, which is not reached here.
    Late,
    /// With each statement.
    AtOnce,
}

/// A row that is refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// The server's words.
    pub(super) reason: String,
    /// Whether it is there, and doesn't go.
    pub(super) stays: bool,
}

/// Rows that are refused, by number.
pub(super) type Found = BTreeMap<usize, Refused>;

impl Applier {
    /// The rows that are refused whatever else is there, beside those that are known. Nothing is
    /// written.
    pub(super) async fn find_refused(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        refused: &Found,
    ) -> Result<Found, ApplyError> {
        let found = self.search(projected, rows, refused).await;
        self.roll_back().await?;
        match found {
            Ok(found) => Ok(found),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Locked | Refusal::Violation { .. }) => Ok(BTreeMap::new()),
        }
    }

    async fn search(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        refused: &Found,
    ) -> Result<Found, Refusal> {
        self.begin().await?;
        let unfit = self.unfit(rows, refused).await?;
        if !unfit.is_empty() {
            return Ok(unfit);
        }
        let Ok(plan) = self.plan(rows, refused).await? else {
            return Ok(BTreeMap::new());
        };
        for checked in [Checked::Late, Checked::AtOnce] {
            self.client.batch_execute("SAVEPOINT search").await?;
            let mut found = self.undeletable(projected, rows, &plan, checked).await?;
            if found.is_empty() {
                found = self.unwritable(projected, rows, &plan, checked).await?;
            }
            if !found.is_empty() {
                return Ok(found);
            }
            self.client
                .batch_execute("ROLLBACK TO search; RELEASE search")
                .await?;
        }
        Ok(BTreeMap::new())
    }

    /// Rows with texts that are no values of their columns' types.
    async fn unfit(&mut self, rows: &Rows, refused: &Found) -> Result<Found, Refusal> {
        let mut found = Found::new();
        for table in 0..self.tables.len() {
            let known = |number: &&usize| !refused.contains_key(*number);
            let all: Vec<usize> = rows.of_table(table).iter().filter(known).copied().collect();
            let coming: Vec<usize> = all
                .iter()
                .copied()
                .filter(|number| rows.get(*number).values.is_some())
                .collect();
            let width = self.tables[table].columns.len();
            for (is_key, numbers) in [(true, all), (false, coming)] {
                let text = sql::fits(&self.tables[table], is_key);
                let mut parts = Parts::of(numbers);
                while let Some(part) = self.begun(&mut parts).await? {
                    let columns = if is_key {
                        rows.keys(&part)
                    } else {
                        rows.values(&part, 0..width)
                    };
                    let tried = match self.prepared(&text).await {
                        Ok(statement) => {
                            let params = rows::params(&columns);
                            self.client.query(&statement, &params).await
                        }
                        Err(error) => Err(error),
                    };
                    let tried = tried.map(|_| ()).map_err(Refusal::from);
                    self.ended(tried, part, (&mut parts, &mut found), false)
                        .await?;
                }
            }
        }
        Ok(found)
    }

    /// Rows that don't go.
    async fn undeletable(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        plan: &Plan,
        checked: Checked,
    ) -> Result<Found, Refusal> {
        let mut found = Found::new();
        let children_first = self.constraints.parents_first.clone().into_iter().rev();
        for table in children_first {
            let mut parts = Parts::of_many(self.leaving(rows, plan, table));
            let mut stay = Found::new();
            loop {
                let before = std::mem::take(&mut stay).len();
                while let Some(part) = self.begun(&mut parts).await? {
                    let deleted = self.delete_of(projected.horizon, rows, table, &part).await;
                    let tried = self.checked(deleted.map(|_| ()), checked).await;
                    self.ended(tried, part, (&mut parts, &mut stay), true)
                        .await?;
                }
                if stay.is_empty() || stay.len() == before {
                    break;
                }
                // What was in its way may be gone by now, where a table refers to itself.
                parts = Parts::of_many(stay.keys().map(|number| vec![*number]).collect());
            }
            found.extend(stay);
        }
        Ok(found)
    }

    /// Rows that can't be written even by themselves.
    async fn unwritable(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        plan: &Plan,
        checked: Checked,
    ) -> Result<Found, Refusal> {
        let mut found = Found::new();
        for table in self.constraints.parents_first.clone() {
            let mut parts = Parts::of_many(self.chunks(rows, plan, table));
            while let Some(part) = self.begun(&mut parts).await? {
                let horizon = projected.horizon;
                let written = self.upsert(horizon, rows, plan, table, &part).await;
                let tried = self.checked(written.map(|_| ()), checked).await;
                self.ended(tried, part, (&mut parts, &mut found), false)
                    .await?;
            }
        }
        Ok(found)
    }

    /// What was tried, with what would be checked only at the end.
    async fn checked(
        &mut self,
        tried: Result<(), Refusal>,
        checked: Checked,
    ) -> Result<(), Refusal> {
        tried?;
        if checked == Checked::AtOnce {
            let check = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED";
            self.client.batch_execute(check).await?;
        }
        Ok(())
    }

    /// The next part, which can be taken back alone.
    async fn begun(&mut self, parts: &mut Parts) -> Result<Option<Vec<usize>>, Refusal> {
        let part = parts.next();
        if part.is_some() {
            self.client.batch_execute("SAVEPOINT part").await?;
        }
        Ok(part)
    }

    /// Keeps what a part did, or takes it back and has its halves tried.
    async fn ended(
        &mut self,
        tried: Result<(), Refusal>,
        part: Vec<usize>,
        (parts, found): (&mut Parts, &mut Found),
        stays: bool,
    ) -> Result<(), Refusal> {
        let reason = match tried {
            Ok(()) => {
                self.client.batch_execute("RELEASE part").await?;
                return Ok(());
            }
            Err(Refusal::Violation { reason }) => reason,
            Err(refusal) => return Err(refusal),
        };
        self.client
            .batch_execute("ROLLBACK TO part; RELEASE part")
            .await?;
        match part.as_slice() {
            [number] => drop(found.insert(*number, Refused { reason, stays })),
            _ => parts.halve(&part),
        }
        Ok(())
    }
}

/// Rows that are tried together.
struct Parts(Vec<Vec<usize>>);

impl Parts {
    fn of(numbers: Vec<usize>) -> Self {
        Self::of_many(vec![numbers])
    }

    fn of_many(mut parts: Vec<Vec<usize>>) -> Self {
        parts.retain(|part| !part.is_empty());
        parts.reverse();
        Self(parts)
    }

    fn next(&mut self) -> Option<Vec<usize>> {
        self.0.pop()
    }

    fn halve(&mut self, part: &[usize]) {
        let (one, other) = part.split_at(part.len() / 2);
        self.0.push(other.to_vec());
        self.0.push(one.to_vec());
    }
}
