//! A new slot, with a snapshot of the database as of where its stream begins.

use super::connection::Connection;
use super::endpoint::Endpoint;
use super::error::CaptureError;
use super::{patiently, preflight};
use crate::server::ServerConfig;
use crate::{Lsn, ServerIdentity};

/// A slot that was just made. Its snapshot can be taken over, by `SET TRANSACTION SNAPSHOT`, for as
/// long as this is held.
pub struct NewSlot {
    /// The server that has it.
    pub identity: ServerIdentity,
    /// Every transaction committed before this position is in the snapshot, every other in the
    /// stream.
    pub begins: Lsn,
    /// The snapshot's name.
    pub snapshot: String,
    _connection: Connection,
}

/// Makes a slot. One of the same name that nobody reads is dropped first.
///
/// # Errors
/// [`CaptureError`] when it can't be made.
pub async fn create_slot(server: &ServerConfig, slot: &str) -> Result<NewSlot, CaptureError> {
    let endpoint = Endpoint::of(server)?;
    // It waits for the transactions that run now to end, however long that takes.
    let mut connection = patiently(endpoint.place(), Connection::open(&endpoint)).await?;
    let place = preflight::identify(&mut connection, &endpoint).await?;
    preflight::is_fit(&mut connection, &endpoint).await?;
    preflight::unlimit(&mut connection, &endpoint).await?;
    match preflight::slot(&mut connection, &endpoint, slot).await {
        Err(CaptureError::SlotMissing { .. }) => {}
        Err(
            error @ (CaptureError::SlotInUse { .. }
            | CaptureError::SlotTaken { .. }
            | CaptureError::Unreachable { .. }),
        ) => return Err(error),
        _ => {
            let drop = format!(
                "SELECT pg_catalog.pg_drop_replication_slot({})",
                preflight::literal(slot)
            );
            preflight::run(&mut connection, &endpoint, "drop the old slot", &drop).await?;
        }
    }
    let (begins, snapshot) = preflight::create(&mut connection, &endpoint, slot).await?;
    Ok(NewSlot {
        identity: place.identity,
        begins,
        snapshot,
        _connection: connection,
    })
}
