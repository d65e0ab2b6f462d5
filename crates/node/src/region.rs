//! One region, from its topology to a running process and back down.

use crate::api::{Api, ApiState, Door};
use crate::arrival::Places;
use crate::aside::{ShelfError, Shelves};
use crate::dataset::{
    ClockOffset, DatasetConfig, DatasetHandle, MachineClock, Membership, RepairConfig,
};
use crate::dns::{DnsError, NameServer};
use crate::durable::make_data_dir;
use crate::faults::{DiskLevers, Faults};
use crate::growing::{self, Growing};
use crate::health::{Neighbours, Observing, follow};
use crate::keeper::Keeper;
use crate::known::Known;
use crate::lifecycle::Lifecycle;
use crate::links::{self, Nudges, Peers, Streams, Supervisor};
use crate::postgres::PostgresConfig;
use crate::registry::{DatasetState, Registry};
use crate::steering::{self, GeoError, Steering, SteeringError, SteeringSetup};
use meridian_engine_kv::{Limits, Strategies};
use meridian_engine_postgres::catalog::Selection;
use meridian_link::certs::IdentityError;
use meridian_link::{
    Dialer, Endpoint, Identity, IdentityPaths, ListenError, Listener, Rejections, Shaping,
    WireVersions,
};
use meridian_model::{BESIDE_DATASETS, RegionName, WIRE_VERSION_MIN};
use meridian_replicate::Config;
use meridian_steer::Picture;
use meridian_topology::{
    Address, Dataset, DatasetName, DeadLetters, Serving, Topology, TopologyError, round_trip,
};
use std::collections::BTreeSet;
use std::fs::File;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const REPORT_INTERVAL: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_secs(2);
const LOOK_AT_MEMBERS_EVERY: Duration = Duration::from_millis(100);

/// What to serve.
#[derive(Clone, Debug)]
pub struct Serve {
    /// The system's topology.
    pub topology: Topology,
    /// The file that it was read from. New regions in it become known while the region runs.
    pub topology_file: Option<PathBuf>,
    /// The region to serve.
    pub region: String,
    /// Where the region keeps its files.
    pub data_dir: PathBuf,
    /// Whether links are delayed.
    pub wan: Wan,
    /// Whether an empty data directory joins the others instead of founding with them.
    pub join: bool,
    /// The highest wire version to speak with other regions.
    pub wire_version_max: u16,
    /// Whether faults may be asked for over the API, for drills.
    pub allow_faults: bool,
    /// The database that says where clients are; without one a built-in table does.
    pub geo: Option<PathBuf>,
}

/// What faults would move, moved or not.
#[derive(Clone, Debug, Default)]
struct FaultLevers {
    links: Shaping,
    disk: DiskLevers,
    clock: ClockOffset,
}

/// How the links between regions behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wan {
    /// As they are.
    #[default]
    None,
    /// Delayed by the built-in table of round trips.
    Real,
}

