//! Comparing a server, while it is written to, with the tables beside it; and mending what differs.
//!
//! The regions' tables are compared with each other by digests of key ranges (`meridian_replicate`'s
//! `compare`); each region holds its own server against its own tables, beside which it stands. So no
//! row goes over a link for it, and two servers that show what equal tables show are equal.
//!
//! ```text
//!  scan: the server's rows, page by page by key ─▶ is it as the tables have it?  ─┐
//!        the tables' rows, page by page ─▶ is it in the server?                  ─┤ candidates
//!                                                                                 ▼
//!  confirm: tables (version) · server (xmin, values) · WAL position · wait until capture has come by ·
//!           settled? · both again: nobody has written it meanwhile, and they differ ─▶ a difference
//! ```
//!
//! The scan reads what is being written, in snapshots of one page each, and so finds rows that are on
//! their way as well. A candidate counts only where both sides stayed as they were from before a WAL
//! position was read until after capture had passed it, and the projection has nothing to do with the
//! row in between: a write that capture sees would have changed the tables by then, and one of the
//! tables would have made the row dirty.
//!
//! What is found differing so, capture has missed, or the server has lost. Repair has such rows written
//! like any other (they become dirty). A row of the server that no entry of the log explains may be
//! somebody's write: it is shown, and written over only where a person says so.

mod background;
mod confirm;
mod report;
mod requests;
mod sources;

pub(crate) use background::compare_in_background;
pub(crate) use report::ServerIntegrity;
use report::{LISTED_MAX, RowSource, ServerReport};
pub(crate) use requests::{Comparison as ServerComparison, Comparisons};
pub(super) use sources::had;

use super::PostgresConfig;
use super::compare::unreadable;
use super::control::Side;
use super::schema::Schema;
use super::status::{PostgresState, SharedStatus};
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, describe};
use confirm::Confirmed;
use meridian_engine_postgres::catalog::Table;
use meridian_engine_postgres::document;
use meridian_engine_postgres::reading::Reader;
use meridian_engine_postgres::server::connect;
use meridian_model::RowName;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Rows that are read at once.
const PAGE_ROWS: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;
/// What is noted of rows goes into entries of about this size.
const ENTRY_BYTES: usize = 1 << 20;
/// Rows that differ are kept in memory up to so many. Beyond that they are mended before more are looked
/// for; where nothing is to be mended the comparison ends early.
const DIFFERING_MAX: usize = 100_000;

/// What to compare.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckOrder {
    /// These tables; all where none is named.
    pub(crate) tables: BTreeSet<String>,
    /// Whether what differs is mended where nothing can be lost by that.
    pub(crate) repair: bool,
    /// Which side is right about rows of which nobody knows where they come from.
    pub(crate) take: Option<Side>,
    /// How many rows a second at most.
    pub(crate) rows_per_second_max: Option<u64>,
}

/// A comparison under way.
pub(super) struct Check<'a> {
    dataset: &'a DatasetHandle,
    status: &'a SharedStatus,
    order: &'a CheckOrder,
    client: Client,
    schema: Schema,
    report: ServerReport,
    tell: &'a (dyn Fn(&ServerReport) + Send + Sync),
}

/// Compares the dataset's server with its tables; what is found so far is told to `tell`.
///
/// # Errors
/// [`Trouble`] when it can't be brought to its end.
pub(super) async fn check(
    (config, dataset, status): (&PostgresConfig, &DatasetHandle, &SharedStatus),
    order: &CheckOrder,
    tell: &(dyn Fn(&ServerReport) + Send + Sync),
) -> Result<ServerReport, Trouble> {
    must_run(status)?;
    let client = connect(&config.server, "compare").await?;
    let schema = Schema::load(&client, config).await?;
    let mut check = Check {
        dataset,
        status,
        order,
        client,
        schema,
        report: ServerReport::default(),
        tell,
    };
    check.run().await?;
    Ok(check.report)
}

/// While the two are not joined, everything written since differs.
fn must_run(status: &SharedStatus) -> Result<(), Trouble> {
    let now = status.now();
    if now.state == PostgresState::Running {
        return Ok(());
    }
    let (reason, hint) = match now.state {
        PostgresState::Detached => (
            "it is detached",
            Some("`meridian postgres attach` attaches it"),
        ),
        _ => ("it is about to be", None),
    };
    let reason = now.reason.as_deref().unwrap_or(reason);
    let trouble = Trouble::passing(format!("the region is not joined to its server: {reason}"));
    Err(Trouble {
        hint: now.hint.or_else(|| hint.map(str::to_owned)),
        ..trouble
    })
}

