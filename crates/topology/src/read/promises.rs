//! What a `[[dataset]]` promises, and the regions that it names.

use super::section::{At, Section};
use crate::fault::Faults;
use crate::promises::{Promises, Writes};
use crate::suggest::nearest;
use meridian_model::{Acknowledgement, Consistency, RegionName};
use std::time::Duration;

/// A client that waits longer has gone.
const ACKNOWLEDGEMENT_TIMEOUT_AT_MOST: Duration = Duration::from_secs(60);
const ACTIVE_ACTIVE: &str = "active-active";
const HOME: &str = "home";

/// A dataset's promises as far as they could be read.
pub(super) struct Draft<'d> {
    consistency: Consistency,
    acknowledgement: Option<At<Acknowledgement>>,
    acknowledgement_timeout: Option<Duration>,
    /// Whether the key says `home`.
    has_home: bool,
    home: Option<At<&'d str>>,
    read_replicas: Vec<At<&'d str>>,
}

/// The regions' names, as far as they could be read.
pub(super) struct Named<'d> {
    pub(super) regions: Vec<&'d str>,
    /// Those of them that hold no tables.
    pub(super) witnesses: Vec<&'d str>,
}

pub(super) fn read<'d>(section: &Section<'d>, faults: &mut Faults<'_>) -> Draft<'d> {
    let consistency = one_of(
        section,
        "consistency",
        &Consistency::ALL.map(Consistency::name),
        faults,
    );
    let acknowledgement = one_of(
        section,
        "acknowledgement",
        &Acknowledgement::ALL.map(Acknowledgement::name),
        faults,
    );
    let writes = one_of(section, "writes", &[ACTIVE_ACTIVE, HOME], faults);
    let draft = Draft {
        consistency: consistency
            .and_then(|level| Consistency::from_name(level.value))
            .unwrap_or_default(),
        acknowledgement: acknowledgement
            .and_then(|level| Some(level.with(Acknowledgement::from_name(level.value)?))),
        acknowledgement_timeout: read_timeout(section, faults),
        has_home: writes.is_some_and(|writes| writes.value == HOME),
        home: section.text("home", faults),
        read_replicas: section
            .texts("read-replicas", faults)
            .map_or_else(Vec::new, |names| names.value),
    };
    check_home(section, &draft, faults);
    draft
}

/// A word of a few.
pub(super) fn one_of<'d>(
    section: &Section<'d>,
    key: &str,
    words: &[&'static str],
    faults: &mut Faults<'_>,
) -> Option<At<&'d str>> {
    let found = section.text(key, faults)?;
    if words.contains(&found.value) {
        return Some(found);
    }
    let hint = nearest(found.value, words.iter().copied()).map_or_else(
        || format!("use one of {}", words.join(", ")),
        |near| format!("did you mean {near:?}?"),
    );
    faults.report(
        found.at,
        format!("there is no {key} {:?}", found.value),
        hint,
    );
    None
}

fn read_timeout(section: &Section<'_>, faults: &mut Faults<'_>) -> Option<Duration> {
    let timeout = section.duration("acknowledgement-timeout", faults)?;
    if timeout.value.is_zero() || timeout.value > ACKNOWLEDGEMENT_TIMEOUT_AT_MOST {
        faults.report(
            timeout.at,
            "`acknowledgement-timeout` is outside its range",
            "use more than 0 and at most 60s, for example acknowledgement-timeout = \"2s\"",
        );
    }
    Some(timeout.value)
}

fn check_home(section: &Section<'_>, draft: &Draft<'_>, faults: &mut Faults<'_>) {
    match (draft.has_home, draft.home) {
        (true, None) if section.value("home").is_none() => section.missing("home", faults),
        (false, Some(home)) => faults.report(
            home.at,
            "`home` in a dataset whose writes are taken in every region",
            "add writes = \"home\", or leave `home` out",
        ),
        _ => {}
    }
    if let (true, Some(first)) = (draft.has_home, draft.read_replicas.first()) {
        faults.report(
            first.at,
            "`read-replicas` in a dataset that has a home",
            "leave it out: every region but the home only reads",
        );
    }
}

