//! What can go wrong inside the tables.

use crate::{StoreError, keys};
use meridian_model::RowName;
use meridian_replicate::{EngineError, LOST_TABLES};

/// The tables could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tables are in a format that this build doesn't know.
    #[error(
        "the tables are in format {found}, this build knows format {known}\n\nhint: use the build \
         that wrote them, or a later one"
    )]
    UnknownFormat {
        /// The format found.
        found: u32,
        /// The format of this build.
        known: u32,
    },
    /// A record that is no valid encoding.
    #[error(
        "a record of the tables is damaged: {kind} at key {key}\n\nhint: stop the region, move its \
         tables away and let them be rebuilt; check the disk"
    )]
    Damaged {
        /// What kind of record.
        kind: &'static str,
        /// Its key, escaped.
        key: String,
    },
    /// A record of a row that is no valid encoding: the other regions have a good one.
    #[error(
        "{row} is damaged in this region: its {kind} fails its checksum\n\nhint: it is mended from \
         the other regions as soon as they answer, and they serve it; check this region's disk"
    )]
    DamagedRow {
        /// The row.
        row: RowName,
        /// What kind of record.
        kind: &'static str,
    },
    /// A change that can't be stored under any key.
    #[error("a change in table {table:?} can't be stored: {reason}")]
    Unstorable {
        /// The table.
        table: String,
        /// Why.
        reason: &'static str,
    },
    /// The tables were being filled from a snapshot, and that was not finished. (A region that joins
    /// goes on with it instead of opening them.)
    #[error(
        "the tables hold a part of a snapshot only, though the region had joined\n\nhint: {LOST_TABLES}"
    )]
    Unfinished,
    /// A snapshot can't be taken into a store that holds tables.
    #[error("the store holds tables already, which a snapshot must not replace")]
    Occupied,
    /// A transaction was staged in part, so that a commit would tear it.
    #[error(
        "an earlier transaction could not be applied in full\n\nhint: see the error before this \
         one; restarting the region applies it anew from the log"
    )]
    Torn,
}

impl TablesError {
    pub(crate) fn damaged(kind: &'static str, key: &[u8]) -> Self {
        match keys::row_of(key) {
            Some(row) => Self::DamagedRow { row, kind },
            None => Self::Damaged {
                kind,
                key: key.escape_ascii().to_string(),
            },
        }
    }

    /// The row whose damage is the cause, if that is it.
    #[must_use]
    pub fn damaged_row(&self) -> Option<&RowName> {
        match self {
            Self::DamagedRow { row, .. } => Some(row),
            _ => None,
        }
    }

    /// Whether the cause is a full disk.
    #[must_use]
    pub fn disk_full(&self) -> bool {
        matches!(self, Self::Store(store) if store.disk_full())
    }

    pub(crate) fn during(self, doing: &str) -> EngineError {
        EngineError {
            context: doing.to_owned(),
            disk_full: self.disk_full(),
            damaged_row: self.damaged_row().cloned(),
            source: Box::new(self),
        }
    }
}
