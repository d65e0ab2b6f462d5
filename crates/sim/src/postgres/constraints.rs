//! Unique values and foreign keys: what a server lets applications do, and what the applier finds when
//! it asks a server about a batch. What follows for the batch production decides
//! (`meridian_engine_postgres::apply::decide`).
//!
//! In two tables the second column is unique, and that of a visit is the seat it refers to. Some servers
//! have a CHECK of their own besides, which others don't have.

use super::schema::{NOTES, SEATS, VISITS};
use super::server::{Server, Write};
use meridian_check::{ExpectedRow, RowKey};
use meridian_engine_postgres::apply::decide::{Need, Pair, orphans, out};
use meridian_engine_postgres::document::Values;
use meridian_engine_postgres::projection::{Hindrance, Parked, Projected};
use meridian_model::{RowName, Version};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What of a batch a server can show.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By number, the rows that are not to be there, though the tables show them.
    out: BTreeMap<usize, Hindrance>,
    /// Rows that are deleted first, and inserted anew.
    displaced: BTreeSet<usize>,
}

/// A batch's rows as they are to be.
struct Wanted<'a> {
    rows: Vec<(&'a RowName, Option<Values>, Option<Version>)>,
    numbers: BTreeMap<&'a RowName, usize>,
}

impl Plan {
    /// Whether the row is kept out.
    pub(super) fn is_out(&self, number: usize) -> bool {
        self.out.contains_key(&number)
    }

    /// Whether the row stays what it is.
    pub(super) fn is_refused(&self, number: usize) -> bool {
        matches!(self.out.get(&number), Some(Hindrance::Refused { .. }))
    }

    /// Whether the row is deleted before it is written.
    pub(super) fn is_displaced(&self, number: usize) -> bool {
        self.displaced.contains(&number)
    }

    /// The rows that are kept out.
    pub(super) fn parked(&self, batch: &Projected) -> Vec<Parked> {
        let out = self.out.iter().map(|(number, hindrance)| Parked {
            row: batch.rows[*number].0.row.clone(),
            hindrance: hindrance.clone(),
        });
        out.collect()
    }
}

impl Wanted<'_> {
    fn of<'a>(batch: &'a Projected, server: &Server) -> Wanted<'a> {
        let rows = batch.rows.iter().zip(&batch.versions);
        let rows = rows.map(|((dirty, document), version)| {
            let values = document.as_deref();
            let values = values.map(|text| server.schema.values(&dirty.row, text));
            (&dirty.row, values, *version)
        });
        let rows: Vec<_> = rows.collect();
        let numbers = rows.iter().enumerate();
        Wanted {
            numbers: numbers.map(|(number, (row, ..))| (*row, number)).collect(),
            rows,
        }
    }

    /// The rows that are to be there, with their values.
    fn coming(&self) -> impl Iterator<Item = (usize, &RowName, &Values)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(number, (row, values, _))| Some((number, *row, values.as_ref()?)))
    }
}

impl Server {
    /// What can be shown of a batch.
    ///
    /// # Errors
    /// The rows that must be in it for that to be known.
    pub(super) fn plan(&self, batch: &Projected) -> Result<Plan, Vec<RowName>> {
        let wanted = Wanted::of(batch, self);
        let mut plan = Plan::default();
        for (number, row, values) in wanted.coming() {
            if self.refuses(row, values) {
                let reason = CHECK.to_owned();
                plan.out.insert(number, Hindrance::Refused { reason });
            }
        }
        let mut involved = BTreeSet::new();
        let holders = self.decide_rivals(&wanted, &mut plan, &mut involved);
        if involved.is_empty() {
            self.decide_orphans(&wanted, &mut plan);
            let comes = |number: &usize| wanted.rows[*number].1.is_some() && !plan.is_out(*number);
            plan.displaced = holders.into_iter().filter(comes).collect();
            self.displace_children(&wanted, &mut plan, &mut involved);
        }
        match involved.is_empty() {
            true => Ok(plan),
            false => Err(involved.into_iter().collect()),
        }
    }

