//! What an observer is set up with, from the topology and from who counts.

use super::probe::{Prober, What};
use meridian_engine_postgres::server::ServerConfig;
use meridian_health::{Service, Setup, Target};
use meridian_model::RegionName;
use meridian_topology::{Probe, ProbeKind, ProbedBy, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What `storage` is where nothing else is said of it.
const OWN_DISK: &str = "the region's disk";

/// Every probe that this region knows how to do, by what it is of.
pub(super) type Probers = BTreeMap<(RegionName, Service), Arc<Prober>>;

/// How this region probes the services of every region of the topology.
pub(super) fn probers(topology: &Topology, own: &RegionName) -> Probers {
    let limit = topology.health.preset.cadence().detection_max();
    let mut probers = Probers::new();
    for region in &topology.regions {
        for (service, probe) in &region.services {
            if probe.by == ProbedBy::All || region.name == *own {
                let prober = prober(probe, limit);
                probers.insert((region.name.clone(), *service), Arc::new(prober));
            }
        }
    }
    let database = (own.clone(), Service::Database);
    if let Some(prober) = own_database(topology, own, limit) {
        probers.entry(database).or_insert_with(|| Arc::new(prober));
    }
    probers
}

fn prober(probe: &Probe, limit: Duration) -> Prober {
    let what = match &probe.kind {
        ProbeKind::Http(http) => What::Http(http.clone()),
        ProbeKind::Tcp(address) => What::Tcp(address.clone()),
        ProbeKind::Postgres {
            server,
            accepts_writes,
        } => What::Postgres {
            server: ServerConfig::from(server),
            accepts_writes: *accepts_writes,
        },
        ProbeKind::Redis {
            address,
            password,
            is_primary,
        } => What::Redis {
            address: address.clone(),
            password: password.clone(),
            is_primary: *is_primary,
        },
        ProbeKind::Dns { server, name } => What::Dns {
            server: server.clone(),
            name: name.clone(),
        },
        ProbeKind::Command(words) => What::Command(words.clone()),
    };
    Prober::new(probe.kind.endpoint(), what, probe.timeout.unwrap_or(limit))
}

/// The region's server, where a dataset is on PostgreSQL and nothing else is said.
fn own_database(topology: &Topology, own: &RegionName, limit: Duration) -> Option<Prober> {
    let mut datasets = topology.datasets.iter();
    let server = datasets.find_map(|dataset| dataset.postgres()?.servers.get(own))?;
    let what = What::Postgres {
        server: ServerConfig::from(server),
        accepts_writes: true,
    };
    Some(Prober::new(server.url.clone(), what, limit))
}

/// The observer's setup while these regions count. `links` says where their links are.
pub(super) fn setup(
    topology: &Topology,
    own: &RegionName,
    others: &BTreeMap<RegionName, String>,
    probers: &Probers,
) -> Setup {
    let observers: BTreeSet<_> = others.keys().chain([own]).cloned().collect();
    let is_witness = topology.region(own.as_str()).is_some_and(|it| it.witness);
    let target = |region: &RegionName, service: Service| {
        let prober = probers.get(&(region.clone(), service));
        let endpoint = match (prober, service) {
            (Some(prober), _) => prober.endpoint.clone(),
            (None, Service::Storage) if !is_witness && region == own => OWN_DISK.to_owned(),
            (None, Service::Api) => match others.get(region) {
                Some(link) => format!("link://{link}"),
                None => "the region itself".to_owned(),
            },
            (None, _) => return None,
        };
        Some(Target {
            region: region.clone(),
            service,
            endpoint,
        })
    };
    let targets = observers.iter().flat_map(|region| {
        let services = Service::ALL.into_iter();
        services.filter_map(|service| target(region, service))
    });
    Setup {
        own: own.clone(),
        targets: targets.collect(),
        observers: observers.iter().cloned().collect(),
        cadence: topology.health.preset.cadence(),
        maintenance: topology.health.maintenance.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TOPOLOGY: &str = r#"
        zone = "a.test"
        [[region]]
        name = "us-east-1"
        [region.service.cache]
        probe = "tcp"
        address = "10.0.0.1:6379"
        [[region]]
        name = "eu-west-1"
        [region.service.api]
        probe = "http"
        url = "http://10.0.1.1/"
        [region.service.cache]
        probe = "tcp"
        address = "10.0.1.1:6379"
        [region.service.storage]
        probe = "tcp"
        address = "10.0.1.2:9000"
        by = "all"
        [[dataset]]
        name = "shop"
        engine = "postgres"
        tables = ["public.*"]
        [dataset.postgres.region.us-east-1]
        url = "postgresql://m@10.0.0.2/shop"
        [dataset.postgres.region.eu-west-1]
        url = "postgresql://m@10.0.1.2/shop"
        [health]
        preset = "fast"
    "#;

    #[test]
    fn every_region_probes_its_own_services_and_those_that_all_probe() {
        let topology = Topology::parse(TOPOLOGY, Path::new("m.toml")).unwrap();
        let own = RegionName::new("us-east-1");
        let probers = probers(&topology, &own);
        let others =
            ["eu-west-1", "joined"].map(|name| (RegionName::new(name), format!("{name}:7001")));
        let setup = setup(&topology, &own, &others.into(), &probers);
        let targets: Vec<_> = setup
            .targets
            .iter()
            .map(|it| format!("{}/{} {}", it.region, it.service, it.endpoint))
            .collect();
        assert_eq!(
            targets,
            [
                "eu-west-1/api http://10.0.1.1/",
                "eu-west-1/storage tcp://10.0.1.2:9000",
                "joined/api link://joined:7001",
                "us-east-1/api the region itself",
                "us-east-1/database postgresql://m@10.0.0.2/shop",
                "us-east-1/cache tcp://10.0.0.1:6379",
                "us-east-1/storage the region's disk",
            ]
        );
        let observers: Vec<_> = setup.observers.iter().map(ToString::to_string).collect();
        assert_eq!(observers, ["eu-west-1", "joined", "us-east-1"]);
        assert_eq!(setup.cadence, meridian_health::Preset::Fast.cadence());
    }
}
