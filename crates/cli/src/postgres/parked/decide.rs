//! `meridian postgres parked show`, `retry`, `edit` and `drop`

use super::Row;
use crate::client::{Api, Reply, encode};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format};
use clap::Args;
use serde_json::{Map, Value, json};

/// The problem of a region in which the row isn't parked.
const NOT_PARKED: &str = "/problems/parked-row-not-found";

/// `meridian postgres parked drop`
#[derive(Debug, Args)]
#[command(
    after_help = "The row is deleted by a transaction, in every region once that reaches them. Refused if the row isn't parked any more, or if it was written since it was read (exit code 1).\n\nExample:\n  meridian postgres parked drop public.users 7"
)]
pub struct Drop {
    #[command(flatten)]
    row: Row,
    /// The version that was read [default: the one it has now]
    #[arg(long, value_name = "VERSION")]
    if_match: Option<String>,
}

/// `meridian postgres parked edit`
#[derive(Debug, Args)]
#[command(
    after_help = "The row is written anew by a transaction, the newest of all: where it still collides with others, it is they that are parked. Values are texts as PostgreSQL reads them. Refused if the row isn't parked any more, or if it was written since it was read (exit code 1).\n\nExample:\n  meridian postgres parked edit public.users 7 --set email=ada@example.com"
)]
pub struct Edit {
    #[command(flatten)]
    row: Row,
    /// A column's new value; may be repeated
    #[arg(long, value_name = "COLUMN=VALUE")]
    set: Vec<String>,
    /// A column that becomes NULL; may be repeated
    #[arg(long, value_name = "COLUMN")]
    set_null: Vec<String>,
    /// The version that was read [default: the one it has now]
    #[arg(long, value_name = "VERSION")]
    if_match: Option<String>,
}

pub fn show(row: &Row) -> CliResult {
    let (_, reply) = row.where_parked("GET", "", None, &[])?;
    output::json(&reply.json::<Value>()?)
}

/// Every server decides for itself, so every region is asked.
pub fn retry(row: &Row, format: Format) -> CliResult {
    let mut outcomes = Vec::new();
    let mut missing = None;
    for api in row.target.all_by_name()? {
        let reply = api.send("POST", &row.path("/retry"), &[])?;
        if reply.problem() == NOT_PARKED {
            missing = reply.success().err();
            continue;
        }
        let outcome: Value = reply.success()?.json()?;
        outcomes.push((api, outcome));
    }
    if outcomes.is_empty() {
        return Err(missing.unwrap_or_else(|| CliError::failure("the system has no regions")));
    }
    if format == Format::Json {
        let all = outcomes.iter().map(|(api, outcome)| {
            json!({"region": api.name(), "parked": outcome["parked"], "detail": outcome["detail"]})
        });
        return output::json(&all.collect::<Vec<_>>());
    }
    for (api, outcome) in &outcomes {
        let said = match outcome["detail"].as_str() {
            Some(detail) => format!("{}: still parked: {detail}", api.name()),
            None => format!("{}: shown", api.name()),
        };
        output::line(&said)?;
    }
    Ok(())
}

pub fn edit(edit: &Edit, format: Format) -> CliResult {
    let mut set = Map::new();
    for pair in &edit.set {
        let Some((column, value)) = pair.split_once('=') else {
            return Err(CliError::usage(format!("{pair:?} is not COLUMN=VALUE")));
        };
        set.insert(column.to_owned(), value.into());
    }
    set.extend(edit.set_null.iter().map(|it| (it.clone(), Value::Null)));
    let body = json!({"set": set}).to_string();
    let if_match = edit.if_match.as_deref();
    let (api, reply) = edit
        .row
        .where_parked("POST", "/edit", if_match, body.as_bytes())?;
    said(&api, &edit.row, &reply, "written anew", format)
}

pub fn drop_it(drop: &Drop, format: Format) -> CliResult {
    let if_match = drop.if_match.as_deref();
    let (api, reply) = drop.row.where_parked("DELETE", "", if_match, &[])?;
    said(&api, &drop.row, &reply, "deleted", format)
}

impl Row {
    fn path(&self, verb: &str) -> String {
        let (table, key) = (encode(&self.table), encode(&self.key));
        format!("/v1/parked/{table}/{key}{verb}")
    }

    /// Asks the regions one after another until one has the row parked; its reply.
    fn where_parked(
        &self,
        method: &str,
        verb: &str,
        if_match: Option<&str>,
        body: &[u8],
    ) -> CliResult<(Api, Reply)> {
        let tag = if_match.map(|version| format!("\"{version}\""));
        let headers: Vec<_> = tag.iter().map(|tag| ("if-match", tag.as_str())).collect();
        let mut last = CliError::failure("the system has no regions");
        for api in self.target.all_by_name()? {
            let reply = api.call(method, &self.path(verb), &headers, body);
            match reply {
                Ok(reply) if reply.problem() != NOT_PARKED => return Ok((api, reply.success()?)),
                Ok(reply) => last = reply.success().err().unwrap_or(last),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

fn said(api: &Api, row: &Row, reply: &Reply, what: &str, format: Format) -> CliResult {
    let Row { table, key, .. } = row;
    if format == Format::Text {
        output::talk(&format!(
            "{table}/{key} is {what}, by region {}",
            api.name()
        ));
        return Ok(());
    }
    let transaction: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    output::json(&json!({
        "region": api.name(), "table": table, "key": key, "transaction": transaction,
    }))
}
