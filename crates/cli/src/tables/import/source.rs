//! The rows of a file, one after the other, with the place after each.

use super::document::Layout;
use super::options::{FileFormat, Options};
use crate::error::{CliError, CliResult};
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The longest line of JSON; a region takes no document near it.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// A place between two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Bytes of the file before it.
    pub offset: u64,
    /// The line it is on, from 1.
    pub line: u64,
    /// Rows before it.
    pub rows: u64,
}

/// One row.
#[derive(Debug)]
pub struct Row {
    /// The key.
    pub key: String,
    /// The document, JSON text.
    pub document: String,
}

/// A file being read.
pub enum Source {
    /// Comma-separated values.
    Csv(Box<CsvSource>),
    /// JSON lines.
    Jsonl(JsonSource),
}

/// A row that cannot be read, and where it is.
pub fn malformed(file: &Path, line: u64, reason: &str) -> CliError {
    CliError::failure(format!("{}:{line}: {reason}", file.display()))
        .hint("put the line right and run the import again; it then begins anew")
}

fn unreadable(file: &Path, error: &dyn std::error::Error) -> CliError {
    CliError::failure(format!("read {}", file.display())).because(error)
}

impl Source {
    /// Opens a file and goes to a place in it, or to its first row.
    pub fn open(options: &Options, from: Option<Place>) -> CliResult<Self> {
        let path = &options.file;
        let file = File::open(path)
            .map_err(|error| CliError::usage(format!("open {}", path.display())).because(&error))?;
        match options.file_format() {
            FileFormat::Csv => {
                CsvSource::open(file, options, from).map(|source| Self::Csv(Box::new(source)))
            }
            FileFormat::Jsonl => JsonSource::open(file, options, from).map(Self::Jsonl),
        }
    }

    /// The place after the last row that was read.
    pub fn place(&self) -> Place {
        match self {
            Self::Csv(source) => source.place,
            Self::Jsonl(source) => source.place,
        }
    }

    /// The next row; none at the end.
    pub fn next_row(&mut self) -> CliResult<Option<Row>> {
        match self {
            Self::Csv(source) => source.next_row(),
            Self::Jsonl(source) => source.next_row(),
        }
    }
}

/// A CSV file being read.
pub struct CsvSource {
    path: PathBuf,
    reader: csv::Reader<File>,
    layout: Layout,
    record: StringRecord,
    place: Place,
}

impl CsvSource {
    fn open(file: File, options: &Options, from: Option<Place>) -> CliResult<Self> {
        let path = options.file.clone();
        let marked = match from {
            Some(from) => {
                begins_with_mark(&file, from.offset).map_err(|error| unreadable(&path, &error))?
            }
            None => false,
        };
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(256 << 10)
            .from_reader(file);
        let header = reader.headers().map_err(|error| csv_error(&path, &error))?;
        if header.is_empty() {
            return Err(
                CliError::usage(format!("{} has no header row", path.display()))
                    .hint("the first row of a CSV file names its columns"),
            );
        }
        let layout = Layout::new(header, options)?;
        if let Some(from) = from.filter(|_| marked) {
            // Where it is sent to, the reader would take the mark for the file's own and leave it
            // out, so it goes there row by row.
            let mut skipped = StringRecord::new();
            for _ in 0..from.rows {
                reader
                    .read_record(&mut skipped)
                    .map_err(|error| csv_error(&path, &error))?;
            }
        } else if let Some(from) = from {
            let mut to = csv::Position::new();
            to.set_byte(from.offset)
                .set_line(from.line)
                .set_record(from.rows + 1);
            reader.seek(to).map_err(|error| csv_error(&path, &error))?;
        }
        let mut source = Self {
            path,
            reader,
            layout,
            record: StringRecord::new(),
            place: from.unwrap_or_default(),
        };
        source.arrive(source.place.rows);
        Ok(source)
    }

    fn arrive(&mut self, rows: u64) {
        let position = self.reader.position();
        self.place = Place {
            offset: position.byte(),
            line: position.line(),
            rows,
        };
    }

    fn next_row(&mut self) -> CliResult<Option<Row>> {
        let read = self.reader.read_record(&mut self.record);
        if !read.map_err(|error| csv_error(&self.path, &error))? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let key = self.layout.key(&self.record);
        let key = key.map_err(|reason| malformed(&self.path, line, &reason))?;
        let mut document = String::new();
        self.layout.document(&self.record, &mut document);
        self.arrive(self.place.rows + 1);
        Ok(Some(Row { key, document }))
    }
}

/// Whether the bytes at an offset are a byte order mark.
fn begins_with_mark(file: &File, offset: u64) -> std::io::Result<bool> {
    const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
    let mut bytes = [0; MARK.len()];
    let read = file.read_at(&mut bytes, offset)?;
    Ok(bytes[..read] == MARK)
}

fn csv_error(path: &Path, error: &csv::Error) -> CliError {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => malformed(
            path,
            line,
            &format!("the row has {len} values where the header has {expected_len}"),
        ),
        csv::ErrorKind::Utf8 { .. } => malformed(path, line, "the row is not UTF-8"),
        _ => unreadable(path, error),
    }
}

