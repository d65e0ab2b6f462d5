//! Increments and members within a transaction, on top of a document that is parsed once however
//! many there are.

use crate::fold::Refused;
use meridian_merge::{canonical, with_increments};
use meridian_model::{Edit, Members};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What was done to fields, and the document that it was done to.
#[derive(Debug)]
pub(crate) struct Changes {
    /// `None` where the document is no object.
    fields: Option<Map<String, Value>>,
    by: BTreeMap<String, i64>,
    members: BTreeMap<String, MemberChanges>,
}

/// What was done to one set.
#[derive(Debug)]
struct MemberChanges {
    /// What the field held; `None` where there was no such field.
    held: Option<BTreeMap<String, Value>>,
    /// Whether the field came to be by this.
    made: bool,
    add: BTreeSet<String>,
    remove: BTreeSet<String>,
}

impl MemberChanges {
    fn are_none(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && !self.made
    }
}

impl Changes {
    pub(crate) fn on(document: Option<&str>) -> Self {
        let fields = match document.map(serde_json::from_str) {
            None => Some(Map::new()),
            Some(Ok(Value::Object(fields))) => Some(fields),
            Some(_) => None,
        };
        Self {
            fields,
            by: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    pub(crate) fn increment(&mut self, field: &str, by: i64) -> Result<(), Refused> {
        let start = self.start(field)?;
        let sum = self.by.get(field).copied().unwrap_or(0);
        let sum = sum.checked_add(by).ok_or(Refused::OutOfRange)?;
        let result = start.checked_add(i128::from(sum));
        result
            .and_then(|result| i64::try_from(result).ok())
            .ok_or(Refused::OutOfRange)?;
        self.by.insert(field.to_owned(), sum);
        Ok(())
    }

    fn start(&self, field: &str) -> Result<i128, Refused> {
        let fields = self.fields.as_ref().ok_or(Refused::NotAnObject)?;
        let members = self.members.get(field);
        if members.is_some_and(|members| members.held.is_some() || members.made) {
            return Err(Refused::NotAnInteger);
        }
        let Some(value) = fields.get(field) else {
            return Ok(0);
        };
        let number = value.as_number().ok_or(Refused::NotAnInteger)?;
        // Documents keep their numbers' text; an integer is what reads as one.
        number.as_str().parse().map_err(|_| Refused::NotAnInteger)
    }

    pub(crate) fn members(
        &mut self,
        field: &str,
        add: &[String],
        remove: &[String],
    ) -> Result<(), Refused> {
        if self.by.contains_key(field) {
            return Err(Refused::NotASet);
        }
        if !self.members.contains_key(field) {
            let changes = self.untouched(field)?;
            self.members.insert(field.to_owned(), changes);
        }
        let changes = self.members.get_mut(field).expect("it was just put there");
        changes.made |= changes.held.is_none() && !add.is_empty();
        for member in add {
            changes.remove.remove(member);
            changes.add.insert(member.clone());
        }
        for member in remove {
            changes.add.remove(member);
            let held = changes.held.as_ref();
            if held.is_some_and(|held| held.contains_key(member)) {
                changes.remove.insert(member.clone());
            }
        }
        Ok(())
    }

    fn untouched(&self, field: &str) -> Result<MemberChanges, Refused> {
        let fields = self.fields.as_ref().ok_or(Refused::NotAnObject)?;
        let held = match fields.get(field) {
            None => None,
            Some(Value::Array(items)) => Some(items.iter().map(named).collect()),
            Some(_) => return Err(Refused::NotASet),
        };
        Ok(MemberChanges {
            held,
            made: false,
            add: BTreeSet::new(),
            remove: BTreeSet::new(),
        })
    }

    /// Whether fields only grew.
    pub(crate) fn only_increments(&self) -> bool {
        !self.by.is_empty() && self.members.values().all(MemberChanges::are_none)
    }

    /// The amounts by field.
    pub(crate) fn into_increments(self) -> Vec<(String, i64)> {
        self.by.into_iter().collect()
    }

    /// As a change of fields; `None` where it comes to nothing. A set that wasn't there begins as
    /// an empty array, which keeps field and row when its last member goes.
    pub(crate) fn into_edit(self) -> Option<Edit> {
        let mut edit = Edit {
            by: self.by.into_iter().collect(),
            ..Edit::default()
        };
        for (field, changes) in self.members {
            if changes.made {
                edit.set.push((field.clone(), Some("[]".to_owned())));
            }
            let members = Members {
                add: changes.add.into_iter().collect(),
                remove: changes.remove.into_iter().collect(),
            };
            if members != Members::default() {
                edit.members.push((field, members));
            }
        }
        (edit != Edit::default()).then_some(edit)
    }

    /// The document with everything done to it.
    pub(crate) fn done(self, document: Option<String>) -> Option<String> {
        let sums: Vec<(String, i128)> = self
            .by
            .into_iter()
            .map(|(field, by)| (field, i128::from(by)))
            .collect();
        let document = match sums.is_empty() {
            true => document,
            false => with_increments(document.as_deref(), &sums).map(std::borrow::Cow::into_owned),
        };
        if self.members.values().all(MemberChanges::are_none) {
            return document;
        }
        let document = document.map(|text| serde_json::from_str(&text));
        let Some(Ok(mut fields)) = document.or(Some(Ok(Map::new()))) else {
            return None;
        };
        for (field, changes) in self.members {
            if changes.are_none() {
                continue;
            }
            let MemberChanges {
                held, add, remove, ..
            } = changes;
            let mut members = held.unwrap_or_default();
            members.retain(|text, _| !remove.contains(text));
            for text in add {
                let value = serde_json::from_str(&text).unwrap_or(Value::Null);
                members.insert(text, value);
            }
            fields.insert(field, members.into_values().collect());
        }
        Some(Value::Object(fields).to_string())
    }
}

fn named(item: &Value) -> (String, Value) {
    (canonical(item), item.clone())
}
