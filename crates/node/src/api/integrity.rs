//! How the rows here compare with those of the other regions, and comparing them now.

use super::documents;
use super::incoming::Incoming;
use super::json::serialized;
use super::problem::{Kind, Problem};
use super::region_requests::did_you_mean;
use super::state::ApiState;
use super::timestamp::rfc_3339;
use crate::dataset::{
    self, CompareRequest, Completed, DatasetHandle, Integrity, PeerIntegrity, Progress,
};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_model::{Holds, RegionName, RowName, Span};
use meridian_replicate::compare::{Finding, Scope, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::ToSchema;

const BODY_BYTES_MAX: usize = 1 << 20;
/// Comparisons on request whose outcome is kept.
const KEPT_MAX: usize = 16;
/// … of which so many may be under way.
const UNDER_WAY_MAX: usize = 4;

/// How the rows here compare with those of the other regions.
#[derive(Serialize, ToSchema)]
pub(crate) struct IntegrityReply {
    region: String,
    datasets: Vec<DatasetIntegrity>,
}

/// The same of one dataset.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetIntegrity {
    dataset: String,
    /// The comparison under way.
    running: Option<ProgressReport>,
    /// Each peer, as of the last comparison of all rows.
    peers: Vec<PeerFigures>,
    /// Rows that differ and are not mended: for a person, for the region whose copy is bad, or for
    /// when all regions answer.
    waiting: Vec<RowDifference>,
    /// Comparisons since the process started.
    comparisons: u64,
    /// Rows compared since the process started.
    rows_compared: u64,
    /// Rows found to differ since the process started.
    found: u64,
    /// Rows mended here since the process started.
    mended: u64,
}

/// How one peer's rows compare.
#[derive(Serialize, ToSchema)]
pub(crate) struct PeerFigures {
    peer: String,
    /// When the comparison ended (RFC 3339).
    compared_at: String,
    took_seconds: f64,
    /// Rows of this region that were compared.
    rows: u64,
    /// Rows that differed.
    differences: u64,
    /// The share of rows that were equal, from 0 to 1: the integrity figure.
    equal_share: f64,
    /// Why the comparison did not come to its end, if so.
    incomplete: Option<String>,
}

/// How far a comparison is.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub(crate) struct ProgressReport {
    /// Rows compared so far.
    rows: u64,
    /// Rows found to differ so far.
    found: u64,
    /// Rows mended here so far.
    mended: u64,
}

/// A row that differs between regions.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct RowDifference {
    table: String,
    key: String,
    /// What this region is to do: `take` the copy of another, nothing as the bad copy is `theirs`,
    /// or wait until all regions answer (`unheard`) or a person decides (`split`).
    verdict: &'static str,
    /// The region whose copy is the good one, where this one's isn't.
    good: Option<String>,
    /// Whether it was mended here.
    mended: bool,
    copies: Vec<Copy>,
}

/// What a region's copy of a row holds.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct Copy {
    region: String,
    /// `row`, `deleted`, `nothing` (not even the memory of a delete) or `damaged`.
    holds: &'static str,
    /// The greatest version of any write to the row.
    version: Option<String>,
}

/// What to compare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareOrder {
    /// These tables; all where neither tables nor rows are named.
    #[serde(default)]
    tables: Vec<String>,
    /// These rows.
    #[serde(default)]
    rows: Vec<RowPlace>,
    /// Whether bad copies here are mended.
    #[serde(default)]
    repair: bool,
    /// A person's decision: the region whose copies of `rows` are right.
    prefer: Option<String>,
}

/// A row.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowPlace {
    table: String,
    key: String,
}

/// A comparison on request.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct ComparisonReply {
    id: u64,
    region: String,
    done: bool,
    /// Each dataset that is compared or was.
    datasets: Vec<ComparedDataset>,
}

/// What a comparison found in one dataset.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct ComparedDataset {
    dataset: String,
    done: bool,
    #[serde(flatten)]
    progress: ProgressReport,
    took_seconds: Option<f64>,
    /// Rows that are bad here and were not mended.
    unmended: u64,
    /// Rows whose bad copy is another region's.
    theirs: u64,
    /// Rows that wait for a person, or until all regions answer.
    left: u64,
    /// Rows that were written all the time, which is no difference.
    busy: u64,
    /// Peers that were not compared with to the end, and why.
    incomplete: BTreeMap<String, String>,
    /// Why the comparison did not take place or ended early, if so.
    error: Option<String>,
    /// The first 1,000 rows that differed.
    differences: Vec<RowDifference>,
}

/// The comparisons on request.
#[derive(Default)]
pub(crate) struct Comparisons(Mutex<BTreeMap<u64, ComparisonReply>>);

impl Comparisons {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<u64, ComparisonReply>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, id: u64, index: usize, change: impl FnOnce(&mut ComparedDataset)) {
        self.with(|kept| {
            if let Some(comparison) = kept.get_mut(&id) {
                change(&mut comparison.datasets[index]);
                comparison.done = comparison.datasets.iter().all(|dataset| dataset.done);
            }
        });
    }
}

