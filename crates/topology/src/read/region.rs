//! `[[region]]`: reading each, then the rules that hold among them.

use super::section::{At, Section};
use super::{probe, resolve, schema};
use crate::address::{Address, Endpoint, NameServer};
use crate::fault::Faults;
use crate::health::Probe;
use crate::location::{Location, Place, well_known, well_known_names};
use crate::name::check_region_name;
use crate::suggest::nearest;
use crate::topology::{REGIONS_MAX, Region};
use meridian_health::Service;
use meridian_model::RegionName;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Requests a second beyond which a number is a slip of the pen.
const CAPACITY_AT_MOST: u64 = 1_000_000_000;

/// A region as far as it could be read.
pub(super) struct Draft<'d> {
    at: usize,
    name: Option<At<&'d str>>,
    place: Option<Place>,
    api: Option<At<Endpoint>>,
    link: Option<At<Endpoint>>,
    data_dir: Option<PathBuf>,
    witness: bool,
    addresses: Vec<At<IpAddr>>,
    dns: Option<NameServer>,
    capacity: Option<u32>,
    services: BTreeMap<Service, Probe>,
}

/// What the file has to protect addresses that others can reach.
pub(super) struct Protection {
    /// Whether there is `[tls]`.
    pub(super) tls: bool,
    /// Whether `[api]` has a token file, or is wrong and reported already.
    pub(super) token: bool,
}

pub(super) fn read<'d>(root: &Section<'d>, base: &Path, faults: &mut Faults<'_>) -> Vec<Draft<'d>> {
    root.tables("region", faults)
        .into_iter()
        .map(|table| read_one(table, base, faults))
        .collect()
}

/// The regions' names, as far as they could be read.
pub(super) fn names<'d>(drafts: &[Draft<'d>]) -> Vec<&'d str> {
    let names = drafts.iter().filter_map(|draft| draft.name);
    names.map(|name| name.value).collect()
}

/// The names of those that hold no tables, as far as they could be read.
pub(super) fn witnesses<'d>(drafts: &[Draft<'d>]) -> Vec<&'d str> {
    let witnesses = drafts.iter().filter(|draft| draft.witness);
    let names = witnesses.filter_map(|draft| draft.name);
    names.map(|name| name.value).collect()
}

fn read_one<'d>(table: At<&'d DeTable<'d>>, base: &Path, faults: &mut Faults<'_>) -> Draft<'d> {
    let section = Section::open(table, "[[region]]", schema::REGION, faults);
    let name = section.required_text("name", faults).filter(|name| {
        check_region_name(name.value)
            .map_err(|error| faults.report(name.at, error.reason, error.hint))
            .is_ok()
    });
    Draft {
        at: section.at,
        name,
        place: read_place(&section, name, faults),
        api: read_endpoint(&section, "api", "api-listen", faults),
        link: read_endpoint(&section, "link", "link-listen", faults),
        data_dir: section
            .path("data-dir", faults)
            .map(|path| resolve(base, path.value)),
        witness: section.flag("witness", faults),
        addresses: read_addresses(&section, faults),
        dns: read_name_server(&section, faults),
        capacity: section
            .count("capacity", 1..=CAPACITY_AT_MOST, faults)
            .map(|capacity| capacity.value as u32),
        services: probe::read(&section, base, faults),
    }
}

/// Where clients reach the region.
fn read_addresses(section: &Section<'_>, faults: &mut Faults<'_>) -> Vec<At<IpAddr>> {
    let texts = section.texts("addresses", faults);
    let mut addresses: Vec<At<IpAddr>> = Vec::new();
    for text in texts.map_or_else(Vec::new, |texts| texts.value) {
        let reason = match text.value.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                format!("nobody can connect to {address}")
            }
            Ok(address) if addresses.iter().any(|known| known.value == address) => {
                format!("address {address} is there twice")
            }
            Ok(address) => {
                addresses.push(text.with(address));
                continue;
            }
            Err(_) => format!("{:?} is not an IP address", text.value),
        };
        let hint = "give addresses without port, for example addresses = [\"203.0.113.7\"]";
        faults.report(text.at, reason, hint);
    }
    addresses
}

