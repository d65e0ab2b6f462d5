//! `[dataset.postgres]`: each region's server, and what a dataset on PostgreSQL can't have.

use super::promises;
use super::schema;
use super::section::{At, Section};
use crate::dataset::Strategy;
use crate::fault::Faults;
use crate::pattern::TablePattern;
use crate::postgres::{Password, Postgres, PostgresServer, url_fault};
use crate::suggest::nearest;
use meridian_model::RegionName;
use std::path::Path;
use toml::de::DeTable;

/// What could be read of it.
pub(super) struct Draft<'d> {
    at: usize,
    exclude: Vec<TablePattern>,
    servers: Vec<(At<&'d str>, Option<PostgresServer>)>,
}

pub(super) fn read<'d>(
    dataset: &Section<'d>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<Draft<'d>> {
    if dataset.value("postgres").is_none() {
        dataset.missing("postgres", faults);
    }
    check_tables(dataset, faults);
    check_promises(dataset, faults);
    let table = dataset.table("postgres", faults)?;
    let section = Section::open(table, "[dataset.postgres]", schema::POSTGRES, faults);
    let mut exclude = Vec::new();
    for text in section
        .texts("exclude", faults)
        .map_or_else(Vec::new, |texts| texts.value)
    {
        match TablePattern::new(text.value) {
            Ok(pattern) => exclude.push(pattern),
            Err(error) => faults.report(text.at, error.reason, error.hint),
        }
    }
    let regions = section.table("region", faults);
    let servers = regions
        .map_or_else(Vec::new, |regions| regions.value.iter().collect())
        .into_iter()
        .map(|(key, value)| {
            let name = At {
                value: key.get_ref().as_ref(),
                at: key.span().start,
            };
            let server = match value.get_ref().as_table() {
                Some(table) => read_server(name.with(table), base, faults),
                None => {
                    faults.report(
                        name.at,
                        format!("`region.{}` must be a table", name.value),
                        format!(
                            "write [dataset.postgres.region.{}] and below it its url",
                            name.value
                        ),
                    );
                    None
                }
            };
            (name, server)
        })
        .collect();
    Some(Draft {
        at: section.at,
        exclude,
        servers,
    })
}

fn read_server<'d>(
    table: At<&'d DeTable<'d>>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<PostgresServer> {
    let title = "[dataset.postgres.region]";
    let section = Section::open(table, title, schema::POSTGRES_SERVER, faults);
    read_server_keys(&section, base, faults)
}

/// A server by the keys that a table has for it.
pub(super) fn read_server_keys(
    section: &Section<'_>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<PostgresServer> {
    let url = section.required_text("url", faults).filter(|url| {
        url_fault(url.value)
            .map(|(reason, hint)| faults.report(url.at, reason, hint))
            .is_none()
    });
    let password = read_password(section, base, faults);
    let root_certificates = section
        .path("root-certificates", faults)
        .map(|path| base.join(path.value));
    Some(PostgresServer {
        url: url?.value.to_owned(),
        password,
        root_certificates,
    })
}

/// Where a password is.
pub(super) fn read_password(
    section: &Section<'_>,
    base: &Path,
    faults: &mut Faults<'_>,
) -> Option<Password> {
    let file = section.path("password-file", faults);
    let variable = section.path("password-env", faults);
    if let (Some(_), Some(second)) = (&file, &variable) {
        faults.report(
            second.at,
            "the password is in a file and in an environment variable",
            "leave out `password-file` or `password-env`",
        );
    }
    file.map(|file| Password::File(base.join(file.value)))
        .or_else(|| variable.map(|name| Password::Environment(name.value.to_owned())))
}

/// Its tables are called `schema.table`, and which of a database's they are must be said.
fn check_tables(dataset: &Section<'_>, faults: &mut Faults<'_>) {
    if dataset.value("tables").is_none() {
        faults.report(
            dataset.at,
            "a dataset on PostgreSQL has no `tables`",
            "name them with their schema, for example tables = [\"public.*\"]",
        );
        return;
    }
    // A value of another type is reported where the tables are read.
    let Some(array) = dataset
        .value("tables")
        .and_then(|tables| tables.value.as_array())
    else {
        return;
    };
    for element in array.iter() {
        let text = element.get_ref().as_str();
        if text.is_some_and(|text| !text.contains('.')) {
            faults.report(
                element.span().start,
                format!("{:?} lacks its schema", text.unwrap_or_default()),
                "a table of PostgreSQL is called SCHEMA.TABLE, for example \"public.orders\"",
            );
        }
    }
}

/// Applications write straight to the server, which knows nothing of these.
fn check_promises(dataset: &Section<'_>, faults: &mut Faults<'_>) {
    for (key, allowed) in [
        ("acknowledgement", "local"),
        ("writes", "active-active"),
        ("strategy", Strategy::LastWriterWins.name()),
    ] {
        let Some(found) = dataset.value(key) else {
            continue;
        };
        // What is no word is reported where it is read.
        if found.value.as_str().is_some_and(|word| word != allowed) {
            faults.report(
                found.at,
                format!("a dataset on PostgreSQL can't have this `{key}`: the server decides about writes as they come"),
                format!("leave it out, or use {key} = {allowed:?}"),
            );
        }
    }
    if let Some(replicas) = dataset.value("read-replicas")
        && replicas
            .value
            .as_array()
            .is_some_and(|names| !names.is_empty())
    {
        faults.report(
            replicas.at,
            "a dataset on PostgreSQL can't have `read-replicas`: every region's server takes writes",
            "leave it out",
        );
    }
}

/// The rules between servers and regions.
pub(super) fn check(draft: &Draft<'_>, named: &promises::Named<'_>, faults: &mut Faults<'_>) {
    let regions = &named.regions;
    for (name, _) in &draft.servers {
        if !regions.contains(&name.value) {
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
    }
    // A witness holds no tables, so nothing of it is in a server.
    let with_tables = regions
        .iter()
        .filter(|region| !named.witnesses.contains(region));
    for region in with_tables {
        if !draft.servers.iter().any(|(name, _)| name.value == *region) {
            faults.report(
                draft.at,
                format!("region {region:?} has no server for this dataset"),
                format!(
                    "add [dataset.postgres.region.{region}] with url = \"postgresql://USER@HOST/DATABASE\""
                ),
            );
        }
    }
}

/// Two datasets in one database would each capture what the other writes.
pub(super) fn check_among(drafts: &[&Draft<'_>], faults: &mut Faults<'_>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for draft in drafts {
        for (name, server) in &draft.servers {
            let Some(server) = server else { continue };
            let place = place_of(&server.url);
            if seen.contains(&(name.value, place)) {
                faults.report(
                    name.at,
                    format!(
                        "two datasets have the same database in region {:?}",
                        name.value
                    ),
                    "put the tables of one database into one dataset",
                );
            }
            seen.push((name.value, place));
        }
    }
}

/// Host, port and database of a URL.
fn place_of(url: &str) -> &str {
    let rest = url.split_once('@').map_or(url, |(_, rest)| rest);
    rest.split_once('?').map_or(rest, |(place, _)| place)
}

/// The servers, or `None` if one of them is not whole.
pub(super) fn finish(draft: Draft<'_>) -> Option<Postgres> {
    let servers = draft
        .servers
        .into_iter()
        .map(|(name, server)| Some((RegionName::new(name.value), server?)))
        .collect::<Option<_>>()?;
    Some(Postgres {
        exclude: draft.exclude,
        servers,
    })
}
