//! How this region stands, for people.

use super::faults::{FaultReport, at_work};
use super::incoming::Incoming;
use super::json::serialized;
use super::listing::read;
use super::problem::Problem;
use super::sampling::{resident_memory_bytes, uptime_seconds};
use super::state::{ApiState, DatasetState};
use super::steering_status::{RouteStatus, routes};
use super::timestamp::rfc_3339;
use super::witness::is_witness;
use crate::dataset::{DatasetHandle, DatasetStatus, Shortage, apart};
use crate::dns::NameServer;
use crate::postgres::PostgresStatus;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use meridian_link::Rejections;
use meridian_model::{Micros, RegionName};
use meridian_topology::Promises;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;
use utoipa::ToSchema;

/// How this region stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct StatusReply {
    region: String,
    /// Whether it is a witness, which holds no tables.
    witness: bool,
    zone: String,
    /// Meridian's version.
    version: &'static str,
    uptime_seconds: f64,
    /// Resident memory of the process, where the system tells.
    memory_bytes: Option<u64>,
    datasets: Vec<DatasetReport>,
    /// How its name server is asked, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<DnsReport>,
    /// How clients are spread over the regions, as this region sees them.
    routes: Vec<RouteStatus>,
    /// How many transactions that an evicted incarnation alone held wait for a decision.
    aside_waiting: u64,
    /// Who was turned away at the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_diallers: Option<RejectedDiallers>,
    /// The faults at work, where faults are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<Vec<FaultReport>>,
}

/// How a region's name server is asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct DnsReport {
    /// Where it listens, for datagrams and streams.
    addresses: Vec<String>,
    /// Questions since the process started.
    queries: u64,
    /// Questions in the last second.
    queries_per_second: f64,
    /// Whether answers are signed.
    signed: bool,
}

impl DnsReport {
    fn of(server: &NameServer) -> Self {
        let counts = server.counts();
        let addresses = server.addresses().iter();
        Self {
            addresses: addresses.map(ToString::to_string).collect(),
            queries: counts.udp + counts.tcp,
            queries_per_second: server.queries_per_second(),
            signed: server.is_signed(),
        }
    }
}

/// How a dataset stands.
#[derive(Serialize, ToSchema)]
pub(crate) struct DatasetReport {
    dataset: String,
    state: DatasetCondition,
    /// Why it is stopped, takes no writes for now, or could not be opened.
    reason: Option<String>,
    /// What to do about it, where that is known.
    hint: Option<String>,
    promises: PromisesReport,
    #[serde(flatten)]
    running: Option<RunningReport>,
}

/// What a dataset promises, by the topology.
#[derive(Serialize, ToSchema)]
pub(crate) struct PromisesReport {
    /// How much a read shows that doesn't ask for a level of its own.
    consistency: &'static str,
    /// How many regions hold a write when it is acknowledged.
    acknowledgement: &'static str,
    /// How long a write waits for the other regions.
    acknowledgement_timeout_ms: u64,
    /// `active-active` or `home`.
    writes: &'static str,
    /// The region that takes all writes, where there is one.
    home: Option<String>,
    /// The regions that take no writes where others do.
    read_replicas: Vec<String>,
    /// Whether this region takes writes itself.
    takes_writes: bool,
}

impl PromisesReport {
    fn of(promises: &Promises, region: &RegionName) -> Self {
        let timeout_ms = promises.acknowledgement_timeout.as_millis();
        let replicas = promises.writes.read_replicas();
        Self {
            consistency: promises.consistency.name(),
            acknowledgement: promises.acknowledgement.name(),
            acknowledgement_timeout_ms: u64::try_from(timeout_ms).unwrap_or(u64::MAX),
            writes: promises.writes.name(),
            home: promises.writes.home().map(ToString::to_string),
            read_replicas: replicas.iter().map(ToString::to_string).collect(),
            takes_writes: promises.writes.takes(region),
        }
    }
}

