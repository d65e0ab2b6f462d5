//! Merging puts and deletes, of either kind.

use crate::increment::sums_unseen;
use crate::mixed::unmask;
use crate::{Base, KeptIncrement, Merged, Mixed, More, Overtaken, Row, Seen, Sibling, value};
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Strategy, Version};

/// What a put or delete does to concurrent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutKind {
    /// The greater version replaces the other.
    LastWriterWins,
    /// It stands until a write that has seen it replaces it.
    Sibling,
}

/// Merges a put or delete. `kept` is asked for the row's increments that are kept apart, in case
/// the write wins over a row that has been incremented.
pub fn merge_put<E>(
    row: Option<Row>,
    write: Base,
    kind: PutKind,
    seen: Seen<'_>,
    kept: impl FnOnce() -> Result<Vec<KeptIncrement>, E>,
) -> Result<Merged, E> {
    let mut row = row.unwrap_or_else(|| Row::empty(write.version));
    row.version = row.version.max(write.version);
    match std::mem::take(&mut row.more) {
        more @ (More::Nothing | More::Counted) if kind == PutKind::LastWriterWins => {
            row.more = more;
            merge_plain(row, write, seen, kept)
        }
        More::Nothing => merge_mixed(row, Box::default(), write, kind, seen, kept),
        More::Counted => {
            let mixed = Mixed {
                counted: true,
                ..Mixed::default()
            };
            merge_mixed(row, Box::new(mixed), write, kind, seen, kept)
        }
        More::Mixed(mixed) => merge_mixed(row, mixed, write, kind, seen, kept),
    }
}

/// Whether [`merge_put`] of the last writer's kind comes to [`Merged::of`] the write, for a row that is plain
/// ([`Row::plain`]) as of `standing`.
#[must_use]
pub fn replaces_plain(standing: Version, write: Version, seen: Seen<'_>) -> bool {
    wins(write, standing) && seen.includes(standing)
}

fn wins(version: Version, standing: Version) -> bool {
    (version > standing) ^ mutation::active(Mutation::VersionsComparedWrongly)
}

/// The common case: nothing but puts and deletes of which the last wins, and increments.
fn merge_plain<E>(
    mut row: Row,
    write: Base,
    seen: Seen<'_>,
    kept: impl FnOnce() -> Result<Vec<KeptIncrement>, E>,
) -> Result<Merged, E> {
    let mut conflicts = Vec::new();
    let mut won = true;
    if let Some(standing) = &row.base {
        won = wins(write.version, standing.version);
        if !seen.includes(standing.version) {
            conflicts.push(overtaken(&write, standing, won));
        }
    }
    if won {
        if row.counted() {
            row.sums = sums_unseen(&kept()?, seen);
        }
        row.base = Some(write);
    }
    Ok(Merged {
        row,
        won,
        conflicts,
    })
}

fn overtaken(write: &Base, standing: &Base, won: bool) -> Overtaken {
    let (winner, loser) = if won {
        (write, standing)
    } else {
        (standing, write)
    };
    Overtaken {
        winner: winner.clone(),
        loser: loser.clone(),
        strategy: Strategy::LastWriterWins,
        field: None,
    }
}

fn merge_mixed<E>(
    mut row: Row,
    mut mixed: Box<Mixed>,
    write: Base,
    kind: PutKind,
    seen: Seen<'_>,
    kept: impl FnOnce() -> Result<Vec<KeptIncrement>, E>,
) -> Result<Merged, E> {
    // What it had seen of siblings and members is replaced, whether or not it becomes the base.
    mixed
        .siblings
        .retain(|sibling| !seen.includes(sibling.version));
    mixed.forget_members(|_| true, seen);
    let won = match &row.base {
        Some(standing) => wins(write.version, standing.version),
        None => true,
    };
    let conflicts = meet(&mut row, &mut mixed, write, kind, seen, won);
    if won && mixed.counted {
        let unseen = sums_unseen(&kept()?, seen);
        // A register that outlived the write has its own reckoning.
        row.sums
            .retain(|(field, _)| mixed.register(field).is_some());
        let fresh = unseen.into_iter();
        row.sums
            .extend(fresh.filter(|(field, _)| mixed.register(field).is_none()));
        row.sums.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    }
    row.more = settled(mixed);
    Ok(Merged {
        row,
        won,
        conflicts,
    })
}

