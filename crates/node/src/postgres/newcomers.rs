//! Tables that replicate only since now, or again: their rows are held against the dataset's tables.

use super::PostgresConfig;
use super::attach::{View, see, view};
use super::checks::had;
use super::compare::{Comparison, unreadable};
use super::control::{Choice, Side};
use super::noted;
use super::question;
use super::returned::{Fate, Seen};
use super::schema::Schema;
use super::status::{PostgresState, SharedStatus};
use super::taken::Taken;
use super::taking::Taking;
use super::trouble::Trouble;
use super::ungiven::Lacking;
use crate::dataset::DatasetHandle;
use meridian_engine_postgres::Xid;
use meridian_engine_postgres::apply::parked;
use meridian_engine_postgres::catalog::Table;
use meridian_model::{CapturedAt, Position, RowName, Vector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_postgres::Client;

/// Who meets.
pub(super) struct Newcomers<'a> {
    pub(super) config: &'a PostgresConfig,
    pub(super) dataset: &'a DatasetHandle,
    pub(super) schema: &'a Schema,
    pub(super) status: &'a SharedStatus,
    pub(super) taken: &'a Taken,
}

/// A row that both sides don't have alike.
struct Open {
    row: RowName,
    /// The server's.
    there: Option<There>,
    is_here: bool,
}

/// A row as the server has it.
struct There {
    document: String,
    /// Of its values.
    digest: u64,
    writer: Xid,
}

