//! The options of `tables import`.

use crate::target::Target;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// `meridian tables import`
#[derive(Debug, Args)]
#[command(
    after_help = "CSV has a header row; a row becomes a document with the columns' names. Values that are JSON numbers, true or false become that, empty ones null. A JSON line is a document as it is. A row's key is the values of the key columns joined by the separator. Keys should be distinct in the file: with more than one connection it is not the last row of the file that wins.\n\nStopped by a crash, a failure or Ctrl-C, the same command continues where it was: FILE.meridian-import holds how far all rows are acknowledged.\n\nExample:\n  meridian tables import flights flights.csv --key year,month,day,carrier,flight --null NA"
)]
pub struct Options {
    /// The table to write to
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The file to read
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The columns whose values make a row's key, in this order
    #[arg(long, value_name = "COL", required = true, value_delimiter = ',')]
    pub key: Vec<String>,
    /// What stands between the values in a key
    #[arg(long, value_name = "TEXT", default_value = "-")]
    pub key_separator: String,
    /// How the file is written [default: by its name: .jsonl, .ndjson and .json are JSON lines, all else CSV]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// A CSV value that means null, besides the empty one; may be repeated
    #[arg(long, value_name = "VALUE")]
    pub null: Vec<String>,
    /// CSV columns whose values stay text even if they look like numbers
    #[arg(long, value_name = "COL", value_delimiter = ',')]
    pub text: Vec<String>,
    /// Whether CSV values become numbers and truth values at all
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub columns: Columns,
    /// How many rows a transaction has at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub batch: u32,
    /// How many requests are under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// For how many seconds a batch that the region cannot take now is tried again
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub retry_for: u64,
    /// The file that holds how far the import came [default: FILE.meridian-import]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Begin anew, whatever an earlier import of the file left behind
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub target: Target,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values with a header row (RFC 4180).
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What CSV values become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Columns {
    /// Numbers, truth values and text, by how they look.
    #[default]
    Typed,
    /// Text, all of them.
    Text,
}

impl Options {
    /// How the file is written: as was said, or by its name.
    pub fn file_format(&self) -> FileFormat {
        let by_name = || match self.file.extension().and_then(|name| name.to_str()) {
            Some("jsonl" | "ndjson" | "json") => FileFormat::Jsonl,
            _ => FileFormat::Csv,
        };
        self.format.unwrap_or_else(by_name)
    }

    /// Where the state is kept.
    pub fn state_path(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| beside(&self.file))
    }

    /// Everything that decides how the file becomes batches and where they go, as one text. Two runs
    /// with the same text make the same batches.
    pub fn meaning(&self, url: &str) -> String {
        format!(
            "{:?}",
            (
                &self.table,
                &self.key,
                &self.key_separator,
                self.file_format(),
                &self.null,
                &self.text,
                self.columns,
                self.batch,
                url,
            )
        )
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".meridian-import");
    name.into()
}
