//! What a valid file means, and what can be asked of a topology.

use crate::read::schema;
use crate::{
    Address, Dataset, DatasetName, Endpoint, Engine, Limits, Location, Password, Promises,
    RegionName, Strategy, Tls, Topology, init_template, round_trip,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Topology {
    Topology::parse(text, Path::new("/etc/meridian/meridian.toml"))
        .unwrap_or_else(|error| panic!("{error}\n--- in\n{text}"))
}

const FULL: &str = r#"
zone = "global.example.com"

[[region]]
name = "us-east-1"
api = "us.example.com:7000"
api-listen = "0.0.0.0:7000"
link = "10.0.0.1:7001"
data-dir = "data/us"

[[region]]
name = "attic"
location = { latitude = 48.9, longitude = 2 }
api = "127.0.0.1:7010"
link = "[::1]:7011"

[[region]]
name = "cellar"
location = "eu-west-1"
api = "localhost:7020"
link = "localhost:7021"
data-dir = "/var/lib/meridian"

[[dataset]]
name = "shop"
engine = "embedded"
strategy = "register-per-field"
tables = ["orders", "inv_*"]

[dataset.table.orders]
strategy = "last-writer-wins"

[dataset.table."inv_2024.q1"]
strategy = "add-wins-set"

[dataset.table.inv_1]
strategy = "siblings"

[dataset.table.inv_2]

[dataset.limits]
document-bytes-max = "8MiB"
transaction-bytes-max = 12_582_912
key-bytes-max = 0x200
log-bytes-max = "1GiB"
log-reserve-bytes = "64MB"
conflicts-max = 7
log-retention = "36h"
evict-after = "72h"

[[dataset]]
name = "rest"
engine = "embedded"

[clock]
drift-max = "250ms"

[tls]
authority = "certs/authority.pem"
certificate = "certs/{region}.pem"
key = "/secret/{region}.key"

[api]
token-file = "token"
"#;

#[test]
fn a_full_file_means_what_it_says() {
    let topology = parse(FULL);
    assert_eq!(topology.zone, "global.example.com");
    assert_eq!(topology.clock.drift_max, Duration::from_millis(250));
    let token = topology.api.token_file.as_deref();
    assert_eq!(token, Some(Path::new("/etc/meridian/token")));

    let names: Vec<_> = topology
        .regions
        .iter()
        .map(|region| region.name.as_str())
        .collect();
    assert_eq!(names, ["us-east-1", "attic", "cellar"]);
    let us = &topology.regions[0];
    assert_eq!(us.place.cloud_region, Some("us-east-1"));
    let api = us.api.as_ref().unwrap();
    assert_eq!(api.address.to_string(), "us.example.com:7000");
    assert_eq!(api.listen.to_string(), "0.0.0.0:7000");
    assert_eq!(
        us.link,
        Some(Endpoint::at("10.0.0.1:7001".parse().unwrap()))
    );
    assert_eq!(us.data_dir, Some(PathBuf::from("/etc/meridian/data/us")));
    let attic = &topology.regions[1];
    assert_eq!(attic.place.cloud_region, None);
    assert_eq!(Some(attic.place.location), Location::new(48.9, 2.0));
    let cellar = &topology.regions[2];
    assert_eq!(cellar.place.cloud_region, Some("eu-west-1"));
    assert_eq!(cellar.data_dir, Some(PathBuf::from("/var/lib/meridian")));
}

#[test]
fn certificates_are_named_after_the_region() {
    let tls = parse(FULL).tls.unwrap();
    let region = RegionName::new("attic");
    assert_eq!(
        tls.authority,
        Path::new("/etc/meridian/certs/authority.pem")
    );
    assert_eq!(
        tls.certificate_of(&region),
        Path::new("/etc/meridian/certs/attic.pem")
    );
    assert_eq!(tls.key_of(&region), Path::new("/secret/attic.key"));
}

#[test]
fn datasets_have_engine_rules_and_limits() {
    let topology = parse(FULL);
    let shop = &topology.datasets[0];
    assert_eq!(shop.engine, Engine::Embedded);
    assert_eq!(shop.table_rules.len(), 4);
    for (table, strategy) in [
        ("orders", Strategy::LastWriterWins),
        ("inv_2024.q1", Strategy::AddWinsSet),
        ("inv_1", Strategy::Siblings),
        ("inv_2", Strategy::RegisterPerField),
        ("inv_3", Strategy::RegisterPerField),
    ] {
        assert_eq!(shop.strategy_of(table), strategy, "{table}");
    }
    let expected = Limits {
        document_bytes_max: 8 << 20,
        transaction_bytes_max: 12 << 20,
        key_bytes_max: 512,
        log_bytes_max: 1 << 30,
        log_reserve_bytes: 64_000_000,
        conflicts_max: 7,
        log_retention: Duration::from_hours(36),
        evict_after: Some(Duration::from_hours(72)),
    };
    assert_eq!(shop.limits, expected);
    let rest = Dataset::embedded(DatasetName::new("rest").unwrap());
    assert_eq!(topology.datasets[1], rest);
}

#[test]
fn each_table_has_its_dataset() {
    let mut topology = parse(FULL);
    let dataset = |topology: &Topology, table| {
        topology
            .dataset_of_table(table)
            .map(|dataset| dataset.name.to_string())
    };
    for (table, expected) in [
        ("orders", "shop"),
        ("inv_1", "shop"),
        ("inv", "rest"),
        ("orders2", "rest"),
    ] {
        assert_eq!(
            dataset(&topology, table).as_deref(),
            Some(expected),
            "{table}"
        );
    }
    topology.datasets.pop();
    assert_eq!(dataset(&topology, "orders").as_deref(), Some("shop"));
    assert_eq!(dataset(&topology, "other"), None);
}

#[test]
fn defaults() {
    let text = "zone = \"a\"\n[[region]]\nname = \"us-east-1\"\n[[dataset]]\nname = \"main\"\nengine = \"embedded\"";
    let topology = parse(text);
    assert_eq!(topology.clock.drift_max, Duration::from_millis(500));
    assert_eq!(topology.datasets[0].limits, Limits::default());
    assert_eq!(topology.datasets[0].promises, Promises::default());
    assert!(topology.tls.is_none() && topology.api.token_file.is_none());
    let region = &topology.regions[0];
    assert!(region.api.is_none() && region.link.is_none() && region.data_dir.is_none());
}

#[test]
fn a_region_that_serves_knows_its_peers() {
    let topology = parse(FULL);
    let serving = topology.for_serve("attic").unwrap();
    assert_eq!(serving.region.name.as_str(), "attic");
    assert_eq!(serving.link.listen.to_string(), "[::1]:7011");
    let peers: Vec<_> = serving
        .peers
        .iter()
        .map(|peer| format!("{} {} {}", peer.name, peer.api, peer.link))
        .collect();
    assert_eq!(
        peers,
        [
            "us-east-1 us.example.com:7000 10.0.0.1:7001",
            "cellar localhost:7020 localhost:7021"
        ]
    );
}

#[test]
fn one_region_alone_serves() {
    let topology = parse(
        "zone = \"a.test\"\n[[region]]\nname = \"eu-west-1\"\napi = \"127.0.0.1:1\"\nlink = \"127.0.0.1:2\"\n[[dataset]]\nname = \"main\"\nengine = \"embedded\"",
    );
    assert!(topology.for_serve("eu-west-1").unwrap().peers.is_empty());
}

#[test]
fn the_built_in_topology_keeps_every_rule() {
    let topology = Topology::built_in();
    assert_eq!(topology.zone, "meridian.test");
    // Written out as a file, it reads back as the same.
    let regions: String = topology
        .regions
        .iter()
        .map(|region| format!("[[region]]\nname = \"{}\"\n", region.name))
        .collect();
    let read = parse(&format!(
        "zone = \"{}\"\n{regions}[[dataset]]\nname = \"{}\"\nengine = \"embedded\"\n",
        topology.zone, topology.datasets[0].name
    ));
    assert_eq!(read.datasets, topology.datasets);
    assert_eq!((&read.routes, &read.dns), (&topology.routes, &topology.dns));
    let places = |topology: &Topology| -> Vec<_> {
        topology
            .regions
            .iter()
            .map(|region| (region.name.clone(), region.place))
            .collect()
    };
    assert_eq!(places(&read), places(&topology));
    let names: Vec<_> = topology
        .regions
        .iter()
        .map(|region| region.name.as_str())
        .collect();
    assert_eq!(names, ["us-east-1", "eu-west-1", "ap-northeast-1"]);
    assert_eq!(
        topology.dataset_of_table("anything").unwrap().name.as_str(),
        "main"
    );
    let [a, b, _] = &topology.regions[..] else {
        panic!()
    };
    assert!(round_trip(&a.place, &b.place).published);
}

#[test]
fn on_this_machine_every_region_has_its_ports() {
    let mut topology = parse(FULL);
    topology.tls = Some(Tls::new("a".into(), "b".into(), "c".into()));
    let here = topology.on_this_machine(7000).unwrap();
    let addresses: Vec<_> = here
        .regions
        .iter()
        .flat_map(|region| [region.api.clone().unwrap(), region.link.clone().unwrap()])
        .collect();
    let expected =
        [7000, 7001, 7010, 7011, 7020, 7021].map(|port| Endpoint::at(Address::loopback(port)));
    assert_eq!(addresses, expected);
    assert!(here.tls.is_none() && here.api.token_file.is_none());
    assert!(here.regions.iter().all(|region| region.data_dir.is_none()));
    assert!(here.for_serve("cellar").is_ok());
}

#[test]
fn the_last_base_port_is_the_last() {
    let topology = Topology::built_in();
    let last = topology.on_this_machine(65506).unwrap();
    assert_eq!(last.regions[2].link.as_ref().unwrap().address.port(), 65527);
    for bad in [0, 65507, u16::MAX] {
        let error = topology.on_this_machine(bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "error: 3 regions do not fit on this machine from port {bad}\n  hint: use a base port from 1 to 65506"
            )
        );
    }
}