/// A region can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The topology doesn't allow it.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The data directory can't be used.
    #[error("the data directory {} can't be used", path.display())]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process serves from it.
    #[error("another process uses the data directory {}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Regions talk over mutual TLS only, and there are no certificates.
    #[error("region {region} has peers, but the topology names no certificates for the links")]
    NoCertificates {
        /// The region.
        region: String,
    },
    /// The region's certificate can't be used.
    #[error("the region's certificate can't be used")]
    Identity(#[from] IdentityError),
    /// The link can't listen.
    #[error("the link can't listen")]
    Listen(#[from] ListenError),
    /// The API's certificate or key can't be read.
    #[error("{} can't be read", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// An address can't be listened on.
    #[error("the {what} can't listen on {address}")]
    Bind {
        /// For what.
        what: &'static str,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What was set aside can't be read.
    #[error("what was set aside when the region was evicted can't be read")]
    Aside(#[from] ShelfError),
    /// The database of places can't be used.
    #[error(transparent)]
    Geo(#[from] GeoError),
    /// Steering can't begin.
    #[error(transparent)]
    Steering(#[from] SteeringError),
    /// Questions of DNS can't be answered.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The file with the API's token can't be read or is empty.
    #[error("the API's token file {} can't be used", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ServeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoCertificates { .. } => {
                "make an authority and certificates with `meridian certs`, and name them under [tls]"
            }
            Self::InUse { .. } => "stop the other process, or give this one its own --data-dir",
            Self::Bind { .. } => "something else may use the port: see `ss -ltnp`, or change it",
            Self::Geo(error) => error.hint(),
            Self::Dns(error) => error.hint()?,
            Self::Token { .. } => "write a long random word into the file, readable by this user",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Serves a region until `shutdown` completes; then everything acknowledged is on disk.
///
/// Needs a multi-threaded runtime.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub async fn serve(serve: Serve, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let serving = serve.topology.for_serve(&serve.region)?;
    serve.topology.check_files(Some(&serve.region))?;
    let _lock = lock(&serve.data_dir)?;
    let levers = FaultLevers::default();
    let shaping = levers.links.clone();
    let clock = MachineClock::with_offset(levers.clock.clone());
    let token = token(&serve.topology)?;
    let api_listener = bind("API", &serving.api.listen).await?;
    let mut links = bind_links(&serve, &serving, &levers.links).await?;
    let shelves = Shelves::open(&serve.data_dir.join("aside"))?;
    let known = Known::open(
        &serve.topology,
        &serve.region,
        serve.wan,
        Some(&serve.data_dir),
    );
    let steering = open_steering(&serve, clock.clone())?;
    // From here on it answers, whoever else is there.
    let own = RegionName::new(&serve.region);
    let name_server = NameServer::start(&serve.topology, &own, &steering)?;
    let datasets = open_datasets(&serve, clock.clone(), &levers.disk)?;
    let (wanted, peers) = watch::channel(known.peers(&memberships(datasets.registry())));
    let mut lifecycles = lifecycles(&serve, &datasets, &shelves, &peers);
    lifecycles.spawn(follow_members(
        known.clone(),
        datasets.registry().clone(),
        wanted,
    ));
    let (stop, stopped) = watch::channel(false);

    let neighbours = Neighbours::default();
    let observing = Observing::new(
        Arc::new(serve.topology.clone()),
        RegionName::new(&serve.region),
        datasets.registry().clone(),
        neighbours.clone(),
        shaping,
        clock.clone(),
        peers.clone(),
    );
    let health = observing.health();

    let api = Api {
        region: RegionName::new(&serve.region),
        topology: Arc::new(serve.topology.clone()),
        datasets: datasets.registry().clone(),
        token,
        rejections: links.as_ref().map(|links| links.rejections.clone()),
        shelves,
        known,
        started: Instant::now(),
        health: health.clone(),
        faults: faults(&serve, levers),
        steering: steering.clone(),
        name_server: name_server.clone(),
    };
    let tls = api_tls(&serve, &serving)?;
    let mut tasks = JoinSet::new();
    if let Some(name_server) = name_server.clone() {
        tasks.spawn(name_server.run());
    }
    let seen = Picture::unseen(&serve.topology, &RegionName::new(&serve.region));
    let (observed, pictures) = watch::channel(seen);
    let patience = serve.topology.health.preset.cadence().vote_expiry();
    let (learn, places) = watch::channel(growing::places(&serve.topology));
    tasks.spawn(follow(health.clone(), patience, places, observed));
    if let Some(file) = serve.topology_file.clone() {
        let growing = Growing {
            file,
            topology: serve.topology.clone(),
            steering: steering.clone(),
            name_server: name_server.clone(),
            places: learn,
        };
        tasks.spawn(growing.run());
    }
    tasks.spawn(steering.clone().run(pictures));
    if let Some(links) = links.take() {
        let streams = Streams {
            region: RegionName::new(&serve.region),
            clock,
            registry: datasets.registry().clone(),
            nudges: Nudges::default(),
            health,
            steering,
            peers: peers.clone(),
        };
        links.start(&mut tasks, streams, neighbours, peers);
    }
    tasks.spawn(observing.run());
    let door = Door::new(ApiState::new(api));
    let api = tokio::spawn(crate::api::serve(api_listener, door, tls, stopped));
    tracing::info!(region = serve.region, api = %serving.api.listen, "serving");

    shutdown.await;
    tracing::info!(region = serve.region, "shutting down");
    let _ = stop.send(true);
    let _ = tokio::time::timeout(Duration::from_secs(3), api).await;
    lifecycles.shutdown().await;
    datasets.shut_down().await;
    tasks.shutdown().await;
    Ok(())
}

fn open_steering(serve: &Serve, clock: MachineClock) -> Result<Steering, ServeError> {
    let setup = SteeringSetup {
        topology: Arc::new(serve.topology.clone()),
        own: RegionName::new(&serve.region),
        geo: steering::open_geo(serve.geo.as_deref())?.into(),
        file: Some(serve.data_dir.join(steering::FILE)),
        clock,
    };
    Ok(Steering::open(setup)?)
}

fn faults(serve: &Serve, levers: FaultLevers) -> Option<Faults> {
    let FaultLevers { links, disk, clock } = levers;
    if serve.allow_faults {
        tracing::warn!("faults may be asked for over the API; this is for drills");
    }
    serve.allow_faults.then(|| Faults::new(links, disk, clock))
}

/// Opens what is here; what joins is opened by its [`Lifecycle`].
fn open_datasets(
    serve: &Serve,
    clock: MachineClock,
    disk: &DiskLevers,
) -> Result<Keeper, ServeError> {
    let datasets = &serve.topology.datasets;
    tell_left_out(serve);
    let configs = datasets
        .iter()
        .map(|dataset| dataset_config(serve, dataset, disk));
    let keeper = Keeper::new(configs.collect(), clock);
    for config in keeper.configs() {
        let places = Places::of(&serve.data_dir, &config.name, &config.directory);
        if serve.join && !places.is_joining() {
            if config.directory.exists() {
                tracing::info!(
                    dataset = config.name,
                    "goes on as what it is: the data directory is no empty one"
                );
            } else {
                let unusable = |source| ServeError::DataDirectory {
                    path: serve.data_dir.clone(),
                    source,
                };
                places.begin(None).map_err(unusable)?;
            }
        }
        if !places.is_joining()
            && let Some(handle) = keeper.open(config.clone())
        {
            tell_out_of_sight(&serve.topology, &handle);
        }
    }
    Ok(keeper)
}

/// Says which datasets are here that the topology doesn't have any more.
fn tell_left_out(serve: &Serve) {
    let found = std::fs::read_dir(serve.data_dir.join("datasets"));
    for entry in found.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| DatasetName::new(name).ok()) else {
            continue;
        };
        let mut datasets = serve.topology.datasets.iter();
        if entry.path().is_dir() && !datasets.any(|it| it.name == name) {
            tracing::warn!(
                dataset = name.as_str(),
                "no request finds the dataset's rows: the topology doesn't have it"
            );
        }
    }
}

/// Says which tables the topology has taken from a dataset that has rows of them.
fn tell_out_of_sight(topology: &Topology, dataset: &DatasetHandle) {
    let name = dataset.name();
    // A store that can't be read says so to whoever reads.
    let tables = dataset.tables().tables().unwrap_or_default();
    for table in tables.iter().filter(|table| !topology.finds(name, table)) {
        tracing::warn!(
            dataset = name,
            %table,
            "no request finds the table's rows: the topology gives it to another dataset, or to none"
        );
    }
}

fn lifecycles(
    serve: &Serve,
    keeper: &Keeper,
    shelves: &Shelves,
    peers: &watch::Receiver<Peers>,
) -> JoinSet<()> {
    let mut lifecycles = JoinSet::new();
    let datasets = keeper.registry().now();
    for config in keeper.configs() {
        let handle = keeper.registry().running(&config.name);
        if let Some(DatasetState::Failed { .. }) = datasets.get(&config.name) {
            continue;
        }
        let lifecycle = Lifecycle {
            region: RegionName::new(&serve.region),
            keeper: keeper.clone(),
            config: config.clone(),
            places: Places::of(&serve.data_dir, &config.name, &config.directory),
            shelves: shelves.clone(),
            peers: peers.clone(),
        };
        lifecycles.spawn(lifecycle.run(handle));
    }
    lifecycles
}

/// Each dataset's membership; `None` where it doesn't run.
fn memberships(registry: &Registry) -> Vec<Option<Arc<Membership>>> {
    let datasets = registry.now();
    let states = datasets.values();
    states
        .map(|state| state.running().map(DatasetHandle::membership))
        .collect()
}

/// Says whom to talk to, for as long as it is polled.
async fn follow_members(known: Known, registry: Registry, wanted: watch::Sender<Peers>) {
    let mut ticks = tokio::time::interval(LOOK_AT_MEMBERS_EVERY);
    loop {
        ticks.tick().await;
        let peers = known.peers(&memberships(&registry));
        wanted.send_if_modified(|before| {
            let is_new = *before != peers;
            *before = peers;
            is_new
        });
    }
}

fn dataset_config(serve: &Serve, dataset: &Dataset, disk: &DiskLevers) -> DatasetConfig {
    let limits = &dataset.limits;
    let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    DatasetConfig {
        name: dataset.name.as_str().to_owned(),
        directory: serve.data_dir.join("datasets").join(dataset.name.as_str()),
        replica: Config {
            region: RegionName::new(&serve.region),
            regions: serve
                .topology
                .regions
                .iter()
                .map(|region| region.name.clone())
                .collect(),
            arrival: meridian_replicate::Arrival::Founding,
            evict_after: limits.evict_after,
            log_bytes_max: limits.log_bytes_max - limits.log_reserve_bytes,
            log_bytes_limit: limits.log_bytes_max,
            drift_max: serve.topology.clock.drift_max,
            report_interval: REPORT_INTERVAL,
            settle: SETTLE,
            log_retention: limits.log_retention,
            witnesses: serve
                .topology
                .witnesses()
                .map(|region| region.name.clone())
                .collect(),
            wire_version: serve.wire_version_max,
        },
        promises: dataset.promises.clone(),
        nearest: nearest(serve),
        limits: Limits {
            document_bytes_max: bytes(limits.document_bytes_max),
            transaction_bytes_max: bytes(limits.transaction_bytes_max),
            key_bytes_max: bytes(limits.key_bytes_max),
            conflicts_max: limits.conflicts_max,
            ..Limits::default()
        },
        strategies: Strategies {
            default: dataset.strategy,
            tables: dataset
                .table_rules
                .iter()
                .map(|(table, rules)| (table.as_str().to_owned(), rules.strategy))
                .collect(),
        },
        postgres: postgres_config(serve, dataset),
        stop_at_dead_letters: dataset.dead_letters == DeadLetters::Stop,
        disk: disk.clone(),
        repair: RepairConfig {
            compare_every: dataset.compare_every,
            rows_per_second_max: dataset.compare_rows_per_second_max,
        },
    }
}

/// How this region's server is reached, where the dataset has one. A witness needs none.
fn postgres_config(serve: &Serve, dataset: &Dataset) -> Option<PostgresConfig> {
    let server = dataset
        .postgres()?
        .servers
        .get(&RegionName::new(&serve.region))?;
    let name = dataset.name.as_str();
    let object = meridian_engine_postgres::names::of_dataset(name);
    Some(PostgresConfig {
        dataset: name.to_owned(),
        server: server.into(),
        selection: Selection::of(dataset),
        strategy: dataset.strategy,
        strategies: dataset
            .table_rules
            .iter()
            .map(|(table, rules)| (table.as_str().to_owned(), rules.strategy))
            .collect(),
        slot: object.clone(),
        publication: object,
        directory: serve.data_dir.join("postgres").join(name),
    })
}

/// The other regions, in the order of their round trips from here.
fn nearest(serve: &Serve) -> Vec<RegionName> {
    let Some(own) = serve.topology.region(&serve.region) else {
        return Vec::new();
    };
    let others = serve.topology.regions.iter();
    let mut others: Vec<_> = others.filter(|region| region.name != own.name).collect();
    others.sort_by_key(|region| round_trip(&own.place, &region.place).ms);
    others
        .into_iter()
        .map(|region| region.name.clone())
        .collect()
}

struct Links {
    endpoint: Endpoint,
    listener: Listener,
    dialer: Dialer,
    rejections: Rejections,
}

async fn bind_links(
    serve: &Serve,
    serving: &Serving,
    shaping: &Shaping,
) -> Result<Option<Links>, ServeError> {
    let region = RegionName::new(&serve.region);
    let Some(tls) = &serve.topology.tls else {
        if serving.peers.is_empty() {
            // Without certificates it stays alone.
            return Ok(None);
        }
        return Err(ServeError::NoCertificates {
            region: serve.region.clone(),
        });
    };
    let paths = IdentityPaths {
        authority: tls.authority.clone(),
        certificate: tls.certificate_of(&region),
        key: tls.key_of(&region),
    };
    let identity = Identity::load(&serve.region, &paths, SystemTime::now())?;
    let endpoint = Endpoint {
        versions: WireVersions {
            lowest: WIRE_VERSION_MIN,
            highest: serve.wire_version_max,
        },
        shaping: shaping.clone(),
        ..Endpoint::new(identity)
    };
    let address = resolve("link", &serving.link.listen).await?;
    // Who is let in is told once the datasets are open.
    let listener = Listener::bind(&endpoint, address, BTreeSet::new()).await?;
    let dialer = Dialer::new(&endpoint)?;
    let rejections = listener.rejections();
    Ok(Some(Links {
        endpoint,
        listener,
        dialer,
        rejections,
    }))
}

impl Links {
    fn start(
        self,
        tasks: &mut JoinSet<()>,
        streams: Streams,
        neighbours: Neighbours,
        peers: watch::Receiver<Peers>,
    ) {
        let registry = &streams.registry;
        if let Some(questions) = registry.questions(BESIDE_DATASETS) {
            let steering = streams.steering.clone();
            tasks.spawn(steering.exchange(questions.clone(), peers.clone()));
        }
        let supervisor = Supervisor {
            dialer: self.dialer,
            shaping: self.endpoint.shaping.clone(),
            allowed: self.listener.allowed(),
            registry: streams.registry.clone(),
            nudges: streams.nudges.clone(),
            neighbours,
        };
        tasks.spawn(supervisor.run(peers));
        tasks.spawn(links::accept(self.listener, streams));
    }
}

/// The API speaks TLS, with the region's own certificate, wherever others than this machine can
/// reach it. (The topology demands a token there too.)
fn api_tls(serve: &Serve, serving: &Serving) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    if serving.api.listen.is_loopback() {
        return Ok(None);
    }
    let region = RegionName::new(&serve.region);
    let Some(tls) = &serve.topology.tls else {
        return Err(ServeError::NoCertificates {
            region: serve.region.clone(),
        });
    };
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: pem::Error| ServeError::Pem {
            path,
            source: error,
        }
    };
    let (certificate, key) = (tls.certificate_of(&region), tls.key_of(&region));
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unreadable(&certificate))?;
    let key_der = PrivateKeyDer::from_pem_file(&key).map_err(unreadable(&key))?;
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Takes the directory for this process alone, for as long as the file lives.
fn lock(data_dir: &Path) -> Result<File, ServeError> {
    let unusable = |source| ServeError::DataDirectory {
        path: data_dir.to_owned(),
        source,
    };
    make_data_dir(data_dir).map_err(unusable)?;
    let file = File::create(data_dir.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServeError::InUse {
            path: data_dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

fn token(topology: &Topology) -> Result<Option<String>, ServeError> {
    let Some(path) = &topology.api.token_file else {
        return Ok(None);
    };
    let unusable = |source| ServeError::Token {
        path: path.clone(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unusable)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(unusable(std::io::Error::other("it is empty")));
    }
    Ok(Some(token.to_owned()))
}

async fn resolve(what: &'static str, address: &Address) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError::Bind {
        what,
        address: address.to_string(),
        source,
    };
    let mut found = tokio::net::lookup_host(address.to_string())
        .await
        .map_err(failed)?;
    let none = || failed(std::io::Error::other("the name has no address"));
    found.next().ok_or_else(none)
}

async fn bind(what: &'static str, address: &Address) -> Result<TcpListener, ServeError> {
    let at = resolve(what, address).await?;
    let bound = TcpListener::bind(at).await;
    bound.map_err(|source| ServeError::Bind {
        what,
        address: address.to_string(),
        source,
    })
}