/// Where the region answers questions of DNS.
fn read_name_server(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<NameServer> {
    let address = read_address(section, "dns", faults);
    let texts = section.texts("dns-listen", faults);
    if let (Some(texts), None) = (&texts, section.value("dns")) {
        faults.report(
            texts.at,
            "`dns-listen` without `dns`",
            "add `dns`, the address at which the region's name server is asked",
        );
    }
    let mut listen = Vec::new();
    for text in texts.map_or_else(Vec::new, |texts| texts.value) {
        match text.value.parse::<SocketAddr>() {
            Ok(socket) if socket.port() != 0 => listen.push(socket),
            _ => faults.report(
                text.at,
                format!(
                    "`dns-listen`: {:?} is not an IP address with a port",
                    text.value
                ),
                "for example dns-listen = [\"203.0.113.7:53\", \"[2001:db8::7]:53\"]",
            ),
        }
    }
    let address = address?;
    match &address.value {
        Address::Ip(socket) if listen.is_empty() => listen.push(*socket),
        Address::Name { .. } if listen.is_empty() => faults.report(
            address.at,
            "`dns` is a name, and there is no `dns-listen`",
            "say with dns-listen = [\"203.0.113.7:53\"] at which addresses it listens",
        ),
        _ => {}
    }
    if address.value.is_unspecified() {
        faults.report(
            address.at,
            format!("nobody can connect to {}", address.value),
            "put it into `dns-listen`, and into `dns` the address at which it is asked",
        );
    }
    Some(NameServer {
        address: address.value,
        listen,
    })
}

/// The place: `location` in degrees, `location` as a cloud region's name, or the region's own name.
fn read_place(
    section: &Section<'_>,
    name: Option<At<&str>>,
    faults: &mut Faults<'_>,
) -> Option<Place> {
    let Some(location) = section.value("location") else {
        return place_of_name(name?, faults);
    };
    match location.value {
        DeValue::String(cloud_region) => place_of_cloud_region(location.with(cloud_region), faults),
        DeValue::Table(table) => {
            let section = Section::open(location.with(table), "location", schema::LOCATION, faults);
            let latitude = section.degrees("latitude", -90.0..=90.0, faults);
            let longitude = section.degrees("longitude", -180.0..=180.0, faults);
            Some(Place {
                location: Location::new(latitude?, longitude?)?,
                cloud_region: None,
            })
        }
        _ => {
            let expected = "a table with latitude and longitude or a cloud region's name";
            section.wrong_type("location", expected, &location, faults);
            None
        }
    }
}

fn place_of_name(name: At<&str>, faults: &mut Faults<'_>) -> Option<Place> {
    let place = well_known(name.value);
    if place.is_none() {
        let add =
            "add location = { latitude = 48.9, longitude = 2.4 }, or location = \"eu-west-3\"";
        let hint = nearest(name.value, well_known_names()).map_or_else(
            || add.to_owned(),
            |near| format!("did you mean {near:?}? otherwise {add}"),
        );
        let reason = format!(
            "region {:?} is not a well-known cloud region and has no `location`",
            name.value
        );
        faults.report(name.at, reason, hint);
    }
    place
}

fn place_of_cloud_region(
    cloud_region: At<impl AsRef<str>>,
    faults: &mut Faults<'_>,
) -> Option<Place> {
    let name = cloud_region.value.as_ref();
    let place = well_known(name);
    if place.is_none() {
        let hint = nearest(name, well_known_names()).map_or_else(
            || "give degrees: location = { latitude = 48.9, longitude = 2.4 }".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        let reason = format!("{name:?} is not a well-known cloud region");
        faults.report(cloud_region.at, reason, hint);
    }
    place
}

fn read_endpoint(
    section: &Section<'_>,
    key: &str,
    listen_key: &str,
    faults: &mut Faults<'_>,
) -> Option<At<Endpoint>> {
    let address = read_address(section, key, faults);
    let listen = read_address(section, listen_key, faults);
    if let (Some(listen), None) = (&listen, section.value(key)) {
        faults.report(
            listen.at,
            format!("`{listen_key}` without `{key}`"),
            format!("add `{key}`, the address at which others reach the region"),
        );
    }
    let address = address?;
    if address.value.is_unspecified() {
        faults.report(
            address.at,
            format!("nobody can connect to {}", address.value),
            format!("put it into `{listen_key}`, and into `{key}` the address at which others reach the region"),
        );
        return None;
    }
    let endpoint = Endpoint {
        listen: listen.map_or_else(|| address.value.clone(), |listen| listen.value),
        address: address.value.clone(),
    };
    Some(address.with(endpoint))
}

fn read_address(section: &Section<'_>, key: &str, faults: &mut Faults<'_>) -> Option<At<Address>> {
    let text = section.text(key, faults)?;
    match text.value.parse::<Address>() {
        Ok(address) if address.port() == 0 => {
            faults.report(
                text.at,
                format!("`{key}` has port 0, which others cannot know"),
                "give the port that the region listens on",
            );
            None
        }
        Ok(address) => Some(text.with(address)),
        Err(error) => {
            faults.report(
                text.at,
                format!("`{key}`: {error}"),
                "write an IP address or a DNS name, a colon and the port, for example \"10.0.0.1:7001\"",
            );
            None
        }
    }
}

/// The rules among regions.
pub(super) fn check(
    regions: &[Draft<'_>],
    protection: &Protection,
    root: &Section<'_>,
    faults: &mut Faults<'_>,
) {
    check_count(regions, root, faults);
    check_names(regions, faults);
    check_addresses(regions, faults);
    check_client_addresses(regions, faults);
    check_address_families(regions, faults);
    check_witnesses(regions, faults);
    for region in regions {
        check_protection(region, protection, faults);
    }
}

fn check_count(regions: &[Draft<'_>], root: &Section<'_>, faults: &mut Faults<'_>) {
    if root.declares_no("region") {
        faults.report(
            root.at,
            "there is no region",
            "add at least one [[region]] with a name",
        );
    }
    if let Some(beyond) = regions.get(REGIONS_MAX) {
        faults.report(
            beyond.at,
            format!(
                "there are {} regions, more than {REGIONS_MAX}",
                regions.len()
            ),
            format!("keep at most {REGIONS_MAX}"),
        );
    }
}

fn check_names(regions: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut seen = BTreeMap::new();
    for name in regions.iter().filter_map(|region| region.name) {
        if let Some(first) = seen.insert(name.value, name.at) {
            let line = faults.position(first).line;
            faults.report(
                name.at,
                format!(
                    "region {:?} is declared twice, first on line {line}",
                    name.value
                ),
                "give each region its own name",
            );
        }
    }
}

fn check_addresses(regions: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut seen: BTreeMap<&Address, usize> = BTreeMap::new();
    for endpoint in regions
        .iter()
        .flat_map(|region| [&region.api, &region.link])
        .flatten()
    {
        let address = &endpoint.value.address;
        match seen.get(address) {
            Some(first) => {
                let line = faults.position(*first).line;
                faults.report(
                    endpoint.at,
                    format!("address {address} is used twice, first on line {line}"),
                    "every `api` and every `link` needs an address and port of its own",
                );
            }
            None => {
                seen.insert(address, endpoint.at);
            }
        }
    }
}

/// A client that is sent to a region without addresses of the kind it asks for would get none.
fn check_address_families(regions: &[Draft<'_>], faults: &mut Faults<'_>) {
    let gives = |region: &&Draft<'_>| !region.addresses.is_empty() && !region.witness;
    let named = || regions.iter().filter(gives);
    for (kind, is_v4) in [("IPv4", true), ("IPv6", false)] {
        let is_of_kind = |address: &At<IpAddr>| address.value.is_ipv4() == is_v4;
        let has = |region: &&Draft<'_>| region.addresses.iter().any(is_of_kind);
        if !named().any(|region| has(&region)) {
            continue;
        }
        for region in named().filter(|region| !has(region)) {
            faults.report(
                region.addresses[0].at,
                format!("the region has no {kind} address, and others have"),
                "clients ask for one kind of address, and are sent to any region: give all regions \
                 with addresses the same kinds",
            );
        }
    }
}

/// An address of two regions would be answered for both.
fn check_client_addresses(regions: &[Draft<'_>], faults: &mut Faults<'_>) {
    let mut seen: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for region in regions {
        for address in &region.addresses {
            if let Some(first) = seen.get(&address.value) {
                let line = faults.position(*first).line;
                faults.report(
                    address.at,
                    format!(
                        "address {} is two regions', first on line {line}",
                        address.value
                    ),
                    "give each region addresses of its own",
                );
            }
        }
        let own = region.addresses.iter();
        seen.extend(own.map(|address| (address.value, address.at)));
    }
}

/// Somebody has to hold what a witness doesn't.
fn check_witnesses(regions: &[Draft<'_>], faults: &mut Faults<'_>) {
    if let Some(first) = regions.first()
        && regions.iter().all(|region| region.witness)
    {
        faults.report(
            first.at,
            "every region is a witness, so none holds tables",
            "leave `witness` out of at least one region; two without it and one with it survive the \
             loss of any one",
        );
    }
}

fn check_protection(region: &Draft<'_>, protection: &Protection, faults: &mut Faults<'_>) {
    for (key, endpoint) in [("api", &region.api), ("link", &region.link)] {
        let Some(endpoint) = endpoint else { continue };
        let Some(exposed) = endpoint.value.exposed() else {
            continue;
        };
        if !protection.tls {
            faults.report(
                endpoint.at,
                format!("`{key}` at {exposed} is not loopback, and there is no [tls]"),
                "add [tls] with authority, certificate and key (`meridian certs` makes them), or stay on 127.0.0.1",
            );
        }
        if key == "api" && !protection.token {
            faults.report(
                endpoint.at,
                format!("`api` at {exposed} is not loopback, and [api] has no `token-file`"),
                "add [api] with token-file = \"token\", a file with a long random secret, or stay on 127.0.0.1",
            );
        }
    }
}

/// The regions, or `None` if one of them is not whole.
pub(super) fn finish(drafts: Vec<Draft<'_>>, faults: &Faults<'_>) -> Option<Vec<Region>> {
    drafts
        .into_iter()
        .map(|draft| {
            Some(Region {
                name: RegionName::new(draft.name?.value),
                place: draft.place?,
                api: draft.api.map(|api| api.value),
                link: draft.link.map(|link| link.value),
                data_dir: draft.data_dir,
                witness: draft.witness,
                addresses: draft.addresses.into_iter().map(|at| at.value).collect(),
                dns: draft.dns,
                capacity: draft.capacity,
                services: draft.services,
                position: Some(faults.position(draft.at)),
            })
        })
        .collect()
}
