//! Everything that can go wrong before a region starts, found first and said clearly.

use super::Options;
use super::certificates;
use super::effective::{CertificatePaths, render};
use super::roster::Roster;
use super::servers::{self, Servers};
use crate::config::load;
use crate::error::{CliError, CliResult};
use crate::system::{System, SystemRegion, replace};
use meridian_node::dataset::is_on_postgres;
use meridian_topology::{Address, Region, Tls, Topology};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

const CERTIFICATES: &str = "certs";
/// The service that the sample application is.
const APP: &str = "app";
/// How far behind a region's first port the sample application is.
const APP_PORT: u16 = 3;

/// A system that is ready to start.
pub struct Prepared {
    /// Its regions.
    pub system: System,
    /// Where everything is.
    pub data_dir: PathBuf,
    /// Held as long as the system runs.
    pub lock: File,
    /// The topology as the user gave it, its addresses on this machine.
    pub given: Topology,
    /// The regions of the data directory.
    pub roster: Roster,
    /// The authority and every region's certificate.
    pub certificates: PathBuf,
    /// The regions' PostgreSQL servers, with `--postgres`.
    pub servers: Option<Servers>,
}

/// Makes everything that the regions need, and checks everything that they will want.
pub fn prepare(options: &Options) -> CliResult<Prepared> {
    let topology = match &options.config {
        Some(file) => load(file)?,
        None => Topology::built_in(),
    };
    let mut given = topology
        .on_this_machine(options.base_port)
        .map_err(crate::config::rendered)?;
    if let Some(preset) = options.health {
        given.health.preset = preset.into();
    }
    crate::config::check_zone(&given)?;
    if options.postgres {
        servers::put_on_postgres(&mut given, options.config.is_some())?;
    }
    make_data_dir(&options.data_dir)?;
    // Children are started with it, wherever they may run.
    let data_dir = fs::canonicalize(&options.data_dir)
        .map_err(|error| no_data_dir(&options.data_dir, &error))?;
    let lock = take_lock(&data_dir, &options.data_dir)?;
    let roster = Roster::open(&data_dir, &given)?;
    let certificates = data_dir.join(CERTIFICATES);
    given.tls = Some(Tls::new(
        certificates.join("authority.pem"),
        certificates.join("{region}.pem"),
        certificates.join("{region}.key.pem"),
    ));
    let mut topology = roster.apply(&given, options.base_port)?;
    check_engines(&topology, &data_dir, options)?;
    check_ports(&topology, options.base_port)?;
    let servers = options
        .postgres
        .then(|| start_servers(&mut topology, &data_dir))
        .transpose()?;
    certificates::ensure(&certificates, &topology)?;
    let file = write_topology(&topology, &data_dir)?;
    roster.save()?;
    let regions = topology.regions.iter();
    let regions = regions.map(|region| describe(region, &topology, &data_dir, options.base_port));
    let system = System {
        process_id: std::process::id(),
        topology: file,
        zone: topology.zone.clone(),
        regions: regions.collect(),
        next: roster.next(options.base_port),
        former: roster.former(options.base_port),
    };
    for region in &system.regions {
        make_region_dir(&region.data_dir)?;
    }
    Ok(Prepared {
        system,
        data_dir,
        lock,
        given,
        roster,
        certificates,
        servers,
    })
}

fn start_servers(topology: &mut Topology, data_dir: &Path) -> CliResult<Servers> {
    servers::assign(topology)?;
    let mut servers = Servers::new(data_dir)?;
    servers.start(topology)?;
    Ok(servers)
}

/// The region as other verbs find it.
pub fn describe(
    region: &Region,
    topology: &Topology,
    data_dir: &Path,
    base_port: u16,
) -> SystemRegion {
    let address = |endpoint: &Option<meridian_topology::Endpoint>| {
        let endpoint = endpoint.as_ref();
        let endpoint = endpoint.expect("on_this_machine gave every region its addresses");
        endpoint.address.to_string()
    };
    let own = data_dir.join(region.name.as_str());
    SystemRegion {
        name: region.name.to_string(),
        api: format!("http://{}", address(&region.api)),
        link: address(&region.link),
        dns: region.dns.as_ref().map(|dns| dns.address.to_string()),
        app: app_addresses(region, topology, base_port),
        process_id: None,
        log: own.join("log.txt"),
        data_dir: own,
        witness: region.witness,
    }
}

