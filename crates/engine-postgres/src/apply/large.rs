//! Very many rows, chunk by chunk into one transaction of the server.
//!
//! ```text
//!  BEGIN · rows that leave, children first · rows that come or change, parents first ·
//!                                                  the batch that follows (tag, position, COMMIT)
//! ```
//!
//! A chunk's rows are locked without waiting for anybody. One that somebody else holds, or whose state
//! nobody knows, is left alone and comes back, to be in the batch; the latter stays locked. So nothing
//! that an application does costs what is written already, unless it makes a statement wait for too
//! long or break a constraint: then all is rolled back.

use super::error::{ApplyError, Refusal, xid};
use super::plan::Plan;
use super::rows::Rows;
use super::write::without;
use super::{Applier, session, sql};
use crate::projection::{DirtyRow, Projected};
use crate::{Lsn, Xid};
use meridian_model::{Position, RowName, Vector};

/// Rows of a table with what the tables show of them.
pub type Chunk = Vec<(RowName, Option<String>)>;

/// Where very many rows come from. It is gone through table by table, any number of times.
pub trait Source: Send {
    /// The next rows of this table, some thousands: those that the tables show, or those that they
    /// don't. None after the last, and it begins anew then.
    ///
    /// # Errors
    /// What can't be read, in words.
    fn next(&mut self, table: &str, comes: bool) -> Result<Chunk, String>;
}

/// What became of very many rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Large {
    /// They are written into a transaction that is open now.
    Written {
        /// How many.
        rows: u64,
        /// Those that were not, since nobody knows their state, and their writers.
        found: Vec<(RowName, Option<Xid>)>,
        /// Those that were not, since somebody else holds them.
        busy: Vec<RowName>,
        /// A WAL position read after that.
        read_at: Lsn,
    },
    /// Nothing was written: the server refuses, so that they have to be planned with each other.
    Violation {
        /// Its words.
        reason: String,
    },
    /// Nothing was written: too many of them are in no known state, or locks were held for too long.
    Locked,
    /// Nothing was written: the rows can't be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// So many rows may come back.
const LEFT_MAX: usize = 50_000;

#[derive(Default)]
struct Account {
    rows: u64,
    found: Vec<(RowName, Option<Xid>)>,
    busy: Vec<RowName>,
}

