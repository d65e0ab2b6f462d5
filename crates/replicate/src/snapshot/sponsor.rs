//! The region that hands its tables out.

use crate::{Engine, EngineError, Now, Replica, SnapshotView};
use meridian_log::Disk;
use meridian_model::mutation::{self, Mutation};
use meridian_model::{Answer, Marks, SnapshotHead, SnapshotId, SnapshotPart};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Views that are open at once. Each keeps the storage engine from compacting what it shows.
const VIEWS_MAX: usize = 4;
/// Snapshots for which the log is kept at once.
const LEASES_MAX: usize = 16;
/// For how long a view stays open after the last question for it.
const VIEW_KEPT: Duration = Duration::from_mins(1);
/// For how long the log is kept after it: time enough to open a replica and subscribe.
const LOG_KEPT: Duration = Duration::from_mins(10);

/// The snapshots that a region has given out and still answers for.
#[derive(Debug)]
pub(crate) struct Sponsor<V> {
    leases: BTreeMap<SnapshotId, Lease<V>>,
}

#[derive(Debug)]
struct Lease<V> {
    head: Arc<SnapshotHead>,
    view: Option<Arc<V>>,
    asked_at: Duration,
}

/// A snapshot that stands open; to be read by any thread.
#[derive(Debug)]
pub struct Opened<V> {
    view: Arc<V>,
    head: Arc<SnapshotHead>,
}

/// A snapshot can't be had now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    /// It was given up, or this process didn't open it.
    #[error("the snapshot is not known any more")]
    Gone,
    /// Enough others are being read.
    #[error("{open} snapshots are being read already")]
    Busy {
        /// How many.
        open: usize,
    },
    /// The tables don't follow the log any more.
    #[error("the dataset is stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// Parts of a transaction are there and not the last: the tables don't show what the log holds.
    #[error("a large transaction is on its way into the tables")]
    Unfinished,
    /// There are no tables.
    #[error("the region is a witness and holds no tables")]
    Witness,
}

impl<V> Sponsor<V> {
    pub(crate) fn new() -> Self {
        Self {
            leases: BTreeMap::new(),
        }
    }

    fn find(&mut self, now: Duration, id: SnapshotId) -> Option<Opened<V>> {
        let lease = self.leases.get_mut(&id)?;
        let view = lease.view.clone()?;
        lease.asked_at = now;
        let head = lease.head.clone();
        Some(Opened { view, head })
    }

    fn has_room(&self) -> Result<(), SnapshotRefusal> {
        let open = self.leases.values().filter(|lease| lease.view.is_some());
        let open = open.count();
        if open < VIEWS_MAX {
            Ok(())
        } else {
            Err(SnapshotRefusal::Busy { open })
        }
    }

    fn open(&mut self, now: Duration, id: SnapshotId, head: SnapshotHead, view: V) -> Opened<V> {
        let (head, view) = (Arc::new(head), Arc::new(view));
        let lease = Lease {
            head: head.clone(),
            view: Some(view.clone()),
            asked_at: now,
        };
        self.leases.insert(id, lease);
        while self.leases.len() > LEASES_MAX {
            let read = |lease: &Lease<V>| (lease.view.is_some(), lease.asked_at);
            let oldest = self.leases.iter().min_by_key(|(_, lease)| read(lease));
            let Some(oldest) = oldest.map(|(id, _)| *id) else {
                break;
            };
            self.leases.remove(&oldest);
        }
        Opened { view, head }
    }

    /// Lets go of what nobody has asked for in a while.
    pub(crate) fn expire(&mut self, now: Duration) {
        self.leases.retain(|_, lease| {
            let silent = now.saturating_sub(lease.asked_at);
            if silent >= VIEW_KEPT {
                lease.view = None;
            }
            silent < LOG_KEPT
        });
    }

    /// Breaks every promise: whoever relied on one begins again.
    pub(crate) fn give_up(&mut self) {
        self.leases.clear();
    }

    /// What the log may drop, without what was promised to be kept.
    pub(crate) fn spare(&self, droppable: Marks) -> Marks {
        if self.leases.is_empty() {
            return droppable;
        }
        let spared = droppable.iter().map(|(origin, mut mark)| {
            let heads = self.leases.values().map(|lease| &lease.head);
            for head in heads {
                mark.sequence = mark.sequence.min(head.marks.get(origin).sequence);
            }
            (origin, mark)
        });
        spared.collect()
    }
}

impl<D: Disk, E: Engine> Replica<D, E> {
    /// The snapshot of this number; `is_beginning` where the question is for its first part, which
    /// opens it. What is staged now is no part of it, so this may be called at any time.
    ///
    /// # Errors
    /// [`SnapshotRefusal`].
    pub fn snapshot(
        &mut self,
        now: Now,
        id: SnapshotId,
        is_beginning: bool,
    ) -> Result<Opened<E::View>, SnapshotRefusal> {
        if self.is_witness() {
            return Err(SnapshotRefusal::Witness);
        }
        self.sponsor.expire(now.elapsed);
        if let Some(mut opened) = self.sponsor.find(now.elapsed, id) {
            if mutation::active(Mutation::SnapshotWithoutTail) {
                opened.head = Arc::new(self.snapshot_head());
            }
            return Ok(opened);
        }
        if !is_beginning {
            return Err(SnapshotRefusal::Gone);
        }
        if let Some(reason) = self.tables_stopped() {
            let reason = reason.to_owned();
            return Err(SnapshotRefusal::Stopped { reason });
        }
        if !self.follows() || !self.committed_road().held.is_empty() {
            return Err(SnapshotRefusal::Unfinished);
        }
        self.sponsor.has_room()?;
        let (head, view) = (self.snapshot_head(), self.engine.view());
        Ok(self.sponsor.open(now.elapsed, id, head, view))
    }

