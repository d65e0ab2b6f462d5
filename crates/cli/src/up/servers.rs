//! `up --postgres`: a PostgreSQL server for each region, from installed binaries.
//!
//! Region i's listens at 127.0.0.1, port N + 10 i + 6, with a database and a user `meridian`. It is
//! there before its region's process and stopped after it; it outlives the region's restarts. Its data
//! is in the data directory's `postgres/REGION`. One that dies is started again, as regions are. Root
//! can't run PostgreSQL, and the user that it runs as may not be let into the data directory
//! (`mktemp -d` makes such): then `postgres` is a link to a directory below `/var/tmp`. What `meridian
//! postgres prepare --apply` does is done at each start, and whenever other tables are there.

use super::event::Happened;
use super::keep::{Keeping, keep};
use crate::error::{CliError, CliResult};
use crate::output;
use crate::postgres::prepare::{Report, apply_all};
use meridian_engine_postgres::catalog::Movement;
use meridian_engine_postgres::local::{Cluster, LocalError, Settings, Stop, check_directory};
use meridian_engine_postgres::prepare::Status;
use meridian_engine_postgres::server;
use meridian_topology::{
    Address, Engine, Postgres, PostgresServer, Region, TablePattern, Topology,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tokio::sync::Mutex as Shared;
use tokio::sync::mpsc::UnboundedSender;
use tokio_postgres::Client;

/// How far a region's server is from its API.
const PORT_AFTER_API: u16 = 6;
/// The database, and the role that owns it and that Meridian connects as.
const NAME: &str = "meridian";

/// The regions' servers.
pub struct Servers {
    directory: PathBuf,
    clusters: BTreeMap<String, Arc<Shared<Cluster>>>,
    /// What is kept prepared.
    watched: Arc<Mutex<Watched>>,
    /// How they are kept running, once they are.
    keeping: Option<Keeping>,
}

/// What is prepared whenever tables are new, and who hears of what that leaves out.
#[derive(Default)]
struct Watched {
    topology: Option<Topology>,
    events: Option<UnboundedSender<(String, Happened)>>,
    told: BTreeSet<LeftOut>,
}

/// What of a region stays out of replication, and what to do about it.
type LeftOut = (String, String, Option<String>);

/// Puts the topology's dataset on local servers. One that came from no file gets all tables of the
/// schema `public`.
pub fn put_on_postgres(topology: &mut Topology, has_file: bool) -> CliResult {
    if !has_file {
        let pattern = TablePattern::new("public.*").map_err(crate::config::rendered)?;
        for dataset in &mut topology.datasets {
            dataset.engine = Engine::Postgres(Postgres::default());
            dataset.tables = Some(vec![pattern.clone()]);
        }
    }
    let on_postgres = topology
        .datasets
        .iter()
        .filter(|dataset| dataset.postgres().is_some());
    match on_postgres.count() {
        0 => Err(
            CliError::usage("--postgres, and no dataset of the topology is on PostgreSQL")
                .hint("give a dataset engine = \"postgres\", or leave --config out to have one"),
        ),
        1 => Ok(()),
        count => Err(CliError::usage(format!(
            "--postgres has one database for each region, and {count} datasets are on PostgreSQL"
        ))
        .hint("run `up` with servers of your own, without --postgres")),
    }
}

/// Names each region's local server in the topology.
pub fn assign(topology: &mut Topology) -> CliResult {
    let servers = topology
        .regions
        .iter()
        .map(|region| {
            let server = PostgresServer {
                url: format!(
                    "postgresql://{NAME}@127.0.0.1:{}/{NAME}?sslmode=disable",
                    port_of(region)?
                ),
                password: None,
                root_certificates: None,
            };
            Ok((region.name.clone(), server))
        })
        .collect::<CliResult<BTreeMap<_, _>>>()?;
    for dataset in &mut topology.datasets {
        if let Engine::Postgres(postgres) = &mut dataset.engine {
            postgres.servers.clone_from(&servers);
        }
    }
    Ok(())
}

fn port_of(region: &Region) -> CliResult<u16> {
    match region.api.as_ref().map(|api| &api.address) {
        Some(Address::Ip(address)) => address.port().checked_add(PORT_AFTER_API),
        _ => None,
    }
    .ok_or_else(|| {
        CliError::failure(format!("region {} has no port for its server", region.name))
            .hint("choose a lower --base-port N")
    })
}

/// How often it is looked for tables that are new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Servers {
    /// No servers yet; their data is in `data_dir`.
    pub fn new(data_dir: &Path) -> CliResult<Self> {
        let directory = home(data_dir).map_err(|error| {
            CliError::failure("make the directory of the PostgreSQL servers").because(&error)
        })?;
        Ok(Self {
            directory,
            clusters: BTreeMap::new(),
            watched: Arc::default(),
            keeping: None,
        })
    }

    /// Keeps them running from now on, or says when one dies: what happens goes to `events`, with
    /// the region's name.
    pub fn keep_running(&mut self, restart: bool, events: UnboundedSender<(String, Happened)>) {
        lock(&self.watched).events = Some(events.clone());
        let keeping = Keeping::new(restart, events);
        for (region, cluster) in &self.clusters {
            keep(region, cluster, &keeping);
        }
        self.keeping = Some(keeping);
    }

    /// Starts the servers of the regions that have none yet, all at once, and prepares them.
    pub fn start(&mut self, topology: &Topology) -> CliResult {
        let missing: Vec<(String, u16)> = topology
            .regions
            .iter()
            .filter(|region| !self.clusters.contains_key(region.name.as_str()))
            .map(|region| Ok((region.name.to_string(), port_of(region)?)))
            .collect::<CliResult<_>>()?;
        let directory = &self.directory;
        let started: Vec<CliResult<(String, Cluster)>> = thread::scope(|scope| {
            let starting: Vec<_> = missing
                .into_iter()
                .map(|(region, port)| scope.spawn(move || start_one(directory, region, port)))
                .collect();
            starting
                .into_iter()
                .map(|start| start.join().expect("starting a server doesn't panic"))
                .collect()
        });
        for started in started {
            let (region, cluster) = started?;
            output::talk(&format!(
                "PostgreSQL of {region}: {}",
                cluster.server(NAME, NAME).url
            ));
            let cluster = Arc::new(Shared::new(cluster));
            if let Some(keeping) = &self.keeping {
                keep(&region, &cluster, keeping);
            }
            self.clusters.insert(region, cluster);
        }
        let clusters = &self.clusters;
        // Of its own, since this may be called where a runtime runs already.
        let reports = thread::scope(|scope| {
            let preparing = scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| CliError::failure("start the threads").because(&error))?
                    .block_on(prepare(clusters, topology))
            });
            preparing.join().expect("preparing doesn't panic")
        })?;
        tell(&reports);
        self.keep_prepared(topology, left_out(&reports));
        Ok(())
    }

    /// Prepares tables that are made from now on, for as long as the servers are held.
    fn keep_prepared(&mut self, topology: &Topology, told: BTreeSet<LeftOut>) {
        let mut watched = lock(&self.watched);
        watched.told = told;
        if watched.topology.replace(topology.clone()).is_some() {
            return;
        }
        let watched = Arc::downgrade(&self.watched);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                runtime.block_on(look_for_tables(&watched));
            }
        });
    }
}

