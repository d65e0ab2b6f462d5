//! The list of dead letters, through the datasets by name. It shows no documents: a letter may be as
//! large as a transaction.

use crate::api::consistency::Read;
use crate::api::cursor::{self, Cursor};
use crate::api::incoming::{Incoming, page_limit};
use crate::api::json::Json;
use crate::api::listing::read;
use crate::api::openapi;
use crate::api::problem::Problem;
use crate::api::state::ApiState;
use crate::api::timestamp::rfc_3339;
use crate::dataset::DatasetHandle;
use axum::extract::{Request, State};
use axum::response::Response;
use meridian_engine_kv::{Letter, LetterCounts};
use meridian_model::{RegionName, Version};
use utoipa::ToSchema;

/// Dead letters, newest first within each dataset.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct DeadLettersReply {
    /// The letters.
    dead_letters: Vec<DeadLetter>,
    /// What to send as `after` for the next page; null at the end.
    next: Option<String>,
    /// How many transactions were set aside in this region, ever.
    total: u64,
    /// Of these, how many still wait for a decision.
    waiting: u64,
    /// Rows that this region's PostgreSQL servers refuse by themselves, which wait too: `/v1/parked`
    /// lists them.
    refused_rows: u64,
}

/// A transaction that no region can apply.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a reply that is written otherwise")]
pub(crate) struct DeadLetter {
    /// The transaction's version: the letter's name in every region.
    id: String,
    /// The dataset.
    dataset: String,
    /// The region that committed it; of an incarnation that was never heard of here, its number.
    region: String,
    /// When (RFC 3339).
    committed_at: String,
    /// Why it can't be applied.
    reason: String,
    /// How many rows it would change.
    changes: u64,
    /// About how many bytes of names, keys and documents it has.
    bytes: u64,
}

/// Lists the dead letters.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    tag = "dead letters",
    params(
        ("after" = Option<String>, Query, description = "The last page's `next`."),
        ("limit" = Option<u16>, Query, description = "The most letters of a page: 1 to 1000, 100 unless given."),
        ("Meridian-Session" = Option<String>, Header, description = "What the client has seen."),
    ),
    responses(
        (status = 200, description = "A page.", body = DeadLettersReply,
            headers(("Meridian-Session" = String))),
        openapi::ReadProblems,
        openapi::ServerProblems,
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
    json.raw("{\"dead_letters\":[");
    let (mut counts, mut refused_rows) = (LetterCounts::default(), 0);
    let mut listed = 0;
    let mut next = None;
    for dataset in state.running() {
        let counted = read(dataset.tables(), |tables| tables.letter_counts()).await?;
        counts.total += counted.total;
        counts.waiting += counted.waiting;
        if dataset.is_captured() {
            refused_rows += dataset.postgres().parked().counts().refused;
        }
        let Some(after) = Cursor::start(cursor.as_ref(), dataset.name()) else {
            continue;
        };
        if listed == limit {
            next.get_or_insert_with(|| cursor::at_beginning(dataset.name()));
            continue;
        }
        let wanted = limit - listed;
        let page = read(dataset.tables(), move |tables| {
            tables.letters(after, wanted)
        })
        .await?;
        for (id, letter) in &page.letters {
            json.raw(if listed > 0 { ",{" } else { "{" });
            summary(&mut json, dataset, *id, letter);
            json.raw("}");
            listed += 1;
        }
        next = page.next.map(|id| cursor::at(dataset.name(), id));
    }
    json.raw("],\"next\":").optional(next.as_deref());
    let LetterCounts { total, waiting } = counts;
    json.raw(&format!(",\"total\":{total},\"waiting\":{waiting}"));
    json.raw(&format!(",\"refused_rows\":{refused_rows}}}"));
    let mut response = json.reply();
    reading.end().await?.on(response.headers_mut());
    Ok(response)
}

/// A letter's members, but not its transaction.
pub(super) fn summary(json: &mut Json, dataset: &DatasetHandle, id: Version, letter: &Letter) {
    let membership = dataset.membership();
    let region = membership.incarnations.get(&id.origin);
    let region = region.map_or_else(|| id.origin.to_string(), RegionName::to_string);
    json.raw("\"id\":").version(Some(id));
    json.raw(",\"dataset\":").string(dataset.name());
    json.raw(",\"region\":").string(&region);
    json.raw(",\"committed_at\":")
        .string(&rfc_3339(id.hlc.time()));
    json.raw(",\"reason\":").string(&letter.reason);
    let Letter { changes, bytes, .. } = letter;
    json.raw(&format!(",\"changes\":{changes},\"bytes\":{bytes}"));
}
