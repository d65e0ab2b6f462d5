//! The conflict records (requirement D2), newest first.
//!
//! Datasets follow one another by name; the place within a dataset's part is `POSITION-INDEX`.

use super::consistency::Read;
use super::cursor::{self, Cursor};
use super::incoming::{Incoming, page_limit};
use super::json::{Json, hex};
use super::listing::read;
use super::problem::Problem;
use super::state::ApiState;
use super::timestamp::rfc_3339;
use crate::dataset::DatasetHandle;
use crate::postgres::SharedParked;
use axum::extract::{Request, State};
use axum::response::Response;
use meridian_engine_kv::ConflictCounts;
use meridian_model::{
    Conflict, ConflictKind, ConflictingWrite, OriginId, RegionName, RowName, Strategy,
};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use xxhash_rust::xxh3::Xxh3;

/// Conflicts, newest first within each dataset.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct ConflictsReply {
    /// The conflicts.
    conflicts: Vec<ConflictRecord>,
    /// What to send as `after` for the next page; null at the end.
    next: Option<String>,
    /// How many conflicts this region has resolved, ever.
    total: u64,
    /// Of these, how many are still listed.
    kept: u64,
}

/// Two writes of which neither had seen the other, and what became of them.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct ConflictRecord {
    /// The same in every region.
    conflict_id: String,
    /// `WriteConflict`, `UpdateDeleteConflict` or `DeleteConflict`; of a row that PostgreSQL can't
    /// show, `UniqueConflict` or `ForeignKeyConflict`.
    conflict_type: String,
    /// The row: `TABLE/KEY`.
    aggregate_id: String,
    /// Where the rows are a PostgreSQL server's: the columns of its key.
    key: Option<std::collections::BTreeMap<String, String>>,
    /// The unique index or foreign key that the rows are parted by.
    constraint: Option<String>,
    /// The two writes, the older first.
    conflicting_events: Vec<ConflictEvent>,
    /// Where a field is decided by itself: which one.
    field: Option<String>,
    /// What decided: `LastWriterWins`, `RegisterPerField` or `Siblings`; `Parked` where the row is
    /// kept and not shown; `Chosen` where somebody chose a side.
    resolution_strategy: String,
    /// The `eventId` of the write whose value stands; of siblings, which all stand, the newer.
    resolved_event: String,
    /// When this region resolved it (RFC 3339).
    resolved_at: String,
}

/// One of the writes.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct ConflictEvent {
    /// The write's version.
    event_id: String,
    /// The row, where it is another than the conflict's.
    aggregate_id: Option<String>,
    /// The region that took it; of an incarnation that was never heard of here, its number.
    region: String,
    /// When (RFC 3339).
    timestamp: String,
    /// Its document, or its value of the field; null where it removed it.
    data: serde_json::Value,
}

