//! What a batch asked the server for, to tell it from what else happened in its transaction.

use super::{Parked, Projected};
use crate::document::digest;
use crate::{Lsn, Xid};
use meridian_model::RowName;
use std::collections::{BTreeMap, HashMap};

/// A batch between its issue and its capture.
#[derive(Debug)]
pub(super) struct Asked {
    /// Per row the digest of its document; `None` where it is to be absent.
    rows: HashMap<RowName, Option<u64>>,
    /// What the transaction left otherwise, as far as it is told.
    deviations: BTreeMap<RowName, Option<String>>,
}

/// A batch that is in the server, and where.
#[derive(Debug)]
pub(super) struct Written {
    /// The transaction.
    pub(super) xid: Xid,
    /// A WAL position after its commit.
    pub(super) end: Lsn,
    /// What it was asked for.
    pub(super) asked: Asked,
}

impl Asked {
    pub(super) fn of(projected: &Projected) -> Self {
        Self {
            rows: projected
                .rows
                .iter()
                .map(|(dirty, document)| (dirty.row.clone(), document.as_deref().map(digest)))
                .collect(),
            deviations: BTreeMap::new(),
        }
    }

    pub(super) fn has(&self, row: &RowName) -> bool {
        self.rows.contains_key(row)
    }

    /// Whether the row was to be there after the batch.
    pub(super) fn is_present(&self, row: &RowName) -> bool {
        self.rows.get(row).is_some_and(Option::is_some)
    }

    /// These rows are absent instead.
    pub(super) fn without(&mut self, parked: &[Parked]) {
        for parked in parked {
            self.rows.insert(parked.row.clone(), None);
        }
    }

    /// The transaction made the row this; what it does last counts.
    pub(super) fn left(&mut self, row: &RowName, document: Option<&str>) {
        if self.rows.get(row) == Some(&document.map(digest)) {
            self.deviations.remove(row);
        } else {
            self.deviations
                .insert(row.clone(), document.map(str::to_owned));
        }
    }

    /// What nobody asked for.
    pub(super) fn deviations(self) -> Vec<(RowName, Option<String>)> {
        self.deviations.into_iter().collect()
    }
}
