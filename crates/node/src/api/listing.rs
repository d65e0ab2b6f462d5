//! Tables as a whole: their names, their rows page by page, their checksums.

use super::consistency::Read;
use super::incoming::{Incoming, page_limit};
use super::json::{Json, serialized};
use super::problem::{Kind, Problem};
use super::rows::{SiblingRecord, write_siblings};
use super::state::{ApiState, DatasetState};
use crate::dataset::{DatasetHandle, apart};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_engine_kv::{FjallStore, TableReader, TablesError};
use meridian_topology::TablePattern;
use serde::Serialize;
use std::collections::BTreeSet;
use utoipa::ToSchema;

/// A page's keys and documents together, in bytes.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Rows of a table in key order, as of one moment.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct RowsReply {
    /// The rows.
    rows: Vec<ListedRow>,
    /// What to send as `after` for the next page; null at the end of the table.
    next: Option<String>,
}

/// A row of a page.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct ListedRow {
    /// The row's key.
    key: String,
    /// Its version.
    version: String,
    /// Its document: any JSON. Of a row with siblings the newest.
    document: serde_json::Value,
    /// Only of a row that has siblings: all of them, newest first.
    siblings: Option<Vec<SiblingRecord>>,
}

/// What a table holds, in short.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChecksumReply {
    /// The number of rows.
    rows: u64,
    /// Equal in regions that have converged.
    checksum: String,
}

/// The tables that there are.
#[derive(Serialize, ToSchema)]
pub(crate) struct TablesReply {
    /// Each dataset.
    datasets: Vec<TablesOfDataset>,
}

