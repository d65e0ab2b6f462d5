//! What `[health]`, `[route]`, `[steering]`, `[dns]` and the regions' part of them mean.

use crate::{
    Address, Area, By, Clients, Country, HttpProbe, Password, PostgresServer, Probe, ProbeKind,
    ProbedBy, RegionName, StaticRecord, To, Topology,
};
use meridian_health::{Needs, Preset, Service};
use meridian_model::Micros;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

const FULL: &str = r#"
zone = "a.test"

[[region]]
name = "us-east-1"
addresses = ["203.0.113.7", "2001:db8::7"]
dns = "ns.us.example.com:53"
dns-listen = ["203.0.113.7:53", "[2001:db8::7]:53"]
capacity = 500
[region.service.api]
probe = "http"
url = "https://us.example.com/health"
status = [200, 204]
body = "ready"
certificate-days-min = 7
timeout = "400ms"
[region.service.database]
probe = "postgres"
url = "postgresql://probe@db/shop"
password-env = "SECRET"
[region.service.cache]
probe = "redis"
address = "10.0.0.5:6379"
password-file = "secrets/cache"
replica = true
by = "all"
[region.service.storage]
probe = "dns"
address = "10.0.0.2:53"
name = "Storage.example.com."
[region.service.secrets]
probe = "command"
command = ["/bin/check", "--quick"]

[[region]]
name = "eu-west-1"
dns = "203.0.113.8:53"
[region.service.cache]
probe = "tcp"
address = "127.0.0.1:6379"

[[region]]
name = "eu-west-3"
witness = true

[[dataset]]
name = "main"
engine = "embedded"

[health]
preset = "fast"
[[health.maintenance]]
region = "eu-west-1"
service = "database"
from = 2026-12-01T02:00:00+01:00
until = "2026-12-01T04:00:00.5Z"
reason = "new disks"

[route.shop]
policy = "geolocation"
needs = ["api"]
useful = []
sticky = false
full-percent = 0
ttl = "30s"
values-max = 2
ramp = { percents = [50], each = "1m" }
residency-otherwise = ["us-east-1"]
[[route.shop.residency]]
clients = ["europe", "CH"]
regions = ["eu-west-1"]
[[route.shop.choice]]
region = "eu-west-1"
clients = ["asia-pacific"]
[[route.shop.choice]]
policy = "weighted"
[[route.shop.choice.choice]]
region = "us-east-1"
weight = 3

[steering]
leaving-percent-max = 34

[dns]
ttl = "1s"
records-ttl = "1h"
name-servers = ["NS1.example.com."]
hostmaster = "dns@example.com"
dnssec-key-file = "zone.key"
answers-per-second-max = 0
limit-loopback = true
client-subnet = false
cookie-secret-file = "cookie"
threads = 2
[dns.records]
"@" = ["MX 10 mail.example.com.", "60 TXT hello"]
WWW = "CNAME app.global"
"_x._tcp" = "SRV 1 2 443 app.global"
"#;