/// Whether a dataset is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DatasetCondition {
    /// It takes reads and writes.
    Running,
    /// It takes no client writes until there is room for them, on the disk or in the log's budget.
    Full,
    /// It has been restarted and waits for its peers' word that nothing of it is lost.
    Settling,
    /// It takes no writes until somebody has looked.
    Stopped,
    /// It could not be opened.
    Failed,
    /// Its files are being opened.
    Opening,
    /// It is being brought up from its peers.
    Joining,
}

/// What is known of a dataset that was opened.
#[derive(Serialize, ToSchema)]
pub(crate) struct RunningReport {
    /// This region's incarnation.
    origin: String,
    /// The end of the log: how many entries it has had.
    position: u64,
    log_bytes: u64,
    /// Client writes are refused above this.
    log_bytes_max: u64,
    /// Client transactions committed since the process started.
    transactions_local: u64,
    /// Peers' transactions applied since the process started.
    transactions_remote: u64,
    /// Commits, each of one or more transactions, since the process started.
    commits: u64,
    /// Conflicts resolved here, ever.
    conflicts: u64,
    /// Dead letters that wait for a decision.
    dead_letters: u64,
    /// The members' incarnations.
    members: BTreeMap<String, String>,
    /// The tables that have rows.
    tables: Vec<String>,
    /// How the rows compare with those of the other regions.
    integrity: IntegritySummary,
    /// How it stands with its PostgreSQL server, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<PostgresStatus>,
}

/// How the rows here compare with those of the other regions, in short.
#[derive(Serialize, ToSchema)]
pub(crate) struct IntegritySummary {
    /// When all rows were last compared with the peer that was compared with the longest ago
    /// (RFC 3339); null before the first time.
    compared_at: Option<String>,
    /// The least share of rows that were equal, over the peers.
    equal_share: Option<f64>,
    /// Rows that differ and are not mended.
    waiting: usize,
}

fn integrity(handle: &DatasetHandle) -> IntegritySummary {
    let integrity = handle.integrity();
    let peers = integrity.peers.values();
    let oldest = peers.clone().map(|peer| peer.compared_at).min();
    let shares = peers.map(crate::dataset::PeerIntegrity::equal_share);
    IntegritySummary {
        compared_at: oldest.map(rfc_3339),
        equal_share: shares.min_by(f64::total_cmp),
        waiting: integrity.waiting.len(),
    }
}

/// Who was turned away at the link.
#[derive(Serialize, ToSchema)]
pub(crate) struct RejectedDiallers {
    /// How many, by reason.
    counts: BTreeMap<&'static str, u64>,
    last: Option<RejectedDialler>,
}

/// The last one that was turned away.
#[derive(Serialize, ToSchema)]
pub(crate) struct RejectedDialler {
    reason: &'static str,
    detail: String,
    address: String,
    /// The region that its certificate proved, if it came that far.
    region: Option<String>,
    /// When (RFC 3339).
    at: String,
}