/// A dataset's tables.
#[derive(Serialize, ToSchema)]
pub(crate) struct TablesOfDataset {
    /// The dataset.
    dataset: String,
    /// The names of those that have rows, in order.
    tables: Vec<String>,
    /// The names that the topology gives, with rows or without.
    declared: Vec<String>,
    /// The names of those that have rows here and belong to another dataset by now, or to none: no
    /// request finds these rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    out_of_sight: Vec<String>,
    /// Why the dataset could not be opened, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lists the tables that have rows.
#[utoipa::path(
    get,
    path = "/v1/tables",
    tag = "tables",
    params(
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
        super::openapi::ReadParameters,
    ),
    responses(
        (status = 200, description = "The tables.", body = TablesReply,
            headers(("Meridian-Session" = String), ("Meridian-Consistency" = String))),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn tables(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let reading = Read::begin(&state, incoming.headers(), state.running()).await?;
    let mut datasets = Vec::new();
    for (name, dataset) in state.datasets() {
        let (tables, error) = match dataset {
            DatasetState::Running(handle) => {
                (read(handle.tables(), TableReader::tables).await?, None)
            }
            DatasetState::Failed { reason } => (Vec::new(), Some(apart(reason).0.to_owned())),
            DatasetState::Opening | DatasetState::Joining(_) => (Vec::new(), dataset.absence()),
        };
        let topology = &state.api().topology;
        let (tables, out_of_sight) = tables
            .into_iter()
            .partition(|table| topology.finds(name, table));
        datasets.push(TablesOfDataset {
            dataset: name.clone(),
            tables,
            declared: declared(&state, name),
            out_of_sight,
            error,
        });
    }
    let mut response = serialized(StatusCode::OK, &TablesReply { datasets });
    reading.end().await?.on(response.headers_mut());
    Ok(response)
}

/// The tables that the topology names for a dataset.
fn declared(state: &ApiState, name: &str) -> Vec<String> {
    let mut datasets = state.api().topology.datasets.iter();
    let Some(dataset) = datasets.find(|dataset| dataset.name.as_str() == name) else {
        return Vec::new();
    };
    let taken = dataset.tables.iter().flatten();
    let taken = taken.filter_map(|pattern| match pattern {
        TablePattern::Exact(table) => Some(table.to_string()),
        TablePattern::Prefix(_) => None,
    });
    let ruled = dataset.table_rules.keys().map(ToString::to_string);
    let names: BTreeSet<String> = taken.chain(ruled).collect();
    names.into_iter().collect()
}

/// Lists rows of a table in key order; a page is one snapshot.
#[utoipa::path(
    get,
    path = "/v1/tables/{table}/rows",
    tag = "tables",
    params(
        ("table" = String, Path, description = "The table."),
        ("after" = Option<String>, Query, description = "The key after which the page begins."),
        ("limit" = Option<u16>, Query, description = "The most rows of a page: 1 to 1000, 100 unless given."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
        super::openapi::ReadParameters,
    ),
    responses(
        (status = 200, description = "A page; it may have fewer rows than asked for, or none, and \
            yet not be the last.", body = RowsReply, headers(("Meridian-Session" = String), ("Meridian-Consistency" = String))),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn rows(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let table = incoming.table()?.into_owned();
    let target = state.target(&table)?;
    let [after, limit] = incoming.query(["after", "limit"])?;
    let limit = page_limit(limit.as_deref())?;
    let after = after.filter(|after| !after.is_empty());
    if let Some(after) = &after {
        target.check_key(after)?;
    }
    let reading = Read::begin(&state, incoming.headers(), [target.dataset]).await?;
    let page = read_rows(target.dataset, move |tables| {
        tables.page(&table, after.as_deref(), limit, PAGE_BYTES_MAX)
    })
    .await?;
    let stamp = reading.end().await?;
    let mut json = Json::default();
    json.raw("{\"rows\":");
    json.list(&page.rows, |json, (key, row)| {
        json.raw("{\"key\":").string(key);
        json.raw(",\"version\":").version(Some(row.version));
        json.raw(",\"document\":").raw(&row.document);
        if !row.siblings.is_empty() {
            json.raw(",\"siblings\":");
            write_siblings(json, &row.siblings);
        }
        json.raw("}");
    });
    json.raw(",\"next\":")
        .optional(page.next.as_deref())
        .raw("}");
    let mut response = json.reply();
    stamp.on(response.headers_mut());
    Ok(response)
}

/// A table's checksum: equal in regions that have converged.
#[utoipa::path(
    get,
    path = "/v1/tables/{table}/checksum",
    tag = "tables",
    params(
        ("table" = String, Path, description = "The table."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
        super::openapi::ReadParameters,
    ),
    responses(
        (status = 200, description = "The checksum.", body = ChecksumReply,
            headers(("Meridian-Session" = String), ("Meridian-Consistency" = String))),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn checksum(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let table = incoming.table()?.into_owned();
    let target = state.target(&table)?;
    let [] = incoming.query([])?;
    let reading = Read::begin(&state, incoming.headers(), [target.dataset]).await?;
    let checksum = read_rows(target.dataset, move |tables| tables.checksum(&table)).await?;
    let reply = ChecksumReply {
        rows: checksum.rows,
        checksum: checksum.checksum,
    };
    let mut response = serialized(StatusCode::OK, &reply);
    reading.end().await?.on(response.headers_mut());
    Ok(response)
}

/// Reads more than a row, which would hold up the thread that serves others too.
pub(crate) async fn read<T: Send + 'static>(
    tables: &TableReader<FjallStore>,
    read: impl FnOnce(&TableReader<FjallStore>) -> Result<T, TablesError> + Send + 'static,
) -> Result<T, Problem> {
    try_read(tables, read)
        .await?
        .map_err(|error| Problem::tables(&error))
}

/// The same of rows. One that is damaged is mended soon.
async fn read_rows<T: Send + 'static>(
    dataset: &DatasetHandle,
    read: impl FnOnce(&TableReader<FjallStore>) -> Result<T, TablesError> + Send + 'static,
) -> Result<T, Problem> {
    try_read(dataset.tables(), read)
        .await?
        .map_err(|error| unreadable(dataset, &error))
}

/// Rows could not be read. Where one is damaged, it is mended soon.
pub(crate) fn unreadable(dataset: &DatasetHandle, error: &TablesError) -> Problem {
    if let Some(row) = error.damaged_row() {
        dataset.repairs().mend_soon(row);
    }
    Problem::tables(error)
}

async fn try_read<T: Send + 'static>(
    tables: &TableReader<FjallStore>,
    read: impl FnOnce(&TableReader<FjallStore>) -> Result<T, TablesError> + Send + 'static,
) -> Result<Result<T, TablesError>, Problem> {
    let tables = tables.clone();
    let reading = tokio::task::spawn_blocking(move || read(&tables));
    reading.await.map_err(|error| {
        tracing::error!(%error, "a read of the tables was given up");
        Problem::new(Kind::Internal, "the read was given up")
    })
}
