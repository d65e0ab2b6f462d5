//! What monitoring scrapes. Names carry their units; everything is read from where it is counted
//! when it is asked for.

use super::exposition::{OPENMETRICS, PROMETHEUS, takes_openmetrics, to_prometheus};
use super::incoming::Incoming;
use super::listing::read;
use super::problem::{Kind, Problem};
use super::sampling::resident_memory_bytes;
use super::state::{ApiState, DatasetState};
use super::witness::is_witness;
use crate::faults::Fault;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use meridian_replicate::StreamState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

const DURATIONS_S: [f64; 12] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// A request's route and the class of its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

/// Requests, counted as they are answered.
#[derive(Debug)]
pub(crate) struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let histogram = || Histogram::new(DURATIONS_S);
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
        }
    }
}

impl HttpMetrics {
    /// Counts a request that was answered.
    pub(crate) fn count(&self, route: &'static str, status: u16, took: Duration) {
        let status = match status {
            0..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
        self.durations
            .get_or_create(&RouteLabels { route })
            .observe(took.as_secs_f64());
    }
}

/// Shows the region's metrics, in the text format of Prometheus or, if asked for, OpenMetrics.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "region",
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "text/plain"),
        super::openapi::ServerProblems,
    ),
)]
pub(crate) async fn metrics(
    State(state): State<ApiState>,
    request: Request,
) -> Result<Response, Problem> {
    let incoming = Incoming::new(request);
    let [] = incoming.query([])?;
    let mut conflicts = BTreeMap::new();
    for dataset in state.running() {
        let counts = read(dataset.tables(), |tables| tables.conflict_counts()).await?;
        conflicts.insert(dataset.name().to_owned(), counts.total);
    }
    let mut registry = Registry::default();
    let http = state.http();
    registry.register(
        "meridian_http_requests",
        "Requests answered",
        http.requests.clone(),
    );
    let seconds = "How long requests took";
    registry.register(
        "meridian_http_request_duration_seconds",
        seconds,
        http.durations.clone(),
    );
    registry.register_collector(Box::new(Region {
        state: state.clone(),
        conflicts,
    }));
    let mut page = String::new();
    text::encode(&mut page, &registry)
        .map_err(|_| Problem::new(Kind::Internal, "the metrics can't be written"))?;
    let accept = incoming.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let (kind, page) = if takes_openmetrics(accept) {
        (OPENMETRICS, page)
    } else {
        (PROMETHEUS, to_prometheus(&page))
    };
    let kind = HeaderValue::from_static(kind);
    Ok(([(header::CONTENT_TYPE, kind)], page).into_response())
}

/// Reads the region's state when it is scraped.
struct Region {
    state: ApiState,
    conflicts: BTreeMap<String, u64>,
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Region")
    }
}

