//! The parked rows, in the order of their names, through the datasets by name.

use super::shown::{ParkedRow, Showing};
use super::{dataset, hindrance};
use crate::api::cursor;
use crate::api::incoming::{Incoming, page_limit};
use crate::api::json::{hex, serialized, unhex};
use crate::api::openapi;
use crate::api::problem::{Kind, Problem};
use crate::api::state::ApiState;
use crate::dataset::DatasetHandle;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_engine_kv::TablesError;
use meridian_engine_postgres::projection::Hindrance;
use meridian_model::RowName;
use serde::Serialize;
use utoipa::ToSchema;

/// Rows that this region's servers don't show.
#[derive(Serialize, ToSchema)]
pub(crate) struct ParkedReply {
    /// The rows.
    parked: Vec<ParkedRow>,
    /// What to send as `after` for the next page; null at the end.
    next: Option<String>,
    /// How many there are.
    total: u64,
    /// Of these, how many the server refuses by themselves.
    refused: u64,
    /// The datasets of which nothing is known: this process has not reached their servers yet.
    unknown: Vec<String>,
}

/// Lists the rows that this region's PostgreSQL servers don't show.
#[utoipa::path(
    get,
    path = "/v1/parked",
    tag = "parked rows",
    params(
        ("after" = Option<String>, Query, description = "The last page's `next`."),
        ("limit" = Option<u16>, Query, description = "The most rows of a page: 1 to 1000, 100 unless given."),
    ),
    responses(
        (status = 200, description = "A page.", body = ParkedReply),
        openapi::ReadProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [after, limit] = Incoming::new(request).query(["after", "limit"])?;
    let limit = page_limit(limit.as_deref())?;
    let after = after.map(|after| place(&after)).transpose()?;
    let mut reply = ParkedReply {
        parked: Vec::new(),
        next: None,
        total: 0,
        refused: 0,
        unknown: Vec::new(),
    };
    for dataset in state.running().filter(|dataset| dataset.is_captured()) {
        let parked = dataset.postgres().parked();
        if !parked.is_known() {
            reply.unknown.push(dataset.name().to_owned());
        }
        let counts = parked.counts();
        reply.total += counts.total;
        reply.refused += counts.refused;
        let begin = match &after {
            Some((name, _)) if dataset.name() < name.as_str() => continue,
            Some((name, row)) if dataset.name() == name => row.as_ref(),
            _ => None,
        };
        if reply.next.is_some() {
            continue;
        }
        let room = limit - reply.parked.len();
        let mut rows = parked.page(begin, room + 1);
        if rows.len() > room {
            rows.truncate(room);
            reply.next = Some(match rows.last() {
                Some((row, _)) => at(dataset.name(), row),
                None => cursor::at_beginning(dataset.name()),
            });
        }
        reply.parked.extend(read(dataset, rows).await?);
    }
    Ok(serialized(StatusCode::OK, &reply))
}

async fn read(
    dataset: &DatasetHandle,
    rows: Vec<(RowName, Hindrance)>,
) -> Result<Vec<ParkedRow>, Problem> {
    let showing = Showing::of(dataset);
    let read = move || -> Result<Vec<ParkedRow>, TablesError> {
        rows.iter()
            .map(|(row, why)| showing.row(row, why))
            .collect()
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?
        .map_err(|error| Problem::tables(&error))
}

/// Shows a row that this region's PostgreSQL server doesn't show.
#[utoipa::path(
    get,
    path = "/v1/parked/{table}/{key}",
    tag = "parked rows",
    params(
        ("table" = String, Path, description = "The table, with its schema."),
        ("key" = String, Path, description = "The row's key, percent-encoded."),
    ),
    responses(
        (status = 200, description = "The row.", body = ParkedRow),
        openapi::ReadProblems,
        openapi::ServerProblems,
    ),
)]
pub(crate) async fn show(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let row = incoming.row()?;
    let dataset = dataset(&state, &row)?;
    let why = hindrance(dataset, &row)?;
    let shown = read(dataset, vec![(row, why)]).await?;
    Ok(serialized(StatusCode::OK, &shown[0]))
}

fn at(dataset: &str, row: &RowName) -> String {
    cursor::at(
        dataset,
        hex(format!("{}\0{}", row.table, row.key).as_bytes()),
    )
}

/// Where a page begins: a dataset, and the row before.
fn place(text: &str) -> Result<(String, Option<RowName>), Problem> {
    let parsed = text.split_once(':').and_then(|(dataset, place)| {
        if place.is_empty() {
            return Some((dataset.to_owned(), None));
        }
        let name = String::from_utf8(unhex(place)?).ok()?;
        let (table, key) = name.split_once('\0')?;
        let row = RowName {
            table: table.to_owned(),
            key: key.to_owned(),
        };
        Some((dataset.to_owned(), Some(row)))
    });
    parsed.ok_or_else(|| {
        let detail = format!("after is no place in this list: {text:?}");
        Problem::new(Kind::BadQuery, detail).hint("send back the last page's next as it was")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_goes_on_behind_its_last_row() {
        let row = RowName {
            table: "public.t".to_owned(),
            key: "a:b\u{e9}".to_owned(),
        };
        let place = |text: &str| place(text).ok();
        assert_eq!(
            place(&at("shop", &row)),
            Some(("shop".to_owned(), Some(row)))
        );
        let beginning = cursor::at_beginning("shop");
        assert_eq!(place(&beginning), Some(("shop".to_owned(), None)));
        for bad in ["", "shop", "shop:x", "shop:00f"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
