//! Removing what only writes that can't come any more could need.
//!
//! `stable` says, per origin, up to which reading every write still on its way has seen it. Then
//!
//! - a tombstone up to it, and whose last change is up to it, is beaten by every later write anyway,
//!   as is a missing row;
//! - an increment kept apart up to it has been seen by every later put or delete, which therefore
//!   absorbs it, kept or not. Until one comes, the row's sums hold it. So `counted` stays as it is:
//!   it is what makes the next winning write reckon its sums anew instead of keeping them;
//! - the removal of a field up to it is beaten by every later write of the field anyway.
//!
//! The work of one call is bounded; the next call goes on. A cursor per queue skips what was
//! removed, since an LSM tree pays for every removed record that it walks over. It may only move
//! forward because an origin's records arrive in the order of its clock.

use crate::keys::{self, Collectable, Due};
use crate::tables::Idempotent;
use crate::{Store, Tables, TablesError};
use meridian_merge::Row;
use meridian_model::{Hlc, Micros, OriginId, Vector};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// How long an idempotency key is remembered at least.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(24);
/// Records that one call removes at most, of each kind.
const RECORDS_MAX: usize = 10_000;

/// Where the queues begin: everything before was removed.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    due: BTreeMap<OriginId, Hlc>,
    conflicts: Vec<u8>,
    expiries: Hlc,
    /// What was collected up to, since the tables were opened.
    pub(crate) collected: Vector,
}

impl Collector {
    /// Forgets the cursors, since what was removed may not have been committed.
    pub(crate) fn restart(&mut self) {
        let collected = std::mem::take(&mut self.collected);
        *self = Self {
            collected,
            ..Self::default()
        };
    }

    /// Notes an expiry, which may lie before the cursor: keys arrive from several origins.
    pub(crate) fn note_expiry(&mut self, hlc: Hlc) {
        self.expiries = self.expiries.min(hlc);
    }

    /// Notes a conflict, which may lie before the cursor: the parts of a large transaction are taken
    /// in later than what stands between them.
    pub(crate) fn note_conflict(&mut self, at: &[u8]) {
        if at < self.conflicts.as_slice() {
            self.conflicts = at.to_vec();
        }
    }
}

impl<S: Store> Tables<S> {
    pub(crate) fn stage_collection(
        &mut self,
        stable: &Vector,
        now: Micros,
    ) -> Result<(), TablesError> {
        // What is stable may go back, where a region begins to count; what was collected doesn't.
        self.collector.collected.raise_all(stable);
        self.forget_taken(stable);
        let mut budget = RECORDS_MAX;
        for (origin, hlc) in stable.iter() {
            self.collect_origin(origin, hlc, stable, &mut budget)?;
        }
        self.expire_idempotency(now)?;
        self.trim_conflicts()
    }

    fn collect_origin(
        &mut self,
        origin: OriginId,
        until: Hlc,
        stable: &Vector,
        budget: &mut usize,
    ) -> Result<(), TablesError> {
        let from = self.collector.due.get(&origin).copied();
        let range = keys::due_of(origin, from.unwrap_or(Hlc::ZERO), until);
        let records = self.first_keys(&range, *budget)?;
        *budget -= records.len();
        for at in records {
            let due = keys::decode_due(&at);
            let due = due.ok_or_else(|| TablesError::damaged("collect record", &at))?;
            let collected = self.collect_record(&due, stable);
            self.collector.due.insert(origin, due.version.hlc);
            match collected {
                Ok(()) => self.staged.remove(at),
                // It stays due until the row is mended; everything else is collected meanwhile.
                Err(error) if error.damaged_row().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn collect_record(&mut self, due: &Due<'_>, stable: &Vector) -> Result<(), TablesError> {
        match due.kind {
            Collectable::Increment => {
                self.staged
                    .remove(keys::kept(due.table, due.key, due.version));
                Ok(())
            }
            Collectable::Tombstone => self.collect_tombstone(due, stable),
            Collectable::Field => self.collect_field(due, stable),
        }
    }

    fn collect_tombstone(&mut self, due: &Due<'_>, stable: &Vector) -> Result<(), TablesError> {
        let Some(row) = self.row(due.table, due.key)?.filter(Row::is_tombstone) else {
            return Ok(());
        };
        // What stands may be another delete than the one that left nothing beside it; and the row's
        // version may be that of a change which came after and showed nothing, which a write still on
        // its way may not have seen. Neither cursor has come to what isn't stable.
        let named = row.base.map(|base| base.version).into_iter();
        let unstable = named
            .chain([row.version])
            .find(|version| *version != due.version && !stable.has_seen(*version));
        match unstable {
            Some(version) => {
                let later = keys::due(version, Collectable::Tombstone, due.table, due.key);
                self.staged.put(later, Vec::new());
            }
            None => self.staged.remove(keys::row(due.table, due.key)),
        }
        Ok(())
    }

    fn collect_field(&mut self, due: &Due<'_>, stable: &Vector) -> Result<(), TablesError> {
        let Some(mut row) = self.row(due.table, due.key)? else {
            return Ok(());
        };
        if row.forget_removed_fields(due.version, |version| stable.has_seen(version)) {
            self.stage_row(due.table, due.key, &row);
        }
        Ok(())
    }

    fn expire_idempotency(&mut self, now: Micros) -> Result<(), TablesError> {
        let kept = u64::try_from(IDEMPOTENCY_KEPT.as_micros()).expect("a day is not that long");
        let expired = Hlc::at(Micros(now.0.saturating_sub(kept)));
        let range = keys::expiries(self.collector.expiries, expired);
        for at in self.first_keys(&range, RECORDS_MAX)? {
            let decoded = keys::decode_expiry(&at);
            let (hlc, key) = decoded.ok_or_else(|| TablesError::damaged("expiry", &at))?;
            let remembered: Option<Idempotent> = self.idempotent(key)?;
            // A key that was used again since has another expiry.
            if remembered.is_some_and(|remembered| remembered.version.hlc == hlc) {
                self.staged.remove(keys::idempotency(key));
            }
            self.collector.expiries = hlc;
            self.staged.remove(at);
        }
        Ok(())
    }

    fn trim_conflicts(&mut self) -> Result<(), TablesError> {
        let excess = self
            .conflicts
            .kept
            .saturating_sub(self.limits.conflicts_max);
        let count = usize::try_from(excess).map_or(RECORDS_MAX, |excess| excess.min(RECORDS_MAX));
        if count == 0 {
            return Ok(());
        }
        let mut range = keys::conflicts();
        range.start = range.start.max(self.collector.conflicts.clone());
        for at in self.first_keys(&range, count)? {
            self.conflicts.kept -= 1;
            self.collector.conflicts.clone_from(&at);
            self.staged.remove(at);
        }
        Ok(())
    }

    fn first_keys(&self, range: &keys::Range, count: usize) -> Result<Vec<Vec<u8>>, TablesError> {
        let mut found = Vec::new();
        if count == 0 {
            return Ok(found);
        }
        self.staged.scan(&self.store, range, |key, _| {
            found.push(key.to_vec());
            if found.len() == count {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }
}
