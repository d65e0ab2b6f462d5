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
use meridian_dns::zone::{Names, TextFault, ZoneFault, ZoneSource, parse_records};
use meridian_dns::{Owner, OwnerError, Record, Steered};
use meridian_topology::{
    Address, Fault, GLOBAL, NAME_SERVER, Region, StaticRecord, Topology, TopologyError,
};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// For how long a denial may be kept: short, since a region may get an address of another family.
const DENIAL_TTL_SECONDS: u64 = 60;

/// The class of all records: the Internet (RFC 1035 §3.2.4).
const CLASS_IN: u16 = 1;

/// What to do about a record that can't be read, where its type says nothing better.
const RECORD_HINT: &str = "write [TTL] TYPE DATA as in a zone file, for example \"MX 10 mail.example.com.\"; names without a dot at their end are below the zone";
/// What to do about a name that is none.
const NAME_HINT: &str = "a name has at most 253 characters, and between its dots 1 to 63";

/// Looks the zone over: what `serve` would refuse.
///
/// # Errors
/// [`TopologyError`].
pub fn check_zone_records(topology: &Topology) -> Result<(), TopologyError> {
    names(topology, None).map(drop)
}

/// The zone's name.
pub(super) fn apex(zone: &str) -> Result<Owner, OwnerError> {
    Owner::parse(zone)
}

/// All names of the zone.
pub(super) fn names(topology: &Topology, key: Option<ZoneKey>) -> Result<Names, TopologyError> {
    let mut faults = Vec::new();
    let source = source(topology, key, &mut faults).filter(|_| faults.is_empty());
    let built = source.map(|source| {
        let apex = source.apex.clone();
        Names::build(vec![source]).map_err(|found| (apex, found))
    });
    match built {
        Some(Ok(names)) => return Ok(names),
        Some(Err((apex, found))) => {
            let found = found.iter();
            faults.extend(found.map(|fault| of_zone(topology, &apex, fault)));
        }
        None => {}
    }
    faults.sort_by_key(|fault| fault.position);
    Err(topology.faulty(faults))
}

/// A fault of the zone as a whole, at the first static record of the name that it is about.
fn of_zone(topology: &Topology, apex: &Owner, fault: &ZoneFault) -> Fault {
    let is_its = |record: &&StaticRecord| {
        let owner = match record.name.as_str() {
            "@" => Ok(apex.clone()),
            name => apex.child(name),
        };
        owner.is_ok_and(|owner| owner == *fault.owner())
    };
    let record = topology.dns.records.iter().find(is_its);
    let hint = match fault {
        ZoneFault::SteeredAndMore(_) => {
            "leave these records out, or give the route another name: its addresses are the regions'"
        }
        ZoneFault::CnameAndMore(_) => "leave the CNAME record out, or all others of the name",
        ZoneFault::TimesToLive { .. } => "give all records of the name and type the same TTL",
        ZoneFault::Outside { .. } => "give names without the zone, and without a dot at their end",
        ZoneFault::BelowCut { .. } => "leave out all but A and AAAA, or the NS records above it",
        ZoneFault::NoGlue { .. } => "give the name server an A or AAAA record under [dns.records]",
        ZoneFault::Soa(_) | ZoneFault::NameServer(_) | ZoneFault::Twice(_) => {
            "leave SOA records out: the zone has its own"
        }
    };
    Fault {
        position: record.and_then(|record| record.position),
        reason: fault.to_string(),
        hint: hint.to_owned(),
    }
}

/// A fault that isn't at any one record.
fn unplaced(reason: impl ToString, hint: &str) -> Fault {
    Fault {
        position: None,
        reason: reason.to_string(),
        hint: hint.to_owned(),
    }
}

