//! What rows have that were written by other strategies than last writer wins: siblings beside the
//! base, registers and sets on top of it.
//!
//! Invariants, all of them functions of the set of writes:
//!
//! - a sibling is a write of the siblings' kind, other than the base, that no put or delete had
//!   seen;
//! - a register's version is greater than the base's; one that is not has no say;
//! - an addition of a member stands here as long as no removal of the member, no later addition of
//!   it, no write of its field and no put or delete had seen it;
//! - a member is masked where a removal had seen the value of the field that stands, be it the
//!   base's or a register's, and this value is an array that holds it.

use crate::{Base, Seen, value};
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Members, Version};
use serde::{Deserialize, Serialize};

/// Siblings, registers and sets of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mixed {
    /// Whether increments of the row may be kept apart.
    pub counted: bool,
    /// Whether the base is of the siblings' kind.
    pub keeps: bool,
    /// What stands beside the base, newest first.
    pub siblings: Vec<Sibling>,
    /// Fields that were written after the base, by name.
    pub registers: Vec<Register>,
    /// Fields with members, by name.
    pub sets: Vec<Set>,
}

/// A put that stands beside the base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Its version.
    pub version: Version,
    /// Its document as JSON text.
    pub document: String,
}

/// A field that was written by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The field's name.
    pub field: String,
    /// The write's version.
    pub version: Version,
    /// The field's JSON text; `None` where it was removed.
    pub value: Option<String>,
}

/// A field with members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The field's name.
    pub field: String,
    /// What was added and stands, sorted.
    pub members: Vec<Member>,
    /// Canonical texts of what was removed from the array that the field holds, sorted.
    pub masked: Vec<String>,
}

/// A member that was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its canonical JSON text.
    pub value: String,
    /// The additions that stand, at least one, oldest first.
    pub added: Vec<Version>,
}

impl Mixed {
    /// Whether nothing of it is to be seen on a row whose base is a delete.
    pub(crate) fn shows_nothing(&self) -> bool {
        self.siblings.is_empty() && self.shows_nothing_on_top()
    }

    /// The same of what is on top of the base.
    pub(crate) fn shows_nothing_on_top(&self) -> bool {
        self.registers.is_empty() && self.sets.iter().all(|set| set.members.is_empty())
    }

    /// Whether there is nothing that [`crate::More`] couldn't say without it.
    pub(crate) fn is_plain(&self) -> bool {
        let Self {
            counted: _,
            keeps,
            siblings,
            registers,
            sets,
        } = self;
        !keeps && siblings.is_empty() && registers.is_empty() && sets.is_empty()
    }

    pub(crate) fn register(&self, field: &str) -> Option<&Register> {
        let found = self
            .registers
            .binary_search_by(|register| register.field.as_str().cmp(field));
        found.ok().map(|at| &self.registers[at])
    }

    /// Forgets the removals of fields by the write of this version, which every later write has
    /// seen. They stay where the base has the field, where the row would be gone without them, and
    /// above a delete that a later write may not have seen.
    ///
    /// What shows doesn't change, now or later: any later write of the field has a greater version.
    pub(crate) fn forget_removed_fields(
        &mut self,
        version: Version,
        base: Option<&Base>,
        is_stable: impl Fn(Version) -> bool,
    ) {
        let fields = base
            .and_then(|base| base.document.as_deref())
            .map(|text| value::fields(text).unwrap_or_default());
        let deleted = base.filter(|base| base.document.is_none());
        if deleted.is_some_and(|base| !is_stable(base.version)) {
            return;
        }
        let mut left = self.registers.len();
        self.registers.retain(|register| {
            let is_needed = match &fields {
                Some(fields) => fields.contains_key(&register.field),
                None => left == 1,
            };
            let stays = register.value.is_some() || register.version != version || is_needed;
            left -= usize::from(!stays);
            stays
        });
    }

    /// Sets registers, in the place of those of the same fields.
    pub(crate) fn set_registers(&mut self, registers: Vec<Register>) {
        self.registers.extend(registers);
        // Two sorted runs: the sort merges them, however many there are, the older before the new.
        self.registers
            .sort_by(|one, other| one.field.cmp(&other.field));
        self.registers.dedup_by(|next, register| {
            let is_same = next.field == register.field;
            if is_same {
                std::mem::swap(next, register);
            }
            is_same
        });
    }

