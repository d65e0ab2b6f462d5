//! What comparing a server with the tables comes to.

use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Rows that differ are listed up to so many; all are counted.
pub(super) const LISTED_MAX: usize = 1000;

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The server lacks it.
    Missing,
    /// Only the server has it.
    Extra,
    /// Both have it, with different values.
    Different,
}

/// What is known of the row that the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowSource {
    /// There is none.
    Nothing,
    /// An older state of the row, as the log has it: nothing is lost with it.
    Older,
    /// Nobody knows: written in the server without capture seeing it, or older than the log.
    Unknown,
}

/// A row in which a server and the tables differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ServerDifference {
    /// The table.
    pub table: String,
    /// The row's key.
    pub key: String,
    /// How it differs.
    pub kind: DifferenceKind,
    /// What is known of the server's row.
    pub source: RowSource,
    /// The row that the server has, as JSON.
    #[schema(value_type = Option<Object>)]
    pub server: Option<serde_json::Value>,
    /// The row that the regions' tables have.
    #[schema(value_type = Option<Object>)]
    pub tables: Option<serde_json::Value>,
    /// Whether it was mended: it doesn't differ any more.
    pub mended: bool,
}

/// What a comparison found, or has found so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ServerReport {
    /// Rows of the server that were compared.
    pub rows: u64,
    /// The tables, with the number of the server's rows in each.
    pub tables: BTreeMap<String, u64>,
    /// Rows found to differ.
    pub differing: u64,
    /// Of these, those of which nobody knows where the server's row comes from: repair leaves them to a
    /// person.
    pub unknown: u64,
    /// Rows that don't differ any more.
    pub mended: u64,
    /// Rows that were written all the time, which is no difference.
    pub busy: u64,
    /// Rows that the server can't show, which is no difference either.
    pub parked: u64,
    /// Tables with rows in other regions that this server doesn't replicate: they were not compared.
    pub not_replicating: Vec<String>,
    /// The first 1,000 rows that differ.
    pub differences: Vec<ServerDifference>,
}

/// What the last comparison of all tables came to.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServerIntegrity {
    /// For how long it has been over.
    pub seconds_ago: f64,
    /// How long it took.
    pub took_seconds: f64,
    /// Rows of the server that were compared.
    pub rows: u64,
    /// Rows that differ and were not mended.
    pub differing: u64,
    /// Of these, those of which nobody knows where the server's row comes from.
    pub unknown: u64,
    /// The first of the rows that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
}

impl ServerReport {
    /// In short.
    pub(super) fn integrity(&self, took: Duration) -> ServerIntegrity {
        let left = |difference: &&ServerDifference| !difference.mended;
        let mut left = self.differences.iter().filter(left);
        ServerIntegrity {
            seconds_ago: 0.0,
            took_seconds: took.as_secs_f64(),
            rows: self.rows,
            differing: self.differing - self.mended,
            unknown: self.unknown,
            first: left.next().map(|row| format!("{}/{}", row.table, row.key)),
        }
    }
}
