//! Writing a batch into the server, in one transaction.
//!
//! ```text
//!  BEGIN · rows that leave (children first) · rows that come or change (parents first) ·
//!  meridian.parked · meridian.position, the tag · deferred constraints · COMMIT
//! ```
//!
//! A batch of few rows is sent to the server at once, in one turn on the network ([`at_once`]). Where
//! that doesn't go through, and for more rows, each statement's answer is looked at before the next. Each
//! takes a few thousand rows as arrays of texts. A row changes only where its `xmin` is the known writer's
//! or below the horizon; one that didn't is looked at: if it is already what it should be, and has no
//! counters, that is as good; else the transaction is rolled back, the writer found is reported and,
//! *after* that was read, a WAL position ([`Outcome::Unsure`]).
//!
//! # Constraints that regions violate only together
//!
//! Two regions may each commit a row that the other's excludes: equal unique values, or a child
//! whose parent the other deletes. Both rows stay in the tables; the server can't show both. Which
//! rows it shows is a function of the rows and their versions alone:
//!
//! 1. unique indexes first, and foreign keys ignored: from the newest version down a row is *taken*
//!    unless a row already taken has its values in one of the indexes; else it is parked;
//! 2. of the rows taken those stay whose parents stay (rows that refer to each other in a circle
//!    keep each other); the others are orphans, parked too, though they keep their unique values.
//!
//! That is found batch by batch, in whatever order rows arrive. A row's state follows from its newer
//! rivals' and its parents' states, and in the end every row out has been looked at after the last
//! change of what is in its way: [`crate::projection`] brings it back when that row is touched, comes
//! or goes. So all regions end with the same rows, whichever way they came.
//!
//! Mostly nothing collides, so a batch is written without looking. Where a constraint says no, where
//! a row to be deleted still has children, or where rows that are out come back, it is rolled back and
//! planned ([`plan`]): rivals, parents and children are asked of the server, which knows about
//! collations, expressions and partial indexes. Rows that must be in the batch too, with their
//! versions, and aren't, are reported ([`Outcome::Involved`]). A row whose values another row of the
//! batch takes, and a child that moves away from a parent that leaves, is deleted and inserted anew,
//! so that no order of statements matters and no cascade fires. What the server refuses even so (a
//! check, a value out of range, a text that is no value here, whatever a trigger raises, a row to be
//! deleted to which a table refers that doesn't replicate) is found by halving ([`refused`]), left as it is in the server, and parked
//! ([`crate::projection::Hindrance::Refused`]).
//!
//! Not covered: foreign keys to columns other than the parent's key with `ON UPDATE` actions, whose
//! effects are captured like local changes; circles of foreign keys between several tables that can't
//! be deferred; a `GENERATED ALWAYS` identity outside of the key, which keeps its first value.

mod armor;
mod at_once;
mod casts;
mod constraints;
pub mod decide;
mod error;
mod large;
mod plan;
mod position;
mod refused;
mod rows;
mod session;
mod sql;
mod write;

pub(crate) use casts::for_casts;
pub use error::ApplyError;
pub use large::{Chunk, Large, Source};
pub use position::{LET_IN_SUFFIX, MARK_SUFFIX, PARKED_TABLE_SQL, POSITION_TABLE_SQL};

use crate::catalog::Table;
use crate::projection::{Outcome, Parked, Projected};
use crate::server::Held;
use crate::tag::{Seal, Tag};
use armor::Armor;
use at_once::{AtOnce, Pause};
use constraints::Constraints;
use error::Refusal;
use meridian_model::RowName;
use plan::Plan;
use refused::Found;
use rows::Rows;
use session::LockWait;
use std::collections::HashMap;
use tokio_postgres::{Client, Statement};

/// Seals a tag with the data directory's key.
pub type Sealing = Box<dyn Fn(&Tag) -> Seal + Send + Sync>;

/// How often a batch is begun anew before it counts as refused as a whole.
const TRIES: usize = 12;

