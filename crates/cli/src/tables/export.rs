//! `meridian tables export`: a table's rows on stdout, streaming.

use super::known;
use super::promises::Reading;
use super::rows::{Row, each_row};
use super::sheet::{Columns, Sheet};
use crate::error::{CliError, CliResult};
use crate::output::{self, Format, thousands};
use crate::target::Target;
use clap::{Args, ValueEnum};
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{self, BufWriter, Write};

/// `meridian tables export`
#[derive(Debug, Args)]
#[command(
    after_help = "JSON lines are the documents, or with --output json objects with key, version and document (and siblings, where a row has any; else the newest of them is the document). In CSV the columns are all fields that any row has, in the order in which they come, for which the table is read twice; a field that a row lacks is empty. Exit code 4 if the table is not there.\n\nExamples:\n  meridian tables export orders > orders.jsonl\n  meridian tables export orders --format csv --columns item,price"
)]
pub struct Options {
    /// The table
    #[arg(value_name = "TABLE")]
    table: String,
    /// How rows are written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: FileFormat,
    /// CSV: only these fields, apart by commas; may be repeated [default: all]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    columns: Vec<String>,
    #[command(flatten)]
    reading: Reading,
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
    let chooses = !options.columns.is_empty();
    if chooses && options.format != FileFormat::Csv {
        return Err(
            CliError::usage("--columns is for CSV, where each field is a column")
                .hint("add --format csv"),
        );
    }
    let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    let mut counts = Counts::default();
    match options.format {
        FileFormat::Jsonl => {
            each_row(&api, &options.reading, &options.table, None, None, |row| {
                counts.count(&row);
                write_line(&mut out, &row, format)
            })?;
            out.flush()?;
        }
        FileFormat::Csv => {
            let mut columns = Columns::given(&options.columns)?;
            if !chooses {
                each_row(&api, &options.reading, &options.table, None, None, |row| {
                    columns.add(&row)
                })?;
            }
            let mut sheet = Sheet::new(out, columns, chooses)?;
            each_row(&api, &options.reading, &options.table, None, None, |row| {
                counts.count(&row);
                sheet.write(&row)
            })?;
            sheet.end()?;
        }
    }
    if counts.rows == 0 {
        known::check(&[api], &options.table)?;
    }
    counts.tell();
    Ok(())
}

#[derive(Default)]
struct Counts {
    rows: u64,
    with_siblings: u64,
}

impl Counts {
    fn count(&mut self, row: &Row) {
        self.rows += 1;
        self.with_siblings += u64::from(!row.siblings.is_empty());
    }

    fn tell(&self) {
        output::talk(&format!("exported {} rows", thousands(self.rows)));
        if self.with_siblings > 0 {
            output::talk(&format!(
                "{} of them have siblings: the newest of each was written as the document",
                thousands(self.with_siblings)
            ));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_line() {
        let mut out = Vec::new();
        write_line(&mut out, &Row::of("{\n\"a\": 1}"), Format::Text).unwrap();
        assert_eq!(out, b"{\"a\":1}\n");
    }
}
