//! `[route.NAME]` and `[steering]`: how services are spread over the regions.

use super::health::{check_region, read_service};
use super::promises::{Named, one_of};
use super::schema;
use super::section::{At, Section};
use crate::area::{Area, Country};
use crate::fault::Faults;
use crate::name::is_dns_label;
use crate::policy::{By, Choice, Clients, Policy, To};
use crate::route::{GLOBAL, NAME_SERVER, Ramp, Residency, Route, Steering};
use meridian_health::{Needs, Service};
use meridian_model::RegionName;
use std::time::Duration;
use toml::de::DeTable;

/// More steps than that are no ramp.
const STEPS_AT_MOST: usize = 20;
const STEP_AT_MOST: Duration = Duration::from_secs(24 * 3600);
const WEIGHT_AT_MOST: u64 = 1_000_000;
/// The longest time for which resolvers keep an answer, usually (RFC 8767 §4).
pub(super) const TTL_AT_MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The routes: those of the file, or the built-in one where it has none.
pub(super) fn read(root: &Section<'_>, named: &Named<'_>, faults: &mut Faults<'_>) -> Vec<Route> {
    if root.value("route").is_none() {
        return vec![Route::app()];
    }
    let tables = root.named_tables("route", faults);
    let routes = tables
        .into_iter()
        .filter_map(|(name, table)| read_one(&name, table, named, faults));
    routes.collect()
}

fn read_one(
    name: &At<&str>,
    table: At<&DeTable<'_>>,
    named: &Named<'_>,
    faults: &mut Faults<'_>,
) -> Option<Route> {
    check_name(name, named, faults);
    let section = Section::open(table, "[route]", schema::ROUTE, faults);
    let defaults = Route::new(name.value);
    let by = read_by(&section, faults).unwrap_or(By::Latency);
    let mut seen = Vec::new();
    let policy = read_policy(&section, by, named, &mut seen, faults);
    if policy.choices.is_empty() && by == By::Geolocation {
        faults.report(
            section.at,
            "a policy by geolocation without choices",
            "add [[route.NAME.choice]] with a region and whose clients it is for",
        );
    }
    let values = section.count("values-max", 1..=32, faults);
    let full = section.count("full-percent", 0..=100, faults);
    Some(Route {
        policy,
        needs: read_needs(&section, faults),
        residency: read_residency(&section, named, faults),
        values_max: values.map_or(defaults.values_max, |values| values.value as usize),
        sticky: section.flag_or("sticky", true, faults),
        ramp: read_ramp(&section, faults),
        full_percent: match full {
            Some(full) => (full.value > 0).then_some(full.value as u8),
            None => defaults.full_percent,
        },
        ttl: read_ttl(&section, "ttl", faults),
        ..defaults
    })
}

fn check_name(name: &At<&str>, named: &Named<'_>, faults: &mut Faults<'_>) {
    let reason = if !is_dns_label(name.value) {
        format!("{:?} is not the name of a service", name.value)
    } else if name.value == NAME_SERVER {
        format!("{NAME_SERVER:?} is the name of the zone's name servers")
    } else if named.regions.contains(&name.value) || name.value == GLOBAL {
        format!(
            "{:?} is a name under which services are, not one of a service",
            name.value
        )
    } else {
        return;
    };
    faults.report(
        name.at,
        reason,
        "use a label of a-z, 0-9 and '-' that is no region's name, for example [route.app]",
    );
}

fn read_by(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<By> {
    let names = By::ALL.map(By::as_str);
    let name = one_of(section, "policy", &names, faults)?;
    By::ALL.into_iter().find(|by| by.as_str() == name.value)
}

fn read_policy<'d>(
    section: &Section<'d>,
    by: By,
    named: &Named<'_>,
    seen: &mut Vec<&'d str>,
    faults: &mut Faults<'_>,
) -> Policy {
    let mut choices = Vec::new();
    for table in section.tables("choice", faults) {
        let section = Section::open(table, "[[choice]]", schema::CHOICE, faults);
        choices.extend(read_choice(&section, by, named, seen, faults));
    }
    Policy { by, choices }
}