    /// Returns those of the rows whose values in the server others are to have.
    fn decide_rivals(
        &self,
        wanted: &Wanted<'_>,
        plan: &mut Plan,
        involved: &mut BTreeSet<RowName>,
    ) -> BTreeSet<usize> {
        let (mut holders, mut pairs) = (BTreeSet::new(), Vec::new());
        let mut newest_first: Vec<usize> = Vec::new();
        for (number, row, values) in wanted.coming() {
            newest_first.push(number);
            let there = self.rows.iter();
            for (rival, _) in
                there.filter(|(other, it)| excludes((row, values), (other, &it.values)))
            {
                match wanted.numbers.get(rival) {
                    None => drop(involved.insert(rival.clone())),
                    Some(holder) => drop(holders.insert(*holder)),
                }
            }
            for (other, name, theirs) in wanted.coming() {
                if number < other && excludes((row, values), (name, theirs)) {
                    let index = UNIQUE.to_owned();
                    let (one, other) = (number, other);
                    pairs.push(Pair { one, other, index });
                }
            }
        }
        newest_first.sort_by_key(|number| {
            let (row, _, version) = &wanted.rows[*number];
            (Reverse(*version), *row)
        });
        for (number, (rival, constraint)) in out(&newest_first, &pairs) {
            let rival = wanted.rows[rival].0.clone();
            let rival = Hindrance::Rival { constraint, rival };
            plan.out.insert(number, rival);
        }
        holders
    }

    fn decide_orphans(&self, wanted: &Wanted<'_>, plan: &mut Plan) {
        let coming = wanted.coming().map(|(number, ..)| number);
        let taken: BTreeSet<usize> = coming.filter(|number| !plan.is_out(*number)).collect();
        let children = wanted.coming().filter(|(child, ..)| taken.contains(child));
        let needs = children.filter_map(|(child, row, values)| {
            let parent = parent(row, values)?;
            let inside = wanted.numbers.get(&parent).copied();
            Some(Need {
                child,
                is_met: inside.is_none() && self.rows.contains_key(&parent),
                parents: inside.into_iter().filter(|it| taken.contains(it)).collect(),
            })
        });
        let needs: Vec<Need> = needs.collect();
        for child in orphans(&taken, &needs).into_keys() {
            let (row, values, _) = &wanted.rows[child];
            let parent = values.as_ref().and_then(|values| parent(row, values));
            let orphan = Hindrance::Orphan {
                constraint: "visits_seat".to_owned(),
                table: table(SEATS),
                parent,
                holds_values: true,
            };
            plan.out.insert(child, orphan);
        }
    }

    /// Rows that refer to rows which leave must leave before them, and may come back.
    fn displace_children(
        &self,
        wanted: &Wanted<'_>,
        plan: &mut Plan,
        involved: &mut BTreeSet<RowName>,
    ) {
        let leaves = |plan: &Plan, number: usize| {
            wanted.rows[number].1.is_none() || plan.is_out(number) || plan.is_displaced(number)
        };
        let numbers = 0..wanted.rows.len();
        let leaving: Vec<&RowName> = numbers
            .filter(|number| leaves(plan, *number))
            .map(|number| wanted.rows[number].0)
            .collect();
        for (child, row) in &self.rows {
            let parent = parent(child, &row.values);
            if !parent.is_some_and(|parent| leaving.contains(&&parent)) {
                continue;
            }
            match wanted.numbers.get(child) {
                None => drop(involved.insert(child.clone())),
                Some(number) if !leaves(plan, *number) => drop(plan.displaced.insert(*number)),
                Some(_) => {}
            }
        }
    }

    /// Whether an open transaction keeps what is to be written waiting, because of unique values and
    /// foreign keys.
    pub(super) fn is_contended(&self, row: &RowName, after: Option<&Values>) -> bool {
        self.open_writes().any(|write| match (after, &write.after) {
            (Some(values), Some(theirs)) => {
                excludes((row, values), (&write.row, theirs))
                    || parent(&write.row, theirs).as_ref() == Some(row)
            }
            (Some(values), None) => parent(row, values).as_ref() == Some(&write.row),
            (None, Some(theirs)) => parent(&write.row, theirs).as_ref() == Some(row),
            (None, None) => false,
        })
    }