fn full() -> Topology {
    Topology::parse(FULL, Path::new("/etc/meridian.toml")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn regions_have_addresses_name_servers_and_a_capacity() {
    let topology = full();
    let [us, eu, paris] = &topology.regions[..] else {
        panic!()
    };
    let addresses: Vec<IpAddr> = vec![
        "203.0.113.7".parse().unwrap(),
        "2001:db8::7".parse().unwrap(),
    ];
    assert_eq!(us.addresses, addresses);
    assert_eq!(us.capacity, Some(500));
    let dns = us.dns.as_ref().unwrap();
    assert_eq!(dns.address.to_string(), "ns.us.example.com:53");
    assert_eq!(dns.listen.len(), 2);
    let dns = eu.dns.as_ref().unwrap();
    assert_eq!(dns.address, Address::Ip(dns.listen[0]));
    assert!(paris.dns.is_none() && paris.addresses.is_empty() && paris.services.is_empty());
}

#[test]
fn services_have_probes() {
    let topology = full();
    let services = &topology.regions[0].services;
    let http = HttpProbe {
        url: "https://us.example.com/health".to_owned(),
        statuses: vec![200, 204],
        body: Some("ready".to_owned()),
        root_certificates: None,
        certificate_days_min: 7,
    };
    let api = Probe {
        kind: ProbeKind::Http(http),
        timeout: Some(Duration::from_millis(400)),
        by: ProbedBy::All,
    };
    assert_eq!(services[&Service::Api], api);
    let server = PostgresServer {
        url: "postgresql://probe@db/shop".to_owned(),
        password: Some(Password::Environment("SECRET".to_owned())),
        root_certificates: None,
    };
    let database = &services[&Service::Database];
    assert_eq!(database.by, ProbedBy::Own);
    assert_eq!(
        database.kind,
        ProbeKind::Postgres {
            server,
            accepts_writes: true
        }
    );
    let cache = &services[&Service::Cache];
    assert_eq!(cache.by, ProbedBy::All);
    assert_eq!(
        cache.kind,
        ProbeKind::Redis {
            address: "10.0.0.5:6379".parse().unwrap(),
            password: Some(Password::File("/etc/secrets/cache".into())),
            is_primary: false
        }
    );
    assert_eq!(
        services[&Service::Storage].kind.endpoint(),
        "dns://10.0.0.2:53/storage.example.com"
    );
    assert_eq!(
        services[&Service::Secrets].kind.endpoint(),
        "/bin/check --quick"
    );
}

#[test]
fn health_has_a_preset_and_windows() {
    let health = full().health;
    assert_eq!(health.preset, Preset::Fast);
    let [window] = &health.maintenance[..] else {
        panic!()
    };
    assert_eq!(window.region.as_str(), "eu-west-1");
    assert_eq!(window.service, Some(Service::Database));
    assert_eq!(window.from, Micros(1_796_086_800_000_000));
    assert_eq!(window.until, Micros(1_796_097_600_500_000));
    assert_eq!(window.reason, "new disks");
}

#[test]
fn routes_have_policies_needs_and_residency() {
    let topology = full();
    let [shop] = &topology.routes[..] else {
        panic!()
    };
    assert_eq!((shop.name.as_str(), shop.values_max), ("shop", 2));
    assert_eq!(shop.policy.by, By::Geolocation);
    let [first, second] = &shop.policy.choices[..] else {
        panic!()
    };
    assert_eq!(first.clients, [Clients::Area(Area::AsiaPacific)]);
    let To::Policy(nested) = &second.to else {
        panic!()
    };
    assert_eq!((nested.by, nested.choices[0].weight), (By::Weighted, 3));
    assert_eq!(shop.needs, Needs::of(&[Service::Api], &[]));
    assert!(!shop.sticky);
    assert_eq!(
        (shop.full_percent, shop.ttl),
        (None, Some(Duration::from_secs(30)))
    );
    assert_eq!(
        (&shop.ramp.percents[..], shop.ramp.each),
        (&[50][..], Duration::from_mins(1))
    );
    let [us, eu] = ["us-east-1", "eu-west-1"].map(RegionName::new);
    assert_eq!(shop.residency.otherwise, Some(vec![us]));
    let rules = [
        Clients::Area(Area::Europe),
        Clients::Country(Country(*b"CH")),
    ];
    assert_eq!(
        shop.residency.rules,
        rules.map(|clients| (clients, vec![eu.clone()]))
    );
    assert_eq!(topology.steering.leaving_percent_max, 34);
}

#[test]
fn the_zone_has_records_and_settings() {
    let dns = full().dns;
    assert_eq!(
        (dns.ttl, dns.records_ttl),
        (Duration::from_secs(1), Duration::from_hours(1))
    );
    assert_eq!(dns.name_servers, ["ns1.example.com"]);
    assert_eq!(dns.hostmaster.as_deref(), Some("dns@example.com"));
    assert_eq!(
        dns.dnssec_key_file.as_deref(),
        Some(Path::new("/etc/zone.key"))
    );
    assert_eq!(
        dns.cookie_secret_file.as_deref(),
        Some(Path::new("/etc/cookie"))
    );
    assert_eq!((dns.answers_per_second_max, dns.threads), (0, 2));
    assert!(dns.limits_loopback && !dns.client_subnet);
    let record = |name: &str, text: &str| StaticRecord {
        name: name.to_owned(),
        text: text.to_owned(),
        position: None,
    };
    let mut records = dns.records;
    records.sort_by(|a, b| (&a.name, &a.text).cmp(&(&b.name, &b.text)));
    assert_eq!(
        records,
        [
            record("@", "60 TXT hello"),
            record("@", "MX 10 mail.example.com."),
            record("_x._tcp", "SRV 1 2 443 app.global"),
            record("www", "CNAME app.global"),
        ]
    );
}

#[test]
fn on_this_machine_regions_have_addresses_of_their_own() {
    let here = full().on_this_machine(7000).unwrap();
    let addresses: Vec<_> = here
        .regions
        .iter()
        .map(|region| region.addresses[0].to_string())
        .collect();
    if cfg!(target_os = "linux") {
        assert_eq!(addresses, ["127.0.1.1", "127.0.1.2", "127.0.1.3"]);
    }
    let servers: Vec<_> = here
        .regions
        .iter()
        .map(|region| region.dns.as_ref().unwrap().address.to_string())
        .collect();
    assert_eq!(
        servers,
        ["127.0.0.1:7002", "127.0.0.1:7012", "127.0.0.1:7022"]
    );
    // What asks production machines stays out; what asks this one stays.
    let probed: Vec<Vec<_>> = here
        .regions
        .iter()
        .map(|region| region.services.keys().copied().collect())
        .collect();
    assert_eq!(
        probed,
        [vec![Service::Secrets], vec![Service::Cache], vec![]]
    );
    assert_eq!(here.routes, full().routes);
}

#[test]
fn a_topology_without_routes_has_app() {
    let built_in = Topology::built_in();
    let [app] = &built_in.routes[..] else {
        panic!()
    };
    assert_eq!((app.name.as_str(), app.policy.by), ("app", By::Latency));
    assert!(app.policy.choices.is_empty() && app.sticky);
}
