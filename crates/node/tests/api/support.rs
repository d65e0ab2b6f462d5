//! A region to send requests to.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use meridian_engine_kv::{Limits, Strategies};
use meridian_health::{Observer, Preset, Setup};
use meridian_model::{RegionName, Strategy};
use meridian_node::api::{Api, ApiState, DatasetState, router};
use meridian_node::dataset::{self, DatasetConfig, DatasetHandle, MachineClock, RepairConfig};
use meridian_node::faults::{DiskLevers, Faults};
use meridian_node::health::Health;
use meridian_node::steering::{Steering, SteeringSetup};
use meridian_node::{Known, Registry, Shelves, Wan};
use meridian_replicate::Config;
use meridian_topology::{Promises, Topology};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tower::Service as _;

/// Two datasets: `main` takes every table but those that begin with `other`.
const TOPOLOGY: &str = r#"
zone = "meridian.test"

[[region]]
name = "us-east-1"
api = "127.0.0.1:1"
link = "127.0.0.1:2"

[[region]]
name = "eu-west-1"
api = "127.0.0.1:3"
link = "127.0.0.1:4"

[[dataset]]
name = "main"
engine = "embedded"

[[dataset]]
name = "other"
engine = "embedded"
tables = ["other*", "stock"]
"#;

/// A region of one, and its API.
pub struct Region {
    pub router: Router,
    pub api: Api,
    _directory: TempDir,
}

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a test may have different.
pub struct Setting {
    pub log_bytes_max: u64,
    pub disk: DiskLevers,
    pub token: Option<String>,
    pub other: Option<&'static str>,
    /// What becomes of concurrent writes.
    pub strategy: Strategy,
    /// What the tables of `main` hold before the region starts.
    pub before: fn(&Path),
    pub faults: Option<Faults>,
    /// Done in the region's directory before it starts.
    pub before_all: Option<fn(&Path)>,
    /// What clients are promised, and which regions take writes.
    pub promises: Promises,
    /// The members of its datasets, of which it is the only one that runs.
    pub founders: &'static [&'static str],
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            log_bytes_max: 1 << 30,
            disk: DiskLevers::default(),
            token: None,
            other: None,
            strategy: Strategy::LastWriterWins,
            before: |_| {},
            faults: None,
            before_all: None,
            promises: Promises::default(),
            founders: &["us-east-1"],
        }
    }
}

/// An observer of a region alone, before its first step.
fn health() -> Health {
    let own = RegionName::new("us-east-1");
    let setup = Setup {
        own: own.clone(),
        observers: vec![own],
        targets: Vec::new(),
        cadence: Preset::Default.cadence(),
        maintenance: Vec::new(),
    };
    Health::of(Observer::new(setup, MachineClock::start().now()))
}

impl Region {
    pub fn start() -> Self {
        Self::with(Setting::default())
    }

    pub fn with(setting: Setting) -> Self {
        let directory = tempfile::tempdir().unwrap();
        (setting.before)(&directory.path().join("main/tables"));
        if let Some(before) = setting.before_all {
            before(directory.path());
        }
        let open = |name: &str| DatasetState::Running(open(directory.path(), name, &setting));
        let other = match setting.other {
            None => open("other"),
            Some(reason) => DatasetState::Failed {
                reason: reason.to_owned(),
            },
        };
        let datasets = [
            ("main".to_owned(), open("main")),
            ("other".to_owned(), other),
        ];
        let api = Api {
            region: RegionName::new("us-east-1"),
            topology: Arc::new(Topology::parse(TOPOLOGY, Path::new("test.toml")).unwrap()),
            datasets: Registry::new(BTreeMap::from(datasets)),
            token: setting.token,
            rejections: Some(meridian_link::Rejections::default()),
            known: Known::open(
                &Topology::parse(TOPOLOGY, Path::new("test.toml")).unwrap(),
                "us-east-1",
                Wan::None,
                None,
            ),
            shelves: Shelves::open(&directory.path().join("aside")).unwrap(),
            started: Instant::now(),
            health: health(),
            faults: setting.faults,
            steering: steering(),
            name_server: None,
        };
        Self {
            router: router(ApiState::new(api.clone())),
            api,
            _directory: directory,
        }
    }

    /// The dataset `main`.
    pub fn main(&self) -> DatasetHandle {
        let running = self.api.datasets.running("main");
        running.expect("the dataset runs")
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Reply {
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request(Method::GET, path, &[], "").await
    }

    pub async fn put(&self, path: &str, body: impl Into<Body>) -> Reply {
        self.request(Method::PUT, path, &[], body).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Reply {
        self.request(Method::POST, path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.request(Method::DELETE, path, &[], "").await
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .unwrap_or_else(|| panic!("no {name}: {self:?}"))
            .to_str()
            .unwrap()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status, of a success.
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// The problem's body, which must have this status, this name and all that each problem has.
    pub fn problem(&self, status: u16, name: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{name}"), "{problem}");
        assert_eq!(problem["status"], status);
        for member in ["title", "detail", "hint"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
        }
        problem
    }
}

/// Steering that keeps nothing, of regions that nobody has looked at.
fn steering() -> Steering {
    let setup = SteeringSetup {
        topology: Arc::new(Topology::parse(TOPOLOGY, Path::new("test.toml")).unwrap()),
        own: RegionName::new("us-east-1"),
        geo: meridian_node::steering::open_geo(None).unwrap().into(),
        file: None,
        clock: MachineClock::start(),
    };
    Steering::open(setup).unwrap()
}

/// Opens a dataset of a region alone.
fn open(directory: &Path, name: &str, setting: &Setting) -> DatasetHandle {
    let log_bytes_max = setting.log_bytes_max;
    let region = RegionName::new("us-east-1");
    let config = DatasetConfig {
        name: name.to_owned(),
        directory: directory.join(name),
        replica: Config {
            regions: setting
                .founders
                .iter()
                .map(|it| RegionName::new(it))
                .collect(),
            region,
            arrival: meridian_replicate::Arrival::Founding,
            evict_after: None,
            log_bytes_max,
            log_bytes_limit: log_bytes_max,
            drift_max: Duration::from_millis(500),
            report_interval: Duration::from_secs(1),
            settle: Duration::ZERO,
            log_retention: Duration::ZERO,
            wire_version: meridian_model::WIRE_VERSION_MAX,
            witnesses: std::collections::BTreeSet::new(),
        },
        promises: setting.promises.clone(),
        nearest: Vec::new(),
        limits: Limits {
            // As the topology has it.
            transaction_bytes_max: 4 << 20,
            ..Limits::default()
        },
        strategies: Strategies {
            default: setting.strategy,
            ..Strategies::default()
        },
        stop_at_dead_letters: false,
        disk: setting.disk.clone(),
        postgres: None,
        repair: RepairConfig::default(),
    };
    let (handle, _running) = dataset::open(config, MachineClock::start()).unwrap();
    handle
}