/// Lets the write meet what stands: base, siblings and registers.
fn meet(
    row: &mut Row,
    mixed: &mut Mixed,
    write: Base,
    kind: PutKind,
    seen: Seen<'_>,
    won: bool,
) -> Vec<Overtaken> {
    let mut conflicts = Vec::new();
    let stays = won || kind == PutKind::Sibling;
    if stays {
        let siblings = mixed.siblings.iter();
        conflicts.extend(siblings.map(|sibling| both_stand(&write, &sibling.base())));
    }
    let Some(standing) = row.base.take() else {
        overtake_registers(mixed, &write, seen, &mut conflicts);
        mixed.keeps = kind == PutKind::Sibling;
        row.base = Some(write);
        return conflicts;
    };
    let concurrent = !seen.includes(standing.version);
    let (base, other, other_stays) = if won {
        overtake_registers(mixed, &write, seen, &mut conflicts);
        let standing_stays = concurrent && mixed.keeps;
        mixed.keeps = kind == PutKind::Sibling;
        (write, standing, standing_stays)
    } else {
        (standing, write, stays)
    };
    if concurrent {
        conflicts.push(if other_stays {
            both_stand(&base, &other)
        } else {
            overtaken(&base, &other, true)
        });
    }
    row.base = Some(base);
    if other_stays && let Some(document) = other.document {
        let version = other.version;
        let siblings = &mut mixed.siblings;
        let at = siblings.partition_point(|sibling| sibling.version > version);
        siblings.insert(at, Sibling { version, document });
    }
    conflicts
}

/// Siblings that met: a put stands beside a delete, of two puts the newer is named the winner.
fn both_stand(one: &Base, other: &Base) -> Overtaken {
    let rank = |base: &Base| (base.document.is_some(), base.version);
    let (winner, loser) = if rank(one) > rank(other) {
        (one, other)
    } else {
        (other, one)
    };
    Overtaken {
        strategy: Strategy::Siblings,
        ..overtaken(winner, loser, true)
    }
}

/// A new base is a write to every field.
fn overtake_registers(
    mixed: &mut Mixed,
    write: &Base,
    seen: Seen<'_>,
    conflicts: &mut Vec<Overtaken>,
) {
    if !mixed.registers.is_empty() {
        let document = write.document.as_deref().and_then(value::fields);
        mixed.registers.retain(|register| {
            if register.version > write.version {
                return true;
            }
            let value = document
                .as_ref()
                .and_then(|fields| fields.get(&register.field))
                .map(ToString::to_string);
            if !seen.includes(register.version) && value != register.value {
                conflicts.push(field_overtaken(
                    &register.field,
                    (write.version, value),
                    (register.version, register.value.clone()),
                ));
            }
            false
        });
    }
    let Mixed {
        registers, sets, ..
    } = mixed;
    unmask(sets, |field| {
        let found = registers.binary_search_by(|register| register.field.as_str().cmp(field));
        found.is_err()
    });
}

/// A field's value that gave way to another.
pub(crate) fn field_overtaken(
    field: &str,
    winner: (Version, Option<String>),
    loser: (Version, Option<String>),
) -> Overtaken {
    let base = |(version, document)| Base { version, document };
    Overtaken {
        winner: base(winner),
        loser: base(loser),
        strategy: Strategy::RegisterPerField,
        field: Some(field.to_owned()),
    }
}

/// The least that says it.
pub(crate) fn settled(mixed: Box<Mixed>) -> More {
    match (mixed.is_plain(), mixed.counted) {
        (false, _) => More::Mixed(mixed),
        (true, true) => More::Counted,
        (true, false) => More::Nothing,
    }
}

impl Sibling {
    fn base(&self) -> Base {
        Base {
            version: self.version,
            document: Some(self.document.clone()),
        }
    }
}