/// Where the sample application listens: on a port of the region's own at 127.0.0.1, and at the region's
/// own address on a port that is the same for all, so that a client can follow a DNS answer. Nowhere
/// where it would find no tables, or no name leads to it.
fn app_addresses(region: &Region, topology: &Topology, base_port: u16) -> Vec<SocketAddr> {
    // Rows of tables on PostgreSQL are written in the servers, not over the API.
    let has_table = |table: &&str| {
        let dataset = topology.dataset_of_table(table);
        dataset.is_some_and(|dataset| dataset.postgres().is_none())
    };
    let is_wanted = topology.routes.iter().any(|route| route.name == APP)
        && meridian_app::TABLES.iter().all(has_table);
    let Some(api) = region.api.as_ref().filter(|_| is_wanted && !region.witness) else {
        return Vec::new();
    };
    let own = SocketAddr::from((Ipv4Addr::LOCALHOST, api.address.port() + APP_PORT));
    let others = region.addresses.iter();
    let others = others.map(|address| SocketAddr::new(*address, base_port + APP_PORT));
    let mut addresses = vec![own];
    addresses.extend(others.filter(|address| *address != own && !address.ip().eq(&own.ip())));
    addresses
}

fn no_data_dir(path: &Path, error: &io::Error) -> CliError {
    CliError::failure(format!("make the data directory {}", path.display()))
        .because(error)
        .hint("name another with --data-dir DIR")
}

fn make_data_dir(path: &Path) -> CliResult {
    fs::create_dir_all(path).map_err(|error| no_data_dir(path, &error))
}

/// Makes a region's directory.
pub fn make_region_dir(path: &Path) -> CliResult {
    meridian_node::make_data_dir(path).map_err(|error| no_data_dir(path, &error))
}

fn take_lock(data_dir: &Path, given: &Path) -> CliResult<File> {
    let path = data_dir.join("up.lock");
    let file = File::create(&path).map_err(|error| no_data_dir(&path, &error))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let error = io::Error::from(error);
        if error.kind() != io::ErrorKind::WouldBlock {
            return CliError::failure(format!("lock {}", path.display())).because(&error);
        }
        CliError::usage(format!(
            "another `meridian up` runs with the data directory {}",
            given.display()
        ))
        .hint("`meridian status` shows it; for a second system give --data-dir and --base-port")
    })?;
    Ok(file)
}

/// Whether every dataset that has begun here is on the engine on which it began. On the other one its
/// rows would be out of reach, and it must not come to that.
fn check_engines(topology: &Topology, data_dir: &Path, options: &Options) -> CliResult {
    for (region, dataset) in topology
        .regions
        .iter()
        .flat_map(|region| topology.datasets.iter().map(move |it| (region, it)))
    {
        let own = data_dir.join(region.name.as_str());
        let was = is_on_postgres(&own, dataset.name.as_str());
        let is = dataset.postgres().is_some();
        if was.is_none_or(|was| was == is) {
            continue;
        }
        let (was, is) = if is {
            ("embedded tables", "PostgreSQL servers")
        } else {
            ("PostgreSQL servers", "embedded tables")
        };
        let as_before = match (&options.config, options.postgres) {
            (Some(_), _) => "give the dataset the engine that it had",
            (None, true) => "start it without --postgres, as before",
            (None, false) => "start it with --postgres, as before",
        };
        return Err(CliError::usage(format!(
            "the data directory {} has dataset {} with its rows in {was}, and this would put it on {is}, \
             where none of them is",
            options.data_dir.display(),
            dataset.name,
        ))
        .hint(format!(
            "{as_before}; for a new system give another directory with --data-dir DIR"
        )));
    }
    Ok(())
}

