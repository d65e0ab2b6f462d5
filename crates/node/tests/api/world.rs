//! A region's API in a directory of its own, and short ways to ask it something.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::BodyExt as _;
use meridian_model::RegionName;
use meridian_node::api::{Api, ApiState, DatasetState, ServeLimits, router, serve_within};
use meridian_node::dataset::{self, DatasetConfig, MachineClock};
use meridian_replicate::Config;
use meridian_topology::{Dataset, DatasetName, TablePattern, Topology};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt as _;

/// Short deadlines, so that tests of them take no time.
pub(crate) fn short() -> ServeLimits {
    let moment = Duration::from_millis(300);
    ServeLimits {
        handshake_timeout: moment,
        header_timeout: moment,
        drain_timeout: moment,
        ..ServeLimits::default()
    }
}

/// A region with the dataset `main` for every table but `broken`, whose dataset could not be
/// opened; its peers are never heard.
pub(crate) struct World {
    pub(crate) router: Router,
    _directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_token(None)
    }

    pub(crate) fn with_token(token: Option<&str>) -> Self {
        let mut topology = Topology::built_in();
        let mut broken = Dataset::embedded(DatasetName::new("damaged").unwrap());
        broken.tables = Some(vec![TablePattern::new("broken").unwrap()]);
        topology.datasets.push(broken);
        let directory = tempfile::tempdir().unwrap();
        let config = config(&topology, &directory);
        let (handle, _running) = dataset::open(config, MachineClock::start()).unwrap();
        let failed = DatasetState::Failed {
            reason: "a segment is damaged".to_owned(),
        };
        let datasets = [("main", DatasetState::Running(handle)), ("damaged", failed)];
        let datasets: BTreeMap<_, _> = datasets
            .into_iter()
            .map(|(name, state)| (name.to_owned(), state))
            .collect();
        Self::of(topology, datasets, token, directory)
    }

    /// Without the dataset that could not be opened.
    pub(crate) fn healthy() -> Self {
        let topology = Topology::built_in();
        let directory = tempfile::tempdir().unwrap();
        let config = config(&topology, &directory);
        let (handle, _running) = dataset::open(config, MachineClock::start()).unwrap();
        let datasets = BTreeMap::from([("main".to_owned(), DatasetState::Running(handle))]);
        Self::of(topology, datasets, None, directory)
    }

    fn of(
        topology: Topology,
        datasets: BTreeMap<String, DatasetState>,
        token: Option<&str>,
        directory: TempDir,
    ) -> Self {
        let api = Api {
            region: RegionName::new("us-east-1"),
            topology: Arc::new(topology),
            datasets,
            token: token.map(str::to_owned),
            rejections: None,
            started: Instant::now(),
        };
        Self {
            router: router(ApiState::new(api)),
            _directory: directory,
        }
    }

    /// Sends a request without headers.
    pub(crate) async fn ask(&self, line: &str, body: impl Into<Body>) -> Reply {
        self.ask_with(line, [], body).await
    }

    /// Sends a request: method and path, headers, body.
    pub(crate) async fn ask_with<const N: usize>(
        &self,
        line: &str,
        headers: [(&str, &str); N],
        body: impl Into<Body>,
    ) -> Reply {
        ask(self.router.clone(), line, &headers, body.into()).await
    }

    /// Serves on a port of the system's choice.
    pub(crate) async fn serve(&self, limits: ServeLimits, tls: Option<ServerConfig>) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = serve_within(
            limits,
            listener,
            self.router.clone(),
            tls.map(Arc::new),
            stopped,
        );
        Served {
            address,
            stop,
            task: tokio::spawn(serving),
        }
    }
}

fn config(topology: &Topology, directory: &TempDir) -> DatasetConfig {
    let regions = topology.regions.iter().map(|region| region.name.clone());
    DatasetConfig {
        name: "main".to_owned(),
        directory: directory.path().to_owned(),
        replica: Config {
            region: RegionName::new("us-east-1"),
            regions: regions.collect(),
            log_bytes_max: 1 << 30,
            log_bytes_limit: 2 << 30,
            drift_max: Duration::from_millis(500),
            report_interval: Duration::from_millis(500),
            settle: Duration::ZERO,
        },
        limits: meridian_engine_kv::Limits::default(),
    }
}

/// A server under way.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name.parse::<HeaderName>().unwrap());
        value
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    /// Checks that this is a problem of that status and kind, whole as RFC 9457 wants it.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
        assert_eq!(problem["status"].as_u64(), Some(status.into()));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
}

/// Sends a request to a router.
pub(crate) async fn ask(router: Router, line: &str, headers: &[(&str, &str)], body: Body) -> Reply {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.oneshot(request.body(body).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}
