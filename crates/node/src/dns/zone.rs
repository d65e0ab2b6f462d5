//! The zone that the topology describes.
//!
//! | name | what |
//! |---|---|
//! | `ZONE` | SOA, NS |
//! | `ns.REGION.ZONE` | the region's name server, unless the topology names others |
//! | `SERVICE.global.ZONE` | the region that suits the client |
//! | `SERVICE.REGION.ZONE` | that region |
//!
//! and static records. Every region makes the same of the same file, serial number included.

use meridian_dns::dnssec::ZoneKey;
use meridian_dns::zone::{Names, TextFault, ZoneSource, parse_records};
use meridian_dns::{Owner, Record, Steered};
use meridian_topology::{Address, GLOBAL, NAME_SERVER, Region, Topology};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// For how long a denial may be kept: short, since a region may get an address of another family.
const DENIAL_TTL_SECONDS: u64 = 60;

/// What is wrong with the zone that the topology describes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the zone can't be served:\n{}", faults.join("\n"))]
pub struct ZoneError {
    /// Each fault.
    pub faults: Vec<String>,
}

/// Looks the zone over: what `serve` would refuse.
///
/// # Errors
/// [`ZoneError`].
pub fn check_zone_records(topology: &Topology) -> Result<(), ZoneError> {
    names(topology, None).map(drop)
}

/// The zone's name.
pub(super) fn apex(zone: &str) -> Result<Owner, String> {
    Owner::parse(zone).map_err(|error| error.to_string())
}

/// All names of the zone.
pub(super) fn names(topology: &Topology, key: Option<ZoneKey>) -> Result<Names, ZoneError> {
    let mut faults = Vec::new();
    match source(topology, key, &mut faults) {
        Some(source) if faults.is_empty() => {
            Names::build(vec![source]).map_err(|found| ZoneError {
                faults: found.iter().map(ToString::to_string).collect(),
            })
        }
        _ => Err(ZoneError { faults }),
    }
}

fn source(
    topology: &Topology,
    key: Option<ZoneKey>,
    faults: &mut Vec<String>,
) -> Option<ZoneSource> {
    let apex = apex(&topology.zone)
        .map_err(|fault| faults.push(fault))
        .ok()?;
    let mut records = static_records(topology, &apex, faults);
    let text = generated(topology);
    match parse_records(&apex, &text) {
        Ok(generated) => records.extend(generated),
        Err(fault) => faults.push(reason(&fault)),
    }
    check_name_servers(topology, &apex, &records, faults);
    let addresses: Vec<_> = topology
        .regions
        .iter()
        .map(|region| region.addresses.clone())
        .collect();
    let mut steered = Vec::new();
    for (index, route) in topology.routes.iter().enumerate() {
        let ttl = seconds(route.ttl.unwrap_or(topology.dns.ttl));
        let ttl = u32::try_from(ttl).unwrap_or(u32::MAX);
        match apex.child(&format!("{}.{GLOBAL}", route.name)) {
            Ok(owner) => steered.push((owner, Steered::new(index, ttl, &addresses))),
            Err(error) => faults.push(error.to_string()),
        }
    }
    Some(ZoneSource {
        apex,
        records,
        steered,
        key,
    })
}

/// What every zone has: SOA, NS and their addresses, and the regions' own names of services.
fn generated(topology: &Topology) -> String {
    let servers = name_servers(topology);
    let ttl = seconds(topology.dns.records_ttl);
    let mut rest = String::new();
    for (name, address) in &servers {
        let _ = writeln!(rest, "@ {ttl} NS {name}.");
        if let Some(address) = address {
            let _ = writeln!(rest, "{name}. {ttl} {} {address}", family(*address));
        }
    }
    for region in topology.regions.iter().filter(|region| !region.witness) {
        for route in &topology.routes {
            let ttl = seconds(route.ttl.unwrap_or(topology.dns.ttl));
            for address in &region.addresses {
                let _ = writeln!(
                    rest,
                    "{}.{} {ttl} {} {address}",
                    route.name,
                    region.name,
                    family(*address)
                );
            }
        }
    }
    let primary = servers.first().map_or("", |(name, _)| name);
    let mailbox = mailbox(topology);
    // The same for the same zone, another for another; nobody transfers it, so it needn't rise.
    let statics = format!("{:?}", topology.dns.records);
    let serial = xxh3_64(format!("{rest}{statics}").as_bytes()) as u32;
    format!(
        "@ {ttl} SOA {primary}. {mailbox}. {serial} 3600 600 86400 {DENIAL_TTL_SECONDS}\n{rest}"
    )
}

/// The zone's name servers and, where this zone has to say it, the address of each.
fn name_servers(topology: &Topology) -> Vec<(String, Option<IpAddr>)> {
    if !topology.dns.name_servers.is_empty() {
        let named = topology.dns.name_servers.iter();
        return named.map(|name| (name.clone(), None)).collect();
    }
    let of_region = |region: &Region| {
        let own = format!("{NAME_SERVER}.{}.{}", region.name, topology.zone);
        Some(match &region.dns.as_ref()?.address {
            Address::Ip(address) => (own, Some(address.ip())),
            Address::Name { host, .. } => (host.trim_end_matches('.').to_owned(), None),
        })
    };
    let servers: Vec<_> = topology.regions.iter().filter_map(of_region).collect();
    match servers.is_empty() {
        // Nobody serves it, and nobody is told this; the rest can be looked over all the same.
        true => vec![(
            format!("{NAME_SERVER}.{}", topology.zone),
            Some([192, 0, 2, 1].into()),
        )],
        false => servers,
    }
}

