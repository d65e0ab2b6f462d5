//! `meridian postgres compare`: whether the regions' servers show the same rows, and mending those that
//! don't.
//!
//! Each region holds its server against its own tables; the regions' tables are compared with each other
//! as by `meridian tables compare`. Servers that show what equal tables show are equal.

use super::side::Side;
use super::standing::standings;
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, shortened, table, thousands};
use crate::tables::compare as between;
use crate::target::Target;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);
/// Of a row, so many characters are shown.
const VALUE_CHARS_MAX: usize = 60;

/// `meridian postgres compare`
#[derive(Debug, Args)]
#[command(
    after_help = "Rows that are on their way, or parked, are no differences. --repair writes rows again that a server lacks or has in an older state. A row of a server that nothing explains may be a write that was never captured: it is shown, and stays as it is until --take says which side is right. Exit code 0 if no row differs, or none does any more; 1 if some do, or a server could not be compared.\n\nExamples:\n  meridian postgres compare\n  meridian postgres compare public.orders --repair\n  meridian postgres compare --region eu-west-1 --repair --take regions"
)]
pub struct Options {
    /// The tables, with their schemas [default: all]
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Write rows again that a server lacks or has in an older state
    #[arg(long)]
    repair: bool,
    /// Which side is right about rows of a server that nothing explains: they become writes of that
    /// region, or the other regions' are written over them
    #[arg(long, value_name = "SIDE", requires = "repair")]
    take: Option<Side>,
    /// Compare at most so many rows a second in each region
    #[arg(long, value_name = "N")]
    rows_per_second: Option<u64>,
    /// This dataset only
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// A region's server while it is compared.
struct Running<'a> {
    api: &'a Api,
    path: String,
    comparison: Value,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let apis = options.target.all()?;
    let mut datasets = BTreeSet::new();
    for api in &apis {
        let found = standings(api, options.dataset.as_deref())?;
        datasets.extend(found.into_iter().map(|found| found.dataset));
    }
    // What is mended between regions is written into their servers.
    let tables = between::between(&apis, &datasets, &options.tables, options.repair)?;
    let servers = servers(&apis, options)?;
    let mut troubles: Vec<String> = servers.iter().flat_map(trouble).collect();
    troubles.extend(tables.troubles);
    match format {
        Format::Json => output::json(&json!({
            "equal": troubles.is_empty(),
            "servers": servers,
            "tables": tables.report,
        }))?,
        Format::Text => print(&servers)?,
    }
    if troubles.is_empty() {
        return Ok(());
    }
    let asked = (options.repair, options.take);
    let hints = hints(asked, &servers, tables.differ);
    Err(CliError::failure(troubles.join("; ")).hint(hints.join("; ")))
}

/// What to do next, of what can help. `differ` says whether rows differ between regions' tables.
fn hints(
    (repair, take): (bool, Option<Side>),
    servers: &[Value],
    differ: bool,
) -> Vec<&'static str> {
    let any = |is_so: fn(&Value) -> bool| servers.iter().any(is_so);
    let left = |server: &Value| number(server, "differing") - number(server, "mended");
    let (mut is_open, mut is_mendable) = (false, differ);
    for server in servers.iter().filter(|server| left(server) > 0) {
        is_open |= number(server, "unknown") > 0;
        is_mendable |= left(server) > number(server, "unknown");
    }
    let mut hints = Vec::new();
    if is_mendable && !repair {
        hints.push("`meridian postgres compare --repair` mends what can be mended");
    }
    if differ && repair {
        hints.push(
            "`meridian tables compare --repair --prefer REGION TABLE KEY` decides about a row that \
             differs between regions",
        );
    }
    match take {
        _ if !is_open => {}
        None => hints.push(
            "rows that nothing explains wait for you: --repair --take server makes them writes of \
             their region, --take regions writes over them",
        ),
        Some(Side::Server) => {
            hints.push("of rows in tables with counters only --take regions makes an end");
        }
        Some(Side::Regions) => hints.push("these rows are written while they are compared: again"),
    }
    if any(|server| {
        server["not_replicating"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    }) {
        hints.push("`meridian postgres prepare` says why a table doesn't replicate");
    }
    if hints.is_empty() {
        hints.push("compare again once every region and its server can be asked");
    }
    hints
}

/// Lets each region compare its server at the same time, and waits for all.
fn servers(apis: &[Api], options: &Options) -> CliResult<Vec<Value>> {
    let order = json!({
        "tables": options.tables,
        "repair": options.repair,
        "take": options.take.map(Side::name),
        "rows_per_second_max": options.rows_per_second,
    });
    let mut all = Vec::new();
    for api in apis {
        for found in standings(api, options.dataset.as_deref())? {
            let dataset = encode(&found.dataset);
            let path = format!("/v1/datasets/{dataset}/postgres/comparisons");
            let reply = api.send("POST", &path, order.to_string().as_bytes())?;
            all.push(Running {
                api,
                path,
                comparison: reply.json()?,
            });
        }
    }
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid");
    let spinner = ProgressBar::new_spinner().with_style(style);
    while all.iter().any(|running| !is_done(&running.comparison)) {
        std::thread::sleep(POLL);
        for running in &mut all {
            if !is_done(&running.comparison) {
                let id = &running.comparison["id"];
                let path = format!("{}?id={id}", running.path);
                running.comparison = running.api.get(&path)?.json()?;
            }
        }
        let sum = |name: &str| all.iter().map(|it| number(&it.comparison, name)).sum();
        spinner.set_message(format!(
            "{} rows compared, {} differ, {} mended",
            thousands(sum("rows")),
            thousands(sum("differing")),
            thousands(sum("mended"))
        ));
        spinner.tick();
    }
    spinner.finish_and_clear();
    Ok(all.into_iter().map(|running| running.comparison).collect())
}