    /// Where the tables' last commit stands. Commits follow the log round by round, so the log's
    /// marks are those of the tables' position; the road may have changes of this round.
    fn snapshot_head(&self) -> SnapshotHead {
        debug_assert_eq!(self.engine.position(), self.log.end());
        let road = self.committed_road();
        let road = road.for_newcomer(self.config.wire_version);
        SnapshotHead {
            position: self.engine.position(),
            marks: self.log.marks().clone(),
            road: road.encode().into(),
        }
    }
}

impl<V> Clone for Opened<V> {
    fn clone(&self) -> Self {
        Self {
            view: self.view.clone(),
            head: self.head.clone(),
        }
    }
}

impl<V: SnapshotView> Opened<V> {
    /// The part after the key `after`, from the beginning where it is `None`, of at most
    /// `bytes_max` unless one record is larger.
    ///
    /// # Errors
    /// [`EngineError`] when the records can't be read or are damaged.
    pub fn part(
        &self,
        after: Option<&[u8]>,
        bytes_max: usize,
    ) -> Result<SnapshotPart, EngineError> {
        let part = self.view.part(after, bytes_max)?;
        Ok(SnapshotPart {
            head: part.is_last.then(|| (*self.head).clone()),
            records: part.records,
        })
    }

    /// Where the snapshot stands.
    #[must_use]
    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }
}

impl SnapshotRefusal {
    /// What the joiner is told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Gone => Answer::SnapshotGone,
            Self::Busy { .. } | Self::Stopped { .. } | Self::Unfinished | Self::Witness => {
                Answer::Unavailable {
                    reason: self.to_string(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_model::{Mark, OriginId, Position, Sequence};

    const SECOND: Duration = Duration::from_secs(1);

    fn head(sequence: u64) -> SnapshotHead {
        SnapshotHead {
            position: Position(sequence),
            marks: marks(sequence),
            ..SnapshotHead::default()
        }
    }

    fn marks(sequence: u64) -> Marks {
        let mark = Mark {
            sequence: Sequence(sequence),
            ..Mark::default()
        };
        [(OriginId(1), mark)].into_iter().collect()
    }

    fn droppable(sponsor: &Sponsor<()>) -> u64 {
        sponsor.spare(marks(100)).get(OriginId(1)).sequence.0
    }

    #[test]
    fn the_log_is_kept_from_the_oldest_snapshot_on() {
        let mut sponsor = Sponsor::new();
        assert_eq!(droppable(&sponsor), 100);
        sponsor.open(SECOND, SnapshotId(1), head(30), ());
        sponsor.open(SECOND * 2, SnapshotId(2), head(50), ());
        assert_eq!(droppable(&sponsor), 30);
        sponsor.expire(SECOND + LOG_KEPT);
        assert_eq!(droppable(&sponsor), 50);
        sponsor.give_up();
        assert_eq!(droppable(&sponsor), 100);
    }

    #[test]
    fn a_stream_that_began_after_the_snapshot_is_kept_whole() {
        let mut sponsor = Sponsor::new();
        sponsor.open(SECOND, SnapshotId(1), SnapshotHead::default(), ());
        assert_eq!(droppable(&sponsor), 0);
    }

    #[test]
    fn a_view_that_nobody_reads_is_closed_before_the_log_is_let_go() {
        let mut sponsor = Sponsor::new();
        sponsor.open(Duration::ZERO, SnapshotId(1), head(30), ());
        sponsor.expire(VIEW_KEPT - SECOND);
        assert!(sponsor.find(VIEW_KEPT - SECOND, SnapshotId(1)).is_some());
        sponsor.expire(VIEW_KEPT * 2 - SECOND * 2);
        assert!(
            sponsor.find(VIEW_KEPT * 2, SnapshotId(1)).is_some(),
            "a question renews it"
        );
        sponsor.expire(VIEW_KEPT * 3);
        assert!(sponsor.find(VIEW_KEPT * 3, SnapshotId(1)).is_none());
        assert_eq!(droppable(&sponsor), 30);
    }

    #[test]
    fn only_so_many_are_open_at_once() {
        let mut sponsor = Sponsor::new();
        for id in 0..VIEWS_MAX as u64 {
            assert_eq!(sponsor.has_room(), Ok(()));
            sponsor.open(SECOND, SnapshotId(id), head(30), ());
        }
        let open = VIEWS_MAX;
        assert_eq!(sponsor.has_room(), Err(SnapshotRefusal::Busy { open }));
        sponsor.expire(SECOND + VIEW_KEPT);
        assert_eq!(sponsor.has_room(), Ok(()));
        for id in 100..200 {
            sponsor.open(SECOND * 100, SnapshotId(id), head(30), ());
        }
        assert_eq!(sponsor.leases.len(), LEASES_MAX);
    }
}