/// A file of JSON lines being read.
pub struct JsonSource {
    path: PathBuf,
    reader: BufReader<File>,
    key: Vec<String>,
    separator: String,
    line: Vec<u8>,
    place: Place,
}

impl JsonSource {
    fn open(mut file: File, options: &Options, from: Option<Place>) -> CliResult<Self> {
        let place = from.unwrap_or(Place {
            line: 1,
            ..Place::default()
        });
        file.seek(SeekFrom::Start(place.offset))
            .map_err(|error| unreadable(&options.file, &error))?;
        Ok(Self {
            path: options.file.clone(),
            reader: BufReader::with_capacity(256 << 10, file),
            key: options.key.clone(),
            separator: options.key_separator.clone(),
            line: Vec::new(),
            place,
        })
    }

    fn next_row(&mut self) -> CliResult<Option<Row>> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
            let count = limited
                .read_until(b'\n', &mut self.line)
                .map_err(|error| unreadable(&self.path, &error))? as u64;
            if count == 0 {
                return Ok(None);
            }
            let line = self.place.line;
            if count == LINE_BYTES_MAX && !self.line.ends_with(b"\n") {
                return Err(malformed(
                    &self.path,
                    line,
                    "the line is longer than 16 MiB",
                ));
            }
            self.place.offset += count;
            self.place.line += 1;
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            let row = self
                .row()
                .map_err(|reason| malformed(&self.path, line, &reason))?;
            self.place.rows += 1;
            return Ok(Some(row));
        }
    }

    fn row(&self) -> Result<Row, String> {
        let text = std::str::from_utf8(self.line.trim_ascii())
            .map_err(|_| "the line is not UTF-8".to_owned())?;
        let document: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("the line is no JSON object: {error}"))?;
        let parts: Vec<_> = self
            .key
            .iter()
            .map(|name| key_part(name, document.get(name)))
            .collect::<Result<_, _>>()?;
        Ok(Row {
            key: parts.join(&self.separator),
            document: text.to_owned(),
        })
    }
}

fn key_part(name: &str, value: Option<&Value>) -> Result<String, String> {
    match value {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
        Some(Value::Object(_) | Value::Array(_)) => Err(format!(
            "the key field {name:?} is neither text nor a number"
        )),
        _ => Err(format!("the key field {name:?} has no value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    /// What has a meaning in either format, and what has none in any.
    const PIECES: &[&[u8]] = &[
        b"a",
        b"k",
        b",",
        b"\"",
        b"\n",
        b"\r\n",
        b"{",
        b"}",
        b":",
        b"1",
        b"-",
        b"e9",
        b"null",
        b"{\"k\":\"x\"}\n",
        b"{\"k\":7,\"a\":[]}\n",
        b"x,y\n",
        b"\"a\nb\",2\n",
        b"\\u00e9",
        b"\xc3\xa9",
        b"\xff",
        b"\0",
        b" ",
        b"\t",
        b"\xef\xbb\xbf",
    ];

    fn read(options: &Options, from: Option<Place>) -> (Vec<(String, String)>, Vec<Place>, bool) {
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        let Ok(mut source) = Source::open(options, from) else {
            return (rows, places, false);
        };
        loop {
            places.push(source.place());
            match source.next_row() {
                Ok(Some(row)) => rows.push((row.key, row.document)),
                Ok(None) => return (rows, places, true),
                Err(_) => return (rows, places, false),
            }
        }
    }

    /// Whatever a file holds, reading ends, every document is JSON, and from the place after any row
    /// the rest is read as if it had been read on.
    #[test]
    fn any_file_is_read_to_its_end_or_refused_and_from_any_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let mut read_in_full = 0;
        for (name, header) in [("rows.csv", &b"k,a\n"[..]), ("rows.jsonl", b"")] {
            let file = directory.path().join(name);
            let words = ["import", "t", file.to_str().unwrap(), "--key", "k"];
            let options = Command::parse_from(words).options;
            for _ in 0..2000 {
                let mut bytes = header.to_vec();
                for _ in 0..random.usize(0..12) {
                    bytes.extend_from_slice(random.choice(PIECES).unwrap());
                }
                std::fs::write(&file, &bytes).unwrap();
                let (rows, places, whole) = read(&options, None);
                assert!(rows.len() <= bytes.len());
                for (_, document) in &rows {
                    serde_json::from_str::<Map<String, Value>>(document).unwrap();
                }
                read_in_full += usize::from(whole && !rows.is_empty());
                for (index, place) in places.iter().enumerate() {
                    let (rest, _, ended) = read(&options, Some(*place));
                    assert_eq!(
                        (&rest[..], ended),
                        (&rows[index..], whole),
                        "{bytes:?} {place:?}"
                    );
                }
            }
        }
        assert!(read_in_full > 100, "{read_in_full} files were read in full");
    }
}