fn read_choice<'d>(
    section: &Section<'d>,
    by: By,
    named: &Named<'_>,
    seen: &mut Vec<&'d str>,
    faults: &mut Faults<'_>,
) -> Option<Choice> {
    let mut choice = match (section.text("region", faults), section.value("policy")) {
        (Some(region), None) => {
            check_chosen(&region, named, seen, faults);
            Choice::region(region.value)
        }
        (None, Some(at)) => {
            let by = read_by(section, faults)?;
            let policy = read_policy(section, by, named, seen, faults);
            if policy.choices.is_empty() {
                faults.report(
                    at.at,
                    "a policy within a policy has no choices",
                    "add [[route.NAME.choice.choice]] below it, or name a `region` instead",
                );
            }
            Choice::policy(policy)
        }
        (region, _) => {
            let reason = match region {
                Some(_) => "a choice has a `region` and a `policy`",
                None => "a choice has no `region` and no `policy`",
            };
            let hint = "name a `region`, or a `policy` with choices of its own";
            faults.report(section.at, reason, hint);
            return None;
        }
    };
    check_fit(section, by, faults);
    if let Some(weight) = section.count("weight", 0..=WEIGHT_AT_MOST, faults) {
        choice.weight = weight.value as u32;
    }
    if let Some(bias) = section.signed("bias", -99..=99, faults) {
        choice.bias = bias.value as i8;
    }
    choice.clients = read_clients(section, faults);
    let is_nested_alone = matches!(&choice.to, To::Policy(policy) if policy.choices.is_empty());
    (!is_nested_alone).then_some(choice)
}

fn check_chosen<'d>(
    region: &At<&'d str>,
    named: &Named<'_>,
    seen: &mut Vec<&'d str>,
    faults: &mut Faults<'_>,
) {
    if !check_region(region, &named.regions, faults) {
        return;
    }
    check_holds_tables(region, named, faults);
    if seen.contains(&region.value) {
        faults.report(
            region.at,
            format!("region {:?} is in two places of the policy", region.value),
            "name each region once",
        );
    }
    seen.push(region.value);
}

fn check_holds_tables(region: &At<&str>, named: &Named<'_>, faults: &mut Faults<'_>) {
    if named.witnesses.contains(&region.value) {
        faults.report(
            region.at,
            format!(
                "region {:?} is a witness, which serves no clients",
                region.value
            ),
            "leave it out",
        );
    }
}

/// What means nothing to the policy that chooses is a mistake.
fn check_fit(section: &Section<'_>, by: By, faults: &mut Faults<'_>) {
    for (key, meant_for) in [
        ("weight", By::Weighted),
        ("bias", By::Geoproximity),
        ("clients", By::Geolocation),
    ] {
        if let Some(found) = section.value(key)
            && by != meant_for
        {
            faults.report(
                found.at,
                format!("`{key}` means nothing to a policy by {}", by.as_str()),
                format!("leave it out, or use policy = {:?}", meant_for.as_str()),
            );
        }
    }
}

fn read_clients(section: &Section<'_>, faults: &mut Faults<'_>) -> Vec<Clients> {
    let texts = section.texts("clients", faults);
    let texts = texts.map_or_else(Vec::new, |texts| texts.value);
    let clients = texts.into_iter().filter_map(|text| {
        let area = Area::ALL
            .into_iter()
            .find(|area| area.as_str() == text.value);
        let country = match *text.value.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Some(Country([a, b])),
            _ => None,
        };
        let clients = area.map(Clients::Area).or(country.map(Clients::Country));
        if clients.is_none() {
            let areas = Area::ALL.map(Area::as_str).join(", ");
            faults.report(
                text.at,
                format!("{:?} is no area and no country", text.value),
                format!("use {areas}, or a country's two capital letters (ISO 3166-1)"),
            );
        }
        clients
    });
    clients.collect()
}