#[test]
fn the_template_is_valid_and_has_the_defaults() {
    let topology = parse(&init_template());
    let built_in = Topology::built_in();
    assert_eq!(topology.zone, built_in.zone);
    assert_eq!(topology.datasets, built_in.datasets);
    assert_eq!(topology.clock, built_in.clock);
    assert_eq!(topology.health, built_in.health);
    assert_eq!(topology.routes, built_in.routes);
    assert_eq!(topology.steering, built_in.steering);
    assert_eq!(topology.dns, built_in.dns);
    let here = built_in.on_this_machine(7000).unwrap();
    for (region, expected) in topology.regions.iter().zip(&here.regions) {
        assert_eq!(region.name, expected.name);
        assert_eq!((&region.api, &region.link), (&expected.api, &expected.link));
    }
}

/// The template with every disabled setting enabled.
fn template_enabled() -> String {
    init_template()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_template_is_valid_with_every_setting_enabled() {
    let text = template_enabled().replace("[\"orders\", \"inventory_*\"]", "[\"orders\"]");
    let topology = parse(&text);
    assert!(topology.tls.is_some() && topology.api.token_file.is_some());
    assert_eq!(topology.datasets[0].table_rules.len(), 1);
    let postgres = topology.datasets[1].postgres().unwrap();
    let witnesses = topology.witnesses().count();
    assert_eq!(postgres.servers.len() + witnesses, topology.regions.len());
    let server = &postgres.servers[&RegionName::new("us-east-1")];
    let secret = Path::new("/etc/meridian/secrets/us-east-1");
    assert_eq!(server.password, Some(Password::File(secret.to_owned())));
    let rules = &topology.datasets[1].table_rules["public.accounts"];
    assert!(rules.counters.contains("balance"));
}

#[test]
fn the_template_has_every_key() {
    let template = template_enabled();
    let sections = [
        schema::ROOT,
        schema::REGION,
        schema::LOCATION,
        schema::DATASET,
        schema::TABLE,
        schema::POSTGRES,
        schema::POSTGRES_SERVER,
        schema::LIMITS,
        schema::CLOCK,
        schema::TLS,
        schema::API,
        schema::HEALTH,
        schema::MAINTENANCE,
        schema::PROBE_HTTP,
        schema::PROBE_TCP,
        schema::PROBE_POSTGRES,
        schema::PROBE_REDIS,
        schema::PROBE_DNS,
        schema::PROBE_COMMAND,
        schema::ROUTE,
        schema::CHOICE,
        schema::RESIDENCY,
        schema::RAMP,
        schema::STEERING,
        schema::DNS,
    ];
    for key in sections.into_iter().flatten() {
        let setting = format!("{} = ", key.name);
        let header = key
            .example
            .starts_with('[')
            .then(|| key.example.trim_end_matches(']'));
        let present = header.map_or_else(
            || template.contains(&setting),
            |header| template.contains(header),
        );
        assert!(present, "the template lacks {}", key.name);
    }
}

#[test]
fn a_file_nested_too_deep_is_refused() {
    for deep in [
        "a = ".to_owned() + &"[".repeat(100_000),
        "a.".repeat(100_000) + "a = 1",
    ] {
        let _error = Topology::parse(&deep, Path::new("m.toml")).unwrap_err();
    }
}

proptest! {
    /// No text at all makes the reader panic; cut and spliced templates reach deep into it.
    #[test]
    fn a_damaged_file_is_read_or_refused(from in 0usize..5000, length in 0usize..200, put in "[\\[\\]={}\"#a-z0-9.\\-\n é]{0,12}") {
        let mut text = template_enabled();
        let floor = |text: &str, mut at: usize| { at = at.min(text.len()); while !text.is_char_boundary(at) { at -= 1 } at };
        let (start, end) = (floor(&text, from), floor(&text, from + length));
        text.replace_range(start..end, &put);
        if let Err(error) = Topology::parse(&text, Path::new("m.toml")) {
            prop_assert!(!error.faults.is_empty());
            prop_assert!(error.faults.is_sorted_by_key(|fault| fault.position));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = Topology::parse(&text, Path::new("m.toml"));
    }
}
