//! `[health]` and its windows of maintenance.

use super::promises::one_of;
use super::schema;
use super::section::{At, Section};
use crate::fault::Faults;
use crate::health::Health;
use crate::suggest::nearest;
use meridian_health::{Maintenance, Preset, Service};
use meridian_model::RegionName;
use toml::de::DeTable;

/// Reads it; `regions` are the names that there are.
pub(super) fn read(root: &Section<'_>, regions: &[&str], faults: &mut Faults<'_>) -> Health {
    let Some(table) = root.table("health", faults) else {
        return Health::default();
    };
    let section = Section::open(table, "[health]", schema::HEALTH, faults);
    let preset = one_of(&section, "preset", &Preset::ALL.map(Preset::as_str), faults);
    let windows = section.tables("maintenance", faults);
    let windows = windows
        .into_iter()
        .filter_map(|table| read_window(table, regions, faults));
    Health {
        preset: preset
            .and_then(|preset| Preset::named(preset.value))
            .unwrap_or_default(),
        maintenance: windows.collect(),
    }
}

fn read_window(
    table: At<&DeTable<'_>>,
    regions: &[&str],
    faults: &mut Faults<'_>,
) -> Option<Maintenance> {
    let section = Section::open(table, "[[health.maintenance]]", schema::MAINTENANCE, faults);
    let region = section.required_text("region", faults);
    let region = region.filter(|region| check_region(region, regions, faults));
    let service = section.text("service", faults);
    let service = service.map(|service| read_service(&service, faults));
    let from = section.moment("from", faults);
    let until = section.moment("until", faults);
    let reason = section.text("reason", faults).map_or("", |text| text.value);
    let (from, until) = (from?, until?);
    if from.value >= until.value {
        faults.report(
            until.at,
            "the maintenance ends before it begins",
            "give an `until` that is later than `from`",
        );
    }
    Some(Maintenance {
        region: RegionName::new(region?.value),
        service: match service {
            Some(service) => Some(service?),
            None => None,
        },
        from: from.value,
        until: until.value,
        reason: reason.to_owned(),
    })
}

/// One of the five services.
pub(super) fn read_service(name: &At<&str>, faults: &mut Faults<'_>) -> Option<Service> {
    let service = Service::named(name.value);
    if service.is_none() {
        let names = Service::ALL.map(Service::as_str);
        let hint = nearest(name.value, names).map_or_else(
            || format!("the services are {}", names.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        faults.report(
            name.at,
            format!("there is no service {:?}", name.value),
            hint,
        );
    }
    service
}

/// Whether there is a region of this name; reports if not.
pub(super) fn check_region(name: &At<&str>, regions: &[&str], faults: &mut Faults<'_>) -> bool {
    let is_there = regions.contains(&name.value);
    if !is_there {
        let hint = nearest(name.value, regions.iter().copied()).map_or_else(
            || format!("the regions are {}", regions.join(", ")),
            |near| format!("did you mean {near:?}?"),
        );
        faults.report(
            name.at,
            format!("there is no region {:?}", name.value),
            hint,
        );
    }
    is_there
}
