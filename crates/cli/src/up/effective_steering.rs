//! The same for `[health]`, `[route]`, `[steering]`, `[dns]` and the regions' part of them.

use super::effective::{absolute, password, postgres_server, table};
use meridian_topology::{
    Choice, Clients, Dns, Health, Policy, Probe, ProbeKind, Region, Residency, Route, To, Topology,
    format_moment,
};
use std::collections::BTreeMap;
use std::time::Duration;
use toml::{Table, Value};

/// Everything that isn't of a region.
pub fn all(file: &mut Table, topology: &Topology) {
    file.insert("health".into(), health(&topology.health));
    let routes = topology.routes.iter();
    let routes = routes.map(|own| (own.name.clone(), route(own)));
    file.insert("route".into(), Value::Table(routes.collect()));
    let percent = i64::from(topology.steering.leaving_percent_max);
    file.insert(
        "steering".into(),
        table([("leaving-percent-max", percent.into())]),
    );
    file.insert("dns".into(), dns(&topology.dns));
}

/// A region's part.
pub fn region(entries: &mut Table, region: &Region) {
    if !region.addresses.is_empty() {
        entries.insert("addresses".into(), texts(&region.addresses));
    }
    if let Some(dns) = &region.dns {
        entries.insert("dns".into(), dns.address.to_string().into());
        entries.insert("dns-listen".into(), texts(&dns.listen));
    }
    if let Some(capacity) = region.capacity {
        entries.insert("capacity".into(), i64::from(capacity).into());
    }
    if !region.services.is_empty() {
        let services = region.services.iter();
        let services = services.map(|(name, own)| (name.to_string(), probe(own)));
        entries.insert("service".into(), Value::Table(services.collect()));
    }
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Value {
    let values = values.into_iter();
    Value::Array(values.map(|value| value.to_string().into()).collect())
}

fn micros(duration: Duration) -> Value {
    format!("{}us", duration.as_micros()).into()
}

fn seconds(duration: Duration) -> Value {
    format!("{}s", duration.as_secs()).into()
}

fn probe(probe: &Probe) -> Value {
    let mut entries = Table::new();
    entries.insert("probe".into(), probe.kind.as_str().into());
    entries.insert("by".into(), probe.by.as_str().into());
    if let Some(timeout) = probe.timeout {
        entries.insert("timeout".into(), micros(timeout));
    }
    match &probe.kind {
        ProbeKind::Http(http) => {
            entries.insert("url".into(), http.url.as_str().into());
            if !http.statuses.is_empty() {
                let statuses = http.statuses.iter().map(|status| i64::from(*status).into());
                entries.insert("status".into(), Value::Array(statuses.collect()));
            }
            if let Some(body) = &http.body {
                entries.insert("body".into(), body.as_str().into());
            }
            if let Some(path) = &http.root_certificates {
                entries.insert("root-certificates".into(), absolute(path));
            }
            if http.certificate_days_min > 0 {
                let days = i64::from(http.certificate_days_min);
                entries.insert("certificate-days-min".into(), days.into());
            }
        }
        ProbeKind::Tcp(address) => {
            entries.insert("address".into(), address.to_string().into());
        }
        ProbeKind::Postgres {
            server,
            accepts_writes,
        } => {
            postgres_server(&mut entries, server);
            entries.insert("read-only".into(), (!accepts_writes).into());
        }
        ProbeKind::Redis {
            address,
            password: secret,
            is_primary,
        } => {
            entries.insert("address".into(), address.to_string().into());
            password(&mut entries, secret.as_ref());
            entries.insert("replica".into(), (!is_primary).into());
        }
        ProbeKind::Dns { server, name } => {
            entries.insert("address".into(), server.to_string().into());
            entries.insert("name".into(), name.as_str().into());
        }
        ProbeKind::Command(words) => {
            entries.insert("command".into(), texts(words));
        }
    }
    Value::Table(entries)
}

fn health(health: &Health) -> Value {
    let mut entries = Table::new();
    entries.insert("preset".into(), health.preset.as_str().into());
    let windows = health.maintenance.iter().map(|window| {
        let mut entries = Table::new();
        entries.insert("region".into(), window.region.as_str().into());
        if let Some(service) = window.service {
            entries.insert("service".into(), service.as_str().into());
        }
        for (key, at) in [("from", window.from), ("until", window.until)] {
            entries.insert(key.into(), format_moment(at).into());
        }
        entries.insert("reason".into(), window.reason.as_str().into());
        Value::Table(entries)
    });
    entries.insert("maintenance".into(), Value::Array(windows.collect()));
    Value::Table(entries)
}

fn route(route: &Route) -> Value {
    let mut entries = Table::new();
    policy(&mut entries, &route.policy);
    let named = |services: &meridian_health::PerService<bool>| {
        let services = services.iter().filter(|(_, is_in)| **is_in);
        texts(services.map(|(service, _)| service))
    };
    let percents = route.ramp.percents.iter();
    let percents = percents.map(|percent| i64::from(*percent).into()).collect();
    let ramp = table([
        ("percents", Value::Array(percents)),
        ("each", micros(route.ramp.each)),
    ]);
    let full = i64::from(route.full_percent.unwrap_or_default());
    for (key, value) in [
        ("needs", named(&route.needs.required)),
        ("useful", named(&route.needs.useful)),
        ("values-max", (route.values_max as i64).into()),
        ("sticky", route.sticky.into()),
        ("ramp", ramp),
        ("full-percent", full.into()),
    ] {
        entries.insert(key.into(), value);
    }
    if let Some(ttl) = route.ttl {
        entries.insert("ttl".into(), seconds(ttl));
    }
    residency(&mut entries, &route.residency);
    Value::Table(entries)
}

fn policy(entries: &mut Table, policy: &Policy) {
    entries.insert("policy".into(), policy.by.as_str().into());
    if !policy.choices.is_empty() {
        let choices = policy.choices.iter();
        let choices = choices.map(|own| choice(policy, own));
        entries.insert("choice".into(), Value::Array(choices.collect()));
    }
}

fn choice(within: &Policy, choice: &Choice) -> Value {
    let mut entries = Table::new();
    match &choice.to {
        To::Region(name) => {
            entries.insert("region".into(), name.as_str().into());
        }
        To::Policy(nested) => policy(&mut entries, nested),
    }
    // Each means something to one kind of policy, and the others refuse it.
    match within.by {
        meridian_topology::By::Weighted => {
            entries.insert("weight".into(), i64::from(choice.weight).into());
        }
        meridian_topology::By::Geoproximity => {
            entries.insert("bias".into(), i64::from(choice.bias).into());
        }
        meridian_topology::By::Geolocation => {
            entries.insert("clients".into(), clients(&choice.clients));
        }
        _ => {}
    }
    Value::Table(entries)
}

fn clients(clients: &[Clients]) -> Value {
    texts(clients.iter().map(|clients| match clients {
        Clients::Country(country) => country.to_string(),
        Clients::Area(area) => area.to_string(),
    }))
}

fn residency(entries: &mut Table, residency: &Residency) {
    let rules = residency
        .rules
        .iter()
        .map(|(who, regions)| table([("clients", clients(&[*who])), ("regions", texts(regions))]));
    entries.insert("residency".into(), Value::Array(rules.collect()));
    if let Some(otherwise) = &residency.otherwise {
        entries.insert("residency-otherwise".into(), texts(otherwise));
    }
}

fn dns(dns: &Dns) -> Value {
    let mut entries = Table::new();
    for (key, value) in [
        ("ttl", seconds(dns.ttl)),
        ("records-ttl", seconds(dns.records_ttl)),
        ("name-servers", texts(&dns.name_servers)),
        (
            "answers-per-second-max",
            i64::from(dns.answers_per_second_max).into(),
        ),
        ("limit-loopback", dns.limits_loopback.into()),
        ("client-subnet", dns.client_subnet.into()),
        ("threads", (dns.threads as i64).into()),
    ] {
        entries.insert(key.into(), value);
    }
    if let Some(hostmaster) = &dns.hostmaster {
        entries.insert("hostmaster".into(), hostmaster.as_str().into());
    }
    for (key, path) in [
        ("dnssec-key-file", &dns.dnssec_key_file),
        ("cookie-secret-file", &dns.cookie_secret_file),
    ] {
        if let Some(path) = path {
            entries.insert(key.into(), absolute(path));
        }
    }
    let mut records: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for record in &dns.records {
        records.entry(&record.name).or_default().push(&record.text);
    }
    let records = records.into_iter();
    let records = records.map(|(name, of_name)| (name.to_owned(), texts(of_name)));
    entries.insert("records".into(), Value::Table(records.collect()));
    Value::Table(entries)
}
