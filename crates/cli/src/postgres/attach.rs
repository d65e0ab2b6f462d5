//! `meridian postgres attach`: joins a region and its server, and says which side is right where
//! nothing else tells.

use super::side::Side;
use super::standing::{number, standings, until};
use crate::client::{Api, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, one_line, shortened, table, thousands};
use crate::target::Target;
use clap::{Args, ValueEnum as _};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::str::FromStr;

/// Of a row, so many characters are shown.
const VALUE_CHARS_MAX: usize = 60;

/// `meridian postgres attach`
#[derive(Debug, Args)]
#[command(
    after_help = "Compares the server's rows with those of the other regions. What only one side has goes to the other; rows of which nothing tells which side is right are listed, and nothing is written, until --take says it for all of their tables. What gives way then is listed by `meridian conflicts`. A dataset that is attached already is left alone. Exit code 0 once it is attached, 1 if rows differ or it can't be.\n\nExamples:\n  meridian postgres attach --region eu-west-1\n  meridian postgres attach --region eu-west-1 --take regions\n  meridian postgres attach --region eu-west-1 --take server --take public.stock=regions"
)]
pub struct Options {
    /// This dataset only
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Which side is right about rows that differ: `server` (the server's rows go to all regions) or
    /// `regions` (the other regions' are written into the server); TABLE=SIDE for one table
    #[arg(long, value_name = "[TABLE=]SIDE")]
    take: Vec<Take>,
    #[command(flatten)]
    target: Target,
}

/// Which side is right, in one table or in all others.
#[derive(Clone, Debug)]
struct Take {
    table: Option<String>,
    side: Side,
}

impl FromStr for Take {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (table, side) = match text.rsplit_once('=') {
            Some((table, side)) => (Some(table.to_owned()), side),
            None => (None, text),
        };
        match (Side::from_str(side, false), table) {
            (Ok(side), table) if table.as_deref() != Some("") => Ok(Self { table, side }),
            _ => Err("it is server, regions, TABLE=server or TABLE=regions"),
        }
    }
}

/// What the API is asked for.
fn order(take: &[Take]) -> CliResult<Value> {
    let (mut all, mut tables) = (None, BTreeMap::new());
    for Take { table, side } in take {
        let (before, what) = match table {
            Some(table) => (tables.insert(table, side.name()), table.as_str()),
            None => (all.replace(side.name()), "all tables"),
        };
        if before.is_some_and(|before| before != side.name()) {
            return Err(CliError::usage(format!(
                "--take chooses both sides for {what}"
            )));
        }
    }
    let mut order = json!({"take": all});
    if !tables.is_empty() {
        // A region of an earlier version knows nothing of single tables.
        order["take_in"] = json!(tables);
    }
    Ok(order)
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let order = order(&options.take)?.to_string();
    let api = options.target.one()?;
    let mut all = Vec::new();
    for found in standings(&api, options.dataset.as_deref())? {
        if is_running(&found.postgres) {
            output::talk(&format!("{}: it is attached already", found.dataset));
        }
        let postgres = attach(&api, &found.dataset, &order)?;
        all.push((found.dataset, postgres));
    }
    match format {
        Format::Json => {
            let all = all
                .iter()
                .map(|(dataset, postgres)| json!({"dataset": dataset, "postgres": postgres}));
            output::json(&json!({"region": api.name(), "datasets": all.collect::<Vec<_>>()}))?;
        }
        Format::Text => {
            for (dataset, postgres) in &all {
                print(dataset, postgres)?;
            }
        }
    }
    let stuck = all.iter().find(|(_, postgres)| !is_running(postgres));
    stuck.map_or(Ok(()), |(dataset, postgres)| {
        let reason = postgres["reason"].as_str().unwrap_or("it is not attached");
        let failed = CliError::failure(format!("dataset {dataset}: {reason}")).at(api.name());
        Err(match postgres["hint"].as_str() {
            Some(hint) => failed.hint(hint),
            None => failed,
        })
    })
}

fn attach(api: &Api, dataset: &str, order: &str) -> CliResult<Value> {
    let path = format!("/v1/datasets/{}/postgres/attach", encode(dataset));
    let before: Value = api.send("POST", &path, order.as_bytes())?.json()?;
    let tries = number(&before, "tries");
    let is_done = |now: &Value| {
        is_running(now) || (number(now, "tries") > tries && now["state"] != "attaching")
    };
    let bar = ProgressBar::new_spinner();
    let postgres = until(api, dataset, is_done, |now| {
        let rows = thousands(number(now, "rows_compared"));
        bar.set_message(format!("{dataset}: {rows} rows compared"));
        bar.tick();
    });
    bar.finish_and_clear();
    postgres
}