/// Whether every region can listen. The ports are free again when this returns, so another process
/// may still take one; the region then says so itself.
fn check_ports(topology: &Topology, base_port: u16) -> CliResult {
    for region in &topology.regions {
        let name = region.name.as_str();
        for address in app_addresses(region, topology, base_port) {
            check_port(address, "sample application", name)?;
        }
        for address in region.dns.iter().flat_map(|dns| &dns.listen) {
            check_port(*address, "name server", name)?;
            bound(
                UdpSocket::bind(address).map(drop),
                *address,
                "name server",
                name,
            )?;
        }
        for (what, endpoint) in [("API", &region.api), ("link", &region.link)] {
            let Some(Address::Ip(address)) = endpoint.as_ref().map(|at| &at.listen) else {
                continue;
            };
            check_port(*address, what, region.name.as_str())?;
        }
    }
    Ok(())
}

fn check_port(address: SocketAddr, what: &str, region: &str) -> CliResult {
    bound(TcpListener::bind(address).map(drop), address, what, region)
}

fn bound(tried: io::Result<()>, address: SocketAddr, what: &str, region: &str) -> CliResult {
    let Err(error) = tried else {
        return Ok(());
    };
    let place = format!("port {} on {}", address.port(), address.ip());
    if error.kind() == io::ErrorKind::AddrInUse {
        return Err(CliError::usage(format!(
            "{place} is in use, and the {what} of region {region} needs it"
        ))
        .hint("choose other ports with --base-port N"));
    }
    Err(CliError::failure(format!(
        "listen on {place} for the {what} of region {region}"
    ))
    .because(&error)
    .hint("choose other ports with --base-port N"))
}

/// Writes the topology that the regions read.
pub fn write_topology(topology: &Topology, data_dir: &Path) -> CliResult<PathBuf> {
    let path = data_dir.join("meridian.toml");
    // Relative to the file, so that the data directory can be moved.
    let text = render(
        topology,
        &CertificatePaths {
            authority: "certs/authority.pem",
            certificate: "certs/{region}.pem",
            key: "certs/{region}.key.pem",
        },
    );
    replace(&path, text.as_bytes())
        .map_err(|error| CliError::failure(format!("write {}", path.display())).because(&error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::serve::WanChoice;
    use crate::up::test_ports::free_base;

    fn options(data_dir: &Path, base_port: u16) -> Options {
        Options {
            config: None,
            data_dir: data_dir.to_owned(),
            base_port,
            health: None,
            wan: WanChoice::None,
            no_restart: false,
            allow_faults: false,
            geo: None,
            postgres: false,
        }
    }

    #[test]
    fn a_second_up_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path(), free_base());
        let first = prepare(&options).unwrap();
        let Err(error) = prepare(&options) else {
            panic!("a second system took the directory");
        };
        assert_eq!(error.exit(), Exit::Usage);
        assert!(
            error.to_string().contains("another `meridian up`"),
            "{error}"
        );
        drop(first);
        assert!(prepare(&options).is_ok());
    }

    #[test]
    fn a_directory_whose_dataset_is_on_another_engine_is_refused_both_ways() {
        for was_on_postgres in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let dataset = directory.path().join("eu-west-1/datasets/main");
            fs::create_dir_all(dataset.join("tables")).unwrap();
            if was_on_postgres {
                File::create(dataset.join("postgres")).unwrap();
            }
            let mut options = options(directory.path(), free_base());
            options.postgres = !was_on_postgres;
            let Err(error) = prepare(&options) else {
                panic!("the dataset changed its engine");
            };
            assert_eq!(error.exit(), Exit::Usage);
            let text = error.to_string();
            assert!(text.contains("has dataset main with its rows in"), "{text}");
            assert!(text.contains("--data-dir DIR"), "{text}");
            // It was refused before anything was made.
            assert!(!directory.path().join("postgres").exists(), "{text}");
            assert!(!directory.path().join("meridian.toml").exists(), "{text}");
        }
    }
}
