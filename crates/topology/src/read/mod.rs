//! From text to topology.
//!
//! First the whole document is read into drafts, in which whatever was wrong is missing and keeps
//! the place where it stood; then the rules that span several tables are checked on the drafts.
//! Drafts become a [`Topology`] only if no fault was found, so nothing missing survives.

mod dataset;
mod dns;
mod health;
mod postgres;
mod probe;
mod promises;
mod route;

pub use dataset::TRANSACTION_BYTES_AT_MOST;

mod region;
pub(crate) mod schema;
mod section;

use crate::fault::{Faults, TopologyError};
use crate::name::check_zone;
use crate::topology::{Api, Clock, Tls, TlsPositions, Topology};
use section::{At, Section};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A drift allowed beyond this would never raise an alert that matters.
const DRIFT_MAX_AT_MOST: Duration = Duration::from_secs(3600);

impl Topology {
    /// Reads and validates a topology. `file` names it in errors, and relative paths in it begin
    /// at its directory; nothing is read from disk.
    ///
    /// # Errors
    /// Everything that is wrong with it. If the text is no TOML, then only that.
    pub fn parse(text: &str, file: &Path) -> Result<Self, TopologyError> {
        let mut faults = Faults::new(text);
        let name = file.display().to_string();
        let (document, errors) = DeTable::parse_recoverable(text);
        if report_syntax(text, &errors, &mut faults) {
            return Err(faults.finish(&name).expect_err("a fault was just reported"));
        }
        let root = At {
            value: document.get_ref(),
            at: 0,
        };
        let base = file.parent().unwrap_or(Path::new(""));
        let topology = read_root(root, name.clone(), base, &mut faults);
        faults.finish(&name)?;
        Ok(topology.expect("what is missing has been reported"))
    }
}

/// Reports what the TOML parser found; true if the document is too broken to go on. A key that
/// appears twice leaves the rest of the document in order, so reading goes on after it.
fn report_syntax(text: &str, errors: &[toml::de::Error], faults: &mut Faults<'_>) -> bool {
    let mut broken = false;
    for error in errors {
        let span = error.span().unwrap_or_default();
        if error.message() == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default();
            faults.report(
                span.start,
                format!("`{key}` is there twice"),
                "a table has each key once: remove one, or give it another name",
            );
            continue;
        }
        broken = true;
        faults.report(
            span.start,
            format!("this is not TOML: {}", error.message()),
            "strings stand in quotes, tables in [brackets]; see https://toml.io",
        );
    }
    broken
}

fn read_root<'d>(
    root: At<&'d DeTable<'d>>,
    file: String,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<Topology> {
    let root = Section::open(root, "the file", schema::ROOT, faults);
    let zone = read_zone(&root, faults);
    let regions = region::read(&root, base, faults);
    let datasets = dataset::read(&root, base, faults);
    let clock = read_clock(&root, faults);
    let tls = read_tls(&root, base, faults);
    let api = read_api(&root, base, faults);
    region::check(
        &regions,
        &region::Protection {
            tls: root.value("tls").is_some(),
            token: api.as_ref().is_none_or(|api| api.token_file.is_some()),
        },
        &root,
        faults,
    );
    dataset::check(&datasets, &root, faults);
    let named = promises::Named {
        regions: region::names(&regions),
        witnesses: region::witnesses(&regions),
    };
    dataset::check_promises(&datasets, &named, faults);
    let health = health::read(&root, &named.regions, faults);
    let routes = route::read(&root, &named, faults);
    let steering = route::read_steering(&root, faults);
    let dns = dns::read(&root, base, faults);
    Some(Topology {
        file,
        zone: zone?,
        regions: region::finish(regions, faults)?,
        datasets: dataset::finish(datasets)?,
        clock: clock?,
        tls: tls?,
        api: api?,
        health,
        routes,
        steering,
        dns,
    })
}

fn read_zone(root: &Section<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let zone = root.required_text("zone", faults)?;
    check_zone(zone.value)
        .map(|()| zone.value.to_owned())
        .map_err(|error| faults.report(zone.at, error.reason, error.hint))
        .ok()
}

fn read_clock(root: &Section<'_>, faults: &mut Faults<'_>) -> Option<Clock> {
    let Some(table) = root
        .value("clock")
        .and_then(|_| root.table("clock", faults))
    else {
        return Some(Clock::default());
    };
    let section = Section::open(table, "[clock]", schema::CLOCK, faults);
    let Some(drift_max) = section.duration("drift-max", faults) else {
        return Some(Clock::default());
    };
    if drift_max.value.is_zero() || drift_max.value > DRIFT_MAX_AT_MOST {
        faults.report(
            drift_max.at,
            "`drift-max` is outside its range",
            "use more than 0 and at most 1h, for example drift-max = \"500ms\"",
        );
    }
    Some(Clock {
        drift_max: drift_max.value,
    })
}

/// `None` if something in the table is wrong, `Some(None)` if there is no table.
fn read_tls(root: &Section<'_>, base: &Path, faults: &mut Faults<'_>) -> Option<Option<Tls>> {
    if root.value("tls").is_none() {
        return Some(None);
    }
    let table = root.table("tls", faults)?;
    let section = Section::open(table, "[tls]", schema::TLS, faults);
    let paths = ["authority", "certificate", "key"].map(|key| {
        if section.value(key).is_none() {
            section.missing(key, faults);
        }
        section.path(key, faults)
    });
    let [Some(authority), Some(certificate), Some(key)] = paths else {
        return None;
    };
    Some(Some(Tls {
        authority: resolve(base, authority.value),
        certificate: resolve(base, certificate.value),
        key: resolve(base, key.value),
        positions: Some(TlsPositions {
            authority: faults.position(authority.at),
            certificate: faults.position(certificate.at),
            key: faults.position(key.at),
        }),
    }))
}

/// `None` if something in the table is wrong.
fn read_api(root: &Section<'_>, base: &Path, faults: &mut Faults<'_>) -> Option<Api> {
    if root.value("api").is_none() {
        return Some(Api::default());
    }
    let table = root.table("api", faults)?;
    let section = Section::open(table, "[api]", schema::API, faults);
    if section.value("token-file").is_none() {
        return Some(Api::default());
    }
    let token_file = section.path("token-file", faults)?;
    Some(Api {
        token_file: Some(resolve(base, token_file.value)),
        token_file_position: Some(faults.position(token_file.at)),
    })
}

/// A path of the file: relative ones begin at the file's directory, not where the process runs.
fn resolve(base: &Path, path: &str) -> PathBuf {
    base.join(path)
}
