//! Rows as documents: how a server's row stands in the dataset's tables.
//!
//! A row's key is its key columns' texts: the text itself where there is one column, a JSON array of
//! texts where there are several. Its document is a JSON object by column name, in the table's
//! order: a column's value is its text as PostgreSQL writes it (`datestyle` ISO, `intervalstyle`
//! postgres, `bytea_output` hex, `extra_float_digits` 3, time zone UTC), `null` for NULL, and a JSON
//! integer for a counter, so that differences add up.

use crate::catalog::Table;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A row's values by column, in the table's order; `None` is NULL.
pub type Values = Vec<Option<String>>;

/// A document or key that doesn't fit its table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It isn't JSON of the right shape.
    #[error("the document of a row of {table} is no object of texts: {reason}")]
    Shape {
        /// The table.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// It has a column that the table lacks, or lacks one.
    #[error("the document of a row of {table} and the table differ in column {column}")]
    Columns {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The key has another number of columns.
    #[error("{key:?} is no key of {table}")]
    Key {
        /// The table.
        table: String,
        /// The key.
        key: String,
    },
}

/// The key of a row.
#[must_use]
pub fn key(table: &Table, values: &Values) -> String {
    key_of(
        table
            .key
            .iter()
            .map(|column| values[*column].as_deref().unwrap_or_default()),
    )
}

fn key_of<'a>(mut texts: impl ExactSizeIterator<Item = &'a str>) -> String {
    if texts.len() == 1 {
        return texts.next().unwrap_or_default().to_owned();
    }
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts are JSON")
}

/// The texts of a key's columns, in the order of the key.
///
/// # Errors
/// [`DocumentError::Key`] when it is none of this table.
pub fn key_values(table: &Table, key: &str) -> Result<Vec<String>, DocumentError> {
    let error = || DocumentError::Key {
        table: table.name.to_string(),
        key: key.to_owned(),
    };
    if table.key.len() == 1 {
        return Ok(vec![key.to_owned()]);
    }
    let texts: Vec<String> = serde_json::from_str(key).map_err(|_| error())?;
    if texts.len() == table.key.len() {
        Ok(texts)
    } else {
        Err(error())
    }
}

/// The document of a row.
#[must_use]
pub fn document(table: &Table, values: &Values) -> String {
    let mut json = Vec::with_capacity(32 * values.len());
    for (column, value) in table.columns.iter().zip(values) {
        json.push(if json.is_empty() { b'{' } else { b',' });
        write(&mut json, column.name.as_str());
        json.push(b':');
        match value {
            None => json.extend_from_slice(b"null"),
            Some(text) if column.is_counter => match serde_json::from_str(text) {
                Ok(number) => write::<serde_json::Value>(&mut json, &number),
                Err(_) => write(&mut json, text.as_str()),
            },
            Some(text) => write(&mut json, text.as_str()),
        }
    }
    if json.is_empty() {
        json.push(b'{');
    }
    json.push(b'}');
    String::from_utf8(json).expect("JSON is UTF-8")
}

fn write<T: serde::Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("memory takes all JSON");
}

