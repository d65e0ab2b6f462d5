//! Stdout is data, stderr is talk.

use crate::error::CliResult;
use serde::Serialize;
use std::io::{self, Write};

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document, or one a line where output goes on.
    Json,
}

/// Prints one line to stdout.
pub fn line(text: &str) -> CliResult {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Prints a JSON document to stdout, indented.
pub fn json(document: &impl Serialize) -> CliResult {
    let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
    line(&text)
}

/// Prints a JSON document to stdout on one line.
pub fn json_line(document: &impl Serialize) -> CliResult {
    let text = serde_json::to_string(document).map_err(io::Error::from)?;
    line(&text)
}

/// Says one thing on stderr. Where stderr is gone there is nobody to tell that.
pub fn talk(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns of text, each as wide as its widest cell; the last one ragged.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head[column].chars().count())
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<_> = std::iter::once(&head)
        .chain(rows)
        .map(|row| {
            let cells = row.iter().zip(&widths);
            let cells: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// Text as one line of a terminal: control characters are shown, not obeyed.
pub fn one_line(text: &str) -> String {
    let show = |character: char| match character {
        control if control.is_control() => control.escape_default().to_string(),
        other => other.to_string(),
    };
    text.chars().map(show).collect()
}

/// A value as JSON, cut where it is longer than that.
pub fn shortened(value: &serde_json::Value, chars_max: usize) -> String {
    let text = value.to_string();
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A number with its thousands apart: 336,776.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [
            vec!["eu-west-1".to_owned(), "1".to_owned()],
            vec!["a".to_owned(), String::new()],
        ];
        assert_eq!(
            table(&["region", "lag"], &rows),
            "region     lag\neu-west-1  1\na"
        );
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let long = serde_json::json!("é".repeat(100));
        assert_eq!(shortened(&long, 60).chars().count(), 61);
        let short = serde_json::json!({"n": 1});
        assert_eq!(shortened(&short, 60), r#"{"n":1}"#);
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(one_line("a\tb\u{1b}é"), "a\\tb\\u{1b}é");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(336_776), "336,776");
        assert_eq!(thousands(1_000_000), "1,000,000");
    }
}
