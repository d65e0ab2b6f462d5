//! A row's state, and what a write had seen.

use crate::put::settled;
use crate::{Mixed, Sibling};
use meridian_model::{Strategy, Vector, Version};
use serde::{Deserialize, Serialize};

/// All that is kept of a row, a deleted one (a tombstone) included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The greatest version of any write to the row.
    pub version: Version,
    /// The put or delete with the greatest version; `None` where there was none.
    pub base: Option<Base>,
    /// By field, by name: the sum of the increments that count on top.
    pub sums: Vec<(String, i128)>,
    /// What else there is.
    pub more: More,
}

/// What a row has beside base and sums. In the encoding this is the byte that once said whether
/// the row was incremented, so that rows written before there was anything else still read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum More {
    /// Nothing: it was only ever put and deleted, the last writer winning.
    #[default]
    Nothing,
    /// Increments of this row may be kept apart.
    Counted,
    /// Siblings, registers or sets.
    Mixed(Box<Mixed>),
}

/// The put or delete that stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// Its version.
    pub version: Version,
    /// Its document as JSON text; `None` for a delete.
    pub document: Option<String>,
}

/// One transaction's increments of a row, kept apart until every later write has seen them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptIncrement {
    /// The transaction's version.
    pub version: Version,
    /// Amounts by field.
    pub by: Vec<(String, i64)>,
}

/// What a write's origin had seen when it committed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The write's own version: its origin has seen all that it committed earlier.
    pub version: Version,
    /// What it had applied of the others; `None` where that is all there is here, as where it is
    /// about to be made.
    pub dependencies: Option<&'a Vector>,
    /// Increments up to here count no more beside it, seen or not; as a rule none.
    pub absorbed: Option<&'a Vector>,
}

impl Seen<'_> {
    /// Whether a write was among what this one had seen.
    #[must_use]
    pub fn includes(&self, version: Version) -> bool {
        if version.origin == self.version.origin {
            version.hlc < self.version.hlc
        } else {
            self.dependencies
                .is_none_or(|dependencies| dependencies.has_seen(version))
        }
    }

    /// Whether an increment counts no more beside this write.
    pub(crate) fn absorbs(&self, increment: Version) -> bool {
        let is_absorbed = |absorbed: &Vector| absorbed.has_seen(increment);
        self.includes(increment) || self.absorbed.is_some_and(is_absorbed)
    }
}

/// Two writes that met, neither having seen the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken {
    /// What stands.
    pub winner: Base,
    /// What gave way; of siblings, which both stand, the older.
    pub loser: Base,
    /// What decided.
    pub strategy: Strategy,
    /// The field they met in, where a field is decided by itself; the documents are its values.
    pub field: Option<String>,
}

/// A write merged into a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The row now.
    pub row: Row,
    /// Whether the write is the row's base now.
    pub won: bool,
    /// The writes that it met, neither having seen the other.
    pub conflicts: Vec<Overtaken>,
}

impl Merged {
    /// Of a row of which nothing is left but this write, which had seen all of it.
    #[must_use]
    pub fn of(write: Base) -> Self {
        let mut row = Row::empty(write.version);
        row.base = Some(write);
        Self {
            row,
            won: true,
            conflicts: Vec::new(),
        }
    }
}

impl Row {
    /// A row of which nothing is known but that a write of this version is about it.
    pub(crate) fn empty(version: Version) -> Self {
        Self {
            version,
            base: None,
            sums: Vec::new(),
            more: More::Nothing,
        }
    }

    /// The version of the one write that all of the row is, if it is: a later one that has seen it
    /// makes of it what it would make of no row.
    #[must_use]
    pub fn plain(&self) -> Option<Version> {
        let base = self.base.as_ref()?;
        let is_plain =
            base.version == self.version && self.sums.is_empty() && self.more == More::Nothing;
        is_plain.then_some(base.version)
    }

    /// Siblings, registers and sets, where there are any.
    #[must_use]
    pub fn mixed(&self) -> Option<&Mixed> {
        match &self.more {
            More::Mixed(mixed) => Some(mixed),
            More::Nothing | More::Counted => None,
        }
    }

    /// Whether increments of this row may be kept apart.
    #[must_use]
    pub fn counted(&self) -> bool {
        match &self.more {
            More::Nothing => false,
            More::Counted => true,
            More::Mixed(mixed) => mixed.counted,
        }
    }

    /// Notes that no increments of this row are kept apart, as far as that can matter: a later
    /// write that wins reckons the sums anew, unless there are none.
    pub fn none_kept(&mut self) {
        if !self.sums.is_empty() {
            return;
        }
        match &mut self.more {
            More::Nothing => {}
            More::Counted => self.more = More::Nothing,
            More::Mixed(mixed) => mixed.counted = false,
        }
    }

    pub(crate) fn count(&mut self) {
        match &mut self.more {
            More::Nothing => self.more = More::Counted,
            More::Counted => {}
            More::Mixed(mixed) => mixed.counted = true,
        }
    }

    /// The other writes that stand beside the base, newest first.
    #[must_use]
    pub fn beside(&self) -> &[Sibling] {
        self.mixed().map_or(&[], |mixed| &mixed.siblings)
    }

    /// Forgets what a write's removals of fields left, as far as that can't show: every later write
    /// has seen this version, and those that `is_stable` says so of. Returns whether anything
    /// changed.
    pub fn forget_removed_fields(
        &mut self,
        version: Version,
        is_stable: impl Fn(Version) -> bool,
    ) -> bool {
        let More::Mixed(mixed) = &mut self.more else {
            return false;
        };
        let before = mixed.registers.len();
        mixed.forget_removed_fields(version, self.base.as_ref(), is_stable);
        let changed = mixed.registers.len() < before;
        if changed && let More::Mixed(mixed) = std::mem::take(&mut self.more) {
            self.more = settled(mixed);
        }
        changed
    }

    /// Whether nothing is left but the memory of a delete.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.sums.is_empty()
            && self
                .base
                .as_ref()
                .is_some_and(|base| base.document.is_none())
            && self.mixed().is_none_or(Mixed::shows_nothing)
    }
}
