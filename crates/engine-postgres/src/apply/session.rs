//! The session, and what frames each transaction in it.

use super::error::{ApplyError, Refusal, xid};
use super::{Applier, sql};
use crate::Lsn;
use crate::projection::Outcome;
use meridian_model::RowName;
use tokio_postgres::Client;

/// Texts are written and read as `document` says, whatever the database's or role's defaults; no
/// plan is made twice, and each goes through the key's index whatever the table's size was when it
/// was made, and where there is none nothing is compiled for the price that this has (each check of a
/// foreign key without an index would be, for tens of milliseconds); commits aren't waited for, since
/// what a crash of the server loses is found by the position in it; a lock is given up before the server
/// looks for deadlocks, and all locks where the region falls silent in the middle of a transaction
/// (its next session begins that anew), and so is the session where nobody is at the other end any more
/// (the next one waits for its end); what would be written outside of a transaction that began as ours
/// is refused.
const SETTINGS: &str = "
SET synchronous_commit = off;
SET search_path = '';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 3;
SET timezone = 'UTC';
SET standard_conforming_strings = on;
SET xmloption = 'content';
SET row_security = off;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = '30s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '45s';
SET default_transaction_read_only = on;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SET client_min_messages = warning;
SELECT set_config('lock_timeout', greatest(setting::bigint / 2, 1)::text, false)
FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout';
";

/// In the middle of a statement too it is looked whether somebody is at the other end. Not every server's
/// system can.
const LOOK_FOR_CLIENT: &str = "SET client_connection_check_interval = '1s'";

pub(super) async fn set_up(client: &Client) -> Result<LockWait, ApplyError> {
    let set = client.batch_execute(SETTINGS).await;
    set.map_err(ApplyError::server("set up a session"))?;
    match client.batch_execute(LOOK_FOR_CLIENT).await {
        Err(refused) if refused.as_db_error().is_some() => {}
        set => set.map_err(ApplyError::server("set up a session"))?,
    }
    let longest = "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'lock_timeout'";
    let row = client.query_one(longest, &[]).await;
    let row = row.map_err(ApplyError::server("ask for lock_timeout"))?;
    Ok(LockWait::up_to(row.get(0)))
}

/// How long a row's lock is waited for: what short transactions hold is free within a moment, and
/// meanwhile others wait for what this session has written. So it is little at first, and more each
/// time that a batch has met locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockWait {
    ms: i64,
    ms_max: i64,
}

const LOCK_WAIT_MS_MIN: i64 = 50;

impl LockWait {
    fn up_to(ms_max: i64) -> Self {
        Self {
            ms: LOCK_WAIT_MS_MIN.min(ms_max),
            ms_max,
        }
    }

    /// What became of a batch.
    pub(super) fn after(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Locked => self.ms = (self.ms * 2).min(self.ms_max),
            Outcome::Committed { .. } => *self = Self::up_to(self.ms_max),
            _ => {}
        }
    }
}

/// Where the WAL goes on.
pub(super) async fn wal_position(client: &Client) -> Result<Lsn, ApplyError> {
    let row = client
        .query_one(WAL_POSITION, &[])
        .await
        .map_err(ApplyError::server("ask for the WAL position"))?;
    lsn(row.get(0))
}

/// Asks for it.
pub(super) const WAL_POSITION: &str = "SELECT pg_current_wal_insert_lsn()::text";

/// A WAL position as the server writes it.
pub(super) fn lsn(text: &str) -> Result<Lsn, ApplyError> {
    text.parse().map_err(|_| ApplyError::Answer {
        answer: text.to_owned(),
        expected: "a WAL position",
    })
}

/// Begins. Constraints that can wait do, until the end of the transaction.
pub(super) fn begin(lock_wait: LockWait) -> String {
    let ms = lock_wait.ms;
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL DEFERRED; \
         SET LOCAL lock_timeout = {ms}"
    )
}

/// Held by a session for as long as it lasts: who has it knows that nothing comes any more of what an
/// earlier session of the dataset was sent, however late.
const LOCK: &str = "SELECT pg_advisory_lock(hashtext('meridian'), hashtext($1))";