/// Writes batches over one connection.
pub struct Applier {
    client: Client,
    /// The next session waits for the end of this one, which waits for no answer then.
    _held: Held,
    dataset: String,
    tables: Vec<Table>,
    constraints: Constraints,
    seal: Sealing,
    statements: HashMap<String, Statement>,
    pause: Pause,
    /// How long a lock is waited for.
    lock_wait: LockWait,
    /// No earlier session of the dataset is open any more.
    is_alone: bool,
    /// A transaction is open that holds rows' locks.
    is_holding: bool,
    /// Very many rows are written in that transaction: it must not be rolled back to try again.
    has_large: bool,
    records_parked: bool,
    armor: Armor,
}

/// How a try to write a batch ended without error.
enum Tried {
    Done(Outcome),
    /// It must be planned.
    NeedsPlan,
}

/// The rows that a server says are kept out of it, read without writing to it.
///
/// # Errors
/// [`ApplyError`] from the server.
pub async fn parked(client: &Client, dataset: &str) -> Result<Vec<Parked>, ApplyError> {
    if !position::has_parked_table(client).await? {
        return Ok(Vec::new());
    }
    let armor = Armor::of(client).await?;
    position::read_parked(client, dataset, armor).await
}

/// Forgets the parked rows of these tables, which the server has no more.
///
/// # Errors
/// [`ApplyError`] from the server.
pub async fn forget_parked(
    client: &Client,
    dataset: &str,
    tables: &[String],
) -> Result<(), ApplyError> {
    let armor = Armor::of(client).await?;
    position::forget_parked(client, dataset, armor, tables).await
}