    /// Whether a transaction with these writes may make this one too, at once.
    pub(super) fn permits(&self, own: &[Write], write: &Write) -> bool {
        let row = &write.row;
        let mut others = self.open_writes().chain(own);
        let Some(values) = &write.after else {
            let refers =
                |child: &RowName, values: &Values| parent(child, values).as_ref() == Some(row);
            let mut committed = self.rows.iter();
            let is_referred = committed.any(|(child, there)| refers(child, &there.values));
            let mut theirs = others.filter_map(|it| Some((&it.row, it.after.as_ref()?)));
            return !is_referred && !theirs.any(|(child, values)| refers(child, values));
        };
        let mut there = self.rows.iter();
        let is_taken = there.any(|(other, it)| excludes((row, values), (other, &it.values)));
        if is_taken || self.refuses(row, values) {
            return false;
        }
        let parent = parent(row, values);
        let is_there = |parent: &RowName| self.rows.contains_key(parent) && !self.is_held(parent);
        parent.as_ref().is_none_or(is_there)
            && !others.any(|other| {
                let theirs = other.after.as_ref();
                theirs.is_some_and(|theirs| excludes((row, values), (&other.row, theirs)))
                    || parent.as_ref() == Some(&other.row)
            })
    }

    /// Whether a CHECK of its own refuses a row: one note in five.
    fn refuses(&self, row: &RowName, values: &Values) -> bool {
        let note = values.last().and_then(Option::as_ref);
        let is_refused = note.is_some_and(|note| note.ends_with(['0', '5']));
        self.is_strict && row.table == table(NOTES) && is_refused
    }

    /// Whether it leaves a row of the tables as it was, for its CHECK.
    pub(super) fn leaves(&self, at: &RowKey, row: &ExpectedRow) -> bool {
        let (table, key) = at.clone();
        self.refuses(&RowName { table, key }, &self.as_row(at, &row.document))
    }

    /// Rows that the server would never have let stand together.
    pub(super) fn broken_constraint(&self) -> Option<String> {
        self.rows.iter().find_map(|(row, it)| {
            if self.refuses(row, &it.values) {
                return Some(format!("{row} breaks {CHECK}"));
            }
            let mut others = self.rows.iter();
            let rival =
                others.find(|(other, there)| excludes((row, &it.values), (other, &there.values)));
            if let Some((rival, _)) = rival {
                return Some(format!("{row} and {rival} have the same value"));
            }
            let parent = parent(row, &it.values)?;
            (!self.rows.contains_key(&parent))
                .then(|| format!("{row} refers to {parent}, which is gone"))
        })
    }
}

const UNIQUE: &str = "unique";
const CHECK: &str = "check";

fn table(name: &str) -> String {
    format!("public.{name}")
}

/// Whether the server can show only one of two rows, for a value that both have.
fn excludes((one, values): (&RowName, &Values), (other, theirs): (&RowName, &Values)) -> bool {
    let is_unique = one.table == table(SEATS) || one.table == table(VISITS);
    is_unique && one.table == other.table && one.key != other.key && values[1] == theirs[1]
}

/// The row that this one refers to.
fn parent(row: &RowName, values: &Values) -> Option<RowName> {
    let key = values[1].clone().filter(|_| row.table == table(VISITS))?;
    let table = table(SEATS);
    Some(RowName { table, key })
}

/// Which of all rows a server can't show, as the applier's page has it: from the newest on, a row is
/// taken unless one that is taken has its value; of those the visits stay whose seats do.
pub(super) fn kept_out(rows: &BTreeMap<RowKey, ExpectedRow>, server: &Server) -> BTreeSet<RowKey> {
    let value = |at: &RowKey, row: &ExpectedRow| server.as_row(at, &row.document)[1].clone();
    let mut taken: BTreeSet<RowKey> = BTreeSet::new();
    let mut out: BTreeSet<RowKey> = BTreeSet::new();
    let refused = rows.iter().filter(|(at, row)| server.leaves(at, row));
    out.extend(refused.map(|(at, _)| at.clone()));
    for name in [SEATS, VISITS] {
        let of_table = rows.iter().filter(|(at, _)| at.0 == table(name));
        let mut newest_first: Vec<_> = of_table.collect();
        newest_first.sort_by_key(|(at, row)| (Reverse(row.version), (*at).clone()));
        let (mut values, mut inside) = (BTreeSet::new(), BTreeSet::new());
        for (at, row) in newest_first {
            let is_free = values.insert(value(at, row));
            let seat = value(at, row).map(|key| (table(SEATS), key));
            let has_parent = name == SEATS || seat.is_some_and(|seat| taken.contains(&seat));
            match is_free && has_parent {
                true => inside.insert(at.clone()),
                false => out.insert(at.clone()),
            };
        }
        taken.extend(inside);
    }
    out
}
