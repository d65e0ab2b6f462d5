//! Sequences that give no value twice in the world.
//!
//! Every sequence goes in steps of [`SLOTS`], and each region has a remainder of its own: region 3
//! gives 3, 35, 67, … It begins above all that any region is known to have given out, and above the
//! greatest value in the column, so that rows from before don't collide either. Restarted, by
//! `TRUNCATE … RESTART IDENTITY` say, it begins with the first value of its remainder.
//!
//! A server that is restored from a backup has its sequences as they were then, and is given the newer
//! rows again: what its column has of its own remainder it would give once more, and is set behind that.

use super::finding::Finding;
use super::judge::Plan;
use super::survey::Survey;
use crate::catalog::{Sequence, TableFacts};
use std::collections::{BTreeMap, BTreeSet};

/// What helps whoever may not read a sequence.
pub(super) const AS_OWNER: &str = "run this as the sequence's owner (--user)";

/// How many regions there is room for, and so the distance between values of one region.
pub const SLOTS: i64 = 32;

/// By table and column, the greatest value that regions are known to have given out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Floors(BTreeMap<(String, String), i64>);

impl Floors {
    /// What these regions have given out.
    #[must_use]
    pub fn of<'s>(surveys: impl IntoIterator<Item = &'s Survey>) -> Self {
        let mut floors = Self::default();
        for survey in surveys {
            for facts in survey.catalog.tables() {
                for sequence in &facts.sequences {
                    let given = sequence.value.filter(|_| sequence.is_called);
                    let stored = survey.greatest.get(&slot(facts, sequence)).copied();
                    if let Some(value) = given.max(stored) {
                        floors.raise(slot(facts, sequence), value);
                    }
                }
            }
        }
        floors
    }

    fn raise(&mut self, slot: (String, String), value: i64) {
        let floor = self.0.entry(slot).or_insert(value);
        *floor = value.max(*floor);
    }

    fn get(&self, facts: &TableFacts, sequence: &Sequence) -> i64 {
        self.0.get(&slot(facts, sequence)).copied().unwrap_or(0)
    }
}

fn slot(facts: &TableFacts, sequence: &Sequence) -> (String, String) {
    (facts.table.name.to_string(), sequence.column.clone())
}

/// The place of each region: the remainder that its sequences have already, else its own in `order`,
/// else, where another region has that, the first that is free.
#[must_use]
pub fn places(order: &[String], surveys: &BTreeMap<String, Survey>) -> BTreeMap<String, u16> {
    let held: BTreeMap<&String, u16> = surveys
        .iter()
        .filter_map(|(region, survey)| Some((region, held(survey)?)))
        .collect();
    let mut taken: BTreeSet<u16> = held.values().copied().collect();
    let mut places = BTreeMap::new();
    for (own, region) in (0..).zip(order) {
        let place = held
            .get(region)
            .copied()
            .or_else(|| {
                std::iter::once(own)
                    .chain(0..)
                    .find(|place| !taken.contains(place))
            })
            .unwrap_or(own);
        taken.insert(place);
        places.insert(region.clone(), place);
    }
    places
}

/// The remainder that a server's sequences have.
fn held(survey: &Survey) -> Option<u16> {
    survey
        .catalog
        .tables()
        .flat_map(|facts| &facts.sequences)
        .find_map(remainder)
        .and_then(|remainder| u16::try_from(remainder).ok())
}

/// The remainder that this sequence's values have, once it is prepared. Where its value can't be seen,
/// it is that of the value with which it starts: preparing gave it both.
pub(super) fn remainder(sequence: &Sequence) -> Option<i64> {
    let value = sequence.value.unwrap_or(sequence.start);
    (sequence.increment == SLOTS).then(|| value.rem_euclid(SLOTS))
}

/// What the sequence gives next; `None` where it can't be seen.
pub(super) fn next_value(sequence: &Sequence) -> Option<i64> {
    let given = if sequence.is_called {
        sequence.increment
    } else {
        0
    };
    Some(sequence.value?.saturating_add(given))
}

/// The first value of this remainder that the sequence may give.
fn restarts_with(sequence: &Sequence, remainder: i64) -> i64 {
    let least = sequence.minimum.max(1);
    least + (remainder - least).rem_euclid(SLOTS)
}