/// Whom to write to, as an SOA record has it: dots of the local part are escaped (RFC 1035 §8).
fn mailbox(topology: &Topology) -> String {
    let address = topology.dns.hostmaster.as_deref();
    match address.and_then(|address| address.split_once('@')) {
        Some((local, host)) => format!("{}.{host}", local.replace('.', "\\.")),
        None => format!("hostmaster.{}", topology.zone),
    }
}

/// A name server inside the zone that the zone has no address of could be found by nobody.
fn check_name_servers(
    topology: &Topology,
    apex: &Owner,
    records: &[Record],
    faults: &mut Vec<String>,
) {
    for name in &topology.dns.name_servers {
        let Ok(owner) = Owner::parse(name) else {
            faults.push(format!("{name:?} is not the name of a name server"));
            continue;
        };
        let mut own = records.iter().filter(|record| record.owner == owner);
        if owner.is_within(apex) && !own.any(is_address) {
            faults.push(format!(
                "the name server {name} lies in the zone and has no address: give it an A or AAAA record under [dns.records]"
            ));
        }
    }
}

fn is_address(record: &Record) -> bool {
    matches!(record.rtype.to_int(), 1 | 28)
}

fn static_records(topology: &Topology, apex: &Owner, faults: &mut Vec<String>) -> Vec<Record> {
    let ttl = seconds(topology.dns.records_ttl);
    let mut records = Vec::new();
    for given in &topology.dns.records {
        let text = format!("$TTL {ttl}\n{} {}\n", given.name, given.text);
        match parse_records(apex, &text) {
            Ok(read) => records.extend(read),
            Err(fault) => faults.push(format!(
                "[dns.records] {:?}: {:?}: {}",
                given.name,
                given.text,
                reason(&fault)
            )),
        }
    }
    records
}

/// The reason without a line: the text was put together here.
fn reason(fault: &TextFault) -> String {
    match fault {
        TextFault::Format { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "A",
        IpAddr::V6(_) => "AAAA",
    }
}

fn seconds(ttl: Duration) -> u64 {
    ttl.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_dns::zone::Found;
    use meridian_topology::StaticRecord;

    fn topology() -> Topology {
        Topology::built_in().on_this_machine(7000).unwrap()
    }

    fn with_record(name: &str, text: &str) -> Topology {
        let mut topology = topology();
        topology.dns.records.push(StaticRecord {
            name: name.to_owned(),
            text: text.to_owned(),
        });
        topology
    }

    fn types(topology: &Topology, name: &str) -> Vec<String> {
        let names = names(topology, None).unwrap();
        let name = Owner::parse(name).unwrap();
        match names.find(name.octets()) {
            Found::Here { node, .. } => node.types().map(|it| it.to_string()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn the_zone_has_its_services_and_servers() {
        let topology = topology();
        assert_eq!(types(&topology, "meridian.test"), ["NS", "SOA"]);
        assert_eq!(types(&topology, "app.global.meridian.test"), ["A"]);
        assert_eq!(types(&topology, "app.eu-west-1.meridian.test"), ["A"]);
        assert_eq!(types(&topology, "ns.eu-west-1.meridian.test"), ["A"]);
        assert!(types(&topology, "app.nowhere.meridian.test").is_empty());
    }

    #[test]
    fn a_region_without_dns_and_a_witness_are_no_servers_and_no_places() {
        let mut topology = topology();
        topology.regions[1].dns = None;
        topology.regions[2].witness = true;
        assert!(types(&topology, "ns.eu-west-1.meridian.test").is_empty());
        assert!(types(&topology, "app.ap-northeast-1.meridian.test").is_empty());
    }

    #[test]
    fn faults_of_static_records_name_them() {
        let refused = |name: &str, text: &str| {
            let error = check_zone_records(&with_record(name, text)).unwrap_err();
            error.to_string()
        };
        assert!(refused("www", "A nonsense").contains("[dns.records] \"www\": \"A nonsense\""));
        assert!(refused("www", "$INCLUDE x").contains("www"));
        assert!(refused("app.global", "A 192.0.2.1").contains("is steered"));
        assert!(refused("@", "CNAME elsewhere.example.").contains("CNAME stands alone"));
        assert!(refused("www", "DNAME elsewhere.example.").contains("DNAME"));
        assert!(refused("www.example.com.", "A 192.0.2.1").contains("isn't within the zone"));
    }

    #[test]
    fn a_name_server_in_the_zone_needs_an_address() {
        let mut topology = with_record("ns1", "A 192.0.2.1");
        topology.dns.name_servers = vec!["ns1.meridian.test".into(), "ns.example.com".into()];
        check_zone_records(&topology).unwrap();
        topology.dns.name_servers.push("ns2.meridian.test".into());
        let error = check_zone_records(&topology).unwrap_err();
        assert!(error.to_string().contains("ns2.meridian.test"), "{error}");
    }

    #[test]
    fn every_region_makes_the_same_and_a_change_shows_in_the_serial() {
        let one = generated(&topology());
        assert_eq!(one, generated(&topology()));
        assert_ne!(one, generated(&with_record("www", "CNAME app.global")));
        let mut topology = topology();
        topology.dns.hostmaster = Some("a.b@example.com".to_owned());
        assert!(generated(&topology).contains("a\\.b.example.com. "));
        check_zone_records(&topology).unwrap();
    }
}
