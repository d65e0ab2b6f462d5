//! What one row must be, from all writes to it: each rule looks at the whole set of them.

use crate::law::{Committed, ExpectedRow};
use meridian_model::{Edit, Operation};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

type Write<'a> = (&'a Committed, &'a Operation);

/// The row that these writes make; `None` where they leave none.
pub(crate) fn live_row(writes: &[Write<'_>]) -> Option<ExpectedRow> {
    let version = writes.iter().map(|(write, _)| write.version).max()?;
    let row = Writes(writes);
    let base = row.base();
    let siblings: Vec<Value> = row.siblings(base);
    let mut documents = row.document(base).into_iter().chain(siblings);
    Some(ExpectedRow {
        version,
        document: documents.next()?,
        siblings: documents.collect(),
    })
}

struct Writes<'a>(&'a [Write<'a>]);

impl<'a> Writes<'a> {
    fn puts(&self) -> impl Iterator<Item = Write<'a>> {
        let writes = self.0.iter().copied();
        writes.filter(|(_, operation)| {
            matches!(
                operation,
                Operation::Put { .. } | Operation::Delete | Operation::Sibling { .. }
            )
        })
    }

    fn base(&self) -> Option<Write<'a>> {
        self.puts().max_by_key(|(write, _)| write.version)
    }

    /// Puts of the siblings' kind, other than the base, that no put or delete had seen.
    fn siblings(&self, base: Option<Write<'a>>) -> Vec<Value> {
        let mut siblings: Vec<_> = self
            .puts()
            .filter(|(write, operation)| {
                matches!(operation, Operation::Sibling { .. })
                    && base.is_some_and(|(base, _)| base.version != write.version)
                    && !self.puts().any(|(other, _)| other.had_seen(write))
            })
            .filter_map(|write| Some((write.0.version, document_of(write)?)))
            .collect();
        siblings.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
        siblings.into_iter().map(|(_, document)| document).collect()
    }

    fn edits(&self) -> impl Iterator<Item = (&'a Committed, &'a Edit)> {
        self.0
            .iter()
            .filter_map(|(write, operation)| match operation {
                Operation::Edit(edit) => Some((*write, edit)),
                _ => None,
            })
    }

    /// The write of a field that stands, if it isn't the base, and what it wrote.
    fn register(
        &self,
        field: &str,
        base: Option<Write<'a>>,
    ) -> Option<(&'a Committed, Option<Value>)> {
        let writes = self.edits().filter_map(|(write, edit)| {
            let (_, value) = edit.set.iter().find(|(name, _)| name == field)?;
            Some((write, value.as_deref().map(parse)))
        });
        let greatest = writes.max_by_key(|(write, _)| write.version)?;
        base.is_none_or(|(base, _)| greatest.0.version > base.version)
            .then_some(greatest)
    }

    /// The increments of a field that a write had not seen, and doesn't absorb; `None` where there are
    /// none.
    fn sum(&self, field: &str, top: Option<&Committed>) -> Option<i64> {
        let has = |top: &Committed, write: &Committed| {
            top.had_seen(write) || top.absorbed.has_seen(write.version)
        };
        let others = self.0.iter();
        let unseen = others.filter(|(write, _)| !top.is_some_and(|top| has(top, write)));
        let amounts = unseen.filter_map(|(_, operation)| {
            let by = match operation {
                Operation::Increment { by } => by,
                Operation::Edit(edit) => &edit.by,
                _ => return None,
            };
            Some(by.iter().find(|(name, _)| name == field)?.1)
        });
        amounts.reduce(|one, other| one + other)
    }

    /// Members that were added and that nothing took away again.
    fn added(&self, field: &str) -> BTreeSet<&'a str> {
        let changes = || {
            self.edits().flat_map(move |(write, edit)| {
                let members = edit.members.iter().filter(move |(name, _)| name == field);
                members.map(move |(_, members)| (write, members))
            })
        };
        let replaced = |write: &Committed| {
            self.puts().any(|(put, _)| put.had_seen(write))
                || self.edits().any(|(other, edit)| {
                    edit.set.iter().any(|(name, _)| name == field) && other.had_seen(write)
                })
        };
        let removed = |write: &Committed, member: &String| {
            changes()
                .any(|(other, members)| members.remove.contains(member) && other.had_seen(write))
        };
        changes()
            .filter(|(write, _)| !replaced(write))
            .flat_map(|(write, members)| members.add.iter().map(move |member| (write, member)))
            .filter(|(write, member)| !removed(write, member))
            .map(|(_, member)| member.as_str())
            .collect()
    }

    /// Whether a removal that had seen the field's value took a member away.
    fn is_masked(&self, field: &str, member: &str, top: Option<&Committed>) -> bool {
        self.edits().any(|(write, edit)| {
            let members = edit.members.iter().filter(|(name, _)| name == field);
            let mut removed = members.flat_map(|(_, members)| &members.remove);
            removed.any(|removed| removed == member) && top.is_some_and(|top| write.had_seen(top))
        })
    }

    fn fields(&self) -> BTreeSet<&'a str> {
        let mut fields = BTreeSet::new();
        for (_, operation) in self.0 {
            match operation {
                Operation::Increment { by } => {
                    fields.extend(by.iter().map(|(name, _)| name.as_str()))
                }
                Operation::Edit(Edit { set, by, members }) => {
                    fields.extend(set.iter().map(|(name, _)| name.as_str()));
                    fields.extend(by.iter().map(|(name, _)| name.as_str()));
                    fields.extend(members.iter().map(|(name, _)| name.as_str()));
                }
                _ => {}
            }
        }
        fields
    }

    /// The base's document with everything that is on top of it.
    fn document(&self, base: Option<Write<'a>>) -> Option<Value> {
        let start = base.and_then(document_of);
        let mut is_there = start.is_some();
        let mut document = match start {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            other => return other,
        };
        for field in self.fields() {
            let register = self.register(field, base);
            let top = register.as_ref().map(|(write, _)| *write);
            let top = top.or(base.map(|(write, _)| write));
            if let Some((_, value)) = register {
                is_there = true;
                match value {
                    Some(value) => document.insert(field.to_owned(), value),
                    None => document.shift_remove(field),
                };
            }
            let value = document.get(field).cloned();
            let sum = self.sum(field, top);
            let added = self.added(field);
            is_there |= sum.is_some() || !added.is_empty();
            if let Some(sum) = sum {
                let before = value.as_ref().and_then(Value::as_i64).unwrap_or(0);
                document.insert(field.to_owned(), json!(before + sum));
            }
            let held = value.as_ref().and_then(Value::as_array);
            let held = held.into_iter().flatten();
            let (masked, held): (Vec<_>, Vec<_>) = held
                .map(|member| (member.to_string(), member.clone()))
                .partition(|(member, _)| self.is_masked(field, member, top));
            if !added.is_empty() || (sum.is_none() && !masked.is_empty()) {
                let mut members: BTreeMap<String, Value> = held.into_iter().collect();
                let added = added.into_iter();
                members.extend(added.map(|member| (member.to_owned(), parse(member))));
                document.insert(field.to_owned(), members.into_values().collect());
            }
        }
        is_there.then_some(Value::Object(document))
    }
}

fn document_of((_, operation): Write<'_>) -> Option<Value> {
    match operation {
        Operation::Put { document }
        | Operation::Sibling {
            document: Some(document),
        } => Some(parse(document)),
        _ => None,
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