impl Newcomers<'_> {
    /// Takes over the rows of such tables. What is written to them meanwhile is in the stream as well,
    /// and comes after. Gives back the rows that are to be written into the server, with where the log
    /// ended then: what touched them may lie before where it is followed.
    pub(super) async fn take_over(
        &self,
        client: &Client,
        (at, seen): (CapturedAt, &Vector),
    ) -> Result<(Vec<Lacking>, Position), Trouble> {
        let is_new = |table: &&Arc<Table>| !self.taken.has(&table.name.to_string());
        let new: Vec<_> = self.schema.parents_first().filter(is_new).collect();
        if new.is_empty() {
            self.status.change(|status| status.differing.clear());
            return Ok((Vec::new(), Position(0)));
        }
        see(client, None).await?;
        let view = view(self.dataset).await?;
        let mut lacking = Vec::new();
        let mut open = Vec::new();
        for table in &new {
            self.collect(client, table, &view, (&mut open, &mut lacking))
                .await?;
        }
        let fates = self.fates(client, &view, seen, &open).await?;
        let choice = self.choice(&view, &open, &fates)?;
        if choice.is_some() {
            // It stood still for the answer, and does no more.
            self.status
                .change(|status| status.state = PostgresState::Attaching);
        }
        let mut taking = Taking::again(self.dataset, at, seen);
        let mut given_up = BTreeSet::new();
        for (open, fate) in open.into_iter().zip(fates) {
            let side = choice
                .as_ref()
                .and_then(|choice| choice.of(&open.row.table));
            let row = open.row;
            let there = open.there.map(|there| (there.document, there.writer));
            let (document, writer) = there.unzip();
            match (fate, side) {
                (Fate::Take, _) => taking.take(row, document).await?,
                (Fate::Ask, Some(Side::Server)) => taking.take_blind(row, document).await?,
                (Fate::Ask, _) => {
                    taking.give_up(row.clone(), document).await?;
                    given_up.insert(row.clone());
                    lacking.push(Lacking { row, writer });
                }
                (Fate::Write, _) => lacking.push(Lacking { row, writer }),
            }
        }
        // Rows that only the server has of tables that never replicated may be very many.
        for table in new.iter().filter(|table| !self.is_back(table)) {
            let mut comparison = Comparison::new(client, table, &view.tables);
            while let Some(chunk) = comparison.next().await? {
                for row in chunk.only_there {
                    taking.take(row.name, Some(row.document)).await?;
                }
            }
        }
        noted::give_up(self.dataset, &self.config.directory, given_up)?;
        taking.rest().await?;
        let from = self.dataset.log().end();
        if !lacking.is_empty() {
            // What is given from now on stands behind there.
            taking.put().await?;
        }
        client.batch_execute("COMMIT").await?;
        self.status.change(|status| status.differing.clear());
        Ok((lacking, from))
    }

    fn is_back(&self, table: &Table) -> bool {
        self.taken.had(&table.name.to_string())
    }

    async fn collect(
        &self,
        client: &Client,
        table: &Table,
        view: &View,
        (open, lacking): (&mut Vec<Open>, &mut Vec<Lacking>),
    ) -> Result<(), Trouble> {
        let is_back = self.is_back(table);
        let mut comparison = Comparison::new(client, table, &view.tables);
        while let Some(chunk) = comparison.next().await? {
            let only_there = chunk.only_there.into_iter().filter(|_| is_back);
            let there = only_there.map(|row| (row, false));
            let there = there.chain(chunk.different.into_iter().map(|row| (row, true)));
            open.extend(there.map(|(row, is_here)| Open {
                row: row.name,
                there: Some(There {
                    document: row.document,
                    digest: row.digest,
                    writer: row.writer,
                }),
                is_here,
            }));
            if !is_back || !comparison.has_rows() {
                // It is new, or was emptied to be filled.
                let rows = chunk.only_here.into_iter();
                lacking.extend(rows.map(|row| Lacking { row, writer: None }));
                continue;
            }
            open.extend(chunk.only_here.into_iter().map(|row| Open {
                row,
                there: None,
                is_here: true,
            }));
        }
        Ok(())
    }

    /// What becomes of each.
    async fn fates(
        &self,
        client: &Client,
        view: &View,
        seen: &Vector,
        open: &[Open],
    ) -> Result<Vec<Fate>, Trouble> {
        let mut given = seen.clone();
        // What it wrote itself it has.
        let own = self.dataset.origin();
        given.raise(own, view.applied.get(own));
        let states: BTreeMap<RowName, u64> = open
            .iter()
            .filter_map(|open| Some((open.row.clone(), open.there.as_ref()?.digest)))
            .collect();
        let older = had(self.dataset, self.schema, &states)?;
        let parked = match open.is_empty() {
            true => Vec::new(),
            false => parked(client, &self.config.dataset).await?,
        };
        let parked: BTreeSet<RowName> = parked.into_iter().map(|parked| parked.row).collect();
        let fates = open.iter().map(|open| {
            let seen = Seen {
                is_back: self.taken.had(&open.row.table),
                is_there: open.there.is_some(),
                is_here: open.is_here,
                merges: self.schema.merges(&open.row.table),
                is_older: older.contains(&open.row),
                is_parked: parked.contains(&open.row),
            };
            let copies = view.tables.look(std::slice::from_ref(&open.row));
            let copies = copies.map_err(unreadable)?;
            let last = copies.first().and_then(|copy| copy.holds.latest());
            Ok(seen.fate(&given, last))
        });
        fates.collect()
    }

    /// Which side is right about rows of which nothing tells; `None` where there is no such row.
    fn choice(
        &self,
        view: &View,
        open: &[Open],
        fates: &[Fate],
    ) -> Result<Option<Choice>, Trouble> {
        let mut asked = question::Open::default();
        for (Open { row, there, .. }, fate) in open.iter().zip(fates) {
            if *fate == Fate::Ask {
                let document = there.as_ref().map(|there| there.document.as_str());
                asked.add(&view.tables, row, document)?;
            }
        }
        let unread_by = self.dataset.status().choices_unread_by;
        let who = (self.status, self.schema);
        asked.answered(who, unread_by.as_ref(), |rows, first| {
            let reason = format!(
                "{rows} rows differ between a table that replicates since now and the other \
                 regions; the first is {first}"
            );
            let hint = format!("{}; the server keeps its WAL meanwhile", question::HINT);
            Trouble::asking(reason, &hint)
        })
    }
}
