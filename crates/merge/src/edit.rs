//! Merging changes of fields.

use crate::increment::{add, sums_unseen};
use crate::mixed::unmask;
use crate::put::{field_overtaken, settled};
use crate::{Base, KeptIncrement, Merged, Mixed, More, Overtaken, Register, Row, Seen, value};
use meridian_model::Edit;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Merges a change of fields. `kept` is asked for the row's increments that are kept apart, in
/// case fields are set in a row that has been incremented; this write's own are not among them.
pub fn merge_edit<E>(
    row: Option<Row>,
    edit: &Edit,
    seen: Seen<'_>,
    kept: impl FnOnce() -> Result<Vec<KeptIncrement>, E>,
) -> Result<Merged, E> {
    let mut row = row.unwrap_or_else(|| Row::empty(seen.version));
    row.version = row.version.max(seen.version);
    let mut mixed = match std::mem::take(&mut row.more) {
        More::Nothing => Box::default(),
        More::Counted => Box::new(Mixed {
            counted: true,
            ..Mixed::default()
        }),
        More::Mixed(mixed) => mixed,
    };
    let (set, conflicts) = set_fields(&mut mixed, row.base.as_ref(), &edit.set, seen);
    if !set.is_empty() && mixed.counted {
        let unseen = sums_unseen(&kept()?, seen);
        row.sums.retain(|(field, _)| !set.contains(field.as_str()));
        let fresh = unseen.into_iter();
        row.sums
            .extend(fresh.filter(|(field, _)| set.contains(field.as_str())));
        row.sums.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    }
    if !edit.by.is_empty() {
        mixed.counted = true;
        add(&mut row.sums, &edit.by);
    }
    for (field, members) in &edit.members {
        mixed.change_members(field, members, row.base.as_ref(), seen);
    }
    row.more = settled(mixed);
    Ok(Merged {
        row,
        won: false,
        conflicts,
    })
}

/// Sets fields, where nothing greater stands. Returns those that it set, and what they met.
fn set_fields<'a>(
    mixed: &mut Mixed,
    base: Option<&Base>,
    fields: &'a [(String, Option<String>)],
    seen: Seen<'_>,
) -> (BTreeSet<&'a str>, Vec<Overtaken>) {
    let written: BTreeSet<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
    mixed.forget_members(|field| written.contains(field), seen);
    let mut set = BTreeSet::new();
    let mut registers = Vec::new();
    let mut conflicts = Vec::new();
    let mut standing = Standing::of(base);
    for (field, value) in fields {
        let rival = mixed.register(field).map(|register| register.version);
        let rival = rival.or(base.map(|base| base.version));
        let stands = rival.is_none_or(|rival| seen.version > rival);
        let unseen = rival.filter(|rival| !seen.includes(*rival));
        if let Some(rival) = unseen {
            let held = match mixed.register(field) {
                Some(register) => Some(register.value.clone()),
                // What gives way is a conflict even with a put that has no such field.
                None => standing.field(field).or((!stands).then_some(None)),
            };
            if let Some(held) = held.filter(|held| held != value) {
                let (this, that) = ((seen.version, value.clone()), (rival, held));
                conflicts.push(if stands {
                    field_overtaken(field, this, that)
                } else {
                    field_overtaken(field, that, this)
                });
            }
        }
        if stands {
            set.insert(field.as_str());
            registers.push(Register {
                field: field.clone(),
                version: seen.version,
                value: value.clone(),
            });
        }
    }
    mixed.set_registers(registers);
    unmask(&mut mixed.sets, |field| set.contains(field));
    (set, conflicts)
}

/// The base's fields, parsed when the first is asked for.
struct Standing<'a> {
    document: Option<&'a str>,
    fields: Option<Map<String, Value>>,
}

impl<'a> Standing<'a> {
    fn of(base: Option<&'a Base>) -> Self {
        Self {
            document: base.and_then(|base| base.document.as_deref()),
            fields: None,
        }
    }

    /// What the base says of a field: `None` where it is a put without it, which says nothing;
    /// `Some(None)` where it is a delete.
    fn field(&mut self, field: &str) -> Option<Option<String>> {
        let Some(document) = self.document else {
            return Some(None);
        };
        let fields = self
            .fields
            .get_or_insert_with(|| value::fields(document).unwrap_or_default());
        fields.get(field).map(|value| Some(value.to_string()))
    }
}