/// Lists the conflicts that this region has resolved.
#[utoipa::path(
    get,
    path = "/v1/conflicts",
    tag = "replication",
    params(
        ("after" = Option<String>, Query, description = "The last page's `next`."),
        ("limit" = Option<u16>, Query, description = "The most conflicts of a page: 1 to 1000, 100 unless given."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
        super::openapi::ReadParameters,
    ),
    responses(
        (status = 200, description = "A page.", body = ConflictsReply,
            headers(("Meridian-Session" = String), ("Meridian-Consistency" = String))),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn list(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [after, limit] = incoming.query(["after", "limit"])?;
    let limit = page_limit(limit.as_deref())?;
    let cursor = after.map(|after| Cursor::parse(&after)).transpose()?;
    let reading = Read::begin(&state, incoming.headers(), state.running()).await?;
    let mut json = Json::default();
    json.raw("{\"conflicts\":[");
    let mut counts = ConflictCounts::default();
    let mut listed = 0;
    let mut next = None;
    for dataset in state.running() {
        let counted = read(dataset.tables(), |tables| tables.conflict_counts()).await?;
        counts.total += counted.total;
        counts.kept += counted.kept;
        let Some(after) = Cursor::start(cursor.as_ref(), dataset.name()) else {
            continue;
        };
        if listed == limit {
            next.get_or_insert_with(|| cursor::at_beginning(dataset.name()));
            continue;
        }
        let wanted = limit - listed;
        let page = read(dataset.tables(), move |tables| {
            tables.conflicts(after, wanted)
        })
        .await?;
        let membership = dataset.membership();
        for (_, conflict) in &page.conflicts {
            json.raw(if listed > 0 { "," } else { "" });
            write(&mut json, dataset, &membership.incarnations, conflict);
            listed += 1;
        }
        next = page.next.map(|id| cursor::at(dataset.name(), id));
    }
    json.raw("],\"next\":").optional(next.as_deref());
    json.raw(&format!(
        ",\"total\":{},\"kept\":{}}}",
        counts.total, counts.kept
    ));
    let mut response = json.reply();
    reading.end().await?.on(response.headers_mut());
    Ok(response)
}

fn write(
    json: &mut Json,
    dataset: &DatasetHandle,
    regions: &BTreeMap<OriginId, RegionName>,
    conflict: &Conflict,
) {
    let server = dataset.is_captured().then(|| dataset.postgres().parked());
    record(json, dataset.name(), server, regions, conflict);
}

fn record(
    json: &mut Json,
    dataset: &str,
    server: Option<&SharedParked>,
    regions: &BTreeMap<OriginId, RegionName>,
    conflict: &Conflict,
) {
    let Conflict {
        table,
        key,
        kind,
        winner,
        loser,
        resolved_at,
        strategy,
        field,
    } = conflict;
    let (older, newer) = if loser.version < winner.version {
        (loser, winner)
    } else {
        (winner, loser)
    };
    let id = conflict_id(dataset, table, key, field.as_deref(), [older, newer]);
    json.raw("{\"conflictId\":").string(&id);
    json.raw(",\"conflictType\":")
        .string(conflict_type(kind, [older, newer]));
    json.raw(",\"aggregateId\":")
        .string(&format!("{table}/{key}"));
    let row = RowName {
        table: table.clone(),
        key: key.clone(),
    };
    if let Some(columns) = server.and_then(|server| server.key_of(&row)) {
        json.raw(",\"key\":").serialized(&columns);
    }
    let other = other_row(kind);
    let strategy = match server {
        // A table with counters is merged column by column, whatever its strategy; and a server's tables
        // have only one.
        Some(_) => Strategy::LastWriterWins,
        None => *strategy,
    };
    if let Some((constraint, _)) = other {
        json.raw(",\"constraint\":").string(constraint);
    }
    if let Some(field) = field {
        json.raw(",\"field\":").string(field);
    }
    json.raw(",\"conflictingEvents\":");
    json.list([older, newer], |json, event| {
        json.raw("{\"eventId\":").version(Some(event.version));
        if let Some((_, other)) = other.filter(|_| std::ptr::eq(event, winner)) {
            json.raw(",\"aggregateId\":")
                .string(&format!("{}/{}", other.table, other.key));
        }
        let origin = event.version.origin;
        match regions.get(&origin) {
            Some(region) => json.raw(",\"region\":").string(region.as_str()),
            None => json.raw(",\"region\":").string(&origin.to_string()),
        };
        json.raw(",\"timestamp\":")
            .string(&rfc_3339(event.version.hlc.time()));
        json.raw(",\"data\":")
            .document(event.document.as_deref())
            .raw("}");
    });
    json.raw(",\"resolutionStrategy\":")
        .string(strategy_name(kind, strategy));
    json.raw(",\"resolvedEvent\":");
    json.version(Some(winner.version));
    json.raw(",\"resolvedAt\":")
        .string(&rfc_3339(*resolved_at))
        .raw("}");
}

/// The constraint and the other row of a conflict between two.
fn other_row(kind: &ConflictKind) -> Option<(&str, &RowName)> {
    match kind {
        ConflictKind::Unique { constraint, rival } => Some((constraint, rival)),
        ConflictKind::ForeignKey { constraint, parent } => Some((constraint, parent)),
        ConflictKind::UpdateUpdate
        | ConflictKind::UpdateDelete
        | ConflictKind::DeleteDelete
        | ConflictKind::Chosen => None,
    }
}

fn strategy_name(kind: &ConflictKind, strategy: Strategy) -> &'static str {
    match (kind, strategy) {
        (ConflictKind::Unique { .. } | ConflictKind::ForeignKey { .. }, _) => "Parked",
        (ConflictKind::Chosen, _) => "Chosen",
        (_, Strategy::LastWriterWins) => "LastWriterWins",
        (_, Strategy::RegisterPerField) => "RegisterPerField",
        (_, Strategy::AddWinsSet) => "AddWinsSet",
        (_, Strategy::Siblings) => "Siblings",
    }
}

fn conflict_type(kind: &ConflictKind, events: [&ConflictingWrite; 2]) -> &'static str {
    match kind {
        ConflictKind::UpdateUpdate => "WriteConflict",
        ConflictKind::UpdateDelete => "UpdateDeleteConflict",
        ConflictKind::DeleteDelete => "DeleteConflict",
        ConflictKind::Unique { .. } => "UniqueConflict",
        ConflictKind::ForeignKey { .. } => "ForeignKeyConflict",
        ConflictKind::Chosen => {
            let [one, other] = events.map(|event| event.document.as_deref());
            conflict_type(&ConflictKind::of(one, other), events)
        }
    }
}

