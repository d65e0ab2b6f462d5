//! Single rows, and lists of them.

use super::known;
use super::promises::{self, Reading, Seen};
use crate::client::{Api, Reply, encode};
use crate::error::{CliError, CliResult, Exit};
use crate::output::{self, Format, one_line};
use crate::target::Target;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::{self, Read};

/// How many rows a page has when all are wanted.
const PAGE_ROWS: u64 = 1000;

/// `meridian tables get`
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the document; with --output json also key and version. Exit code 4 if the row or the table is not there. Of a row with siblings it prints each one's version and document; exit code 5.\n\nExamples:\n  meridian tables get orders 1 --region eu-west-1\n  meridian tables get orders 1 --consistency strong"
)]
pub struct Get {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    target: Target,
}

/// `meridian tables put`
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code 6 if the write is done, but not confirmed by as many regions as the dataset promises.\n\nExamples:\n  meridian tables put orders 1 '{\"item\": \"tea\"}'\n  meridian tables put orders 2 - < order.json\n\nA row with siblings is resolved by a document, with all of their versions in --if-match."
)]
pub struct Put {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    key: String,
    /// The document, any JSON; - reads it from stdin
    #[arg(value_name = "DOCUMENT", allow_hyphen_values = true)]
    document: String,
    /// Only if the row is in this version; may be given several times
    #[arg(long, value_name = "VERSION")]
    if_match: Vec<String>,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    target: Target,
}

/// `meridian tables delete`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  meridian tables delete orders 1")]
pub struct Delete {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// The row's key
    #[arg(value_name = "KEY")]
    key: String,
    #[command(flatten)]
    seen: Seen,
    #[command(flatten)]
    target: Target,
}

/// `meridian tables list`
#[derive(Debug, Args)]
#[command(
    after_help = "One line a row: key, version and document, apart by tabs; with --output json one object a line. A row with siblings has a line for each. Exit code 4 if the table is not there.\n\nExample:\n  meridian tables list orders --limit 10"
)]
pub struct List {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// How many rows at most [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Only rows after this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    target: Target,
}

/// A row of a page.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The version.
    pub version: String,
    /// The document as the region wrote it.
    pub document: Box<RawValue>,
    /// All documents that stand, newest first, where there are several.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
}

/// One of several documents of a row.
#[derive(Debug, Deserialize, Serialize)]
pub struct Sibling {
    version: String,
    document: Box<RawValue>,
}

impl Row {
    /// A row with this document.
    #[cfg(test)]
    pub fn of(document: &str) -> Self {
        Self {
            key: "k".to_owned(),
            version: "1".to_owned(),
            document: RawValue::from_string(document.to_owned()).expect("JSON"),
            siblings: Vec::new(),
        }
    }

    /// The row as programs are told of it.
    pub fn as_json(&self) -> serde_json::Value {
        let Self {
            key,
            version,
            document,
            siblings,
        } = self;
        let mut row = json!({ "key": key, "version": version, "document": document });
        if !siblings.is_empty() {
            row["siblings"] = json!(siblings);
        }
        row
    }
}

