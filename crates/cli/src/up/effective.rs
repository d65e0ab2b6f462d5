//! The topology that the regions read, written back as TOML.
//!
//! Children read a file like any production region, so the topology of `up` (addresses on this
//! machine, certificates of its own) is written out. A test holds writing and reading together.

use meridian_topology::{
    Dataset, DeadLetters, Engine, Password, Postgres, PostgresServer, Promises, Region, Strategy,
    Topology, Writes,
};
use std::path::Path;
use toml::{Table, Value};

/// The `[tls]` paths, which the topology has per region and the file with `{region}`.
pub struct CertificatePaths<'a> {
    /// The authority.
    pub authority: &'a str,
    /// The certificate, with `{region}`.
    pub certificate: &'a str,
    /// The key, with `{region}`.
    pub key: &'a str,
}

/// The topology as a file with these certificates.
pub fn render(topology: &Topology, tls: &CertificatePaths<'_>) -> String {
    let mut file = Table::new();
    file.insert("zone".into(), topology.zone.clone().into());
    let drift = format!("{}us", topology.clock.drift_max.as_micros());
    file.insert("clock".into(), table([("drift-max", drift.into())]));
    file.insert(
        "tls".into(),
        table([
            ("authority", tls.authority.into()),
            ("certificate", tls.certificate.into()),
            ("key", tls.key.into()),
        ]),
    );
    let regions = topology.regions.iter().map(region);
    file.insert("region".into(), Value::Array(regions.collect()));
    let datasets = topology.datasets.iter().map(dataset);
    file.insert("dataset".into(), Value::Array(datasets.collect()));
    super::effective_steering::all(&mut file, topology);
    format!("# Written by `meridian up`, and again whenever it starts.\n\n{file}")
}

/// A path as it is from everywhere: this file is in another directory than the one that named it.
pub fn absolute(path: &Path) -> Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Value::from(path.display().to_string())
}

