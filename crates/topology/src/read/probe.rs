//! `[region.service.NAME]`: how a service of a region is probed.

use super::health::read_service;
use super::postgres::{read_password, read_server_keys};
use super::promises::one_of;
use super::schema::{self, Key};
use super::section::{At, Section};
use crate::address::Address;
use crate::fault::Faults;
use crate::health::{HttpProbe, Probe, ProbeKind, ProbedBy, authority_of};
use crate::name::is_dns_label;
use meridian_health::Service;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use toml::de::DeTable;

const TITLE: &str = "[region.service]";
/// A probe that is given up later would pile up.
const TIMEOUT_AT_MOST: Duration = Duration::from_secs(60);
/// No authority signs for longer.
const CERTIFICATE_DAYS_AT_MOST: u64 = 400;

pub(super) fn read(
    region: &Section<'_>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> BTreeMap<Service, Probe> {
    let mut probes = BTreeMap::new();
    for (name, table) in region.named_tables("service", faults) {
        let service = read_service(&name, faults);
        let probe = read_one(table, service, base, faults);
        probes.extend(service.zip(probe));
    }
    probes
}

fn read_one(
    table: At<&DeTable<'_>>,
    service: Option<Service>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<Probe> {
    let section = open(table, faults);
    let kind = read_kind(&section, base, faults);
    let timeout = section.duration("timeout", faults);
    if let Some(timeout) = &timeout
        && (timeout.value.is_zero() || timeout.value > TIMEOUT_AT_MOST)
    {
        faults.report(
            timeout.at,
            "`timeout` is outside its range",
            "use more than 0 and at most 60s, for example timeout = \"500ms\"",
        );
    }
    let names = [ProbedBy::Own.as_str(), ProbedBy::All.as_str()];
    let by = one_of(&section, "by", &names, faults).map(|by| by.value);
    let by_all = match by {
        Some(by) => by == ProbedBy::All.as_str(),
        // Clients come from everywhere to it, and to nothing else.
        None => service == Some(Service::Api),
    };
    Some(Probe {
        kind: kind?,
        timeout: timeout.map(|timeout| timeout.value),
        by: if by_all { ProbedBy::All } else { ProbedBy::Own },
    })
}

const KINDS: [(&str, &[Key]); 6] = [
    ("http", schema::PROBE_HTTP),
    ("tcp", schema::PROBE_TCP),
    ("postgres", schema::PROBE_POSTGRES),
    ("redis", schema::PROBE_REDIS),
    ("dns", schema::PROBE_DNS),
    ("command", schema::PROBE_COMMAND),
];

/// The table with the keys that its kind of probe has. Where that isn't known, its keys aren't held
/// against it: one fault is enough.
fn open<'d>(table: At<&'d DeTable<'d>>, faults: &mut Faults<'_>) -> Section<'d> {
    let kind = table
        .value
        .get("probe")
        .and_then(|kind| kind.get_ref().as_str());
    let keys = KINDS.iter().find(|(name, _)| Some(*name) == kind);
    match keys {
        Some((_, keys)) => Section::open(table, TITLE, keys, faults),
        None => Section::unchecked(table, TITLE, schema::PROBE_ANY),
    }
}

fn read_kind(section: &Section<'_>, base: &Path, faults: &mut Faults<'_>) -> Option<ProbeKind> {
    if section.value("probe").is_none() {
        section.missing("probe", faults);
    }
    let names = KINDS.map(|(name, _)| name);
    let kind = one_of(section, "probe", &names, faults)?;
    match kind.value {
        "http" => read_http(section, base, faults).map(ProbeKind::Http),
        "tcp" => read_address(section, faults).map(ProbeKind::Tcp),
        "postgres" => {
            let accepts_writes = !section.flag("read-only", faults);
            let server = read_server_keys(section, base, faults)?;
            Some(ProbeKind::Postgres {
                server,
                accepts_writes,
            })
        }
        "redis" => Some(ProbeKind::Redis {
            password: read_password(section, base, faults),
            is_primary: !section.flag("replica", faults),
            address: read_address(section, faults)?,
        }),
        "dns" => {
            let name = read_name(section, faults);
            Some(ProbeKind::Dns {
                server: read_address(section, faults)?,
                name: name?,
            })
        }
        _ => read_command(section, faults).map(ProbeKind::Command),
    }
}

fn read_http(section: &Section<'_>, base: &Path, faults: &mut Faults<'_>) -> Option<HttpProbe> {
    let url = section.required_text("url", faults).filter(|url| {
        let good = is_http_url(url.value);
        if !good {
            faults.report(
                url.at,
                format!("{:?} is not a URL that can be probed", url.value),
                "for example url = \"https://shop.example.com/health\", without user or fragment",
            );
        }
        good
    });
    let statuses = section.counts("status", 100..=599, faults);
    let body = section.path("body", faults);
    let roots = section.path("root-certificates", faults);
    let days = section.count("certificate-days-min", 0..=CERTIFICATE_DAYS_AT_MOST, faults);
    let url = url?;
    for (key, at) in [
        ("root-certificates", roots.map(|path| path.at)),
        ("certificate-days-min", days.map(|days| days.at)),
    ] {
        if let Some(at) = at
            && !url.value.starts_with("https://")
        {
            faults.report(
                at,
                format!("`{key}` of a URL without TLS"),
                "use an https:// URL, or leave it out",
            );
        }
    }
    Some(HttpProbe {
        url: url.value.to_owned(),
        statuses: statuses.map_or_else(Vec::new, |statuses| {
            let statuses = statuses.value.into_iter();
            statuses.map(|status| status as u16).collect()
        }),
        body: body.map(|body| body.value.to_owned()),
        root_certificates: roots.map(|path| base.join(path.value)),
        certificate_days_min: days.map_or(0, |days| days.value as u32),
    })
}

fn is_http_url(url: &str) -> bool {
    let rest = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let authority = authority_of(url);
    let with_port = match authority.parse::<Address>() {
        Ok(address) => Some(address),
        Err(_) => format!("{authority}:1").parse().ok(),
    };
    let clean = url.bytes().all(|byte| byte.is_ascii_graphic());
    clean
        && !url.contains('#')
        && rest.is_some_and(|rest| rest.starts_with(authority))
        && with_port.is_some_and(|address| address.port() != 0)
}

fn read_address(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Address> {
    let text = section.required_text("address", faults)?;
    match text.value.parse::<Address>() {
        Ok(address) if address.port() != 0 && !address.is_unspecified() => Some(address),
        _ => {
            faults.report(
                text.at,
                format!("`address`: nobody can connect to {:?}", text.value),
                "write an IP address or a DNS name, a colon and the port, for example \"10.0.0.1:6379\"",
            );
            None
        }
    }
}

fn read_name(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let name = section.required_text("name", faults)?;
    let bare = name.value.trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| is_dns_label(&label.replace('_', "a"));
    if bare.len() > 253 || !bare.split('.').all(is_label) {
        faults.report(
            name.at,
            format!("{:?} is not a DNS name", name.value),
            "for example name = \"storage.example.com\"",
        );
        return None;
    }
    Some(bare)
}

fn read_command(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Vec<String>> {
    if section.value("command").is_none() {
        section.missing("command", faults);
    }
    let words = section.texts("command", faults)?;
    if words
        .value
        .first()
        .is_none_or(|program| program.value.is_empty())
    {
        faults.report(
            words.at,
            "`command` names no program",
            "for example command = [\"/usr/local/bin/check\", \"--quick\"]",
        );
        return None;
    }
    let words = words.value.into_iter();
    Some(words.map(|word| word.value.to_owned()).collect())
}
