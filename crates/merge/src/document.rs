//! A row's document as readers see it.
//!
//! Documents keep the client's own text. Only a document with something on top of it is parsed and
//! written again: fields keep their places, new ones come last, by name.

use crate::{Mixed, Row, Set, value};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

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
    let Some(fields) = value::fields(text) else {
        return Err(FieldError::NotAnObject);
    };
    match fields.get(field) {
        None => Ok(0),
        Some(value) => integer(value).ok_or(FieldError::NotAnInteger),
    }
}

/// The row's document as readers see it; of siblings the newest; `None` where the row is deleted.
#[must_use]
pub fn render(row: &Row) -> Option<Cow<'_, str>> {
    of_base(row).or_else(|| {
        let newest = row.beside().first();
        newest.map(|sibling| Cow::Borrowed(sibling.document.as_str()))
    })
}

/// The base's document with what is on top of it; `None` where the base is a delete and nothing
/// is.
pub(crate) fn of_base(row: &Row) -> Option<Cow<'_, str>> {
    let document = row.base.as_ref().and_then(|base| base.document.as_deref());
    match row.mixed() {
        Some(mixed) if !(mixed.registers.is_empty() && mixed.sets.is_empty()) => {
            overlaid(document, &row.sums, mixed)
        }
        _ => with_increments(document, &row.sums),
    }
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
    let mut fields = match document.map(value::parse) {
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return document.map(Cow::Borrowed),
    };
    add_sums(&mut fields, sums);
    Some(Cow::Owned(Value::Object(fields).to_string()))
}

fn add_sums(fields: &mut Map<String, Value>, sums: &[(String, i128)]) {
    for (field, sum) in sums {
        let value = fields.entry(field.as_str()).or_insert(Value::Null);
        *value = number(integer(value).unwrap_or(0).saturating_add(*sum));
    }
}

/// A document with registers, sums and members on top, in this order.
fn overlaid<'a>(
    document: Option<&'a str>,
    sums: &[(String, i128)],
    mixed: &Mixed,
) -> Option<Cow<'a, str>> {
    let mut fields = match document.map(value::parse) {
        None if sums.is_empty() && mixed.shows_nothing_on_top() => return None,
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => return document.map(Cow::Borrowed),
    };
    let removed: BTreeSet<&str> = mixed
        .registers
        .iter()
        .filter(|register| register.value.is_none())
        .map(|register| register.field.as_str())
        .collect();
    let held = fields.len();
    fields.retain(|field, _| !removed.contains(field.as_str()));
    // What only removes fields that aren't there may be forgotten, in one region before another.
    let removes_nothing = removed.len() == mixed.registers.len() && fields.len() == held;
    if removes_nothing && sums.is_empty() && mixed.sets.is_empty() && document.is_some() {
        return document.map(Cow::Borrowed);
    }
    for register in &mixed.registers {
        if let Some(text) = &register.value {
            fields.insert(register.field.clone(), value::parse(text));
        }
    }
    // Members replace a number that increments make of the same field, so they look first.
    let arrays: Vec<_> = mixed
        .sets
        .iter()
        .filter_map(|set| Some((set, members(set, fields.get(&set.field))?)))
        .collect();
    add_sums(&mut fields, sums);
    for (set, members) in arrays {
        let counted = sums
            .binary_search_by(|(field, _)| field.cmp(&set.field))
            .is_ok();
        if !(counted && set.members.is_empty()) {
            fields.insert(set.field.clone(), Value::Array(members));
        }
    }
    Some(Cow::Owned(Value::Object(fields).to_string()))
}

/// What a set holds on top of the field's value, by canonical text; `None` where the field is no
/// set. A value that is no array counts as an empty set.
fn members(set: &Set, value: Option<&Value>) -> Option<Vec<Value>> {
    let held = value.and_then(Value::as_array);
    if held.is_none() && set.members.is_empty() {
        return None;
    }
    let masked = |text: &String| set.masked.binary_search(text).is_ok();
    let mut members: BTreeMap<String, Value> = held
        .into_iter()
        .flatten()
        .map(|item| (value::canonical(item), item.clone()))
        .filter(|(text, _)| !masked(text))
        .collect();
    for member in &set.members {
        members.insert(member.value.clone(), value::parse(&member.value));
    }
    Some(members.into_values().collect())
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