fn is_done(comparison: &Value) -> bool {
    comparison["done"] == true
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What is not as it should be with a server.
fn trouble(server: &Value) -> Vec<String> {
    let (region, mut troubles) = (text(server, "region"), Vec::new());
    if let Some(error) = server["error"].as_str() {
        let hint = server["hint"].as_str();
        let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
        troubles.push(format!(
            "the server of {region} was not compared to the end: {error}{hint}"
        ));
    }
    let left = number(server, "differing") - number(server, "mended");
    if left > 0 {
        troubles.push(format!(
            "{} rows differ between the server of {region} and the regions",
            thousands(left)
        ));
    }
    for table in server["not_replicating"].as_array().into_iter().flatten() {
        let table = table.as_str().unwrap_or_default();
        troubles.push(format!("the server of {region} doesn't replicate {table}"));
    }
    troubles
}

fn print(servers: &[Value]) -> CliResult {
    let rows: Vec<Vec<String>> = servers
        .iter()
        .map(|server| {
            let count = |name: &str| thousands(number(server, name));
            vec![
                text(server, "region").to_owned(),
                text(server, "dataset").to_owned(),
                count("rows"),
                count("differing"),
                count("unknown"),
                count("mended"),
            ]
        })
        .collect();
    let head = [
        "region",
        "dataset",
        "rows",
        "differed",
        "unexplained",
        "mended",
    ];
    output::line(&table(&head, &rows))?;
    let listed: Vec<Vec<String>> = servers.iter().flat_map(differences).collect();
    if !listed.is_empty() {
        output::line("")?;
        let head = [
            "table", "key", "region", "server", "regions", "source", "mended",
        ];
        output::line(&table(&head, &listed))?;
    }
    Ok(())
}

fn differences(server: &Value) -> Vec<Vec<String>> {
    let all = server["differences"].as_array().into_iter().flatten();
    let shown = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        value => shortened(value, VALUE_CHARS_MAX),
    };
    all.map(|row| {
        let source = match text(row, "source") {
            "unknown" => "unexplained",
            "nothing" => "-",
            other => other,
        };
        vec![
            text(row, "table").to_owned(),
            text(row, "key").to_owned(),
            text(server, "region").to_owned(),
            shown(&row["server"]),
            shown(&row["tables"]),
            source.to_owned(),
            if row["mended"] == true { "yes" } else { "no" }.to_owned(),
        ]
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repair_is_hinted_at_only_where_it_can_help() {
        let server = |differing: u64, unknown: u64| json!({"differing": differing, "unknown": unknown, "mended": 0});
        let said = |repair, take, server: Value, differ| {
            hints((repair, take), &[server], differ).join("; ")
        };
        let first = said(false, None, server(3, 1), false);
        assert!(first.contains("compare --repair` mends") && first.contains("--take server"));
        assert!(!said(false, None, server(1, 1), false).contains("--repair`"));
        assert!(said(false, None, server(0, 0), true).contains("--repair`"));
        assert!(said(true, None, server(0, 0), true).contains("--prefer REGION"));
        assert!(said(true, None, server(1, 1), false).contains("--take server"));
        assert!(said(true, Some(Side::Server), server(1, 1), false).contains("counters"));
        let lacking = json!({"not_replicating": ["public.t"]});
        let lacking = said(false, None, lacking, false);
        assert!(
            lacking.contains("prepare") && !lacking.contains("--repair"),
            "{lacking}"
        );
        let away = said(false, None, json!({"error": "it is away"}), false);
        assert!(
            away.contains("again") && !away.contains("--repair"),
            "{away}"
        );
    }

    #[test]
    fn what_is_mended_is_no_trouble_and_what_is_left_is() {
        let server = |differing: u64, mended: u64| json!({"region": "a", "differing": differing, "mended": mended, "not_replicating": []});
        assert_eq!(trouble(&server(2, 2)), [""; 0]);
        assert_eq!(
            trouble(&server(3, 1)),
            ["2 rows differ between the server of a and the regions"]
        );
        let lost = json!({"region": "a", "error": "it is away", "not_replicating": ["public.t"]});
        assert_eq!(
            trouble(&lost),
            [
                "the server of a was not compared to the end: it is away",
                "the server of a doesn't replicate public.t"
            ]
        );
    }
}
