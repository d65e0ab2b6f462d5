//! A parked row as clients see it, with the row that is in its way.

use crate::api::timestamp::rfc_3339;
use crate::dataset::{DatasetHandle, TablesSnapshot};
use crate::postgres::SharedParked;
use meridian_engine_kv::TablesError;
use meridian_engine_postgres::projection::Hindrance;
use meridian_model::{OriginId, RegionName, RowName, Version};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A row that this region's server doesn't show.
#[derive(Serialize, ToSchema)]
pub(crate) struct ParkedRow {
    dataset: String,
    #[serde(flatten)]
    #[schema(inline)]
    row: RowOfServer,
    /// `unique`: a newer row has its values in a unique index. `foreign-key`: the row that it refers
    /// to isn't there. `incomplete`: it was deleted while it changed elsewhere. `refused`: the
    /// server takes it in no company.
    reason: &'static str,
    /// The unique index or foreign key.
    constraint: Option<String>,
    /// The same in a sentence; of a row that is refused, with the server's words.
    detail: String,
    /// The row that has the values.
    rival: Option<RowOfServer>,
    /// The row that it refers to, where the foreign key names it.
    parent: Option<RowOfServer>,
}

/// A row by its columns.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct RowOfServer {
    table: String,
    /// As it stands in paths: the column's text, or a JSON array of the columns' texts.
    key: String,
    /// The same by the columns' names.
    key_columns: Option<BTreeMap<String, String>>,
    /// Its version; null where nobody remembers it.
    version: Option<String>,
    /// The region that wrote it last; of an incarnation that was never heard of here, its number.
    region: Option<String>,
    /// When (RFC 3339).
    written_at: Option<String>,
    /// All columns; null where it is deleted. A value is its text as PostgreSQL writes it, a
    /// counter's a number.
    #[schema(value_type = Option<Object>)]
    values: Option<Value>,
    /// Whether this region's server shows it no more than the parked one.
    parked: bool,
}

/// What rows are shown with.
pub(super) struct Showing {
    pub(super) dataset: String,
    tables: TablesSnapshot,
    regions: BTreeMap<OriginId, RegionName>,
    server: SharedParked,
}

impl Showing {
    pub(super) fn of(dataset: &DatasetHandle) -> Self {
        Self {
            dataset: dataset.name().to_owned(),
            tables: dataset.tables().snapshot(),
            regions: dataset.membership().incarnations.clone(),
            server: dataset.postgres().parked().clone(),
        }
    }

    pub(super) fn row(&self, row: &RowName, why: &Hindrance) -> Result<ParkedRow, TablesError> {
        let (reason, constraint, rival, parent) = match why {
            Hindrance::Rival { constraint, rival } => {
                ("unique", Some(constraint), Some(rival), None)
            }
            Hindrance::Orphan {
                constraint, parent, ..
            } => ("foreign-key", Some(constraint), None, parent.as_ref()),
            Hindrance::Incomplete { .. } => ("incomplete", None, None, None),
            Hindrance::Refused { .. } => ("refused", None, None, None),
        };
        let other = |row: Option<&RowName>| row.map(|row| self.columns(row)).transpose();
        Ok(ParkedRow {
            dataset: self.dataset.clone(),
            row: self.columns(row)?,
            reason,
            constraint: constraint.cloned(),
            detail: why.to_string(),
            rival: other(rival)?,
            parent: other(parent)?,
        })
    }

    fn columns(&self, row: &RowName) -> Result<RowOfServer, TablesError> {
        let shown = self.tables.get(&row.table, &row.key)?;
        let latest = match &shown {
            Some(shown) => Some(shown.version.latest),
            None => self.tables.latest(&row.table, &row.key)?,
        };
        let region = |version: Version| match self.regions.get(&version.origin) {
            Some(region) => region.to_string(),
            None => version.origin.to_string(),
        };
        Ok(RowOfServer {
            table: row.table.clone(),
            key: row.key.clone(),
            key_columns: self.server.key_of(row),
            version: match &shown {
                Some(shown) => Some(shown.version.to_string()),
                None => latest.map(|version| version.to_string()),
            },
            region: latest.map(region),
            written_at: latest.map(|version| rfc_3339(version.hlc.time())),
            values: shown.and_then(|shown| serde_json::from_str(&shown.document).ok()),
            parked: self.server.get(row).is_some(),
        })
    }
}
