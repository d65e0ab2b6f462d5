//! Running steps in a server.

use super::judge::{Judgement, Rehearsed, judge};
use super::script::{Statement, Step};
use crate::catalog::{Catalog, TableName};
use crate::names;
use crate::prepare::{Plan, survey};
use crate::server::{ServerError, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// A migration that doesn't go on.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A statement of the file.
    #[error("line {line}: {source}")]
    Statement {
        /// Its line.
        line: usize,
        /// Whether it ran outside of a transaction, so that it may have left something behind.
        is_apart: bool,
        /// What the server said.
        #[source]
        source: ServerError,
    },
    /// A step that was taken for one of tables wrote rows.
    #[error("the step writes rows of {table} here, which it did not where it was rehearsed")]
    Rows {
        /// The table.
        table: String,
    },
    /// Anything else.
    #[error("can't {what}: {source}")]
    Server {
        /// What was tried.
        what: &'static str,
        /// What the server said.
        #[source]
        source: ServerError,
    },
}

impl MigrateError {
    pub(super) fn server<E: Into<ServerError>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Server {
            what,
            source: source.into(),
        }
    }

    fn said(&self) -> Option<&ServerError> {
        match self {
            Self::Statement { source, .. } | Self::Server { source, .. } => Some(source),
            Self::Rows { .. } => None,
        }
    }

    /// Whether somebody holds a lock, so that it is worth trying again.
    #[must_use]
    pub fn is_contention(&self) -> bool {
        self.said()
            .is_some_and(|said| said.trouble() == Trouble::Contention)
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Statement { is_apart: true, .. } => Some(
                "it runs outside of a transaction: see what it left behind (an index that is INVALID, \
                 say), drop that, and run this again",
            ),
            Self::Rows { .. } => {
                Some("give the rows a step of their own: a line `-- step` before and after")
            }
            Self::Statement { source, .. }
                if source.code() == Some(&SqlState::NOT_NULL_VIOLATION) =>
            {
                Some(
                    "give the column a DEFAULT, or let it take NULL, fill it in a step of rows, and \
                     SET NOT NULL in a later step",
                )
            }
            Self::Statement { source, .. } if source.trouble() == Trouble::Statement => Some(
                "nothing of this step was done here; mend the file (under another name, if a region has \
                 run a step of it)",
            ),
            _ => match self.said()?.trouble() {
                Trouble::Permission => {
                    Some("run it as the tables' owner: --user and --password-file")
                }
                Trouble::Contention => {
                    Some("somebody holds a lock; run this again, what is done stays done")
                }
                _ => self.said()?.hint(),
            },
        }
    }
}

/// A step that was run in a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Which, from 1.
    pub step: i32,
    /// The file's checksum then.
    pub checksum: String,
}

/// What is recorded of a step.
#[derive(Clone, Copy, Debug)]
pub struct Record<'r> {
    /// The dataset.
    pub dataset: &'r str,
    /// The migration's name.
    pub name: &'r str,
    /// Which step, from 1.
    pub step: i32,
    /// The file's checksum.
    pub checksum: &'r str,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS meridian.migrations (\
    dataset text, name text, step integer, checksum text NOT NULL, \
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(), PRIMARY KEY (dataset, name, step))";

/// Sets the session up as the role has it by itself: a migration means what it means in `psql`.
/// A lock that isn't had in `lock_timeout` is given up.
///
/// # Errors
/// [`MigrateError`].
pub async fn begin_session(client: &Client, lock_timeout: Duration) -> Result<(), MigrateError> {
    let set = format!(
        "RESET ALL; SET lock_timeout = {}; SET statement_timeout = 0",
        lock_timeout.as_millis().max(1)
    );
    let failed = || MigrateError::server("set the session up");
    client.batch_execute(&set).await.map_err(failed())?;
    let row = client
        .query_one("SELECT pg_catalog.current_schema()::text", &[])
        .await
        .map_err(failed())?;
    // A role that is called like Meridian's own schema would make its tables there.
    if row.get::<_, Option<&str>>(0) == Some(names::SCHEMA) {
        client
            .batch_execute("SET search_path = public")
            .await
            .map_err(failed())?;
    }
    Ok(())
}

/// Whether no other migration of the dataset is under way; as long as this session lives, none is.
///
/// # Errors
/// [`MigrateError`].
pub async fn only_one(client: &Client, dataset: &str) -> Result<bool, MigrateError> {
    let lock = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))";
    let name = format!("meridian schema apply {dataset}");
    let row = client
        .query_one(lock, &[&name])
        .await
        .map_err(MigrateError::server("see that no other migration runs"))?;
    Ok(row.get(0))
}

