//! Cutting rows into batches, each one transaction.
//!
//! A cut depends on the rows from the last cut on and nothing else, so a run that resumes at a cut
//! makes the same batches as the run before it.

use super::document::quoted;
use super::options::Options;
use super::source::{Place, Row, Source};
use crate::error::CliResult;
use std::fmt::Write;
use xxhash_rust::xxh3::xxh3_128;

/// How large a batch's body grows. A row that is larger goes alone, and the region judges it.
const BODY_BYTES_MAX: usize = 1 << 20;
const HEAD: &str = "{\"operations\":[";
const TAIL: &str = "]}";

/// Rows that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its number in this run, from 0.
    pub number: u64,
    /// The place before its first row.
    pub start: Place,
    /// The place after its last row.
    pub end: Place,
    /// The `Idempotency-Key`.
    pub key: String,
    /// The request's body.
    pub body: String,
}

impl Batch {
    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.end.rows - self.start.rows
    }
}

/// Makes batches of a source.
pub struct Batches {
    source: Source,
    rows_max: u64,
    /// What stands before a key in an operation.
    label: String,
    /// What tells this import from all others: the run, the file and the options.
    identity: String,
    next_number: u64,
    /// A row for which the last batch had no room, and the place after it.
    waiting: Option<(String, Place)>,
    cut: Place,
}

impl Batches {
    /// Batches from where the source stands.
    pub fn new(source: Source, options: &Options, identity: String) -> Self {
        Self {
            cut: source.place(),
            source,
            rows_max: u64::from(options.batch),
            label: format!(
                "{{\"op\":\"put\",\"table\":{},\"key\":",
                quoted(&options.table)
            ),
            identity,
            next_number: 0,
            waiting: None,
        }
    }

    /// The next batch; none at the file's end.
    pub fn next(&mut self) -> CliResult<Option<Batch>> {
        let start = self.cut;
        let mut end = start;
        let mut body = HEAD.to_owned();
        while end.rows - start.rows < self.rows_max {
            let Some((operation, place)) = self.operation()? else {
                break;
            };
            let is_first = end.rows == start.rows;
            if !is_first && body.len() + operation.len() + TAIL.len() >= BODY_BYTES_MAX {
                self.waiting = Some((operation, place));
                break;
            }
            if !is_first {
                body.push(',');
            }
            body.push_str(&operation);
            end = place;
        }
        if end.rows == start.rows {
            return Ok(None);
        }
        body.push_str(TAIL);
        self.cut = end;
        let number = self.next_number;
        self.next_number += 1;
        Ok(Some(Batch {
            number,
            start,
            end,
            key: self.key(start, end),
            body,
        }))
    }

    fn operation(&mut self) -> CliResult<Option<(String, Place)>> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(waiting));
        }
        let Some(Row { key, document }) = self.source.next_row()? else {
            return Ok(None);
        };
        let mut text = String::with_capacity(self.label.len() + key.len() + document.len() + 20);
        write!(
            text,
            "{}{},\"document\":{document}}}",
            self.label,
            quoted(&key)
        )
        .expect("a String takes all that is written to it");
        Ok(Some((text, self.source.place())))
    }

    fn key(&self, start: Place, end: Place) -> String {
        let range = format!("{}\n{}\n{}", self.identity, start.offset, end.offset);
        format!("import-{:032x}", xxh3_128(range.as_bytes()))
    }
}
