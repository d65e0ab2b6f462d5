//! Which rows of a batch the server refuses, found by halving.

use super::Applier;
use super::error::{ApplyError, Refusal};
use super::rows::Rows;
use crate::projection::Projected;
use std::collections::BTreeMap;

impl Applier {
    /// The rows that can't be written even by themselves, with the server's words. Nothing is
    /// written.
    pub(super) async fn find_refused(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        refused: &BTreeMap<usize, String>,
    ) -> Result<BTreeMap<usize, String>, ApplyError> {
        let found = self.halve(projected, rows, refused).await;
        self.roll_back().await?;
        match found {
            Ok(found) => Ok(found),
            Err(Refusal::Failed(error)) => Err(error),
            Err(Refusal::Locked | Refusal::Violation { .. }) => Ok(BTreeMap::new()),
        }
    }

    async fn halve(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        refused: &BTreeMap<usize, String>,
    ) -> Result<BTreeMap<usize, String>, Refusal> {
        let mut found = BTreeMap::new();
        self.begin().await?;
        let Ok(plan) = self.plan(rows, refused).await? else {
            return Ok(found);
        };
        self.delete_rows(projected.horizon, rows, &plan).await?;
        for table in self.constraints.parents_first.clone() {
            let mut parts = self.chunks(rows, &plan, table);
            parts.reverse();
            while let Some(part) = parts.pop() {
                self.client.batch_execute("SAVEPOINT part").await?;
                let tried = self
                    .upsert(projected.horizon, rows, &plan, table, &part)
                    .await;
                let reason = match tried {
                    Ok(_) => {
                        self.client.batch_execute("RELEASE part").await?;
                        continue;
                    }
                    Err(Refusal::Violation { reason }) => reason,
                    Err(refusal) => return Err(refusal),
                };
                self.client
                    .batch_execute("ROLLBACK TO part; RELEASE part")
                    .await?;
                match part.as_slice() {
                    [number] => {
                        found.insert(*number, reason);
                    }
                    part => {
                        let (one, other) = part.split_at(part.len() / 2);
                        parts.push(other.to_vec());
                        parts.push(one.to_vec());
                    }
                }
            }
        }
        Ok(found)
    }
}
