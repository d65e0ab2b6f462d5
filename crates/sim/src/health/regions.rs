//! The regions of these worlds, their routes, and the clients that are answered.

use meridian_health::{Preset, Service, Setup, Target};
use meridian_model::RegionName;
use meridian_steer::{Client, Key, Located};
use meridian_topology::{Area, Topology};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

/// As many as there may be; a smaller world has the first of them.
pub(crate) const NAMES: [&str; 5] = [
    "us-east-1",
    "eu-west-1",
    "ap-northeast-1",
    "eu-central-1",
    "sa-east-1",
];
const AREAS: [Area; 5] = [
    Area::NorthAmerica,
    Area::Europe,
    Area::AsiaPacific,
    Area::Europe,
    Area::LatinAmerica,
];

/// How often is looked, everywhere.
pub(crate) const PRESET: Preset = Preset::Fast;
/// The ramp of every route: its shares, and for how long each.
pub(crate) const RAMP: [f32; 3] = [0.1, 0.25, 0.5];
pub(crate) const RAMP_STEP_MS: u64 = 1_000;

/// What the routes need; the third lets Europe's clients stay in Europe alone.
pub(crate) const ROUTES: [(&str, &[Service]); 3] = [
    ("app", &[Service::Api, Service::Database]),
    ("files", &[Service::Api]),
    ("people", &[Service::Api]),
];
pub(crate) const RESIDENT: &str = "people";

static TOPOLOGIES: LazyLock<Vec<Topology>> = LazyLock::new(|| (0..=5).map(parsed).collect());

/// The topology of the first so many regions.
pub(crate) fn topology(regions: usize) -> &'static Topology {
    &TOPOLOGIES[regions]
}

fn parsed(count: usize) -> Topology {
    let regions = &NAMES[..count.max(1)];
    let sections: String = regions
        .iter()
        .map(|name| format!("[[region]]\nname = \"{name}\"\n"))
        .collect();
    let of_europe = regions
        .iter()
        .zip(AREAS)
        .filter(|(_, area)| *area == Area::Europe);
    let of_europe: Vec<_> = of_europe.map(|(name, _)| format!("{name:?}")).collect();
    let residency = if of_europe.is_empty() {
        String::new()
    } else {
        let regions = of_europe.join(", ");
        format!("[[route.people.residency]]\nclients = [\"europe\"]\nregions = [{regions}]\n")
    };
    let ramp = "ramp = { percents = [10, 25, 50], each = \"1s\" }";
    let text = format!(
        "zone = \"sim.test\"\n{sections}[[dataset]]\nname = \"main\"\nengine = \"embedded\"\n\
         [route.app]\n{ramp}\n\
         [route.files]\npolicy = \"weighted\"\nneeds = [\"api\"]\nuseful = []\n{ramp}\n\
         [route.people]\nneeds = [\"api\"]\nuseful = []\n{ramp}\n{residency}"
    );
    Topology::parse(&text, Path::new("meridian.toml")).expect("the text is a topology")
}

/// Which region this is.
pub(crate) fn index(region: &RegionName) -> usize {
    let place = NAMES.iter().position(|name| *name == region.as_str());
    place.expect("no other regions are spoken of")
}

/// What one of the first so many regions observes: every `api`, and its own database.
pub(crate) fn setup(own: usize, regions: usize) -> Setup {
    let target = |region: usize, service: Service| Target {
        region: RegionName::new(NAMES[region]),
        service,
        endpoint: format!("{}.test", NAMES[region]),
    };
    let mut targets: Vec<_> = (0..regions)
        .map(|region| target(region, Service::Api))
        .collect();
    targets.push(target(own, Service::Database));
    Setup {
        own: RegionName::new(NAMES[own]),
        observers: NAMES[..regions]
            .iter()
            .map(|name| RegionName::new(name))
            .collect(),
        targets,
        cadence: PRESET.cadence(),
        maintenance: Vec::new(),
    }
}

/// Who observes a service.
pub(crate) fn observes(observer: usize, region: usize, service: Service) -> bool {
    match service {
        Service::Api => true,
        _ => observer == region,
    }
}

/// A client beside each region, and one of which nobody knows where it is.
pub(crate) fn clients(regions: usize) -> Vec<(Client, Option<Area>)> {
    let places = topology(regions).regions.iter().zip(AREAS);
    let located = places.map(|(region, area)| {
        let located = Located {
            spot: region.place.location.into(),
            area,
            country: None,
            prefix_bits: 24,
        };
        (Some(located), Some(area))
    });
    let client = |(number, (located, area)): (usize, (Option<Located>, Option<Area>))| {
        let client = Client {
            located,
            key: Key::of_bytes(&number.to_le_bytes()),
            key_bits: 24,
        };
        (client, area)
    };
    let everybody = located.chain([(None, None)]);
    everybody.enumerate().map(client).collect()
}

/// Whether residency lets a region answer a client.
pub(crate) fn may_answer(route: &str, area: Option<Area>, region: usize) -> bool {
    route != RESIDENT || area != Some(Area::Europe) || AREAS[region] == Area::Europe
}

/// A time of the cadence, in the worlds' unit.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