/// What must hold between a dataset's promises and the regions there are.
pub(super) fn check(draft: &Draft<'_>, named: &Named<'_>, faults: &mut Faults<'_>) {
    let regions = &named.regions[..];
    check_witnesses(draft, named, faults);
    for named in draft.home.iter().chain(&draft.read_replicas) {
        if !regions.contains(&named.value) {
            let hint = nearest(named.value, regions.iter().copied()).map_or_else(
                || format!("the regions are {}", regions.join(", ")),
                |near| format!("did you mean {near:?}?"),
            );
            faults.report(
                named.at,
                format!("there is no region {:?}", named.value),
                hint,
            );
        }
    }
    let holds_tables = |region: &&str| !named.witnesses.contains(region);
    let with_tables: Vec<&str> = regions.iter().copied().filter(holds_tables).collect();
    check_replicas(draft, &with_tables, faults);
    check_acknowledgement(draft, regions.len(), faults);
}

/// A region without tables neither takes writes nor serves reads.
fn check_witnesses(draft: &Draft<'_>, named: &Named<'_>, faults: &mut Faults<'_>) {
    let is_witness = |region: &&At<&str>| named.witnesses.contains(&region.value);
    for home in draft.home.iter().filter(is_witness) {
        faults.report(
            home.at,
            format!("home {:?} is a witness, which holds no tables", home.value),
            "name a region that is none",
        );
    }
    for replica in draft.read_replicas.iter().filter(is_witness) {
        faults.report(
            replica.at,
            format!(
                "read replica {:?} is a witness, which holds no tables",
                replica.value
            ),
            "leave it out: a witness takes no writes anyway",
        );
    }
}

fn check_replicas(draft: &Draft<'_>, regions: &[&str], faults: &mut Faults<'_>) {
    for (index, replica) in draft.read_replicas.iter().enumerate() {
        let mut earlier = draft.read_replicas[..index].iter();
        if earlier.any(|other| other.value == replica.value) {
            faults.report(
                replica.at,
                format!("read replica {:?} is named twice", replica.value),
                "name each region once",
            );
        }
    }
    let is_replica = |region: &&str| {
        let mut replicas = draft.read_replicas.iter();
        replicas.any(|replica| replica.value == *region)
    };
    if let Some(first) = draft.read_replicas.first()
        && !regions.is_empty()
        && regions.iter().all(is_replica)
    {
        faults.report(
            first.at,
            "every region that holds tables is a read replica, so nobody takes writes",
            "leave at least one region out of `read-replicas`",
        );
    }
}

/// An acknowledgement that no number of live regions could ever give.
fn check_acknowledgement(draft: &Draft<'_>, regions: usize, faults: &mut Faults<'_>) {
    let Some(level) = &draft.acknowledgement else {
        return;
    };
    let holders = level.value.holders(regions);
    if regions > 0 && holders > regions {
        faults.report(
            level.at,
            format!(
                "acknowledgement {:?} needs {holders} regions, and there is {regions}",
                level.value.name()
            ),
            "add a region, or use acknowledgement = \"local\"",
        );
    }
}

/// The promises, or `None` if they are not whole.
pub(super) fn finish(draft: &Draft<'_>) -> Option<Promises> {
    let defaults = Promises::default();
    let name = |name: &At<&str>| RegionName::new(name.value);
    let writes = if draft.has_home {
        Writes::Home(draft.home.as_ref().map(name)?)
    } else {
        Writes::ActiveActive {
            read_replicas: draft.read_replicas.iter().map(name).collect(),
        }
    };
    Some(Promises {
        consistency: draft.consistency,
        acknowledgement: draft
            .acknowledgement
            .as_ref()
            .map_or(defaults.acknowledgement, |level| level.value),
        acknowledgement_timeout: draft
            .acknowledgement_timeout
            .unwrap_or(defaults.acknowledgement_timeout),
        writes,
    })
}