/// The steps of a migration that this server has.
///
/// # Errors
/// [`MigrateError`].
pub async fn applied(
    client: &Client,
    dataset: &str,
    name: &str,
) -> Result<Vec<Applied>, MigrateError> {
    let failed = || MigrateError::server("read meridian.migrations");
    let is_there = "SELECT pg_catalog.to_regclass('meridian.migrations') IS NOT NULL";
    let row = client.query_one(is_there, &[]).await.map_err(failed())?;
    if !row.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let query = "SELECT step, checksum FROM meridian.migrations \
                 WHERE dataset = $1 AND name = $2 ORDER BY step";
    let rows = client.query(query, &[&dataset, &name]).await;
    let rows = rows.map_err(failed())?;
    let rows = rows.iter().map(|row| Applied {
        step: row.get(0),
        checksum: row.get(1),
    });
    Ok(rows.collect())
}

/// Something of Meridian's own that whoever runs a migration would have to write, and may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// What: `publication meridian_shop`.
    pub what: String,
    /// Whose it is.
    pub owner: String,
}

const WITHHELD: &str = "\
SELECT 'publication ' || p.pubname, pg_catalog.pg_get_userbyid(p.pubowner)::text
FROM pg_catalog.pg_publication p
WHERE $3 AND p.pubname = $1 AND NOT pg_catalog.pg_has_role(p.pubowner, 'USAGE')
UNION ALL
SELECT 'schema ' || n.nspname, pg_catalog.pg_get_userbyid(n.nspowner)::text
FROM pg_catalog.pg_namespace n
WHERE n.nspname = $2 AND NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
  AND 2 > (SELECT count(*) FROM pg_catalog.pg_class c
           WHERE c.relnamespace = n.oid AND c.relname IN ('migrations', 'columns'))
UNION ALL
SELECT 'table ' || n.nspname || '.' || c.relname, pg_catalog.pg_get_userbyid(c.relowner)::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $2 AND c.relname IN ('migrations', 'columns')
  AND NOT (pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
       AND (c.relname = 'migrations' OR pg_catalog.has_table_privilege(c.oid, 'UPDATE')))";

/// What of Meridian's own the session's role may not write, though a migration needs it: the publication
/// where that is to be altered, and always what is noted about steps and columns.
///
/// # Errors
/// [`MigrateError`].
pub async fn withheld(
    client: &Client,
    dataset: &str,
    alters_publication: bool,
) -> Result<Vec<Withheld>, MigrateError> {
    let publication = names::of_dataset(dataset);
    let rows = client
        .query(
            WITHHELD,
            &[&publication, &names::SCHEMA, &alters_publication],
        )
        .await
        .map_err(MigrateError::server(
            "see who owns what Meridian keeps there",
        ))?;
    let rows = rows.iter().map(|row| Withheld {
        what: row.get(0),
        owner: row.get(1),
    });
    Ok(rows.collect())
}

/// Runs steps in a transaction that is rolled back, and judges each. Stops before the first that
/// can't run in a transaction, and after the first that is refused.
///
/// # Errors
/// [`MigrateError`], of the first step that the server refuses.
pub async fn rehearse(
    client: &Client,
    plan: &Plan,
    steps: &[&Step],
) -> Result<Vec<Judgement>, MigrateError> {
    client
        .batch_execute("BEGIN")
        .await
        .map_err(MigrateError::server("begin a transaction"))?;
    let judged = rehearse_all(client, plan, steps).await;
    let ended = client.batch_execute("ROLLBACK").await;
    let judged = judged?;
    ended.map_err(MigrateError::server("roll the rehearsal back"))?;
    Ok(judged)
}

async fn rehearse_all(
    client: &Client,
    plan: &Plan,
    steps: &[&Step],
) -> Result<Vec<Judgement>, MigrateError> {
    let mut judgements = Vec::new();
    let mut before = seen(client, plan).await?;
    for step in steps.iter().take_while(|step| step.is_transactional()) {
        let empty = match step.drops() {
            true => empty_tables(client, &before.catalog).await?,
            false => BTreeSet::new(),
        };
        let written = rows_written(client).await?;
        for statement in &step.statements {
            execute(client, statement).await?;
        }
        let rows = more(&rows_written(client).await?, &written);
        let after = seen(client, plan).await?;
        let rehearsed = Rehearsed {
            before: &before,
            after: &after,
            rows: &rows,
            empty: &empty,
            leaves_schema_alone: step.leaves_schema_alone(),
            writes_rows: step.writes_rows(),
        };
        let judgement = judge(&rehearsed, plan);
        let is_refused = !judgement.refusals.is_empty();
        judgements.push(judgement);
        if is_refused {
            break;
        }
        before = after;
    }
    Ok(judgements)
}