/// A name that every region comes to by itself, whichever of the writes it saw first.
fn conflict_id(
    dataset: &str,
    table: &str,
    key: &str,
    field: Option<&str>,
    events: [&ConflictingWrite; 2],
) -> String {
    let mut hasher = Xxh3::new();
    for part in [dataset, table, key].into_iter().chain(field) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    for event in events {
        hasher.update(&event.version.hlc.raw().to_le_bytes());
        hasher.update(&event.version.origin.0.to_le_bytes());
    }
    hex(&hasher.digest128().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Hlc, Micros, Version};
    use serde_json::{Value, json};

    fn event(hlc: u64, origin: u64, document: Option<&str>) -> ConflictingWrite {
        ConflictingWrite {
            version: Version {
                hlc: Hlc::at(Micros(hlc)),
                origin: OriginId(origin),
            },
            document: document.map(str::to_owned),
        }
    }

    fn record(winner: ConflictingWrite, loser: ConflictingWrite) -> Value {
        record_of(None, (Strategy::LastWriterWins, None), (winner, loser))
    }

    fn record_of(
        server: Option<&SharedParked>,
        (strategy, field): (Strategy, Option<&str>),
        (winner, loser): (ConflictingWrite, ConflictingWrite),
    ) -> Value {
        let regions = [(OriginId(1), RegionName::new("us-east-1"))]
            .into_iter()
            .collect();
        let kind = ConflictKind::of(winner.document.as_deref(), loser.document.as_deref());
        let resolved_at = Micros(3_000_000);
        let (table, key) = ("orders".to_owned(), "a/b\0".to_owned());
        let conflict = Conflict {
            table,
            key,
            kind,
            winner,
            loser,
            resolved_at,
            strategy,
            field: field.map(str::to_owned),
        };
        let mut json = Json::default();
        super::record(&mut json, "main", server, &regions, &conflict);
        serde_json::from_slice(&json.into_bytes()).unwrap()
    }

    #[test]
    fn a_record_has_the_fields_of_the_owners_documents_and_no_others() {
        let winner = event(2_000_000, 1, Some("{\"n\": 1}"));
        let record = record(winner, event(1_000_000, 2, None));
        let id = record["conflictId"].as_str().unwrap();
        assert_eq!(id.len(), 32);
        let older = (1_000_000_u64 << 12).to_string() + "-0000000000000002";
        let newer = (2_000_000_u64 << 12).to_string() + "-0000000000000001";
        assert_eq!(
            record,
            json!({
                "conflictId": id,
                "conflictType": "UpdateDeleteConflict",
                "aggregateId": "orders/a/b\0",
                "conflictingEvents": [
                    {"eventId": older, "region": "0000000000000002",
                     "timestamp": "1970-01-01T00:00:01.000000Z", "data": null},
                    {"eventId": newer, "region": "us-east-1",
                     "timestamp": "1970-01-01T00:00:02.000000Z", "data": {"n": 1}},
                ],
                "resolutionStrategy": "LastWriterWins",
                "resolvedEvent": newer,
                "resolvedAt": "1970-01-01T00:00:03.000000Z",
            })
        );
    }

    #[test]
    fn a_servers_table_has_the_strategy_that_it_was_given_though_it_counts() {
        let writes = || (event(2, 1, Some("\"new\"")), event(1, 2, Some("\"old\"")));
        let by_field = (Strategy::RegisterPerField, Some("note"));
        let server = SharedParked::default();
        let record = record_of(Some(&server), by_field, writes());
        assert_eq!(record["resolutionStrategy"], "LastWriterWins");
        assert_eq!(record["field"], "note");
        let record = record_of(None, by_field, writes());
        assert_eq!(record["resolutionStrategy"], "RegisterPerField");
    }

    #[test]
    fn the_id_depends_on_the_writes_and_not_on_who_won() {
        let id = |winner, loser| record(winner, loser)["conflictId"].clone();
        let (one, other) = (event(1, 1, Some("1")), event(2, 2, Some("2")));
        assert_eq!(
            id(one.clone(), other.clone()),
            id(other.clone(), one.clone())
        );
        assert_ne!(id(one.clone(), other), id(one, event(3, 2, Some("2"))));
    }
}