/// Shows how the rows here compare with those of the other regions.
#[utoipa::path(
    get,
    path = "/v1/integrity",
    tag = "region",
    responses(
        (status = 200, description = "The figures of each dataset and peer.", body = IntegrityReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn integrity(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    let datasets = state.running();
    let datasets = datasets.map(|dataset| figures(dataset.name(), dataset.integrity()));
    let reply = IntegrityReply {
        region: state.api().region.to_string(),
        datasets: datasets.collect(),
    };
    Ok(serialized(StatusCode::OK, &reply))
}

/// Compares rows with those of the other regions, and mends them if asked to. The reply comes at
/// once; the comparison goes on.
#[utoipa::path(
    post,
    path = "/v1/integrity/comparisons",
    tag = "region",
    request_body = CompareOrder,
    responses(
        (status = 202, description = "The comparison has begun.", body = ComparisonReply),
        super::openapi::WriteProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn compare(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let mut incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let text = documents::text(incoming.read_body(BODY_BYTES_MAX).await?)?;
    let order: CompareOrder = documents::object(&text)?;
    let plans = plan(&state, &order)?;
    let comparisons = state.comparisons();
    let reply = comparisons.with(|kept| {
        if kept.values().filter(|kept| !kept.done).count() >= UNDER_WAY_MAX {
            return Err(
                Problem::new(Kind::TooBusy, "enough comparisons are under way here")
                    .hint("wait until one has ended")
                    .retry_after(5),
            );
        }
        let id = kept.last_key_value().map_or(0, |(id, _)| *id) + 1;
        let datasets = plans.iter().map(|(dataset, _)| begun(dataset.name()));
        let reply = ComparisonReply {
            id,
            region: state.api().region.to_string(),
            done: false,
            datasets: datasets.collect(),
        };
        kept.insert(id, reply.clone());
        while kept.len() > KEPT_MAX {
            kept.pop_first();
        }
        Ok(reply)
    })?;
    let comparisons = comparisons.clone();
    tokio::spawn(carry_out(comparisons, reply.id, plans));
    Ok(serialized(StatusCode::ACCEPTED, &reply))
}

/// Shows a comparison that was asked for.
#[utoipa::path(
    get,
    path = "/v1/integrity/comparisons",
    tag = "region",
    params(("id" = u64, Query, description = "The comparison's id.")),
    responses(
        (status = 200, description = "How far it is, or what it found.", body = ComparisonReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn comparison(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [id] = Incoming::new(request).query(["id"])?;
    let id: u64 = id.and_then(|id| id.parse().ok()).ok_or_else(|| {
        Problem::new(
            Kind::BadQuery,
            "id is the number that the comparison was given",
        )
    })?;
    let found = state.comparisons().with(|kept| kept.get(&id).cloned());
    let found = found.ok_or_else(|| {
        Problem::new(
            Kind::UnknownPath,
            format!("no comparison {id} is known here"),
        )
        .hint("the last 16 since the region started are kept")
    })?;
    Ok(serialized(StatusCode::OK, &found))
}

type Plans = Vec<(DatasetHandle, CompareRequest)>;

/// By dataset what is to be compared.
fn plan(state: &ApiState, order: &CompareOrder) -> Result<Plans, Problem> {
    let prefer = prefer(state, order)?;
    let mut scopes: BTreeMap<&str, (DatasetHandle, Scope)> = BTreeMap::new();
    let mut tables: BTreeMap<&str, (DatasetHandle, Vec<Span>)> = BTreeMap::new();
    let mut rows: BTreeMap<&str, (DatasetHandle, Vec<RowName>)> = BTreeMap::new();
    for table in &order.tables {
        let dataset = state.target(table)?.dataset;
        let (_, spans) = tables
            .entry(dataset.name())
            .or_insert_with(|| (dataset.clone(), Vec::new()));
        spans.push(Span::of_table(table));
    }
    for RowPlace { table, key } in &order.rows {
        let target = state.target(table)?;
        target.check_key(key)?;
        let (_, names) = rows
            .entry(target.dataset.name())
            .or_insert_with(|| (target.dataset.clone(), Vec::new()));
        names.push(RowName {
            table: table.clone(),
            key: key.clone(),
        });
    }
    if !rows.is_empty() && !tables.is_empty() {
        let detail = "`tables` and `rows` can't be compared in one go";
        return Err(Problem::new(Kind::BadBody, detail).hint("send two requests"));
    }
    for (name, (dataset, spans)) in tables {
        scopes.insert(name, (dataset, Scope::Spans(spans)));
    }
    for (name, (dataset, names)) in rows {
        scopes.insert(name, (dataset, Scope::Rows(names)));
    }
    if scopes.is_empty() {
        for dataset in state.running() {
            let all = Scope::Spans(vec![Span::default()]);
            scopes.insert(dataset.name(), (dataset.clone(), all));
        }
    }
    let requests = scopes.into_values().map(|(dataset, scope)| {
        let request = CompareRequest {
            scope,
            repair: order.repair,
            prefer: prefer.clone(),
            rows_per_second_max: None,
        };
        (dataset, request)
    });
    Ok(requests.collect())
}

fn prefer(state: &ApiState, order: &CompareOrder) -> Result<Option<RegionName>, Problem> {
    let Some(prefer) = &order.prefer else {
        return Ok(None);
    };
    let bad = |detail: String, hint: &str| Err(Problem::new(Kind::BadBody, detail).hint(hint));
    if order.rows.is_empty() || !order.repair {
        return bad(
            "`prefer` is a decision about `rows`, to be carried out with `repair`".to_owned(),
            "name the rows, and set `repair`",
        );
    }
    let prefer = RegionName::new(prefer);
    let (own, peers) = (&state.api().region, state.peers());
    if prefer != *own && !peers.contains(&prefer) {
        let hint = did_you_mean(&prefer, peers.iter().chain([own]));
        return bad(format!("there is no region {:?}", prefer.as_str()), &hint);
    }
    Ok(Some(prefer))
}

async fn carry_out(comparisons: Arc<Comparisons>, id: u64, plans: Plans) {
    for (index, (dataset, request)) in plans.into_iter().enumerate() {
        let mut progress = |so_far: Progress| {
            comparisons.change(id, index, |compared| compared.progress = report(so_far));
        };
        let outcome = dataset::compare(&dataset, request, &mut progress).await;
        comparisons.change(id, index, |compared| match outcome {
            Ok(completed) => conclude(compared, &completed),
            Err(error) => {
                compared.done = true;
                compared.error = Some(error.to_string());
            }
        });
    }
}

fn begun(dataset: &str) -> ComparedDataset {
    ComparedDataset {
        dataset: dataset.to_owned(),
        done: false,
        progress: report(Progress::default()),
        took_seconds: None,
        unmended: 0,
        theirs: 0,
        left: 0,
        busy: 0,
        incomplete: BTreeMap::new(),
        error: None,
        differences: Vec::new(),
    }
}

fn conclude(compared: &mut ComparedDataset, completed: &Completed) {
    let found = &completed.report;
    compared.done = true;
    compared.progress = ProgressReport {
        rows: found.rows,
        found: found.found,
        mended: found.mended,
    };
    compared.took_seconds = Some(completed.took.as_secs_f64());
    compared.unmended = found.unmended;
    compared.theirs = found.theirs;
    compared.left = found.left;
    compared.busy = found.busy;
    compared.error.clone_from(&found.failed);
    let lost = found.peers.iter();
    compared.incomplete = lost
        .filter_map(|(peer, figures)| Some((peer.to_string(), figures.lost.clone()?)))
        .collect();
    compared.differences = found.findings.iter().map(difference).collect();
}

fn report(progress: Progress) -> ProgressReport {
    ProgressReport {
        rows: progress.rows,
        found: progress.found,
        mended: progress.mended,
    }
}

fn figures(dataset: &str, integrity: Integrity) -> DatasetIntegrity {
    let Integrity {
        running,
        peers,
        waiting,
        totals,
    } = integrity;
    DatasetIntegrity {
        dataset: dataset.to_owned(),
        running: running.map(report),
        peers: peers
            .iter()
            .map(|(peer, figures)| peer_figures(peer, figures))
            .collect(),
        waiting: waiting.iter().map(difference).collect(),
        comparisons: totals.comparisons,
        rows_compared: totals.rows,
        found: totals.found,
        mended: totals.mended,
    }
}

fn peer_figures(peer: &RegionName, figures: &PeerIntegrity) -> PeerFigures {
    PeerFigures {
        peer: peer.to_string(),
        compared_at: rfc_3339(figures.compared_at),
        took_seconds: figures.took.as_secs_f64(),
        rows: figures.rows,
        differences: figures.differences,
        equal_share: figures.equal_share(),
        incomplete: figures.incomplete.clone(),
    }
}

fn difference(finding: &Finding) -> RowDifference {
    let (verdict, good) = match &finding.verdict {
        Verdict::Agreed => ("agreed", None),
        Verdict::Theirs => ("theirs", None),
        Verdict::Take(region) => ("take", Some(region.to_string())),
        Verdict::Unheard => ("unheard", None),
        Verdict::Split => ("split", None),
    };
    let copies = finding.copies.iter().map(|(region, holds)| Copy {
        region: region.to_string(),
        holds: match holds {
            Holds::Row { .. } => "row",
            Holds::Tombstone { .. } => "deleted",
            Holds::Nothing => "nothing",
            Holds::Damage => "damaged",
        },
        version: holds.latest().map(|version| version.to_string()),
    });
    RowDifference {
        table: finding.name.table.clone(),
        key: finding.name.key.clone(),
        verdict,
        good,
        mended: finding.mended,
        copies: copies.collect(),
    }
}