/// Prepares the servers whenever other tables are there than before.
async fn look_for_tables(watched: &Weak<Mutex<Watched>>) {
    let mut known = BTreeMap::new();
    // A session costs a server some ten milliseconds of processor time to begin.
    let mut sessions = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let topology = watched.upgrade().map(|it| lock(&it).topology.clone());
        let Some(topology) = topology.flatten() else {
            return;
        };
        let mut found = BTreeMap::new();
        for region in &topology.regions {
            let session = match sessions.remove(&region.name) {
                Some(session) => Some(session),
                None => connect(&topology, region).await,
            };
            // One that doesn't answer now is looked at again, in a new session.
            if let Some(session) = session
                && let Ok(tables) = Movement::read(&session).await
            {
                found.insert(region.name.clone(), tables);
                sessions.insert(region.name.clone(), session);
            }
        }
        if found != known
            && let Ok(reports) = apply_all(&topology).await
        {
            known = found;
            if let Some(watched) = watched.upgrade() {
                lock(&watched).tell(left_out(&reports));
            }
        }
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// Says what is left out that was not before.
    fn tell(&mut self, left_out: BTreeSet<LeftOut>) {
        let Some(events) = &self.events else {
            return;
        };
        for (region, what, hint) in left_out.difference(&self.told) {
            let (what, hint) = (what.clone(), hint.clone());
            // Nobody hears it while all ends.
            let _ = events.send((region.clone(), Happened::LeftOut { what, hint }));
        }
        self.told = left_out;
    }
}