impl Applier {
    /// An applier for these tables of the dataset, over such a connection; sets the session up.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn new(
        (client, held): (Client, Held),
        dataset: &str,
        tables: Vec<Table>,
        seal: Sealing,
    ) -> Result<Self, ApplyError> {
        let lock_wait = session::set_up(&client).await?;
        let tables = casts::for_casts(&client, tables).await?;
        let armor = Armor::of(&client).await?;
        let constraints = Constraints::load(&client, &tables).await?;
        let records_parked = position::has_parked_table(&client).await?;
        Ok(Self {
            client,
            _held: held,
            dataset: dataset.to_owned(),
            tables,
            constraints,
            seal,
            statements: HashMap::new(),
            pause: Pause::default(),
            lock_wait,
            is_alone: false,
            is_holding: false,
            has_large: false,
            records_parked,
            armor,
        })
    }

    /// What the server says that it was given last, after it was [taken over](Self::take_over). To be asked
    /// before anything is written.
    ///
    /// # Errors
    /// [`ApplyError`], as there.
    pub async fn position(&mut self) -> Result<Option<Tag>, ApplyError> {
        self.take_over().await?;
        position::read(&self.client, &self.dataset).await
    }

    /// The rows that the server says are kept out of it.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn parked(&self) -> Result<Vec<Parked>, ApplyError> {
        if !self.records_parked {
            return Ok(Vec::new());
        }
        position::read_parked(&self.client, &self.dataset, self.armor).await
    }

    /// Locks rows until the next batch is written, beside those that are locked already, and says who
    /// wrote them: nobody changes them any more while capture catches up.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is locked then.
    pub async fn hold(&mut self, rows: &[RowName]) -> Result<Outcome, ApplyError> {
        let result = self.lock(rows).await;
        match result {
            Ok(outcome) => {
                self.is_holding = true;
                Ok(outcome)
            }
            Err(refusal) => {
                self.roll_back().await?;
                let outcome = refusal.into_outcome()?;
                self.lock_wait.after(&outcome);
                Ok(outcome)
            }
        }
    }

    /// Writes the batch, if its rows are in a known state.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing was written, unless [`ApplyError::is_connection_lost`]: then nobody
    /// knows.
    pub async fn apply(&mut self, projected: &Projected) -> Result<Outcome, ApplyError> {
        let outcome = self.write(projected).await?;
        self.lock_wait.after(&outcome);
        Ok(outcome)
    }

    async fn write(&mut self, projected: &Projected) -> Result<Outcome, ApplyError> {
        let rows = Rows::of(projected, &self.tables)?;
        let mut needs_plan = projected.rows.iter().any(|(dirty, _)| dirty.is_parked);
        if self.has_large {
            return self.commit_large(projected, &rows, needs_plan).await;
        }
        if !needs_plan && !self.is_holding {
            match self.at_once(projected, &rows).await? {
                AtOnce::Committed(outcome) => return Ok(outcome),
                AtOnce::Locked => return Ok(Outcome::Locked),
                AtOnce::Violation => needs_plan = true,
                AtOnce::InTurns => {}
            }
        }
        let mut refused = Found::new();
        let mut reason = String::new();
        let mut has_looked_again = false;
        for _ in 0..TRIES {
            let tried = match self.attempt(projected, &rows, needs_plan, &refused).await {
                Ok(Tried::Done(outcome)) => return Ok(outcome),
                Ok(Tried::NeedsPlan) => None,
                Err(refusal) => Some(refusal),
            };
            self.roll_back().await?;
            match tried {
                // Somebody may have written in between: look again before a row is to blame.
                Some(Refusal::Violation { .. }) if needs_plan && !has_looked_again => {
                    has_looked_again = true;
                }
                Some(Refusal::Violation { reason: said, .. }) if needs_plan => {
                    let found = self.find_refused(projected, &rows, &refused).await?;
                    if found.is_empty() {
                        return Ok(Outcome::Violation { reason: said });
                    }
                    reason = said;
                    refused.extend(found);
                }
                None | Some(Refusal::Violation { .. }) => {}
                Some(refusal) => return refusal.into_outcome(),
            }
            needs_plan = true;
        }
        Ok(Outcome::Violation { reason })
    }

    /// Writes the batch into the transaction that has very many rows, if it need not be planned.
    async fn commit_large(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        needs_plan: bool,
    ) -> Result<Outcome, ApplyError> {
        let tried = if needs_plan {
            Ok(Tried::NeedsPlan)
        } else {
            self.attempt(projected, rows, false, &Found::new()).await
        };
        match tried {
            Ok(Tried::Done(outcome)) => {
                self.has_large = matches!(outcome, Outcome::Unsure { .. });
                Ok(outcome)
            }
            Ok(Tried::NeedsPlan) => {
                self.roll_back().await?;
                let reason = "rows that depend on each other have to be planned".to_owned();
                Ok(Outcome::Violation { reason })
            }
            Err(refusal) => {
                self.roll_back().await?;
                refusal.into_outcome()
            }
        }
    }

    async fn attempt(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        needs_plan: bool,
        refused: &Found,
    ) -> Result<Tried, Refusal> {
        self.begin().await?;
        let plan = self.write_planned(projected, rows, needs_plan, refused);
        let plan = match plan.await? {
            Ok(plan) => plan,
            Err(tried) => return Ok(tried),
        };
        let parked = plan.parked(rows);
        let lets_in = plan.writes_again() || position::lets_in(projected, &parked);
        let (xid, end) = self.commit(projected, (&parked, lets_in)).await?;
        Ok(Tried::Done(Outcome::Committed { xid, end, parked }))
    }

    /// All but the transaction's beginning and end: by what plan the rows were written, or why they
    /// weren't.
    async fn write_planned(
        &mut self,
        projected: &Projected,
        rows: &Rows,
        needs_plan: bool,
        refused: &Found,
    ) -> Result<Result<Plan, Tried>, Refusal> {
        let plan = if needs_plan {
            match self.plan(rows, refused).await? {
                Ok(plan) => plan,
                Err(involved) => {
                    self.client.batch_execute("ROLLBACK").await?;
                    let involved = Outcome::Involved { rows: involved };
                    return Ok(Err(Tried::Done(involved)));
                }
            }
        } else {
            let plan = Plan::plain(rows);
            if self.leaves_children(rows, &plan).await? {
                return Ok(Err(Tried::NeedsPlan));
            }
            plan
        };
        if let Some(unsure) = self.write_rows(projected.horizon, rows, &plan).await? {
            return Ok(Err(Tried::Done(unsure)));
        }
        Ok(Ok(plan))
    }
}