pub(super) type Samples<T> = Vec<(Vec<(&'static str, String)>, T)>;

impl Collector for Region {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.datasets(&mut encoder)?;
        self.peers(&mut encoder)?;
        self.process(&mut encoder)?;
        self.faults(&mut encoder)?;
        self.integrity(&mut encoder)?;
        super::metrics_dns::encode(&self.state, &mut encoder)?;
        super::metrics_postgres::encode(&self.state, &mut encoder)?;
        super::metrics_health::encode(&self.state, &mut encoder)
    }
}

impl Region {
    fn datasets(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut transactions, mut commits, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bytes, mut budget) = (Vec::new(), Vec::new());
        let (mut letters, mut waiting) = (Vec::new(), Vec::new());
        for dataset in self.state.running() {
            let status = dataset.status();
            let name = || vec![("dataset", dataset.name().to_owned())];
            let source = |source: &str| [name(), vec![("source", source.to_owned())]].concat();
            transactions.push((source("local"), status.transactions_local));
            transactions.push((source("remote"), status.transactions_remote));
            commits.push((name(), status.commits));
            conflicts.push((
                name(),
                self.conflicts.get(dataset.name()).copied().unwrap_or(0),
            ));
            letters.push((name(), status.letters.total));
            waiting.push((name(), signed(status.letters.waiting)));
            bytes.push((name(), signed(status.log_bytes)));
            budget.push((name(), signed(status.log_bytes_max)));
        }
        let what = "Transactions made visible here, by where they were committed";
        counters(encoder, "meridian_transactions", what, &transactions)?;
        counters(
            encoder,
            "meridian_commits",
            "Group commits, each one sync",
            &commits,
        )?;
        counters(
            encoder,
            "meridian_conflicts",
            "Conflicts resolved here",
            &conflicts,
        )?;
        let what = "Transactions set aside here because no region can apply them";
        counters(encoder, "meridian_dead_letters", what, &letters)?;
        let what = "Dead letters that wait for a decision";
        gauges(encoder, "meridian_dead_letters_waiting", what, &waiting)?;
        gauges(
            encoder,
            "meridian_log_bytes",
            "Disk that the log takes",
            &bytes,
        )?;
        let what = "Disk that the log may take before client writes are refused";
        gauges(encoder, "meridian_log_budget_bytes", what, &budget)?;
        gauges(
            encoder,
            "meridian_dataset_stopped",
            "1 where no client writes are taken",
            &self.stopped(),
        )
    }

    fn stopped(&self) -> Samples<i64> {
        let datasets = self.state.datasets().iter();
        datasets
            .map(|(name, state)| {
                let stopped = match state {
                    DatasetState::Running(handle) => handle.status().stopped.is_some(),
                    DatasetState::Opening
                    | DatasetState::Joining(_)
                    | DatasetState::Failed { .. } => true,
                };
                (vec![("dataset", name.clone())], i64::from(stopped))
            })
            .collect()
    }

    fn peers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut lag, mut transactions, mut connected) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ahead, mut drift, mut visible) = (Vec::new(), Vec::new(), Vec::new());
        for dataset in self.state.running() {
            for peer in dataset.status().peers {
                let (status, delays) = (peer.status, peer.delays);
                let labels = vec![
                    ("dataset", dataset.name().to_owned()),
                    ("peer", status.region.to_string()),
                ];
                lag.push((labels.clone(), status.lag.as_secs_f64()));
                transactions.push((labels.clone(), signed(status.lag_transactions)));
                let streams = status.state == StreamState::Streaming;
                connected.push((labels.clone(), i64::from(streams)));
                ahead.push((labels.clone(), status.clock_ahead.as_secs_f64()));
                drift.push((labels.clone(), i64::from(status.drifts)));
                let quantiles = [
                    ("0.5", delays.p50_ms),
                    ("0.95", delays.p95_ms),
                    ("0.99", delays.p99_ms),
                ];
                for (quantile, milliseconds) in quantiles {
                    let labels = [&labels[..], &[("quantile", quantile.to_owned())]].concat();
                    visible.push((labels, milliseconds / 1000.0));
                }
            }
        }
        let what = "For how long something of the peer's has been missing here";
        gauges(encoder, "meridian_replication_lag_seconds", what, &lag)?;
        let what = "Transactions of the peer's that are missing here";
        gauges(
            encoder,
            "meridian_replication_lag_transactions",
            what,
            &transactions,
        )?;
        gauges(
            encoder,
            "meridian_replication_connected",
            "1 while entries flow",
            &connected,
        )?;
        let what = "How far the peer's clock was ahead when it last sent";
        gauges(encoder, "meridian_clock_ahead_seconds", what, &ahead)?;
        gauges(
            encoder,
            "meridian_clock_drift_alert",
            "1 where that is too far",
            &drift,
        )?;
        let what = "Time from a commit at the peer to its visibility here";
        gauges(encoder, "meridian_visible_delay_seconds", what, &visible)
    }

    /// Nothing where no faults are allowed.
    fn faults(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(faults) = &self.state.api().faults else {
            return Ok(());
        };
        let active = faults.list();
        let count = |kind| active.iter().filter(|it| it.fault.kind() == kind).count();
        let samples: Samples<i64> = Fault::KINDS
            .into_iter()
            .map(|kind| (vec![("kind", kind.to_owned())], signed(count(kind) as u64)))
            .collect();
        let what = "Faults at work, asked for over the API";
        gauges(encoder, "meridian_faults_active", what, &samples)
    }

    fn integrity(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (mut rows, mut found, mut mended) = (Vec::new(), Vec::new(), Vec::new());
        let (mut waiting, mut share, mut at) = (Vec::new(), Vec::new(), Vec::new());
        for dataset in self.state.running() {
            let integrity = dataset.integrity();
            let name = || vec![("dataset", dataset.name().to_owned())];
            rows.push((name(), integrity.totals.rows));
            found.push((name(), integrity.totals.found));
            mended.push((name(), integrity.totals.mended));
            let count = i64::try_from(integrity.waiting.len()).unwrap_or(i64::MAX);
            waiting.push((name(), count));
            for (peer, figures) in &integrity.peers {
                let labels = [name(), vec![("peer", peer.to_string())]].concat();
                share.push((labels.clone(), figures.equal_share()));
                at.push((labels, signed(figures.compared_at.0 / 1_000_000)));
            }
        }
        let what = "Rows compared with those of the peers";
        counters(encoder, "meridian_integrity_rows_compared", what, &rows)?;
        let what = "Rows found to differ";
        counters(encoder, "meridian_integrity_differences", what, &found)?;
        let what = "Rows mended here";
        counters(encoder, "meridian_integrity_mended", what, &mended)?;
        let what = "Rows that differ and are not mended";
        gauges(encoder, "meridian_integrity_waiting", what, &waiting)?;
        let what = "Share of rows equal to the peer's when they were last compared";
        gauges(encoder, "meridian_integrity_equal_share", what, &share)?;
        let what = "When all rows were last compared with the peer's, in seconds since 1970";
        gauges(
            encoder,
            "meridian_integrity_compared_timestamp_seconds",
            what,
            &at,
        )
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let rejections = self.state.api().rejections.as_ref();
        let counts = rejections
            .map(meridian_link::Rejections::counts)
            .unwrap_or_default();
        let rejected: Samples<u64> = counts
            .into_iter()
            .map(|(reason, count)| (vec![("reason", reason.name().to_owned())], count))
            .collect();
        counters(
            encoder,
            "meridian_link_rejections",
            "Connections turned away",
            &rejected,
        )?;
        let resident: Samples<i64> = resident_memory_bytes()
            .map(|bytes| (Vec::new(), signed(bytes)))
            .into_iter()
            .collect();
        let witness = vec![(Vec::new(), i64::from(is_witness(&self.state)))];
        let what = "1 where the region is a witness, which holds no tables";
        gauges(encoder, "meridian_witness", what, &witness)?;
        gauges(
            encoder,
            "process_resident_memory_bytes",
            "Resident memory",
            &resident,
        )
    }
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &Samples<u64>,
) -> fmt::Result {
    let prototype = ConstCounter::new(0u64);
    let mut family = encoder.encode_descriptor(name, help, None, prototype.metric_type())?;
    for (labels, value) in samples {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

pub(super) fn gauges<T>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &Samples<T>,
) -> fmt::Result
where
    T: Copy + Default + fmt::Debug,
    ConstGauge<T>: EncodeMetric,
{
    let prototype = ConstGauge::new(T::default());
    let mut family = encoder.encode_descriptor(name, help, None, prototype.metric_type())?;
    for (labels, value) in samples {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
