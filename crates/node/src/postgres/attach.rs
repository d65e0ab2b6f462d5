//! The first meeting of a dataset and a server: each takes over what only the other has.
//!
//! A new slot comes with a snapshot of the database as of where its stream begins. The rows in it that
//! the dataset's tables lack become transactions of this region; rows that both have must be equal,
//! or somebody has to say which are right: nothing is written then. What the tables have and the
//! server lacks is projected, like anything that came from other regions.

use super::PostgresConfig;
use super::compare::{Chunk, Comparison};
use super::follow::Follower;
use super::schema::Schema;
use super::status::{PostgresState, SharedStatus};
use super::taken::Taken;
use super::trouble::Trouble;
use crate::dataset::{CapturedTransaction, DatasetHandle, TablesSnapshot};
use meridian_engine_postgres::capture::{NewSlot, create_slot};
use meridian_engine_postgres::catalog::Table;
use meridian_engine_postgres::projection::Projection;
use meridian_engine_postgres::server::connect;
use meridian_model::{CapturedAt, Change, Operation, Position, RowName, Vector};
use std::sync::Arc;
use tokio_postgres::Client;

/// Rows of one transaction while a server's rows are taken over.
const ROWS_MAX: usize = 500;

/// What marks transactions that take over rows: no transaction of a server has so many parts.
const TAKING_OVER: u32 = 1 << 31;

/// Whether the rows that were there are taken over in part only.
pub(super) fn is_unfinished(at: CapturedAt) -> bool {
    !at.is_last && at.part >= TAKING_OVER
}

/// Makes the slot and takes the server's rows over. Says from where on to capture.
pub(super) async fn attach(
    config: &PostgresConfig,
    dataset: &DatasetHandle,
    schema: &Schema,
    status: &SharedStatus,
) -> Result<(CapturedAt, Vector), Trouble> {
    status.change(|status| status.state = PostgresState::Attaching);
    let client = connect(&config.server, "attach").await?;
    // What it says is of another log, if anything.
    let forget = "DELETE FROM meridian.position WHERE dataset = $1";
    client.execute(forget, &[&config.dataset]).await?;
    let slot = create_slot(&config.server, &config.slot).await?;
    see(&client, Some(&slot.snapshot)).await?;
    let (tables, _) = view(dataset).await?;
    must_agree(&client, schema, &tables).await?;
    let mut taking = Taking::new(dataset, &slot);
    for table in schema.parents_first() {
        let mut comparison = Comparison::new(&client, table, &tables);
        while let Some(chunk) = comparison.next().await? {
            taking.take(chunk).await?;
        }
    }
    let at = taking.finish().await?;
    client.batch_execute("COMMIT").await?;
    Ok((at, Vector::default()))
}

/// Takes over the rows of tables that replicate only since now. What is written to them meanwhile is
/// in the stream as well, and comes after.
pub(super) async fn take_over_new(
    dataset: &DatasetHandle,
    client: &Client,
    schema: &Schema,
    taken: &Taken,
    (at, seen): (CapturedAt, &Vector),
) -> Result<(), Trouble> {
    let is_new = |table: &&Arc<Table>| !taken.has(&table.name.to_string());
    let new: Vec<_> = schema.parents_first().filter(is_new).collect();
    if new.is_empty() {
        return Ok(());
    }
    see(client, None).await?;
    let (tables, _) = view(dataset).await?;
    let mut taking = Taking::again(dataset, at, seen);
    for table in new {
        let mut comparison = Comparison::new(client, table, &tables);
        while let Some(chunk) = comparison.next().await? {
            taking.take(chunk).await?;
        }
    }
    taking.rest().await?;
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// Marks every row in which server and tables differ, and follows from there.
pub(super) async fn look_at_all(
    dataset: &DatasetHandle,
    client: &Client,
    schema: &Schema,
    projection: &mut Projection,
) -> Result<Follower, Trouble> {
    // In this order: what is captured in between is in the log behind the tables' snapshot.
    let (tables, position) = view(dataset).await?;
    see(client, None).await?;
    for table in schema.parents_first() {
        let mut comparison = Comparison::new(client, table, &tables);
        while let Some(chunk) = comparison.next().await? {
            projection.touched(chunk.different);
            projection.touched(chunk.only_here);
            // Local writes that are still to be captured, or what was deleted elsewhere: the row's
            // writer tells them apart when it comes to be written.
            projection.touched(chunk.only_there.into_iter().map(|(row, _)| row));
        }
    }
    client.batch_execute("COMMIT").await?;
    Follower::from_here(dataset, position)
}

async fn see(client: &Client, snapshot: Option<&str>) -> Result<(), Trouble> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    client.batch_execute(begin).await?;
    if let Some(snapshot) = snapshot {
        let take = format!(
            "SET TRANSACTION SNAPSHOT '{}'",
            snapshot.replace('\'', "''")
        );
        client.batch_execute(&take).await?;
    }
    Ok(())
}