/// The values that a document gives a row.
///
/// # Errors
/// [`DocumentError`] when it doesn't fit the table.
pub fn values(table: &Table, document: &str) -> Result<Values, DocumentError> {
    let shape = |reason: String| DocumentError::Shape {
        table: table.name.to_string(),
        reason,
    };
    let columns = |column: &str| DocumentError::Columns {
        table: table.name.to_string(),
        column: column.to_owned(),
    };
    let fields = fields(document).map_err(|error| shape(error.to_string()))?;
    let mut values: Vec<Option<Option<String>>> = vec![None; table.columns.len()];
    let mut next = 0;
    for (name, value) in fields {
        // Mostly they come in the table's order.
        let is_next = table.columns.get(next).is_some_and(|it| it.name == name);
        let place = if is_next {
            Some(next)
        } else {
            table.columns.iter().position(|it| it.name == name)
        };
        let place = place.ok_or_else(|| columns(&name))?;
        next = place + 1;
        values[place] = Some(match value {
            Value::Null => None,
            Value::Text(text) => Some(text.into_owned()),
            Value::Other(text) if is_number(text) => Some(text.to_owned()),
            Value::Other(other) => return Err(shape(format!("{name} is {other}"))),
        });
    }
    let named = values.into_iter().zip(&table.columns);
    named
        .map(|(value, column)| match value {
            Some(value) => Ok(value),
            // A column that came later is NULL in rows from before.
            None if column.is_nullable => Ok(None),
            None => Err(columns(&column.name)),
        })
        .collect()
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

/// A digest that is the same for documents with the same values, in whatever order. A number and its
/// text are the same value of a column.
pub(crate) fn digest(document: &str) -> u64 {
    let Ok(fields) = fields(document) else {
        return xxh3_64(document.as_bytes());
    };
    let digests = fields.iter().map(|(name, value)| {
        let (kind, text) = match value {
            Value::Null => (0, ""),
            Value::Text(text) => (1, text.as_ref()),
            Value::Other(text) if is_number(text) => (1, *text),
            Value::Other(text) => (2, *text),
        };
        let seed = xxh3_64_with_seed(name.as_bytes(), kind);
        xxh3_64_with_seed(text.as_bytes(), seed)
    });
    digests.fold(fields.len() as u64, u64::wrapping_add)
}

/// A value of a document, as it stands in its text where it can.
enum Value<'a> {
    Null,
    Text(Cow<'a, str>),
    Other(&'a str),
}

/// A document's fields in their order, with nothing copied that needn't be.
fn fields(document: &str) -> serde_json::Result<Vec<(Cow<'_, str>, Value<'_>)>> {
    let Fields(fields) = serde_json::from_str(document)?;
    let fields = fields.into_iter().map(|(Name(name), raw)| {
        let raw = raw.get();
        let value = match raw.as_bytes() {
            b"null" => Value::Null,
            [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                Value::Text(Cow::Borrowed(&raw[1..raw.len() - 1]))
            }
            [b'"', ..] => Value::Text(Cow::Owned(serde_json::from_str(raw)?)),
            _ => Value::Other(raw),
        };
        Ok((name, value))
    });
    fields.collect()
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Fields<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for Visit<'a> {
            type Value = Fields<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'a>, M::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Visit(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Column, TableName};

    fn table(key: &[usize]) -> Table {
        let column = |name: &str, type_name: &str, is_counter| Column {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            is_nullable: true,
            is_counter,
            is_identity_always: false,
        };
        Table {
            name: TableName {
                schema: "public".to_owned(),
                name: "t".to_owned(),
            },
            columns: vec![
                column("a", "integer", false),
                column("b", "text", false),
                column("n", "bigint", true),
            ],
            key: key.to_vec(),
            unique: Vec::new(),
            references: Vec::new(),
        }
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_row_goes_there_and_back() {
        let table = table(&[0]);
        for row in [
            vec![text("1"), text("it's \"so\"\n\u{1}ß"), text("-7")],
            vec![text("1"), text("\\"), text("NaN")],
            vec![text("1"), text(""), text("0")],
            vec![text("1"), None, None],
        ] {
            let document = document(&table, &row);
            assert_eq!(values(&table, &document), Ok(row));
        }
        let document = document(&table, &vec![text("1"), text("x"), text("3")]);
        assert_eq!(document, r#"{"a":"1","b":"x","n":3}"#);
    }

    #[test]
    fn a_digest_is_that_of_the_values() {
        assert_eq!(digest(r#"{"a":"1","n":2}"#), digest(r#"{"n":2, "a":"1"}"#));
        assert_eq!(digest(r#"{"n":"2"}"#), digest(r#"{"n":2}"#));
        assert_eq!(digest(r#"{"n":"a\"b"}"#), digest(r#"{"n":"a\u0022b"}"#));
        assert_ne!(digest(r#"{"n":"null"}"#), digest(r#"{"n":null}"#));
        assert_ne!(digest(r#"{"n":""}"#), digest(r#"{"n":null}"#));
        assert_ne!(digest(r#"{"a":"1"}"#), digest(r#"{"b":"1"}"#));
        assert_ne!(
            digest(r#"{"a":"1","b":"2"}"#),
            digest(r#"{"a":"2","b":"1"}"#)
        );
        assert_ne!(digest("x"), digest("y"));
    }

    #[test]
    fn a_key_of_several_columns_is_unambiguous() {
        let one = table(&[1]);
        let row = vec![text("1"), text("[x"), None];
        assert_eq!(key(&one, &row), "[x");
        assert_eq!(key_values(&one, "[x"), Ok(vec!["[x".to_owned()]));
        let two = table(&[1, 0]);
        assert_eq!(key(&two, &row), r#"["[x","1"]"#);
        assert_eq!(
            key_values(&two, r#"["[x","1"]"#),
            Ok(vec!["[x".to_owned(), "1".to_owned()])
        );
        assert!(key_values(&two, "[x").is_err());
        assert!(key_values(&two, r#"["x"]"#).is_err());
    }

    #[test]
    fn a_document_of_another_shape_of_the_table_is_told() {
        let table = table(&[0]);
        let column = |document: &str| values(&table, document);
        let later = vec![text("1"), None, None];
        assert_eq!(column(r#"{"a":"1","b":null}"#), Ok(later));
        assert!(matches!(
            column(r#"{"a":"1","b":null,"n":1,"z":"1"}"#),
            Err(DocumentError::Columns { column, .. }) if column == "z"
        ));
        assert!(matches!(
            column(r#"{"a":["1"],"b":null,"n":1}"#),
            Err(DocumentError::Shape { .. })
        ));
        assert!(matches!(column("7"), Err(DocumentError::Shape { .. })));
    }
}