fn read_needs(section: &Section<'_>, faults: &mut Faults<'_>) -> Needs {
    let defaults = Needs::default();
    let mut read = |key, default: [bool; 5]| match section.texts(key, faults) {
        Some(names) => {
            let names = names.value.iter();
            names
                .filter_map(|name| read_service(name, faults))
                .collect::<Vec<_>>()
        }
        None => {
            let all = Service::ALL.into_iter().zip(default);
            all.filter_map(|(service, is_in)| is_in.then_some(service))
                .collect()
        }
    };
    let required = read(
        "needs",
        Service::ALL.map(|service| defaults.required[service]),
    );
    let useful = read(
        "useful",
        Service::ALL.map(|service| defaults.useful[service]),
    );
    if required.is_empty()
        && let Some(needs) = section.value("needs")
    {
        faults.report(
            needs.at,
            "`needs` names no service, so every region would always do",
            "name at least \"api\"",
        );
    }
    Needs::of(&required, &useful)
}

fn read_residency(section: &Section<'_>, named: &Named<'_>, faults: &mut Faults<'_>) -> Residency {
    let mut residency = Residency {
        rules: Vec::new(),
        otherwise: read_allowed(section, "residency-otherwise", named, faults),
    };
    for table in section.tables("residency", faults) {
        let rule = Section::open(table, "[[route.residency]]", schema::RESIDENCY, faults);
        for key in ["clients", "regions"] {
            if rule.value(key).is_none() {
                rule.missing(key, faults);
            }
        }
        let regions = read_allowed(&rule, "regions", named, faults).unwrap_or_default();
        for clients in read_clients(&rule, faults) {
            residency.rules.push((clients, regions.clone()));
        }
    }
    residency
}

fn read_allowed(
    section: &Section<'_>,
    key: &str,
    named: &Named<'_>,
    faults: &mut Faults<'_>,
) -> Option<Vec<RegionName>> {
    let names = section.texts(key, faults)?;
    let mut allowed = Vec::new();
    for name in &names.value {
        if check_region(name, &named.regions, faults) {
            check_holds_tables(name, named, faults);
            allowed.push(RegionName::new(name.value));
        }
    }
    Some(allowed)
}

fn read_ramp(section: &Section<'_>, faults: &mut Faults<'_>) -> Ramp {
    let mut ramp = Ramp::default();
    let Some(table) = section.table("ramp", faults) else {
        return ramp;
    };
    let section = Section::open(table, "ramp", schema::RAMP, faults);
    if let Some(percents) = section.counts("percents", 1..=99, faults) {
        let rises = percents.value.is_sorted_by(|one, next| one < next);
        if !rises || percents.value.len() > STEPS_AT_MOST {
            faults.report(
                percents.at,
                "the steps of a ramp must rise, and be 20 at most",
                "for example percents = [10, 25, 50]; after the last step comes all",
            );
        }
        ramp.percents = percents
            .value
            .iter()
            .map(|percent| *percent as u8)
            .collect();
    }
    if let Some(each) = section.duration("each", faults) {
        if each.value.is_zero() || each.value > STEP_AT_MOST {
            faults.report(
                each.at,
                "`each` is outside its range",
                "use more than 0 and at most 24h, for example each = \"5s\"",
            );
        }
        ramp.each = each.value;
    }
    ramp
}

/// A time to live: whole seconds.
pub(super) fn read_ttl(
    section: &Section<'_>,
    key: &str,
    faults: &mut Faults<'_>,
) -> Option<Duration> {
    let ttl = section.duration(key, faults)?;
    if ttl.value.subsec_nanos() != 0 || ttl.value > TTL_AT_MOST {
        faults.report(
            ttl.at,
            format!("`{key}` must be whole seconds, at most a week"),
            format!("for example {key} = \"5s\""),
        );
        return None;
    }
    Some(ttl.value)
}

/// Reads `[steering]`.
pub(super) fn read_steering(root: &Section<'_>, faults: &mut Faults<'_>) -> Steering {
    let mut steering = Steering::default();
    let Some(table) = root.table("steering", faults) else {
        return steering;
    };
    let section = Section::open(table, "[steering]", schema::STEERING, faults);
    if let Some(percent) = section.count("leaving-percent-max", 0..=100, faults) {
        steering.leaving_percent_max = percent.value as u8;
    }
    steering
}