/// Shows how this region stands.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "region",
    responses(
        (status = 200, description = "How it stands.", body = StatusReply),
        super::openapi::ReadProblems,
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn status(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let [] = Incoming::new(request).query([])?;
    let api = state.api();
    let mut datasets = Vec::new();
    for (name, dataset) in state.datasets() {
        let declared = api.topology.datasets.iter();
        let declared = declared.filter(|it| it.name.as_str() == name);
        let promises = declared.map(|it| it.promises.clone()).next();
        let mut promises = PromisesReport::of(&promises.unwrap_or_default(), &api.region);
        promises.takes_writes &= !is_witness(&state);
        let absent = |state, why: String, promises| {
            let (reason, hint) = apart(&why);
            DatasetReport {
                dataset: name.clone(),
                state,
                reason: Some(reason.to_owned()),
                hint: hint.map(str::to_owned),
                promises,
                running: None,
            }
        };
        let why = dataset.absence().unwrap_or_default();
        datasets.push(match dataset {
            DatasetState::Running(handle) => running(handle, promises).await?,
            DatasetState::Opening => absent(DatasetCondition::Opening, why, promises),
            DatasetState::Joining(_) => absent(DatasetCondition::Joining, why, promises),
            DatasetState::Failed { reason } => {
                absent(DatasetCondition::Failed, reason.clone(), promises)
            }
        });
    }
    let reply = StatusReply {
        region: api.region.to_string(),
        witness: is_witness(&state),
        zone: api.topology.zone.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: uptime_seconds(api.started),
        memory_bytes: resident_memory_bytes(),
        datasets,
        dns: api.name_server.as_ref().map(DnsReport::of),
        routes: routes(&state),
        aside_waiting: api.shelves.all().iter().map(|shelf| shelf.waiting()).sum(),
        rejected_diallers: api.rejections.as_ref().map(rejected),
        faults: at_work(&state),
    };
    Ok(serialized(StatusCode::OK, &reply))
}

/// What clients' writes to a dataset wait for, where it takes any: a witness doesn't, and a server's
/// are in its WAL meanwhile.
pub(crate) fn shortage(handle: &DatasetHandle, status: &DatasetStatus) -> Option<Shortage> {
    let takes_writes = !handle.is_captured() && !handle.is_witness(handle.region());
    status.shortage.clone().filter(|_| takes_writes)
}

/// Whether a dataset that was opened is at work.
pub(crate) fn condition(handle: &DatasetHandle, status: &DatasetStatus) -> DatasetCondition {
    match (&status.stopped, status.settled, shortage(handle, status)) {
        (Some(_), _, _) => DatasetCondition::Stopped,
        (None, false, _) => DatasetCondition::Settling,
        (None, true, Some(_)) => DatasetCondition::Full,
        (None, true, None) => DatasetCondition::Running,
    }
}

async fn running(
    handle: &DatasetHandle,
    promises: PromisesReport,
) -> Result<DatasetReport, Problem> {
    let (tables, conflicts) = read(handle.tables(), |tables| {
        Ok((tables.tables()?, tables.conflict_counts()?))
    })
    .await?;
    let status = handle.status();
    let shortage = shortage(handle, &status);
    let (reason, hint) = match (&status.stopped, &shortage) {
        (Some(stopped), _) => {
            let (reason, hint) = apart(stopped);
            (Some(reason.to_owned()), hint.map(str::to_owned))
        }
        (None, Some(shortage)) => {
            let hint = shortage.hint().to_owned();
            (Some(shortage.reason().to_owned()), Some(hint))
        }
        (None, None) => (None, None),
    };
    Ok(DatasetReport {
        dataset: handle.name().to_owned(),
        state: condition(handle, &status),
        running: Some(RunningReport {
            origin: status.origin.to_string(),
            position: status.position.0,
            log_bytes: status.log_bytes,
            log_bytes_max: status.log_bytes_max,
            transactions_local: status.transactions_local,
            transactions_remote: status.transactions_remote,
            commits: status.commits,
            conflicts: conflicts.total,
            dead_letters: status.letters.waiting,
            members: status
                .members
                .iter()
                .map(|(region, origin)| (region.to_string(), origin.to_string()))
                .collect(),
            tables,
            integrity: integrity(handle),
            postgres: handle.is_captured().then(|| handle.postgres().now()),
        }),
        reason,
        hint,
        promises,
    })
}

fn rejected(rejections: &Rejections) -> RejectedDiallers {
    let counts = rejections.counts();
    RejectedDiallers {
        counts: counts
            .into_iter()
            .map(|(reason, count)| (reason.name(), count))
            .collect(),
        last: rejections.last().map(|last| {
            let since_1970 = last.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let micros = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX);
            RejectedDialler {
                reason: last.reason.name(),
                detail: last.detail,
                address: last.address.to_string(),
                region: last.region,
                at: rfc_3339(Micros(micros)),
            }
        }),
    }
}