fn source(
    topology: &Topology,
    key: Option<ZoneKey>,
    faults: &mut Vec<Fault>,
) -> Option<ZoneSource> {
    let apex = apex(&topology.zone)
        .map_err(|error| faults.push(unplaced(error, NAME_HINT)))
        .ok()?;
    let mut records = static_records(topology, &apex, faults);
    let numbered = |serial| parse_records(&apex, &generated(topology, serial));
    let generated = numbered(0).and_then(|rest| numbered(serial(records.iter().chain(&rest))));
    match generated {
        Ok(generated) => records.extend(generated),
        Err(fault) => faults.push(unplaced(reason(&fault), NAME_HINT)),
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
            Err(error) => faults.push(unplaced(error, NAME_HINT)),
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
fn generated(topology: &Topology, serial: u32) -> String {
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
    format!(
        "@ {ttl} SOA {primary}. {mailbox}. {serial} 3600 600 86400 {DENIAL_TTL_SECONDS}\n{rest}"
    )
}

/// The zone's serial number: the same for the same records, another for others. Nobody transfers the
/// zone, so it needn't rise. It is made of the records' wire form (RFC 1035 §3.2.1, names canonical),
/// in order: name servers of different builds say the same of the same topology.
fn serial<'a>(records: impl Iterator<Item = &'a Record>) -> u32 {
    let wire = |record: &Record| {
        let length = u16::try_from(record.data.len()).unwrap_or(u16::MAX);
        let mut wire = record.owner.octets().to_vec();
        wire.extend(record.rtype.to_int().to_be_bytes());
        wire.extend(CLASS_IN.to_be_bytes());
        wire.extend(record.ttl_seconds.to_be_bytes());
        wire.extend(length.to_be_bytes());
        wire.extend(&record.data);
        wire
    };
    let records: BTreeSet<Vec<u8>> = records.map(wire).collect();
    let octets: Vec<u8> = records.into_iter().flatten().collect();
    xxh3_64(&octets) as u32
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
    faults: &mut Vec<Fault>,
) {
    for name in &topology.dns.name_servers {
        let Ok(owner) = Owner::parse(name) else {
            let reason = format!("{name:?} is not the name of a name server");
            faults.push(unplaced(reason, NAME_HINT));
            continue;
        };
        let mut own = records.iter().filter(|record| record.owner == owner);
        if owner.is_within(apex) && !own.any(is_address) {
            faults.push(unplaced(
                format!("the name server {name} lies in the zone and has no address"),
                "give it an A or AAAA record under [dns.records]",
            ));
        }
    }
}

fn is_address(record: &Record) -> bool {
    matches!(record.rtype.to_int(), 1 | 28)
}

fn static_records(topology: &Topology, apex: &Owner, faults: &mut Vec<Fault>) -> Vec<Record> {
    let ttl = seconds(topology.dns.records_ttl);
    let mut records = Vec::new();
    for given in &topology.dns.records {
        let text = format!("$TTL {ttl}\n{} {}\n", given.name, given.text);
        match parse_records(apex, &text) {
            Ok(read) => records.extend(read),
            Err(fault) => faults.push(of_record(given, &fault)),
        }
    }
    records
}

/// A record that isn't taken.
fn of_record(given: &StaticRecord, fault: &TextFault) -> Fault {
    let StaticRecord { name, text, .. } = given;
    let (reason, hint) = match fault {
        TextFault::Format { reason, .. } => (
            format!("the record {text:?} of {name:?} can't be read: {reason}"),
            example_of(text).map_or_else(
                || RECORD_HINT.to_owned(),
                |example| format!("write it like {example:?}"),
            ),
        ),
        TextFault::Include(_) => (
            format!("{text:?} of {name:?} is no record"),
            RECORD_HINT.to_owned(),
        ),
        TextFault::Type { rtype, reason, .. } => (
            format!("{name:?} has a record of type {rtype}, which isn't taken"),
            (*reason).to_owned(),
        ),
    };
    Fault {
        position: given.position,
        reason,
        hint,
    }
}

/// How a record of this one's type is written; `None` where it has none that is known.
fn example_of(text: &str) -> Option<&'static str> {
    // The time to live and the class may stand before the type.
    let is_type = |word: &&str| {
        let is_number = word.starts_with(|first: char| first.is_ascii_digit());
        !is_number && !word.eq_ignore_ascii_case("IN")
    };
    let rtype = text.split_whitespace().find(is_type)?;
    Some(match rtype.to_ascii_uppercase().as_str() {
        "A" => "A 192.0.2.1",
        "AAAA" => "AAAA 2001:db8::1",
        "CAA" => "CAA 0 issue \"ca.example.net\"",
        "CNAME" => "CNAME www.example.com.",
        "MX" => "MX 10 mail.example.com.",
        "NS" => "NS ns1.example.com.",
        "PTR" => "PTR host.example.com.",
        "SRV" => "SRV 10 5 443 host.example.com.",
        "TXT" => "TXT \"some text\"",
        _ => return None,
    })
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
    use meridian_topology::Position;

    fn topology() -> Topology {
        Topology::built_in().on_this_machine(7000).unwrap()
    }

    fn with_record(name: &str, text: &str) -> Topology {
        let mut topology = topology();
        topology.dns.records.push(StaticRecord {
            name: name.to_owned(),
            text: text.to_owned(),
            position: Some(Position { line: 7, column: 9 }),
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
        assert_eq!(
            refused("www", "60 IN A nonsense"),
            "error: built-in topology:7:9: the record \"60 IN A nonsense\" of \"www\" can't be read: \
             expected IPv4 address\n  hint: write it like \"A 192.0.2.1\""
        );
        assert!(refused("www", "WHAT 1").contains("hint: write [TTL] TYPE DATA"));
        assert!(
            refused("www", "$INCLUDE x").contains(":7:9: the record \"$INCLUDE x\" of \"www\"")
        );
        assert!(refused("app.global", "A 192.0.2.1").contains(":7:9: "));
        assert!(refused("@", "CNAME elsewhere.example.").contains("7:9"));
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

    fn serial_of(topology: &Topology) -> u32 {
        let mut faults = Vec::new();
        let source = source(topology, None, &mut faults).unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        let is_soa = |record: &&Record| record.rtype.to_int() == 6;
        let soa = source.records.iter().find(is_soa).unwrap();
        // It stands before four numbers more at the end.
        let (_, numbers) = soa.data.split_last_chunk::<20>().unwrap();
        u32::from_be_bytes(*numbers.first_chunk().unwrap())
    }

    #[test]
    fn every_build_makes_the_same_serial() {
        let more = with_record("www", "CNAME app.global");
        let serials = [&topology(), &more].map(serial_of);
        assert_eq!(serials, [4_105_793_284, 3_783_889_658]);
    }

    #[test]
    fn the_serial_goes_by_the_records_and_not_by_how_they_are_written() {
        let of = |records: &[(&str, &str)]| {
            let mut topology = topology();
            let records = records.iter().map(|(name, text)| StaticRecord {
                name: (*name).to_owned(),
                text: (*text).to_owned(),
                position: None,
            });
            topology.dns.records.extend(records);
            serial_of(&topology)
        };
        let one = of(&[("a", "60 A 192.0.2.1"), ("b", "60 TXT x")]);
        assert_eq!(
            of(&[("B", "60 IN TXT \"x\""), ("A", "60  A 192.0.2.1")]),
            one
        );
        let others = [
            of(&[]),
            of(&[("a", "60 A 192.0.2.1")]),
            of(&[("a", "61 A 192.0.2.1"), ("b", "60 TXT x")]),
            of(&[("a", "60 A 192.0.2.2"), ("b", "60 TXT x")]),
            of(&[("c", "60 A 192.0.2.1"), ("b", "60 TXT x")]),
        ];
        assert!(!others.contains(&one));
    }

    #[test]
    fn a_mailbox_is_written_as_a_name_and_shows_in_the_serial() {
        let mut topology = topology();
        let before = serial_of(&topology);
        topology.dns.hostmaster = Some("a.b@example.com".to_owned());
        assert!(generated(&topology, 0).contains("a\\.b.example.com. "));
        assert_ne!(serial_of(&topology), before);
    }
}
