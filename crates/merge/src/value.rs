//! Values within documents: parsed, and as canonical text.

use serde_json::{Map, Value};

/// Documents are checked when they are written; one that doesn't parse has no fields.
pub(crate) fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// The document's fields; `None` where it is no object.
pub(crate) fn fields(text: &str) -> Option<Map<String, Value>> {
    match parse(text) {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// A value's canonical JSON text: no spaces, the fields of objects by name. Members of sets are
/// the same where these are. Numbers keep their digits: 1 and 1.0 are two members.
#[must_use]
pub fn canonical(value: &Value) -> String {
    sorted(value.clone()).to_string()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, value)| (name, sorted(value))).collect())
        }
        other => other,
    }
}

/// The canonical texts of an array's items; `None` of anything else.
pub(crate) fn array(value: &Value) -> Option<Vec<String>> {
    Some(value.as_array()?.iter().map(canonical).collect())
}
