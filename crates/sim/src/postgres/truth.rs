//! What became of each of the applications' transactions, in truth; and what follows for a row that
//! differs when server and tables meet. Nobody else knows: a server tells neither.

use super::server::{Server, Writer};
use crate::ledger::{Ledger, RecordId};
use meridian_engine_postgres::Lsn;
use meridian_engine_postgres::meeting::Action;
use meridian_model::RowName;
use std::collections::{BTreeMap, BTreeSet};

/// Rows and the transactions that made them what the tables showed.
pub(super) type Same = BTreeSet<(RowName, u64)>;

/// Where the log has what one server's applications committed.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// By transaction: the entries as which it was captured.
    captured: BTreeMap<u64, Vec<RecordId>>,
    /// By row and the transaction that made it so: the entries with which the row was taken over.
    taken: BTreeMap<(RowName, u64), Vec<RecordId>>,
    /// By row the transactions that made it what it was in the tables, too.
    same: Same,
    /// By row the transactions that wrote it in a part which the log has, perhaps without the others.
    parts: BTreeSet<(RowName, u64)>,
    /// What rows were made by what was captured.
    been: BTreeSet<(RowName, String)>,
    /// By row the transactions that made it what somebody has said is to be written over.
    decided: BTreeSet<(RowName, u64)>,
}

impl Truth {
    /// A transaction was captured as this entry, which may come to nothing.
    pub(super) fn captured(&mut self, number: u64, entry: RecordId) {
        self.captured.entry(number).or_default().push(entry);
    }

    /// A part of a transaction that writes this row goes into the log.
    pub(super) fn in_part(&mut self, row: &RowName, number: Option<u64>) {
        self.parts
            .extend(number.map(|number| (row.clone(), number)));
    }

    /// A transaction made a row what the tables had.
    pub(super) fn same(&mut self, row: RowName, number: u64) {
        self.same.insert((row, number));
    }

    /// What tables that are put back to what they were take with them.
    pub(super) fn same_as_of(&self) -> Same {
        self.same.clone()
    }

    /// The tables are put back.
    pub(super) fn put_back(&mut self, same: Same) {
        self.same = same;
    }

    /// A row was made this by a transaction that was captured.
    pub(super) fn was(&mut self, row: &RowName, document: &str) {
        self.been.insert((row.clone(), document.to_owned()));
    }

    /// Whether it ever was.
    pub(super) fn has_been(&self, row: &RowName, document: &str) -> bool {
        self.been.contains(&(row.clone(), document.to_owned()))
    }

    /// Somebody has said that what a transaction made of a row is to be written over.
    pub(super) fn decided(&mut self, row: RowName, number: u64) {
        self.decided.insert((row, number));
    }

    /// Whether somebody has said so.
    pub(super) fn is_decided(&self, row: &RowName, number: u64) -> bool {
        self.decided.contains(&(row.clone(), number))
    }

    /// A row was taken over with this entry, which may come to nothing.
    pub(super) fn taken(&mut self, row: RowName, number: u64, entry: RecordId) {
        self.taken.entry((row, number)).or_default().push(entry);
    }

    /// How often a transaction is in the log.
    pub(super) fn times(&self, ledger: &Ledger, number: u64) -> usize {
        standing(ledger, self.captured.get(&number))
    }

    /// The transactions that are in the log more than once.
    pub(super) fn repeated(&self, ledger: &Ledger) -> Option<u64> {
        let mut numbers = self.captured.keys().copied();
        numbers.find(|number| self.times(ledger, *number) > 1)
    }

    /// Whether what this writer made of a row has been in the tables.
    fn is_known(&self, ledger: &Ledger, row: &RowName, by: Writer) -> bool {
        let Writer::Application(number) = by else {
            return true;
        };
        let at = (row.clone(), number);
        let is_taken = standing(ledger, self.taken.get(&at)) > 0;
        is_taken || self.same.contains(&at) || self.times(ledger, number) > 0
    }

    /// What is wrong with doing this about a row that differs, where nobody was asked; `seen` is the
    /// server as it was when they were compared, at `begins` in its WAL.
    pub(super) fn is_wrong(
        &self,
        (seen, (begins, server)): (&Seen, (Lsn, &Server)),
        ledger: &Ledger,
        row: &RowName,
        action: Action,
    ) -> Option<String> {
        let there = seen.rows.get(row);
        let by = match there {
            Some((_, by)) => Some(*by),
            None => seen.gone.get(row).copied(),
        };
        let is_unseen = by.is_some_and(|by| !self.is_known(ledger, row, by));
        let is_decided = |by| match by {
            // A part counts as captured though the others are missing.
            Writer::Application(number) if self.parts.contains(&(row.clone(), number)) => true,
            Writer::Application(number) => self.is_decided(row, number),
            Writer::Projection => false,
        };
        let values = there.map(|((values, _), _)| values);
        match action {
            Action::Write if is_unseen && !by.is_some_and(is_decided) => {
                // Somebody may have made it again what it had been before.
                let is_known = |by| self.is_known(ledger, row, by) || is_decided(by);
                let known = server.before(row, begins, is_known);
                let is_change = known.as_ref() != values;
                is_change
                    .then(|| format!("{row} would be written over, and {by:?} was never captured"))
            }
            Action::Take if !is_unseen => Some(format!(
                "{row} would be taken over as a write, and it is an older state, of {by:?}"
            )),
            _ => None,
        }
    }
}

fn standing(ledger: &Ledger, entries: Option<&Vec<RecordId>>) -> usize {
    let entries = entries.into_iter().flatten();
    entries.filter(|entry| ledger.stands(**entry)).count()
}

/// A server's rows at one moment, and who made each so.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The rows: values and `xmin`, and who wrote them.
    pub(super) rows: BTreeMap<RowName, ((meridian_engine_postgres::document::Values, u32), Writer)>,
    /// Who deleted those that were there.
    pub(super) gone: BTreeMap<RowName, Writer>,
}

impl Seen {
    pub(super) fn of(server: &Server) -> Self {
        let rows = server.rows.iter();
        let rows = rows.map(|(name, row)| (name.clone(), ((row.values.clone(), row.xmin), row.by)));
        Self {
            rows: rows.collect(),
            gone: server.gone.clone(),
        }
    }

    /// The rows that are there or were, and that are none of these.
    pub(super) fn others(&self, differing: &BTreeSet<RowName>) -> Vec<RowName> {
        let all = self.rows.keys().chain(self.gone.keys());
        all.filter(|row| !differing.contains(*row))
            .cloned()
            .collect()
    }

    /// The application's transaction that made a row so, or took it away.
    pub(super) fn number_of(&self, row: &RowName) -> Option<u64> {
        let there = self.rows.get(row).map(|(_, by)| *by);
        match there.or_else(|| self.gone.get(row).copied())? {
            Writer::Application(number) => Some(number),
            Writer::Projection => None,
        }
    }
}