/// A row with siblings, as a region shows it.
#[derive(Debug, Deserialize)]
struct Siblings {
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
struct Page {
    rows: Vec<Row>,
    next: Option<String>,
}

pub fn row_path(table: &str, key: &str) -> String {
    format!("/v1/tables/{}/rows/{}", encode(table), encode(key))
}

pub fn get(options: &Get, format: Format) -> CliResult {
    let api = options.target.one()?;
    let path = row_path(&options.table, &options.key);
    let reply = options.reading.get(&api, &path)?;
    if reply.status == 404 && reply.problem().ends_with("row-not-found") {
        known::check(std::slice::from_ref(&api), &options.table)?;
        let detail = format!(
            "there is no row {:?} in table {} of {}",
            options.key,
            options.table,
            api.place()
        );
        return Err(CliError::new(Exit::NotFound, detail).of_region(reply.problem_details()));
    }
    if reply.status == 300 {
        return show_siblings(options, &reply, format);
    }
    let reply = reply.success()?;
    let (version, session) = (reply.version.clone(), reply.session.clone());
    let document: Box<RawValue> = reply.json()?;
    match format {
        Format::Text => output::line(document.get()),
        Format::Json => {
            let mut row = json!({ "key": options.key, "version": version, "document": document });
            tell_session(&mut row, session);
            output::json(&row)
        }
    }
}

fn show_siblings(options: &Get, reply: &Reply, format: Format) -> CliResult {
    let Siblings { siblings } = reply.read()?;
    match format {
        Format::Text => {
            for Sibling { version, document } in &siblings {
                output::line(&format!("{version}\t{}", one_line(document.get())))?;
            }
        }
        Format::Json => output::json(
            &json!({ "key": options.key, "version": reply.version, "siblings": siblings }),
        )?,
    }
    let versions: Vec<_> = siblings
        .iter()
        .map(|sibling| format!("--if-match {}", sibling.version))
        .collect();
    Err(CliError::new(
        Exit::Siblings,
        format!(
            "row {:?} of table {} has {} siblings",
            options.key,
            options.table,
            siblings.len()
        ),
    )
    .hint(format!(
        "choose or merge, and write it: meridian tables put {} {} DOCUMENT {}",
        options.table,
        options.key,
        versions.join(" ")
    )))
}

pub fn put(options: &Put, format: Format) -> CliResult {
    let document = match options.document.as_str() {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| {
                CliError::failure("read the document from stdin").because(&error)
            })?;
            text
        }
        text => text.to_owned(),
    };
    if let Err(error) = serde_json::from_str::<&RawValue>(&document) {
        return Err(CliError::usage("the document is not JSON")
            .because(&error)
            .hint("a text needs quotes of its own: '\"tea\"'"));
    }
    let api = options.target.one()?;
    let path = row_path(&options.table, &options.key);
    let tags: Vec<_> = options
        .if_match
        .iter()
        .map(|version| format!("\"{version}\""))
        .collect();
    let tags = tags.join(", ");
    let headers = [("if-match", tags.as_str())];
    let headers = if tags.is_empty() { &[][..] } else { &headers };
    let body = document.as_bytes();
    let reply = promises::write(&api, "PUT", &path, &options.seen, headers, body)?;
    written(&api, &options.key, &reply, format)
}

pub fn delete(options: &Delete, format: Format) -> CliResult {
    let api = options.target.one()?;
    let path = row_path(&options.table, &options.key);
    let reply = promises::write(&api, "DELETE", &path, &options.seen, &[], &[])?;
    written(&api, &options.key, &reply, format)
}

pub fn written(api: &Api, key: &str, reply: &Reply, format: Format) -> CliResult {
    let version = reply.version.as_deref();
    match format {
        Format::Text => output::line(version.unwrap_or("done"))?,
        Format::Json => {
            let mut row = json!({ "key": key, "version": version });
            tell_session(&mut row, reply.session.clone());
            output::json(&row)?;
        }
    }
    promises::confirmed(api, reply)
}

/// What to bring along next time, where the region says so.
pub fn tell_session(row: &mut Value, session: Option<String>) {
    if let Some(session) = session {
        row["session"] = session.into();
    }
}

pub fn list(options: &List, format: Format) -> CliResult {
    let api = options.target.one()?;
    let mut is_empty = true;
    let after = options.after.clone();
    each_row(
        &api,
        &options.reading,
        &options.table,
        after,
        options.limit,
        |row| {
            is_empty = false;
            match format {
                Format::Text if row.siblings.is_empty() => output::line(&format!(
                    "{}\t{}\t{}",
                    one_line(&row.key),
                    row.version,
                    one_line(row.document.get())
                )),
                Format::Text => row.siblings.iter().try_for_each(|sibling| {
                    output::line(&format!(
                        "{}\t{}\t{}",
                        one_line(&row.key),
                        sibling.version,
                        one_line(sibling.document.get())
                    ))
                }),
                Format::Json => output::json_line(&row.as_json()),
            }
        },
    )?;
    if is_empty {
        known::check(&[api], &options.table)?;
    }
    Ok(())
}

/// Hands on a table's rows in the order of their keys, page by page.
pub fn each_row(
    api: &Api,
    reading: &Reading,
    table: &str,
    mut after: Option<String>,
    limit: Option<u64>,
    mut take: impl FnMut(Row) -> CliResult,
) -> CliResult {
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let count = left.min(PAGE_ROWS);
        let mut path = format!("/v1/tables/{}/rows?limit={count}", encode(table));
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encode(after)));
        }
        let page: Page = reading.get(api, &path)?.json()?;
        for row in page.rows {
            take(row)?;
            left = left.saturating_sub(1);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    Ok(())
}