pub fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.into_iter();
    Value::Table(
        entries
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn region(region: &Region) -> Value {
    let place = region.place.location;
    let mut entries = Table::new();
    entries.insert("name".into(), region.name.as_str().into());
    let location = match region.place.cloud_region {
        Some(name) => name.into(),
        None => table([
            ("latitude", place.latitude.into()),
            ("longitude", place.longitude.into()),
        ]),
    };
    entries.insert("location".into(), location);
    for (key, endpoint) in [("api", &region.api), ("link", &region.link)] {
        if let Some(endpoint) = endpoint {
            entries.insert(key.into(), endpoint.address.to_string().into());
        }
    }
    if region.witness {
        entries.insert("witness".into(), true.into());
    }
    super::effective_steering::region(&mut entries, region);
    Value::Table(entries)
}

fn dataset(dataset: &Dataset) -> Value {
    let mut entries = Table::new();
    entries.insert("name".into(), dataset.name.as_str().into());
    entries.insert("engine".into(), dataset.engine.name().into());
    if let Engine::Postgres(servers) = &dataset.engine {
        entries.insert("postgres".into(), postgres(servers));
    }
    entries.insert("strategy".into(), strategy(dataset.strategy).into());
    if let Some(tables) = &dataset.tables {
        let names = tables.iter().map(|name| Value::from(name.to_string()));
        entries.insert("tables".into(), Value::Array(names.collect()));
    }
    let dead_letters = match dataset.dead_letters {
        DeadLetters::SetAside => "set-aside",
        DeadLetters::Stop => "stop",
    };
    entries.insert("dead-letters".into(), dead_letters.into());
    let limits = &dataset.limits;
    let limits = [
        ("document-bytes-max", limits.document_bytes_max),
        ("transaction-bytes-max", limits.transaction_bytes_max),
        ("key-bytes-max", limits.key_bytes_max),
        ("log-bytes-max", limits.log_bytes_max),
        ("log-reserve-bytes", limits.log_reserve_bytes),
        ("conflicts-max", limits.conflicts_max),
    ];
    // They came out of TOML integers, or of strings that stand for as many bytes.
    let limits = limits.map(|(key, limit)| (key, i64::try_from(limit).unwrap_or(i64::MAX).into()));
    let mut limits = table(limits);
    if let Value::Table(limits) = &mut limits {
        let kept_ms = dataset.limits.log_retention.as_millis();
        limits.insert("log-retention".into(), format!("{kept_ms}ms").into());
        if let Some(after) = dataset.limits.evict_after {
            let after = format!("{}ms", after.as_millis());
            limits.insert("evict-after".into(), after.into());
        }
    }
    entries.insert("limits".into(), limits);
    let every = format!("{}us", dataset.compare_every.as_micros());
    entries.insert("compare-every".into(), every.into());
    let pace = i64::try_from(dataset.compare_rows_per_second_max).unwrap_or(i64::MAX);
    entries.insert("compare-rows-per-second-max".into(), pace.into());
    if !dataset.table_rules.is_empty() {
        let rules = dataset.table_rules.iter().map(|(name, rules)| {
            let mut own = Table::new();
            own.insert("strategy".into(), strategy(rules.strategy).into());
            if !rules.counters.is_empty() {
                let counters = rules.counters.iter().map(|name| name.as_str().into());
                own.insert("counters".into(), Value::Array(counters.collect()));
            }
            (name.as_str().to_owned(), Value::Table(own))
        });
        entries.insert("table".into(), Value::Table(rules.collect()));
    }
    promises(&mut entries, &dataset.promises);
    Value::Table(entries)
}

fn postgres(postgres: &Postgres) -> Value {
    let servers = postgres.servers.iter().map(|(region, server)| {
        let mut entries = Table::new();
        postgres_server(&mut entries, server);
        (region.as_str().to_owned(), Value::Table(entries))
    });
    let exclude = postgres
        .exclude
        .iter()
        .map(|pattern| pattern.to_string().into());
    table([
        ("region", Value::Table(servers.collect())),
        ("exclude", Value::Array(exclude.collect())),
    ])
}

/// A server's keys.
pub fn postgres_server(entries: &mut Table, server: &PostgresServer) {
    entries.insert("url".into(), server.url.as_str().into());
    password(entries, server.password.as_ref());
    if let Some(path) = &server.root_certificates {
        entries.insert("root-certificates".into(), absolute(path));
    }
}

/// Where a password is.
pub fn password(entries: &mut Table, password: Option<&Password>) {
    match password {
        Some(Password::File(path)) => {
            entries.insert("password-file".into(), absolute(path));
        }
        Some(Password::Environment(name)) => {
            entries.insert("password-env".into(), name.as_str().into());
        }
        None => {}
    }
}

fn promises(entries: &mut Table, promises: &Promises) {
    let timeout = format!("{}us", promises.acknowledgement_timeout.as_micros());
    for (key, value) in [
        ("consistency", promises.consistency.name().into()),
        ("acknowledgement", promises.acknowledgement.name().into()),
        ("acknowledgement-timeout", timeout.into()),
        ("writes", promises.writes.name().into()),
    ] {
        entries.insert(key.into(), value);
    }
    match &promises.writes {
        Writes::Home(home) => {
            entries.insert("home".into(), home.as_str().into());
        }
        Writes::ActiveActive { read_replicas } => {
            let names = read_replicas.iter().map(|name| name.as_str().into());
            entries.insert("read-replicas".into(), Value::Array(names.collect()));
        }
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    strategy.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: CertificatePaths<'static> = CertificatePaths {
        authority: "certs/authority.pem",
        certificate: "certs/{region}.pem",
        key: "certs/{region}.key.pem",
    };

    fn assert_survives(topology: &Topology) {
        let here = topology.on_this_machine(7000).unwrap();
        let text = render(&here, &PATHS);
        let again = Topology::parse(&text, Path::new("data/meridian.toml"));
        let again = again.unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(again.zone, here.zone);
        assert_eq!(again.clock, here.clock);
        assert_eq!(again.datasets, here.datasets);
        assert_eq!(again.health, here.health);
        assert_eq!(again.routes, here.routes);
        assert_eq!(again.steering, here.steering);
        assert_eq!(again.dns, here.dns);
        for (again, here) in again.regions.iter().zip(&here.regions) {
            assert_eq!(again.name, here.name);
            assert_eq!(again.place, here.place);
            assert_eq!(again.api, here.api);
            assert_eq!(again.link, here.link);
            assert_eq!(again.witness, here.witness);
            assert_eq!(again.addresses, here.addresses);
            assert_eq!(again.dns, here.dns);
            assert_eq!(again.capacity, here.capacity);
            assert_eq!(again.services, here.services);
        }
        let tls = again.tls.unwrap();
        assert_eq!(
            tls.key_of(&here.regions[0].name),
            Path::new("data/certs").join(format!("{}.key.pem", here.regions[0].name))
        );
    }

    #[test]
    fn the_built_in_topology_survives() {
        assert_survives(&Topology::built_in());
    }

    #[test]
    fn a_topology_with_everything_survives() {
        let text = r#"
            zone = "a.test"
            [[region]]
            name = "nowhere"
            capacity = 70
            addresses = ["10.0.0.1"]
            dns = "10.0.0.1:53"
            location = { latitude = -1.25, longitude = 7.0 }
            [region.service.api]
            probe = "http"
            url = "https://127.0.0.1:8443/health"
            status = [204]
            body = "ready"
            root-certificates = "/certs/roots.pem"
            certificate-days-min = 3
            timeout = "1500us"
            by = "own"
            [region.service.database]
            probe = "postgres"
            url = "postgresql://m@127.0.0.1/shop"
            password-file = "/secrets/shop"
            read-only = true
            [region.service.cache]
            probe = "redis"
            address = "127.0.0.1:6379"
            password-env = "SECRET"
            replica = true
            [region.service.storage]
            probe = "dns"
            address = "127.0.0.1:53"
            name = "a.test"
            [region.service.secrets]
            probe = "command"
            command = ["/bin/true", "x"]
            by = "all"
            [[region]]
            name = "eu-west-1"
            [region.service.cache]
            probe = "tcp"
            address = "localhost:6379"
            [[region]]
            name = "eu-west-3"
            witness = true
            [[dataset]]
            name = "main"
            engine = "embedded"
            [dataset.limits]
            document-bytes-max = "2MiB"
            conflicts-max = 7
            [dataset.table.orders]
            strategy = "add-wins-set"
            [[dataset]]
            name = "other"
            engine = "embedded"
            dead-letters = "stop"
            tables = ["inventory_*", "stock"]
            consistency = "strong"
            acknowledgement = "one-remote"
            acknowledgement-timeout = "1500ms"
            read-replicas = ["eu-west-1"]
            [[dataset]]
            name = "at-home"
            engine = "embedded"
            tables = ["home"]
            writes = "home"
            home = "nowhere"
            [[dataset]]
            name = "shop"
            engine = "postgres"
            tables = ["public.*"]
            [dataset.postgres]
            exclude = ["public.audit_*"]
            [dataset.postgres.region.nowhere]
            url = "postgresql://m@db/shop"
            password-file = "/secrets/shop"
            [dataset.postgres.region.eu-west-1]
            url = "postgresql://m@127.0.0.1:7016/shop"
            password-env = "SECRET"
            root-certificates = "/certs/roots.pem"
            [dataset.table."public.accounts"]
            counters = ["balance"]
            [clock]
            drift-max = "250us"
            [health]
            preset = "standard"
            [[health.maintenance]]
            region = "nowhere"
            from = 2026-12-01T02:00:00Z
            until = 2026-12-01T02:00:00.000001Z
            reason = "new disks"
            [[health.maintenance]]
            region = "nowhere"
            service = "cache"
            from = 2026-12-01T02:00:00Z
            until = 2026-12-02T02:00:00Z
            [route.shop]
            policy = "geolocation"
            needs = ["api"]
            useful = []
            sticky = false
            full-percent = 0
            values-max = 3
            ttl = "9s"
            ramp = { percents = [20, 40], each = "250ms" }
            residency-otherwise = ["nowhere"]
            [[route.shop.residency]]
            clients = ["europe"]
            regions = ["eu-west-1"]
            [[route.shop.residency]]
            clients = ["CH"]
            regions = []
            [[route.shop.choice]]
            region = "nowhere"
            clients = ["africa", "DE"]
            [[route.shop.choice]]
            policy = "weighted"
            [[route.shop.choice.choice]]
            region = "eu-west-1"
            weight = 0
            [route.near]
            policy = "geoproximity"
            [[route.near.choice]]
            region = "eu-west-1"
            bias = -7
            [route.app]
            [steering]
            leaving-percent-max = 33
            [dns]
            ttl = "1s"
            records-ttl = "2s"
            name-servers = ["ns.example.com"]
            hostmaster = "dns@example.com"
            dnssec-key-file = "/secrets/zone"
            cookie-secret-file = "/secrets/cookie"
            answers-per-second-max = 5
            limit-loopback = true
            client-subnet = false
            threads = 3
            [dns.records]
            "@" = ["MX 10 mail", "60 TXT \"a b\""]
            www = "A 10.0.0.1"
        "#;
        assert_survives(&Topology::parse(text, Path::new("meridian.toml")).unwrap());
    }
}