fn is_running(postgres: &Value) -> bool {
    postgres["state"] == "running"
}

fn print(dataset: &str, postgres: &Value) -> CliResult {
    let state = postgres["state"].as_str().unwrap_or("-");
    output::line(&format!("{dataset}: {state}"))?;
    for differing in postgres["differing"].as_array().into_iter().flatten() {
        for line in question(differing) {
            output::line(&line)?;
        }
    }
    let met = &postgres["met"];
    if is_running(postgres) && met.is_object() {
        if let Some(reason) = met["reason"].as_str() {
            output::line(&format!("  compared, since {reason}"))?;
        }
        output::line(&format!(
            "  {} rows compared, {} taken from the server, {} to be written into it",
            thousands(number(met, "rows_compared")),
            thousands(number(met, "rows_taken")),
            thousands(number(met, "rows_to_write"))
        ))?;
    }
    Ok(())
}

/// What is asked about a table: how many rows differ, and the first of them as both sides have them.
fn question(differing: &Value) -> Vec<String> {
    let name = one_line(differing["table"].as_str().unwrap_or_default());
    let (rows, first) = (number(differing, "rows"), &differing["first"]);
    let first: Vec<&Value> = first.as_array().into_iter().flatten().collect();
    let more = if rows > first.len() as u64 {
        ", the first of them"
    } else {
        ""
    };
    let mut lines = vec![format!(
        "  {name} differs in {} rows{more}:",
        thousands(rows)
    )];
    let rows = first.into_iter().map(|row| {
        let [server, regions] = differing_columns([&row["server"], &row["tables"]]);
        let key = one_line(row["key"].as_str().unwrap_or_default());
        vec![key, side(&server), side(&regions)]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        let shown = table(&["key", "server", "regions"], &rows);
        lines.extend(shown.lines().map(|line| format!("    {line}")));
    }
    lines
}

/// Both sides of a row, without the columns that are equal.
fn differing_columns(sides: [&Value; 2]) -> [Value; 2] {
    let [mut server, mut regions] = sides.map(Clone::clone);
    if let (Some(one), Some(other)) = (server.as_object_mut(), regions.as_object_mut())
        && one != other
    {
        let before = one.clone();
        one.retain(|column, value| other.get(column) != Some(value));
        other.retain(|column, value| before.get(column) != Some(value));
    }
    [server, regions]
}

fn side(row: &Value) -> String {
    match row {
        Value::Null => "-".to_owned(),
        row => shortened(row, VALUE_CHARS_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_chosen_for_all_tables_or_for_one() {
        let take = |text: &str| text.parse::<Take>();
        let taken = ["server", "public.a=b=regions", "public.c=server"].map(|it| take(it).unwrap());
        assert_eq!(
            order(&taken).unwrap(),
            json!({"take": "server", "take_in": {"public.a=b": "regions", "public.c": "server"}})
        );
        let all = order(&taken[..1]).unwrap();
        assert_eq!(
            all,
            json!({"take": "server"}),
            "as before there were tables"
        );
        for wrong in [
            "",
            "left",
            "public.a",
            "=server",
            "public.a=",
            "server=public.a",
        ] {
            assert!(take(wrong).is_err(), "{wrong}");
        }
        let both = ["public.a=server", "public.a=regions"].map(|it| take(it).unwrap());
        assert!(order(&both).is_err());
        let both = ["server", "regions"].map(|it| take(it).unwrap());
        assert!(order(&both).is_err());
    }

    #[test]
    fn a_question_shows_what_differs() {
        let differing = json!({"table": "public.t", "rows": 3, "keys": ["1", "2"], "first": [
            {"key": "1", "server": {"id": "1", "what": "there"}, "tables": {"id": "1", "what": "here"}},
            {"key": "2", "server": null, "tables": {"id": "2", "what": "only here"}},
        ]});
        assert_eq!(
            question(&differing),
            [
                "  public.t differs in 3 rows, the first of them:",
                "    key  server            regions",
                r#"    1    {"what":"there"}  {"what":"here"}"#,
                r#"    2    -                 {"id":"2","what":"only here"}"#,
            ]
        );
    }
}
