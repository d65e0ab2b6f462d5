//! What changed, newest last, bounded.

use crate::quorum::Votes;
use crate::{Service, Status};
use meridian_model::{Micros, RegionName};
use std::collections::VecDeque;

/// How many changes are kept.
pub const HISTORY_MAX: usize = 1000;

/// A service is otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When, by the wall clock.
    pub at: Micros,
    /// The region.
    pub region: RegionName,
    /// The service.
    pub service: Service,
    /// How it was.
    pub from: Status,
    /// How it is.
    pub to: Status,
    /// Who says so.
    pub by: ChangedBy,
    /// Whether it was expected.
    pub maintenance: bool,
}

/// Who says that a service has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedBy {
    /// This observer's own probes, and why the last one failed, if it did.
    Probes(Option<String>),
    /// The vote.
    Vote(Votes),
}

/// The last [`HISTORY_MAX`] changes.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Change>);

impl History {
    pub(crate) fn push(&mut self, change: Change) {
        if self.0.len() == HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// The changes, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.0.iter()
    }
}