impl Check<'_> {
    async fn run(&mut self) -> Result<(), Trouble> {
        let tables: Vec<Arc<Table>> = self.schema.parents_first().cloned().collect();
        let is_wanted =
            |name: &str| self.order.tables.is_empty() || self.order.tables.contains(name);
        let here = self.dataset.tables().tables().map_err(unreadable)?;
        let elsewhere = here.iter().chain(&self.order.tables);
        let missing: BTreeSet<&String> = elsewhere
            .filter(|name| is_wanted(name) && self.schema.named(name).is_none())
            .filter(|name| !self.schema.is_gone(name))
            .collect();
        self.report.not_replicating = missing.into_iter().cloned().collect();
        let wanted: Vec<_> = tables
            .into_iter()
            .filter(|table| is_wanted(&table.name.to_string()))
            .collect();
        let mut confirmed = Vec::new();
        for table in &wanted {
            self.report.tables.insert(table.name.to_string(), 0);
            self.scan_server(table, &mut confirmed).await?;
            self.scan_tables(table, &mut confirmed).await?;
        }
        self.conclude(confirmed).await
    }

    /// The server's rows: are they as the tables have them?
    async fn scan_server(
        &mut self,
        table: &Table,
        confirmed: &mut Vec<Confirmed>,
    ) -> Result<(), Trouble> {
        let name = table.name.to_string();
        let mut after: Option<Vec<String>> = None;
        loop {
            let pace = Pace::start(self.order.rows_per_second_max);
            // In this order: what comes into the tables later is on its way to the server.
            let tables = self.dataset.tables().snapshot();
            let reader = Reader::new(&self.client, table).await?;
            let page = reader.page(after.as_deref(), PAGE_ROWS).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            let last = document::key(table, &last.values);
            let last = document::key_values(table, &last);
            after = Some(last.map_err(|error| Trouble::passing(describe(&error)))?);
            let mut candidates = Vec::new();
            for row in &page {
                let key = document::key(table, &row.values);
                let shown = tables.get(&name, &key).map_err(unreadable)?;
                let is_same = shown.is_some_and(|shown| {
                    document::values(table, &key, &shown.document).as_ref() == Ok(&row.values)
                });
                if !is_same {
                    let table = name.clone();
                    candidates.push(RowName { table, key });
                }
            }
            let rows = page.len();
            self.report.rows += rows as u64;
            *self.report.tables.entry(name.clone()).or_default() += rows as u64;
            self.confirm(table, candidates, confirmed).await?;
            (self.tell)(&self.report);
            if rows < PAGE_ROWS {
                return Ok(());
            }
            pace.keep(rows).await;
        }
    }

    /// The tables' rows: are they in the server?
    async fn scan_tables(
        &mut self,
        table: &Table,
        confirmed: &mut Vec<Confirmed>,
    ) -> Result<(), Trouble> {
        let name = table.name.to_string();
        let mut after: Option<String> = None;
        loop {
            let pace = Pace::start(self.order.rows_per_second_max);
            let page = self
                .dataset
                .tables()
                .snapshot()
                .page(&name, after.as_deref(), PAGE_ROWS, PAGE_BYTES)
                .map_err(unreadable)?;
            let keys: Vec<String> = page.rows.into_iter().map(|(key, _)| key).collect();
            let reader = Reader::new(&self.client, table).await?;
            let values = keys
                .iter()
                .filter_map(|key| document::key_values(table, key).ok());
            let values: Vec<_> = values.collect();
            let there = reader.by_key(&values).await?;
            let there: BTreeSet<String> = there
                .iter()
                .map(|row| document::key(table, &row.values))
                .collect();
            let rows = keys.len();
            let missing = keys.into_iter().filter(|key| !there.contains(key));
            let missing = missing.map(|key| RowName {
                table: name.clone(),
                key,
            });
            self.confirm(table, missing.collect(), confirmed).await?;
            (self.tell)(&self.report);
            let Some(next) = page.next else {
                return Ok(());
            };
            after = Some(next);
            pace.keep(rows).await;
        }
    }

    async fn confirm(
        &mut self,
        table: &Table,
        mut candidates: Vec<RowName>,
        confirmed: &mut Vec<Confirmed>,
    ) -> Result<(), Trouble> {
        let known: BTreeSet<&RowName> = confirmed.iter().map(|row| &row.name).collect();
        candidates.retain(|row| !known.contains(row));
        if candidates.is_empty() {
            return Ok(());
        }
        let found = confirm::confirm(self, table, candidates).await?;
        self.report.busy += found.busy;
        self.report.parked += found.parked;
        self.report.differing += found.differing.len() as u64;
        confirmed.extend(found.differing);
        if confirmed.len() <= DIFFERING_MAX {
            return Ok(());
        }
        if self.order.repair {
            // Rows before these, and tables that they refer to, have been looked at.
            return self.conclude(std::mem::take(confirmed)).await;
        }
        let hint = "--repair goes on, so many at a time; where the server's rows are all others', detach the \
                    region and attach it again";
        let reason = format!("more than {DIFFERING_MAX} rows differ");
        Err(Trouble::lasting(reason, hint))
    }

    /// Finds out where the server's rows come from, mends what may be mended, and lists the rest.
    async fn conclude(&mut self, confirmed: Vec<Confirmed>) -> Result<(), Trouble> {
        let found = sources::tell_apart(self.dataset, &self.schema, confirmed)?;
        let mut mended = BTreeSet::new();
        if self.order.repair {
            mended = self.mend(&found).await?;
        }
        for (row, source) in found {
            let is_mended = mended.contains(&row.name);
            self.report.mended += u64::from(is_mended);
            self.report.unknown += u64::from(source == RowSource::Unknown && !is_mended);
            if self.report.differences.len() < LISTED_MAX {
                let table = self.schema.named(&row.name.table);
                let difference = row.listed(table.map(AsRef::as_ref), source, is_mended);
                self.report.differences.push(difference);
            }
        }
        (self.tell)(&self.report);
        Ok(())
    }

    /// Has both sides of the rows listed as conflicts of which somebody chose one, before anything is
    /// written over.
    async fn note_choice(
        &self,
        table: &Table,
        found: &[(Confirmed, RowSource)],
    ) -> Result<(), Trouble> {
        let (name, mut rows) = (table.name.to_string(), found.iter());
        let Some(side) = self.order.take else {
            return Ok(());
        };
        let stands = side == Side::Server;
        if stands && self.schema.merges(&name) {
            return Ok(());
        }
        loop {
            let (mut chosen, mut bytes) = (Vec::new(), 0);
            while chosen.len() < PAGE_ROWS && bytes < ENTRY_BYTES {
                let Some((row, source)) = rows.next() else {
                    break;
                };
                if *source == RowSource::Unknown && row.name.table == name {
                    let row = row.chosen(table, stands);
                    bytes += row.document.as_ref().map_or(0, String::len);
                    chosen.push(row);
                }
            }
            if chosen.is_empty() {
                return Ok(());
            }
            confirm::noted(self, chosen).await?;
        }
    }

    /// Has rows written; those that don't differ any more.
    async fn mend(
        &mut self,
        found: &[(Confirmed, RowSource)],
    ) -> Result<BTreeSet<RowName>, Trouble> {
        let mut mended = BTreeSet::new();
        let tables: Vec<Arc<Table>> = self.schema.parents_first().cloned().collect();
        // For all of them first: rows that refer to one that goes are written together with it.
        for table in &tables {
            self.note_choice(table, found).await?;
        }
        for table in tables {
            let name = table.name.to_string();
            let rows = found.iter().filter(|(row, _)| row.name.table == name);
            let reader = Reader::new(&self.client, &table).await?;
            let mut tried = Vec::new();
            for (row, source) in rows {
                let is_mended_by = match (source, self.order.take) {
                    (RowSource::Unknown, None) => continue,
                    (RowSource::Unknown, Some(Side::Server)) => {
                        // What was added to a counter unseen can't be told.
                        if self.schema.merges(&name) {
                            continue;
                        }
                        row.taken(&table, &reader).await?
                    }
                    _ => {
                        self.status.inquiries().write([row.name.clone()]);
                        true
                    }
                };
                if is_mended_by {
                    tried.push(row.name.clone());
                }
            }
            for tried in tried.chunks(PAGE_ROWS) {
                mended.extend(confirm::mended(self, &table, tried).await?);
            }
        }
        Ok(mended)
    }
}

/// Keeps a scan to so many rows a second.
struct Pace {
    started: Instant,
    rows_per_second_max: Option<u64>,
}

impl Pace {
    fn start(rows_per_second_max: Option<u64>) -> Self {
        Self {
            started: Instant::now(),
            rows_per_second_max,
        }
    }

    async fn keep(self, rows: usize) {
        let Some(rate) = self.rows_per_second_max else {
            return;
        };
        let due = Duration::from_secs(rows as u64) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        tokio::time::sleep(due.saturating_sub(self.started.elapsed())).await;
    }
}
