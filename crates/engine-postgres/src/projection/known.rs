//! Writers of rows whose work capture has told, beside those below the horizon.
//!
//! Rows are told apart by a digest of their names. Two with the same digest share an entry, which does
//! no harm: whatever row the server shows of a writer that is remembered, capture has told of it.

use crate::{Lsn, Xid};
use meridian_model::mutation::{Mutation, active};
use meridian_model::{RowDigest, RowName};
use std::collections::{HashMap, VecDeque};

/// No writer is before this one but the frozen: the horizon where none is known.
pub(super) const NO_HORIZON: Xid = Xid(2);

/// So many writers are remembered; one that was forgotten is found again by a probe.
const KNOWN_MAX: usize = 200_000;

/// Writers that are captured.
#[derive(Debug)]
pub(super) struct Known {
    writers: HashMap<RowDigest, (Xid, u64)>,
    /// In the order of remembering, with entries that were replaced since.
    order: VecDeque<(RowDigest, u64)>,
    remembered: u64,
    horizon: Xid,
    candidate: Option<(Xid, Lsn)>,
    /// A transaction that wrote very many rows: all of them, for one entry.
    large: Option<Xid>,
    capacity: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            writers: HashMap::new(),
            order: VecDeque::new(),
            remembered: 0,
            horizon: NO_HORIZON,
            candidate: None,
            large: None,
            capacity: KNOWN_MAX,
        }
    }
}

impl Known {
    #[cfg(test)]
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    pub(super) fn get(&self, row: &RowName) -> Option<Xid> {
        self.writers
            .get(&row.digest())
            .map(|(xid, _)| *xid)
            .or(self.large)
    }

    pub(super) fn horizon(&self) -> Xid {
        self.horizon
    }

    /// Whether a horizon is known.
    pub(super) fn has_horizon(&self) -> bool {
        self.horizon != NO_HORIZON
    }

    pub(super) fn len(&self) -> usize {
        self.writers.len()
    }

    pub(super) fn remember(&mut self, row: &RowName, xid: Xid) {
        let row = row.digest();
        self.remembered += 1;
        self.writers.insert(row, (xid, self.remembered));
        self.order.push_back((row, self.remembered));
        self.shrink();
    }

    /// The rows that this transaction wrote count as captured; those remembered otherwise it forgot.
    pub(super) fn remember_large(&mut self, xid: Xid) {
        self.large = Some(xid);
    }

    /// A writer whose rows are known without being told apart.
    pub(super) fn large(&self) -> Option<Xid> {
        self.large
    }

    pub(super) fn forget(&mut self, row: &RowName) {
        self.writers.remove(&row.digest());
    }

    /// A snapshot's `xmin`, and a WAL position read after that snapshot. Only one is waited for at a
    /// time, or it would never come to pass.
    pub(super) fn candidate(&mut self, xid: Xid, read_at: Lsn) {
        if self.candidate.is_none() {
            self.candidate = Some((xid, read_at));
        }
    }

    /// Capture has passed this position.
    pub(super) fn passed(&mut self, lsn: Lsn) {
        let is_reached = |read_at| read_at <= lsn || active(Mutation::HorizonTooEarly);
        let Some((xid, _)) = self.candidate.filter(|(_, read_at)| is_reached(*read_at)) else {
            return;
        };
        self.candidate = None;
        self.horizon = xid;
        self.large = self.large.filter(|writer| !writer.precedes(xid));
        self.writers.retain(|_, (writer, _)| !writer.precedes(xid));
        let writers = &self.writers;
        self.order
            .retain(|(row, turn)| writers.get(row).is_some_and(|(_, newest)| newest == turn));
    }

    /// Forgets the oldest above the capacity; replaced entries cost room until then too.
    fn shrink(&mut self) {
        while self.order.len() > self.capacity {
            let Some((row, turn)) = self.order.pop_front() else {
                return;
            };
            if self
                .writers
                .get(&row)
                .is_some_and(|(_, newest)| *newest == turn)
            {
                self.writers.remove(&row);
            }
        }
    }
}
