//! A CSV row as a JSON document.
//!
//! A value that reads as a JSON number keeps its digits: nothing is rounded on its way through a
//! binary float. `007` is no JSON number and stays text.

use super::options::{Columns, Options};
use crate::error::{CliError, CliResult};
use csv::StringRecord;
use std::collections::BTreeSet;

/// How the rows of one CSV file become keys and documents.
#[derive(Debug)]
pub struct Layout {
    columns: Vec<Column>,
    /// Indices of the key columns.
    key: Vec<usize>,
    separator: String,
    null: Vec<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// The name as JSON, with the colon.
    label: String,
    is_text: bool,
}

impl Layout {
    /// The layout of a file with this header row.
    pub fn new(header: &StringRecord, options: &Options) -> CliResult<Self> {
        let file = options.file.display();
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(*name)) {
            return Err(
                CliError::usage(format!("{file}:1: the column {twice:?} is there twice"))
                    .hint("every column needs a name of its own"),
            );
        }
        let index = |name: &String, option: &str| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| {
                let names: Vec<_> = header.iter().collect();
                CliError::usage(format!(
                    "{file} has no column {name:?}, which {option} names"
                ))
                .hint(format!("its columns are {}", names.join(", ")))
            })
        };
        for name in &options.text {
            index(name, "--text")?;
        }
        let key = options.key.iter().map(|name| index(name, "--key"));
        let column = |name: &str| Column {
            name: name.to_owned(),
            label: format!("{}:", quoted(name)),
            is_text: options.columns == Columns::Text || options.text.iter().any(|at| at == name),
        };
        Ok(Self {
            key: key.collect::<CliResult<_>>()?,
            columns: header.iter().map(column).collect(),
            separator: options.key_separator.clone(),
            null: options.null.clone(),
        })
    }

    /// The row's key, or what is wrong with it.
    pub fn key(&self, record: &StringRecord) -> Result<String, String> {
        let mut key = String::new();
        for (count, index) in self.key.iter().enumerate() {
            if count > 0 {
                key.push_str(&self.separator);
            }
            let value = &record[*index];
            if self.is_null(value) {
                let name = &self.columns[*index].name;
                return Err(format!("the key column {name:?} has no value"));
            }
            key.push_str(value);
        }
        Ok(key)
    }

    /// The row's document as JSON text, appended to `out`.
    pub fn document(&self, record: &StringRecord, out: &mut String) {
        out.push('{');
        for (index, (column, value)) in self.columns.iter().zip(record).enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(&column.label);
            if self.is_null(value) {
                out.push_str("null");
            } else if !column.is_text && is_plain_json(value) {
                out.push_str(value);
            } else {
                out.push_str(&quoted(value));
            }
        }
        out.push('}');
    }

    fn is_null(&self, value: &str) -> bool {
        value.is_empty() || self.null.iter().any(|null| null == value)
    }
}

/// A text as a JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text is a JSON number, `true` or `false`, to the letter.
fn is_plain_json(text: &str) -> bool {
    matches!(text, "true" | "false") || is_json_number(text.as_bytes())
}

/// The number grammar of RFC 8259, section 6.
fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    let leading_zero = whole.len() > 1 && whole[0] == b'0';
    if whole.is_empty() || leading_zero {
        return false;
    }
    let rest = match rest.strip_prefix(b".") {
        Some(rest) => match digits(rest) {
            ([], _) => return false,
            (_, rest) => rest,
        },
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let sign = exponent
        .strip_prefix(b"+")
        .or_else(|| exponent.strip_prefix(b"-"));
    let (power, rest) = digits(sign.unwrap_or(exponent));
    !power.is_empty() && rest.is_empty()
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn layout(header: &[&str], arguments: &[&str]) -> CliResult<Layout> {
        let line = ["import", "t", "f.csv"].into_iter();
        let line = Line::parse_from(line.chain(arguments.iter().copied()));
        Layout::new(&StringRecord::from(header.to_vec()), &line.options)
    }

    fn document(layout: &Layout, values: &[&str]) -> String {
        let mut out = String::new();
        layout.document(&StringRecord::from(values.to_vec()), &mut out);
        out
    }

    #[test]
    fn values_become_what_they_look_like() {
        let layout = layout(
            &["a", "b\"", "c", "d", "e"],
            &["--key", "a", "--null", "NA"],
        )
        .unwrap();
        assert_eq!(
            document(&layout, &["1.50", "x\n", "true", "NA", ""]),
            r#"{"a":1.50,"b\"":"x\n","c":true,"d":null,"e":null}"#
        );
    }

    #[test]
    fn text_stays_text_where_that_is_asked() {
        let some = layout(&["a", "b"], &["--key", "a", "--text", "b"]).unwrap();
        assert_eq!(document(&some, &["1", "2"]), r#"{"a":1,"b":"2"}"#);
        let all = layout(&["a", "b"], &["--key", "a", "--columns", "text"]).unwrap();
        assert_eq!(document(&all, &["1", "true"]), r#"{"a":"1","b":"true"}"#);
    }

    #[test]
    fn keys_are_joined_and_have_no_holes() {
        let layout = layout(&["a", "b", "c"], &["--key", "c,a"]).unwrap();
        let record = |values: [&str; 3]| StringRecord::from(values.to_vec());
        assert_eq!(layout.key(&record(["x", "y", "z"])).unwrap(), "z-x");
        assert!(
            layout
                .key(&record(["", "y", "z"]))
                .unwrap_err()
                .contains("\"a\"")
        );
    }

    #[test]
    fn columns_that_are_not_there_are_errors() {
        for arguments in [&["--key", "z"][..], &["--key", "a", "--text", "z"]] {
            let error = layout(&["a"], arguments).unwrap_err().to_string();
            assert!(error.contains("\"z\""), "{error}");
        }
        assert!(layout(&["a", "a"], &["--key", "a"]).is_err());
    }

    #[test]
    fn numbers_are_those_of_json() {
        for good in [
            "0",
            "-0",
            "10",
            "1.25",
            "1e5",
            "1E-5",
            "-1.0e+10",
            "123456789012345678901",
        ] {
            assert!(is_json_number(good.as_bytes()), "{good}");
            assert!(
                serde_json::from_str::<serde_json::Number>(good).is_ok(),
                "{good}"
            );
        }
        for bad in [
            "", "-", "007", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", " 1", "1,5",
        ] {
            assert!(!is_json_number(bad.as_bytes()), "{bad}");
        }
    }
}
