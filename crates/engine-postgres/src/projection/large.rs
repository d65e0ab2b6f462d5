//! Very many rows at once: written outside of the batches, into the transaction of one.
//!
//! What a batch has is in memory, row by row. Rows beyond some number are kept elsewhere by the
//! caller ([`Projection::take_dirty`]), and written from there into an open transaction of the server
//! (`apply`'s `large`), which the batch after that commits, with its tag and its position. In between
//! the machine doesn't know which rows these are, and takes them for all: any row that a local
//! transaction touches before the batch is captured stays dirty. What of them could not be written,
//! because nobody knows their state, comes back and is in the batch.

use super::Projection;
use crate::{Lsn, Xid};
use meridian_model::RowName;

/// A row that a large batch left, with what it is and what the tables showed.
pub type Left = (RowName, Option<String>, Option<String>);

impl Projection {
    /// All dirty rows that no batch has, to be kept elsewhere and written as very many.
    pub fn take_dirty(&mut self) -> impl Iterator<Item = RowName> + use<> {
        let dirty = std::mem::take(&mut self.dirty);
        let (kept, taken) = dirty.into_iter().partition(|row| self.needs_others(row));
        self.dirty = kept;
        let taken: std::collections::BTreeSet<RowName> = taken;
        taken.into_iter()
    }

    /// A row was touched that is kept elsewhere; `false` where it has to be in a batch.
    pub fn touched_elsewhere(&mut self, row: &RowName) -> bool {
        self.stir(row);
        !self.needs_others(row)
    }

    /// Whether a constraint makes the row depend on others.
    fn needs_others(&self, row: &RowName) -> bool {
        self.parked.has(row) || self.parked.needed_by(row).next().is_some()
    }

    /// Begins to write rows that are kept elsewhere: says the horizon, and the writer that is known
    /// without being told apart by rows. `None` where it is not the time: as for
    /// [`Projection::next_batch`], and before there is a horizon.
    pub fn begin_large(&mut self) -> Option<(Xid, Option<Xid>)> {
        let horizon = self.known.horizon();
        let is_busy = self.issued.is_some() || self.probe.is_some();
        // What the tables showed is kept for one at a time.
        let mut written = self.written.iter();
        if is_busy || !self.known.has_horizon() || written.any(|written| written.is_large) {
            return None;
        }
        self.large = true;
        Some((horizon, self.known.large()))
    }

    /// They are written, but for these, whose writers were found and are as good as captured once
    /// capture has passed `read_at`, and those that are only named.
    pub fn large_written(
        &mut self,
        found: Vec<(RowName, Option<Xid>)>,
        busy: Vec<RowName>,
        read_at: Lsn,
    ) {
        self.dirty.extend(found.iter().map(|(row, _)| row.clone()));
        self.dirty.extend(busy);
        if !found.is_empty() {
            self.probed(found, read_at);
        }
    }

    /// Nothing of them is written.
    pub fn large_failed(&mut self) {
        self.large = false;
    }

    /// Whether very many rows are being written, or are and wait for the batch that commits them.
    #[must_use]
    pub fn is_writing_large(&self) -> bool {
        self.large
    }

    /// Whether such rows are being written, or are committed and not yet captured.
    #[must_use]
    pub fn awaits_large(&self) -> bool {
        self.large || self.written.iter().any(|written| written.is_large)
    }

    /// A local transaction of very many rows is told next.
    pub fn large_begins(&mut self, xid: Xid) {
        self.telling_large = Some(xid);
    }

    /// Whether this is a batch with very many rows beside it, which is not told yet: its rows are
    /// to be told by [`Projection::large_rows_captured`].
    #[must_use]
    pub fn wrote_large(&self, xid: Xid) -> bool {
        let mut written = self.written.iter();
        written.any(|written| written.xid == xid && written.is_large)
    }

