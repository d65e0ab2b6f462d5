//! What [`prepare`](super) made of Meridian's own, removed again.

use crate::catalog::quoted;
use crate::names::{self, SCHEMA};
use crate::server::ServerError;
use serde::Serialize;
use tokio_postgres::Client;

/// Something of Meridian's own that is still in a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// What.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Drops the dataset's slot, its publication and the schema with the positions, and says what could
/// not be. The session needs the rights of the publication's and the schema's owner.
///
/// # Errors
/// [`ServerError`] when the server can't be asked.
pub async fn remove(client: &Client, dataset: &str) -> Result<Vec<Left>, ServerError> {
    let name = names::of_dataset(dataset);
    let (slot, publication) = (name.as_str(), quoted(&name));
    let objects = [
        (
            format!("slot {name}"),
            format!(
                "SELECT pg_catalog.pg_drop_replication_slot(slot_name) \
                 FROM pg_catalog.pg_replication_slots WHERE slot_name = '{slot}' \
                 AND database = pg_catalog.current_database()"
            ),
        ),
        (
            format!("publication {name}"),
            format!("DROP PUBLICATION IF EXISTS {publication}"),
        ),
        (
            format!("schema {SCHEMA}"),
            format!(
                "DROP TABLE IF EXISTS {}, {}, meridian.columns, meridian.migrations; \
                 DROP SCHEMA IF EXISTS {} RESTRICT",
                names::position_table().sql(),
                names::parked_table().sql(),
                quoted(SCHEMA)
            ),
        ),
    ];
    let mut left = Vec::new();
    for (what, statements) in objects {
        match client.batch_execute(&statements).await {
            Ok(()) => {}
            Err(error) if error.as_db_error().is_some() => left.push(Left {
                what,
                reason: ServerError::from(error).to_string(),
            }),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(left)
}