async fn connect(topology: &Topology, region: &Region) -> Option<Client> {
    let mut datasets = topology.datasets.iter();
    let server = datasets.find_map(|dataset| dataset.postgres()?.servers.get(&region.name))?;
    server::connect(&server.into(), "up").await.ok()
}

/// Where the servers' data is.
fn home(data_dir: &Path) -> io::Result<PathBuf> {
    let own = data_dir.join("postgres");
    let is_link = own.is_symlink();
    if is_link && !own.exists() {
        // What it points to was cleaned away.
        fs::remove_file(&own)?;
    }
    if own.exists() {
        return fs::canonicalize(own);
    }
    let Err(error) = check_directory(data_dir) else {
        fs::create_dir(&own)?;
        return fs::canonicalize(own);
    };
    let elsewhere = PathBuf::from(format!("/var/tmp/meridian-{:016x}", fastrand::u64(..)));
    fs::create_dir(&elsewhere)?;
    // The servers' user passes through it and finds only what is its own.
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o711))?;
    symlink(&elsewhere, &own)?;
    output::talk(&format!(
        "note: {error}: the servers' data is in {}",
        elsewhere.display()
    ));
    Ok(elsewhere)
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Some(keeping) = &self.keeping {
            keeping.end();
        }
        thread::scope(|scope| {
            for cluster in self.clusters.values() {
                scope.spawn(|| cluster.blocking_lock().stop(Stop::Fast));
            }
        });
    }
}

fn start_one(directory: &Path, region: String, port: u16) -> CliResult<(String, Cluster)> {
    let failed = |error: &LocalError| {
        let failed = CliError::failure(format!("start the PostgreSQL server of region {region}"))
            .because(error);
        match error.hint() {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    };
    let mut cluster = Cluster::create(&directory.join(&region), port, Settings::default())
        .map_err(|error| failed(&error))?;
    if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
        return Err(CliError::usage(format!(
            "port {port} on 127.0.0.1 is needed for the PostgreSQL server of region {region}"
        ))
        .because(&error)
        .hint("choose other ports with --base-port N"));
    }
    cluster.start().map_err(|error| failed(&error))?;
    Ok((region, cluster))
}

async fn prepare(
    clusters: &BTreeMap<String, Arc<Shared<Cluster>>>,
    topology: &Topology,
) -> CliResult<Vec<Report>> {
    for (region, cluster) in clusters {
        let failed = |error: &dyn std::error::Error| {
            CliError::failure(format!("make the database of region {region}")).because(error)
        };
        let server = cluster
            .lock()
            .await
            .create_database_of(NAME, NAME)
            .await
            .map_err(|error| failed(&error))?;
        let client = server::connect(&server, "up")
            .await
            .map_err(|error| failed(&error))?;
        // Unqualified, a name would mean the schema that is called like the user, Meridian's own.
        client
            .batch_execute(&format!("ALTER ROLE {NAME} SET search_path = public"))
            .await
            .map_err(|error| failed(&error))?;
    }
    apply_all(topology).await
}

/// What of single regions stays out of replication.
fn left_out(reports: &[Report]) -> BTreeSet<LeftOut> {
    let regions = reports.iter().flat_map(|report| &report.regions);
    let left_out = regions.flat_map(|(region, found)| {
        let refused = found.iter().filter(|it| it.status == Status::Refused);
        refused.map(move |it| {
            let what = format!("{} {}: {}", it.subject, it.check, it.reason);
            (region.clone(), what, it.hint.clone())
        })
    });
    left_out.collect()
}

