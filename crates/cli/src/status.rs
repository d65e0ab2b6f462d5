//! `meridian status`: how each region stands.

use crate::client::Api;
use crate::error::{CliError, CliResult, Exit};
use crate::everywhere::at_once;
use crate::output::{self, Format, table};
use crate::reading::{Reading, behind_text, bytes_text};
use crate::target::Target;
use crate::verdicts;
use clap::Args;
use serde_json::{Value, json};

/// `meridian status`
#[derive(Debug, Args)]
#[command(
    after_help = "Below the regions: the verdict about each, how each region sees its API, and what somebody should look at: datasets that take no writes, PostgreSQL servers that aren't captured, quarantined streams, dead letters.\n\nWith --output json a list of {\"region\", \"api\", \"ready\", \"troubles\", \"status\", \"behind\", \"health\", \"error\"}: troubles is what somebody should look at, in words, status what the region's /v1/status says, behind its place behind each other region, health what its /v1/health says; error is null unless it doesn't answer, and then these are. Exit code 3 if no region answers.\n\nExample:\n  meridian status"
)]
pub struct Options {
    #[command(flatten)]
    target: Target,
}

/// A region and what it said.
struct Line {
    api: Api,
    is_ready: bool,
    status: CliResult<Value>,
    reading: Option<Reading>,
    health: Option<Value>,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let lines = at_once(options.target.all_at_a_glance()?, ask);
    match format {
        Format::Json => output::json(&lines.iter().map(as_json).collect::<Vec<_>>())?,
        Format::Text => {
            let mut rows: Vec<_> = lines.iter().map(as_row).collect();
            let mut head = vec!["region", "state", "api", "conflicts", "log", "behind"];
            let queries: Vec<_> = lines.iter().map(queries).collect();
            if queries.iter().any(Option::is_some) {
                head.push("dns queries/s");
                for (row, queries) in rows.iter_mut().zip(queries) {
                    row.push(queries.unwrap_or_else(|| "-".to_owned()));
                }
            }
            output::line(&table(&head, &rows))?;
            let said = lines.iter().filter_map(|line| line.health.clone());
            let said = said.filter_map(|health| serde_json::from_value(health).ok());
            for line in verdicts::lines(&said.collect::<Vec<_>>()) {
                output::line(&line)?;
            }
            let mut readings = lines.iter().filter_map(|line| line.reading.as_ref());
            for promise in readings.next().iter().flat_map(|it| &it.promises) {
                output::line(promise)?;
            }
            // Each region decides by its own picture; one line where all say the same.
            let of = |line: &Line| line.reading.as_ref().map(|it| it.routes.clone());
            let said: Vec<_> = lines
                .iter()
                .filter_map(|line| Some((line, of(line)?)))
                .collect();
            let alike = said.windows(2).all(|pair| pair[0].1 == pair[1].1);
            let shown = if alike { said.len().min(1) } else { said.len() };
            for (line, routes) in &said[..shown] {
                for route in routes {
                    match alike {
                        true => output::line(route)?,
                        false => output::line(&format!("{}: {route}", line.api.name()))?,
                    }
                }
            }
            for line in &lines {
                for trouble in line.reading.iter().flat_map(|it| &it.troubles) {
                    output::line(&format!("{}: {trouble}", line.api.name()))?;
                }
            }
        }
    }
    none_answers(lines.iter().map(|line| &line.status))
}

/// An error if no region answers: the first one's.
pub fn none_answers<'a, T: 'a>(replies: impl Iterator<Item = &'a CliResult<T>>) -> CliResult {
    let mut first = None;
    for reply in replies {
        match reply {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error.clone())),
        }
    }
    Err(first.unwrap_or_else(|| CliError::new(Exit::Unreachable, "the system has no regions")))
}

fn ask(mut api: Api) -> Line {
    let status = get(&api, "/v1/status");
    status.iter().for_each(|status| api.learn_name(status));
    let reading = status.is_ok().then(|| Reading::ask(&api).ok()).flatten();
    let is_ready = status.is_ok() && api.get("/readyz").is_ok_and(|reply| reply.status == 200);
    // An earlier release says nothing of it.
    let health = status
        .is_ok()
        .then(|| get(&api, "/v1/health").ok())
        .flatten();
    Line {
        api,
        is_ready,
        status,
        reading,
        health,
    }
}

/// A JSON resource of a region.
pub fn get(api: &Api, path: &str) -> CliResult<Value> {
    api.get(path)?.json()
}

fn as_json(line: &Line) -> Value {
    json!({
        "region": line.api.name(),
        "api": line.api.url(),
        "ready": line.is_ready,
        "troubles": line.reading.as_ref().map(|reading| &reading.troubles),
        "status": line.status.as_ref().ok(),
        "behind": line.reading.as_ref().map(|reading| &reading.peers),
        "health": line.health,
        "error": line.status.as_ref().err().map(CliError::message),
    })
}

/// How often the region's name server was asked in the last second, where it has one.
fn queries(line: &Line) -> Option<String> {
    let status = line.status.as_ref().ok()?;
    let queries = status["dns"]["queries_per_second"].as_f64()?;
    Some(format!("{queries:.0}"))
}

fn as_row(line: &Line) -> Vec<String> {
    let is_witness = line.reading.as_ref().is_some_and(|it| it.witness);
    let state = match (&line.status, line.is_ready) {
        (Ok(_), true) if is_witness => "ready, a witness",
        (Ok(_), true) => "ready",
        (Ok(_), false) => "not ready",
        (Err(error), _) if error.exit() == Exit::Unreachable => "no answer",
        (Err(_), _) => "refused",
    };
    let reading = line.reading.as_ref();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        line.api.name().to_owned(),
        state.to_owned(),
        line.api.url().to_owned(),
        or_dash(reading.and_then(|it| it.conflicts).map(|it| it.to_string())),
        or_dash(reading.and_then(|it| it.log_bytes).map(bytes_text)),
        reading.map(|it| behind_text(&it.peers)).unwrap_or_default(),
    ]
}