/// The server as the transaction sees it. Names are qualified as everywhere else meanwhile.
async fn seen(client: &Client, plan: &Plan) -> Result<crate::prepare::Survey, MigrateError> {
    let failed = || MigrateError::server("read the catalog");
    let path = "SELECT pg_catalog.current_setting('search_path')";
    let row = client.query_one(path, &[]).await;
    let path: String = row.map_err(failed())?.get(0);
    let set = "SELECT pg_catalog.set_config('search_path', $1, true)";
    client.execute(set, &[&""]).await.map_err(failed())?;
    let survey = survey(client, plan)
        .await
        .map_err(MigrateError::server("read the catalog"))?;
    client.execute(set, &[&path]).await.map_err(failed())?;
    Ok(survey)
}

async fn empty_tables(client: &Client, catalog: &Catalog) -> Result<BTreeSet<u32>, MigrateError> {
    let mut empty = BTreeSet::new();
    for facts in catalog.tables() {
        if is_empty(client, &facts.table.name).await? {
            empty.insert(facts.oid);
        }
    }
    Ok(empty)
}

/// Whether a table has no rows.
///
/// # Errors
/// [`MigrateError`].
pub async fn is_empty(client: &Client, table: &TableName) -> Result<bool, MigrateError> {
    let query = format!("SELECT NOT EXISTS (SELECT FROM {})", table.sql());
    let row = client
        .query_one(&query, &[])
        .await
        .map_err(MigrateError::server("see whether a table is empty"))?;
    Ok(row.get(0))
}

/// By table, how many rows this transaction has written, and what the session wrote shortly before.
async fn rows_written(client: &Client) -> Result<BTreeMap<u32, i64>, MigrateError> {
    let query = "SELECT COALESCE(pg_catalog.pg_partition_root(s.relid), s.relid)::pg_catalog.oid, \
         pg_catalog.sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del)::pg_catalog.int8 \
         FROM pg_catalog.pg_stat_xact_user_tables s GROUP BY 1";
    let rows = client
        .query(query, &[])
        .await
        .map_err(MigrateError::server("see how many rows were written"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn more(after: &BTreeMap<u32, i64>, before: &BTreeMap<u32, i64>) -> BTreeMap<u32, i64> {
    let before = |table: &u32| before.get(table).copied().unwrap_or_default();
    let rows = after
        .iter()
        .map(|(table, count)| (*table, count - before(table)));
    rows.filter(|(_, count)| *count > 0).collect()
}

async fn execute(client: &Client, statement: &Statement) -> Result<(), MigrateError> {
    client
        .batch_execute(&statement.sql)
        .await
        .map_err(|source| MigrateError::Statement {
            line: statement.line,
            is_apart: !statement.is_transactional(),
            source: source.into(),
        })
}

/// Runs a step and records it. Unless the step is about rows, it may write none of the tables in
/// `replicated`.
///
/// # Errors
/// [`MigrateError`]; the step is undone then, unless it can't run in a transaction.
pub async fn run(
    client: &Client,
    step: &Step,
    record: Record<'_>,
    replicated: Option<&Catalog>,
) -> Result<(), MigrateError> {
    let is_there = "SELECT pg_catalog.to_regclass('meridian.migrations') IS NOT NULL";
    let made = || MigrateError::server("make the table meridian.migrations");
    let row = client.query_one(is_there, &[]).await.map_err(made())?;
    if !row.get::<_, bool>(0) {
        client.batch_execute(TABLE).await.map_err(made())?;
    }
    if !step.is_transactional() {
        for statement in &step.statements {
            execute(client, statement).await?;
        }
        return note(client, record).await;
    }
    client
        .batch_execute("BEGIN")
        .await
        .map_err(MigrateError::server("begin a transaction"))?;
    let done = run_within(client, step, record, replicated).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    let ended = client.batch_execute(end).await;
    done?;
    ended.map_err(MigrateError::server("commit the step"))
}

async fn run_within(
    client: &Client,
    step: &Step,
    record: Record<'_>,
    replicated: Option<&Catalog>,
) -> Result<(), MigrateError> {
    let written = rows_written(client).await?;
    for statement in &step.statements {
        execute(client, statement).await?;
    }
    if let Some(catalog) = replicated {
        let rows = more(&rows_written(client).await?, &written);
        let written = catalog.tables().find(|facts| rows.contains_key(&facts.oid));
        if let Some(facts) = written {
            let table = facts.table.name.to_string();
            return Err(MigrateError::Rows { table });
        }
    }
    note(client, record).await
}

async fn note(client: &Client, record: Record<'_>) -> Result<(), MigrateError> {
    let insert = "INSERT INTO meridian.migrations (dataset, name, step, checksum) \
                  VALUES ($1, $2, $3, $4)";
    let Record {
        dataset,
        name,
        step,
        checksum,
    } = record;
    client
        .execute(insert, &[&dataset, &name, &step, &checksum])
        .await
        .map_err(MigrateError::server(
            "record the step in meridian.migrations",
        ))?;
    Ok(())
}