    /// As [`Projection::rows_captured`], for such a batch.
    pub fn large_rows_captured(&mut self, xid: Xid, rows: &[Left]) {
        let mut written = self.written.iter_mut();
        let Some(written) = written.find(|written| written.xid == xid) else {
            return;
        };
        for (row, document, shown) in rows {
            self.known.forget(row);
            let (document, shown) = (document.as_deref(), shown.as_deref());
            written.asked.left_by_large(row, document, shown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{Hindrance, Outcome, Parked};
    use crate::tag::Tag;
    use meridian_model::{Position, Vector};

    const BATCH: Xid = Xid(50);

    fn row(key: &str) -> RowName {
        RowName {
            table: "t".into(),
            key: key.into(),
        }
    }

    fn tag() -> Tag {
        Tag {
            position: Position(9),
            seen: Vector::default(),
        }
    }

    /// A machine that has written very many rows, and committed them at 100.
    fn committed() -> Projection {
        let mut machine = Projection::new(Lsn(0), []);
        machine.horizon_candidate(Xid(10), Lsn(0));
        machine.passed(Lsn(1));
        machine.touched(["a", "b", "c"].map(row));
        assert_eq!(machine.take_dirty().count(), 3);
        assert_eq!(machine.begin_large(), Some((Xid(10), None)));
        machine.large_written(vec![], vec![], Lsn(50));
        commit(&mut machine);
        machine
    }

    fn commit(machine: &mut Projection) {
        let batch = machine
            .next_batch()
            .expect("one that commits what is written");
        let shown = batch.rows.iter().map(|_| None).collect::<Vec<_>>();
        let id = batch.id;
        machine.projected(batch, Position(9), Vector::default(), shown);
        let (xid, end, parked) = (BATCH, Lsn(100), vec![]);
        machine.outcome(id, Outcome::Committed { xid, end, parked });
    }

    #[test]
    fn what_is_written_is_committed_by_a_batch_even_without_rows() {
        let mut machine = committed();
        assert!(!machine.is_writing_large() && machine.awaits_large());
        assert_eq!(machine.dirty_rows(), 0);
        machine.touched([row("d")]);
        assert_eq!(machine.begin_large(), None, "one at a time");
        let batch = machine.next_batch().expect("batches go on");
        assert_eq!(batch.rows[0].known, Some(BATCH), "any row may be its");
    }

    #[test]
    fn a_row_touched_before_the_capture_stays_dirty_whichever_it_is() {
        let mut machine = committed();
        machine.rows_captured(Xid(40), None, &[(row("x"), None)]);
        machine.transaction_captured(Xid(40), None, Lsn(80));
        assert_eq!(machine.dirty_rows(), 1);
    }

    #[test]
    fn what_nobody_asked_for_is_told_from_what_the_tables_showed() {
        let mut machine = committed();
        assert!(machine.wrote_large(BATCH));
        let one = Some("{\"n\":\"1\"}".to_owned());
        let rows = [
            (row("a"), one.clone(), one.clone()),
            (row("b"), None, None),
            (row("cascade"), None, one.clone()),
            (row("undone"), None, one.clone()),
            (row("undone"), one.clone(), one),
        ];
        machine.large_rows_captured(BATCH, &rows);
        let deviations = machine.transaction_captured(BATCH, Some(&tag()), Lsn(100));
        assert_eq!(deviations, [(row("cascade"), None)]);
        assert!(!machine.awaits_large());
    }

    #[test]
    fn rows_in_no_known_state_come_with_the_batch_once_capture_has_passed() {
        let mut machine = Projection::new(Lsn(0), []);
        assert_eq!(machine.begin_large(), None, "there is no horizon");
        machine.horizon_candidate(Xid(10), Lsn(0));
        machine.passed(Lsn(1));
        machine.begin_large();
        let found = vec![(row("a"), Some(Xid(30)))];
        machine.large_written(found, vec![row("busy")], Lsn(50));
        assert_eq!(machine.next_batch(), None);
        machine.passed(Lsn(50));
        let batch = machine.next_batch().expect("a batch");
        let known: Vec<_> = batch.rows.iter().map(|it| it.known).collect();
        assert_eq!(known, [Some(Xid(30)), None]);
        assert_eq!(batch.hold, [], "the locks are held already");
        machine.outcome(batch.id, Outcome::Locked);
        assert!(
            !machine.is_writing_large(),
            "all of it is to be written again"
        );
    }

    #[test]
    fn a_large_local_transaction_is_known_by_its_id() {
        let mut machine = Projection::new(Lsn(0), []);
        machine.large_begins(Xid(30));
        machine.rows_captured(Xid(30), None, &[(row("a"), Some("{}".into()))]);
        assert_eq!(machine.known_writers(), 0);
        machine.transaction_captured(Xid(30), None, Lsn(5));
        machine.touched([row("a")]);
        let batch = machine.next_batch().expect("a batch");
        assert_eq!(batch.rows[0].known, Some(Xid(30)));
    }

    #[test]
    fn rows_that_constraints_tie_to_others_stay_in_memory() {
        let rival = Hindrance::Rival {
            constraint: "u".into(),
            rival: row("b"),
        };
        let parked = Parked {
            row: row("a"),
            hindrance: rival,
        };
        let mut machine = Projection::new(Lsn(0), [parked]);
        assert!(!machine.touched_elsewhere(&row("a")));
        machine.touched([row("a"), row("c")]);
        let taken: Vec<_> = machine.take_dirty().collect();
        assert_eq!(taken, [row("c")]);
        assert_eq!(machine.dirty_rows(), 1);
    }
}
