//! Rows that constraints keep out of the server, and what has to happen for them to be tried again.
//!
//! Which rows are out is a function of the rows and their versions (`apply`'s page says which), and
//! is found again by looking at neighbours only: a row is tried again whenever what is in its way is
//! touched or comes or goes itself. Since being out depends on *newer* rows and on parents alone,
//! that ends.

use super::{Hindrance, Parked};
use meridian_model::RowName;
use std::collections::{BTreeMap, BTreeSet};

/// The rows that are out.
#[derive(Debug, Default)]
pub(super) struct ParkedRows {
    rows: BTreeMap<RowName, Hindrance>,
    /// By the row that they wait for.
    by_row: BTreeMap<RowName, BTreeSet<RowName>>,
    /// By the table in which they wait for any row.
    by_table: BTreeMap<String, BTreeSet<RowName>>,
    /// By their own table, those that keep their unique values from others.
    holding: BTreeMap<String, BTreeSet<RowName>>,
}

impl ParkedRows {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn has(&self, row: &RowName) -> bool {
        self.rows.contains_key(row)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Parked> + '_ {
        self.rows.iter().map(|(row, hindrance)| Parked {
            row: row.clone(),
            hindrance: hindrance.clone(),
        })
    }

    /// Puts a row out, or changes why; whether that is news.
    pub(super) fn park(&mut self, parked: &Parked) -> bool {
        let before = self.remove(&parked.row);
        let row = &parked.row;
        let index = |map: &mut BTreeMap<_, BTreeSet<RowName>>, key| {
            map.entry(key).or_default().insert(row.clone());
        };
        match &parked.hindrance {
            Hindrance::Rival { rival, .. } => {
                self.by_row
                    .entry(rival.clone())
                    .or_default()
                    .insert(row.clone());
            }
            Hindrance::Orphan {
                table,
                parent,
                holds_values,
                ..
            } => {
                match parent {
                    Some(parent) => {
                        self.by_row
                            .entry(parent.clone())
                            .or_default()
                            .insert(row.clone());
                    }
                    None => index(&mut self.by_table, table.clone()),
                }
                if *holds_values {
                    index(&mut self.holding, row.table.clone());
                }
            }
            Hindrance::Incomplete { .. } | Hindrance::Refused { .. } => {}
        }
        self.rows.insert(row.clone(), parked.hindrance.clone());
        !before.is_some_and(|before| same_kind(&before, &parked.hindrance))
    }

    /// Lets a row in again; why it was out.
    pub(super) fn remove(&mut self, row: &RowName) -> Option<Hindrance> {
        let hindrance = self.rows.remove(row)?;
        match &hindrance {
            Hindrance::Rival { rival, .. } => unlink(&mut self.by_row, rival, row),
            Hindrance::Orphan { table, parent, .. } => {
                match parent {
                    Some(parent) => unlink(&mut self.by_row, parent, row),
                    None => unlink(&mut self.by_table, table, row),
                }
                unlink(&mut self.holding, &row.table, row);
            }
            Hindrance::Incomplete { .. } | Hindrance::Refused { .. } => {}
        }
        Some(hindrance)
    }

    /// The rows that wait for this one.
    pub(super) fn waiting_for<'s>(
        &'s self,
        row: &RowName,
    ) -> impl Iterator<Item = &'s RowName> + use<'s> {
        let by_row = self.by_row.get(row);
        let by_table = self.by_table.get(&row.table);
        by_row.into_iter().chain(by_table).flatten()
    }

    /// The rows that must be in a batch with this one, for it to be decided about.
    pub(super) fn needed_by<'s>(
        &'s self,
        row: &RowName,
    ) -> impl Iterator<Item = &'s RowName> + use<'s> {
        let rival = match self.rows.get(row) {
            Some(Hindrance::Rival { rival, .. }) => Some(rival),
            _ => None,
        };
        self.holding
            .get(&row.table)
            .into_iter()
            .flatten()
            .chain(rival)
    }
}

fn same_kind(one: &Hindrance, other: &Hindrance) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

fn unlink<K: Ord>(map: &mut BTreeMap<K, BTreeSet<RowName>>, key: &K, row: &RowName) {
    if let Some(rows) = map.get_mut(key) {
        rows.remove(row);
        if rows.is_empty() {
            map.remove(key);
        }
    }
}
