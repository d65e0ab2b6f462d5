//! `meridian tables export`: a table's rows on stdout, streaming.

use super::rows::{Row, each_row};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, thousands};
use crate::target::Target;
use clap::{Args, ValueEnum};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::io::{self, BufWriter, Write};

/// `meridian tables export`
#[derive(Debug, Args)]
#[command(
    after_help = "JSON lines are the documents, or with --output json objects with key, version and document (and\nsiblings, where a row has any; else the newest of them is the document). In\nCSV the columns are the fields of the first document; a field that turns up later is an error,\nand one that is missing is empty.\n\nExample:\n  meridian tables export orders > orders.jsonl"
)]
pub struct Options {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// How rows are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: FileFormat,
    #[command(flatten)]
    target: Target,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// One JSON document a line.
    #[default]
    Jsonl,
    /// Comma-separated values with a header row (RFC 4180).
    Csv,
}

pub fn run(options: &Options, format: Format) -> CliResult {
    let api = options.target.one()?;
    let stdout = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let mut rows = 0;
    let mut with_siblings = 0;
    match options.format {
        FileFormat::Jsonl => {
            let mut out = stdout;
            each_row(&api, &options.table, None, None, |row| {
                rows += 1;
                with_siblings += u64::from(!row.siblings.is_empty());
                write_line(&mut out, &row, format)
            })?;
            out.flush()?;
        }
        FileFormat::Csv => {
            let mut sheet = Sheet {
                out: csv::Writer::from_writer(stdout),
                columns: None,
            };
            each_row(&api, &options.table, None, None, |row| {
                rows += 1;
                with_siblings += u64::from(!row.siblings.is_empty());
                sheet.write(&row)
            })?;
            sheet.out.flush()?;
        }
    }
    output::talk(&format!("exported {} rows", thousands(rows)));
    if with_siblings > 0 {
        output::talk(&format!(
            "{} of them have siblings: the newest of each was written as the document",
            thousands(with_siblings)
        ));
    }
    Ok(())
}

/// A line of JSON. Documents come without line breaks, but nothing here relies on it.
fn write_line(out: &mut impl Write, row: &Row, format: Format) -> CliResult {
    let text = match format {
        Format::Text => one_line(&row.document)?,
        Format::Json => row.as_json().to_string(),
    };
    out.write_all(text.as_bytes())?;
    Ok(out.write_all(b"\n")?)
}

fn one_line(document: &RawValue) -> CliResult<String> {
    let text = document.get();
    if !text.contains('\n') {
        return Ok(text.to_owned());
    }
    let value: Value = serde_json::from_str(text).map_err(io::Error::from)?;
    Ok(value.to_string())
}

struct Sheet<W: Write> {
    out: csv::Writer<W>,
    columns: Option<Vec<String>>,
}

impl<W: Write> Sheet<W> {
    fn write(&mut self, row: &Row) -> CliResult {
        let document: Map<String, Value> =
            serde_json::from_str(row.document.get()).map_err(|_| {
                CliError::failure(format!("row {:?} is no JSON object", row.key))
                    .hint("only --format jsonl can hold it")
            })?;
        if self.columns.is_none() {
            let names: Vec<_> = document.keys().cloned().collect();
            self.out.write_record(&names).map_err(io::Error::from)?;
            self.columns = Some(names);
        }
        let columns = self.columns.as_deref().unwrap_or_default();
        if let Some(new) = document.keys().find(|name| !columns.contains(name)) {
            return Err(CliError::failure(format!(
                "row {:?} has a field {new:?} that the first row has not",
                row.key
            ))
            .hint("only --format jsonl can hold rows with different fields"));
        }
        let cells = columns.iter().map(|name| cell(document.get(name)));
        Ok(self.out.write_record(cells).map_err(io::Error::from)?)
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(document: &str) -> Row {
        Row {
            key: "k".to_owned(),
            version: "1".to_owned(),
            document: RawValue::from_string(document.to_owned()).unwrap(),
            siblings: Vec::new(),
        }
    }

    #[test]
    fn csv_has_the_first_rows_columns() {
        let mut sheet = Sheet {
            out: csv::Writer::from_writer(Vec::new()),
            columns: None,
        };
        sheet.write(&row(r#"{"a":1.50,"b":"x,y"}"#)).unwrap();
        sheet.write(&row(r#"{"b":null,"a":{"c":[1]}}"#)).unwrap();
        let error = sheet.write(&row(r#"{"z":1}"#)).unwrap_err().to_string();
        assert!(error.contains("\"z\""), "{error}");
        let text = String::from_utf8(sheet.out.into_inner().unwrap()).unwrap();
        assert_eq!(text, "a,b\n1.50,\"x,y\"\n\"{\"\"c\"\":[1]}\",\n");
    }

    #[test]
    fn a_document_is_one_line() {
        let mut out = Vec::new();
        write_line(&mut out, &row("{\n\"a\": 1}"), Format::Text).unwrap();
        assert_eq!(out, b"{\"a\":1}\n");
    }
}