async fn view(dataset: &DatasetHandle) -> Result<(TablesSnapshot, Position), Trouble> {
    let Some((tables, _)) = dataset.view().await else {
        return Err(Trouble::passing(
            "the dataset's tables don't follow its log",
        ));
    };
    let position = tables.position().map_err(super::compare::unreadable)?;
    Ok((tables, position))
}

async fn must_agree(
    client: &Client,
    schema: &Schema,
    tables: &TablesSnapshot,
) -> Result<(), Trouble> {
    let (mut different, mut first) = (0, None);
    for table in schema.parents_first() {
        let mut comparison = Comparison::new(client, table, tables);
        while let Some(chunk) = comparison.next().await? {
            different += chunk.different.len();
            first = first.or_else(|| chunk.different.into_iter().next());
        }
    }
    let Some(first) = first else {
        return Ok(());
    };
    let reason = format!(
        "{different} rows are there in this server and in other regions with different values, \
         the first is {first}"
    );
    let hint = "make them equal, or empty the tables here (TRUNCATE) to take everything from the \
                other regions";
    Err(Trouble::lasting(reason, hint))
}

/// Rows on their way from the server into the log.
struct Taking<'a> {
    dataset: &'a DatasetHandle,
    at: CapturedAt,
    seen: Vector,
    /// Whether the parts are told apart, so that taking over can be seen to be unfinished.
    is_first: bool,
    rows: Vec<(RowName, String)>,
}

impl<'a> Taking<'a> {
    fn new(dataset: &'a DatasetHandle, slot: &NewSlot) -> Self {
        Self {
            dataset,
            at: CapturedAt {
                system: slot.identity.system,
                timeline: slot.identity.timeline,
                end: slot.begins.0,
                part: TAKING_OVER,
                is_last: false,
            },
            seen: Vector::default(),
            is_first: true,
            rows: Vec::new(),
        }
    }

    /// Later tables: capture stands where it stood.
    fn again(dataset: &'a DatasetHandle, at: CapturedAt, seen: &Vector) -> Self {
        Self {
            dataset,
            at,
            seen: seen.clone(),
            is_first: false,
            rows: Vec::new(),
        }
    }

    async fn take(&mut self, chunk: Chunk) -> Result<(), Trouble> {
        self.rows.extend(chunk.only_there);
        while self.rows.len() >= ROWS_MAX {
            let rest = self.rows.split_off(ROWS_MAX);
            let rows = std::mem::replace(&mut self.rows, rest);
            self.put(rows).await?;
        }
        Ok(())
    }

    async fn put(&mut self, rows: Vec<(RowName, String)>) -> Result<(), Trouble> {
        let changes = rows.into_iter().map(|(row, document)| Change {
            table: row.table,
            key: row.key,
            operation: Operation::Put { document },
        });
        let transaction = CapturedTransaction {
            at: self.at,
            seen: self.seen.clone(),
            changes: changes.collect(),
        };
        self.dataset.capture(vec![transaction]).await?;
        self.at.part += u32::from(self.is_first);
        Ok(())
    }

    async fn rest(mut self) -> Result<(), Trouble> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        self.put(rows).await
    }

    async fn finish(mut self) -> Result<CapturedAt, Trouble> {
        let rows = std::mem::take(&mut self.rows);
        self.at.is_last = true;
        self.put(rows).await?;
        Ok(CapturedAt {
            part: self.at.part - 1,
            ..self.at
        })
    }
}
