//! A put as the changes of fields that it comes to.

use meridian_merge::canonical;
use meridian_model::{Edit, Members};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// What a put comes to where each field is by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// One of the documents is no object, or the put makes an empty one: it is put as a whole.
    Whole,
    /// Only these fields are written; none where nothing differs.
    Fields(Edit),
}

/// The fields in which a document differs from the one before it. With `sets`, an array that takes
/// the place of an array adds and removes members, and a new one adds all of its own.
pub(crate) fn difference(before: Option<&str>, after: &str, sets: bool) -> Difference {
    let (Some(before), Some(after)) = (before.map_or(Some(Map::new()), fields), fields(after))
    else {
        return Difference::Whole;
    };
    if before.is_empty() && after.is_empty() {
        return Difference::Whole;
    }
    let mut edit = Edit::default();
    for (field, value) in &after {
        let held = before.get(field);
        if held == Some(value) {
            continue;
        }
        match value {
            Value::Array(items) if sets => edit_members(&mut edit, field, held, items),
            _ => edit.set.push((field.clone(), Some(value.to_string()))),
        }
    }
    let gone = before.keys().filter(|field| !after.contains_key(*field));
    edit.set.extend(gone.map(|field| (field.clone(), None)));
    edit.set.sort_unstable();
    edit.members
        .sort_unstable_by(|one, other| one.0.cmp(&other.0));
    Difference::Fields(edit)
}

fn edit_members(edit: &mut Edit, field: &str, held: Option<&Value>, items: &[Value]) {
    let now: BTreeSet<String> = items.iter().map(canonical).collect();
    let before: BTreeSet<String> = match held {
        Some(Value::Array(items)) => items.iter().map(canonical).collect(),
        _ => {
            edit.set.push((field.to_owned(), Some("[]".to_owned())));
            BTreeSet::new()
        }
    };
    let members = Members {
        add: now.difference(&before).cloned().collect(),
        remove: before.difference(&now).cloned().collect(),
    };
    if members != Members::default() {
        edit.members.push((field.to_owned(), members));
    }
}

fn fields(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(before: Option<&str>, after: &str, sets: bool) -> Edit {
        match difference(before, after, sets) {
            Difference::Fields(edit) => edit,
            Difference::Whole => panic!("put as a whole"),
        }
    }

    fn set(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        pairs
            .iter()
            .map(|(field, value)| ((*field).to_owned(), value.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let edit = fields_of(
            Some(r#"{"same":{"x":1,"y":2},"gone":1,"b":1}"#),
            r#"{"b":2,"same":{"y":2,"x":1},"a":"new"}"#,
            false,
        );
        let expected = [("a", Some("\"new\"")), ("b", Some("2")), ("gone", None)];
        assert_eq!(edit.set, set(&expected));
        assert!(edit.members.is_empty() && edit.by.is_empty());
        assert_eq!(
            fields_of(Some("{\"a\":1}"), "{ \"a\" : 1 }", true),
            Edit::default()
        );
    }

    #[test]
    fn arrays_are_sets_where_they_are_to_be() {
        let before = Some(r#"{"tags":["a","b"],"was":5}"#);
        let after = r#"{"tags":["c","b","c"],"was":[1],"new":[{"y":1,"x":2}]}"#;
        let edit = fields_of(before, after, true);
        assert_eq!(edit.set, set(&[("new", Some("[]")), ("was", Some("[]"))]));
        let members: Vec<_> = edit
            .members
            .iter()
            .map(|(field, members)| {
                (
                    field.as_str(),
                    members.add.join(" "),
                    members.remove.join(" "),
                )
            })
            .collect();
        let expected = [
            ("new", r#"{"x":2,"y":1}"#.to_owned(), String::new()),
            ("tags", "\"c\"".to_owned(), "\"a\"".to_owned()),
            ("was", "1".to_owned(), String::new()),
        ];
        assert_eq!(members, expected);
        let edit = fields_of(before, after, false);
        assert!(edit.members.is_empty());
        assert_eq!(edit.set.len(), 3);
    }

    #[test]
    fn what_has_no_fields_is_put_as_a_whole() {
        for (before, after) in [
            (Some("[1]"), "{}"),
            (Some("{}"), "1"),
            (None, "{}"),
            (None, "[]"),
        ] {
            assert_eq!(difference(before, after, true), Difference::Whole);
        }
    }
}
