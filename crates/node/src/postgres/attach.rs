//! Rows compared outside of a [meeting](super::meet): a server that doesn't say how far it is.

use super::compare::{Comparison, unreadable};
use super::follow::Follower;
use super::schema::Schema;
use super::trouble::Trouble;
use crate::dataset::{DatasetHandle, TablesSnapshot};
use meridian_engine_postgres::projection::Projection;
use meridian_model::{Position, Vector};
use tokio_postgres::Client;

/// Marks every row in which server and tables differ, and follows from there.
pub(super) async fn look_at_all(
    dataset: &DatasetHandle,
    client: &Client,
    schema: &Schema,
    projection: &mut Projection,
) -> Result<Follower, Trouble> {
    projection.given_nothing();
    // In this order: what is captured in between is in the log behind the tables' snapshot.
    let View {
        tables, position, ..
    } = view(dataset).await?;
    see(client, None).await?;
    for table in schema.parents_first() {
        let mut comparison = Comparison::new(client, table, &tables);
        while let Some(chunk) = comparison.next().await? {
            projection.touched(chunk.different.into_iter().map(|row| row.name));
            projection.touched(chunk.only_here);
            // Local writes that are still to be captured, or what was deleted elsewhere: the row's
            // writer tells them apart when it comes to be written.
            projection.touched(chunk.only_there.into_iter().map(|row| row.name));
        }
    }
    client.batch_execute("COMMIT").await?;
    Follower::from_here(dataset, position)
}

/// Begins a transaction that sees one snapshot.
pub(super) async fn see(client: &Client, snapshot: Option<&str>) -> Result<(), Trouble> {
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

/// One state of the tables.
pub(super) struct View {
    pub(super) tables: TablesSnapshot,
    /// What has been applied to them.
    pub(super) applied: Vector,
    /// Where they stand in the log.
    pub(super) position: Position,
}

/// The tables as they are now.
pub(super) async fn view(dataset: &DatasetHandle) -> Result<View, Trouble> {
    let Some((tables, applied)) = dataset.view().await else {
        return Err(Trouble::passing(
            "the dataset's tables don't follow its log",
        ));
    };
    let position = tables.position().map_err(unreadable)?;
    Ok(View {
        tables,
        applied,
        position,
    })
}