/// What stays out of replication.
fn tell(reports: &[Report]) {
    for report in reports {
        let regions = report.regions.iter().flat_map(|(region, found)| {
            found.iter().map(move |finding| (region.as_str(), finding))
        });
        let between = report.between.iter().map(|finding| ("regions", finding));
        for (place, finding) in regions.chain(between) {
            if finding.status.is_missing() {
                output::talk(&format!(
                    "✗ {place}: {} {}: {}",
                    finding.subject, finding.check, finding.reason
                ));
            }
        }
        for (region, reason) in &report.unreachable {
            output::talk(&format!("✗ {region}: {reason}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::up::test_ports::free_base;
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn each_region_has_its_server_six_ports_after_its_api() {
        let mut topology = Topology::built_in();
        put_on_postgres(&mut topology, false).unwrap();
        let mut here = topology.on_this_machine(8000).unwrap();
        assign(&mut here).unwrap();
        let postgres = here.datasets[0].postgres().unwrap();
        let url = &postgres.servers[&here.regions[1].name].url;
        assert_eq!(
            url,
            "postgresql://meridian@127.0.0.1:8016/meridian?sslmode=disable"
        );
        assert_eq!(postgres.servers.len(), 3);
        assert_eq!(
            here.datasets[0].tables.as_ref().unwrap()[0].to_string(),
            "public.*"
        );
    }

    #[test]
    fn a_file_without_postgresql_is_no_use() {
        let mut topology = Topology::built_in();
        let error = put_on_postgres(&mut topology, true).unwrap_err();
        assert!(
            error.to_string().contains("engine = \"postgres\""),
            "{error}"
        );
    }

    #[test]
    fn servers_start_prepared_and_stop() {
        let directory = tempfile::tempdir().unwrap();
        // What `mktemp -d` makes: as root, the servers' user can't enter.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        let base = free_base();
        let mut topology = Topology::built_in();
        put_on_postgres(&mut topology, false).unwrap();
        topology.regions.truncate(2);
        let mut here = topology.on_this_machine(base).unwrap();
        assign(&mut here).unwrap();
        let mut servers = Servers::new(directory.path()).unwrap();
        let (events, mut heard) = unbounded_channel();
        servers.start(&here).unwrap();
        servers.keep_running(false, events);
        // What is there already is left alone.
        servers.start(&here).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut reports = runtime.block_on(apply_all(&here)).unwrap();
        let report = reports.remove(0);
        assert!(report.unreachable.is_empty());
        assert_eq!(report.applied.values().copied().collect::<Vec<_>>(), [0, 0]);
        // What a user makes belongs to the dataset.
        let cluster = servers.clusters.values().next().unwrap();
        let made = runtime.block_on(async {
            let client = cluster.lock().await.connect(NAME, NAME).await.unwrap();
            client
                .batch_execute("CREATE TABLE made (id int PRIMARY KEY)")
                .await
                .unwrap();
            apply_all(&here).await.unwrap()
        });
        let between: Vec<&str> = made[0]
            .between
            .iter()
            .filter(|finding| finding.status == Status::Refused)
            .map(|finding| finding.subject.as_str())
            .collect();
        assert_eq!(between, ["public.made"], "it is in one region only");
        // What can't is told.
        let told = runtime.block_on(async {
            let client = cluster.lock().await.connect(NAME, NAME).await.unwrap();
            let keyless = "CREATE TABLE keyless (id int)";
            client.batch_execute(keyless).await.unwrap();
            tokio::time::timeout(Duration::from_secs(60), heard.recv()).await
        });
        let Ok(Some((region, Happened::LeftOut { what, hint }))) = told else {
            panic!("{told:?}");
        };
        assert_eq!(region, servers.clusters.keys().next().unwrap().as_str());
        assert!(what.starts_with("public.keyless"), "{what}");
        assert!(
            what.contains("primary key") && hint.is_some(),
            "{what} {hint:?}"
        );
        let data = servers.directory.clone();
        drop(servers);
        assert_eq!(home(directory.path()).unwrap(), data, "found again");
        let is_elsewhere = directory.path().join("postgres").is_symlink();
        assert_eq!(is_elsewhere, rustix::process::geteuid().is_root());
        if is_elsewhere {
            fs::remove_dir_all(data).unwrap();
            let fresh = home(directory.path()).unwrap();
            assert!(fresh.exists());
            fs::remove_dir_all(fresh).unwrap();
        }
        assert!(TcpListener::bind(("127.0.0.1", base + PORT_AFTER_API)).is_ok());
    }
}