    fn set(&mut self, field: &str) -> &mut Set {
        let found = self
            .sets
            .binary_search_by(|set| set.field.as_str().cmp(field));
        let at = found.unwrap_or_else(|at| {
            let set = Set {
                field: field.to_owned(),
                members: Vec::new(),
                masked: Vec::new(),
            };
            self.sets.insert(at, set);
            at
        });
        &mut self.sets[at]
    }

    /// Forgets the additions that a write of these fields had seen.
    pub(crate) fn forget_members(&mut self, written: impl Fn(&str) -> bool, seen: Seen<'_>) {
        for set in &mut self.sets {
            if written(&set.field) {
                set.members.retain_mut(|member| member.forget(seen));
            }
        }
        drop_empty(&mut self.sets);
    }

    /// Adds and removes members of a field.
    pub(crate) fn change_members(
        &mut self,
        field: &str,
        members: &Members,
        base: Option<&Base>,
        seen: Seen<'_>,
    ) {
        let masked = self.removed_of_value(field, &members.remove, base, seen);
        let set = self.set(field);
        set.members.retain_mut(|member| {
            members.remove.binary_search(&member.value).is_err() || member.forget_removed(seen)
        });
        set.masked.extend(masked);
        set.masked.sort_unstable();
        set.masked.dedup();
        set.add(&members.add, seen);
        drop_empty(&mut self.sets);
    }

    /// Which of the removed members the value of the field holds, if the removal had seen it.
    fn removed_of_value(
        &self,
        field: &str,
        removed: &[String],
        base: Option<&Base>,
        seen: Seen<'_>,
    ) -> Vec<String> {
        if removed.is_empty() {
            return Vec::new();
        }
        let held = match (self.register(field), base) {
            (Some(register), _) if seen.includes(register.version) => register
                .value
                .as_deref()
                .and_then(|text| value::array(&value::parse(text))),
            (None, Some(base)) if seen.includes(base.version) => base
                .document
                .as_deref()
                .and_then(|text| value::array(value::parse(text).get(field)?)),
            _ => None,
        };
        let mut held = held.unwrap_or_default();
        held.sort_unstable();
        removed
            .iter()
            .filter(|value| held.binary_search(value).is_ok())
            .cloned()
            .collect()
    }
}

/// Forgets what was masked of fields whose value was replaced.
pub(crate) fn unmask(sets: &mut Vec<Set>, replaced: impl Fn(&str) -> bool) {
    for set in &mut *sets {
        if replaced(&set.field) {
            set.masked.clear();
        }
    }
    drop_empty(sets);
}

fn drop_empty(sets: &mut Vec<Set>) {
    sets.retain(|set| !set.members.is_empty() || !set.masked.is_empty());
}

impl Set {
    fn add(&mut self, values: &[String], seen: Seen<'_>) {
        let new = values.iter().map(|value| Member {
            value: value.clone(),
            added: vec![seen.version],
        });
        self.members.extend(new);
        // Two sorted runs: the sort merges them, however many there are.
        self.members
            .sort_by(|one, other| one.value.cmp(&other.value));
        self.members.dedup_by(|next, member| {
            let is_same = next.value == member.value;
            if is_same {
                member.added.append(&mut next.added);
                // Whoever sees the new addition has seen those that it had seen, so it speaks for
                // them too.
                member.added.retain(|version| !seen.includes(*version));
                member.added.sort_unstable();
                member.added.dedup();
            }
            is_same
        });
    }
}

impl Member {
    /// Forgets the additions that were seen; false where none is left.
    fn forget(&mut self, seen: Seen<'_>) -> bool {
        self.added.retain(|version| !seen.includes(*version));
        !self.added.is_empty()
    }

    fn forget_removed(&mut self, seen: Seen<'_>) -> bool {
        if mutation::active(Mutation::RemovalOfUnseenAdditions) {
            return false;
        }
        self.forget(seen)
    }
}
