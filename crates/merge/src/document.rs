//! Integers inside JSON documents.
//!
//! Documents keep the client's own text. Only a document with increments on top of it is parsed
//! and written again: fields keep their places, new ones come last, by name.

use crate::Row;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Why a field can't be incremented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The document is not a JSON object, so it has no fields.
    NotAnObject,
    /// The field holds something that is no integer.
    NotAnInteger,
}

/// The integer in a field of a document; 0 where the document or the field is missing.
///
/// # Errors
/// [`FieldError`] where there is something else than an integer.
pub fn integer_field(document: Option<&str>, field: &str) -> Result<i128, FieldError> {
    let Some(text) = document else { return Ok(0) };
    let Value::Object(fields) = parse(text) else {
        return Err(FieldError::NotAnObject);
    };
    match fields.get(field) {
        None => Ok(0),
        Some(value) => integer(value).ok_or(FieldError::NotAnInteger),
    }
}

/// The row's document as readers see it; `None` where the row is deleted.
#[must_use]
pub fn render(row: &Row) -> Option<Cow<'_, str>> {
    let document = row.base.as_ref().and_then(|base| base.document.as_deref());
    with_increments(document, &row.sums)
}

/// A document with sums added to its fields. A field that is no integer counts as 0; a document
/// that is no object has no fields, and increments leave it as it is.
#[must_use]
pub fn with_increments<'a>(
    document: Option<&'a str>,
    sums: &[(String, i128)],
) -> Option<Cow<'a, str>> {
    if sums.is_empty() {
        return document.map(Cow::Borrowed);
    }
    let mut fields = match document.map(parse) {
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return document.map(Cow::Borrowed),
    };
    for (field, sum) in sums {
        let value = fields.entry(field.as_str()).or_insert(Value::Null);
        *value = number(integer(value).unwrap_or(0).saturating_add(*sum));
    }
    Some(Cow::Owned(Value::Object(fields).to_string()))
}

fn parse(text: &str) -> Value {
    // Documents are checked when they are written; one that doesn't parse has no fields.
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn integer(value: &Value) -> Option<i128> {
    value.as_number()?.as_str().parse().ok()
}

fn number(value: i128) -> Value {
    Value::Number(serde_json::Number::from_string_unchecked(value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(pairs: &[(&str, i128)]) -> Vec<(String, i128)> {
        pairs
            .iter()
            .map(|(field, sum)| ((*field).to_owned(), *sum))
            .collect()
    }

    #[test]
    fn a_document_without_increments_keeps_its_text() {
        let text = r#"{ "b": 1.50, "a": 12345678901234567890123 }"#;
        assert_eq!(with_increments(Some(text), &[]).unwrap(), text);
    }

    #[test]
    fn increments_add_to_integers_and_replace_what_is_none() {
        let document = r#"{"n":5,"word":"x","half":0.5}"#;
        let shown = with_increments(
            Some(document),
            &sums(&[("half", 1), ("n", -7), ("new", 2), ("word", 3)]),
        );
        assert_eq!(shown.unwrap(), r#"{"n":-2,"word":3,"half":1,"new":2}"#);
    }

    #[test]
    fn increments_make_a_missing_document() {
        assert_eq!(
            with_increments(None, &sums(&[("n", 3)])).unwrap(),
            r#"{"n":3}"#
        );
    }

    #[test]
    fn a_document_without_fields_stays_as_it_is() {
        assert_eq!(
            with_increments(Some("[1]"), &sums(&[("n", 3)])).unwrap(),
            "[1]"
        );
    }

    #[test]
    fn sums_may_pass_the_range_of_64_bits() {
        let document = format!(r#"{{"n":{}}}"#, i64::MAX);
        let shown = with_increments(Some(&document), &sums(&[("n", i128::from(i64::MAX))]));
        assert_eq!(shown.unwrap(), r#"{"n":18446744073709551614}"#);
        assert_eq!(
            integer_field(Some(r#"{"n":18446744073709551614}"#), "n"),
            Ok(18_446_744_073_709_551_614)
        );
    }

    #[test]
    fn fields_that_cannot_be_incremented_say_why() {
        assert_eq!(
            integer_field(Some(r#"{"n":"x"}"#), "n"),
            Err(FieldError::NotAnInteger)
        );
        assert_eq!(
            integer_field(Some(r#"{"n":1e3}"#), "n"),
            Err(FieldError::NotAnInteger)
        );
        assert_eq!(integer_field(Some("[]"), "n"), Err(FieldError::NotAnObject));
        assert_eq!(integer_field(Some("{}"), "n"), Ok(0));
        assert_eq!(integer_field(None, "n"), Ok(0));
    }
}