enum Stopped {
    Refused(Refusal),
    TooMany,
    Unreadable(String),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApplyError> for Stopped {
    fn from(error: ApplyError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<tokio_postgres::Error> for Stopped {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl Applier {
    /// Writes very many rows into a transaction that stays open for the next batch; where one is open
    /// already, into that. Writers before `horizon`, and `known`, are captured.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing was written.
    pub async fn write_large(
        &mut self,
        source: &mut dyn Source,
        horizon: Xid,
        known: Option<Xid>,
    ) -> Result<Large, ApplyError> {
        let stopped = match self.all_of(source, horizon, known).await {
            Ok(written) => {
                self.is_holding = true;
                self.has_large = true;
                return Ok(written);
            }
            Err(stopped) => stopped,
        };
        if let Stopped::Refused(Refusal::Failed(error)) = stopped {
            return Err(error);
        }
        self.roll_back().await?;
        Ok(match stopped {
            Stopped::Refused(Refusal::Violation { reason }) => Large::Violation { reason },
            Stopped::Unreadable(reason) => Large::Unreadable { reason },
            Stopped::Refused(_) | Stopped::TooMany => Large::Locked,
        })
    }

    async fn all_of(
        &mut self,
        source: &mut dyn Source,
        horizon: Xid,
        known: Option<Xid>,
    ) -> Result<Large, Stopped> {
        let is_begun = self.is_holding;
        self.begin().await?;
        // Rows that this transaction wrote before are as well known as any.
        let known = if is_begun {
            let id = "SELECT pg_current_xact_id()::xid::text";
            let row = self.client.query_one(id, &[]).await?;
            Some(xid(row.get(0))?)
        } else {
            known
        };
        let mut account = Account::default();
        let parents_first = self.constraints.parents_first.clone();
        for table in parents_first.iter().rev() {
            self.table_of(source, (*table, false), (horizon, known), &mut account)
                .await?;
        }
        for table in &parents_first {
            self.table_of(source, (*table, true), (horizon, known), &mut account)
                .await?;
        }
        let read_at = session::wal_position(&self.client).await?;
        let Account { rows, found, busy } = account;
        Ok(Large::Written {
            rows,
            found,
            busy,
            read_at,
        })
    }

    /// The rows of one table that come or change, or those that leave.
    async fn table_of(
        &mut self,
        source: &mut dyn Source,
        (table, comes): (usize, bool),
        (horizon, known): (Xid, Option<Xid>),
        account: &mut Account,
    ) -> Result<(), Stopped> {
        let name = self.tables[table].name.to_string();
        let mut are_there = false;
        loop {
            let chunk = source.next(&name, comes).map_err(Stopped::Unreadable)?;
            if chunk.is_empty() {
                return Ok(());
            }
            let projected = projected(chunk, horizon, known);
            let rows = Rows::of(&projected, &self.tables)?;
            let rows = match self.busy(&rows, table, &mut are_there).await? {
                busy if busy.is_empty() => rows,
                busy => {
                    let is_free = |number: &usize| !busy.contains(number);
                    let free = (0..rows.len()).filter(is_free);
                    let free = free.map(|number| projected.rows[number].clone()).collect();
                    let busy = busy.iter().map(|number| rows.get(*number).name.clone());
                    account.busy.extend(busy);
                    let projected = Projected {
                        rows: free,
                        ..projected
                    };
                    Rows::of(&projected, &self.tables)?
                }
            };
            let numbers: Vec<usize> = (0..rows.len()).collect();
            let plan = Plan::plain(&rows);
            let unsure = if comes {
                self.upsert(horizon, &rows, &plan, table, &numbers).await?
            } else if self.leaves_children(&rows, &plan).await? {
                let reason = format!("rows of {name} leave to which others refer");
                return Err(Refusal::Violation { reason }.into());
            } else {
                self.delete_rows(horizon, &rows, &plan).await?
            };
            account.rows += (numbers.len() - unsure.len()) as u64;
            let unsure = unsure.into_iter();
            let found = unsure.map(|(number, writer)| (rows.get(number).name.clone(), writer));
            account.found.extend(found);
            if account.found.len() + account.busy.len() > LEFT_MAX {
                return Err(Stopped::TooMany);
            }
        }
    }

    /// Locks the rows that are there, without waiting; the numbers of those that somebody else holds.
    /// Where none was there before, it is asked first whether any is.
    async fn busy(
        &mut self,
        rows: &Rows,
        table: usize,
        are_there: &mut bool,
    ) -> Result<Vec<usize>, Refusal> {
        let all: Vec<usize> = (0..rows.len()).collect();
        let found = sql::found(&self.tables[table]);
        let lock = sql::lock_free(&self.tables[table]);
        if *are_there {
            let locked = self.numbers(&lock, &rows.keys(&all), None, &all).await?;
            let others = without(&all, &locked);
            if others.is_empty() {
                return Ok(others);
            }
            let keys = rows.keys(&others);
            let held = self.numbers(&found, &keys, None, &others).await?;
            return Ok(held.into_iter().collect());
        }
        let there = self.numbers(&found, &rows.keys(&all), None, &all).await?;
        let there: Vec<usize> = there.into_iter().collect();
        if there.is_empty() {
            return Ok(there);
        }
        *are_there = true;
        let keys = rows.keys(&there);
        let locked = self.numbers(&lock, &keys, None, &there).await?;
        Ok(without(&there, &locked))
    }
}

fn projected(chunk: Chunk, horizon: Xid, known: Option<Xid>) -> Projected {
    let rows = chunk.into_iter().map(|(row, document)| {
        let dirty = DirtyRow {
            row,
            known,
            is_parked: false,
        };
        (dirty, document)
    });
    Projected {
        id: 0,
        position: Position(0),
        seen: Vector::default(),
        horizon,
        rows: rows.collect(),
        versions: Vec::new(),
    }
}