pub(super) fn check(
    facts: &TableFacts,
    survey: &Survey,
    plan: &Plan,
    floors: &Floors,
) -> Vec<Finding> {
    facts
        .sequences
        .iter()
        .map(|sequence| {
            let ahead = survey.ahead.get(&slot(facts, sequence)).copied();
            check_one((facts, sequence), ahead, plan, floors)
        })
        .collect()
}

/// A sequence that would give values again, up to `stored`, which rows have already.
fn behind(sequence: &Sequence, stored: i64, restart: Option<String>) -> Finding {
    let name = &sequence.name;
    let reason = format!(
        "it would give values again that the column has, up to {stored}, as after a restore: \
         inserts fail with duplicate keys"
    );
    if stored.saturating_add(SLOTS) > sequence.maximum {
        return Finding::refused("sequence", name, reason)
            .hint("above them it has no value left: make it and its column bigint");
    }
    let sql = name.sql();
    let literal = sql.replace('\'', "''");
    let statements = [
        // From here to the commit nobody takes a value.
        Some(format!("ALTER SEQUENCE {sql} INCREMENT BY {SLOTS}")),
        restart,
        Some(format!(
            "SELECT pg_catalog.setval('{literal}', greatest(last_value, {stored}) + {SLOTS}, false) FROM {sql}"
        )),
    ];
    Finding::sql("sequence", name, reason, statements.into_iter().flatten())
}

fn check_one(
    (facts, sequence): (&TableFacts, &Sequence),
    ahead: Option<i64>,
    plan: &Plan,
    floors: &Floors,
) -> Finding {
    let name = &sequence.name;
    if sequence.increment < 0 {
        return Finding::refused(
            "sequence",
            name,
            "it counts downwards, where regions can't be told apart",
        )
        .hint("let it count upwards, or fill the column otherwise");
    }
    let own = remainder(sequence).filter(|_| !sequence.cycles);
    if own.is_none() && sequence.value.is_none() {
        return Finding::refused(
            "sequence",
            name,
            "regions would give the same values, and which it has given can't be seen",
        )
        .hint(AS_OWNER);
    }
    let restarts_with = restarts_with(sequence, own.unwrap_or(i64::from(plan.place)));
    let restart = format!("ALTER SEQUENCE {} START WITH {restarts_with}", name.sql());
    if let Some(remainder) = own {
        let starts_elsewhere = sequence.start.rem_euclid(SLOTS) != remainder;
        if let Some(stored) = ahead {
            return behind(sequence, stored, starts_elsewhere.then_some(restart));
        }
        if starts_elsewhere {
            let reason = "restarted, by TRUNCATE … RESTART IDENTITY say, it would give other regions' values";
            return Finding::sql("sequence", name, reason, [restart]);
        }
        // A region keeps the remainder that it has, should the topology be put in another order;
        // whether two have the same is seen when regions are compared.
        let reason = match sequence.value {
            Some(_) => format!("its values are {remainder} modulo {SLOTS}, this region's own"),
            None => format!(
                "it starts with {remainder} modulo {SLOTS}, in steps of {SLOTS}; how far it is, only who \
                 may read it sees"
            ),
        };
        return Finding::ok("sequence", name, reason);
    }
    let floor = floors.get(facts, sequence).max(0);
    let place = i64::from(plan.place);
    let room = sequence.maximum.saturating_sub(floor) / SLOTS;
    if room < 2 {
        let reason = format!(
            "up to its maximum, {}, there is no room for {SLOTS} regions",
            sequence.maximum
        );
        return Finding::refused("sequence", name, reason).hint("make it and its column bigint");
    }
    let sql = name.sql();
    let literal = sql.replace('\'', "''");
    Finding::sql(
        "sequence",
        name,
        format!(
            "regions would give the same values; in steps of {SLOTS} this one's have remainder {place}, and {room} of them are left"
        ),
        [
            // From here to the commit nobody takes a value.
            format!("ALTER SEQUENCE {sql} INCREMENT BY {SLOTS} NO CYCLE"),
            restart,
            format!(
                "SELECT pg_catalog.setval('{literal}', (greatest(last_value, {floor}) / {SLOTS} + 1) * {SLOTS} + {place}, false) FROM {sql}"
            ),
        ],
    )
}
