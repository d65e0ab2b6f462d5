//! A table as CSV: a header with every field that any row has, then the rows.
//!
//! ```text
//! first pass: every row ─▶ the names of its fields ─▶ header      (nothing else is kept)
//! second pass: every row ─▶ a cell for each name
//! ```
//!
//! Documents have the fields they have, and only the last row tells which fields there are. So the
//! table is read twice, which costs time and keeps memory to the names alone, however many rows
//! there are; holding rows back until the header is known, in memory or on disk, would have cost
//! what the table weighs. Rows go on being written meanwhile: one that gets a field between the
//! passes that no row had in the first ends the export with an error rather than losing its value.
//! With the columns given there is one pass, and other fields are left out, as asked.

use super::rows::Row;
use crate::error::{CliError, CliResult};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{self, Write};

/// The most columns. A table with more has names that are data, and is none for a sheet.
const COLUMNS_MAX: usize = 10_000;
/// Their names together, in bytes.
const NAMES_BYTES_MAX: usize = 4 << 20;

/// The columns, in the order in which rows brought them.
#[derive(Debug, Default)]
pub struct Columns {
    names: Vec<String>,
    known: HashSet<String>,
    bytes: usize,
}

impl Columns {
    /// These columns.
    pub fn given(names: &[String]) -> CliResult<Self> {
        let mut columns = Self::default();
        for name in names {
            if !columns.known.insert(name.clone()) {
                return Err(CliError::usage(format!("column {name:?} is there twice"))
                    .hint("name each column once"));
            }
            columns.names.push(name.clone());
        }
        Ok(columns)
    }

    /// Takes the names of a row's fields in.
    pub fn add(&mut self, row: &Row) -> CliResult {
        for (name, _) in fields(row)? {
            if self.known.contains(&name) {
                continue;
            }
            self.bytes += name.len();
            if self.names.len() == COLUMNS_MAX || self.bytes > NAMES_BYTES_MAX {
                return Err(CliError::failure(format!(
                    "row {:?} would bring column {}, of at most {COLUMNS_MAX}",
                    row.key,
                    self.names.len() + 1
                ))
                .hint("export with --format jsonl, or choose the fields with --columns"));
            }
            self.known.insert(name.clone());
            self.names.push(name);
        }
        Ok(())
    }
}

/// A sheet being written.
pub struct Sheet<W: Write> {
    out: csv::Writer<W>,
    columns: Columns,
    /// Whether fields that are no column are left out.
    chooses: bool,
}

impl<W: Write> Sheet<W> {
    /// A sheet with its header. Without columns there is no header either.
    pub fn new(out: W, columns: Columns, chooses: bool) -> CliResult<Self> {
        let mut out = csv::Writer::from_writer(out);
        if !columns.names.is_empty() {
            out.write_record(&columns.names).map_err(io::Error::from)?;
        }
        Ok(Self {
            out,
            columns,
            chooses,
        })
    }

    /// Writes a row.
    pub fn write(&mut self, row: &Row) -> CliResult {
        let document = fields(row)?;
        let known = &self.columns.known;
        if let Some(new) = document.keys().find(|name| !known.contains(*name))
            && !self.chooses
        {
            return Err(CliError::failure(format!(
                "row {:?} got a field {new:?} during the export, for which there is no column",
                row.key
            ))
            .hint("run it again, or choose the fields with --columns"));
        }
        let names = self.columns.names.iter();
        let cells = names.map(|name| cell(document.get(name)));
        Ok(self.out.write_record(cells).map_err(io::Error::from)?)
    }

    /// Writes out what is held back.
    pub fn end(mut self) -> CliResult {
        Ok(self.out.flush()?)
    }
}

fn fields(row: &Row) -> CliResult<Map<String, Value>> {
    serde_json::from_str(row.document.get()).map_err(|_| {
        CliError::failure(format!("row {:?} is no JSON object", row.key))
            .hint("only --format jsonl can hold it")
    })
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

    fn columns(documents: &[&str]) -> Columns {
        let mut columns = Columns::default();
        let rows = documents.iter().map(|document| Row::of(document));
        rows.for_each(|row| columns.add(&row).unwrap());
        columns
    }

    fn written(columns: Columns, chooses: bool, documents: &[&str]) -> String {
        let mut out = Vec::new();
        let mut sheet = Sheet::new(&mut out, columns, chooses).unwrap();
        let rows = documents.iter().map(|document| Row::of(document));
        rows.for_each(|row| sheet.write(&row).unwrap());
        sheet.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_field_of_any_row_has_a_column() {
        let documents = [
            r#"{"a":1.50,"b":"x,y"}"#,
            r#"{"b":null,"a":{"c":[1]}}"#,
            r#"{"z":1}"#,
            "{}",
        ];
        let text = written(columns(&documents), false, &documents);
        assert_eq!(
            text,
            "a,b,z\n1.50,\"x,y\",\n\"{\"\"c\"\":[1]}\",,\n,,1\n,,\n"
        );
    }

    #[test]
    fn a_field_that_comes_during_the_export_is_not_lost_in_silence() {
        let known = columns(&[r#"{"a":1}"#]);
        let mut sheet = Sheet::new(Vec::new(), known, false).unwrap();
        let error = sheet.write(&Row::of(r#"{"z":1}"#)).unwrap_err().to_string();
        assert!(error.contains("\"z\""), "{error}");
    }

    #[test]
    fn chosen_columns_leave_other_fields_out() {
        let chosen = Columns::given(&["b".to_owned(), "c".to_owned()]).unwrap();
        let text = written(chosen, true, &[r#"{"a":1,"b":2}"#]);
        assert_eq!(text, "b,c\n2,\n");
        assert!(Columns::given(&["b".to_owned(), "b".to_owned()]).is_err());
    }

    #[test]
    fn names_that_are_data_end_it_before_they_fill_the_memory() {
        let many: Map<_, _> = (0..=COLUMNS_MAX)
            .map(|number| (number.to_string(), Value::Null))
            .collect();
        let error = Columns::default().add(&Row::of(&Value::Object(many).to_string()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("jsonl"), "{error}");
        assert!(columns(&["{}"]).add(&Row::of("1")).is_err(), "no object");
    }
}