/// Who holds it, the first of several: process, address where it has one, state and since when.
const HOLDER: &str = "
SELECT concat_ws(', ', 'process ' || a.pid, 'from ' || host(a.client_addr), a.state
       || ' since ' || to_char(a.state_change, 'YYYY-MM-DD HH24:MI:SS TZ'))
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
  AND l.classid = (hashtext('meridian')::int8 & 4294967295)::oid
  AND l.objid = (hashtext($1)::int8 & 4294967295)::oid
ORDER BY a.backend_start LIMIT 1";

/// How the planner is to join.
#[derive(Clone, Copy)]
pub(super) enum Join {
    /// Through an index, of which it is known that there is one.
    Index,
    /// By whatever is best: there may be no index.
    Any,
    /// Not row by row: arrays have none.
    Hash,
}

impl Join {
    fn settings(self) -> &'static str {
        match self {
            Self::Index => {
                "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
                 SET LOCAL enable_nestloop = on; SET LOCAL enable_seqscan = off"
            }
            Self::Any => {
                "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
                 SET LOCAL enable_seqscan = on"
            }
            Self::Hash => "SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off",
        }
    }
}

impl Applier {
    /// Has the statements that follow in this transaction planned so.
    pub(super) async fn join_by(&mut self, join: Join) -> Result<(), Refusal> {
        self.client.batch_execute(join.settings()).await?;
        Ok(())
    }

    /// Waits for the end of every earlier applier's session for this dataset: nothing that one of them was
    /// sent comes in after this.
    ///
    /// # Errors
    /// [`ApplyError`] from the server; [`ApplyError::Busy`] where such a session goes on.
    pub async fn take_over(&mut self) -> Result<(), ApplyError> {
        if self.is_alone {
            return Ok(());
        }
        let taken = self.client.execute(LOCK, &[&self.dataset]).await;
        match taken.map_err(Refusal::from) {
            Ok(_) => self.is_alone = true,
            Err(Refusal::Locked) => return Err(self.held_by().await),
            Err(Refusal::Failed(error)) => return Err(error),
            Err(Refusal::Violation { reason: answer }) => {
                let expected = "a lock";
                return Err(ApplyError::Answer { answer, expected });
            }
        }
        Ok(())
    }

    /// Names who holds the lock; it may have ended by now.
    async fn held_by(&self) -> ApplyError {
        match self.client.query_opt(HOLDER, &[&self.dataset]).await {
            Ok(holder) => ApplyError::Busy {
                holder: holder
                    .map_or_else(String::new, |row| format!(" ({})", row.get::<_, &str>(0))),
            },
            Err(source) => ApplyError::server("ask who writes")(source),
        }
    }

    /// Begins a transaction, unless one is open that holds locks.
    pub(super) async fn begin(&mut self) -> Result<(), Refusal> {
        if !std::mem::take(&mut self.is_holding) {
            self.client.batch_execute(&begin(self.lock_wait)).await?;
        }
        Ok(())
    }

    pub(super) async fn roll_back(&mut self) -> Result<(), ApplyError> {
        self.is_holding = false;
        self.has_large = false;
        self.client
            .batch_execute("ROLLBACK")
            .await
            .map_err(ApplyError::server("roll back"))
    }

    /// Whether locks are held from [`Applier::hold`], and nothing written under them yet.
    #[must_use]
    pub fn holds_locks(&self) -> bool {
        self.is_holding && !self.has_large
    }

    /// Gives up locks that are held.
    ///
    /// # Errors
    /// [`ApplyError`] from the server.
    pub async fn release(&mut self) -> Result<(), ApplyError> {
        if self.is_holding {
            self.roll_back().await?;
        }
        Ok(())
    }

    pub(super) async fn lock(&mut self, rows: &[RowName]) -> Result<Outcome, Refusal> {
        self.begin().await?;
        let mut found = Vec::new();
        let groups = super::rows::keys_by_table(rows, &self.tables)?;
        for (table, rows, keys) in groups {
            let text = sql::lock(&self.tables[table]);
            let statement = self.prepared(&text).await?;
            let arrays = super::rows::columns(&keys);
            let mut writers = vec![None; rows.len()];
            for row in self
                .client
                .query(&statement, &super::rows::params(&arrays))
                .await?
            {
                writers[super::rows::ordinal(&row)] = Some(xid(row.get(1))?);
            }
            found.extend(rows.into_iter().cloned().zip(writers));
        }
        let read_at = wal_position(&self.client).await?;
        Ok(Outcome::Unsure { found, read_at })
    }
}
